# shellcheck shell=bash
# The parts that grow one thing: "layers", "store", "list", "files", and what
# hardly anything is to be done for: "startup".  Source images.sh first.

layers_need() {
    disk_need 3000
}
store_need() {
    disk_need 3000
}
list_need() {
    disk_need 3000
}
files_need() {
    disk_need 5000
}
startup_need() {
    disk_need 3000
}

series_setup() {
    [ -z "${SERIES:-}" ] || return 0
    SERIES=$(bench_storage series) || exit 99
    registry_start -n series -s "$SERIES" -r
    REGISTRY_SERIES=$REGISTRY
    find "$SERIES" -type f -name data -exec cat {} + >/dev/null
}

# once PART NAME=VALUE WHO IMAGE: a run of k3simg as one record.
once() {
    rm -f "$T/line"
    _k3simg "$3" "$REGISTRY_SERIES/$4" "$T/line"
    # shellcheck disable=SC2046
    record part="$1" "$2" who="$3" $(cat "$T/line")
}

part_layers() {
    local n i mode
    series_setup
    for n in 1 8 32 64 127; do
        say "$n layers"
        for ((i = 0; i < RUNS; i++)); do
            for mode in flat chain; do
                once layers n=$n $mode "depth:$n"
            done
        done
    done
}

part_files() {
    local n i mode
    series_setup
    for n in 1000 10000 50000 200000; do
        say "$n files in a layer"
        for ((i = 0; i < RUNS; i++)); do
            once files n=$n flat "files:$n"
        done
    done
    say "a layer of 2 GB"
    for ((i = 0; i < RUNS; i++)); do
        for mode in flat chain; do
            once huge n=1 $mode huge:1
        done
    done
}

# ---- a store that fills ------------------------------------------------------------------------

# Some more than the last step needs.
STORE_STEPS="0 1 10 100 1000 5000"
STORE_MANY=5100

# preload_many FIRST COUNT: these of the many images in one run.
preload_many() {
    local i
    for ((i = $1; i < $1 + $2; i++)); do
        printf '%s/many:%d\n' "$REGISTRY" "$i"
    done >"$T/list"
    "$K3SIMG" preload -q --root "$FS/root" --pause none -f "$T/list" >/dev/null 2>"$T/k3simg.log" || {
        tail -n 5 "$T/k3simg.log" >&2
        die "k3simg cannot preload $2 images"
    }
}

# Each step measures on copies of a store of that many images.  The commit is
# timed by itself, five times on one copy, with images of code.
part_store() {
    local n i have=0 many line
    many=$(images_many $STORE_MANY)/registry || die "cannot build $STORE_MANY images"
    registry_start -n many -s "$many" -r
    find "$many" -type f -exec cat {} + >/dev/null
    fresh
    for n in $STORE_STEPS; do
        say "a store of $n images"
        if [ "$n" -gt "$have" ]; then
            preload_many "$have" $((n - have))
            have=$n
        fi
        for ((i = 0; i < RUNS; i++)); do
            _store_copy
            rm -f "$T/line"
            warm
            timed "$T/line" "$K3SIMG" preload -q --root "$FS/copy" --pause none \
                "$REGISTRY/many:$have" >/dev/null 2>"$T/k3simg.log" || die "k3simg cannot add an image"
            record part=store n="$n" run=$i one="$(value seconds "$T/line")" peakKiB="$(value peakKiB "$T/line")"
            _store_copy
            "$BENCH_BIN/stages" commit "$FS/copy" 0 5 >"$T/commit" || die "commit fails"
            while read -r line; do
                # shellcheck disable=SC2086
                record part=store n="$n" run=$i $line
            done <"$T/commit"
        done
    done
}

# A copy of the store with the same number of images for every measurement:
# databases copied, blobs and trees linked.  Flushed, so that the syncfs of
# the commit finds only its own writes.
_store_copy() {
    rm -rf -- "$FS/copy"
    mkdir -p "$FS/root"
    cp -al -- "$FS/root" "$FS/copy"
    find "$FS/copy" -name '*.db' -exec sh -c 'cp -p "$1" "$1.new" && mv "$1.new" "$1"' copy {} \;
    sync -f "$FS"
}

# ---- many images at once -----------------------------------------------------------------------

# _fetched REGISTRY DIGESTS: bytes of these blobs that the registry has sent.
_fetched() {
    sed -n 's|.*"GET /v2/[^ ]*/blobs/\(sha256:[0-9a-f]*\) HTTP[^"]*" 20[06] \([0-9]*\) .*|\1 \2|p' "$T/$1/log" |
        awk 'NR == FNR { want[$1] = 1; next } $1 in want { n += $2 } END { print n + 0 }' "$2" -
}

# _files DIR: "inodes names" of the regular files below.
_files() {
    find "$1" -type f -printf '%i\n' | sort -n | awk '{ names++ } $1 != last { inodes++; last = $1 } END { print inodes + 0, names + 0 }'
}

part_list() {
    local i layers bytes wanted fetched made names blob snapshots=root/io.containerd.snapshotter.v1.native/snapshots
    series_setup
    "$PYTHON" "$BENCH/stored.py" list "$SERIES" 'shared:*' >"$T/layers"
    layers=$(wc -l <"$T/layers")
    bytes=$(awk '{ n += $2 } END { print n }' "$T/layers")
    wanted=0
    while read -r blob _; do
        blob=${blob#sha256:}
        wanted=$((wanted + $(igzip -dc <"$SERIES/docker/registry/v2/blobs/sha256/${blob:0:2}/$blob/data" | tar -tv | grep -c '^-')))
    done <"$T/layers"
    for ((i = 0; i < 20; i++)); do
        printf '%s/shared:%d\n' "$REGISTRY_SERIES" "$i"
    done >"$T/list"
    for ((i = 0; i < RUNS; i++)); do
        say "20 images at once, run $((i + 1)) of $RUNS"
        fresh
        fetched=$(_fetched series "$T/layers")
        rm -f "$T/line"
        warm
        timed "$T/line" "$K3SIMG" preload -q --root "$FS/root" --pause none -f "$T/list" \
            >/dev/null 2>"$T/k3simg.log" || die "k3simg cannot preload 20 images"
        read -r made names < <(_files "$FS/$snapshots")
        # shellcheck disable=SC2046
        record part=list run=$i $(cat "$T/line") layers="$layers" layerBytes="$bytes" \
            fetched=$(($(_fetched series "$T/layers") - fetched)) \
            stored="$(_stored_layers)" files="$wanted" made="$made" names="$names"
    done
}

# Layer blobs in the content store of $FS.
_stored_layers() {
    find "$FS/root/io.containerd.content.v1.content/blobs/sha256" -type f -printf 'sha256:%f\n' | sort |
        join - <(sort "$T/layers") | wc -l
}

# ---- nothing to do -----------------------------------------------------------------------------

# again WHAT COMMAND...: 20 times, each one a record.
again() {
    local what=$1 i before
    shift
    for ((i = 0; i < 20; i++)); do
        rm -f "$T/line"
        before=$(_requests)
        timed "$T/line" "$@" >/dev/null 2>"$T/k3simg.log" || {
            tail -n 5 "$T/k3simg.log" >&2
            die "$what: k3simg fails"
        }
        # shellcheck disable=SC2046
        record part=startup what="$what" $(cat "$T/line") requests=$(($(_requests) - before))
    done
}

_requests() {
    grep -c '"[A-Z]* /v2/[^ ]* HTTP' "$T/startup/log"
}

part_startup() {
    local ref digest storage
    storage=$(bench_storage four)
    registry_start -n startup -s "$storage" -r
    ref=$REGISTRY/nginx
    digest=$(cat "$storage/docker/registry/v2/repositories/nginx/_manifests/tags/7/current/link")
    fresh
    say "start-up"
    again version "$K3SIMG" version
    for image in "$ref:7" "$ref@$digest"; do
        "$K3SIMG" preload -q --root "$FS/root" --pause none "$image" >/dev/null || die "k3simg cannot preload $image"
    done
    again again-by-tag "$K3SIMG" preload -q --root "$FS/root" --pause none "$ref:7"
    grep -E '"[A-Z]+ /v2/' "$T/startup/log" | tail -n 1 | grep -q '"HEAD ' || die "the last request was no HEAD"
    registry_stop startup
    again again-by-digest "$K3SIMG" preload -q --root "$FS/root" --pause none "$ref@$digest"
}
