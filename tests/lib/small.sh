# shellcheck shell=bash
# Small images (tests/torture/kill-images.py) in a registry of their own, and what containerd
# itself makes of them.  Source all.sh first.

# small_registry: sets $small, the registry with old:1, app:1, web:1 and multi:1.
small_registry() {
    local mine=${REGISTRY:-}
    "$PYTHON" "$TOP/tests/torture/kill-images.py" "$T/storage" || die "the images cannot be made"
    registry_start -n small -s "$T/storage" -r
    small=$REGISTRY REGISTRY=$mine
    _small_app=$T/storage/docker/registry/v2/repositories/app/_manifests/tags/1/current/link
    cp "$_small_app" "$T/app-0"
    cp "$T/storage/docker/registry/v2/app-next" "$T/app-1"
}

# small_app N: app:1 is its first (0) or second (1) image.
small_app() {
    cp "$T/app-$1" "$_small_app"
}

# small_reference: containerd's own store of all of them.  $T/tops has the digest of each image
# and its chain ID, $T/chains each of these chain IDs and its directory.
small_reference() {
    local name tags=$T/storage/docker/registry/v2/repositories
    ctd_start "$CTD_VERSION" "$T/reference" reference || die "containerd does not start"
    for name in old:1 web:1 multi:1 app:second app:first; do
        case $name in
        app:second) small_app 1 ;;
        app:first) small_app 0 ;;
        esac
        cri pull "$small/${name%:*}:1" >/dev/null || die "containerd cannot pull $name"
        # A name of its own keeps it.
        ctd_ctr reference images tag --force "$small/${name%:*}:1" "$small/$name" >/dev/null || die "no tag"
        printf '%s %s\n' "$(cat "$tags/${name%:*}/_manifests/tags/1/current/link")" \
            "$(cri image-status "$small/${name%:*}:1" | sed -n 's/.*"chainID": "\([^"]*\)".*/\1/p')"
    done >"$T/tops"
    ctd_sh reference "$(_small_trees)" >"$T/chains"
    ctd_stop reference
    [ "$(grep -c '^sha256:.* /' "$T/chains")" = 5 ] || die "containerd has no trees"
}

# Lines of chain ID and directory, of those in $T/tops that there are.
# shellcheck disable=SC2016,SC2028
_small_trees() {
    echo '
    ctr snapshots --snapshotter native ls >'"$T/snapshots"'
    cut -d" " -f2 "'"$T/tops"'" | while read -r chain; do
        grep -q "^$chain " '"$T/snapshots"' || continue
        echo "$chain $(ctr snapshots --snapshotter native view --mounts "look-$chain" "$chain" |
            sed -n "s/.*\"Source\": \"\(.*\)\".*/\1/p")"
        ctr snapshots --snapshotter native rm "look-$chain" 2>/dev/null
    done
    rm -f '"$T/snapshots"''
}

# small_whole NAME N: every small image that this containerd lists is complete and unpacked,
# and its tree is the reference's; there are at least N of them.  $SMALL_ONLY is a pattern of
# those that count.
small_whole() {
    local ref digest rest chain dir wanted bad=0 n=0
    ctd_sh "$1" "ctr images check --snapshotter native
        $(_small_trees)" >"$T/look" 2>&1
    while read -r ref _ digest rest; do
        [[ $ref = "$small"/* && $ref != *@* && $ref =~ ${SMALL_ONLY:-.} ]] || continue
        n=$((n + 1))
        grep -Eq '^complete \(([0-9]+)/\1\) .* true *$' <<<"$rest" || { echo "not whole: $ref $rest"; bad=1; }
        chain=$(sed -n "s/^$digest //p" "$T/tops" | head -n 1)
        dir=$(sed -n "s/^$chain //p" "$T/look" | head -n 1)
        wanted=$(sed -n "s/^$chain //p" "$T/chains" | head -n 1)
        if [ ! -d "$dir" ] || [ ! -d "$wanted" ]; then
            echo "no tree: $ref $digest"
            bad=1
        elif ! "$PYTHON" "$LIB/tree.py" "$dir" "$wanted"; then
            bad=1
        fi
    done < <(grep "^$small/" "$T/look")
    [ "$n" -ge "$2" ] || { echo "only $n images"; cat "$T/look"; bad=1; }
    return $bad
}
