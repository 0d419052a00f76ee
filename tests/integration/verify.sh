#!/bin/bash
# verify finds every kind of damage and is silent where there is none, also in
# stores that containerd wrote; repair mends it and touches nothing else.  The short
# form does every sixth damage, TORTURE=full all of them.
# Short form: once.
# Damage is done by commands that look up the place when they run.
# shellcheck disable=SC2016
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
NAMES="exit:1 zstd:1 multi:1 static:1"

# ---- tools -----------------------------------------------------------------

EDIT=$(bbolt_editor) || exit 99

# in_root DIR: the paths of a root.
in_root() {
    ROOT=$1
    META=$1/io.containerd.metadata.v1.bolt/meta.db
    NATIVE=$1/io.containerd.snapshotter.v1.native/metadata.db
    SNAPSHOTS=$1/io.containerd.snapshotter.v1.native/snapshots
    BLOBS=$1/io.containerd.content.v1.content/blobs/sha256
}

# meta and native VERB KEY...: an edit below the namespace, or below v1.
meta() { "$EDIT" "$META" "$1" v1 k8s.io "${@:2}"; }
native() { "$EDIT" "$NATIVE" "$1" v1 "${@:2}"; }

# digests NAME: the digests of an image as the store has it, a line each:
# its index (or nothing), manifest, config, then layers; chains has the chain IDs.
digests() {
    "$PYTHON" - "$BLOBS" "$(image_digest "$1")" "${2:-}" <<'PY'
import hashlib, json, os, sys
blobs, top, chains = sys.argv[1:]
def doc(digest):
    with open(os.path.join(blobs, digest.split(":")[1]), encoding="utf-8") as f:
        return json.load(f)
index, manifest = "", top
if "manifests" in doc(top):
    index = top
    manifest = [m["digest"] for m in doc(top)["manifests"] if m["platform"]["architecture"] == "amd64"][0]
m = doc(manifest)
if not chains:
    print(index, manifest, m["config"]["digest"], *[l["digest"] for l in m["layers"]], sep="\n")
else:
    chain = ""
    for d in doc(m["config"]["digest"])["rootfs"]["diff_ids"]:
        chain = "sha256:" + hashlib.sha256((chain + " " + d).encode()).hexdigest() if chain else d
        print(chain)
PY
}

# look NAME: its digests in D, its chain IDs in C, and of its top snapshot the
# chain ID, the key and the directory.  Again after each repair: it is another one.
look() {
    mapfile -t D < <(digests "$1")
    mapfile -t C < <(digests "$1" chains)
    look_chain "${C[-1]}"
}
look_chain() {
    CHAIN=$1
    KEY=$(meta get snapshots native "$CHAIN" name) &&
        TREE=$SNAPSHOTS/$(native number snapshots "$KEY" id)
}

verify() { "$K3SIMG" verify -q --root "$ROOT" "$@"; }
repair() { "$K3SIMG" repair -q --root "$ROOT" "$@"; }

# others: everything in the trees that must not be touched.
others() {
    find "${OTHERS[@]}" -printf '%p %y %m %U %G %s %T@ %i %l\n' | sort | sha256sum
}

# flip FILE: one bit in the middle of it.
flip() {
    "$PYTHON" - "$1" <<'PY'
import os, sys
st = os.stat(sys.argv[1])
with open(sys.argv[1], "r+b") as f:
    f.seek(st.st_size // 2)
    byte = f.read(1)[0]
    f.seek(st.st_size // 2)
    f.write(bytes([byte ^ 4]))
os.utime(sys.argv[1], ns=(st.st_atime_ns, st.st_mtime_ns))
PY
}

# damage WHAT HOW REF PATTERN COMMAND...: do it, find it (HOW is shallow or
# deep), mend it.  The repair ends with a deep check of its own, and only then
# with 0.
damages=0
damage() {
    local what=$1 how=$2 ref=$3 pattern=$4 out status deep=""
    shift 4
    damages=$((damages + 1))
    [ "${TORTURE:-}" = full ] || [ $((damages % 3)) = 0 ] || return 0
    my_turn $((damages / 3)) || return 0
    "$@" >"$T/damage.log" 2>&1 || { fail "$MODE: $what" "$(cat "$T/damage.log")"; return; }
    [ "$how" = shallow ] || deep=--deep
    # shellcheck disable=SC2086
    out=$(verify $deep "$ref" 2>&1)
    status=$?
    if [ "$status" = 10 ] && printf '%s\n' "$out" | grep -Eq -- "^$ref: .*$pattern"; then
        ok "$MODE: $what: found"
    else
        fail "$MODE: $what: found" "status $status, no match for $pattern
$out"
    fi
    out=$(repair "$ref" 2>&1)
    status=$?
    if [ "$status" = 0 ] && printf '%s\n' "$out" | grep -q ": mended, "; then
        ok "$MODE: $what: mended"
    else
        fail "$MODE: $what: mended" "status $status
$out"
    fi
    out=$(verify 2>&1) || fail "$MODE: $what: the store is whole again" "$out"
    look "${ref#"$REGISTRY/"}"
}

# silent WHAT ARGS...: verify says nothing at all and ends with 0.
silent() {
    local what=$1 out status
    shift
    out=$(verify "$@" 2>&1)
    status=$?
    check_eq "$MODE: $what" "$status $out" "0 "
}

# runs NAME...: containerd starts on the root and runs these images.
runs() {
    local name
    ctd_start "$CTD_VERSION" "$ROOT" "run-$MODE" || { fail "$MODE: containerd starts"; return; }
    for name in "$@"; do
        check_has "$MODE: containerd runs $name" "$(cri run "$REGISTRY/$name")" '"exit_code": 0'
    done
    ctd_stop "run-$MODE"
}

check_databases() {
    check "$MODE: bbolt's checker on both databases" bbolt_check "$META" "$NATIVE"
}

# ---- a flat store of ours ---------------------------------------------------

MODE=flat
in_root "$T/flat"
# shellcheck disable=SC2046,SC2086
check "flat: preload" preload "$ROOT" $(refs $NAMES)
silent "a new store is whole"
silent "deep, too" --deep
check_eq "flat: an image that is not there" "$("$K3SIMG" verify -q --root "$ROOT" no/such:1 2>/dev/null; echo $?)" 3
check_eq "flat: a root that is not there" "$("$K3SIMG" verify -q --root "$T/none" 2>/dev/null; echo $?)" 3
check "flat: verify does not make one" test ! -e "$T/none"
look zstd:1
for ref in "${D[1]}" "${D[2]}" "${D[2]:7:12}" "$REGISTRY/zstd@${D[1]}"; do
    silent "named $ref" --deep "$ref"
done
check_has "flat: the report as JSON" "$("$K3SIMG" verify --deep -o json --root "$ROOT" 2>/dev/null |
    "$PYTHON" -c 'import json, sys
r = json.load(sys.stdin)
print(r["schemaVersion"], len(r["images"]), r["findings"], r["counts"]["snapshotsCompared"])')" '^1 5 \[\] 5$'

Z=$REGISTRY/zstd:1
look zstd:1
mapfile -t OTHERS < <(find "$SNAPSHOTS" -mindepth 1 -maxdepth 1 -not -path "$TREE")
untouched=$(others)

in_tree() { (cd "$TREE" && "$@"); }
damage "a byte of a file, same size and time" deep "$Z" 'data/005: content differs from byte [0-9]+ on' eval 'flip "$TREE/data/005"'
damage "a file's mode" deep "$Z" 'data/005: mode is 0600 instead of 0644' in_tree chmod 600 data/005
damage "a file's owner" deep "$Z" 'data/005: owner is 7:8 instead of 0:0' in_tree chown 7:8 data/005
damage "a file's time" deep "$Z" 'data/006: modification time is 2001-' in_tree touch -d 2001-01-01 data/006
damage "a file that is cut" deep "$Z" 'data/007: has 1 bytes instead of' in_tree truncate -s 1 data/007
damage "a file that is missing" deep "$Z" 'data/008: is missing' in_tree rm data/008
damage "a file that was added" deep "$Z" 'data/009x: is none of the image' in_tree touch data/009x
damage "a file that is a directory" deep "$Z" 'data/009: is a directory instead of a regular file' in_tree sh -c 'rm data/009 && mkdir data/009'
damage "a symbolic link" deep "$Z" 'symbolic link leads to "elsewhere"' in_tree sh -c \
    'l=$(find . -type l | head -n 1) && ln -sfn elsewhere "$l"'
damage "a hard link that is split" deep "$Z" 'bin/[a-z]+: is no hard link to the file' in_tree sh -c \
    'cp -p bin/sh x && mv x bin/sh'
damage "two files made one" deep "$Z" 'data/0(11|10): ' in_tree ln -f data/010 data/011
damage "an extended attribute" deep "$Z" 'data/012: extended attribute security.capability is none' \
    in_tree "$PYTHON" -c 'import os, struct
os.setxattr("data/012", "security.capability", struct.pack("<IIIII", 0x02000001, 1024, 0, 0, 0))'
damage "a directory that is missing" deep "$Z" '/data: is missing' in_tree rm -r data
damage "a directory's mode" deep "$Z" '/data: mode is 0700 instead of 0755' in_tree chmod 700 data
damage "a directory's owner" deep "$Z" '/data: owner is 1:0 instead of 0:0' in_tree chown 1:0 data
damage "the root's mode" deep "$Z" 'snapshots/[0-9]+: mode is 0711 instead of 0755' in_tree chmod 711 .
damage "the tree" shallow "$Z" 'snapshots/[0-9]+: the directory is missing' eval 'rm -r "$TREE"'
damage "the snapshot's record in metadata.db" shallow "$Z" 'metadata.db/v1/snapshots/k8s.io/[^ ]*: there is no such record' \
    eval 'native delete snapshots "$KEY" && rm -r "$TREE"'
damage "the snapshot's record in meta.db" shallow "$Z" 'meta.db/v1/k8s.io/snapshots/native/sha256:[^ ]*: there is no such record' \
    eval 'meta delete snapshots native "$CHAIN"'
damage "a snapshot that is not committed" shallow "$Z" 'metadata.db/[^ ]*: it is not committed' \
    eval 'native put snapshots "$KEY" kind "\x02"'
damage "the snapshot's name" shallow "$Z" 'meta.db/[^ ]*: the record does not say' \
    eval 'meta delete snapshots native "$CHAIN" name'
damage "a layer's bit" deep "$Z" 'blobs/sha256/[0-9a-f]+: the bytes have another digest' eval 'flip "$BLOBS/${D[4]#*:}"'
damage "a layer that is cut" shallow "$Z" 'blobs/sha256/[0-9a-f]+: has 100 bytes instead of' eval 'truncate -s 100 "$BLOBS/${D[3]#*:}"'
damage "a layer that is missing" shallow "$Z" 'blobs/sha256/[0-9a-f]+: the file is missing' eval 'rm "$BLOBS/${D[5]#*:}"'
damage "a layer's record" shallow "$Z" 'content/blob/sha256:[0-9a-f]+: there is no such record' eval 'meta delete content blob "${D[5]}"'
damage "a layer's size" shallow "$Z" "content/blob/sha256:[0-9a-f]+: the record's size is not" eval 'meta put content blob "${D[5]}" size "\x02"'
damage "a layer's diff ID" shallow "$Z" 'label containerd.io/uncompressed is not' \
    eval 'meta put content blob "${D[5]}" labels containerd.io/uncompressed "${D[1]}"'
damage "the manifest's bit" shallow "$Z" 'the bytes have another digest' eval 'flip "$BLOBS/${D[1]#*:}"'
look zstd:1
damage "the config" shallow "$Z" 'the file is missing' eval 'rm "$BLOBS/${D[2]#*:}"'
damage "the label of a layer" shallow "$Z" 'no label containerd.io/gc.ref.content.l.1 for' \
    eval 'meta delete content blob "${D[1]}" labels containerd.io/gc.ref.content.l.1'
damage "the label of the config" shallow "$Z" 'no label containerd.io/gc.ref.content.config for' \
    eval 'meta delete content blob "${D[1]}" labels containerd.io/gc.ref.content.config'
damage "the label of the snapshot" shallow "$Z" 'no label containerd.io/gc.ref.snapshot.native for' \
    eval 'meta delete content blob "${D[2]}" labels containerd.io/gc.ref.snapshot.native'
damage "the ID's name" shallow "$Z" 'images/sha256:[0-9a-f]+: the name of the image.s ID is missing' \
    eval 'meta delete images "${D[2]}"'
check_eq "flat: the other images' trees are untouched" "$(others)" "$untouched"
damage "numbers that would be given out again" shallow "$Z" 'is above the last one given out' native sequence snapshots 0
look multi:1
damage "a label of an index" shallow "$REGISTRY/multi:1" 'no label containerd.io/gc.ref.content.m.2 for' \
    eval 'meta delete content blob "${D[0]}" labels containerd.io/gc.ref.content.m.2'
damage "an index" shallow "$REGISTRY/multi:1" 'the file is missing' eval 'rm "$BLOBS/$(image_digest multi:1 | cut -d: -f2)"'

# A file that two trees share, told under the first of its names.
look exit:1
flip "$TREE/bin/busybox"
out=$(verify --deep)
check_has "flat: a shared file's byte: found in one image" "$out" "^$REGISTRY/exit:1: .*/bin/[^ ]+: content differs"
check_has "flat: a shared file's byte: found in the other" "$out" "^$REGISTRY/multi:1: .*/bin/"
check "flat: a shared file's byte: both are mended" repair "$REGISTRY/exit:1" "$REGISTRY/multi:1"
silent "all is whole after so many repairs" --deep
check_eq "flat: all names are pinned as before" "$("$K3SIMG" list --root "$ROOT" -o json |
    "$PYTHON" -c 'import json, sys; print(sum(i["pinned"] for i in json.load(sys.stdin)["images"]))')" 5
check "flat: no staging is left" test ! -e "$ROOT/.k3simg"
check_databases
runs exit:1 zstd:1 multi:1

# What belongs to no image.
store() {
    local what=$1 wanted=$2 pattern=$3 out status
    shift 3
    out=$("$K3SIMG" verify --root "$ROOT" 2>&1)
    status=$?
    check_has "flat: $what: $wanted" "$status $out" "^$wanted"
    check_has "flat: $what" "$out" "$pattern"
}
mkdir "$SNAPSHOTS/new-12345"
store "a directory that nobody uses" 0 '^leftover: store: .*/snapshots/new-12345: no record'
rmdir "$SNAPSHOTS/new-12345"
mkdir "$SNAPSHOTS/99999"
store "a directory in containerd's way" 10 '^store: .*/snapshots/99999: .*containerd will stumble'
rmdir "$SNAPSHOTS/99999"
touch "$BLOBS/$(printf '0%.0s' {1..64})"
store "a blob that nobody uses" 0 '^leftover: store: .*/blobs/sha256/0+: no namespace'
rm "$BLOBS/$(printf '0%.0s' {1..64})"
touch "$BLOBS/x.tmp"
store "a name that is no digest" 10 '^store: .*/blobs/sha256/x.tmp: this name is no digest'
rm "$BLOBS/x.tmp"
meta put content blob "sha256:$(printf '1%.0s' {1..64})" size '\x02'
store "a record without a blob" 10 '^store: .*/blobs/sha256/1+: the file is missing'
meta delete content blob "sha256:$(printf '1%.0s' {1..64})"
mkdir "$ROOT/.k3simg"
store "staging of a preload" 0 '^leftover: store: .k3simg: left by a preload'
rmdir "$ROOT/.k3simg"

# An image that cannot be had from anywhere.
meta put images "$REGISTRY/static:1" target digest "sha256:$(printf '2%.0s' {1..64})"
out=$(repair "$REGISTRY/static:1" 2>&1)
check_eq "flat: a target that nobody has: status" $? 10
check_has "flat: a target that nobody has: what is left" "$out" "content/blob/sha256:2+: there is no such record"
check_has "flat: a target that nobody has: why" "$out" '^k3simg: error: .*static:1: '
meta delete images "$REGISTRY/static:1" target
check_has "flat: a record without a target" "$(verify)" "^store: meta.db/v1/k8s.io/images/$REGISTRY/static:1: .*target"
check_eq "flat: a record without a target: asked for" "$(verify "$REGISTRY/static:1" >/dev/null 2>&1; echo $?)" 10
out=$(repair "$REGISTRY/static:1" 2>&1)
check_eq "flat: a record without a target: repair" $? 10
check_eq "flat: a record without a target: told once" "$(printf '%s\n' "$out" | grep -c 'images/.*target')" 1
check_has "flat: a record without a target: what to do" "$out" "preload writes a broken image record anew"
silent "a record without a target is nothing to others" "$Z"
check "flat: preload writes it again" preload "$ROOT" "$REGISTRY/static:1"
silent "and all is whole again" --deep

# A damaged page, in a copy of its database.
cp -p "$META" "$T/meta.db"
"$PYTHON" - "$META" <<'PY'
import struct, sys
with open(sys.argv[1], "r+b") as f:
    data = f.read()
    size = struct.unpack_from("<I", data, 24)[0]
    # The last leaf page that a transaction uses is no meta page and no root.
    leaves = [at for at in range(2 * size, len(data) - size + 1, size)
              if struct.unpack_from("<H", data, at + 8)[0] == 2]
    for at in leaves:
        f.seek(at)
        f.write(b"\xff" * 8)
PY
verify >"$T/page.out" 2>&1
status=$?
check "flat: damaged pages: status $status is 10 or 7" test "$status" = 10 -o "$status" = 7
check "flat: damaged pages are told" test -s "$T/page.out"
cp -p "$T/meta.db" "$META"
silent "with the pages as they were" --deep

# ---- chain -------------------------------------------------------------------

MODE=chain
in_root "$T/chain"
# shellcheck disable=SC2046
check "chain: preload" preload "$ROOT" --snapshots chain $(refs zstd:1 exit:1)
silent "a new store is whole, deep" --deep
look zstd:1
look_chain "${C[1]}"
flip "$TREE/data/005"
out=$(verify --deep "$Z")
check_eq "chain: a byte is found in every snapshot that shares it" "$(printf '%s\n' "$out" | grep -c 'data/005: content differs')" 3
check "chain: and mended in all of them" repair "$Z"
silent "it is whole, deep" --deep
second() { look zstd:1 && look_chain "${C[1]}"; }
second
damage "the tree of a lower layer" shallow "$Z" 'snapshots/[0-9]+: the directory is missing' eval 'rm -r "$TREE"'
second
damage "a lower layer's record in metadata.db" shallow "$Z" 'metadata.db/[^ ]*: there is no such record' \
    eval 'native delete snapshots "$KEY"; rm -r "$TREE"'
second
damage "a lower layer's record in meta.db" shallow "$Z" "its parent has no record" \
    eval 'meta delete snapshots native "$CHAIN"'
second
damage "a parent in metadata.db" shallow "$Z" 'its parent is another one than in meta.db' \
    eval 'native put snapshots "$KEY" parent "$(meta get snapshots native "${C[2]}" name)"'
second
damage "a child in meta.db" shallow "$Z" "its parent's record does not name it as a child" \
    eval 'meta delete snapshots native "${C[0]}" children "$CHAIN"'
damage "a file of the lowest tree, removed" deep "$Z" 'is missing' eval 'look_chain "${C[0]}"; rm -r "$TREE"/usr/share'
silent "the chain is whole, deep" --deep
check_databases
# The network is no part of it as long as the blobs are there.
MODE=offline
registry_stop
look zstd:1
damage "a file" deep "$Z" 'data/005: mode' in_tree chmod 600 data/005
damage "a tree" shallow "$Z" 'the directory is missing' eval 'rm -r "$TREE"'
damage "a layer's record" shallow "$Z" 'there is no such record' eval 'meta delete content blob "${D[5]}"'
damage "a label" shallow "$Z" 'no label' eval 'meta delete content blob "${D[1]}" labels containerd.io/gc.ref.content.l.1'
rm "$BLOBS/${D[4]#*:}"
before=$(store_content "$ROOT")
out=$(repair --retries 0 "$Z" 2>&1)
check_eq "offline: a layer that is missing: status" $? 10
check_has "offline: a layer that is missing: what is left" "$out" "blobs/sha256/${D[4]#*:}: the file is missing"
check_has "offline: a layer that is missing: why" "$out" "^k3simg: error: $Z: .*${D[4]#*:}"
check_eq "offline: and nothing is worse" "$(store_content "$ROOT")" "$before"
runs exit:1

# ---- what containerd wrote ---------------------------------------------------

registry_start
PAUSE=$REGISTRY/rancher/mirrored-pause:3.6
CTD_PAUSE=$PAUSE
MODE=containerd
in_root "$T/own"
Z=$REGISTRY/zstd:1
ctd_start "$CTD_VERSION" "$ROOT" own || die "containerd $CTD_VERSION does not start"
for name in exit:1 zstd:1 multi:1 nginx:7 rancher/mirrored-pause:3.6; do
    check "containerd: pull of $name" cri pull "$REGISTRY/$name"
done
# Findings bear the name that was asked for, and this one sorts first.
check "containerd: a second name" ctd_ctr own images tag "$Z" "$REGISTRY/a:1"
# Pulled and not unpacked, by who knows nothing of CRI.
check "containerd: static:1 without unpacking" ctd_ctr own content fetch --plain-http "$REGISTRY/static:1"
silent "while it runs, its store is whole"
silent "while it runs, its store is whole, deep" --deep
manifest=$BLOBS/$(image_digest exit:1 | cut -d: -f2)
mv "$manifest" "$T/aside"
check_eq "containerd: while it runs, damage is found" "$(verify >/dev/null 2>&1; echo $?)" 10
check_has "containerd: while it runs, nothing is repaired" \
    "$(repair "$REGISTRY/exit:1" 2>&1; echo "status $?")" 'containerd is running on this root'
check_eq "containerd: nor was anything made" "$(ls "$manifest" 2>/dev/null)" ""
mv "$T/aside" "$manifest"
ctd_stop own
silent "its store is whole"
silent "its store is whole, deep" --deep
look nginx:7
damage "an extended attribute" deep "$REGISTRY/nginx:7" 'extended attribute [a-z.]+ is missing' in_tree "$PYTHON" -c '
import os
for base, dirs, files in os.walk("."):
    dirs.sort()
    for name in sorted(files):
        path = os.path.join(base, name)
        if os.listxattr(path, follow_symlinks=False):
            os.removexattr(path, os.listxattr(path)[0])
            raise SystemExit
raise SystemExit("no file has one")'
look zstd:1
look_chain "${C[1]}"
damage "a file of a lower layer" deep "$Z" 'data/005: is missing' in_tree rm data/005
look zstd:1
damage "a layer" shallow "$Z" 'the file is missing' eval 'rm "$BLOBS/${D[4]#*:}"'
silent "its store is whole again, deep" --deep
check_databases
runs exit:1 zstd:1
ctd_start "$CTD_VERSION" "$ROOT" again || die "containerd $CTD_VERSION does not start again"
check "containerd: pulls on top of it" cri pull "$REGISTRY/debian:base"
check "containerd: removes a mended image" cri rmi "$Z"
ctd_stop again
silent "and the store is whole" --deep
finish
