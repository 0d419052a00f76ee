#!/bin/bash
# verify --start: in the containerd that runs an image starts, or it is told why not; nothing is
# pulled, nothing is left, and nobody else's pod notices.
# Short form: once.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
"$PYTHON" "$LIB/unfit.py" >"$T/unfit.port" &
at_exit kill $!
for ((i = 0; i < 200; i++)); do
    [ ! -s "$T/unfit.port" ] || break
    sleep 0.05
done
unfit=127.0.0.1:$(cat "$T/unfit.port")
names="nginx:7 exit:1 static:1 multi:1"
bad="foreign text interpreter nothing user workdir status"

root=$T/root
# shellcheck disable=SC2046,SC2086
check "preload" preload "$root" $(refs $names) $(printf "$unfit/%s:1\n" $bad)
PAUSE=none check "preload for another platform" preload "$root" --platform linux/arm64 "$REGISTRY/arm:1"
registry_stop
ctd_start "$CTD_VERSION" "$root" || { fail "containerd starts"; finish; }

# start ARGS...: sets $status; what it said is in $T/out and $T/err.
start() {
    "$K3SIMG" verify --start --address "$CRI_SOCKET" --containerd-config "$T/ctd/config.toml" "$@" \
        >"$T/out" 2>"$T/err"
    status=$?
}

# starts NAME LINE ARGS...: it exits 0, and standard output has one line, which matches.
starts() {
    local name=$1 line=$2
    shift 2
    start "$@"
    check_eq "$name: status" "$status" 0
    check_eq "$name: one line" "$(wc -l <"$T/out")" 1
    check_has "$name: the line" "$(cat "$T/out" "$T/err")" "$line"
}

# fails NAME WORDS ARGS...: it exits 10 with these words on the line of the error.
fails() {
    local name=$1 words=$2
    shift 2
    start "$@"
    check_eq "$name: status" "$status" 10
    check_has "$name: the words" "$(cat "$T/err")" "^k3simg: error: .* does not start: $words"
    check_has "$name: a hint" "$(cat "$T/err")" '^hint: '
    check_eq "$name: no result" "$(cat "$T/out")" ""
}

# everything: what there is in containerd, and in the places where we put logs.
everything() {
    local dir pid
    ctd_ctr ctd containers ls -q | sort
    ctd_ctr ctd tasks ls -q | sort
    ctd_ctr ctd snapshots --snapshotter native ls | tail -n +2 | sort
    ctd_ctr ctd content ls -q | sort
    ctd_ctr ctd images ls -q | sort
    for dir in /run/k3simg-verify.* /tmp/k3simg-verify.*; do
        pid=${dir#*.}
        [ ! -d "$dir" ] || kill -0 "${pid%.*}" 2>/dev/null || echo "$dir"
    done
}

# as_before NAME: everything is as it was.
as_before() {
    everything >"$T/now"
    check "$1: nothing is left" diff "$T/before" "$T/now"
}

# await FILE WORD: until the file has it.
await() {
    local i
    for ((i = 0; i < 600; i++)); do
        grep -q "$2" "$1" && return 0
        sleep 0.05
    done
    return 1
}

port=$(free_port)
other=$(cri run "$REGISTRY/nginx:7" --env "PORT=$port" | sed -n 's/^ "\(id\|pid\)": "*\([^",]*\)"*,*$/\2/p')
id=$(head -n 1 <<<"$other")
check_has "somebody else's pod runs" "$id" '^[0-9a-f]{64}$'
everything >"$T/before"

# Whatever ends is given time for it: --run-for does not wait longer than needed.
starts "an image that runs on" "^$REGISTRY/nginx:7 started in [0-9.]+m?s and ran for " "$REGISTRY/nginx:7"
for step in image sandbox create start running removed; do
    check_has "an image that runs on: step $step" "$(cat "$T/err")" "^$step +[0-9.]+m?s$"
done
starts "an image that ends" "^$REGISTRY/exit:1 started in [0-9.]+m?s and ended with 0$" --run-for 30s "$REGISTRY/exit:1"
starts "a command that runs on" "ran for 1[0-9]*\.[0-9]s$" --run-for 1500ms "$REGISTRY/exit:1" -- /bin/sleep 1000
starts "an image of several platforms" "started in" -q "$REGISTRY/multi:1"
check_eq "--quiet: nothing but the result" "$(cat "$T/err")" ""
as_before "after successes"

fails "no such image" "the image is not there$" "$REGISTRY/none:1"
fails "an index without this machine's platform" "the image is there, but not for this machine's architecture$" \
    "$REGISTRY/arm:1"
fails "a program for another machine" "the program to start is built for another architecture, or is no program$" \
    --run-for 30s "$unfit/foreign:1"
check_has "a program for another machine: its output" "$(cat "$T/err")" '^    exec /foreign: exec format error$'
fails "no program" "the program to start is built for another architecture, or is no program$" \
    --run-for 30s "$unfit/text:1"
fails "no interpreter" "the program to start needs an interpreter or loader that is not in the image$" \
    --run-for 30s "$unfit/interpreter:1"
fails "no command" "the image has neither entrypoint nor command$" "$unfit/nothing:1"
fails "an unknown user" "the user or group of the image is not in its /etc/passwd$" "$unfit/user:1"
fails "a file as working directory" "the container runtime failed$" "$unfit/workdir:1"
check_has "a file as working directory: the runtime's words" "$(cat "$T/err")" \
    '^containerd says: .*/etc/passwd: not a directory'
fails "no entrypoint, by path" "the program to start is not in the image$" "$REGISTRY/exit:1" -- /no/such/program x
fails "no entrypoint, by name" "the program to start is not in the image$" "$REGISTRY/exit:1" -- no-such-program
fails "not executable" "the program to start is not executable" "$REGISTRY/exit:1" -- /etc/passwd
fails "a status" "the container ended with an error: status 3$" --run-for 30s "$unfit/status:1"
check_eq "a status: its output" "$(sed -n '/^the end of its output:$/,/^hint/s/^    //p' "$T/err")" "first
second"
fails "no network" "there is no network for pods: CNI is not ready$" --pod-network "$REGISTRY/exit:1"
as_before "after failures"

# JSON
json() {
    "$PYTHON" -c 'import json, sys
d = json.load(open(sys.argv[1]))
print(eval(sys.argv[2], {"d": d}))' "$T/out" "$1"
}
start -q -o json --run-for 30s "$REGISTRY/exit:1"
check_eq "JSON: status" "$status" 0
check_eq "JSON: what it is" "$(json '(d["schemaVersion"], d["started"], d["cause"], d.get("exitCode"), d["output"])')" \
    "(1, True, None, 0, 'ran to the end\\n')"
check_eq "JSON: the steps" "$(json '[s["name"] for s in d["steps"] if s["ms"] > 0]')" \
    "['image', 'sandbox', 'create', 'start', 'running', 'removed']"
start -q -o json "$REGISTRY/exit:1" -- /no/such/program
check_eq "JSON of a failure: status" "$status" 10
check_eq "JSON of a failure: the cause" "$(json '(d["started"], d["cause"], [s["name"] for s in d["steps"]])')" \
    "(False, 'no-entrypoint', ['image', 'sandbox', 'create', 'removed'])"

# Words that make no sense
for args in "" "one two" "--deep one" "-n other one" "--run-for x one" "--timeout 0 one"; do
    # shellcheck disable=SC2086
    start $args
    check_eq "usage error: --start $args" "$status" 2
done
"$K3SIMG" verify --start --address "$T/no-socket" "$REGISTRY/exit:1" >"$T/out" 2>"$T/err"
check_eq "no containerd: status" "$?" 7
check_has "no containerd: the words" "$(cat "$T/err")" "error: containerd at $T/no-socket: "

# Interrupted: while it runs, and as soon as it begins.
for when in "^start " "^image "; do
    start --run-for 1h "$REGISTRY/exit:1" -- /bin/sleep 1000 &
    job=$!
    : >"$T/err"
    await "$T/err" "$when"
    kill -INT "$(cat "/proc/$job/task/$job/children")"
    wait $job
    sleep 0.5
    check_has "interrupted after $when: it says so" "$(cat "$T/err")" 'interrupted$'
    as_before "interrupted after $when"
done

check_eq "somebody else's pod runs on" \
    "$(cri status "$id" | sed -n 's/^ "\(id\|pid\)": "*\([^",]*\)"*,*$/\2/p')" "$other"
check_eq "somebody else's pod answers" "$(page "$port")" "<h1>k3simg test page</h1>"

# What a kubelet does to pods that it does not know.  This ends the other pod too.
start --run-for 1h "$REGISTRY/exit:1" -- /bin/sleep 1000 &
job=$!
: >"$T/err"
await "$T/err" "^start "
check "all pods are removed while it runs" cri remove-all
wait $job
check_has "a pod that others end: it has started" "$(cat "$T/out")" "^$REGISTRY/exit:1 started in"
check_has "a pod that others end: a warning" "$(cat "$T/err")" 'warning: somebody else ended the pod'

# No pause image: found before anything is tried where its name is known.
cri rmi "$PAUSE" >/dev/null
lines=$(wc -l <"$T/ctd/log")
fails "no pause image" "the pause image, which every pod needs, is not there$" "$REGISTRY/exit:1"
check_has "no pause image: its name" "$(cat "$T/err")" "^containerd says: $PAUSE$"
check_eq "no pause image: no pull" "$(tail -n "+$((lines + 1))" "$T/ctd/log" | grep -c -i 'pull')" 0
"$K3SIMG" verify --start --address "$CRI_SOCKET" "$REGISTRY/exit:1" >"$T/out" 2>"$T/err"
check_eq "no pause image, name not told: status" "$?" 10
check_has "no pause image, name not told: the words" "$(cat "$T/err")" \
    "the pause image, which every pod needs, is not there$"
ctd_stop

finish
