#!/bin/bash
# The same command again changes nothing and fetches no layer.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
names="nginx:7 exit:1 zstd:1 multi:1"

layers_fetched() {
    local big
    # Configs and manifests may be asked for again; layers may not.
    big=$(find "$(images_storage)/registry/docker/registry/v2/blobs" -name data -size +3k |
        sed 's|.*/\([0-9a-f]\{64\}\)/data$|sha256:\1|')
    tail -n "+$(($1 + 1))" "$T/registry/log" >"$T/since/log"
    registry_blobs since | grep -cF "$big"
}

mkdir "$T/since"
for mode in flat chain; do
    root=$T/$mode
    # shellcheck disable=SC2046,SC2086
    check "$mode: preload" preload "$root" --snapshots $mode $(refs $names)
    before=$(store_state "$root")
    lines=$(wc -l <"$T/registry/log")
    # shellcheck disable=SC2046,SC2086
    check "$mode: the same again" preload "$root" --snapshots $mode $(refs $names)
    check_eq "$mode: nothing has changed" "$(store_state "$root")" "$before"
    check_eq "$mode: no layer was fetched" "$(layers_fetched "$lines")" 0
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts"; continue; }
    check_has "$mode: containerd runs an image" "$(cri run "$REGISTRY/exit:1")" 'ran to the end'
    ctd_stop "$mode"
    before=$(store_content "$root")
    lines=$(wc -l <"$T/registry/log")
    # shellcheck disable=SC2046,SC2086
    check "$mode: the same again after containerd ran" preload "$root" --snapshots $mode $(refs $names)
    check_eq "$mode: nothing has changed either" "$(store_content "$root")" "$before"
    check_eq "$mode: no layer was fetched either" "$(layers_fetched "$lines")" 0
    lines=$(wc -l <"$T/registry/log")
    check "$mode: one image more, on layers that are there" preload "$root" --snapshots $mode "$REGISTRY/docker2:1"
    check_eq "$mode: no layer was fetched for it" "$(layers_fetched "$lines")" 0
    rm -rf -- "$root"
done

# containerd's own pull is as good as ours: nothing to fetch.
root=$T/own
ctd_start "$CTD_VERSION" "$root" own && {
    check "containerd pulls" cri pull "$REGISTRY/nginx:7"
    ctd_stop own
    lines=$(wc -l <"$T/registry/log")
    check "preload of what containerd has" preload "$root" "$REGISTRY/nginx:7"
    check_eq "only the pause image was fetched" "$(layers_fetched "$lines")" 1
}
finish
