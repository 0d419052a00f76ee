#!/bin/bash
# containerd and k3simg share a root in turn: neither harms what the other
# made, and what we wrote can be removed to the last file.
# Modes: offline or live
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

for mode in $(my_modes); do
    root=$T/$mode
    # containerd was there first and has images of its own.
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts"; continue; }
    check "$mode: containerd pulls first" cri pull "$REGISTRY/zstd:1"
    ctd_stop "$mode"
    # shellcheck disable=SC2046,SC2086
    check "$mode: preload beside it" preload "$root" --snapshots "$mode" $(refs $ours)
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts again"; continue; }
    check "$mode: all images are whole" images_whole "$mode"
    check "$mode: containerd pulls more" cri pull "$REGISTRY/multi:1"
    check "$mode: containerd pulls what shares our layers" cri pull "$REGISTRY/docker2:1"
    check_has "$mode: it runs them" "$(cri run "$REGISTRY/multi:1" --for 30)" '"exit_code": 0'
    check_has "$mode: it runs ours" "$(cri run "$REGISTRY/exit:1" --for 30)" 'ran to the end'
    check "$mode: it removes images" cri rmi "$REGISTRY/multi:1" "$REGISTRY/zstd:1"
    ctd_ctr "$mode" images rm --sync "$REGISTRY/docker2:1" >/dev/null 2>&1
    check "$mode: ours are still whole" images_whole "$mode"
    ctd_stop "$mode"
    check "$mode: a further preload" preload "$root" --snapshots "$mode" "$REGISTRY/static:1" "$REGISTRY/multi:1"
    check "$mode: bbolt's checker on both databases" bbolt_check \
        "$root/io.containerd.metadata.v1.bolt/meta.db" "$root/io.containerd.snapshotter.v1.native/metadata.db"
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts after it"; continue; }
    check "$mode: all images are whole after it" images_whole "$mode"
    check_has "$mode: what was added runs" "$(cri run "$REGISTRY/static:1" --for 30)" 'static binary ran'
    # Take everything away.
    # shellcheck disable=SC2046,SC2086
    ctd_ctr "$mode" images rm --sync $(ctd_ctr "$mode" images ls -q) >/dev/null
    check "$mode: after ctr images rm and GC no snapshot and no blob is left" wait_gc "$root" 0 0
    check_eq "$mode: CRI lists nothing" "$(cri images)" "[]"
    ctd_stop "$mode"
    check_eq "$mode: no file of an image is left in the root" \
        "$(find "$root" -type f -size +200k -not -name '*.db'; find "$root/$NATIVE" -mindepth 1)" ""
    # And it works once more from there.
    check "$mode: preload into the emptied root" preload "$root" --snapshots "$mode" "$REGISTRY/exit:1"
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts on it"; continue; }
    check_has "$mode: and its image runs" "$(cri run "$REGISTRY/exit:1" --for 30)" 'ran to the end'
    check_eq "$mode: nothing that containerd calls an error" "$(ctd_complaints "$mode")" ""
    ctd_stop "$mode"
    rm -rf -- "$root"
done

# --- k3simg and k3simg, which is the same in both modes and on each containerd ---

{ [ "${PRELOAD_MODE:-offline}" = offline ] && my_turn 0; } || finish

# A registry that does not answer keeps the first one waiting for as long as we like.
normal=$REGISTRY
registry_start -n slow
slow=$REGISTRY
REGISTRY=$normal

waiting=()

# hold ROOT: a first k3simg has the root, and waits for its registry; $first is its process.
hold() {
    local i
    kill -STOP "$(cat "$T/slow/pid")"
    "$K3SIMG" preload --root "$1" --pause none "$slow/exit:1" "$slow/zstd:1" >"$1.first" 2>&1 &
    first=$!
    for ((i = 0; i < 600; i++)); do
        # The directory is made when the lock has been taken.
        [ -d "$1/.k3simg/blobs" ] && return 0
        sleep 0.1
    done
    return 1
}

# await_line FILE PATTERN: until a line of it matches, or a minute.
await_line() {
    local i
    for ((i = 0; i < 600; i++)); do
        grep -q -- "$2" "$1" 2>/dev/null && return 0
        sleep 0.1
    done
    cat "$1"
    return 1
}

go_on() {
    kill -CONT "$(cat "$T/slow/pid")"
}
at_exit go_on

# second ROOT: one more, which has to wait; $second is its process.
second() {
    "$K3SIMG" preload --root "$1" --pause none "$REGISTRY/multi:1" "$REGISTRY/exit:1" >"$1.out" 2>"$1.second" &
    second=$!
    check "two: the second one says that it waits" await_line "$1.second" 'waiting for another k3simg'
    check "two: and does" kill -0 "$second"
}

# both_whole ROOT TAG...: exactly these images, and the databases in order.
both_whole() {
    local root=$1
    shift
    names "$root" | sort | diff - <(printf '%s\n' "$@" | sort) &&
        bbolt_check "$root/io.containerd.metadata.v1.bolt/meta.db" "$root/io.containerd.snapshotter.v1.native/metadata.db" &&
        [ -z "$(find "$root/.k3simg" -mindepth 1 -not -path '*/losses*' 2>/dev/null)" ]
}

root=$T/two
hold "$root"
check_eq "two: the first one has the root" "$?" 0
second "$root"
go_on
wait "$first"
check_eq "two: the first one ends well" "$?" 0
wait "$second"
check_eq "two: the second one ends well" "$?" 0
check "two: all images are there" both_whole "$root" "$slow/exit:1" "$slow/zstd:1" "$REGISTRY/multi:1" "$REGISTRY/exit:1"

root=$T/killed
hold "$root"
check_eq "two: again" "$?" 0
second "$root"
kill -KILL "$first"
wait "$first" 2>/dev/null
wait "$second"
check_eq "two: the first one is killed: the second one ends well" "$?" 0
check "two: its images are there" both_whole "$root" "$REGISTRY/multi:1" "$REGISTRY/exit:1"
go_on
check "two: the first one's come with the next run" preload "$root" --pause none "$slow/exit:1" "$slow/zstd:1"
check "two: then all are there" both_whole "$root" "$slow/exit:1" "$slow/zstd:1" "$REGISTRY/multi:1" "$REGISTRY/exit:1"

root=$T/impatient
hold "$root"
check_eq "two: and again" "$?" 0
second "$root"
kill -INT "$second"
wait "$second"
check_eq "two: the second one is interrupted while it waits" "$?" 130
go_on
wait "$first"
check_eq "two: which is nothing to the first one" "$?" 0
check "two: whose images are there" both_whole "$root" "$slow/exit:1" "$slow/zstd:1"

# Others than preload: what only reads does not wait, what writes does.
root=$T/looks
check "two: a store to look at" preload "$root" --pause none "$REGISTRY/exit:1"
find "$root/$NATIVE" -name busybox -type f -delete
hold "$root"
check_eq "two: and a preload at work in it" "$?" 0
check "two: verify looks at once" "$K3SIMG" verify --root "$root" "$REGISTRY/exit:1"
for command in "verify --deep" repair; do
    # shellcheck disable=SC2086
    "$K3SIMG" $command --root "$root" "$REGISTRY/exit:1" >"$root.${command%% *}.out" 2>"$root.${command%% *}" &
    second=$!
    check "two: $command says that it waits" await_line "$root.${command%% *}" 'waiting for another k3simg'
    check "two: $command waits" kill -0 "$second"
    waiting+=("$second")
done
go_on
wait "$first"
check_eq "two: the preload ends well" "$?" 0
wait "${waiting[1]}"
status=$?
# Both registries' names lead to this image; the one that was asked for is told.
check_eq "two: then repair mends" "$status $(tail -n 1 "$root.repair.out")" \
    "0 $REGISTRY/exit:1: mended, 1 finding"
# Whoever came first of the two; it may find the damage or not, and nothing else.
wait "${waiting[0]}"
status=$?
check "two: verify --deep has looked (status $status)" test "$status" = 0 -o "$status" = 10
check "two: and all is whole" "$K3SIMG" verify --deep --root "$root"
check "two: all images are there" both_whole "$root" "$REGISTRY/exit:1" "$slow/exit:1" "$slow/zstd:1"

# Eight at once, of which each shares images with the next, some flat and some chain.
root=$T/eight
all=(exit:1 zstd:1 multi:1 static:1 docker2:1 nginx:7 debian:base rancher/mirrored-pause:3.6)
jobs=()
for ((i = 0; i < 8; i++)); do
    mode=$([ $((i % 2)) = 0 ] && echo flat || echo chain)
    # shellcheck disable=SC2046
    "$K3SIMG" preload -q --root "$root" --pause none --snapshots "$mode" \
        $(refs "${all[i]}" "${all[(i + 1) % 8]}" "${all[(i + 2) % 8]}") >"$T/eight.$i" 2>&1 &
    jobs+=($!)
done
for ((i = 0; i < 8; i++)); do
    wait "${jobs[i]}"
    check_eq "eight: number $i ends well" "$?" 0
done
# shellcheck disable=SC2046
check "eight: all images are there" both_whole "$root" $(refs "${all[@]}")
if ctd_start "$CTD_VERSION" "$root" eight; then
    check "eight: containerd finds all of them whole" images_whole eight
    check_has "eight: and runs one" "$(cri run "$REGISTRY/static:1" --for 30)" 'static binary ran'
    ctd_stop eight
else
    fail "eight: containerd starts"
fi
finish
