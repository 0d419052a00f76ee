#!/bin/bash
# fetch: layouts and archives are what other programs read, with the registry's
# digests; nothing is fetched twice, and an interrupted run goes on.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
R=$REGISTRY

fetch() {
    "$K3SIMG" fetch -q --platform linux/amd64 "$@"
}

# ---- ctr of both versions reads what we write ----

check "oci-archive" fetch --to "oci-archive:$T/images.tar" "$R/nginx:7" "$R/multi:1" "$R/docker2:1"
check_eq "oci-archive: nothing is left beside it" "$(find "$T" -maxdepth 1 -name 'images.tar*' -printf '%f ')" "images.tar "
ctd_start "$CTD_VERSION" "$T/root" ctd && {
    check "ctr images import" ctd_ctr ctd images import --no-unpack "$T/images.tar"
    check_eq "ctr images check: all are complete" \
        "$(ctd_ctr ctd images check | sed -n "s|^\($R/[^ ]*\) .* complete ([0-9/]*) .*|\1|p" | sort | tr '\n' ' ')" \
        "$R/docker2:1 $R/multi:1 $R/nginx:7 "
    for image in nginx:7 multi:1 docker2:1; do
        check_eq "ctr: $image has the registry's digest" \
            "$(ctd_ctr ctd images ls | awk -v n="$R/$image" '$1 == n { print $3 }')" "$(image_digest $image)"
    done
    ctd_stop ctd
}
if ! my_turn 0; then
    finish
fi

# ---- a layout ----

# requests: how many blobs and documents the registry has been asked for.
requests() {
    grep -c '"GET /v2/.*/\(blobs\|manifests\)/' "$T/registry/log"
}
digest_in() {
    skopeo inspect --raw "$1" | sha256sum | sed 's/^/sha256:/; s/ .*//'
}

blobs=$(registry_blobs | wc -l)
check "oci" fetch --to "oci:$T/lay" "$R/nginx:7" "$R/docker2:1" "$R/multi:1"
config=$(skopeo inspect --tls-verify=false --raw "docker://$R/nginx:7" | sed 's/.*"config":[^}]*"\(sha256:[0-9a-f]*\)".*/\1/')
check_eq "oci: layers that images share came once" \
    "$(registry_blobs | tail -n "+$((blobs + 1))" | sort | uniq -d | grep -v "$config")" ""
check_eq "oci: skopeo sees the registry's digest" "$(digest_in "oci:$T/lay:7")" "$(image_digest nginx:7)"
check "oci: skopeo copies it whole" skopeo copy -q "oci:$T/lay:7" "dir:$T/copied"
before=$(requests)
check "oci: once more" fetch --to "oci:$T/lay" "$R/nginx:7" "$R/multi:1"
check_eq "oci: nothing is fetched again" "$(requests)" "$before"
check_eq "oci: up to date" "$(fetch -o json --to "oci:$T/lay" "$R/nginx:7" |
    "$PYTHON" -c 'import json, sys; i = json.load(sys.stdin)["images"][0]; print(i["status"], i["fetchedBytes"])')" "up-to-date 0"
check "oci: another image is added" fetch --to "oci:$T/lay" "$R/zstd:1"
check_eq "oci: all four are named" "$(grep -c io.containerd.image.name "$T/lay/index.json")" 4
blob=$T/lay/blobs/sha256/$(skopeo inspect --raw "oci:$T/lay:7" |
    "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["layers"][1]["digest"][7:])')
dd if=/dev/zero of="$blob" bs=1 seek=5000 count=8 conv=notrunc status=none
check "oci: a damaged blob is fetched again" fetch --to "oci:$T/lay" "$R/nginx:7" "$R/zstd:1"
check_eq "oci: and whole" "$(sha256sum <"$blob" | cut -d' ' -f1)" "${blob##*/}"
check "oci:DIR:TAG" fetch --to "oci:$T/tagged:mine" "$R/static:1"
check_eq "oci:DIR:TAG: skopeo finds it" "$(digest_in "oci:$T/tagged:mine")" "$(image_digest static:1)"
check "oci: umoci unpacks it" umoci raw unpack --image "$T/tagged:mine" "$T/rootfs"
check_eq "oci: umoci's tree has a program" "$(find "$T/rootfs" -type f -perm -100 | wc -l | sed 's/^[1-9].*/some/')" some
check "by digest" fetch --to "oci:$T/pinned" "$R/static@$(image_digest static:1)"
check_eq "by digest: skopeo finds the only one" "$(digest_in "oci:$T/pinned")" "$(image_digest static:1)"

# ---- platforms ----

check "--all-platforms" "$K3SIMG" fetch -q --all-platforms --to "oci:$T/all" "$R/multi:1"
check "--all-platforms: skopeo copies all of them" skopeo copy -q --all "oci:$T/all:1" "dir:$T/all-copied"
check "one platform: the index is whole, its blobs are not" fetch --to "oci:$T/one" "$R/multi:1"
check_eq "one platform: the registry's digest" "$(digest_in "oci:$T/one:1")" "$(image_digest multi:1)"
check_eq "one platform: fewer blobs" \
    "$(($(find "$T/one/blobs" -type f | wc -l) < $(find "$T/all/blobs" -type f | wc -l)))" 1

# ---- archives ----

check "oci-archive: .tar.zst and a list" fetch --to "oci-archive:$T/a.tar.zst" -f - <<<"$R/static:1"
check "oci-archive: .tar.gz" fetch --to "oci-archive:$T/a.tar.gz" "$R/static:1"
check "oci-archive: .tar" fetch --to "oci-archive:$T/a.tar" "$R/static:1"
check "oci-archive: skopeo reads it" skopeo copy -q "oci-archive:$T/a.tar:1" "dir:$T/a-copied"
check_eq "oci-archive: .zst and .gz are the same tar" \
    "$({ zstd -dc "$T/a.tar.zst" | sha256sum; gzip -dc "$T/a.tar.gz" | sha256sum; sha256sum <"$T/a.tar"; } | sort -u | wc -l)" 1

# ---- interrupted ----

"$PYTHON" "$LIB/faulty.py" "$T/port" >"$T/faulty.log" 2>&1 &
at_exit kill $!
for ((i = 0; i < 100; i++)); do [ -s "$T/port" ] && break; sleep 0.1; done
F=$(cat "$T/port")

# interrupted NAME PARTIAL PLACE: kills a run in the middle of a large layer.
interrupted() {
    local what=$1 partial=$2 place=$3 p had sent
    "$K3SIMG" fetch -q --plain-http --to "$place" "$F/rate-8:1" 2>"$T/err" &
    p=$!
    for ((i = 0; i < 100; i++)); do
        [ -z "$(find "$partial" -size +4M 2>/dev/null)" ] || break
        sleep 0.05
    done
    kill -KILL $p
    wait $p 2>/dev/null
    had=$(find "$partial" -size +4M -printf '%s\n')
    check "$what: killed in the middle" test -n "$had"
    : >"$T/faulty.log"
    check "$what: goes on" "$K3SIMG" fetch -q --plain-http --to "$place" "$F/rate-8:1"
    sent=$(sed -n 's/^blob rate-8 \([0-9]\{7,\}\) .*/\1/p' "$T/faulty.log")
    check_eq "$what: only the rest came" "$((sent + had))" "$LARGE"
}
LARGE=$(curl -s -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$F/v2/rate-8/manifests/1" |
    "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["layers"][-1]["size"])')
interrupted "oci" "$T/slow/.k3simg" "oci:$T/slow"
check_eq "oci: nothing is left beside the blobs" "$(find "$T/slow" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' ')" "blobs index.json oci-layout "
interrupted "oci-archive" "$T/slow.tar.partial/.k3simg" "oci-archive:$T/slow.tar"
check "oci-archive: skopeo reads it" skopeo inspect "oci-archive:$T/slow.tar"
check_eq "oci-archive: nothing is left beside it" "$(find "$T" -maxdepth 1 -name 'slow.tar*' -printf '%f ')" "slow.tar "

# ---- what is refused ----

# refuses NAME STATUS PATTERN ARGS...
refuses() {
    local what=$1 status=$2 pattern=$3 out
    shift 3
    out=$("$K3SIMG" fetch -q "$@" 2>&1)
    check_eq "$what: status" "$?" "$status"
    check_has "$what: says why" "$out" "$pattern"
}
refuses "no --to" 2 'to is missing' "$R/static:1"
refuses "no such transport" 2 'names no place' --to "docker-archive:$T/x" "$R/static:1"
refuses "no image" 2 'no image was named' --to "oci:$T/x"
refuses "a tag for two" 2 'can name one image, not 2' --to "oci:$T/x:t" "$R/static:1" "$R/exit:1"
refuses "no layout" 2 'is not empty, and no image layout' --to "oci:$HOME/.." "$R/static:1"
refuses "no such image" 3 'nope' --to "oci:$T/x" "$R/nope:1"
refuses "no such platform" 6 'no image for platform' --to "oci-archive:$T/x.tar" --platform linux/s390x "$R/multi:1"
check_eq "refused: nothing is made" "$(find "$T" -maxdepth 1 -name 'x*')" ""
refuses "one of two" 9 'nope' --to "oci:$T/some" "$R/nope:1" "$R/static:1"
check_eq "one of two: the other is there" "$(digest_in "oci:$T/some:1")" "$(image_digest static:1)"
exec 9<"$T/some"
flock 9
refuses "somebody else writes there" 7 'another program writes' --to "oci:$T/some" "$R/static:1"
exec 9<&-
finish
