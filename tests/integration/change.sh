#!/bin/bash
# tag, pin, unpin, rm and prune: containerd sees what they have made, nothing goes that anything in
# any namespace needs, and of what nothing needs all goes.
# Modes: offline or live
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"
# shellcheck source=tests/lib/small.sh
. "$LIB/small.sh"

use_registry
R=$REGISTRY
mode=${PRELOAD_MODE:-offline}
root=$T/root
BLOBS=io.containerd.content.v1.content/blobs/sha256
INGEST=io.containerd.content.v1.content/ingest
TREES=io.containerd.snapshotter.v1.native/snapshots
META=$root/io.containerd.metadata.v1.bolt/meta.db
NATIVE=$root/io.containerd.snapshotter.v1.native/metadata.db
how=()
[ "$mode" = offline ] || how=(--mode live --address "$T/c/sock")
snapshots=flat
[ "$CTD_VERSION" = 1.6 ] || snapshots=chain

# up and down: the containerd of the root, which live runs all the time.
up() {
    [ "$mode" = live ] && [ -S "$T/c/sock" ] && return
    ctd_start "$CTD_VERSION" "$root" c || die "containerd does not start"
}
down() {
    [ "$mode" = live ] || ctd_stop c
}

# k COMMAND ARGS...: the program under test on the root.
k() {
    "$K3SIMG" "$1" --root "$root" "${how[@]}" "${@:2}"
}

# refused STATUS PATTERN COMMAND ARGS...: fails in these words, with a hint, and changes nothing.
refused() {
    local status=$1 pattern=$2 before
    shift 2
    before=$(same)
    k "$@" >"$T/refused.out" 2>"$T/refused"
    [ $? = "$status" ] && grep -Eq -- "^k3simg: error: .*$pattern" "$T/refused" &&
        grep -q '^hint: ' "$T/refused" && [ "$(same)" = "$before" ] && return 0
    cat "$T/refused" "$T/refused.out"
    return 1
}

# same: what must not change: to the byte, and when nobody else writes to the times.
same() {
    if [ "$mode" = live ]; then
        files
        meta "$META"
    else
        store_state "$root"
    fi
}

# files: blobs, unfinished writes and trees there are.
files() {
    (cd "$root" && find $BLOBS $INGEST -mindepth 1 -maxdepth 1 2>/dev/null
        find $TREES -mindepth 1 -maxdepth 1) | sort
}

# meta FILE: the records of a database, copied if containerd has it; its own leases come and go.
meta() {
    cp "$1" "$T/copy.db" && bbolt_dump "$T/copy.db" | grep -v '/"leases"'
}
other() {
    meta "$META" | grep -E '^"v1"/"(other|moby|buildkit)"|"btrfs"'
}

json() {
    "$PYTHON" -c "import json, sys; x = json.load(sys.stdin); print($1)"
}
cri_image() {
    cri -s "$T/c/sock" image-status "$1" | json "$2"
}

# ---- names -----------------------------------------------------------------

up
# Another namespace, which shares the blobs of one image.
ctd_ctr c -n other content fetch --plain-http "$R/zstd:1" >"$T/fetch.log" 2>&1
down
check "preload" "$K3SIMG" preload -q --root "$root" "${how[@]}" --pause "$PAUSE" --snapshots $snapshots \
    "$R/zstd:1" "$R/exit:1" "$R/multi:1"
was_other=$(other)
check_has "tag" "$(k tag "$R/zstd:1" app:v1 "$R/zstd:2")" '^docker.io/library/app:v1  sha256:[0-9a-f]{12}  added$'
check_has "tag again" "$(k tag "$R/zstd:1" app:v1)" '  up to date$'
check "a name of another image is not moved" refused 7 'app:v1 is the name of another image' tag "$R/exit:1" app:v1
check_has "but by force" "$(k tag -o json --force "$R/exit:1" app:v1)" '"status": "moved"'
check_has "and back" "$(k tag --force "$R/zstd:1" app:v1)" '  moved$'
check "a new name has no digest" refused 2 'has no digest' tag "$R/zstd:1" "new@$(image_digest zstd:1)"
check "no such source" refused 3 'is not in namespace' tag "$R/zstd:9" new:1
check_has "the nearest name is told" "$(cat "$T/refused")" "^hint: there is: $R/zstd:"
check "tag without a new name" refused 2 'takes an image and new names' tag "$R/zstd:1"
check_has "unpin" "$(k unpin app:v1 "$R/exit:1")" "^$R/exit:1  unpinned$"
check_has "pin" "$(k pin "$R/exit:1")" "^$R/exit:1  pinned$"
check_has "pin again" "$(k pin -o json "$R/exit:1")" '"status": "up-to-date"'
check "pin of what is not there" refused 3 'is not in namespace' pin "$R/nothing:1"
up
labels=$(ctd_ctr c images ls)
check_has "CRI manages the new name" "$(grep -F library/app:v1 <<<"$labels")" 'io.cri-containerd.image=managed'
check_eq "no name of it is pinned" "$(grep -F "$(image_digest zstd:1)" <<<"$labels" | grep -c pinned=pinned)" 0
check_eq "all names of the other one are" "$(grep -F "$(image_digest exit:1)" <<<"$labels" | grep -vc pinned=pinned)" 0
check_eq "CRI knows the new name" "$(cri_image app:v1 'x and x["id"]')" "$(cri_image "$R/zstd:1" 'x["id"]')"
if [ "$CTD_VERSION" != 1.6 ]; then
    check_eq "CRI tells that it is not pinned" "$(cri_image app:v1 'x["pinned"]')" False
    check_eq "and that the other one is" "$(cri_image "$R/exit:1" 'x["pinned"]')" True
fi
ctd_ctr c containers create --snapshotter native "$R/exit:1" user-1 >"$T/container.log" 2>&1 ||
    fail "a container record" "$(cat "$T/container.log")"
down

# ---- rm --------------------------------------------------------------------

before=$(files)
check_has "rm of a name" "$(k rm app:v1)" '^Untagged: docker.io/library/app:v1$'
check_eq "it only goes itself" "$(files)" "$before"
check_eq "the other one is there" "$(names "$root" | grep -c "^$R/zstd:")" 2
printf 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "%s"\n' "$R/multi:1" >"$T/pause.toml"
check "the pause image is refused" refused 7 "$R/multi:1: it is the pause image" \
    rm --containerd-config "$T/pause.toml" "$R/multi:1"
check "one that a container uses too" refused 7 "$R/exit:1: container user-1 of namespace k8s.io uses it" \
    rm --force "$R/exit:1"
check "rm of what is not there" refused 3 'is not in namespace' rm "$R/nothing:1"
check "rm of nothing" refused 2 'no image was named' rm
if [ "$mode" = live ]; then
    check "content is not kept from a running containerd" refused 2 'removes what no image needs' \
        rm --keep-content "$R/zstd:1"
else
    cp -a "$root" "$T/kept"
    check "rm --keep-content" "$K3SIMG" rm -q --root "$T/kept" --keep-content "$R/zstd:1" "$R/zstd:2"
    check_eq "keeps it" "$(cd "$T/kept" && find $BLOBS $TREES -mindepth 1 -maxdepth 1 | wc -l)" \
        "$(find "$root/$BLOBS" "$root/$TREES" -mindepth 1 -maxdepth 1 | wc -l)"
    check_has "prune finds it then" "$("$K3SIMG" prune --root "$T/kept" 2>&1)" 'MB freed$'
    check "the rest is whole" "$K3SIMG" verify -q --root "$T/kept"
    rm -rf "$T/kept"
fi
k rm -o json "$R/zstd:1" "$R/zstd:2" "$R/nothing:1" >"$T/rm.json" 2>"$T/rm.err"
check_eq "some of several: exit status" "$?" 9
# Numbers of its trees, which nobody gets again.
free=$(comm -23 <(printf '%s\n' "$before") <(files) | sed -n "s|^$TREES/||p" | head -n 1)
check_eq "its names are gone" "$(names "$root" | grep -c zstd:)" 0
freed=$(json 'x["freedBytes"]' <"$T/rm.json")
check "its tree was freed: $freed bytes" test "$freed" -gt 1000000
check_eq "blobs that another namespace has stay" "$(json '[i for i in x["removed"] if i["kind"] == "blob" and not i["record"]]' <"$T/rm.json")" "[]"
check_eq "that namespace is as it was" "$(other)" "$was_other"
check "all is whole" "$K3SIMG" verify -q --root "$root"
up
check_eq "CRI does not know it" "$(cri_image "$R/zstd:1" x)" None
check_eq "ctr: the others are complete and unpacked" \
    "$(ctd_ctr c images check --snapshotter native | awk 'NR > 1' | grep -vEc ' complete \(([0-9]+)/\1\) .* true *$')" 0
check_has "so is the other namespace's" "$(ctd_ctr c -n other images check)" "^$R/zstd:1 .* complete"
check_eq "ctr: as many snapshots as trees" "$(ctd_ctr c snapshots --snapshotter native ls | awk 'NR > 1' | wc -l)" \
    "$(find "$root/$TREES" -mindepth 1 -maxdepth 1 | wc -l)"
check_has "a pod of another image starts" "$(cri run "$R/multi:1" --for 30)" '"output": "amd64'
cri -s "$T/c/sock" remove-all >/dev/null
ctd_ctr c containers rm user-1 2>&1
# Or a containerd that runs on would take away what they had while we look.
ctd_collect c >/dev/null
down

# ---- prune -----------------------------------------------------------------

# Nothing that containerd would come across meanwhile.
bare=$(files)
x=$(printf x | sha256sum | cut -d' ' -f1)
printf x >"$root/$BLOBS/$x"
touch "$root/$BLOBS/not-a-digest"
mkdir -p "$root/$TREES/rm-$free/a" "$root/$TREES/new-1" "$root/.k3simg/blobs"
echo y >"$root/$TREES/rm-$free/a/b"
printf part >"$root/.k3simg/blobs/sha256-$x.part"
want="$BLOBS/$x
$BLOBS/not-a-digest
$TREES/rm-$free
.k3simg/blobs/sha256-$x.part"
if [ "$mode" = offline ]; then
    edit=$(bbolt_editor) || exit 99
    meta_put() { "$edit" "$META" put v1 "$@"; }
    bbolt_do -plant "$META"
    # A blob that an expired lease has kept, and a snapshot that meta.db does not know.
    meta_put k8s.io content blob "sha256:$x" size '\x02'
    meta_put k8s.io leases over labels containerd.io/gc.expire 2020-01-01T00:00:00Z
    meta_put k8s.io leases over content "sha256:$x" ''
    meta_put k8s.io leases k3simg-0 content "sha256:$x" ''
    "$edit" "$NATIVE" put v1 snapshots k8s.io/90/lost id '\x5a'
    "$edit" "$NATIVE" put v1 snapshots k8s.io/90/lost kind '\x03'
    "$edit" "$NATIVE" sequence v1 snapshots 90
    mkdir -p "$root/$TREES/90/usr" "$root/$INGEST/$x"
    echo data >"$root/$INGEST/$x/data"
    want="$want
$TREES/new-1
$TREES/90
$INGEST/$x
meta.db/v1/k8s.io/content/blob/sha256:$x
meta.db/v1/k8s.io/leases/over
meta.db/v1/k8s.io/leases/k3simg-0
metadata.db/v1/snapshots/k8s.io/90/lost"
    was_other=$(other)
fi
before=$(same)
k prune --dry-run >"$T/dry" 2>"$T/dry.err"
check_eq "dry run: exit status" "$?" 0
check_eq "it lists what nothing refers to" "$(sed 's/^ *[^ ]*  //' "$T/dry" | sort)" "$(sort <<<"$want")"
check_has "and how much it is" "$(cat "$T/dry.err")" 'kB would be freed$'
check_eq "it changes nothing" "$(same)" "$before"
check_eq "JSON says the same" "$(k prune --dry-run -o json | json '"\n".join(sorted(i["path"] for i in x["items"]))')" "$(sort <<<"$want")"
k prune >"$T/pruned" 2>"$T/pruned.err"
check_eq "prune: exit status" "$?" 0
check_eq "it says the same has gone" "$(sed 's/^ *[^ ]*  //' "$T/pruned" | sort)" "$(sort <<<"$want")"
if [ "$mode" = live ]; then
    check "what containerd may be about to use stays" rmdir "$root/$TREES/new-1"
fi
check_eq "what is there is what was before" "$(files)" "$bare"
check_eq "nothing is staged" "$(find "$root/.k3simg" 2>/dev/null)" ""
check_eq "other namespaces and snapshotters are as they were" "$(other)" "$was_other"
check_eq "again: nothing" "$(k prune 2>&1)" "nothing to remove"
check "verify has nothing to say" "$K3SIMG" verify --root "$root"

# ---- everything ------------------------------------------------------------

# An index and its manifest are two targets of one ID, whose name goes over to the one that stays.
manifest=$(json '[m["digest"] for m in x["manifests"] if m["platform"]["architecture"] == "amd64"][0]' \
    <"$root/$BLOBS/$(image_digest multi:1 | cut -d: -f2)")
check "preload by the digest of the manifest" "$K3SIMG" preload -q --root "$root" "${how[@]}" --pause none "$R/multi@$manifest"
id=$(json 'x["config"]["digest"]' <"$root/$BLOBS/${manifest#*:}")
check "rm of the manifest" k rm -q --force "$R/multi@$manifest"
check_has "the ID leads to the index" "$(meta "$META" | grep -F "\"images\"/\"$id\"")" "\"digest\" = \"$(image_digest multi:1)\""
check "and that is whole" "$K3SIMG" verify -q --root "$root"
mapfile -t all < <("$K3SIMG" list --root "$root" -o name)
check "rm of all" k rm -q --force "${all[@]}"
check "rm in the other namespace" k rm -q --namespace other "$R/zstd:1"
k prune -q >"$T/pruned" 2>&1
check_eq "no blob and no tree is left" "$(files)" ""
up
check_eq "containerd has nothing" "$(ctd_sh c 'ctr images ls -q; ctr content ls -q; ctr snapshots --snapshotter native ls | tail -n +2')" ""
check "containerd pulls again" cri pull "$R/exit:1"
check_has "and runs it" "$(cri run "$R/exit:1" --for 30)" 'ran to the end'
check_eq "nothing that containerd calls an error" "$(ctd_complaints c 'get usage for snapshot')" ""
ctd_stop c
check "bbolt's checker on both databases" bbolt_check "$META" "$NATIVE"
# What this hangs on is not containerd.
{ [ "$mode" = offline ] && my_turn 0; } || finish

# ---- cut off ---------------------------------------------------------------

# Killed at its n-th change of the file system, or that one fails: images are whole, and the next
# run does the rest.  TORTURE=full: each n.
shim=$T/build/release/tests/torture/fault.so
make -s -C "$TOP" O="$T/build" V=release "$shim" >"$T/make.log" 2>&1 || die "fault.so: $(tail -n 3 "$T/make.log")"
small_registry
base=$T/base root=$base-rm
check "small images" "$K3SIMG" preload -q --root "$root" --pause none --no-pin --snapshots $snapshots \
    "$small/old:1" "$small/app:1" "$small/web:1" "$small/multi:1"
mkdir -p "$root/$TREES/new-1/a"
printf x >"$root/$BLOBS/$x"
root=$base-prune
cp -a "$base-rm" "$root"
check "only their names go" k rm -q --keep-content "$small/app:1" "$small/web:1"
root=$T/point
META=$root/io.containerd.metadata.v1.bolt/meta.db NATIVE=$root/io.containerd.snapshotter.v1.native/metadata.db

# state: all that is there, without times.
state() {
    files
    meta "$META"
    meta "$NATIVE"
}

# faulty HOW N COMMAND...
faulty() {
    LD_PRELOAD=$shim FAULT_LOG=$T/fault.log FAULT_HOW=$1 FAULT_AT=$2 FAULT_ERRNO=5 k "${@:3}" >"$T/out" 2>&1
}

# fresh COMMAND: the root as it is before that.
fresh() {
    rm -rf "$root"
    cp -a "$base-$1" "$root"
}

# whole: databases and all images are.
whole() {
    bbolt_do -check "$META" "$NATIVE" && k verify -q
}

# point COMMAND HOW N: what is wrong after this fault.
point() {
    local command=$1 args=() status
    [ "$command" = prune ] || args=("$small/app:1" "$small/web:1")
    fresh "$command"
    faulty "$2" "$3" "$command" "${args[@]}"
    status=$?
    [ "$2 $status" != "kill 137" ] && [ "$2" = kill ] && echo "killed, it ends with $status"
    whole || return
    [ "$command" = prune ] || k rm -q "${args[@]}" >"$T/out" 2>&1 || grep -q 'is not in namespace' "$T/out" || cat "$T/out"
    k prune -q >"$T/out" 2>&1 || cat "$T/out"
    diff <(state) "$T/end"
    find "$root" -maxdepth 1 -name .k3simg
}

# some N: so many of the numbers on stdin, evenly, the first and the last among them.
some() {
    awk -v n="$1" '{ all[NR] = $1 } END { for (i = 0; i < n; i++) print all[1 + int(i * (NR - 1) / (n - 1))] }' | uniq
}

# points COMMAND: some of them, more of those before the trees are removed file by file.
points() {
    local command=$1 args=() calls n bad kind
    [ "$command" = prune ] || args=("$small/app:1" "$small/web:1")
    fresh "$command"
    rm -f "$T/fault.log"
    FAULT_TRACE=1 faulty kill 0 "$command" "${args[@]}" || fail "$command: undisturbed" "$(cat "$T/out")"
    k prune -q >"$T/out" 2>&1
    state >"$T/end"
    check_eq "$command: only the two others are left" "$(names "$root" | sort | tr '\n' ' ')" "$small/multi:1 $small/old:1 "
    calls=$(sed -n 's/^call \([0-9]*\) .*/\1/p' "$T/fault.log")
    if [ "${TORTURE:-}" != full ]; then
        calls=$(sed -n 's/^call \([0-9]*\) unlinkat .*/\1/p' "$T/fault.log" | some 2
            sed -n '/ unlinkat /!s/^call \([0-9]*\) .*/\1/p' "$T/fault.log" | some 4)
    fi
    for kind in kill once; do
        bad=""
        for n in $calls; do
            rm -f "$T/fault.log"
            what=$(point "$command" $kind "$n" 2>&1)
            [ -z "$what" ] || bad="$bad
$kind at $n: $(grep ^hit "$T/fault.log"): $what"
        done
        check_eq "$command: $kind at $(wc -w <<<"$calls") of its changes" "$bad" ""
        [ "${TORTURE:-}" = full ] || calls=$(sed -n '2~3p' <<<"$calls")
    done
}

points rm
points prune
finish
