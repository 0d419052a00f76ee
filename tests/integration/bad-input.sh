#!/bin/bash
# What bad input gets: an exit code, one error line that names the image, and
# a store that is as it was before or holds only whole images.
# Once: a containerd takes part only as one that runs.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
good=$T/good
check "a store with one image" preload "$good" "$REGISTRY/static:1"
BEFORE=$(store_content "$good")

"$PYTHON" "$LIB/faulty.py" "$T/port" >"$T/faulty.log" 2>&1 &
faulty=$!
at_exit kill "$faulty"
for ((i = 0; i < 100; i++)); do
    [ -s "$T/port" ] && break
    sleep 0.05
done
FAULTY=$(cat "$T/port") || die "the faulty registry does not start"

# begin CASE ARGS...: run in the background on a store of its own.
declare -a CASES
declare -A WANTED NAMED
begin() {
    local name=$1
    shift
    CASES+=("$name")
    mkdir "$T/$name"
    cp -a "$good" "$T/$name/root"
    (
        timeout 240 "$K3SIMG" preload -q --root "$T/$name/root" --pause none "$@" \
            >"$T/$name/out" 2>"$T/$name/err" </dev/null
        echo $? >"$T/$name/status"
    ) &
    echo $! >"$T/$name/job"
}

# judged NAME: the exit code, the line, the store.
judged() {
    local name=$1 status errors
    wait "$(cat "$T/$name/job")" 2>/dev/null
    status=$(cat "$T/$name/status")
    if [[ " ${WANTED[$name]} " == *" $status "* ]]; then
        ok "$name: exit code $status"
    else
        fail "$name: exit code $status, wanted ${WANTED[$name]}" "$(cat "$T/$name/err")"
    fi
    errors=$(grep -c '^k3simg: error: ' "$T/$name/err")
    if [ "$errors" = 1 ] && ! grep -qv '^k3simg: error: \|^hint: ' "$T/$name/err"; then
        ok "$name: one error line"
    else
        fail "$name: one error line" "$(cat "$T/$name/err")"
    fi
    if grep '^k3simg: error: ' "$T/$name/err" | grep -qF -- "${NAMED[$name]}"; then
        ok "$name: it names ${NAMED[$name]}"
    else
        fail "$name: it names ${NAMED[$name]}" "$(cat "$T/$name/err")"
    fi
    if grep -q '[[:cntrl:]]' "$T/$name/err"; then
        fail "$name: no control characters" "$(cat -v "$T/$name/err")"
    fi
    check_eq "$name: the store is as before" "$(store_content "$T/$name/root")" "$BEFORE"
    # Only what the network broke is kept for the next run.
    if [ "$status" != 5 ] && [ -e "$T/$name/root/.k3simg" ]; then
        fail "$name: nothing is left beside the store" "$(find "$T/$name/root/.k3simg")"
    fi
    [ -s "$T/$name/err" ] && printf '      %s\n' "$(grep '^k3simg: error: ' "$T/$name/err" | head -n 1 | cut -c1-200)"
    rm -rf -- "${T:?}/$name"
}

# --- the registry's faults: CASE:EXIT CODES ---
faults="s401:4 s403:4 s404:3 s429:5 s500:5 s503:5 garbage:5 closes:5 redirect-loop:5
    not-json:6 big-manifest:6 deep-manifest:6 unknown-media:6 schema1:6 no-platform:6 index-loop:3,6
    wrong-digest:6 longer-body:6 short-body:5,6 html-instead:5,6 blob-size:5,6 missing-blob:3 layer-500:5
    truncated-layer:6 truncated-tar:6 not-gzip:6 bad-crc:6 unknown-compression:6 foreign-type:6
    diff-id:6 diff-count:6 config-not-json:6 bad-digest-text:6 unknown-algorithm:6 huge-size:5,6,8"
for entry in $faults; do
    name=${entry%%:*}
    WANTED[$name]=${entry#*:}
    WANTED[$name]=${WANTED[$name]//,/ }
    NAMED[$name]=$FAULTY/$name:1
    begin "$name" "$FAULTY/$name:1"
done
WANTED[by-digest]=6
NAMED[by-digest]=$FAULTY/wrong-manifest-digest@
begin by-digest "$FAULTY/wrong-manifest-digest@sha256:$(printf 1 | sha256sum | cut -d' ' -f1)"
WANTED[refused]=5
dead=127.0.0.1:$(free_port)
NAMED[refused]=$dead
begin refused "$dead/x:1"
WANTED[unresolved]=5
NAMED[unresolved]=no-such-host.invalid
begin unresolved "no-such-host.invalid/x:1"
WANTED[platform]=6
NAMED[platform]=$REGISTRY/arm:1
begin platform "$REGISTRY/arm:1"
n=0
for ref in 'x/UPPER' 'a b' 'x:bad tag' "$REGISTRY/x@sha256:123" ':1' 'x//y' '../x'; do
    n=$((n + 1))
    WANTED[reference-$n]=2
    NAMED[reference-$n]=$ref
    begin "reference-$n" "$ref"
done
for name in "${CASES[@]}"; do
    judged "$name"
done
check "the faulty registry's good image can be loaded" preload "$T/fine" "$FAULTY/good:1"

# --- some fail, the others are in place ---
preload "$T/some" -q "$FAULTY/wrong-digest:1" "$REGISTRY/exit:1" "$FAULTY/s404:1" >"$T/out" 2>"$T/err"
check_eq "two of three fail: exit code 9" "$?" 9
check_eq "two of three fail: two error lines" "$(grep -c '^k3simg: error: ' "$T/err")" 2
check_has "two of three fail: the third is there" "$("$K3SIMG" list --root "$T/some" -o name)" "^$REGISTRY/exit:1\$"

# refused ROOT CODE NAME [ARGS...]: refuse to work on ROOT.
refused() {
    local root=$1 code=$2 name=$3 status
    shift 3
    "$K3SIMG" preload -q --root "$root" --pause none "$REGISTRY/exit:1" "$@" >"$T/out" 2>"$T/err"
    status=$?
    check_eq "$name: exit code" "$status" "$code"
    check_eq "$name: one error line" "$(grep -c '^k3simg: error: ' "$T/err")" 1
    printf '      %s\n' "$(head -n 1 "$T/err" | cut -c1-200)"
}

# --- roots that are none ---
mkdir "$T/other"
echo precious >"$T/other/file"
refused "$T/other" 7 "a directory that is no containerd root"
check_eq "and it is left alone" "$(ls -A "$T/other")" file
refused "$T/other/file" 7 "a file as root"
cp -a "$good" "$T/garbled"
head -c 20000 /dev/urandom >"$T/garbled/io.containerd.metadata.v1.bolt/meta.db"
sum=$(sha256sum <"$T/garbled/io.containerd.metadata.v1.bolt/meta.db")
refused "$T/garbled" 7 "a database of random bytes"
check_eq "and it is left alone too" "$(sha256sum <"$T/garbled/io.containerd.metadata.v1.bolt/meta.db")" "$sum"
cp -a "$good" "$T/cut"
truncate -s 9000 "$T/cut/io.containerd.metadata.v1.bolt/meta.db"
refused "$T/cut" 7 "a database that was cut"

cp -a "$good" "$T/schema"
# The version is the varint behind the key "version" in bucket "v1".
"$PYTHON" - "$T/schema/io.containerd.metadata.v1.bolt/meta.db" <<'PY'
import sys
name = sys.argv[1]
data = bytearray(open(name, "rb").read())
at, hits = 0, 0
while (at := data.find(b"version", at)) >= 0:
    if data[at + 7] in (6, 8):
        data[at + 7] = 2 * 63     # zig-zag: 63, a schema of the far future
        hits += 1
    at += 7
open(name, "wb").write(data)
sys.exit(0 if hits else 1)
PY
check_eq "the schema version was edited" "$?" 0
sum=$(store_content "$T/schema")
refused "$T/schema" 7 "a schema version from the future"
check_eq "and the store is as before" "$(store_content "$T/schema")" "$sum"

# --- containerd is running ---
cp -a "$good" "$T/live"
if ctd_start "$CTD_VERSION" "$T/live"; then
    refused "$T/live" 7 "containerd is running" --mode offline
    check_has "and the message says so" "$(cat "$T/err")" 'containerd is running'
    refused "$T/live" 7 "containerd is running, but not behind this socket" --address "$T/nobody.sock"
    check_has "and the message says that, too" "$(cat "$T/err")" 'no containerd answers at .*nobody.sock'
    check_has "and containerd is unharmed" "$(cri images)" 'static:1'
    ctd_stop
fi

# --- read-only and full file systems (not where loop mounts are forbidden) ---
small=$T/small
mkdir "$small"
truncate -s 40M "$T/small.img"
if mkfs.ext4 -q "$T/small.img" >/dev/null 2>&1 && mount -o loop "$T/small.img" "$small" 2>/dev/null; then
    at_exit umount -l -q "$small"
    cp -a "$good" "$small/root"
    "$K3SIMG" preload -q --root "$small/root" --pause none "$REGISTRY/nginx:7" >"$T/out" 2>"$T/err"
    check_eq "a full disk: exit code 8" "$?" 8
    check_eq "a full disk: one error line" "$(grep -c '^k3simg: error: ' "$T/err")" 1
    printf '      %s\n' "$(head -n 1 "$T/err" | cut -c1-200)"
    check_eq "a full disk: the store is as before" "$(store_content "$small/root")" "$BEFORE"
    check "a full disk: a smaller image still fits" preload "$small/root" "$REGISTRY/exit:1"
    mount -o remount,ro "$small"
    refused "$small/root" 7 "a read-only root" "$REGISTRY/multi:1"
    umount "$small"
else
    skip "a full disk, a read-only root" "no loop mounts here"
fi

# --- usage ---
for args in "" "preload" "nonsense" "preload --no-such-option x" "preload --platform x/y/z/a busybox" \
    "preload --snapshots round busybox" "list -o yaml"; do
    # shellcheck disable=SC2086
    "$K3SIMG" $args >"$T/out" 2>"$T/err" </dev/null
    check_eq "usage: k3simg $args" "$?" 2
done
finish
