#!/bin/bash
# Live preloads that are disturbed: containerd starts, stops or dies in the middle, k3simg is
# killed at a change of the file system or between two frames of its calls, blobs vanish.  What
# containerd has stays whole, what was begun is collected, and the next run completes.
# TORTURE=full: many more points.
# Torture only: ./test torture live-faults, or by name.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"
# shellcheck source=tests/lib/small.sh
. "$LIB/small.sh"

shim=$T/build/release/tests/torture/fault.so
make -s -C "$TOP" O="$T/build" V=release "$shim" >"$T/make.log" 2>&1 || die "fault.so: $(tail -n 3 "$T/make.log")"
small_registry
small_reference
wanted="$small/app:1 $small/web:1 $small/multi:1"
root=$T/root
BLOBS=$root/io.containerd.content.v1.content/blobs/sha256

start() {
    ctd_start "$CTD_VERSION" "$root" || die "containerd does not start"
}

# command MODE ARGS...: the words of a preload, in $run; ADDRESS is the proxy's socket.
command_of() {
    local snapshots=$1
    shift
    # shellcheck disable=SC2206
    run=("$K3SIMG" preload -q --root "$root" --pause none --snapshots "$snapshots" --jobs 1 "$@" $wanted)
}

# proxied ARGS... -- COMMAND: through the proxy; its number of frames in $T/proxy/frames.
proxied() {
    "$PYTHON" "$TOP/tests/torture/proxy.py" --dir "$T/proxy" --to "$T/ctd/sock" "$@"
}

holds() {
    ctd_holds ctd "$root" "$@"
}

# Remove our leases; remove every image but old:1, and collect.
# shellcheck disable=SC2016
drop='
    for lease in $(ctr leases ls -q | grep ^k3simg-); do ctr leases rm --sync "$lease" >/dev/null; done
'
clear="images=\$(ctr images ls -q | grep -v -F -x -f '$T/keep')
    [ -z \"\$images\" ] || ctr images rm --sync \$images >/dev/null 2>&1
    $CTD_COLLECT"

# again WHAT MODE: the next run completes and leaves no lease; then all of it can be removed.
again() {
    local run
    command_of "$2" --mode live --address "$T/ctd/sock"
    check "$1: the next run completes" "${run[@]}"
    check "$1: all is whole then" small_whole ctd 4
    check_eq "$1: no lease is left, and after the removal nothing" "$(holds "$clear")" "$before"
}

turn=0
# killed WHAT STATUS: after a run that was ended.
killed() {
    local mode=flat
    [ "$2" = 137 ] || cat "$T/out"
    check_eq "$1: it was killed" "$2" 137
    check "$1: whole images only" small_whole ctd 1
    turn=$((turn + 1))
    [ $((turn % 2)) = 0 ] || check_eq "$1: after lease and collection all is as before" "$(holds "$drop$clear")" "$before"
    # Every other time in the other mode than that of the run that was killed.
    [ $((turn % 4)) -lt 2 ] || mode=chain
    again "$1" "$mode"
}

# spread N FROM TO: N numbers, other ones with each containerd.
spread() {
    local i shift=0
    [ "$CTD_VERSION" = 2.1 ] || shift=1
    for ((i = 0; i < $1; i++)); do
        echo $(($2 + ((2 * i + shift) * ($3 - $2)) / (2 * $1)))
    done
}

several=3 few=1
[ "${TORTURE:-}" != full ] || several=60 few=20

start
check "containerd has an image of its own" cri pull "$small/old:1"
ctd_ctr ctd images ls -q >"$T/keep"
before=$(holds "$CTD_COLLECT")

# --- k3simg is killed ---

for mode in flat chain; do
    command_of "$mode" --mode live --address ADDRESS
    check "$mode: through a proxy" proxied "${run[@]}"
    frames=$(cat "$T/proxy/frames")
    check "$mode: which sees its calls ($frames)" test "$frames" -gt 100
    check "$mode: all is whole" small_whole ctd 4
    check_eq "$mode: and goes away again" "$(holds "$clear")" "$before"
    for n in $(spread $several 3 "$frames"); do
        proxied --at "$n" --how kill "${run[@]}" >"$T/out" 2>&1
        killed "$mode: killed before frame $n of $frames" $?
    done
    for n in $(spread $few 10 "$frames"); do
        proxied --at "$n" --how late "${run[@]}" >"$T/out" 2>&1
        killed "$mode: killed before the answer to frame $n of $frames" $?
    done
    # Changes of the file system: only those after everything is fetched and built.
    command_of "$mode" --mode live --address "$T/ctd/sock"
    rm -f "$T/trace"
    check "$mode: traced" env LD_PRELOAD="$shim" FAULT_LOG="$T/trace" FAULT_TRACE=1 "${run[@]}"
    check_eq "$mode: nothing is left of that" "$(holds "$clear")" "$before"
    first=$(awk '$3 == "syncfs" { print $2 }' "$T/trace" | tail -n 1)
    last=$(awk '$1 == "total" { print $2 }' "$T/trace")
    check "$mode: its commit changes files ($((last - first)) times)" test "$((last - first))" -gt 15
    for n in $(spread $((few * 2)) $((first + 1)) "$last"); do
        rm -f "$T/hit"
        LD_PRELOAD=$shim FAULT_LOG=$T/hit FAULT_HOW=kill FAULT_AT=$n "${run[@]}" >"$T/out" 2>&1
        status=$?
        killed "$mode: killed at call $n of $last ($(awk '$1 == "hit" { print $3 }' "$T/hit"))" $status
    done
done

# --- blobs that are gone before they are recorded ---

for mode in flat chain; do
    command_of "$mode" --mode live --address ADDRESS
    check "$mode: each blob vanishes before it is recorded" proxied --vanish "$BLOBS" "${run[@]}"
    check "$mode: they were sent instead" small_whole ctd 4
    check "$mode: verify finds every blob whole" "$K3SIMG" verify --deep --root "$root"
    check_eq "$mode: nothing is left of it" "$(holds "$clear")" "$before"
done
ctd_stop
# shellcheck disable=SC2034 # for ctd_config
CTD_EXTRA="[plugins.'io.containerd.metadata.v1.bolt']
  content_sharing_policy = 'isolated'"
start
for mode in flat chain; do
    command_of "$mode" --mode live --address "$T/ctd/sock"
    check "$mode: namespaces that share no content" "${run[@]}"
    check "$mode: all is whole there" small_whole ctd 4
    check "$mode: and in another namespace" "${run[@]}" --namespace other
    check_eq "$mode: whose images are complete" "$(ctd_ctr ctd -n other images check --snapshotter native |
        awk 'NR > 1' | grep -Ec ' complete \(([0-9]+)/\1\) .* true *$')" "$(ctd_ctr ctd -n other images ls -q | wc -l)"
    # shellcheck disable=SC2016
    ctd_sh ctd 'ctr -n other images rm --sync $(ctr -n other images ls -q)' >/dev/null
    check_eq "$mode: nothing is left of either" "$(holds "$clear")" "$before"
done
ctd_stop
unset CTD_EXTRA
start

# --- containerd dies in the middle of a commit ---

# at_frame N COMMAND...: run COMMAND while a preload is held at its frame N; its status.
at_frame() {
    local n=$1 i status
    shift
    rm -rf -- "$T/proxy"
    proxied --at "$n" --how stall "${run[@]}" >"$T/out" 2>&1 &
    status=$!
    for ((i = 0; i < 1200; i++)); do
        [ ! -e "$T/proxy/stalled" ] || break
        sleep 0.05
    done
    "$@"
    touch "$T/proxy/go"
    wait $status
}

for n in $(spread $few 20 "$frames"); do
    mode=$([ $((n % 2)) = 0 ] && echo flat || echo chain)
    what="containerd is killed at frame $n of $frames"
    command_of "$mode" --mode live --address ADDRESS
    at_frame "$n" ctd_kill
    check_eq "$what: exit code" $? 7
    check_eq "$what: one message and a hint" "$(sed 's/: .*//' "$T/out" | tr '\n' ' ')" "k3simg hint "
    check_has "$what: which says what happened" "$(cat "$T/out")" 'closed the connection|cannot connect to|connection to .* broke'
    start
    check "$what: whole images only" small_whole ctd 1
    again "$what" "$mode"
done

# It stops and comes back: a lease outlives that, and so does the preload between two calls.
command_of chain --mode live --address ADDRESS
restart() {
    ctd_stop
    start
}
at_frame 21 restart
status=$?
check "containerd is restarted under a preload: exit code $status" test "$status" = 0 -o "$status" = 7
check "restarted: whole images only" small_whole ctd 1
again "restarted" chain

# --- containerd starts and stops in the middle of a run ---

# hold_run: a preload that waits for its registry, which go_on lets go on; $first is its process.
hold_run() {
    local i
    kill -STOP "$(cat "$T/small/pid")"
    "${run[@]}" >"$T/out" 2>&1 &
    first=$!
    for ((i = 0; i < 1200; i++)); do
        # The directory is made when the lock has been taken.
        [ -d "$root/.k3simg/blobs" ] && return 0
        sleep 0.05
    done
    return 1
}

go_on() {
    kill -CONT "$(cat "$T/small/pid")"
}
at_exit go_on

for mode in flat chain; do
    # Without -q, for the line of each image.
    # shellcheck disable=SC2206
    run=("$K3SIMG" preload --root "$root" --address "$T/ctd/sock" --pause none --snapshots $mode $wanted)
    ctd_stop
    hold_run
    check_eq "$mode: containerd is stopped, a run begins" $? 0
    start
    go_on
    wait $first
    check_eq "$mode: containerd starts meanwhile: the run ends well" $? 0
    check_eq "$mode: live" "$(grep -c '  live  ' "$T/out")" 3
    check "$mode: all is whole" small_whole ctd 4
    check_eq "$mode: nothing is left after the removal" "$(holds "$clear")" "$before"

    hold_run
    check_eq "$mode: containerd runs, a run begins" $? 0
    ctd_stop
    go_on
    wait $first
    check_eq "$mode: containerd stops meanwhile: the run ends well" $? 0
    check_eq "$mode: offline" "$(grep -c "  $mode  " "$T/out") $(grep -c '  live' "$T/out")" "3 0"
    check "$mode: bbolt's checker on both databases" bbolt_check \
        "$root/io.containerd.metadata.v1.bolt/meta.db" "$root/io.containerd.snapshotter.v1.native/metadata.db"
    start
    check "$mode: all is whole again" small_whole ctd 4
    check_eq "$mode: nothing is left again" "$(holds "$clear")" "$before"

    # It stops after the commit was asked to be live only.
    run=("${run[@]}" --mode live)
    hold_run
    ctd_stop
    go_on
    wait $first
    check_eq "$mode: with --mode live that fails" $? 7
    check_eq "$mode: with one message and a hint" "$(sed 's/: .*//' "$T/out" | tail -n 2 | tr '\n' ' ')" "k3simg hint "
    start
    check_eq "$mode: and nothing has changed" "$(holds)" "$before"
done
check_eq "nothing that containerd calls an error" \
    "$(grep -E 'level=fatal|panic' "$T/ctd/log" | head -n 3)" ""
ctd_stop
finish
