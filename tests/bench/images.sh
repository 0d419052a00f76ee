# shellcheck shell=bash
# Parts "images", "live" and "floor": the four images end to end, one of them
# into a containerd that runs, and the least that the same work could take,
# measured in turn.  Source peers.sh first.

BENCH_IMAGES=${BENCH_IMAGES:-"nginx:7 layers:32 python-node:4 big-files:2"}

# Made of the layers of the test images: containerd's overlayfs refuses those
# that hard-link to a file of a lower layer, as the test images do.
_four_build() {
    local first second
    first=$(images_storage)/oci || return
    second=$(images_bench)/oci || return
    "$PYTHON" "$BENCH/images.py" four "$first" "$second" "$1/oci" && _images_store_many "$1"
}

_series_build() {
    "$PYTHON" "$BENCH/images.py" series "$1/oci" && _images_store_many "$1"
}

# bench_storage four|series: the storage of a registry with these images.
bench_storage() {
    local dir
    dir=$(cached "bench-$1-$({ _images_key && cat "$BENCH/images.py"; } | sha256sum | cut -c1-12)" "_$1_build") || exit 99
    printf '%s/registry\n' "$dir"
}

# The largest run: containerd's native snapshotter on 32 layers.
images_need() {
    disk_need 7600
}

live_need() {
    disk_need 3000
}

floor_need() {
    disk_need 3000
}

# The registry, and every layer read once, so that all find the page cache as
# full.
images_setup() {
    local image
    [ -z "${FOUR:-}" ] || return 0
    FOUR=$(bench_storage four) || exit 99
    registry_start -n four -s "$FOUR" -r
    REGISTRY_FOUR=$REGISTRY
    for image in $BENCH_IMAGES; do
        # shellcheck disable=SC2046
        cat $(layer_files "$image") >/dev/null
    done
}

image_ref() {
    printf '%s/%s\n' "$REGISTRY_FOUR" "$1"
}

# layer_files IMAGE: the blobs of its layers in the registry's storage.
layer_files() {
    "$PYTHON" "$BENCH/stored.py" blobs "$FOUR" "$1"
}

# What the images are: layers, bytes compressed, entries and bytes unpacked.
_image_facts() {
    local tree
    _k3simg flat "$(image_ref "$1")" "$T/ignored"
    tree=$(flat_tree)
    record part=facts image="$1" layers="$(layer_files "$1" | wc -l)" \
        compressed="$(layer_files "$1" | xargs stat -c %s | awk '{ n += $1 } END { print n }')" entries="$(find "$tree" | wc -l)" \
        bytes="$(find "$tree" -type f -printf '%i %s\n' | sort -u | awk '{ n += $2 } END { print n + 0 }')"
}

# flat_tree: the one tree that k3simg has just made.
flat_tree() {
    find "$FS/root/io.containerd.snapshotter.v1.native/snapshots" -mindepth 1 -maxdepth 1 -name '[0-9]*' | tail -n 1
}

part_images() {
    local image who i
    images_setup
    for image in $BENCH_IMAGES; do
        _image_facts "$image"
        for ((i = 0; i < RUNS; i++)); do
            for who in native overlayfs skopeo flat chain; do
                say "$image: $who, run $((i + 1)) of $RUNS"
                : >"$T/line"
                "run_$who" "$(image_ref "$image")" "$T/line"
                # shellcheck disable=SC2046
                record part=images image="$image" who=$who run=$i $(cat "$T/line")
            done
        done
    done
}

part_live() {
    local mode way i
    images_setup
    for mode in flat chain; do
        for ((i = 0; i < RUNS; i++)); do
            for way in offline live; do
                say "nginx:7: $mode, $way, run $((i + 1)) of $RUNS"
                rm -f "$T/line"
                beside $way $mode "$(image_ref nginx:7)" "$T/line"
                # shellcheck disable=SC2046
                record part=live who=$way mode=$mode run=$i $(cat "$T/line")
            done
        done
    done
}

# The tree of an image as one tar, to be written again: not cached, since it
# is what k3simg makes now.
_flat_tar() {
    _k3simg flat "$(image_ref "$1")" "$T/ignored"
    tar -C "$(flat_tree)" --xattrs --xattrs-include='*' --numeric-owner -cf "$2" . || die "tar cannot read a tree"
}

_write() {
    fresh
    mkdir "$FS/tree"
    warm
    timed "$T/write" tar -C "$FS/tree" --xattrs --xattrs-include='*' --numeric-owner --warning=no-timestamp -xpf "$1" || die "tar fails"
    timed "$T/sync" sync -f "$FS"
}

# The two halves of the floor at the same time, one on each core.
_together() {
    local start
    fresh
    mkdir "$FS/tree"
    warm
    start=$EPOCHREALTIME
    tar -C "$FS/tree" --xattrs --xattrs-include='*' --numeric-owner --warning=no-timestamp -xpf "$1" &
    shift
    "$BENCH_BIN/floor" "$@" >/dev/null
    wait $!
    seconds_since "$start"
}

part_floor() {
    local image i files both
    images_setup
    for image in $BENCH_IMAGES; do
        mapfile -t files < <(layer_files "$image")
        _flat_tar "$image" "$T/flat.tar"
        for ((i = 0; i < RUNS; i++)); do
            say "$image: floor, run $((i + 1)) of $RUNS"
            rm -f "$T/read" "$T/write" "$T/sync" "$T/line"
            warm
            timed "$T/read" "$BENCH_BIN/floor" "${files[@]}" >"$T/sums" || die "floor fails"
            _write "$T/flat.tar"
            both=$(_together "$T/flat.tar" "${files[@]}")
            run_flat "$(image_ref "$image")" "$T/line"
            record part=floor image="$image" run=$i read="$(value seconds "$T/read")" \
                write="$(value seconds "$T/write")" sync="$(value seconds "$T/sync")" together="$both" \
                flat="$(value seconds "$T/line")" cpu="$(value cpu "$T/line")" \
                readCpu="$(value cpu "$T/read")" writeCpu="$(value cpu "$T/write")"
        done
        _floor_true "${files[@]}"
        rm -f "$T/flat.tar"
    done
}

# The floor did what it says: the blobs hash to their names.
_floor_true() {
    local file
    for file; do
        file=${file%/data}
        printf '%s\n' "${file##*/}"
    done | cmp -s - <(cut -d ' ' -f 1 "$T/sums") || die "the floor read other bytes than the registry's"
}
