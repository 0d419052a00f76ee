#!/bin/bash
# Every --jobs makes the same store, byte for byte but for times; --jobs 1
# starts no thread.
# Once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry

# what_is_in ROOT: trees with their hard links, blobs, databases.
what_is_in() {
    "$PYTHON" "$LIB/tree.py" --hash "$1/io.containerd.snapshotter.v1.native/snapshots"
    find "$1" -path '*/blobs/*' -printf '%P %m %s\n' | sort
    bbolt_dump "$1/io.containerd.metadata.v1.bolt/meta.db"
    bbolt_dump "$1/io.containerd.snapshotter.v1.native/metadata.db"
    find "$1" -maxdepth 2 -not -path '*/.k3simg*' -printf '%P %y %m\n' | sort
}

# timeless: JSON output without what the clock decides and where the root is.
timeless() {
    sed -E 's/"milliseconds":[ ]*[0-9]+/"milliseconds":0/g; s/"createdAt":[ ]*"[^"]*"/"createdAt":""/g; s|"root":[ ]*"[^"]*"|"root":""|'
}

# run ROOT MODE JOBS NAME...: results in ROOT.json.
run() {
    local root=$1 mode=$2 jobs=$3
    shift 3
    # shellcheck disable=SC2046
    preload "$root" -q -o json --jobs "$jobs" --snapshots "$mode" $(refs "$@") >"$root.json"
}

# Blocks in use are measured, not made: ext4 counts a block of its own more or less, as it
# finds room for a file that is on its way to the disk.  Trees and inode counts are compared.
unmeasured() {
    sed -E 's|^("v1"/"snapshots"/.*/"size" = ).*|\1…|; s/"treeBytes":[ ]*[0-9]+/"treeBytes":0/'
}

# blobs_hash ROOT: every blob is what its name says.
blobs_hash() (
    cd "$1/io.containerd.content.v1.content/blobs/sha256" || exit
    for name in *; do
        echo "$name  $name"
    done | sha256sum -c --quiet
)

names="nginx:7 exit:1 zstd:1 multi:1 docker2:1 static:1"
for mode in flat chain; do
    [ $mode = chain ] || names="$names layers:32"
    # The short form leaves out what differs least.
    many=8
    [ $mode = flat ] || many=3
    [ "${TORTURE:-}" != full ] || many="2 3 8"
    for jobs in 1 $many; do
        root=$T/$mode-$jobs
        # shellcheck disable=SC2086
        check "$mode: --jobs $jobs" run "$root" $mode "$jobs" $names
        what_is_in "$root" | unmeasured >"$root.content"
        timeless <"$root.json" | unmeasured >"$root.result"
        "$K3SIMG" list --root "$root" -o json | timeless >"$root.list"
        if [ "$jobs" = 1 ]; then
            check "$mode: the blobs are what their names say" blobs_hash "$root"
            check "$mode: there are records to compare" test "$(grep -c createdat "$root.content")" -gt 20
        else
            check "$mode: --jobs $jobs makes the store of --jobs 1" diff "$T/$mode-1.content" "$root.content"
            check "$mode: --jobs $jobs says the same" diff "$T/$mode-1.result" "$root.result"
            check "$mode: --jobs $jobs lists the same" diff "$T/$mode-1.list" "$root.list"
            rm -rf -- "$root"
        fi
    done
    rm -rf -- "$T/$mode-1"
    names="nginx:7 exit:1 zstd:1 multi:1 docker2:1 static:1"
done

# The kernel's count of the threads of a process, looked at all the time.
most_threads() {
    local pid=$1 most=0 now
    while now=$(sed -n 's/^Threads:[ \t]*//p' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do
        [ "$now" -le "$most" ] || most=$now
    done
    echo "$most"
}

for jobs in 1 2; do
    "$K3SIMG" preload -q --root "$T/threads-$jobs" --pause none --jobs $jobs --snapshots chain \
        "$REGISTRY/nginx:7" >/dev/null 2>&1 &
    pid=$!
    threads=$(most_threads $pid)
    check "--jobs $jobs ends well" wait $pid
    if [ "$jobs" = 1 ]; then
        check_eq "--jobs 1 has one thread" "$threads" 1
    else
        check "--jobs 2 has several ($threads)" test "$threads" -gt 4
    fi
    rm -rf -- "$T/threads-$jobs"
done
# What a look now and then may miss, a tracer does not.
if command -v strace >/dev/null; then
    check "traced" strace -f -qq -o "$T/trace" -e trace=clone,clone3,fork,vfork \
        "$K3SIMG" preload -q --root "$T/traced" --pause "$PAUSE" --jobs 1 --snapshots chain "$REGISTRY/zstd:1" "$REGISTRY/static:1"
    check_eq "--jobs 1 makes no thread and no process" "$(grep -E 'clone|fork' "$T/trace")" ""
    for sync in "" --no-sync; do
        # shellcheck disable=SC2086
        check "traced${sync:+ with }$sync" strace -f -qq -o "$T/trace" -e trace=syncfs \
            "$K3SIMG" preload -q --root "$T/flushed$sync" --pause none $sync "$REGISTRY/static:1"
        check_eq "the file system is flushed${sync:+ not at all with }$sync" "$(grep -c 'syncfs(' "$T/trace")" \
            "$([ -n "$sync" ] && echo 0 || echo 1)"
    done
    check_eq "the same image with and without a flush" "$(names "$T/flushed--no-sync")" "$(names "$T/flushed")"
else
    skip "--jobs 1 makes no thread and no process" "no strace here"
fi

# The bound of docs/pipeline.md, in KiB: some 120 layers.
for jobs in 1 2 8; do
    case $jobs in 1) transfers=1 ;; 2) transfers=4 ;; *) transfers=8 ;; esac
    # shellcheck disable=SC2046
    check "--jobs $jobs: measured" "$PYTHON" "$LIB/timed.py" "$T/used" \
        "$K3SIMG" preload -q --root "$T/memory" --pause none --jobs $jobs --chunk-size 1MiB \
        $(refs nginx:7 layers:32 exit:1 zstd:1 multi:1 docker2:1 static:1 debian:base)
    read -r _ peak <"$T/used"
    check "--jobs $jobs: $peak KiB of memory, no more than computed" \
        test "${peak:-9999999}" -le $((14336 + 4096 * jobs + 1536 * transfers + 120))
    rm -rf -- "$T/memory" "$T/used"
done

for bad in 0 -1 abc 1000 2x ""; do
    "$K3SIMG" preload --root "$T/none" --pause none --jobs "$bad" "$REGISTRY/static:1" >"$T/out" 2>&1
    check_eq "--jobs '$bad': exit code" $? 2
    check_eq "--jobs '$bad': one line and a hint" "$(sed 's/: .*//' "$T/out" | tr '\n' ' ')" "k3simg hint "
done
for bad in -1 abc 16X 1000 99999999999G ""; do
    "$K3SIMG" preload --root "$T/none" --pause none --chunk-size "$bad" "$REGISTRY/static:1" >"$T/out" 2>&1
    check_eq "--chunk-size '$bad': exit code" $? 2
    check_eq "--chunk-size '$bad': one line and a hint" "$(sed 's/: .*//' "$T/out" | tr '\n' ' ')" "k3simg hint "
done
check "nothing was made" test ! -e "$T/none"
finish
