#!/bin/sh
# Runs inside the sandbox, as /srv/inside: preload out of archives, then containerd on that root
# and a pod; the words of /srv/job say what.  Everything it has to tell goes to /srv/out.
# shellcheck disable=SC1091
set -u
RUNTIME="/usr/bin/crun --cgroup-manager=disabled"
. /srv/job # ROOT, ACTIONS, PRELOAD, RUNTIME, LIMIT
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

config() {
    mkdir -p /etc/containerd /etc/cni/none
    # No patch of either runtime: crun has a flag for machines without cgroups, containerd has none
    # for it.  And this gVisor does not end a PID namespace with its first process when that has a
    # child subreaper above it, as containerd's shim is one: who is left holds the output, and the
    # pod never ends.
    {
        printf '#!/bin/sh\nruntime="%s"\n' "$RUNTIME"
        cat <<'SH'
case " $* " in
*" kill "*" 9 "* | *" kill "*" KILL "*) ;;
*) exec $runtime "$@" ;;
esac
for id; do
    [ "${last:-}" != kill ] || break
    last=$id
done
init=$(sed -n 's/.*"\(pid\|init_process_pid\)": *\([0-9]*\).*/\2/p' /run/containerd/runc/k8s.io/"$id"/stat* | head -n 1)
own=$(readlink /proc/self/ns/pid) there=$(readlink "/proc/$init/ns/pid")
$runtime "$@"
status=$?
[ -n "$there" ] && [ "$there" != "$own" ] || exit $status
# The first one is gone and starts no others.
for p in /proc/[0-9]*; do
    [ "$p" = "/proc/$init" ] || [ "$(readlink "$p/ns/pid")" != "$there" ] || kill -9 "${p#/proc/}"
done
exit $status
SH
    } >/usr/bin/runtime-here
    chmod 755 /usr/bin/runtime-here
    cat >/etc/containerd/config.toml <<TOML
version = 3
root = '$ROOT'
state = '/run/containerd'
[grpc]
  address = '/run/containerd/containerd.sock'
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'native'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = 'registry.test/rancher/mirrored-pause:3.6'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
  disable_apparmor = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    conf_dir = '/etc/cni/none'
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = '/usr/bin/runtime-here'
      SystemdCgroup = false
TOML
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

for action in $ACTIONS; do
    case $action in
    preload)
        # shellcheck disable=SC2086
        timed preload k3simg preload --root "$ROOT" --pause none --mode offline -o json $PRELOAD
        ls "$ROOT/io.containerd.snapshotter.v1.native/snapshots" >"$out/trees"
        (cd "$ROOT/io.containerd.snapshotter.v1.native/snapshots" && find . -type p) >"$out/fifos"
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
        config
        step containerd containerd_start || break
        timed start k3simg verify --start --timeout 180s -o json --root "$ROOT" --address /run/containerd/containerd.sock \
            --containerd-config /etc/containerd/config.toml registry.test/nginx:7
        containerd_stop
        ;;
    import-*)
        config
        rm -rf "$ROOT.peer"
        sed -i "s|^root = .*|root = '$ROOT.peer'|" /etc/containerd/config.toml
        step containerd containerd_start || break
        # Nobody waits for its end: it may take an hour.
        timed "$action" timeout "$(($(cat "$out/preload-${action#import-}.ms") * LIMIT / 1000))" \
            ctr -n k8s.io images import --local --snapshotter native "/srv/images/${action#import-}.tar"
        containerd_stop
        rm -rf "$ROOT.peer"
        ;;
    preload-*)
        rm -rf "$ROOT.ours"
        timed "$action" k3simg preload -q --root "$ROOT.ours" --pause none --mode offline \
            "oci-archive:/srv/images/${action#preload-}.tar"
        rm -rf "$ROOT.ours"
        ;;
    *) step "$action" /srv/"$action" ;;
    esac
done
echo $failed >"$out/status"
