#!/bin/bash
# While images are pulled, run, removed and collected in the same containerd all the time, live
# preloads of changing images come and go: nothing is lost, and at the end nothing is left.
# TORTURE=full: 100 preloads instead of 12.
# Torture only: ./test torture live-churn, or by name.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"
# shellcheck source=tests/lib/small.sh
. "$LIB/small.sh"

rounds=12
[ "${TORTURE:-}" != full ] || rounds=100
use_registry
small_registry
small_reference
root=$T/root
ctd_start "$CTD_VERSION" "$root" || die "containerd does not start"
cri pull "$PAUSE" >/dev/null || die "containerd cannot pull"

holds() {
    ctd_holds ctd "$root" "$@"
}

before=$(holds "$CTD_COLLECT")

# churn: other images of the same registries, some of which share layers with ours.
churn() {
    local n=0 image
    while [ ! -e "$T/enough" ]; do
        for image in "$REGISTRY/exit:1" "$small/old:1" "$REGISTRY/multi:1"; do
            cri pull "$image" || echo "failed: pull $image"
            [ "$image" = "$small/old:1" ] || cri run "$image" --for 20 || echo "failed: run $image"
            ctd_collect ctd
            cri rmi "$image" || echo "failed: rmi $image"
            ctd_collect ctd
            n=$((n + 1))
        done
    done
    echo "churned: $n"
}
churn >"$T/churn" 2>&1 &
churning=$!
at_exit eval "kill $churning 2>/dev/null"

# removed IMAGE...: by CRI, as kubelet does it; by tag, so that all names go.
removed() {
    local image
    for image in "$@"; do
        cri rmi "$small/$image"
    done
}

# ours_whole IMAGE...: all but old:1, which the churn removes in the midst of a look.
ours_whole() {
    SMALL_ONLY="^$small/(app|web|multi):" small_whole ctd $#
}

for ((i = 0; i < rounds; i++)); do
    mode=$([ $((i % 2)) = 0 ] && echo flat || echo chain)
    small_app $((i / 3 % 2))
    case $((i % 4)) in
    0) set -- app:1 web:1 ;;
    1) set -- web:1 multi:1 ;;
    2) set -- app:1 multi:1 ;;
    3) set -- multi:1 web:1 app:1 ;;
    esac
    # shellcheck disable=SC2046
    check "preload $i, $mode: $*" "$K3SIMG" preload --mode live --address "$T/ctd/sock" --root "$root" --pause none \
        --snapshots "$mode" $(for image; do echo "$small/$image"; done)
    check "preload $i: ours are whole" ours_whole "$@"
    [ $((i % 3)) != 2 ] || check "preload $i: then CRI removes $1" removed "$1"
done

touch "$T/enough"
wait $churning
cri remove-all >/dev/null
check_eq "the churn had no failures" "$(grep '^failed\|^cri.py' "$T/churn")" ""
check_has "and went round ($(tail -n 1 "$T/churn"))" "$(cat "$T/churn")" '^churned: [1-9]'
check "at the end all is whole" small_whole ctd 1
check_eq "no lease of ours is left" "$(ctd_ctr ctd leases ls -q | grep k3simg)" ""
sed -n 's/^image //p' <<<"$before" >"$T/keep"
check_eq "after the removal of all nothing is left" "$(holds "
    ctr images rm --sync \$(ctr images ls -q | grep -v -x -F -f '$T/keep') >/dev/null 2>&1
    $CTD_COLLECT")" "$before"
check "verify finds no fault" "$K3SIMG" verify --root "$root"
check_eq "nothing that containerd calls an error" "$(ctd_complaints ctd 'get usage for snapshot')" ""
ctd_stop
check "bbolt's checker on both databases" bbolt_check \
    "$root/io.containerd.metadata.v1.bolt/meta.db" "$root/io.containerd.snapshotter.v1.native/metadata.db"
finish
