# shellcheck shell=bash
# Real containerds: 1.6 is this machine's Debian package, 1.7 and 2.1 run in the
# newer Debians of forky.sh.  Source common.sh and forky.sh first; the caller
# has made $T.

# ctd_debian VERSION: the root directory that has this containerd; "" is the
# machine's own.
ctd_debian() {
    case $1 in
    1.6) ;;
    1.7) trixie_root ;;
    2.1) forky_root ;;
    *) die "there is no containerd $1 here: CTD_VERSION is 1.6, 1.7 or 2.1" ;;
    esac
}

# ctd_config VERSION PAUSE ROOT STATE SOCKET: a configuration on stdout.
ctd_config() {
    case $1 in
    1.*)
        cat <<TOML
version = 2
root = "$3"
state = "$4"
[grpc]
  address = "$5"
[plugins."io.containerd.gc.v1.scheduler"]
  startup_delay = "1s"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$2"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "$4/no-cni"
TOML
        ;;
    *)
        cat <<TOML
version = 3
root = '$3'
state = '$4'
[grpc]
  address = '$5'
[plugins.'io.containerd.gc.v1.scheduler']
  startup_delay = '1s'
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'native'
  use_local_image_pull = true
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = '$2'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
  disable_apparmor = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    conf_dir = '$4/no-cni'
[plugins.'io.containerd.grpc.v1.cri']
  stream_server_address = '127.0.0.1'
  stream_server_port = '0'
TOML
        ;;
    esac
}

# ctd_start VERSION ROOT [NAME]: start a containerd on ROOT and wait for CRI.
# The pause image is $CTD_PAUSE; $CTD_EXTRA is more configuration, $CTD_CONFIG another one, whose state
# is in run/containerd beside its etc; $CTD_LIBRARIES are for programs of this machine.  CTD_NETWORK=none gives it a network namespace
# of its own with nothing but loopback (ctd_net runs a command there).  Sets CRI_SOCKET for cri.py.  NAME (default:
# ctd) is for the other functions; config, log and socket are in $T/NAME.
ctd_start() {
    local version=$1 root=$2 name=${3:-ctd} dir init i newroot path
    dir=$T/$name
    mkdir -p "$dir/state" "$dir/logs" "$root"
    {
        ctd_config "$version" "${CTD_PAUSE:-127.0.0.1:1/none:1}" "$root" "$dir/state" "$dir/sock"
        printf '%s\n' "${CTD_EXTRA:-}"
    } >"$dir/config.toml"
    if [ -n "${CTD_CONFIG:-}" ]; then
        cp "$CTD_CONFIG" "$dir/config.toml"
        ln -s "${CTD_CONFIG%/etc/*}/run/containerd/containerd.sock" "$dir/sock"
    fi
    echo "$version" >"$dir/version"
    newroot=$(ctd_debian "$version") || return
    path=/usr/sbin:/usr/bin:/sbin:/bin
    # PID 1 of the namespace passes the signal on and waits; with it goes
    # everything that containerd started.  The socket is short: in $T/NAME.
    # shellcheck disable=SC2016
    (
        # shellcheck disable=SC2034
        [ "${CTD_NETWORK:-}" != none ] || ENTER_OPTIONS=--net
        cd / && enter "$newroot" "$root
$T" env -i PATH=$path TMPDIR="$dir" ${CTD_LIBRARIES:+LD_LIBRARY_PATH="$CTD_LIBRARIES"} /bin/sh -c '
            containerd -c "$1" & p=$!
            trap "kill -TERM $p" TERM
            wait $p; wait $p; exit 0' init "$dir/config.toml"
    ) >>"$dir/log" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    at_exit ctd_kill "$name"
    CRI_SOCKET=$dir/sock
    CRI_LOGS=$dir/logs
    CRI_CGROUP=/k3simg-test-$$-$name
    export CRI_SOCKET CRI_LOGS CRI_CGROUP
    for ((i = 0; i < 200; i++)); do
        [ -S "$dir/sock" ] && break
        kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
        sleep 0.05
    done
    [ "${CTD_NETWORK:-}" != none ] || ctd_net "$name" busybox ip link set lo up
    if ! cri wait 30 >"$dir/wait.log" 2>&1; then
        tail -n 15 "$dir/log" "$dir/wait.log" >&2
        ctd_kill "$name"
        return 1
    fi
}

# cri ARGS: cri.py on the containerd started last (or -s SOCKET).
cri() {
    "$PYTHON" "$LIB/cri.py" "$@"
}

# ctd_ctr NAME ARGS: the matching ctr, namespace k8s.io.
ctd_ctr() {
    local dir=$T/$1 newroot
    shift
    newroot=$(ctd_debian "$(cat "$dir/version")") || return
    if [ -z "$newroot" ]; then
        ctr -a "$dir/sock" -n k8s.io "$@"
    else
        (enter "$newroot" "$T" ctr -a "$dir/sock" -n k8s.io "$@")
    fi
}

# ctd_sh NAME SCRIPT: several calls at once; "ctr" in the script is as in ctd_ctr.
ctd_sh() {
    local newroot script
    script="ctr() { command ctr -a '$T/$1/sock' -n k8s.io \"\$@\"; }
$2"
    newroot=$(ctd_debian "$(cat "$T/$1/version")") || return
    if [ -z "$newroot" ]; then
        /bin/sh -c "$script"
    else
        (enter "$newroot" "$T" /bin/sh -c "$script")
    fi
}

# A forced collection for ctd_sh, of content too, even when none was removed.  (Not "ctr content
# prune references": that makes containerd forget layers.)
# shellcheck disable=SC2016
CTD_COLLECT='
    echo "nothing $$" | ctr content ingest "nothing-$$" &&
        ctr content rm "sha256:$(echo "nothing $$" | sha256sum | cut -d" " -f1)" >/dev/null
    ctr leases create --id "collect-$$" >/dev/null && ctr leases rm --sync "collect-$$" >/dev/null
'
# What its namespace k8s.io holds of images.
# shellcheck disable=SC2016
CTD_LIST='
    ctr images ls -q | sed "s/^/image /"
    ctr content ls -q | sed "s/^/content /"
    ctr content active | tail -n +2
    ctr leases ls -q | sed "s/^/lease /"
    ctr snapshots --snapshotter native ls | awk "NR > 1 { print \"snapshot\", \$1, \$NF }"
'

# ctd_collect NAME
ctd_collect() {
    ctd_sh "$1" "$CTD_COLLECT"
}

# ctd_holds NAME ROOT [SCRIPT]: after SCRIPT, all that this containerd has of images, in its
# namespace k8s.io and on disk, one a line; snapshot directories are only counted.
ctd_holds() {
    ctd_sh "$1" "${3:-}
$CTD_LIST" | sort
    (cd "$2/io.containerd.content.v1.content" && find blobs/* ingest -mindepth 1 | sort) 2>/dev/null
    echo "directories $(find "$2/io.containerd.snapshotter.v1.native/snapshots" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)"
}

# ctd_complaints NAME [PATTERN]: the first lines of its log that tell of an error and do not
# match.  These are none: there is no CNI here, and a shim's watcher of a cgroup ends with it.
ctd_complaints() {
    grep -E 'level=(error|fatal)|panic' "$T/$1/log" | grep -Ev "cni|cgroups: epoll wait${2:+|$2}" | head -n 3
}

# ctd_net NAME COMMAND...: run COMMAND in the network of a containerd.
ctd_net() {
    local init
    init=$(_ctd_init "$(cat "$T/$1/pid")")
    shift
    nsenter "--net=/proc/${init% }/ns/net" "$@"
}

_ctd_init() {
    local pid=$1
    cat "/proc/$pid/task/$pid/children" 2>/dev/null
}

# ctd_stop [NAME]: remove the pods, then stop containerd as a service would.
ctd_stop() {
    local name=${1:-ctd} pid init i
    local dir=$T/$name
    [ -s "$dir/pid" ] || return 0
    pid=$(cat "$dir/pid")
    cri -s "$dir/sock" remove-all >"$dir/remove.log" 2>&1
    init=$(_ctd_init "$pid")
    # shellcheck disable=SC2086
    [ -n "$init" ] && kill -TERM $init 2>/dev/null
    for ((i = 0; i < 200; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    ctd_kill "$name"
}

# ctd_kill [NAME]: as a loss of power would; everything in it dies at once.
ctd_kill() {
    local name=${1:-ctd} pid
    local dir=$T/$name
    [ -s "$dir/pid" ] || return 0
    pid=$(cat "$dir/pid")
    # shellcheck disable=SC2046
    kill -KILL $(_ctd_init "$pid") "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    rm -f "$dir/pid" "$dir/sock" "$dir/sock.ttrpc"
    rm -rf "$dir/state"
    find /sys/fs/cgroup -depth -type d -path "*/k3simg-test-$$-$name*" -exec rmdir {} + 2>/dev/null
    return 0
}

# ctd_snapshot_dir NAME CHAINID: the directory of a committed snapshot.
ctd_snapshot_dir() {
    local key=view-$RANDOM$RANDOM
    ctd_ctr "$1" snapshots --snapshotter native view --mounts "$key" "$2" |
        "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[0]["Source"])' || return
    # Without a lease the view may already be collected.
    ctd_ctr "$1" snapshots --snapshotter native rm "$key" 2>/dev/null || :
}

# ctd_image_dir NAME REF: the directory of the top snapshot of an image.
ctd_image_dir() {
    local chain
    chain=$(cri -s "$T/$1/sock" image-status "$2" | "$PYTHON" -c 'import json, sys
image = json.load(sys.stdin)
print(image["chainID"] if image else "")')
    [ -n "$chain" ] && ctd_snapshot_dir "$1" "$chain"
}
