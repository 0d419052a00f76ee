# shellcheck shell=bash
# Part "stages": each stage of k3simg alone, next to the program that does the
# same.  Source images.sh first.

stages_need() {
    disk_need 3000
}

# stage STAGE WHO ITEMS BYTES COMMAND...: time one.  ITEMS and BYTES may be
# empty.  k3simg's own stages tell their time, without the start of a process.
stage() {
    local name=$1 who=$2 items=$3 bytes=$4 seconds
    shift 4
    rm -f -- "$T/stage"
    warm
    if [ "$1" = "$BENCH_BIN/stages" ]; then
        seconds=$("$@" | tr ' ' '\n' | sed -n 's/^seconds=//p')
    else
        timed "$T/stage" "$@" >/dev/null
        seconds=$(value seconds "$T/stage")
    fi
    [ -n "$seconds" ] || die "$name: $who fails"
    record part=stages stage="$name" who="$who" seconds="$seconds" ${items:+items="$items"} ${bytes:+bytes="$bytes"}
}

# The largest layer of an image, and its tar.
_stage_inputs() {
    local files
    mapfile -t files < <(layer_files python-node:4)
    # shellcheck disable=SC2012
    STAGE_BLOB=$(ls -S "${files[@]}" | head -n 1)
    igzip -dc <"$STAGE_BLOB" >"$T/layer.tar" || die "igzip fails"
    zstd -q -3 -f "$T/layer.tar" -o "$T/layer.tar.zst" || die "zstd fails"
    _flat_tar python-node:4 "$T/flat.tar"
}

_stage_streams() {
    local size us=$BENCH_BIN/stages
    size=$(stat -c %s "$T/layer.tar")
    stage inflate-gzip k3simg-isal "" "$size" "$us" inflate isal "$STAGE_BLOB"
    stage inflate-gzip k3simg-zlib "" "$size" "$us" inflate zlib "$STAGE_BLOB"
    stage inflate-gzip igzip "" "$size" igzip -dc "$STAGE_BLOB"
    stage inflate-gzip gzip "" "$size" gzip -dc "$STAGE_BLOB"
    stage inflate-zstd k3simg "" "$size" "$us" inflate zstd "$T/layer.tar.zst"
    stage inflate-zstd zstd "" "$size" zstd -q -dc --single-thread "$T/layer.tar.zst"
    stage hash k3simg "" "$size" "$us" hash "$T/layer.tar"
    stage hash openssl "" "$size" openssl dgst -sha256 "$T/layer.tar"
    stage hash sha256sum "" "$size" sha256sum "$T/layer.tar"
}

# The same tree by tar and by k3simg, each on a fresh file system, and then a
# clone of it.
_stage_trees() {
    local size items us=$BENCH_BIN/stages
    size=$(stat -c %s "$T/flat.tar")
    items=$(tar -tf "$T/flat.tar" | wc -l)
    fresh
    mkdir "$FS/tree"
    stage create tar "$items" "$size" tar -C "$FS/tree" --xattrs --xattrs-include='*' --numeric-owner -xpf "$T/flat.tar"
    sync -f "$FS"
    stage clone cp-al "$items" "" cp -al "$FS/tree" "$FS/copy"
    fresh
    mkdir "$FS/tree"
    stage create k3simg "$items" "$size" "$us" create "$T/flat.tar" "$FS/tree"
    sync -f "$FS"
    stage clone k3simg "$items" "" "$us" clone "$FS/tree" copy 1
    stage clone k3simg-2 "$items" "" "$us" clone "$FS/tree" copy 2
}

_stage_commit() {
    fresh
    stage commit k3simg 1 "" "$BENCH_BIN/stages" commit "$FS/root" 0 1
}

part_stages() {
    local i
    images_setup
    _stage_inputs
    for ((i = 0; i < RUNS; i++)); do
        say "stages, run $((i + 1)) of $RUNS"
        _stage_streams
        _stage_trees
        _stage_commit
    done
    rm -f "$T/flat.tar" "$T/layer.tar" "$T/layer.tar.zst"
}
