# shellcheck shell=bash
# What every integration script starts with:
#   . "$(dirname "$0")/../lib/all.sh"
# It gives $T (gone at exit), $CTD_VERSION, and the functions below.

# shellcheck source=tests/lib/common.sh
. "${BASH_SOURCE[0]%/*}/common.sh"
for _part in check install schema forky registry images containerd bbolt; do
    # shellcheck disable=SC1090
    . "$LIB/$_part.sh"
done
CTD_VERSION=${CTD_VERSION:-2.1}
[ -x "$K3SIMG" ] || die "$K3SIMG is not there: run make first"
tmp_make
# Nothing of this machine's own settings may reach the program under test.
unset REGISTRY_AUTH_FILE DOCKER_CONFIG http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
export HOME=$T/home
mkdir "$HOME"

# use_registry: the registry with the test images, and its pause image.
use_registry() {
    registry_start
    PAUSE=$REGISTRY/rancher/mirrored-pause:3.6
    CTD_PAUSE=$PAUSE
    export PAUSE CTD_PAUSE
}

# refs NAME...: the images by the name of the registry.
refs() {
    local name
    for name in "$@"; do
        printf '%s/%s\n' "$REGISTRY" "$name"
    done
}

# What hangs little on containerd's version is shared out between the two of ./test; TORTURE=full
# does all of it on each.
# my_turn N: whether the N-th of a series is this containerd's.
my_turn() {
    local mine=0
    [ "$CTD_VERSION" != 1.6 ] || mine=1
    [ "${TORTURE:-}" = full ] || [ $(($1 % 2)) = $mine ]
}

# my_modes: which of flat and chain are.
my_modes() {
    ! my_turn 0 || echo flat
    ! my_turn 1 || echo chain
}

# both_modes: flat and chain, but live only those that are this containerd's.
both_modes() {
    if [ "${PRELOAD_MODE:-offline}" = live ]; then
        my_modes
    else
        printf 'flat\nchain\n'
    fi
}

# new_root DIR: a containerd root as containerd itself makes it, stopped.
new_root() {
    ctd_start "$CTD_VERSION" "$1" init-root || die "containerd $CTD_VERSION does not start"
    ctd_stop init-root
}

# preload ROOT ARGS...: the program under test; its pause image is ours.  With
# PRELOAD_MODE=live a containerd runs on the root for the time of the preload.
preload() {
    local root=$1
    shift
    if [ "${PRELOAD_MODE:-offline}" = live ]; then
        _preload_live "$root" "$@"
        return
    fi
    "$K3SIMG" preload --root "$root" --pause "${PAUSE:-none}" "$@"
}

# A subshell: what ctd_start exports stays as it was for the caller.
_preload_live() (
    root=$1 name=live-preload
    shift
    own_cleanup
    ctd_start "$CTD_VERSION" "$root" $name || exit
    "$K3SIMG" preload --mode live --address "$T/$name/sock" --root "$root" --pause "${PAUSE:-none}" "$@"
    status=$?
    ctd_stop $name
    exit $status
)

# store_state ROOT: one line for databases, blobs and snapshot trees.  The
# directory .k3simg, where a run that the network broke keeps what it has
# fetched so far, is no part of the store.
store_state() {
    _store_lines "$1" '%p %y %m %U %G %s %T@ %i\n'
}

# store_content ROOT: like store_state, but times and inodes do not count.
store_content() {
    _store_lines "$1" '%p %y %m %U %G\n'
}

_store_lines() {
    (
        cd "$1" || exit
        sha256sum io.containerd.metadata.v1.bolt/meta.db io.containerd.snapshotter.v1.native/metadata.db 2>/dev/null
        find . -mindepth 1 \( -path ./tmpmounts -o -path ./.k3simg \) -prune -o \
            -mindepth 1 -not -path ./io.containerd.metadata.v1.bolt -printf "$2" | sort
    ) | sha256sum
}

# names ROOT: the images of a root by their tags.
names() {
    "$K3SIMG" list --root "$1" -o name | grep -v @
}

# image_digest NAME: the digest under which the registry knows a test image.
image_digest() {
    local tag=${1##*:} repo=${1%:*}
    cat "$(images_storage)/registry/docker/registry/v2/repositories/$repo/_manifests/tags/$tag/current/link"
}

# images_whole NAME WANTED...: every listed image is complete and unpacked, and
# its tree is the one in $WHOLE/<image> (a fingerprint); prints what is not.
images_whole() {
    local name=$1 line ref tree bad=0 short
    while read -r line; do
        ref=${line%% *}
        case $ref in
        REF | sha256:* | *@sha256:* | "") continue ;;
        esac
        if ! grep -Eq ' complete \(([0-9]+)/\1\) .* true *$' <<<"$line"; then
            printf 'not whole: %s\n' "$line"
            bad=1
            continue
        fi
        short=${ref#*/}
        tree=$(ctd_image_dir "$name" "$ref")
        if [ ! -d "$tree" ]; then
            printf 'no tree: %s\n' "$ref"
            bad=1
        elif ! "$PYTHON" "$LIB/tree.py" "$tree" "$(reference_tree "$short")"; then
            printf 'tree of %s differs\n' "$ref"
            bad=1
        fi
    done < <(ctd_ctr "$name" images check --snapshotter native)
    return $bad
}

# page PORT: the page of the nginx pod, once it answers.
page() {
    local i
    for ((i = 0; i < 100; i++)); do
        curl -sf --noproxy '*' "http://127.0.0.1:$1/" && return 0
        sleep 0.05
    done
    return 1
}
