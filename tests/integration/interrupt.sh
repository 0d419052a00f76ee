#!/bin/bash
# SIGINT and SIGKILL at many moments: containerd then sees whole images only,
# and the next run finishes the work.  Each containerd gets every other moment,
# TORTURE=full all of them and some more.
# Short form: once, with every other moment.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
names="nginx:7 exit:1 zstd:1 multi:1"
mode=${SNAPSHOTS:-chain}
# shellcheck disable=SC2046,SC2086
set -- $(refs $names)
reference_tree nginx:7 >/dev/null

preload "$T/warm" --snapshots "$mode" "$@" >/dev/null 2>&1
rm -rf -- "$T/warm"
start=$(now_ms)
check "a run without disturbance" preload "$T/whole" --snapshots "$mode" "$@"
full=$(($(now_ms) - start))
rm -rf -- "$T/whole"

# once SIGNAL PERCENT
once() {
    local signal=$1 percent=$2 root=$T/$1-$2 what pid status
    what="SIG$signal at $percent% of $full ms"
    # A store that has something in it already.
    preload "$root" --snapshots "$mode" --pause none "$REGISTRY/static:1" >/dev/null 2>&1
    "$K3SIMG" preload --root "$root" --pause "$PAUSE" --snapshots "$mode" "${refs[@]}" >"$T/out" 2>&1 &
    pid=$!
    sleep "$(printf '%d.%03d' $((full * percent / 100000)) $((full * percent / 100 % 1000)))"
    kill "-$signal" "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    status=$?
    case $signal:$status in
    INT:130 | KILL:137) ok "$what: ends with $status" ;;
    *:0) ok "$what: was done already" ;;
    *) fail "$what: ends with $status" "$(cat "$T/out")" ;;
    esac
    if [ -e "$root/io.containerd.metadata.v1.bolt/meta.db" ]; then
        check "$what: bbolt's checker" bbolt_check "$root/io.containerd.metadata.v1.bolt/meta.db" \
            "$root/io.containerd.snapshotter.v1.native/metadata.db"
    fi
    if ctd_start "$CTD_VERSION" "$root" ctd; then
        check "$what: containerd sees whole images only" images_whole ctd
        check_has "$what: what was there before runs" "$(cri run "$REGISTRY/static:1" --for 30 2>&1)" '"output": "static|mirrored-pause'
        ctd_stop
    else
        fail "$what: containerd starts"
    fi
    check "$what: the next run finishes" preload "$root" --snapshots "$mode" "${refs[@]}"
    if ctd_start "$CTD_VERSION" "$root" ctd; then
        check "$what: all is whole then" images_whole ctd
        check_eq "$what: all are listed then" "$(cri images | grep -c '^   "127.*:[0-9.]*"$')" 6
        ctd_stop
    else
        fail "$what: containerd starts then"
    fi
    check_eq "$what: no leftovers" "$(find "$root/.k3simg" -mindepth 1 -not -path '*/losses*' 2>/dev/null; find \
        "$root/io.containerd.snapshotter.v1.native/snapshots" -mindepth 1 -maxdepth 1 -not -name '[0-9]*')" ""
    rm -rf -- "$root"
}

refs=("$@")
moments=(INT:60 KILL:40 KILL:88 KILL:95)
[ "${TORTURE:-}" != full ] || moments+=(INT:20 KILL:75 INT:90 KILL:10 KILL:99)
n=0
for moment in "${moments[@]}"; do
    n=$((n + 1))
    ! my_turn $n || once "${moment%:*}" "${moment#*:}"
done
finish
