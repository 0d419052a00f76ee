#!/bin/bash
# The trees we make are those that containerd's own unpack makes of the same
# images, in flat and in chain mode.
# Modes: offline or live
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
# All but the one that has no amd64 in it.
names=${IMAGES/arm:1/}
reference_tree nginx:7 >/dev/null

for mode in $(my_modes); do
    root=$T/$mode
    # shellcheck disable=SC2046,SC2086
    set -- --snapshots "$mode" $(refs $names)
    if [ "${PRELOAD_MODE:-offline}" = live ]; then
        check "$mode: preload of all images" preload "$root" "$@"
    else
        check "$mode: preload of all images" "$PYTHON" "$LIB/timed.py" "$T/$mode.used" \
            "$K3SIMG" preload --root "$root" --pause "$PAUSE" "$@"
        read -r _ peak <"$T/$mode.used"
        check "$mode: peak memory of $((peak / 1024)) MiB is at most 64" test "$peak" -le 65536
    fi
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts"; continue; }
    for name in $names; do
        dir=$(ctd_image_dir "$mode" "$REGISTRY/$name")
        if [ -d "$dir" ]; then
            check "$mode: $name is the tree that containerd makes" \
                "$PYTHON" "$LIB/tree.py" "$dir" "$(reference_tree "$name")"
        else
            fail "$mode: $name is the tree that containerd makes" "no top snapshot: $dir"
        fi
    done
    ctd_stop "$mode"
    if [ "$mode" = flat ] && [ "${PRELOAD_MODE:-offline}" = offline ]; then
        # Disk: the trees as they are, the blobs as they came, and 5 percent.
        trees=0
        for name in debian:base nginx:7 layers:32; do
            trees=$((trees + $("$PYTHON" "$LIB/tree.py" --usage "$(reference_tree $name)")))
        done
        disk=$T/disk
        # shellcheck disable=SC2046,SC2086
        preload "$disk" --pause none --snapshots flat $(refs debian:base nginx:7 layers:32) >/dev/null 2>&1
        used=$("$PYTHON" "$LIB/tree.py" --usage "$disk")
        blobs=$("$PYTHON" "$LIB/tree.py" --usage "$disk/io.containerd.content.v1.content")
        check "flat: disk $((used >> 20)) MiB for trees of $((trees >> 20)) and blobs of $((blobs >> 20))" \
            test "$((used * 100))" -le "$(((trees + blobs) * 105))"
        rm -rf -- "$disk"
    fi
    rm -rf -- "$root"
done
finish
