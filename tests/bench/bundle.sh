# shellcheck shell=bash
# Part "bundle": the images out of a bundle, against the same images from a registry and, as
# the target has it, from an oci-archive on the same disk.  Source images.sh first.

# BENCH_MODES: flat, chain or both.  Root, bundle and archive lie on the disk that is written to.
bundle_need() {
    disk_need 4000
}

# _sources IMAGE: its bundle and archive, made once; the disk is fresh for every run.
_sources() {
    rm -f -- "$T/image.bundle" "$T/image.tar"
    "$K3SIMG" bundle create -q -o "$T/image.bundle" "$(image_ref "$1")" >/dev/null || die "k3simg cannot bundle $1"
    skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$(image_ref "$1")" \
        "oci-archive:$T/image.tar:$(image_ref "$1")" || die "skopeo cannot archive $1"
}

# _from NAME FILE WHERE COMMAND...: one timed run; WHERE is copied to the fresh disk before.
_from() {
    local line=$1 file=$2
    shift 2
    fresh
    [ -z "$file" ] || cp -- "$file" "$FS/source" || die "the disk is full"
    sync -f "$FS"
    warm
    [ -z "$file" ] || cat "$FS/source" >/dev/null
    timed "$line" "$@" >/dev/null 2>"$T/k3simg.log" || {
        cat "$T/k3simg.log" >&2
        die "k3simg fails: $*"
    }
    used "$FS/root" "$line"
}

_run_bundle_way() {
    local way=$1 image=$2 mode=$3 line=$4
    local options=(-q --root "$FS/root" --pause none --snapshots "$mode")
    case $way in
    registry) _from "$line" "" "$K3SIMG" preload "${options[@]}" "$(image_ref "$image")" ;;
    archive) _from "$line" "$T/image.tar" "$K3SIMG" preload "${options[@]}" "oci-archive:$FS/source" ;;
    bundle) _from "$line" "$T/image.bundle" "$K3SIMG" bundle apply "${options[@]}" "$FS/source" ;;
    # shellcheck disable=SC2016
    pipe) _from "$line" "$T/image.bundle" sh -c 'exec <"$1"; shift; cat | "$@"' sh "$FS/source" \
        "$K3SIMG" bundle apply "${options[@]}" - ;;
    esac
}

part_bundle() {
    local image way mode i ways="registry bundle pipe"
    images_setup
    # Older programs do not know archives.
    "$K3SIMG" preload --root "$T/none" --pause none oci-archive:/nonexistent 2>&1 | grep -q 'not a registry host' ||
        ways="registry archive bundle pipe"
    for image in $BENCH_IMAGES; do
        _sources "$image"
        for mode in ${BENCH_MODES:-flat chain}; do
            for ((i = 0; i < RUNS; i++)); do
                for way in $ways; do
                    say "$image: $mode from $way, run $((i + 1)) of $RUNS"
                    rm -f "$T/line"
                    _run_bundle_way "$way" "$image" "$mode" "$T/line"
                    # shellcheck disable=SC2046
                    record part=bundle image="$image" who="$way" mode="$mode" run="$i" \
                        size="$(stat -c %s "$T/image.bundle")" $(cat "$T/line")
                done
            done
        done
    done
    rm -f -- "$T/image.bundle" "$T/image.tar"
}
