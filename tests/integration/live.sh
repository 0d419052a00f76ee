#!/bin/bash
# Preloads into a containerd that runs all the time, with a pod in it: everything is whole and
# known to CRI at once, the pod runs on, nothing is left behind, nobody else's things are touched.
# Short form: once.
# shellcheck disable=SC2030,SC2031 # "root" of ctd_start's subshell is another one
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
names="nginx:7 static:1 exit:1 zstd:1 multi:1 docker2:1"
CONTENT=io.containerd.content.v1.content
NATIVE=io.containerd.snapshotter.v1.native/snapshots

# json EXPRESSION: over the JSON on stdin, called x.
json() {
    "$PYTHON" -c "import json, sys; x = json.load(sys.stdin); print($1)"
}

# live ARGS...: a preload through the containerd of this round.
live() {
    "$K3SIMG" preload --mode live --address "$T/$mode/sock" --root "$root" --pause "$PAUSE" --snapshots "$mode" "$@"
}

# meta FILTER: the records of this round's meta.db, as containerd has them now.
meta() {
    cp "$root/io.containerd.metadata.v1.bolt/meta.db" "$T/copy.db" && bbolt_dump "$T/copy.db" | grep -E "${1:-.}"
}

# nothing_changes WHAT COMMAND...: what is in the store stays to the byte.
nothing_changes() {
    local what=$1 before
    shift
    before=$(store_content "$root")
    check "$what" "$@"
    check_eq "$what: nothing has changed" "$(store_content "$root")" "$before"
}

# refused STATUS PATTERN ARGS...: a preload that fails in these words, with a hint.
refused() {
    local status=$1 pattern=$2
    shift 2
    "$K3SIMG" preload -q --root "$root" --pause none "$@" "$REGISTRY/debian:base" >"$T/refused" 2>&1
    [ $? = "$status" ] && grep -Eq -- "^k3simg: .*$pattern" "$T/refused" && grep -q '^hint: ' "$T/refused" &&
        [ "$(wc -l <"$T/refused")" = 2 ] && return 0
    cat "$T/refused"
    return 1
}

known_to_cri() {
    local name ref repo found id
    for name in $names rancher/mirrored-pause:3.6; do
        ref=$REGISTRY/$name repo=$REGISTRY/${name%:*}
        found=$(cri image-status "$ref")
        check_eq "$mode: CRI lists the tag of $name" "$(json 'bool(x and "'"$ref"'" in x["tags"])' <<<"$found")" True
        check_has "$mode: CRI lists the digest of $name" "$found" "\"$repo@$(image_digest "$name")\""
        id=$(json 'x["id"] if x else ""' <<<"$found")
        check_has "$mode: CRI finds $name by its id" "$(cri image-status "$id")" "\"$ref\""
        [ "$CTD_VERSION" = 1.6 ] || check_eq "$mode: $name is pinned" "$(json 'x["pinned"] if x else ""' <<<"$found")" True
    done
}

# left: leases, ingests and snapshots of ours that are not committed.
left() {
    # CRI has leases of its own.
    ctd_sh "$mode" 'ctr leases ls -q | grep k3simg; ctr content active | tail -n +2
        ctr snapshots --snapshotter native ls | grep -v Committed | grep k3simg'
    find "$root/$CONTENT/ingest" "$root/.k3simg" -mindepth 1 -maxdepth 1 -not -name losses 2>/dev/null
}

# told: what k3simg itself says of the store.
told() {
    "$K3SIMG" list --root "$root"
    "$K3SIMG" list --root "$root" -o json
    "$K3SIMG" verify --root "$root" 2>&1
    echo "status $?"
}

second() {
    # shellcheck disable=SC2046,SC2086
    live $(refs $names) >"$T/out" 2>&1
}

pod_is() {
    cri status "$pod" | json '" ".join([x["id"], x["state"], str(x["pid"])])'
}

usage() {
    echo $(($("$PYTHON" "$LIB/tree.py" --usage "$1/$CONTENT") + $("$PYTHON" "$LIB/tree.py" --usage "$1/$NATIVE")))
}

refusals() {
    local web was
    nothing_changes "$mode: --mode offline is refused" refused 7 'containerd is running on this root' --mode offline
    nothing_changes "$mode: no socket there" refused 7 'no containerd answers at /nowhere/sock' --address /nowhere/sock
    "$PYTHON" -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$T/nobody"
    nothing_changes "$mode: nobody's socket" refused 7 'no containerd answers at ' --address "$T/nobody"
    (exec "$PYTHON" -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
all = []
while True:
    all.append(s.accept()[0])
    all[-1].sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")' "$T/web-$mode") &
    web=$!
    at_exit eval "kill $web 2>/dev/null"
    for ((i = 0; i < 100; i++)); do
        [ -S "$T/web-$mode" ] && break
        sleep 0.05
    done
    nothing_changes "$mode: something else behind the socket" refused 7 "at $T/web-$mode" --address "$T/web-$mode"
    kill $web
    # A subshell: CRI_SOCKET stays.
    at_exit ctd_kill stranger
    (
        ctd_start "$CTD_VERSION" "$T/stranger" stranger
    ) >"$T/stranger.log" 2>&1 || fail "$mode: another containerd starts" "$(cat "$T/stranger.log")"
    was=$(ctd_holds stranger "$T/stranger")
    nothing_changes "$mode: a containerd of another root" refused 7 'has another root than ' --address "$T/stranger/sock"
    check_eq "$mode: nor has the other one changed" "$(ctd_holds stranger "$T/stranger")" "$was"
    ctd_stop stranger
}

other_namespace() {
    local was
    check_eq "$mode: the other namespace is as it was" "$(meta '^"v1"/"other"')" "$other"
    was=$(meta '^"v1"/"k8s.io"' | grep -v '"leases"')
    check "$mode: preload into another namespace" live --namespace other "$REGISTRY/exit:1" "$REGISTRY/zstd:1"
    check_eq "$mode: its images are complete and unpacked" "$(ctd_ctr "$mode" -n other images check --snapshotter native |
        grep -Ec "^$REGISTRY/(exit|zstd|rancher/mirrored-pause):.* complete \(([0-9]+)/\2\) .* true *\$")" 3
    check_eq "$mode: the first namespace is as it was" "$(meta '^"v1"/"k8s.io"' | grep -v '"leases"')" "$was"
    check_eq "$mode: no lease is left there" "$(ctd_ctr "$mode" -n other leases ls -q)" ""
}

for mode in $(my_modes); do
    root=$T/$mode-root
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts"; continue; }
    # What was there before: another namespace, an image of containerd's own, a pod of it.
    ctd_ctr "$mode" -n other content fetch --plain-http "$REGISTRY/multi:1" >"$T/fetch.log" 2>&1
    check_has "$mode: another namespace has an image" "$(ctd_ctr "$mode" -n other images ls -q)" 'multi:1'
    check "$mode: containerd pulls first" cri pull "$REGISTRY/exit:1"
    check "$mode: and the pause image" cri pull "$PAUSE"
    pod=$(cri run "$REGISTRY/exit:1" -- /bin/sleep 100000 | json 'x["id"]')
    pod_before=$(pod_is)
    check_has "$mode: a pod runs" "$pod_before" ' running [1-9]'
    other=$(meta '^"v1"/"other"')

    # shellcheck disable=SC2046,SC2086
    live $(refs $names) >"$T/out" 2>"$T/err"
    status=$?
    known_to_cri
    check_eq "$mode: live preload" "$status" 0
    [ $status = 0 ] || cat "$T/err"
    check_eq "$mode: every line says that it was live" "$(grep -vc '  live  ' "$T/out")" 0
    check_eq "$mode: no lease, no ingest, nothing half-made, no staging" "$(left)" ""
    table=$(ctd_ctr "$mode" images check --snapshotter native)
    check_eq "$mode: ctr images check: all complete and unpacked" \
        "$(printf '%s\n' "$table" | awk 'NR > 1' | grep -vEc ' complete \(([0-9]+)/\1\) .* true *$')" 0
    check_eq "$mode: all are there" "$(printf '%s\n' "$table" | grep -Ec "^$REGISTRY/[^@]*:[^@]* ")" 7
    check "$mode: all images are whole" images_whole "$mode"
    check_has "$mode: exit:1 prints and ends" "$(cri run "$REGISTRY/exit:1" --for 30)" '"output": "ran to the end'
    check_has "$mode: the static binary prints and ends" "$(cri run "$REGISTRY/static:1" --for 30)" 'static binary ran'
    check_has "$mode: zstd layers: the new file is listed" "$(cri run "$REGISTRY/zstd:1" --for 30)" 'new'
    check_has "$mode: the right platform of the index ran" "$(cri run "$REGISTRY/multi:1" --for 30)" '"output": "amd64'
    port=$(free_port)
    state=$(cri run "$REGISTRY/nginx:7" --env "PORT=$port")
    check_has "$mode: a pod with nginx runs" "$state" '"state": "running"'
    check_eq "$mode: nginx answers with its page" "$(page "$port")" "<h1>k3simg test page</h1>"

    # Again, with a pod on each of two images.
    ctd_collect "$mode"
    nothing_changes "$mode: a second run" second
    check_eq "$mode: it says so" "$(grep -c '  live  up to date  ' "$T/out")" 7
    check "$mode: after a collection all images are whole" images_whole "$mode"
    check_eq "$mode: the first pod has not noticed" "$(pod_is)" "$pod_before"
    check_eq "$mode: nor has nginx" "$(page "$port")" "<h1>k3simg test page</h1>"

    [ "$mode" = chain ] || refusals
    [ "$mode" = flat ] || other_namespace
    check_eq "$mode: the first pod has still not noticed" "$(pod_is)" "$pod_before"

    # The same told by k3simg while containerd runs and when it does not.
    cri remove-all >/dev/null
    ctd_collect "$mode"
    told >"$T/told.live"
    ctd_stop "$mode"
    told >"$T/told.stopped"
    check "$mode: list and verify say the same when it is stopped" diff "$T/told.live" "$T/told.stopped"
    check_has "$mode: and that is that all is well" "$(tail -n 1 "$T/told.live")" '^status 0$'
    check "$mode: bbolt's checker on both databases" bbolt_check \
        "$root/io.containerd.metadata.v1.bolt/meta.db" "$root/io.containerd.snapshotter.v1.native/metadata.db"
    nothing_changes "$mode: --mode live on a stopped root" refused 7 'no containerd is running on this root' --mode live
    check_eq "$mode: nothing that containerd calls an error" "$(ctd_complaints "$mode" 'get usage for snapshot')" ""
    rm -rf -- "$root"

    # Disk: roots with nothing else in them.
    # shellcheck disable=SC2046,SC2086
    check "$mode: offline preload" env PRELOAD_MODE=offline "$K3SIMG" preload --root "$T/offline" --pause "$PAUSE" \
        --snapshots "$mode" $(refs $names)
    offline=$(usage "$T/offline")
    rm -rf -- "$T/offline"
    root=$T/disk-root
    # shellcheck disable=SC2046,SC2086
    PRELOAD_MODE=live check "$mode: live preload into a new root" preload "$root" --snapshots "$mode" $(refs $names)
    online=$(usage "$root")
    check "$mode: disk $((online >> 10)) KiB live, $((offline >> 10)) offline" test "$online" -le $((offline + offline / 200))
    rm -rf -- "$root"
done
finish
