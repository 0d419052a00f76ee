#!/bin/bash
# What containerd says of a store we wrote: complete, unpacked, listed by CRI
# with tag, digest and id, the pause image pinned; bbolt accepts both databases.
# Modes: offline or live
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
names="nginx:7 static:1 exit:1 zstd:1 multi:1 docker2:1"

# json EXPRESSION: over the JSON on stdin, called x.
json() {
    "$PYTHON" -c "import json, sys; x = json.load(sys.stdin); print($1)"
}

for mode in $(both_modes); do
    root=$T/$mode
    # shellcheck disable=SC2046,SC2086
    check "$mode: preload" preload "$root" --snapshots "$mode" $(refs $names)
    check "$mode: bbolt's own checker on both databases" bbolt_check \
        "$root/io.containerd.metadata.v1.bolt/meta.db" "$root/io.containerd.snapshotter.v1.native/metadata.db"
    registry_stop
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts"; continue; }
    table=$(ctd_ctr "$mode" images check --snapshotter native)
    for name in $names rancher/mirrored-pause:3.6; do
        ref=$REGISTRY/$name repo=$REGISTRY/${name%:*}
        check_has "$mode: ctr images check: $name" "$table" "^$ref .* complete \(([0-9]+)/\1\) .* true *$"
        found=$(cri image-status "$ref")
        digest=$(image_digest "$name")
        check_eq "$mode: CRI lists the tag of $name" "$(json 'bool(x and "'"$ref"'" in x["tags"])' <<<"$found")" True
        check_has "$mode: CRI lists the digest of $name" "$found" "\"$repo@$digest\""
        id=$(json 'x["id"] if x else ""' <<<"$found")
        check_has "$mode: CRI finds $name by its id" "$(cri image-status "$id")" "\"$ref\""
        check_eq "$mode: CRI finds $name by its digest" "$(cri image-status "$repo@$digest" | json 'x["id"] if x else ""')" "$id"
    done
    pinned=$(cri image-status "$PAUSE" | json 'x["pinned"]')
    if [ "$CTD_VERSION" = 1.6 ]; then
        skip "$mode: the pause image is pinned" "containerd 1.6.20 does not know pinning"
    else
        check_eq "$mode: the pause image is pinned" "$pinned" True
    fi
    check_eq "$mode: no image is half there" "$(printf '%s\n' "$table" | awk 'NR > 1' | grep -vc ' complete .* true *$')" 0
    size=$(cri image-status "$REGISTRY/exit:1" | json 'x["size"]')
    check "$mode: CRI knows the size of exit:1 ($size)" test "$size" -gt 1000000
    check_eq "$mode: nothing that containerd calls an error" "$(ctd_complaints "$mode")" ""
    ctd_stop "$mode"
    check "$mode: bbolt's checker after containerd used them" bbolt_check \
        "$root/io.containerd.metadata.v1.bolt/meta.db" "$root/io.containerd.snapshotter.v1.native/metadata.db"
    rm -rf -- "$root"
    use_registry
done
finish
