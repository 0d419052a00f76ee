#!/bin/bash
# What is printed as JSON is what docs/schema says: of every command, when it works and when it fails.
# Once: the containerd that verify --start asks is one of two that the same test of start.sh asks.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

install_packages python3-jsonschema || die "python3-jsonschema cannot be installed"
export TOP

# prints SCHEMA WHAT STATUS COMMAND...: the document on its standard output, also in $T/SCHEMA.json;
# all are held against their schemas at the end, which takes one program instead of fifty.
count=0
prints() {
    local schema=$1 what=$2 status=$3
    shift 3
    "$@" >"$T/$schema.json" 2>"$T/err" </dev/null
    check_eq "$schema: $what: status" $? "$status"
    keep "$schema" "$what"
}

keep() {
    count=$((count + 1))
    cp "$T/$1.json" "$T/document-$count.json"
    printf '%s\t%s\t%s\n' "$1" "$T/document-$count.json" "$1: $2" >>"$T/documents"
}

# says SCHEMA EXPRESSION: of the last document, called x; so that a form that was to be seen was.
says() {
    check "$1: it was that form: $2" "$PYTHON" -c "import json, sys; x = json.load(open(sys.argv[1])); sys.exit(not ($2))" "$T/$1.json"
}

check "the schemas are schemas" "$PYTHON" "$LIB/schema.py" --all

# Each command that has JSON has one.
missing=""
table() {
    "$K3SIMG" help -o table "$@" | sed -n 's/^command\t\([^\t]*\)\t.*/\1/p'
}
while read -r name; do
    # shellcheck disable=SC2086
    "$K3SIMG" help -o table $name | grep -Eq '^option.*[|	]json' || continue
    [ -e "$TOP/docs/schema/${name// /-}.json" ] || missing+="$name "
done < <(table | while read -r name; do
    echo "$name"
    # shellcheck disable=SC2086
    table $name
done)
check_eq "every command with JSON has a schema" "$missing" ""

use_registry
R=$REGISTRY
root=$T/root
here() { "$K3SIMG" "$1" --root "$root" "${@:2}"; }

prints preload "images" 0 here preload -o json --pause none "$R/exit:1" "$R/zstd:1"
says preload 'x["images"][0]["status"] == "imported"'
sed 's/"pinned"/"pined"/' "$T/preload.json" >"$T/other.json"
check_eq "a member that is not published is refused" "$(schema preload "$T/other.json" | grep -c pined)" 1
prints preload "again, and one that is not there" 9 here preload -o json --pause none "$R/exit:1" "$R/nothing:1"
says preload '{i["status"] for i in x["images"]} == {"up-to-date", "failed"}'
prints preload "none is there" 3 here preload -o json --pause none "$R/nothing:1"
prints fetch "an archive" 0 "$K3SIMG" fetch -o json "$R/multi:1" --to "oci-archive:$T/multi.tar"
prints fetch "a layout, all platforms, one missing" 9 "$K3SIMG" fetch -o json --all-platforms "$R/multi:1" "$R/nothing:1" --to "oci:$T/layout"
says fetch '{i["status"] for i in x["images"]} == {"fetched", "failed"}'
prints bundle-create "a file" 0 "$K3SIMG" bundle create --format json -o "$T/bundle" "$R/exit:1"
prints bundle-inspect "it" 0 "$K3SIMG" bundle inspect -o json "$T/bundle"
prints bundle-apply "it" 0 "$K3SIMG" bundle apply --root "$T/applied" --pause none -o json "$T/bundle"
prints unpack "an image" 0 "$K3SIMG" unpack -o json "$R/exit:1" "$T/tree"
mkdir -p "$T/hosts/$R"
printf '[host."http://mirror.invalid"]\ncapabilities = ["pull"]\nskip_verify = true\n[host."http://mirror.invalid".header]\nx-a = "b"\n' \
    >"$T/hosts/$R/hosts.toml"
prints config-show "a mirror" 0 "$K3SIMG" config show --root "$root" --hosts-dir "$T/hosts" -o json "$R/exit:1"
printf 'mirrors: {"%s": {endpoint: ["http://mirror.invalid"]}}\nconfigs: {mirror.invalid: {auth: {username: u, password: p}}}\n' \
    "$R" >"$T/registries.yaml"
prints config-show "credentials" 0 "$K3SIMG" config show --root "$root" --registries "$T/registries.yaml" -o json "$R/exit:1"
says config-show '"credentials" in x["endpoints"][0]'

prints list "images" 0 here list -o json
prints list "an empty namespace" 0 here list -n other -o json
prints inspect "images" 0 here inspect -o json "$R/exit:1" "$R/zstd:1"
prints tree "all of them" 0 here tree -o json
prints du "all of them" 0 here du -o json
prints plan "one that is there, and one to come" 0 here plan -o json "$R/exit:1" "$R/multi:1"
prints plan "one of two" 9 here plan -o json "$R/multi:1" "$R/nothing:1"
prints explain "a pod that is short of things" 10 here explain -o json "$R/nothing:1"
prints tag "a second name" 0 here tag -o json "$R/exit:1" "$R/again:1"
prints unpin "it" 0 here unpin -o json "$R/again:1"
prints pin "it" 0 here pin -o json "$R/again:1"
prints rm "only a name" 0 here rm -o json "$R/again:1"
prints rm "it is not there" 3 here rm -o json "$R/nothing:1"
prints prune "a dry run" 0 here prune --dry-run -o json
prints prune "nothing" 0 here prune -o json
prints verify "all is whole" 0 here verify --deep -o json
digest=$(image_digest exit:1)
blobs=$root/io.containerd.content.v1.content/blobs/sha256
cp "$blobs/${digest#sha256:}" "$T/manifest"
rm "$blobs/${digest#sha256:}"
prints list "an image without its manifest" 0 here list -o json
says list 'not all(i["complete"] for i in x["images"])'
mkdir "$root/io.containerd.snapshotter.v1.native/snapshots/new-1"
prints verify "damage, and a leftover" 10 here verify -o json
says verify 'x["counts"]["findings"] and x["counts"]["leftovers"]'
prints repair "mended and whole" 0 here repair -o json "$R/exit:1" "$R/zstd:1"
says repair '{i["status"] for i in x["images"]} == {"mended", "whole"}'

mkdir "$T/machine"
prints setup "a dry run" 0 "$K3SIMG" setup --prefix "$T/machine" --dry-run -o json
prints setup "for real" 0 "$K3SIMG" setup --prefix "$T/machine" -o json
echo '# mine' >>"$T/machine/etc/containerd/config.toml"
prints setup "refused" 2 "$K3SIMG" setup --prefix "$T/machine" --config-version 3 -o json
says setup 'x["refused"]'
prints setup "undone, but for one" 1 "$K3SIMG" setup --prefix "$T/machine" --undo -o json
prints version "it" 0 "$K3SIMG" version -o json
"$K3SIMG" doctor --root "$root" -o json >"$T/doctor.json" 2>"$T/err"
check "doctor: status $? is 0 or 10" test $? = 0 -o $? = 10
keep doctor "this machine"

registry_start -n secure -a
login() { printf secret | "$K3SIMG" login -u tester --password-stdin --authfile "$T/auth.json" -o json "$REGISTRY"; }
prints login "stored" 0 login
prints login "who" 0 "$K3SIMG" login --get-login --authfile "$T/auth.json" -o json "$REGISTRY"
prints logout "one" 0 "$K3SIMG" logout --authfile "$T/auth.json" -o json "$REGISTRY"
prints logout "all" 0 "$K3SIMG" logout --all --authfile "$T/auth.json" -o json
registry_stop secure
REGISTRY=$R

ctd_start "$CTD_VERSION" "$T/live" live || die "containerd $CTD_VERSION does not start"
prints preload "live" 0 "$K3SIMG" preload --mode live --address "$T/live/sock" --root "$T/live" --pause "$PAUSE" -o json "$R/static:1"
start() { "$K3SIMG" verify --start --root "$T/live" --address "$T/live/sock" \
    --containerd-config "$T/live/config.toml" -o json "$@"; }
prints verify-start "it starts" 0 start "$R/static:1"
prints verify-start "it fails" 10 start "$R/static:1" -- /nothing
prints verify-start "it is not there" 10 start "$R/nothing:1"
ctd_stop live

registry_stop
rm "$blobs/${digest#sha256:}"
prints repair "nobody has it" 10 here repair -o json --retries 0 --timeout 5s "$R/exit:1"
says repair '"error" in x["images"][0]'

"$PYTHON" "$LIB/schema.py" --list "$T/documents" >"$T/verdicts" 2>&1
check_eq "every document was looked at" "$(grep -c '^[a-z-]*: ' "$T/verdicts")" $count
while IFS=$'\t' read -r what errors; do
    check_eq "$what" "$errors" ""
done <"$T/verdicts"
finish
