#!/bin/sh
# Runs inside the sandbox, as /srv/inside: the session hook (setup, and preload out of archives),
# then containerd on that root and pods; the words of /srv/job say what.  Everything it has to tell
# goes to /srv/out.
# shellcheck disable=SC1091
set -u
SETUP=""
. /srv/job # ROOT, ACTIONS, SETUP, LIMIT
PAUSE=registry.test/rancher/mirrored-pause:3.6
out=/srv/out
failed=0
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

# step NAME COMMAND...: its status, and what it said.
step() {
    name=$1
    shift
    "$@" >"$out/$name.out" 2>"$out/$name.err"
    status=$?
    echo "$status" >"$out/$name.status"
    [ "$status" = 0 ] || failed=1
    return "$status"
}

now_ms() {
    date +%s%3N
}

# timed NAME COMMAND...: a step, and its milliseconds.
timed() {
    timed=$1
    start=$(now_ms)
    step "$@"
    echo $(($(now_ms) - start)) >"$out/$timed.ms"
}

containerd_start() {
    containerd -c /etc/containerd/config.toml >"$out/containerd.log" 2>&1 &
    containerd=$!
    i=0
    while ! ctr version >/dev/null 2>&1; do
        i=$((i + 1))
        [ $i -lt 150 ] && kill -0 "$containerd" || return 1
        sleep 0.2
    done
}

containerd_stop() {
    kill -TERM "$containerd"
    wait "$containerd" || :
}

# A pod of an image that is preloaded: it runs, and is removed.
start() {
    k3simg verify --start --timeout 400s -o json "$@"
}

# Trees that are there, in a root.
trees() {
    find "$1/io.containerd.snapshotter.v1.native/snapshots" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l
}

# Something is to be asked of this machine; findings are no failure of the script.
doctor() {
    k3simg doctor -o json "$@" || [ $? = 10 ]
}

for action in $ACTIONS; do
    case $action in
    doctor) step "doctor-${asked:=before}" doctor ;;
    hook)
        # --force: Debian's package brings a configuration of its own, with defaults.
        export K3SIMG_LIST=/srv/images.list K3SIMG_SETUP="--force --pause $PAUSE $SETUP" K3SIMG_ARGS="-o json"
        timed hook /srv/session-hook
        ls "$ROOT/io.containerd.snapshotter.v1.native/snapshots" >"$out/trees"
        (cd "$ROOT/io.containerd.snapshotter.v1.native/snapshots" && find . -type p) >"$out/fifos"
        timed again /srv/session-hook
        asked=after
        ;;
    strict)
        k3simg preload -q --root "$ROOT.strict" --pause none --mode offline --on-loss device=ignore,xattr=fail \
            oci-archive:/srv/images/nginx.tar >"$out/strict.out" 2>"$out/strict.err"
        echo $? >"$out/strict.status"
        k3simg list --root "$ROOT.strict" -o name | wc -l >"$out/strict.left"
        ;;
    cgroup)
        mount -t tmpfs none /sys/fs/cgroup
        for c in cpu cpuset cpuacct devices memory pids freezer; do
            mkdir -p "/sys/fs/cgroup/$c"
            mount -t cgroup -o "$c" none "/sys/fs/cgroup/$c"
        done 2>"$out/cgroup.err"
        ;;
    start)
        step containerd containerd_start || break
        timed start start registry.test/nginx:7
        timed network start --pod-network registry.test/exit:1
        containerd_stop
        # Who was killed is gone, with all that it had started.
        cat /proc/[0-9]*/comm >"$out/processes" 2>/dev/null
        ;;
    k3s)
        # No k3s: what it would find.
        step undo k3simg setup --undo && step k3s k3simg setup --k3s --pause "$PAUSE" &&
            step doctor-k3s doctor --root /var/lib/rancher/k3s/agent/containerd
        ls -l /dev/kmsg >"$out/kmsg" 2>&1
        ;;
    flat-* | chain-*)
        timed "$action" k3simg preload -q --root "$ROOT.ours" --pause none --mode offline \
            --snapshots "${action%%-*}" "oci-archive:/srv/images/${action#*-}.tar"
        trees "$ROOT.ours" >"$out/$action.trees"
        rm -rf "$ROOT.ours"
        ;;
    import-*)
        image=${action#import-}
        rm -rf "$ROOT.peer"
        step setup k3simg setup --force --root "$ROOT.peer" --pause "$PAUSE"
        step containerd containerd_start || break
        # Nobody waits for its end: it may take an hour.
        timed "$action" timeout "$(($(cat "$out/flat-$image.ms") * LIMIT / 1000 + 1))" \
            ctr -n k8s.io images import --local --snapshotter native "/srv/images/$image.tar"
        trees "$ROOT.peer" >"$out/$action.trees"
        containerd_stop
        rm -rf "$ROOT.peer"
        ;;
    *) step "$action" /srv/"$action" ;;
    esac
done
echo $failed >"$out/status"
