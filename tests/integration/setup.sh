#!/bin/bash
# k3simg setup on a directory: the containerd that it configures runs pods, with our CNI plugin and
# our front before the stock OCI runtime; it is idempotent, and taken back byte for byte.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

version=3
[ "$CTD_VERSION" != 1.6 ] || version=2
use_registry
p=$T/p
config=$p/etc/containerd/config.toml
root=$p/var/lib/containerd

# The newer Debian has none of our libraries: the program runs there with those of this machine.
mkdir -p "$T/lib" "$p"
ldd "$K3SIMG" | awk '$3 ~ "^/" && $1 !~ /^(libc|libm|libpthread|libdl|libresolv|librt)\.so/ { print $3 }' |
    xargs cp -Lt "$T/lib"
cp "$K3SIMG" "$T/k3simg"
# With 2.1 there are no cgroups, as in a sandbox: crun works without them.
runtime=runc
[ "$CTD_VERSION" = 1.6 ] || export runtime=crun NO_CGROUPS=1
# What setup writes links to the program that ran.
mine=$K3SIMG K3SIMG=$T/k3simg

# setup ARGS...: sets $status; what it said is in $T/out and $T/err.
setup() {
    (enter "" "" "$K3SIMG" setup --prefix "$p" --containerd --config-version $version --runtime $runtime --pause "$PAUSE" "$@") \
        >"$T/out" 2>"$T/err"
    status=$?
}
# tree: all there is, but what containerd and preload have made.
tree() {
    (cd "$p" && find . -path ./var/lib/containerd -prune -o -path ./run -prune -o -printf '%p %y %m %l\n' | sort &&
        find . -path ./var/lib/containerd -prune -o -path ./run -prune -o -type f -print0 | sort -z | xargs -0r sha256sum)
}

# A configuration of somebody else is in the way.
mkdir -p "$p/etc/containerd" "$root"
printf 'version = 2\n# mine\n' >"$config"
chmod 640 "$config"
tree >"$T/before"
setup
check_eq "a file of others: status" "$status" 2
check_has "a file of others: the words" "$(cat "$T/err")" "error: $config was not written by k3simg setup"
check_has "a file of others: a hint" "$(cat "$T/err")" '^hint: .*--force'
check "a file of others: nothing is done" diff "$T/before" <(tree)
setup --dry-run --force
check_eq "--dry-run: status" "$status" 0
check_has "--dry-run: a diff" "$(cat "$T/out")" "^\+\+\+ $config\$"
check_has "--dry-run: a diff has what goes" "$(cat "$T/out")" '^-# mine$'
check "--dry-run: nothing is done" diff "$T/before" <(tree)
setup --force
check_eq "setup: status" "$status" 0
check_has "setup: what it did" "$(cat "$T/out")" "^replaced  $config \(.k3simg-backup\)\$"
check_eq "setup: the backup" "$(cat "$config.k3simg-backup")" "version = 2
# mine"
tree >"$T/after"
setup
check_eq "again: status" "$status" 0
check_eq "again: says so" "$(cat "$T/out")" "nothing to do: all is in place"
check "again: nothing changes" diff "$T/after" <(tree)
setup -o json
check_eq "JSON" "$("$PYTHON" -c 'import json, sys
d = json.load(sys.stdin)
print(d["schemaVersion"], d["changed"], d["refused"], d["target"], {f["action"] for f in d["files"]})' <"$T/out")" \
    "1 0 0 containerd {'same'}"

# The session hook, with a bundle and a list: first it does all, then nothing.
hook() {
    local start
    start=$(now_ms)
    env K3SIMG="$mine" K3SIMG_BUNDLE="$T/images.bundle" K3SIMG_LIST="${1:-$T/images.list}" \
        K3SIMG_SETUP="--prefix $T/session --containerd --config-version $version --pause $PAUSE" \
        K3SIMG_ARGS="--root $T/session/var/lib/containerd --pause none" \
        "$TOP/packaging/session-hook.sh" >"$T/out" 2>"$T/err"
    status=$?
    took=$(($(now_ms) - start))
}
"$mine" bundle create -q -o "$T/images.bundle" "$REGISTRY/exit:1" >/dev/null || fail "a bundle for the session hook"
printf '%s\n' "$PAUSE@$(image_digest rancher/mirrored-pause:3.6)" >"$T/images.list"
hook
check_eq "session hook: status" "$status" 0
check_eq "session hook: the images are there" "$(names "$T/session/var/lib/containerd" | wc -l)" 1
check "session hook: so is the configuration" test -e "$T/session/etc/containerd/config.toml"
state=$(store_state "$T/session/var/lib/containerd")

check "preload" preload "$root" "$REGISTRY/exit:1" "$REGISTRY/static:1"
registry_stop
hook
check_eq "session hook, again, without a registry: status" "$status" 0
check_eq "session hook, again: nothing changes" "$(store_state "$T/session/var/lib/containerd")" "$state"
check "session hook, again: in seconds" test "$took" -lt 5000
printf 'session hook, again: %s ms\n' "$took"
hook "$T/no-such-list"
check_eq "session hook, a list that is not there: status" "$status" 2
CTD_CONFIG=$config CTD_LIBRARIES=$T/lib ctd_start "$CTD_VERSION" "$root" || { fail "containerd starts"; finish; }
ok "containerd starts with it"

host=$(cri run "$REGISTRY/exit:1" -- /bin/sleep 1000)
check_has "a pod in the network of the host runs" "$host" '"state": "running"'
pod=$(cri run "$REGISTRY/exit:1" --pod-network -- /bin/sleep 1000)
check_has "a pod with a network of its own runs" "$pod" '"state": "running"'
other=$(cri run "$REGISTRY/exit:1" --pod-network -- /bin/sleep 1000)
check_has "another one, too" "$other" '"state": "running"'
check_has "what a pod says arrives" "$(cri run "$REGISTRY/exit:1" --pod-network --for 30)" '"output": "ran to the end'

# ns_of POD COMMAND...: in the network of its container.
ns_of() {
    local pid
    pid=$(sed -n 's/^ "pid": \([0-9]*\),*$/\1/p' <<<"$1")
    shift
    # the PID is that of containerd's namespace
    nsenter -t "$(_ctd_init "$(cat "$T/ctd/pid")" | tr -d ' ')" -m -p nsenter -t "$pid" -n -- "$@"
}
leases=$(find "$p/run/k3simg/cni" -type l -printf '%f\n' | sort)
check_eq "every pod has an address of its own, and the one that ended none" "$(wc -l <<<"$leases")" 2
addresses=$({ ns_of "$pod" cat /proc/net/fib_trie; ns_of "$other" cat /proc/net/fib_trie; } |
    awk '$2 ~ /^10\.88\./ && $2 !~ /\.0$/ { print $2 }' | sort -u)
check_eq "it is on its loopback device, which is up" "$addresses" "$leases"
if [ -n "${NO_CGROUPS:-}" ]; then
    # A container's: a pod's own has no such mount.
    bundle=$(find "$p/run/containerd/io.containerd.runtime.v2.task" -name config.json.k3simg \
        -exec grep -l '"type":"cgroup"' {} + | head -n 1)
    check_has "the front has kept what it was given" "$(basename "$bundle")" '^config.json.k3simg$'
    check "and has taken that out" "$PYTHON" -c 'import json, sys
was, now = json.load(open(sys.argv[1])), json.load(open(sys.argv[1][:-7]))
was["mounts"] = [m for m in was["mounts"] if m["type"] != "cgroup"]
was["linux"]["namespaces"] = [n for n in was["linux"]["namespaces"] if n["type"] != "cgroup"]
was["linux"].pop("resources", None)
was["process"]["oomScoreAdj"] = now["process"].get("oomScoreAdj")
now["process"].setdefault("oomScoreAdj", None)
if "sysctl" in was["linux"]:
    now["linux"].setdefault("sysctl", {})
    was["linux"]["sysctl"] = {k: v for k, v in was["linux"]["sysctl"].items() if k in now["linux"]["sysctl"]}
assert was == now, (was, now)' "$bundle"
fi
check_eq "the log of containerd has no complaint" "$(ctd_complaints ctd "loading cgroup for")" ""
# A shim without cgroups may be gone before it has answered that it killed a container.
remove_all() {
    cri remove-all || cri remove-all || cri remove-all
}
check "pods are removed" remove_all
ctd_stop
check_eq "no address is left" "$(find "$p/run/k3simg/cni" -type l)" ""

# Taken back: not what was edited since, unless asked to.
conflist=$p/etc/cni/net.d/10-k3simg.conflist
cp "$conflist" "$T/conflist"
echo >>"$conflist"
setup --undo
check_eq "--undo with an edited file: status" "$status" 1
check_has "--undo with an edited file: it stays" "$(cat "$T/out")" "^refused +$conflist\$"
check_eq "--undo with an edited file: the other ones do not" "$(cat "$config")" "version = 2
# mine"
cp "$T/conflist" "$conflist"
setup --undo
check_eq "--undo: status" "$status" 0
check "--undo: all is as before" diff "$T/before" <(tree)
setup --undo
check_eq "--undo again: status" "$status" 3

# Words that make no sense
for args in "--k3s" "--config-version 4" "-o yaml" "--pause it's" "word" "--runtime="; do
    # shellcheck disable=SC2086
    setup $args
    check_eq "usage error: $args" "$status" 2
done
check "nothing came of them" diff "$T/before" <(tree)

# k3s: no k3s here, so only what is written
"$K3SIMG" setup --prefix "$T/k3s" --k3s -o json >"$T/out" || fail "setup --k3s"
agent=$T/k3s/var/lib/rancher/k3s/agent/etc/containerd
check_has "--k3s: the template includes that of k3s" "$(cat "$agent/config-v3.toml.tmpl")" '^\{\{ template "base" \. \}\}$'
check_has "--k3s: the configuration" "$(cat "$T/k3s/etc/rancher/k3s/config.yaml.d/90-k3simg.yaml")" '^snapshotter: native$'
"$K3SIMG" setup --prefix "$T/k3s" --undo >"$T/out"
check_eq "--k3s: taken back" "$(find "$T/k3s" -mindepth 1)" ""

# The front without a runtime, or with itself as one
K3SIMG_RUNTIME=/no/such "$mine" oci-runtime --log "$T/log.json" create --bundle "$T" x >"$T/out" 2>"$T/err"
check_eq "no runtime: status" "$?" 3
check_has "no runtime: in the log, as runc has it" "$(cat "$T/log.json")" '"msg": "OCI runtime /no/such'
printf '#!/bin/sh\nexec %s oci-runtime "$@"\n' "$mine" >"$T/loop"
chmod 755 "$T/loop"
K3SIMG_RUNTIME=$T/loop "$mine" oci-runtime --version >"$T/out" 2>"$T/err"
check_eq "a loop ends: status" "$?" 2
check_has "a loop ends: the words" "$(cat "$T/err")" 'called by the OCI runtime that it called'
finish
