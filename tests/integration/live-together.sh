#!/bin/bash
# containerd and k3simg share a root in turn: neither harms what the other
# made, and what we wrote can be removed to the last file.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
NATIVE=io.containerd.snapshotter.v1.native/snapshots
BLOBS=io.containerd.content.v1.content/blobs/sha256
ours="nginx:7 exit:1"

# wait_gc ROOT N M: until the root has N snapshots and M blobs, or 20 s.
wait_gc() {
    local i
    for ((i = 0; i < 100; i++)); do
        [ "$(count "$1/$NATIVE")" = "$2" ] && [ "$(count "$1/$BLOBS")" = "$3" ] && return 0
        sleep 0.2
    done
    echo "snapshots: $(count "$1/$NATIVE") (wanted $2), blobs: $(count "$1/$BLOBS") (wanted $3)"
    ctd_ctr "$mode" snapshots --snapshotter native ls
    ctd_ctr "$mode" content ls
    return 1
}

count() {
    find "$1" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l
}

for mode in flat chain; do
    root=$T/$mode
    # containerd was there first and has images of its own.
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts"; continue; }
    check "$mode: containerd pulls first" cri pull "$REGISTRY/zstd:1"
    ctd_stop "$mode"
    # shellcheck disable=SC2046,SC2086
    check "$mode: preload beside it" preload "$root" --snapshots $mode $(refs $ours)
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts again"; continue; }
    check "$mode: all images are whole" images_whole "$mode"
    check "$mode: containerd pulls more" cri pull "$REGISTRY/multi:1"
    check "$mode: containerd pulls what shares our layers" cri pull "$REGISTRY/docker2:1"
    check_has "$mode: it runs them" "$(cri run "$REGISTRY/multi:1")" '"exit_code": 0'
    check_has "$mode: it runs ours" "$(cri run "$REGISTRY/exit:1")" 'ran to the end'
    check "$mode: it removes images" cri rmi "$REGISTRY/multi:1" "$REGISTRY/zstd:1"
    ctd_ctr "$mode" images rm --sync "$REGISTRY/docker2:1" >/dev/null 2>&1
    check "$mode: ours are still whole" images_whole "$mode"
    ctd_stop "$mode"
    check "$mode: a further preload" preload "$root" --snapshots $mode "$REGISTRY/static:1" "$REGISTRY/multi:1"
    check "$mode: bbolt's checker on both databases" bbolt_check \
        "$root/io.containerd.metadata.v1.bolt/meta.db" "$root/io.containerd.snapshotter.v1.native/metadata.db"
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts after it"; continue; }
    check "$mode: all images are whole after it" images_whole "$mode"
    check_has "$mode: what was added runs" "$(cri run "$REGISTRY/static:1")" 'static binary ran'
    # Take everything away.
    # shellcheck disable=SC2046,SC2086
    ctd_ctr "$mode" images rm --sync $(ctd_ctr "$mode" images ls -q) >/dev/null
    check "$mode: after ctr images rm and GC no snapshot and no blob is left" wait_gc "$root" 0 0
    check_eq "$mode: CRI lists nothing" "$(cri images)" "[]"
    ctd_stop "$mode"
    check_eq "$mode: no file of an image is left in the root" \
        "$(find "$root" -type f -size +200k -not -name '*.db'; find "$root/$NATIVE" -mindepth 1)" ""
    # And it works once more from there.
    check "$mode: preload into the emptied root" preload "$root" --snapshots $mode "$REGISTRY/exit:1"
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts on it"; continue; }
    check_has "$mode: and its image runs" "$(cri run "$REGISTRY/exit:1")" 'ran to the end'
    check_eq "$mode: nothing that containerd calls an error" \
        "$(grep -E 'level=(error|fatal)|panic' "$T/$mode/log" | grep -v 'cni' | head -n 3)" ""
    ctd_stop "$mode"
    rm -rf -- "$root"
done
finish
