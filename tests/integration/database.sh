#!/bin/bash
# Databases that containerd has written hundreds of records into: our edits and
# containerd's own work in turns, nothing is lost; and damaged databases are
# refused unharmed.  TORTURE=full: 100 rounds and 3,500 damaged files for each
# containerd, which are more than 10,000 for the three.
# Short form: once.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

TORTURE_DIR=$TOP/tests/torture
if [ "${TORTURE:-}" = full ]; then
    ROUNDS=${ROUNDS:-100} MUTANTS=${MUTANTS:-3500}
else
    ROUNDS=${ROUNDS:-2} MUTANTS=${MUTANTS:-60}
fi
root=$T/root
meta=$root/io.containerd.metadata.v1.bolt/meta.db
native=$root/io.containerd.snapshotter.v1.native/metadata.db
state=$T/state.json

# own_registry: many:0 ... many:399 and some that run, where tags can be moved.
own_registry() {
    local name from
    storage=$T/storage
    cp -a "$(images_many 400)/registry" "$storage"
    from=$(images_storage)/registry || exit 99
    for name in exit static multi rancher/mirrored-pause; do
        mkdir -p "$storage/docker/registry/v2/repositories/$name"
        cp -a "$from/docker/registry/v2/repositories/$name/." "$storage/docker/registry/v2/repositories/$name"
        (
            cd "$from/docker/registry/v2" && find "repositories/$name" -name link -exec cat {} + |
                grep -Eo 'sha256:[0-9a-f]{64}' | sort -u | sed 's|sha256:\(..\)|blobs/sha256/\1/\1|' |
                xargs cp -a --parents -t "$storage/docker/registry/v2"
        )
    done
    registry_start -s "$storage" -r
    PAUSE=$REGISTRY/rancher/mirrored-pause:3.6
    CTD_PAUSE=$PAUSE
    export PAUSE CTD_PAUSE
}

# helper VERB ARGS: tests/torture/database.py on the containerd that runs.
helper() {
    local verb=$1
    shift
    "$PYTHON" "$TORTURE_DIR/database.py" "$verb" "$T/ctd/sock" "$storage" "$REGISTRY" "$state" "$@"
}

# field JSON NAME: a field of the description of an edit, lists by line.
field() {
    "$PYTHON" -c 'import json, sys
value = json.loads(sys.argv[1])[sys.argv[2]]
print("\n".join(value) if isinstance(value, list) else value)' "$1" "$2"
}

# our_edit JSON: run k3simg as it says.
our_edit() {
    local refs options=(--snapshots "$(field "$1" mode)")
    mapfile -t refs < <(field "$1" images | sed "s|^|$REGISTRY/|")
    [ "$(field "$1" pin)" = True ] || options+=(--no-pin)
    "$K3SIMG" preload -q --root "$root" --pause none "${options[@]}" "${refs[@]}"
}

# one_round N: our edit, its proof, and containerd's turn.
one_round() {
    local edit what bad sum
    edit=$("$PYTHON" "$TORTURE_DIR/database.py" edit "$storage" "$REGISTRY" "$state" "$1") ||
        die "no edit for round $1"
    what="round $1, $(field "$edit" mode): $(field "$edit" images | tr '\n' ' ')"
    rm -rf -- "$T/before"
    mkdir "$T/before"
    cp "$meta" "$native" "$T/before"
    check "$what: preload" our_edit "$edit"
    check "$what: no record lost, none but ours changed" \
        "$PYTHON" "$TORTURE_DIR/database_compare.py" "$T/before" "$root" "$storage" "$edit"
    check "$what: bbolt's checker" bbolt_check "$meta" "$native"
    sum=$(cat "$meta" "$native" | sha256sum)
    check "$what: preload again" our_edit "$edit"
    check_eq "$what: which changes nothing" "$(cat "$meta" "$native" | sha256sum)" "$sum"
    if ! ctd_start "$CTD_VERSION" "$root"; then
        fail "$what: containerd starts"
        return 1
    fi
    bad=$FAILED
    check "$what: containerd shows what it should, and works" helper turn "$1" "$edit"
    ctd_stop
    [ "$bad" = "$FAILED" ] || return
    check "$what: bbolt's checker after it" bbolt_check "$meta" "$native"
}

# damage: many ways to damage both files; the figures are the last line.
damage() {
    "$PYTHON" "$TORTURE_DIR/database_damage.py" "$K3SIMG" "$root" "$REGISTRY/many:399" \
        "$(bbolt_program)" "$MUTANTS" "$CTD_VERSION" >"$T/damage" 2>&1 || {
        cat "$T/damage"
        return 1
    }
}

own_registry
ctd_start "$CTD_VERSION" "$root" || die "containerd $CTD_VERSION does not start"
check "containerd $CTD_VERSION fills its store" helper fill
ctd_stop
check "bbolt takes up records of other snapshotters" bbolt_do -plant "$meta"
check_eq "the reader of the tests reads as bbolt does" \
    "$("$PYTHON" "$TORTURE_DIR/database_bolt.py" "$meta" | sha256sum)" "$(bbolt_do -records "$meta" | sha256sum)"
printf '      %s\n' "$("$PYTHON" "$TORTURE_DIR/database.py" figures "$meta" "$native")"
for ((round = 1; round <= ROUNDS; round++)); do
    one_round "$round" || break
done
printf '      %s\n' "$("$PYTHON" "$TORTURE_DIR/database.py" figures "$meta" "$native")"
# many:399 is the one that no round takes.
check "damaged databases: refused unharmed, or nothing is lost" damage
sed 's/^/      /' "$T/damage" | tail -n 1
check_eq "nothing that containerd calls a panic" "$(grep -E 'panic|level=fatal' "$T/ctd/log" | head -n 3)" ""
finish
