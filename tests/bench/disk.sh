# shellcheck shell=bash
# A fresh ext4 in memory for every timed run, and memory that has been touched.
# Source common.sh first; the caller has made $T and lives in a mount namespace
# of its own, where nobody else can hold what it mounts.  Everything is gone at
# exit.
#
# A root file system that has seen mass deletes is many times slower at making
# files, so every run gets a new one.  Its backing file is written once and
# stays, because on a virtual machine whose host takes free memory away the
# first use of a page costs many times what the next one does.  For the same
# reason every timed run starts after "warm" has touched some memory and given
# it back: the page cache and the buffers of the run then come from there.

FS=$T/fs
DISK=/dev/shm/k3simg-bench.$$

# disk_need MB: an ext4 of this size will be needed; the largest one counts.
DISK_MB=0
disk_need() {
    [ "$1" -le "$DISK_MB" ] || DISK_MB=$1
}

_meminfo() {
    awk -v k="$1:" '$1 == k { print int($2 / 1024) }' /proc/meminfo
}

# disk_make: write the backing file, if this machine has the room.
disk_make() {
    local free room
    [ "$DISK_MB" -gt 0 ] || return 0
    free=$(_meminfo MemAvailable)
    room=$(df -m --output=avail /dev/shm | tail -n 1)
    [ "$free" -ge $((DISK_MB + 3000)) ] ||
        die "these parts need $((DISK_MB + 3000)) MB of free memory for a disk of $DISK_MB MB, and there are $free"
    [ "$room" -gt "$DISK_MB" ] || die "these parts need $DISK_MB MB in /dev/shm, and there are $room"
    mkdir -p "$FS"
    at_exit rm -f -- "$DISK"
    at_exit umount -l "$FS"
    dd if=/dev/zero of="$DISK" bs=1M count="$DISK_MB" status=none || die "cannot write $DISK"
}

# The loop device goes when the last mount namespace of a program measured
# does; until then a new mount would show the old file system.
disk_umount() {
    local i
    for ((i = 0; i < 300; i++)); do
        if ! mountpoint -q "$FS" || umount "$FS" 2>/dev/null; then
            [ -n "$(losetup -j "$DISK")" ] || return 0
        fi
        sleep 0.1
    done
    printf '%s is still in use\n' "$DISK" >&2
    return 1
}

# fresh: an empty ext4 at $FS.
fresh() {
    # shellcheck disable=SC2015
    disk_umount && mkfs.ext4 -q -F -m 0 -N 700000 -E lazy_itable_init=0,nodiscard "$DISK" &&
        mount -o loop "$DISK" "$FS" && [ "$(ls "$FS")" = lost+found ] || die "cannot make a fresh ext4"
}

# warm: the last thing before a run is timed.
warm() {
    local mb
    mb=$(($(_meminfo MemAvailable) / 3))
    "$BENCH_BIN/warm" $((mb < 3000 ? mb : 3000)) || die "warm does not run"
}

# used DIR... FILE: append the bytes that the DIRs take on disk, each file once.
used() {
    local dir sum=0
    sync -f "$FS"
    for dir in "${@:1:$#-1}"; do
        sum=$((sum + $("$PYTHON" "$LIB/tree.py" --usage "$dir")))
    done
    printf ' diskBytes=%s' $sum >>"${@: -1}"
}
