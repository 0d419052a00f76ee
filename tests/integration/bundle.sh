#!/bin/bash
# Bundles: the same images give the same bytes, applying one gives what a
# preload gives, and one that is not whole changes nothing.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
names="nginx:7 zstd:1 multi:1 docker2:1 exit:1 rancher/mirrored-pause:3.6"
bundle=$T/images.bundle

# apply ROOT ARGS...
apply() {
    local root=$1
    shift
    "$K3SIMG" bundle apply -q --root "$root" --pause "$PAUSE" "$@"
}

# A file that is there may be read twice; a pipe may not.
from_pipe() {
    # shellcheck disable=SC2002
    cat "$1" | apply "${@:2}" -
}

# whole NAME ROOT COUNT: containerd finds every image complete, with the tree it would make itself.
whole() {
    ctd_start "$CTD_VERSION" "$2" "$1" || { fail "$1: containerd starts"; return; }
    check "$1: all images are whole" images_whole "$1"
    check_eq "$1: and all are there" "$(ctd_ctr "$1" images check -q --snapshotter native | grep -v '^sha256:' | grep -cv @sha256)" "$3"
}

# shellcheck disable=SC2046,SC2086
check "create" "$K3SIMG" bundle create -q -o "$bundle" $(refs $names)
# A smaller one, to be spoilt.
# shellcheck disable=SC2046
check "create a small one" "$K3SIMG" bundle create -q -o "$T/small" $(refs exit:1 zstd:1)
check_eq "nothing is left beside it" "$(find "$T" -maxdepth 1 -name 'images.bundle*')" "$bundle"
digest=$("$K3SIMG" bundle inspect "$bundle" | sed -n '1s/ .*//p')

members_true() {
    mkdir "$T/members" && tar -C "$T/members" -xf "$bundle" || return
    (cd "$T/members" && find blobs tars -type f | while read -r file; do
        printf '%s  %s\n' "${file##*/}" "$file"
    done | sha256sum -c --quiet) || return
    printf '%s  %s\n' "${digest#sha256:}" "$T/members/k3simg-bundle.json" | sha256sum -c --quiet
    rm -rf -- "$T/members"
}

if my_turn 0; then
    # shellcheck disable=SC2016,SC2046,SC2086
    check "create to standard output" sh -c '"$@" >"$0"' "$T/again" "$K3SIMG" bundle create -q -o - $(refs $names)
    check "the same bytes" cmp "$bundle" "$T/again"
    rm -f -- "$T/again"
    check "tar reads it, and every member is what its name says" members_true
    check_eq "inspect from a pipe" "$("$K3SIMG" bundle inspect - <"$bundle")" "$("$K3SIMG" bundle inspect "$bundle")"
fi
registry_stop

# ---- applied ----

count=$(wc -w <<<"$names")
if my_turn 0; then
    check "flat, from a file, by its digest" apply "$T/store" --digest "$digest" "$bundle"
    before=$(store_state "$T/store")
    check_has "again: up to date" "$(apply "$T/store" "$bundle")" 'nginx:7 .*up to date'
    check_eq "again: nothing has changed" "$(store_state "$T/store")" "$before"
    whole flat "$T/store" "$count"
    check_has "a container starts from it" "$(cri run "$REGISTRY/exit:1" --for 30)" '"output": "ran to the end'
    check "live, in another namespace" "$K3SIMG" bundle apply -q --mode live --address "$T/flat/sock" \
        --root "$T/store" --pause none --namespace other "$bundle"
    ctd_stop flat
fi

# refused WHAT PATTERN ROOT COMMAND...: a message, the right status, and nothing has changed.
refused() {
    local what=$1 pattern=$2 root=$3 before out status
    shift 3
    before=$(store_state "$root")
    out=$("$@" 2>&1)
    status=$?
    check_eq "$what: status" $status 6
    check_has "$what: says why" "$out" "$pattern"
    check_eq "$what: nothing has changed" "$(store_state "$root")" "$before"
}

# spoil FILE OFFSET: its byte there with one bit changed, as $T/spoilt.
spoil() {
    "$PYTHON" - "$@" "$T/spoilt" <<'PY'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[int(sys.argv[2])] ^= 4
open(sys.argv[3], "wb").write(data)
PY
}

# place FOLDER: where the bytes of the largest member of the small bundle in it begin.
place() {
    "$PYTHON" - "$T/small" "$1" <<'PY'
import sys, tarfile
print(max((m for m in tarfile.open(sys.argv[1]) if m.name.startswith(sys.argv[2])), key=lambda m: m.size).offset_data)
PY
}

if my_turn 1; then
    mkdir "$T/other"
    check "chain, from a pipe" from_pipe "$bundle" "$T/chain-store" --snapshots chain
    whole chain "$T/chain-store" "$count"
    ctd_stop chain

    # Into a root that has other images on the same layers.
    mkdir "$T/half"
    check "a root with one of them" apply "$T/half" "$T/small"
    size=$(stat -c %s "$T/small")
    for cut in 300 $((size / 2)) $((size - 1)); do
        head -c $cut "$T/small" >"$T/cut"
        refused "cut at $cut" 'cut short|is not a bundle' "$T/half" apply "$T/half" --namespace cut "$T/cut"
        refused "cut at $cut, from a pipe" 'cut short|is not a bundle' "$T/half" from_pipe "$T/cut" "$T/half" --namespace cut
    done
    for member in k3simg-bundle.json blobs/ tars/; do
        spoil "$T/small" $(($(place $member) + 700))
        refused "a bit of $member" 'digest|layer|document|other words|has no|announced|unpacked' \
            "$T/other" apply "$T/other" "$T/spoilt"
        refused "a bit of $member, from a pipe" 'digest|layer|document|other words|has no|announced|unpacked' \
            "$T/other" from_pipe "$T/spoilt" "$T/other"
        spoil "$T/small" $(($(place $member) - 500))
        refused "a bit of the header of $member" 'is not a bundle|announced' "$T/other" apply "$T/other" "$T/spoilt"
    done
    { cat "$T/small" && echo; } >"$T/spoilt"
    refused "more behind its end" 'does not end' "$T/other" apply "$T/other" "$T/spoilt"
    refused "another digest" 'wanted is sha256:0000' "$T/other" \
        apply "$T/other" --digest "sha256:$(printf %064d 0)" "$T/small"
    gzip -1 <"$T/small" >"$T/spoilt"
    refused "compressed" 'it is compressed' "$T/other" apply "$T/other" "$T/spoilt"
    check_eq "no image has come of all that" "$("$K3SIMG" list --root "$T/other" -o name 2>/dev/null)" ""

    # What a broken pipe or a kill leaves is used by the next run.
    head -c $((size * 2 / 3)) "$T/small" | apply "$T/resumed" - >/dev/null 2>&1
    staged=$(find "$T/resumed/.k3simg" -name 'sha256-*' -not -name '*.part' -size +8k -printf '%i\n' | sort)
    check "a pipe that broke leaves whole blobs" test -n "$staged"
    check "the next run takes the bundle" from_pipe "$T/small" "$T/resumed"
    check_eq "and has not written them again" \
        "$(find "$T/resumed/io.containerd.content.v1.content" -type f -printf '%i\n' | sort | grep -Fxc "$staged")" \
        "$(wc -l <<<"$staged")"
    "$K3SIMG" bundle apply -q --root "$T/half" --pause none "$bundle" >/dev/null 2>&1 &
    sleep 0.3
    kill -9 $! 2>/dev/null
    wait $! 2>/dev/null
    check "applied again after a kill, beside other images" apply "$T/half" "$bundle"
    check "and every blob and tree is right" "$K3SIMG" verify --deep --root "$T/half"
fi
finish
