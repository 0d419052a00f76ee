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

# small_reference: containerd's own store of all of them; $T/chains has each chain ID and
# its directory.
small_reference() {
    local name chain
    ctd_start "$CTD_VERSION" "$T/reference" reference || die "containerd does not start"
    for name in old web multi; do
        cri pull "$small/$name:1" >/dev/null || die "containerd cannot pull $name:1"
    done
    for name in 1 0; do
        small_app $name
        cri pull "$small/app:1" >/dev/null || die "containerd cannot pull app:1"
        # A name of its own keeps it.
        ctd_ctr reference images tag "$small/app:1" "$small/app:is-$name" >/dev/null || die "no tag"
    done
    for chain in $(ctd_ctr reference snapshots --snapshotter native ls | awk '$NF == "Committed" { print $1 }'); do
        printf '%s %s\n' "$chain" "$(ctd_snapshot_dir reference "$chain")"
    done >"$T/chains"
    ctd_stop reference
    [ "$(grep -c . "$T/chains")" = 9 ] || die "containerd has too few snapshots"
}

# small_whole NAME N: every image that this containerd lists is complete and unpacked, and its
# tree is the reference's; there are at least N of them.
small_whole() {
    local line ref chain dir wanted bad=0 n=0
    while read -r line; do
        ref=${line%% *}
        case $ref in
        REF | sha256:* | *@sha256:* | "") continue ;;
        esac
        n=$((n + 1))
        grep -Eq ' complete \(([0-9]+)/\1\) .* true *$' <<<"$line" || { echo "not whole: $line"; bad=1; }
        chain=$(cri -s "$T/$1/sock" image-status "$ref" | sed -n 's/.*"chainID": "\([^"]*\)".*/\1/p')
        dir=$(ctd_snapshot_dir "$1" "$chain")
        wanted=$(sed -n "s/^$chain //p" "$T/chains")
        if [ ! -d "$dir" ] || [ ! -d "$wanted" ]; then
            echo "no tree: $line"
            bad=1
        elif ! "$PYTHON" "$LIB/tree.py" "$dir" "$wanted"; then
            bad=1
        fi
    done < <(ctd_ctr "$1" images check --snapshotter native)
    [ "$n" -ge "$2" ] || { echo "only $n images"; bad=1; }
    return $bad
}
