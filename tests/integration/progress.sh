#!/bin/bash
# What is shown while something is done: bars in a real terminal, lines in logs, events that
# their schema describes.  What the bars of a script look like is in tests/golden/progress.
# Once: nothing here hangs on containerd.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

# shellcheck disable=SC2086
install_packages $PROGRESS_PACKAGES || die "no tmux, no jsonschema"
GOLDEN=$TOP/tests/golden/progress
PLAYER=$T/build/release/tests/unit/cli_progress_test
if [ -x "$TOP/build/release/tests/unit/cli_progress_test" ]; then
    PLAYER=$TOP/build/release/tests/unit/cli_progress_test
else
    make -s -C "$TOP" O="$T/build" V=release "$PLAYER" >"$T/make.log" 2>&1 || die "$(tail -n 3 "$T/make.log")"
fi

# ---- a terminal --------------------------------------------------------------

unset TMUX NO_COLOR XTERM_VERSION
term() { tmux -u -f /dev/null -S "$T/tmux" "$@"; }
at_exit term kill-server

# pane NAME COLUMNS ROWS COMMAND: runs it in a terminal of its own, which stays.
pane() {
    term new-session -d -s "$1" -x "$2" -y "$3" "$4; sleep 100" \; set-option -g status off \
        \; resize-window -t "$1" -x "$2" -y "$3"
}

# screen NAME: what is on it, without the empty lines at the end.
screen() { term capture-pane -p -t "$1" | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'; }

# await NAME PATTERN: until a line of the screen matches.
await() {
    local i
    for ((i = 0; i < 200; i++)); do
        ! screen "$1" | grep -Eq -- "$2" || return 0
        sleep 0.05
    done
    return 1
}

# looks NAME WHAT FILE: the screen is, or becomes, that of the file.
looks() {
    local i
    for ((i = 0; i < 100; i++)); do
        [ "$(screen "$1")" != "$(cat "$GOLDEN/$3.txt")" ] || break
        sleep 0.1
    done
    check_eq "$2" "$(screen "$1")" "$(cat "$GOLDEN/$3.txt")"
}

scenes() {
    local size scene shown="mid-80x24 mid-40x12 mid-20x10 many-80x24 many-20x10 names-80x24 names-40x12"
    for scene in $shown; do
        size=${scene#*-}
        pane "$scene" "${size%x*}" "${size#*x}" "$PLAYER --scene ${scene%-*}"
    done
    pane ascii 80 24 "LC_ALL=C $PLAYER --scene mid"
    pane plain 80 24 "NO_COLOR=1 $PLAYER --scene mid"
    pane dumb 80 24 "TERM=dumb $PLAYER --scene mid"
    pane resized 100 30 "stty -echo; $PLAYER --scene mid"
    pane grown 40 12 "stty -echo; $PLAYER --scene mid"
    for scene in $shown; do
        looks "$scene" "${scene%-*} at ${scene#*-}" "$scene"
    done
    looks ascii "no UTF-8: ASCII" mid-80x24-ascii
    looks plain "NO_COLOR: the same" mid-80x24
    check_eq "NO_COLOR: and no colour" "$(term capture-pane -p -e -t plain | grep -c $'\x1b\\[')" 0
    check_has "colours where they are wanted" "$(term capture-pane -p -e -t mid-80x24)" $'\x1b\\[36m'
    check_has "TERM=dumb: lines" "$(screen dumb)" '^docker.io/library/busybox:1.36: 1 layer, .* unpacked, 800ms$'
    check_eq "TERM=dumb: no bar" "$(screen dumb | grep -c '[━─]')" 0
    await resized '57.9MB/s' && term resize-window -t resized -x 40 -y 12 && term send-keys -t resized Enter
    await grown '57.9MB/s' && term resize-window -t grown -x 80 -y 24 && term send-keys -t grown Enter
    await resized 42.2MB
    await grown 42.2MB
    check_eq "made smaller: the lines are those of the size" "$(screen resized | grep -v '^$')" "$(cat "$GOLDEN/again-40x12.txt")"
    check_eq "made larger: the lines are those of the size" "$(screen grown | grep -v '^$')" "$(cat "$GOLDEN/again-80x24.txt")"
}

# ---- the real thing ----------------------------------------------------------

use_registry
"$PYTHON" "$LIB/mirror.py" "$T/mirror.port" "$T/mirror.log" "$REGISTRY" >"$T/mirror.err" 2>&1 &
at_exit kill $!
for ((i = 0; i < 200; i++)); do
    [ ! -s "$T/mirror.port" ] || break
    sleep 0.05
done
MIRROR=http://127.0.0.1:$(cat "$T/mirror.port")
mkdir -p "$T/hosts/reg.test"
echo "[host.\"$MIRROR/slow-4\"]" >"$T/hosts/reg.test/hosts.toml"
slow=(preload --pause none --hosts-dir "$T/hosts" --root)

interrupt() {
    local name
    pane real 80 24 "$K3SIMG ${slow[*]} $T/real reg.test/nginx:7 reg.test/exit:1 reg.test/docker2:1; echo status \$?"
    check "preload: bars of layers" await real '[━─]·+  downloading +[0-9.]+/[0-9.]+MB$'
    screen real >"$T/real.screen"
    for name in nginx:7 exit:1 docker2:1; do
        check_has "preload: a line for reg.test/$name" "$(cat "$T/real.screen")" "^. reg.test/$name .* layers? "
    done
    check_has "preload: and one for the run" "$(tail -n 1 "$T/real.screen")" '^[━─·]+ +[0-9]+%  [0-3]/3 images  '
    term send-keys -t real C-c
    check "interrupted: the status is told" await real '^status 130$'
    check_eq "interrupted: the bars are gone" "$(screen real | grep -c '[━─·]')" 0
    check_has "interrupted: in words" "$(screen real)" '^k3simg: error: interrupted$'
    check_eq "interrupted: the cursor is there" "$(term display-message -p -t real '#{cursor_flag}')" 1
}

# events NAME FILE: each line is what the schema says, and nothing goes backwards.
cat >"$T/events.py" <<'PY'
import collections, json, sys
import jsonschema

with open(sys.argv[1], encoding="utf-8") as f:
    schema = json.load(f)
jsonschema.Draft7Validator.check_schema(schema)
judge = jsonschema.Draft7Validator(schema)
phases = ["present", "waiting", "fetching", "fetched", "unpacking", "done"]
types, layers, before = collections.Counter(), {}, {}
last = None
with open(sys.argv[2], encoding="utf-8") as f:
    for line in f:
        event = json.loads(line)
        judge.validate(event)
        if last is None:
            assert event["type"] == "start", event
        else:
            assert event["time"] >= last["time"], event
        types[event["type"]] += 1
        if event["type"] == "layer":
            old = layers.get((event["image"], event["layer"]), event)
            assert phases.index(event["phase"]) >= phases.index(old["phase"]) or event["phase"] == "present", (old, event)
            for key in "fetchedBytes", "unpackedBytes":
                assert old[key] <= event[key] <= event["bytesTotal"], (old, event)
            layers[event["image"], event["layer"]] = event
        if event["type"] in ("progress", "summary"):
            for key in "imagesDone", "fetchedBytes", "unpackedBytes", "percent":
                assert event[key] >= before.get(key, 0), (before, event)
            before = event
        last = event
assert last["type"] == "summary" and types["summary"] == 1, last
open_ones = [l for l in layers.values() if l["phase"] not in ("present", "fetched", "done")]
assert last["exitStatus"] or not open_ones, open_ones
print(last["status"], *sorted(types), *sorted({l["source"] for l in layers.values()}))
PY
events() {
    local name=$1 want=$2 status=$3 got
    shift 3
    "$K3SIMG" "$@" --progress json >"$T/out" 2>"$T/events"
    got=$?
    check_eq "$name: status" "$got" "$status"
    check_has "$name: events" "$("$PYTHON" "$T/events.py" "$TOP/docs/schema/progress-event.json" "$T/events" 2>&1 |
        tail -n 3)" "$want"
}

streams() {
    local root=$T/json
    events preload '^ok image layer progress resolved start summary registry$' 0 \
        preload --pause none --root "$root" "$REGISTRY/exit:1" "$REGISTRY/multi:1"
    events "preload again" '^ok image layer progress resolved start summary store$' 0 \
        preload --pause none --root "$root" "$REGISTRY/exit:1"
    events "one of two" '^partial error image .* registry' 9 \
        preload --pause none --root "$root" "$REGISTRY/zstd:1" "$REGISTRY/no/such:1"
    events "no registry" '^failed error image progress (retry )?start summary$' 5 \
        preload --pause none --retries 0 --root "$T/none" 127.0.0.1:1/x:1
    events fetch '^ok .* registry$' 0 fetch --to "oci:$T/layout" "$REGISTRY/exit:1"
    events "fetch from an archive" '^ok .* local$' 0 fetch --to "oci:$T/copy" "oci:$T/layout" --name example.org/exit:1
    events unpack '^ok .* registry$' 0 unpack "$REGISTRY/zstd:1" "$T/files"
    events "bundle create" '^ok .* registry$' 0 bundle create -o "$T/bundle" "$REGISTRY/exit:1"
    events "bundle create to a pipe" '^ok .* result .* registry$' 0 bundle create -o - "$REGISTRY/exit:1"
    events "bundle apply" '^ok .* local$' 0 bundle apply --pause none --root "$T/applied" "$T/bundle"
    find "$T/applied" -path '*/snapshots/*' -type f -size +1k | head -n 1 | xargs -r truncate -s 1
    events repair '^ok .*status.*summary' 0 repair --plain-http --root "$T/applied" "$REGISTRY/exit:1"
    echo '[host."'"$MIRROR"'/lies"]' >"$T/hosts/reg.test/hosts.toml"
    mkdir -p "$T/hosts/$REGISTRY"
    echo '[host."'"$MIRROR"'/lies"]' >"$T/hosts/$REGISTRY/hosts.toml"
    events "a mirror that lies" '^ok .*warning registry$' 0 \
        preload --pause none --root "$T/lied" --hosts-dir "$T/hosts" "$REGISTRY/zstd:1"
}

# ---- logs, and standard error that is none -----------------------------------

logs() {
    local names="exit:1 zstd:1 multi:1 static:1" lines
    # shellcheck disable=SC2046,SC2086
    "$K3SIMG" preload --pause none --root "$T/log" $(refs $names) >"$T/out" 2>"$T/err"
    lines=$(wc -l <"$T/err")
    check "a log has a line for the plan, the images, the disk and the end: $lines" test "$lines" -le 7
    check_eq "each image by its name" "$(grep -c "^$REGISTRY/[a-z]*:1: [0-9]* layers*, .* downloaded and unpacked, " "$T/err")" 4
    check_eq "nothing in it moves a cursor" "$(grep -c $'[\r\x1b]' "$T/err")" 0
    "$K3SIMG" preload --pause none --root "$T/read" "oci:$T/layout" --name example.org/exit:1 -v >"$T/out" 2>"$T/err"
    check_has "of an archive is read" "$(cat "$T/err")" ': layer [0-9a-f]{12} read \('
    check_eq "and not downloaded" "$(grep -c download "$T/err")" 0
    "$K3SIMG" preload --pause none --root "$T/read" "oci:$T/layout" --name example.org/exit:1 >"$T/out" 2>"$T/err"
    check_has "what is there is present" "$(cat "$T/err")" '^example.org/exit:1: .*, present$'
    "$K3SIMG" preload --progress none --pause none --root "$T/read" "$REGISTRY/exit:1" >"$T/out" 2>"$T/err"
    check_eq "none: nothing" "$(cat "$T/err")" ""
    "$K3SIMG" preload --pause none --root "$T/full" "$REGISTRY/exit:1" >"$T/out" 2>/dev/full
    check_eq "standard error is full: no matter" "$?" 0
    "$K3SIMG" preload --pause none --root "$T/closed" "$REGISTRY/exit:1" >"$T/out" 2>&- <&-
    check_eq "standard error is closed: no matter" "$?" 0
    check "and nothing was written elsewhere" "$K3SIMG" verify -q --deep --root "$T/closed"
    "$K3SIMG" list --root "$T/closed" >&- 2>"$T/err"
    check_has "standard output is closed: that is told" "$?$(cat "$T/err")" '^1.*cannot write to standard output'
    "$K3SIMG" preload --progress bar --root "$T/none" x >"$T/out" 2>"$T/err"
    check_eq "bars without a terminal: refused" "$?" 2
    "$K3SIMG" preload --progress json -q --root "$T/none" x >"$T/out" 2>"$T/err"
    check_eq "json and quiet: refused" "$?" 2
    check "and nothing was made" test ! -e "$T/none"
}

scenes
interrupt
streams
logs
finish
