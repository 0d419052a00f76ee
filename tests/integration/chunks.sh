#!/bin/bash
# --chunk-size: a large layer by several Range requests is the same as in one
# piece, nothing of it comes twice, and an interrupted run goes on.
# Once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

SIZE_MB=320
CHUNK=$((16 << 20))

# A layer that does not compress, in a registry of its own.
"$PYTHON" - "$T/oci" "$SIZE_MB" <<'PY' || die "no big image"
import hashlib, io, json, os, random, sys, tarfile
top, size = sys.argv[1], int(sys.argv[2])
os.makedirs(top + "/blobs/sha256")
OCI = "application/vnd.oci.image."

def blob(data, media):
    name = hashlib.sha256(data).hexdigest()
    with open(top + "/blobs/sha256/" + name, "wb") as f:
        f.write(data)
    return {"mediaType": media, "digest": "sha256:" + name, "size": len(data)}

noise = random.Random(1)
raw = io.BytesIO()
with tarfile.open(fileobj=raw, mode="w") as t:
    for i in range(size // 40):
        info = tarfile.TarInfo("big-%d" % i)
        info.size = 40 << 20
        t.addfile(info, io.BytesIO(noise.randbytes(info.size)))
layer = blob(raw.getvalue(), OCI + "layer.v1.tar")
config = blob(json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                          "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}).encode(), OCI + "config.v1+json")
manifest = blob(json.dumps({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config,
                            "layers": [layer]}).encode(), OCI + "manifest.v1+json")
manifest["annotations"] = {"org.opencontainers.image.ref.name": "big:1"}
with open(top + "/index.json", "w") as f:
    json.dump({"schemaVersion": 2, "manifests": [manifest]}, f)
PY
"$PYTHON" "$LIB/storage.py" "$T/oci" "$T/storage" || die "no storage"
registry_start -s "$T/storage" -r
SIZE=$(find "$T/oci/blobs" -size +1M -printf '%s')
LAYER=$(find "$T/oci/blobs" -size +1M -printf '%f')

# requests FROM: "STATUS BYTES" of each request for the layer since line FROM of the log.
requests() {
    tail -n "+$(($1 + 1))" "$T/registry/log" |
        sed -n "s|.*\"GET /v2/big/blobs/sha256:$LAYER HTTP[^\"]*\" \([0-9]*\) \([0-9]*\) .*|\1 \2|p"
}

lines() {
    wc -l <"$T/registry/log"
}

state() {
    "$PYTHON" "$LIB/tree.py" --hash "$1/io.containerd.snapshotter.v1.native/snapshots"
    find "$1" -path '*/blobs/*' -printf '%P %m %s\n' | sort
    bbolt_dump "$1/io.containerd.metadata.v1.bolt/meta.db"
    find "$1/.k3simg" -type f -not -path "*/losses/*" 2>/dev/null
}

big() {
    local root=$1
    shift
    "$K3SIMG" preload -q --root "$root" --pause none --platform linux/amd64 --jobs 4 "$@" "$REGISTRY/big:1"
}

from=$(lines)
check "in one piece" big "$T/serial" --chunk-size 0
check_eq "one request" "$(requests "$from")" "200 $SIZE"
state "$T/serial" >"$T/serial.state"
rm -rf -- "$T/serial"

from=$(lines)
check "in parts" big "$T/parts" --chunk-size $CHUNK
check_eq "every part is a range" "$(requests "$from" | cut -d' ' -f1 | sort -u)" 206
check_eq "so many parts" "$(requests "$from" | wc -l)" $(((SIZE + CHUNK - 1) / CHUNK))
check_eq "nothing comes twice" "$(requests "$from" | awk '{ n += $2 } END { print n }')" "$SIZE"
state "$T/parts" >"$T/parts.state"
check "parts make the same store" diff "$T/serial.state" "$T/parts.state"
rm -rf -- "$T/parts"

# killed ROOT ARGS...: SIGKILL when a good part of the layer is there.
killed() {
    local root=$1 pid have
    shift
    big "$root" "$@" >/dev/null 2>&1 &
    pid=$!
    while kill -0 $pid 2>/dev/null; do
        have=$(du -k "$root"/.k3simg/blobs/*.part 2>/dev/null | awk '{ n += $1 } END { print n + 0 }')
        [ "$have" -lt $((SIZE_MB * 1024 / 3)) ] || break
    done
    # The function runs in a subshell, the program below it.
    pkill -KILL -P $pid 2>/dev/null
    wait $pid 2>/dev/null
    [ ! -e "$root/io.containerd.metadata.v1.bolt/meta.db" ]
}

# go_on WHAT FIRST-ARGS SECOND-ARGS MOST
go_on() {
    local root=$T/killed from
    # shellcheck disable=SC2086
    check "$1: killed in the middle" killed "$root" $2
    from=$(lines)
    # shellcheck disable=SC2086
    check "$1: the next run" big "$root" $3
    check "$1: it asks for less than all" test \
        "$(requests "$from" | awk '{ n += $2 } END { print n + 0 }')" -lt "$4"
    state "$root" >"$T/killed.state"
    check "$1: the same store" diff "$T/serial.state" "$T/killed.state"
    rm -rf -- "$root"
}

go_on "parts, then parts" "--chunk-size $CHUNK" "--chunk-size $CHUNK" $((SIZE * 3 / 4))
go_on "parts, then others" "--chunk-size $CHUNK" "--chunk-size 40M" "$SIZE"
go_on "parts, then one piece" "--chunk-size $CHUNK" "--chunk-size 0" "$SIZE"
go_on "one piece, then parts" "--chunk-size 0" "--chunk-size $CHUNK" $((SIZE * 3 / 4))
go_on "parts, then --jobs 1" "--chunk-size $CHUNK" "--chunk-size $CHUNK --jobs 1" "$SIZE"

"$PYTHON" "$LIB/faulty.py" "$T/port" >"$T/faulty.log" 2>&1 &
at_exit kill $!
for ((i = 0; i < 100; i++)); do
    [ -s "$T/port" ] && break
    sleep 0.05
done
FAULTY=$(cat "$T/port") || die "the faulty registry does not start"

faulty() {
    local root=$1
    shift
    "$K3SIMG" preload -q --root "$root" --pause none --platform linux/amd64 --jobs 2 "$@"
}

# A registry that gives each connection 6 MB/s: four of them at once.
check "slow connections: one" faulty "$T/slow-1" --chunk-size 0 "$FAULTY/rate-6:1"
check_eq "one request for the whole layer" "$(grep -c '^blob rate-6 [0-9]\{7,\} ' "$T/faulty.log")" 1
check "slow connections: four" faulty "$T/slow-4" --chunk-size 2MiB "$FAULTY/rate-6:1"
check "its parts came over four connections" grep -q '^blob rate-6 2097152 3' "$T/faulty.log"

# A registry that sends to another host, and asks for credentials itself.
check "redirected parts" faulty "$T/cdn" --chunk-size 2MiB --creds tester:secret "$FAULTY/cdn:1"
check_eq "the other host was shown no credentials" "$(grep -c leak "$T/faulty.log")" 0
check "it sent the parts" test "$(grep -c '^blob cdn 2097152' "$T/faulty.log")" -ge 10
finish
