#!/bin/bash
# The same command again changes nothing and fetches no layer.
# Short form: once.
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

# asked FROM: methods and paths of all requests since line FROM of the log.
asked() {
    # The registry writes its log a little later than its answer.
    sleep 0.3
    tail -n "+$(($1 + 1))" "$T/registry/log" | sed -n 's|.*"\([A-Z]* /v2/[^ ]*\) HTTP/[^"]*" .*|\1|p'
}

mkdir "$T/since"
for mode in $(my_modes); do
    root=$T/$mode
    # shellcheck disable=SC2046,SC2086
    check "$mode: preload" preload "$root" --snapshots "$mode" $(refs $names)
    before=$(store_state "$root")
    lines=$(wc -l <"$T/registry/log")
    # shellcheck disable=SC2046,SC2086
    check "$mode: the same again" preload "$root" --snapshots "$mode" $(refs $names)
    check_eq "$mode: nothing has changed" "$(store_state "$root")" "$before"
    check_eq "$mode: no layer was fetched" "$(layers_fetched "$lines")" 0
    # A tag costs one HEAD for each image, the pause image included.
    lines=$(wc -l <"$T/registry/log")
    # shellcheck disable=SC2046,SC2086
    preload "$root" --snapshots "$mode" $(refs $names) >/dev/null 2>&1
    check_eq "$mode: one HEAD for each tag and nothing else" "$(asked "$lines" | sort)" \
        "$(for name in $names rancher/mirrored-pause:3.6; do
            echo "HEAD /v2/${name%:*}/manifests/${name##*:}"
        done | sort)"
    # A digest costs nothing at all.
    # shellcheck disable=SC2046,SC2086
    pinned=$(for name in $names; do echo "$REGISTRY/${name%:*}@$(image_digest $name)"; done)
    # shellcheck disable=SC2086
    check "$mode: the same by digest" "$K3SIMG" preload --root "$root" --pause none --snapshots "$mode" $pinned
    before=$(store_state "$root")
    lines=$(wc -l <"$T/registry/log")
    # shellcheck disable=SC2086
    check "$mode: and once more" "$K3SIMG" preload --root "$root" --pause none --snapshots "$mode" $pinned
    check_eq "$mode: by digest nothing is asked for" "$(asked "$lines")" ""
    check_eq "$mode: nothing has changed by that" "$(store_state "$root")" "$before"
    if command -v strace >/dev/null; then
        # shellcheck disable=SC2086
        strace -f -qq -o "$T/trace" -e trace=socket,connect "$K3SIMG" preload --root "$root" --pause none \
            --snapshots "$mode" $pinned >/dev/null 2>&1
        check_eq "$mode: no socket is opened" "$(cat "$T/trace")" ""
    fi
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts"; continue; }
    check_has "$mode: containerd runs an image" "$(cri run "$REGISTRY/exit:1" --for 30)" 'ran to the end'
    ctd_stop "$mode"
    before=$(store_content "$root")
    lines=$(wc -l <"$T/registry/log")
    # shellcheck disable=SC2046,SC2086
    check "$mode: the same again after containerd ran" preload "$root" --snapshots "$mode" $(refs $names)
    check_eq "$mode: nothing has changed either" "$(store_content "$root")" "$before"
    check_eq "$mode: no layer was fetched either" "$(layers_fetched "$lines")" 0
    lines=$(wc -l <"$T/registry/log")
    check "$mode: one image more, on layers that are there" preload "$root" --snapshots "$mode" "$REGISTRY/docker2:1"
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
