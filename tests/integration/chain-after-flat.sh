#!/bin/bash
# A flat store completed in chain mode: every chain ID is there and survives
# containerd's garbage collector, a pull finds all of them, and nothing of it
# outlives the image.
# Modes: offline or live
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
root=$T/root
snapshots() {
    ctd_ctr ctd snapshots --snapshotter native ls | grep -c Committed
}

check "flat" preload "$root" --pause none "$REGISTRY/nginx:7"
check_eq "flat: one tree" "$(ls "$root/io.containerd.snapshotter.v1.native/snapshots")" 1
check "then chain" preload "$root" --pause none --snapshots chain "$REGISTRY/nginx:7"
# A containerd that starts may rewrite its database, but nothing in it.
state() {
    if [ "${PRELOAD_MODE:-offline}" = live ]; then
        bbolt_dump "$root/io.containerd.metadata.v1.bolt/meta.db"
        find "$root/io.containerd.content.v1.content/blobs" "$root/io.containerd.snapshotter.v1.native/snapshots" \
            -printf '%p %y %m %s %T@ %i\n' | sort
    else
        store_state "$root"
    fi
}
before=$(state)
check "chain again" preload "$root" --pause none --snapshots chain "$REGISTRY/nginx:7"
check_eq "which changes nothing" "$(state)" "$before"
check "bbolt's checker on both databases" bbolt_check \
    "$root/io.containerd.metadata.v1.bolt/meta.db" "$root/io.containerd.snapshotter.v1.native/metadata.db"
ctd_start "$CTD_VERSION" "$root" || die "containerd does not start"
check_eq "containerd has 7 snapshots" "$(snapshots)" 7
# Another image comes and goes: the collector runs.
check "an image is pulled" cri pull "$REGISTRY/exit:1"
cri rmi "$REGISTRY/exit:1" >/dev/null
check_eq "after its removal and a collection there are still 7" "$(snapshots)" 7
check "the image is whole" images_whole ctd
blobs=$(registry_blobs | wc -l)
check "containerd pulls the image itself" cri pull "$REGISTRY/nginx:7"
check_eq "and fetches no layer" "$(registry_blobs | wc -l)" "$blobs"
# shellcheck disable=SC2046
ctd_ctr ctd images rm --sync $(ctd_ctr ctd images ls -q) >/dev/null
for ((i = 0; i < 100; i++)); do
    [ "$(snapshots)" = 0 ] && break
    sleep 0.2
done
check_eq "after the image's removal there are none" "$(snapshots)" 0
ctd_stop
finish
