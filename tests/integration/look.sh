#!/bin/bash
# The commands that look: list, inspect, tree, du and plan, on a stopped store and on one that
# containerd has; what they say is what containerd, crictl's interface and GNU du say.
# Modes: offline or live
# shellcheck disable=SC2030,SC2031 # "root" of ctd_start's subshell is another one
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
"$PYTHON" "$LIB/shared.py" "$T/layout" || die "no layout"
A=registry.test/shared/a:1 B=registry.test/shared/b:1

# json EXPRESSION: over the JSON on stdin, called x.
json() {
    "$PYTHON" -c "import json, sys; x = json.load(sys.stdin); print($1)"
}

look() {
    local what=$1
    shift
    "$K3SIMG" "$what" --root "$root" "$@"
}

# refused STATUS PATTERN COMMAND...: one line in these words and a hint.
refused() {
    local status=$1 pattern=$2
    shift 2
    look "$@" >"$T/refused" 2>&1
    [ $? = "$status" ] && grep -Eq -- "^k3simg: error: .*$pattern" "$T/refused" &&
        [ "$(grep -c '^hint: ' "$T/refused")" = 1 ] && [ "$(wc -l <"$T/refused")" = 2 ] && return 0
    cat "$T/refused"
    return 1
}

# Nothing is there yet.
foretell() {
    local before
    before=$(wc -l <"$T/registry/log")
    look plan -o json "oci:$T/layout" "$REGISTRY/zstd:1" "$REGISTRY/exit:1" >"$T/plan" 2>"$T/err"
    check_eq "$mode: plan of a root that is not there" "$? $(cat "$T/err")" \
        "0 $root is not there yet: everything counts as missing"
    check "$mode: plan makes no root" test ! -e "$root"
    check_eq "$mode: no layer was fetched for it" "$(tail -n "+$((before + 1))" "$T/registry/log" | grep -cF "/blobs/$LAYER")" 0
    check_eq "$mode: layers of archives and stored ones tell their size" \
        "$(json 'x["layers"]["guessed"] > 0 and x["layers"]["toldByTheirEnds"] == 4' <"$T/plan")" True
    check_has "$mode: plan as text" "$(look plan "oci:$T/layout" 2>/dev/null | tr '\n' ' ')" \
        "To fetch: .* from archives.*trees, containerd's own +4 .*estimate"
}

lists() {
    check_eq "$mode: a repository" "$(look list "$REGISTRY/exit" -o name | grep -v @)" "$REGISTRY/exit:1"
    check_eq "$mode: a pattern" "$(look list 'registry.test/*' -o name | grep -vc @)" 2
    check_eq "$mode: a name" "$(look list "$A" -o json | json 'len(x["images"])')" 1
    check_eq "$mode: nothing of that name" "$(look list none -o json | json 'len(x["images"])')" 0
    check_eq "$mode: filters" "$(for f in dangling pinned unpacked=false complete platform=linux/s390x; do
        look list -q --filter $f | wc -l
    done | tr '\n' ' ')" "0 5 0 5 0 "
    check_eq "$mode: IDs, whole" "$(look list -q | grep -cE '^sha256:[0-9a-f]{64}$')" 5
    check_has "$mode: wide" "$(look list -o wide)" 'DIGEST +IMAGE ID .*SNAPSHOT +CREATED'
    check_has "$mode: --digests --no-trunc" "$(look list --digests --no-trunc "$A")" \
        'shared/a +1 +sha256:[0-9a-f]{64} +sha256:[0-9a-f]{64} '
    check "$mode: a filter that is none" refused 2 'is no filter' list --filter label=x
}

words() {
    local id
    id=$(look list -q "$A")
    for word in "$A" "$id" "${id#sha256:}" "${id:7:12}" "registry.test/shared/a@$(look list "$A" -o json |
        json 'x["images"][0]["digest"]')" "$(look list "$A" -o json | json 'x["images"][0]["digest"]')"; do
        check_eq "$mode: inspect $word" "$(look inspect -o json "$word" | json 'x["images"][0]["id"]')" "$id"
    done
    check "$mode: the nearest name" refused 3 'is not in namespace' inspect registry.test/shared/a:2
    check_has "$mode: it is told" "$(cat "$T/refused")" "^hint: there is: $A"
    check "$mode: an ID that is none" refused 3 'is not in' inspect sha256:0000000000
}

inspects() {
    look inspect -o json "$A" >"$T/inspect"
    check_eq "$mode: documents are those of the layout" "$("$PYTHON" - "$T/layout" "$T/inspect" <<'PY'
import json, sys
x = json.load(open(sys.argv[2]))["images"][0]
read = lambda d: json.load(open("%s/blobs/sha256/%s" % (sys.argv[1], d[7:])))
print(x["manifest"] == read(x["digest"]), x["config"] == read(x["id"]), len(x["layers"]))
PY
)" "True True 3"
    check_eq "$mode: the top snapshot" "$(json 'x["images"][0]["layers"][2]["snapshot"]["kind"]' <"$T/inspect")" committed
    check "$mode: its directory" test -d "$(json 'x["images"][0]["layers"][2]["snapshot"]["directory"]' <"$T/inspect")/a"
    check_eq "$mode: the label that keeps it" "$(json \
        '[d["labels"]["containerd.io/gc.ref.snapshot.native"] for d in x["images"][0]["documents"] if d["kind"] == "config"][0] == x["images"][0]["chainID"]' \
        <"$T/inspect")" True
    check_has "$mode: as text" "$(look inspect "$A" | tr '\n' ' ')" \
        "^$A .*Unpacked: +yes .*Entrypoint: +/bin/look 'two words' .*User: +7 .*Losses: +3 refused"
}

lost() {
    check_eq "$mode: losses of a" "$(look inspect -o json "$A" | json \
        '[(l["class"], l["path"], l["what"]) for l in x["images"][0]["lossPaths"]]')" \
        "[('xattr', 'common/03', 'trusted.k3simg'), ('xattr', 'common/04', 'trusted.k3simg'), ('xattr', 'a/05', 'trusted.k3simg')]"
    check_eq "$mode: losses of b are those of the tree that it grew on" \
        "$(look inspect --losses "$B" | grep -c 'common/0[34]  trusted.k3simg: ')" 2
    check_has "$mode: nothing lost" "$(look inspect --losses "$REGISTRY/exit:1")" 'refused nothing'
    check_eq "$mode: no leftover is found" "$(look verify 2>&1 | grep -c k3simg/)" 0
}

trees() {
    look tree -o json "$A" >"$T/tree"
    check_eq "$mode: what two images share" "$(json '[l["images"] for l in x["layers"]]' <"$T/tree")" "[2, 2, 1]"
    check_eq "$mode: parents" "$(json '[l["parent"] for l in x["layers"]] == [None] + [l["chainID"] for l in x["layers"]][:2]' <"$T/tree")" True
    check_has "$mode: drawn" "$(LC_ALL=C look tree --layers "$A" "$B" | tail -n +2)" '^`-- .* shared by 2 images$'
    check_eq "$mode: drawn in UTF-8" "$(LC_ALL=C.UTF-8 look tree "$A" "$B" | grep -c '[├└]── registry.test/shared/[ab]:1  pinned$')" 2
}

# What GNU du says of a path below the root.
gnu() {
    du -sx --block-size=1 "$root/$1" 2>/dev/null | cut -f1
}

sizes() {
    look du -o json >"$T/du"
    # containerd may write to its logs and databases meanwhile.
    check_eq "$mode: the total is that of GNU du" "$(json 'x["totalBytes"]' <"$T/du")" "$(gnu .)"
    check_eq "$mode: trees are those of GNU du" "$(json 'x["trees"]["bytes"] + x["containers"]["bytes"]' <"$T/du")" \
        "$(($(gnu io.containerd.snapshotter.v1.native/snapshots) - $(stat -c '%b * %B' "$root/io.containerd.snapshotter.v1.native/snapshots")))"
    check_eq "$mode: blobs are those of GNU du" "$(json 'x["blobs"]["bytes"]' <"$T/du")" "$(gnu io.containerd.content.v1.content)"
    check_eq "$mode: nothing is reclaimable" "$(json 'x["reclaimableBytes"]' <"$T/du")" 0
    # Both stand on two layers of 60 files of 8 KiB; each has as many for itself.
    check_eq "$mode: shared and exclusive" "$(json \
        '[(i["sharedBytes"] > 900000, 480000 < i["exclusiveBytes"] < 620000) for i in x["images"] if "shared/" in i["name"]]' \
        <"$T/du")" "[(True, True), (True, True)]"
    check_eq "$mode: what images have makes up what there is" "$(json \
        'sum(i["exclusiveBytes"] for i in x["images"]) + x["blobs"]["sharedBytes"] + x["trees"]["sharedBytes"] <= x["blobs"]["bytes"] + x["trees"]["bytes"]' \
        <"$T/du")" True
    check_has "$mode: in bytes, of one image" "$(look du -b "$A" | tail -n 1)" "^$A( +[0-9]+){4}\$"
}

# What plan said of an empty root holds.
foretold() {
    "$PYTHON" - "$T/plan" "$T/du" "$mode" <<'PY'
import json, sys
plan, du = json.load(open(sys.argv[1])), json.load(open(sys.argv[2]))
want, have = plan["disk"][sys.argv[3]], du["trees"]["bytes"]
if not want["bytes"]["low"] <= have <= want["bytes"]["high"] or \
        plan["disk"]["containerdNative"]["bytes"]["likely"] <= plan["disk"]["flat"]["bytes"]["likely"]:
    sys.exit("%d bytes of trees, foretold: %s" % (have, plan["disk"]))
PY
}

planned() {
    check_eq "$mode: afterwards there is nothing to fetch" "$(look plan -o json "oci:$T/layout" "$REGISTRY/zstd:1" |
        json "x[\"fetch\"][\"bytes\"], x[\"disk\"][\"$mode\"][\"bytes\"][\"likely\"]")" "0 0"
}

# What containerd itself knows.
compared() {
    ctd_sh "$mode" 'ctr images ls -q | grep -v @' | sort >"$T/theirs"
    # IDs are names of their own there.
    check_eq "$mode: names are those of ctr" "$(look list -o json | json '"\n".join(sorted(n for i in x["images"] for n in i["names"] if "@" not in n))')" \
        "$(cat "$T/theirs")"
    ctd_sh "$mode" 'ctr snapshots --snapshotter native ls' | tail -n +2 | awk '{ print $1 }' | sort >"$T/theirs"
    check_eq "$mode: snapshots are those of ctr" \
        "$(look tree -o json | json '"\n".join(sorted(l["chainID"] for l in x["layers"] if l["snapshot"]))')" "$(cat "$T/theirs")"
    check_eq "$mode: IDs are those of CRI" "$(look list -q | sort)" \
        "$(cri images | sed -n 's/^  "id": "\(.*\)",*$/\1/p; s/^ *"id": "\(.*\)",*$/\1/p' | sort -u)"
}

removed() {
    local before
    ctd_sh "$mode" "for n in \$(ctr images ls -q | grep -e shared/b -e $(look list -q "$B")); do ctr images rm \$n; done" >/dev/null
    before=$(look du -o json "$A" | json 'x["images"][0]["exclusiveBytes"]')
    # Layers that both had are a's alone now.
    check "$mode: without b, what they shared is a's: $before" test "$before" -gt 1500000
}

# The largest layer of zstd:1.
LAYER=$(skopeo --insecure-policy inspect --raw --tls-verify=false "docker://$REGISTRY/zstd:1" |
    json 'max(x["layers"], key=lambda l: l["size"])["digest"]')
# What nothing refers to could be freed, and by how much.
orphans() {
    local dir=$root/io.containerd.snapshotter.v1.native/snapshots/new-orphan before
    local blob=$root/io.containerd.content.v1.content/blobs/sha256/${LAYER#sha256:}
    # Of nobody's: no other digest ends so by chance.
    blob=${blob%????????}00000000
    before=$(look du -o json | json 'x["reclaimableBytes"]')
    mkdir "$dir" && head -c 100000 /dev/zero >"$dir/file" && head -c 50000 /dev/zero >"$blob"
    check_eq "$mode: what could be freed" "$(look du -o json | json 'x["reclaimableBytes"]')" \
        "$((before + $(du -s --block-size=1 "$dir" | cut -f1) + $(du --block-size=1 "$blob" | cut -f1)))"
    rm -r "$dir" "$blob"
}

for mode in $(both_modes); do
    root=$T/$mode
    foretell
    # shellcheck disable=SC2046
    check "$mode: preload" preload "$root" -q --snapshots "$mode" "oci:$T/layout" $(refs exit:1 zstd:1)
    [ "$mode" = chain ] || { lists; words; }
    inspects
    lost
    trees
    sizes
    check "$mode: trees take what was foretold" foretold
    planned
    ctd_start "$CTD_VERSION" "$root" "$mode" || { fail "$mode: containerd starts"; continue; }
    compared
    [ "$mode" = flat ] || lists
    lost
    removed
    ctd_stop "$mode"
    orphans
    check "$mode: the losses of b are forgotten with the next commit" test \
        "$(preload "$root" -q --snapshots "$mode" "$REGISTRY/exit:1" >/dev/null 2>&1; find "$root/.k3simg/losses" -name '*.json' | wc -l)" = \
        2
    rm -rf -- "$root"
done
finish
