# shellcheck shell=bash
# The programs compared, each as one function: run_WHO HOST:PORT/IMAGE FILE
# works on a fresh ext4 and appends seconds, peak memory and disk to FILE.
# Source disk.sh and all of tests/lib first.

# The programs of the newer Debian need the clock, too.
cp -- "$BENCH_BIN/timed" "$T/timed"

# timed FILE COMMAND...: append seconds, CPU seconds and peak memory to FILE.
timed() {
    "$BENCH_BIN/timed" "$@"
}

# containerd's own configuration, but for the snapshotter.
eval "_$(declare -f ctd_config)"
ctd_config() {
    _ctd_config "$@" | sed "s/snapshotter = 'native'/snapshotter = '$SNAPSHOTTER'/"
}

_containerd() {
    local SNAPSHOTTER=$1 daemon init
    fresh
    ctd_start 2.1 "$FS/root" peer || die "containerd does not start"
    warm
    "$PYTHON" "$BENCH/pull.py" "$LIB/cri.py" "$CRI_SOCKET" "$3" "$2" || die "containerd cannot pull $2"
    init=$(_ctd_init "$(cat "$T/peer/pid")")
    read -r daemon < <(_ctd_init "${init% }")
    awk '$1 == "VmHWM:" { printf " peakKiB=%d", $2 }' "/proc/${daemon%% *}/status" >>"$3"
    used "$FS/root" "$3"
    ctd_stop peer
}

run_native() {
    _containerd native "$@"
}

run_overlayfs() {
    _containerd overlayfs "$@"
}

# skopeo and umoci of the same Debian as containerd.
run_skopeo() {
    fresh
    : >"$T/skopeo.time"
    warm
    # shellcheck disable=SC2016
    FORKY_DIRS="$T" forky_run sh -c '
        t=$1 fs=$2 ref=$3
        "$t/timed" "$t/skopeo.time" skopeo --insecure-policy copy -q --src-tls-verify=false \
            "docker://$ref" "oci:$fs/oci:bench" &&
        "$t/timed" "$t/skopeo.time" umoci raw unpack --image "$fs/oci:bench" "$fs/rootfs"
        ' run "$T" "$FS" "$1" >"$T/skopeo.log" 2>&1 || {
        tail -n 5 "$T/skopeo.log" >&2
        die "skopeo and umoci cannot fetch $1"
    }
    "$PYTHON" - "$T/skopeo.time" >>"$2" <<'PY'
import sys
words = [w.split("=") for w in open(sys.argv[1]).read().split()]
of = {k: [float(v) for key, v in words if key == k] for k, _ in words}
print(" seconds=%.6f copySeconds=%.6f cpu=%.3f peakKiB=%d" % (
    sum(of["seconds"]), of["seconds"][0], sum(of["cpu"]), max(of["peakKiB"])), end="")
PY
    used "$FS" "$2"
}

# k3simg MODE REF FILE
_k3simg() {
    fresh
    warm
    timed "$3" "$K3SIMG" preload -q --root "$FS/root" --pause none --snapshots "$1" "$2" \
        >/dev/null 2>"$T/k3simg.log" || {
        cat "$T/k3simg.log" >&2
        die "k3simg cannot preload $2"
    }
    used "$FS/root" "$3"
}

# beside offline|live MODE REF FILE: into a store that containerd has made, while it runs or not.
# On disk count blobs and trees: the databases differ, and hardly take any.
beside() {
    local SNAPSHOTTER=native
    fresh
    ctd_start 2.1 "$FS/root" peer || die "containerd does not start"
    [ "$1" = live ] || ctd_stop peer
    warm
    timed "$4" "$K3SIMG" preload -q --root "$FS/root" --mode "$1" --address "$T/peer/sock" --pause none \
        --snapshots "$2" "$3" >/dev/null 2>"$T/k3simg.log" || {
        cat "$T/k3simg.log" >&2
        die "k3simg cannot preload $3"
    }
    [ "$1" = offline ] || ctd_stop peer
    used "$FS/root/io.containerd.content.v1.content" "$FS/root/io.containerd.snapshotter.v1.native/snapshots" "$4"
}

run_flat() {
    _k3simg flat "$@"
}

run_chain() {
    _k3simg chain "$@"
}
