# shellcheck shell=bash
# The test images: built once from Debian packages and in code (images.py),
# kept as an OCI layout and as the storage of a registry.  Source common.sh,
# forky.sh and registry.sh first.

IMAGES="debian:base nginx:7 layers:32 static:1 rancher/mirrored-pause:3.6
    exit:1 zstd:1 multi:1 arm:1 docker2:1"
export IMAGES

# A change in how images are built gives them a new place in the cache.
_images_key() {
    {
        cat "$LIB/images.py" "$LIB/static.c"
        printf '%s\n' "$IMAGES" "$_INSTALL" "$_CLEAN"
        declare -f _images_build _mmdebstrap_layers
    } | sha256sum | cut -c1-12
}

# shellcheck disable=SC2016
_INSTALL='chroot "$1" apt-get -q -y --no-install-recommends install'

# shellcheck disable=SC2016
_CLEAN='rm -rf "$1"/usr/share/doc/nginx* "$1"/usr/share/man/man8 "$1"/var/www;
    mkdir -p "$1"/usr/share/man/man8; chmod 700 "$1"/opt'

# _mmdebstrap_layers HOOK...: a Debian of this release, through the hooks.
_mmdebstrap_layers() {
    local opts
    mapfile -t opts < <(debootstrap_options)
    mmdebstrap --quiet --mode=root --variant=minbase --format=null "${opts[@]}" "$@" \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" /dev/null "$(mirror_uri)"
}

_hook() {
    printf '%s' "--customize-hook=$*"
}

_images_build() {
    local dir=$1 layers=$1/layers layer
    mkdir "$layers"
    layer="$PYTHON $LIB/images.py layer \"\$1\" $layers"
    gcc -Os -static -s -o "$layers/static" "$LIB/static.c" || return
    _mmdebstrap_layers \
        "$(_hook "$layer")" \
        "$(_hook "$_INSTALL openssl libcap2-bin media-types")" "$(_hook "$layer")" \
        "$(_hook "$_INSTALL nginx-light iputils-ping")" "$(_hook "$layer")" \
        "$(_hook "$_CLEAN")" \
        "$(_hook "$layer")" || return
    "$PYTHON" "$LIB/images.py" assemble "$layers" "$dir/oci" || return
    rm -rf -- "$layers"
    _images_store "$dir"
}

# _images_store DIR: push the layout DIR/oci into the registry storage DIR/registry.
_images_store() (
    # shellcheck disable=SC2030
    T=$(mktemp -d "${TMPDIR:-/tmp}/k3simg-test.XXXXXX") || exit
    own_cleanup
    at_exit rm -rf -- "$T"
    registry_start -s "$1/registry"
    push_images "$REGISTRY" "$1/oci"
    status=$?
    exit "$status"
)

# push_images HOST:PORT [LAYOUT]: push every image of the layout.
push_images() {
    local layout=${2:-} name format
    [ -n "$layout" ] || layout=$(images_storage)/oci || exit 99
    "$PYTHON" -c 'import json, sys
for m in json.load(open(sys.argv[1]))["manifests"]:
    print(m["annotations"]["org.opencontainers.image.ref.name"])' "$layout/index.json" |
        while read -r name; do
            format=""
            [ "$name" = docker2:1 ] && format="--format v2s2"
            # shellcheck disable=SC2086
            skopeo --insecure-policy copy -q --all $format --dest-tls-verify=false \
                "oci:$layout:$name" "docker://$1/$name" || return 1
        done
}

# images_storage: the cached directory with oci/ and registry/.
images_storage() {
    cached "images-$(_images_key)" _images_build
}

_many_build() {
    "$PYTHON" "$LIB/images.py" many "$MANY" "$1/oci" && _images_store_many "$1"
}

# Thousands of skopeo runs would take minutes: the storage of a registry is
# files and links, written here directly.
_images_store_many() {
    "$PYTHON" "$LIB/storage.py" "$1/oci" "$1/registry" && rm -rf -- "$1/oci"
}

# images_many N: storage with many:0 ... many:N-1.
images_many() {
    MANY=$1 cached "many-$1-$(_images_key)" _many_build
}

_bench_build() {
    local dir=$1 layers=$1/layers layer
    mkdir "$layers"
    layer="$PYTHON $LIB/images.py layer \"\$1\" $layers"
    _mmdebstrap_layers \
        "$(_hook "$layer")" \
        "$(_hook "$_INSTALL python3 python3-numpy python3-pip python3-sympy")" "$(_hook "$layer")" \
        "$(_hook "$_INSTALL nodejs npm")" "$(_hook "$layer")" || return
    "$PYTHON" "$LIB/images.py" bench "$layers" "$dir/oci" || return
    rm -rf -- "$layers"
    _images_store "$dir"
}

# images_bench: storage with bench-python-node:4 and bench-big-files:2.
images_bench() {
    cached "bench-$(_images_key)" _bench_build
}

# reference_tree NAME: what this containerd's own unpack makes of a test image,
# as a directory; unpacked once per version of containerd and kept.
reference_tree() {
    local dir
    dir=$(cached "unpacked-$CTD_VERSION-$(_images_key)" _reference_build) || exit 99
    readlink -f -- "$dir/${1//\//_}"
}

_reference_build() (
    dir=$1 status=0
    # shellcheck disable=SC2031
    T=$(mktemp -d "$T/reference.XXXXXX") || exit
    own_cleanup
    at_exit rm -rf -- "$T"
    unset CTD_PAUSE
    registry_start
    ctd_start "$CTD_VERSION" "$T/root" reference || exit
    declare -A tree
    for name in $IMAGES; do
        [ "$name" = arm:1 ] && continue
        cri pull "$REGISTRY/$name" && tree[$name]=$(ctd_image_dir reference "$REGISTRY/$name") || status=1
    done
    ctd_stop reference
    for name in "${!tree[@]}"; do
        # Two images of the same layers have one tree.
        if [ ! -h "${tree[$name]}" ]; then
            mv -T "${tree[$name]}" "$dir/${name//\//_}" && ln -s "${name//\//_}" "${tree[$name]}"
        else
            ln -s "$(readlink "${tree[$name]}")" "$dir/${name//\//_}"
        fi || status=1
    done
    exit "$status"
)
