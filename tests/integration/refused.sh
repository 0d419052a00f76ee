#!/bin/bash
# On a kernel that refuses calls, one by one and as gVisor does, with a filter on the whole program:
# the trees are the same, and what is lost is told.
# Once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

CTD_VERSION=2.1
use_registry
trees=io.containerd.snapshotter.v1.native/snapshots
gcc -I"$TOP" -D_GNU_SOURCE -o "$T/refused" "$LIB/refused.c" "$TOP/tests/unit/refuse_calls.c" || die "no filter"
if ! "$T/refused" openat2 true; then
    skip "refused calls" "this kernel has no filters"
    printf '0 passed, 0 failed, 1 skipped\n'
    exit 0
fi

# with WHAT ROOT ARGS...: a preload in which these calls are refused.
with() {
    "$T/refused" "$1" "$K3SIMG" preload -q --root "$2" --pause none "${@:3}"
}
# hashes ROOT: a line for each of its trees.
hashes() {
    local tree
    for tree in "$1/$trees"/*; do
        "$PYTHON" "$LIB/tree.py" --hash "$tree"
    done
}

check "as it is" "$K3SIMG" preload -q --root "$T/plain" --pause none --snapshots chain "$REGISTRY/zstd:1"
plain=$(hashes "$T/plain")
for what in openat2 tmpfile renameat2 openat2,tmpfile,renameat2; do
    check "without $what" with $what "$T/root" --snapshots chain "$REGISTRY/zstd:1"
    check_eq "without $what: the same trees" "$(hashes "$T/root")" "$plain"
    rm -rf -- "$T/root"
done

# Where nothing can be linked every file is copied, by the calls that there are.
check "without links" with links "$T/copies" --snapshots chain "$REGISTRY/zstd:1"
copies=$(hashes "$T/copies")
for tree in "$T/plain/$trees"/*; do
    check_eq "without links: but for them the tree is the same" \
        "$("$PYTHON" "$LIB/tree.py" "$tree" "$T/copies/$trees/${tree##*/}" | grep -v ': links \|^[0-9]* differences')" ""
done
for what in links,reflinks links,reflinks,copy_file_range links,holes links-eperm; do
    check "without $what" with $what "$T/root" --snapshots chain "$REGISTRY/zstd:1"
    check_eq "without $what: the same copies" "$(hashes "$T/root")" "$copies"
    rm -rf -- "$T/root"
done

"$T/refused" gvisor "$K3SIMG" preload --root "$T/gvisor" --pause none -o json "$REGISTRY/nginx:7" >"$T/report" 2>"$T/err"
check_eq "as gVisor: status" "$?" 0
check_has "as gVisor: what is lost is counted" "$(cat "$T/err")" \
    ': the file system refused [0-9]+ xattrs, 2 devices; -v lists them'
: >"$T/fifos"
check "as gVisor: but for that the tree is the one of containerd" "$TOP/tests/sandbox/compare.py" \
    "$T/gvisor/$trees/1" "$(reference_tree nginx:7)" "$T/report" "$REGISTRY/nginx:7" "$T/fifos"
finish
