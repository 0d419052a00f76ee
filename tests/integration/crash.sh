#!/bin/bash
# k3simg is killed, or a call of it fails, at its n-th change of the file system:
# the store stays whole, containerd starts on it and finds what it should, and the
# next run finishes.  TORTURE=full: every n and every kind, some thousand points for
# which a busy machine needs hours; PART=10 takes every tenth of them, from the
# FIRST-th on.  Else some, flat on one containerd and chain on the other.
# Short form: once.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

torture=$TOP/tests/torture
# Modes: onto a store of containerd's, flat and chain; "new" has no store before.
# In the short form "new" is the one that is flat.
plan=short part=9 first=0 looks=3 modes=chain
[ "${TORTURE:-}" != full ] || plan=full part=${PART:-1} first=${FIRST:-0} looks=1000 modes=$(my_modes)
# The library that makes the faults.
shim=$T/build/release/tests/torture/fault.so
make -s -C "$TOP" O="$T/build" V=release "$shim" >"$T/make.log" 2>&1 || die "fault.so: $(tail -n 3 "$T/make.log")"

# The images of before are in the registry of all tests; those of the runs in a small one.
use_registry
images=$REGISTRY
"$PYTHON" "$torture/kill-images.py" "$T/storage" || die "the images cannot be made"
registry_start -n small -s "$T/storage" -r
small=$REGISTRY
wanted="$small/app:1 $small/web:1 $small/multi:1"

# Stores that containerd makes itself say what is right, before and after app:1 has moved.
ctd_start "$CTD_VERSION" "$T/reference" || die "containerd does not start"
for name in old app web multi; do
    cri pull "$small/$name:1" >/dev/null || die "containerd cannot pull $name:1"
done
ctd_stop
mkdir "$T/points" "$T/before-new"
for mode in $modes; do
    ctd_start "$CTD_VERSION" "$T/before-$mode" || die "containerd does not start"
    check "$mode: containerd pulls images of its own" cri pull "$images/static:1"
    check "$mode: and the pause image" cri pull "$PAUSE"
    ctd_stop
    check "$mode: beside them two are preloaded" "$K3SIMG" preload -q --root "$T/before-$mode" --pause none \
        --snapshots "$mode" "$small/old:1" "$small/app:1"
done
"$PYTHON" "$torture/kill-images.py" --switch "$T/storage"
ctd_start "$CTD_VERSION" "$T/reference" || die "containerd does not start"
cri pull "$small/app:1" >/dev/null || die "containerd cannot pull app:1"
# The chain IDs and the directory of each, for containerd's own answers.
for chain in $(ctd_ctr ctd snapshots --snapshotter native ls | awk '$NF == "Committed" { print $1 }'); do
    printf '%s %s\n' "$chain" "$(ctd_snapshot_dir ctd "$chain")"
done >"$T/chains"
ctd_stop
for image in static:1 rancher/mirrored-pause:3.6; do
    reference_tree $image >>"$T/trees" || die "no reference tree of $image"
done

# points MODE: the runs, and everything that needs no containerd.
points() {
    local mode=$1 word text snapshots=flat some=$part
    [ "$mode" != chain ] || snapshots=chain
    [ "$mode $plan" != "new short" ] || some=$((part * 3))
    mkdir "$T/points/$mode"
    _bbolt_tool >/dev/null || die "no bbolt"
    "$PYTHON" "$torture/kill.py" --shim "$shim" --bbolt "$(_bbolt_tool)/bboltcheck" --mode "$mode" \
        --preload "$K3SIMG preload -q --root ROOT --pause none --snapshots $snapshots $wanted" \
        --before "$T/before-$mode" --known "$T/reference" --work "$T/points/$mode" --plan $plan \
        --part "$some" --first "$first" \
        >"$T/points/$mode.out" 2>"$T/points/$mode.err" || fail "$mode: the series" "$(cat "$T/points/$mode.err")"
    while read -r word text; do
        case $word in
        pass) ok "$text" ;;
        fail) fail "$text" ;;
        *) printf '      %s\n' "$text" ;;
        esac
    done <"$T/points/$mode.out"
}

# whole N: every image that this containerd lists is complete, unpacked, and the tree is
# right; there are N at least.
whole() {
    local line ref chain dir wanted bad=0 n=0
    while read -r line; do
        ref=${line%% *}
        case $ref in
        REF | sha256:* | *@sha256:* | "") continue ;;
        esac
        n=$((n + 1))
        grep -Eq ' complete \(([0-9]+)/\1\) .* true *$' <<<"$line" || { echo "not whole: $line"; bad=1; }
        chain=$(cri image-status "$ref" | sed -n 's/.*"chainID": "\([^"]*\)".*/\1/p')
        dir=$(ctd_snapshot_dir ctd "$chain")
        case $ref in
        "$images"/*) wanted=$(reference_tree "${ref#*/}") ;;
        *) wanted=$(sed -n "s/^$chain //p" "$T/chains") ;;
        esac
        if [ ! -d "$dir" ] || [ ! -d "$wanted" ]; then
            echo "no tree: $line"
            bad=1
        elif ! "$PYTHON" "$LIB/tree.py" "$dir" "$wanted"; then
            bad=1
        fi
    done < <(ctd_ctr ctd images check --snapshotter native)
    [ "$n" -ge "$1" ] || { echo "only $n images"; bad=1; }
    return $bad
}

# seen MODE STATE RUN: what a real containerd says about one state.
seen() {
    local mode=$1 state=$2 what least=4
    [ "$mode" != new ] || least=0
    what="$mode: $(cat "$state/made-by"): containerd"
    rm -rf -- "$T/look"
    cp -a "$state/root" "$T/look"
    if ctd_start "$CTD_VERSION" "$T/look"; then
        check "$what finds whole images only" whole $least
        if [ -n "$3" ]; then
            check_has "$what runs one of before" "$(cri run "$images/static:1" --for 30 2>&1)" '"output": "static'
        fi
        check_eq "$what has nothing to complain of" "$(ctd_complaints ctd)" ""
        ctd_stop
    else
        fail "$what starts"
    fi
    rm -f "$T/ctd/log"
}

for mode in $modes new; do
    points "$mode"
    mapfile -t states < <(find "$T/points/$mode/states" -mindepth 1 -maxdepth 1 | sort)
    step=$(((${#states[@]} + looks - 1) / looks))
    n=0
    for ((i = 0; i < ${#states[@]}; i += step)); do
        run=""
        [ "$mode" = new ] || [ $plan$n = short1 ] || run=yes
        seen "$mode" "${states[i]}" "$run"
        n=$((n + 1))
    done
    printf '      %s: containerd was started on %d of %d states\n' "$mode" $n ${#states[@]}
    rm -rf -- "$T/points/$mode"
done
finish
