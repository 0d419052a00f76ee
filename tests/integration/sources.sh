#!/bin/bash
# Images out of layouts and archives that skopeo, umoci and buildah made, and
# out of ones that are broken; k3simg unpack.
# Once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
R=$REGISTRY
layout=$(images_storage)/oci
W=$T/w
mkdir "$W"

copy() {
    skopeo --insecure-policy copy -q "$@"
}

# take ROOT ARGS...: preloads; then the names that are there.
take() {
    local root=$T/root-$1
    shift
    "$K3SIMG" preload --root "$root" --pause none --no-sync -q "$@" >"$T/out" 2>"$T/err" || {
        echo "status $?: $(cat "$T/err")"
        return
    }
    names "$root" | tr '\n' ' '
}

# refuses WHAT STATUS PATTERN ARGS...: a clear line, and no image in the root.
refuses() {
    local what=$1 status=$2 pattern=$3 out
    shift 3
    out=$("$K3SIMG" preload --root "$T/none" --pause none -q "$@" 2>&1)
    check_eq "$what: status" "$?" "$status"
    check_has "$what: says why" "$out" "$pattern"
    check_eq "$what: nothing is imported" "$([ ! -d "$T/none" ] || names "$T/none")" ""
    rm -rf "$T/none"
}

# digest ROOT NAME: of the image record.
digest() {
    "$K3SIMG" list --root "$T/root-$1" -o json | "$PYTHON" -c 'import json, sys
print(*{i["digest"] for i in json.load(sys.stdin)["images"] if sys.argv[1] in i["names"]})' "$2"
}

# whole ROOT: verify finds nothing but notes.
whole() {
    "$K3SIMG" verify --deep --root "$T/root-$1" -n k8s.io
}

# ---- skopeo ----

# Only what this platform needs of multi:1, and its index.
copy --multi-arch system "oci:$layout:multi:1" "oci:$W/one:example.org/multi:1"
copy --all "oci:$layout:multi:1" "oci:$W/oci:example.org/multi:1"
copy "oci:$layout:exit:1" "oci:$W/oci:example.org/exit:1"
copy --all "oci:$layout:multi:1" "oci-archive:$W/multi.tar:example.org/multi:1"
copy "oci:$layout:multi:1" "docker-archive:$W/docker.tar:example.org/multi:1"
gzip -1 <"$W/multi.tar" >"$W/multi.tar.gz"
zstd -q "$W/multi.tar" -o "$W/multi.tar.zst"
both="example.org/exit:1 example.org/multi:1 "
raw() { skopeo inspect --raw "$1" | sha256sum | cut -d' ' -f1; }

check_eq "oci: all images" "$(take oci "oci:$W/oci")" "$both"
check_eq "oci: digests are skopeo's" "$(digest oci example.org/multi:1)" "sha256:$(raw "oci:$W/oci:example.org/multi:1")"
check_eq "oci: one by name" "$(take oci1 "oci:$W/oci:example.org/exit:1")" "example.org/exit:1 "
for form in tar tar.gz tar.zst; do
    check_eq "oci-archive: $form" "$(take "$form" "oci-archive:$W/multi.$form")" "example.org/multi:1 "
    check_eq "oci-archive: $form: the registry's digest" "$(digest "$form" example.org/multi:1)" "$(image_digest multi:1)"
done
check_eq "oci-archive: a pipe" "$(take pipe oci-archive:- < <(cat "$W/multi.tar.zst"))" "example.org/multi:1 "
check_eq "oci-archive: a file as standard input" "$(take stdin oci-archive:-:example.org/multi:1 <"$W/multi.tar")" "example.org/multi:1 "
check_eq "docker-archive: skopeo's" "$(take docker "docker-archive:$W/docker.tar")" "example.org/multi:1 "
id=$(tar -xOf "$W/docker.tar" manifest.json | "$PYTHON" -c 'import json, sys
print("sha256:" + json.load(sys.stdin)[0]["Config"][:64])')
check_has "docker-archive: the image ID is its config" "$("$K3SIMG" preload --root "$T/root-docker" --pause none -q -o json "docker-archive:$W/docker.tar")" "\"id\": \"$id\""
for root in oci tar docker; do
    check "$root: whole" whole $root
done
check_eq "digest: another is refused" "$(take pin "oci:$W/oci:example.org/multi:1@$(image_digest exit:1)" | sed 's/:.*//')" "status 6"
check_eq "digest: the right one" "$(take pin "oci:$W/oci:example.org/multi:1@$(image_digest multi:1)")" "example.org/multi:1 "
check_eq "@N and @digest choose" "$(take at "oci:$W/oci:@0" "oci:$W/oci:@$(image_digest exit:1)")" "$both"
check_eq "platform: of an archive, too" "$(take arm --platform linux/arm64 "oci-archive:$W/multi.tar")" "example.org/multi:1 "

# An index of which only one platform is there stays the target.
mkdir "$W/partial"
cp -r "$W/oci/." "$W/partial"
"$PYTHON" - "$W/partial" <<'PY'
import json, os, sys
def path(d): return os.path.join(sys.argv[1], "blobs/sha256", d["digest"][7:])
top = json.load(open(os.path.join(sys.argv[1], "index.json")))
for image in top["manifests"]:
    if image["mediaType"].endswith("index.v1+json"):
        for m in json.load(open(path(image)))["manifests"]:
            if m["platform"]["architecture"] != "amd64":
                os.remove(path(m))
PY
check_eq "partial index: what is there is enough" "$(take partial "oci:$W/partial:example.org/multi:1")" "example.org/multi:1 "
check_eq "partial index: is kept" "$(digest partial example.org/multi:1)" "$(image_digest multi:1)"
check "partial index: is noted only" whole partial
refuses "partial index: another platform" 3 "$W/partial: it lacks the blob" --platform linux/arm64 "oci:$W/partial:example.org/multi:1"

# ---- mixed with registries ----

: >"$T/registry/log"
check_eq "mixed: archive, registry and list" "$(take mixed "docker://$R/static:1" -f - <<<"oci-archive:$W/multi.tar")" "$R/static:1 example.org/multi:1 "
copy --all "oci:$layout:nginx:7" "oci-archive:$W/nginx.tar:$R/docker2:1"
: >"$T/registry/log"
check_eq "mixed: layers of an archive are not fetched" "$(take shared "oci-archive:$W/nginx.tar" "$R/nginx:7")" "$R/docker2:1 $R/nginx:7 "
sleep 0.3
check_eq "mixed: a HEAD at the most" "$(grep -c '"GET /v2/.*/blobs/' "$T/registry/log")" 0
check_eq "mixed: an archive goes before the registry" "$(take before "127.0.0.1:1/x/multi:1" "oci-archive:$W/multi.tar:example.org/multi:1" --name 127.0.0.1:1/x/multi:1)" "127.0.0.1:1/x/multi:1 "

# ---- names ----

umoci init --layout "$W/umoci" && umoci new --image "$W/umoci:v1" >/dev/null &&
    umoci insert --image "$W/umoci:v1" "$LIB/tree.py" /tree.py >/dev/null 2>&1
refuses "name: only a tag" 2 'only the tag "v1"' "oci:$W/umoci"
check_has "name: the hint" "$("$K3SIMG" preload --root "$T/none" "oci:$W/umoci" 2>&1)" '^hint: --name'
check_eq "umoci: --name and its tag" "$(take umoci --name example.org/u "oci:$W/umoci")" "example.org/u:v1 "
check_eq "umoci: the digest" "$(digest umoci example.org/u:v1)" "$("$PYTHON" -c 'import json, sys
print(json.load(open(sys.argv[1]))["manifests"][0]["digest"])' "$W/umoci/index.json")"
check_eq "umoci: chosen by tag, --name with a tag" "$(take umoci2 --name u:9 "oci:$W/umoci:v1")" "docker.io/library/u:9 "
copy "oci:$layout:exit:1" "docker-archive:$W/nameless.tar"
refuses "name: none" 2 'has no name' "docker-archive:$W/nameless.tar"
check_eq "name: --name gives one" "$(take nameless --name a/b:1 "docker-archive:$W/nameless.tar")" "docker.io/a/b:1 "
refuses "name: one for two" 2 'there are 2 images' --name a:1 "oci:$W/oci"
refuses "name: of no archive" 2 'no archive' --name a "$R/exit:1"
refuses "name: not there" 3 'no image "nope" in it; there is: ' "oci:$W/oci:nope"

buildah() {
    command buildah --root "$W/buildah" --runroot "$W/buildah-run" --storage-driver vfs "$@"
}
if c=$(buildah from scratch 2>"$T/err") && buildah copy -q "$c" "$LIB/tree.py" /tree.py >/dev/null 2>>"$T/err" &&
    buildah commit -q --format oci "$c" "oci-archive:$W/buildah.tar:example.org/b:1" >/dev/null 2>>"$T/err" &&
    buildah commit -q --format docker "$c" "docker-archive:$W/buildah2.tar:example.org/b:2" >/dev/null 2>>"$T/err"; then
    check_eq "buildah: oci-archive and docker-archive" \
        "$(take buildah "oci-archive:$W/buildah.tar" "docker-archive:$W/buildah2.tar")" "example.org/b:1 example.org/b:2 "
    check "buildah: whole" whole buildah
    rm -rf "$W/buildah" "$W/buildah-run"
else
    skip "buildah" "$(tail -n 1 "$T/err")"
fi

# ---- what is wrong with them ----

head -c 700000 "$W/multi.tar" >"$W/cut.tar"
refuses "cut short" 6 "$W/cut.tar: truncated" "oci-archive:$W/cut.tar"
head -c 700000 "$W/multi.tar.gz" >"$W/cut.tar.gz"
refuses "cut short, gzip" 6 "$W/cut.tar.gz: truncated" "oci-archive:$W/cut.tar.gz"
refuses "no archive" 6 "no tar archive" "docker-archive:$LIB/tree.py"
refuses "empty" 6 "it is empty" oci-archive:/dev/null
refuses "not there" 3 'nowhere.tar: no such file' oci-archive:nowhere.tar
refuses "a directory" 6 'it is a directory' "oci-archive:$W/oci"
refuses "of the other kind" 6 'docker-archive:' "oci-archive:$W/docker.tar"
refuses "no path" 2 'names no file' docker-archive:
refuses "another transport" 2 'not read from docker-daemon:' docker-daemon:nginx:1
xz -0 -c "$W/docker.tar" >"$W/docker.tar.xz"
refuses "xz" 6 'compressed with xz' "docker-archive:$W/docker.tar.xz"
tar -C "$W/umoci" -cf "$W/empty.tar" oci-layout
refuses "no index" 6 'no index.json' "oci-archive:$W/empty.tar"

# damaged COMMAND...: a copy of the layout, with the path of the exit:1 layer for COMMAND.
damaged() {
    rm -rf "$W/damaged"
    cp -r "$W/oci" "$W/damaged"
    layer=$(skopeo inspect "oci:$W/damaged:example.org/exit:1" | sed -n 's|.*"sha256:\([0-9a-f]*\)".*|\1|p' | tail -n 1)
    "$@" "$W/damaged/blobs/sha256/$layer"
}
flip() {
    printf x | dd of="$1" bs=1 seek=1000 conv=notrunc status=none
}
damaged rm
refuses "a blob is not there" 3 "it lacks the blob sha256:$layer" "oci:$W/damaged:example.org/exit:1"
damaged flip
refuses "a blob of another digest" 6 "blobs/sha256/$layer: digest differs" "oci:$W/damaged:example.org/exit:1"
damaged truncate -s 5000
refuses "a short blob" 6 "$layer has 5000 bytes" "oci:$W/damaged:example.org/exit:1"
# multi:1 has that layer, too: another image whose damage is its own.
copy --all "oci:$layout:multi:1" "oci:$W/half:example.org/multi:1"
copy "oci:$layout:zstd:1" "oci:$W/half:example.org/zstd:1"
flip "$(find "$W/half/blobs" -type f -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)"
check_eq "one of two is damaged: the other is imported" "$(take half "oci:$W/half" | sed 's/:.*//;q')" "status 9"
check_eq "one of two is damaged: and nothing of it" "$(names "$T/root-half")" example.org/multi:1

# ---- unpack ----

same_tree() {
    "$PYTHON" "$LIB/tree.py" "$1" "$2"
}
take tree "$R/nginx:7" >/dev/null
snapshot=$(echo "$T"/root-tree/io.containerd.snapshotter.v1.native/snapshots/*)
check "unpack: a registry" "$K3SIMG" unpack -q --platform linux/amd64 "$R/nginx:7" "$T/registry-tree"
check "unpack: the store's tree" same_tree "$T/registry-tree" "$snapshot"
mkdir -m 711 "$T/archive-tree"
check "unpack: an archive, into an empty directory" "$K3SIMG" unpack -q "oci-archive:$W/nginx.tar" "$T/archive-tree"
check_eq "unpack: the directory keeps its mode" "$(stat -c %a "$T/archive-tree")" 711
chmod 755 "$T/archive-tree"
check "unpack: the same" same_tree "$T/archive-tree" "$snapshot"
out=$("$K3SIMG" unpack -q -o json "docker-archive:$W/docker.tar" "$T/docker-tree")
check_has "unpack: JSON" "$out" "\"id\": \"$id\""
umoci unpack --image "$W/one:example.org/multi:1" "$T/umoci-tree" >/dev/null 2>&1
check "unpack: umoci's tree" same_tree "$T/docker-tree" "$T/umoci-tree/rootfs"
"$K3SIMG" unpack -q "oci:$W/oci:@0" "$T/docker-tree" >"$T/out" 2>&1
check_eq "unpack: not over something" "$?" 2
check_has "unpack: and says so" "$(cat "$T/out")" 'is not empty'
"$K3SIMG" unpack -q "oci:$W/oci" "$T/x" >"$T/out" 2>&1
check_eq "unpack: one of several images" "$?" 2
damaged flip
mkdir "$T/empty-tree"
for dir in no empty; do
    "$K3SIMG" unpack -q "oci:$W/damaged:example.org/exit:1" "$T/$dir-tree" >"$T/out" 2>&1
    check_eq "unpack: a damaged layer ($dir)" "$?" 6
    check_has "unpack: names file and entry ($dir)" "$(cat "$T/out")" "$W/damaged: .*$layer: digest differs"
done
check_eq "unpack: nothing is left" "$(ls -d "$T/no-tree" "$T/empty-tree/"* 2>/dev/null)" ""
check "unpack: nor removed" test -d "$T/empty-tree"
finish
