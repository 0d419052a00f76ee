#!/bin/bash
# Power is lost while k3simg works: from a log of what it had the disk write, and
# of the flushes in between, crash images are built (../torture/power.py), and
# each of them is mounted and checked; containerd starts on the states that are
# found (the short form: two of each series).  TORTURE=full has more file systems
# (POWER_FS: only these) and more than a thousand images (POWER_POINTS: so many of
# each series, 28 if it is not set).  POWER_KEEP=DIR keeps those with findings,
# SEED=N has others.
# Once: what is on the disk does not hang on containerd's version.

# In mounts of its own: they go away with the script, however it ends.
if [ -z "${POWER_UNSHARED:-}" ] && unshare --mount --propagation private true 2>/dev/null; then
    POWER_UNSHARED=1 exec unshare --mount --propagation private "$0"
fi
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

LOGDEV=$T/build/release/tests/torture/logdev
check "the logging disk builds" make -s -C "$TOP" "O=$T/build" "$LOGDEV"

# What this needs and some sandboxes do not have.
mkdir "$T/probe"
truncate -s 16M "$T/probe.img"
mkfs.ext4 -q "$T/probe.img"
if [ ! -c /dev/fuse ] || ! (: <>/dev/fuse) 2>/dev/null; then
    skip "power loss" "no FUSE here"
    finish
elif ! mount -o loop "$T/probe.img" "$T/probe" 2>"$T/probe.log"; then
    skip "power loss" "no loop devices here: $(tail -n 1 "$T/probe.log")"
    finish
fi
umount "$T/probe"

# In memory, if there is enough of it.
WORK=$T/power
if [ "$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 4000000 ]; then
    WORK=$(mktemp -d /dev/shm/k3simg-power.XXXXXX) || die "no directory in /dev/shm"
    at_exit rm -rf -- "$WORK"
fi
mkdir -p "$WORK/mnt"

# A registry of its own, since tags move here; the blobs are the cached ones.
images=$(images_storage)/registry/docker/registry/v2
storage=$T/storage/docker/registry/v2
mkdir -p "$storage"
ln -s "$images/blobs" "$storage/blobs"
cp -R "$images/repositories" "$storage/repositories"
registry_start -s "$T/storage" -r
PAUSE=rancher/mirrored-pause:3.6
CTD_PAUSE=$REGISTRY/$PAUSE
export CTD_PAUSE
names="static:1 exit:1 zstd:1 multi:1 $PAUSE"

# entries FUNCTION: a JSON object of the images.
entries() {
    local name comma=""
    for name in $names; do
        printf '%s"%s": "%s"' "$comma" "$name" "$("$1" "$name")"
        comma=", "
    done
}
reference_tree static:1 >/dev/null
bbolt_check || die "the bbolt checker does not run"
cat >"$T/config.json" <<JSON
{"work": "$WORK", "seed": "${SEED:-1}", "keep": "${POWER_KEEP:-}",
 "logdev": "$LOGDEV", "k3simg": "$K3SIMG", "bboltcheck": "$(_bbolt_tool)/bboltcheck",
 "registry": "$REGISTRY", "storage": "$T/storage", "pause": "$PAUSE",
 "images": {$(entries image_digest)}, "trees": {$(entries reference_tree)}}
JSON

# power ARGS: power.py, which mounts what it needs.
power() {
    "$PYTHON" "$TOP/tests/torture/power.py" "$1" "$T/config.json" "${@:2}"
}

# listed NAME: the images that a containerd has, complete and unpacked ones only.
listed() {
    ctd_ctr "$1" images check --snapshotter native |
        awk '/ complete \(([0-9]+)\/[0-9]+\) .* true *$/ { print $1 }' | sort
}

# state_starts IMAGE: containerd starts on this crash image, has every image of
# it whole, and stops; what it leaves is sound, and good for the next run.
state_starts() (
    own_cleanup
    root=$WORK/mnt/var/root version=$CTD_VERSION
    mount -o "loop$(blkid -o value -s TYPE "$1" | sed -n 's/^xfs$/,nouuid/p')" "$1" "$WORK/mnt" || exit
    at_exit umount "$WORK/mnt"
    wanted=$("$K3SIMG" list --root "$root" -o name 2>/dev/null | sort)
    ctd_start "$version" "$root" state || exit
    got=$(listed state | grep -v '^sha256:')
    ctd_stop state
    status=0
    [ "$got" = "$wanted" ] || { printf 'containerd has:\n%s\nwanted:\n%s\n' "$got" "$wanted"; status=1; }
    # The snapshotter makes its database when it first needs it.
    for db in "$root/io.containerd.metadata.v1.bolt/meta.db" "$root/io.containerd.snapshotter.v1.native/metadata.db"; do
        [ ! -e "$db" ] || bbolt_check "$db" || status=1
    done
    "$K3SIMG" preload --root "$root" --pause "$CTD_PAUSE" "$REGISTRY/exit:1" "$REGISTRY/multi:1" || status=1
    exit $status
)

# series FS MODE SCENARIO POINTS: one log and its crash images.
series() {
    power run "$@" >"$T/$1-$2-$3.log" 2>&1
    echo $? >"$T/$1-$2-$3.status"
}

# Two at the same time.
all_series() {
    local running=0 line
    while read -r line; do
        [ "$running" -lt 2 ] || { wait -n; running=$((running - 1)); }
        # shellcheck disable=SC2086
        series $line &
        running=$((running + 1))
    done <"$T/series"
    wait
}

if [ "${TORTURE:-}" = full ]; then
    # shellcheck disable=SC2086
    install_packages $TORTURE_PACKAGES || skip "xfs and btrfs" "their packages cannot be installed"
    fss=""
    for fs in ${POWER_FS:-ext4 writeback xfs btrfs}; do
        [ "$fs" = writeback ] || command -v "mkfs.$fs" >/dev/null || continue
        fss+=" $fs"
        for mode in flat chain; do
            for scenario in store empty update again parts; do
                echo "$fs $mode $scenario ${POWER_POINTS:-28}"
            done
        done
        echo "$fs flat no-sync 12"
    done >"$T/series"
else
    fss=ext4
    cat >"$T/series" <<LIST
ext4 chain again 8
ext4 flat store 8
ext4 chain empty 8
ext4 flat update 8
ext4 flat no-sync 4
LIST
fi
for fs in $fss; do
    [ "$fs" = writeback ] || check "$fs: what is flushed is in the log, with a flush behind it" power prove "$fs"
done
# The shell's own background jobs must not be waited for.
(all_series)
while read -r fs mode scenario _; do
    log=$T/$fs-$mode-$scenario.log
    if [ "$(cat "${log%.log}.status")" = 0 ]; then
        ok "$(tail -n 1 "$log")"
    else
        fail "$fs $mode $scenario" "$(cat "$log")"
    fi
done <"$T/series"

declare -A started
for image in "$WORK"/*/states/*.img; do
    [ -e "$image" ] || continue
    where=${image#"$WORK"/}
    started[${where%%/*}]=$((${started[${where%%/*}]:-0} + 1))
    [ "${TORTURE:-}" = full ] || [ "${started[${where%%/*}]}" -le 2 ] || continue
    check "${where%%/*}: containerd $CTD_VERSION on state $(basename "$image" .img)" state_starts "$image"
done
finish
