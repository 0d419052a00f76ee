#!/bin/bash
# Every command that README.md shows, run as it is written there, on a machine as a reader has it: the
# program installed, its registries reached through mirrors, containerd with its usual places.
# Once: the machine's own containerd is the one that a reader has.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

# ---- the commands ----
# shown: the commands of the blocks, without their comments; the pictures, which begin with "#", are none.
shown() {
    awk '/^```/ { inside = !inside; first = 1; next }
        inside && first { picture = /^#/; first = 0 }
        inside && !picture && NF' "$TOP/README.md" | sed 's/  *#.*$//'
}
# inline: those in the running text; of others the text only names a part.
# shellcheck disable=SC2016
inline() {
    tr '\n' ' ' <"$TOP/README.md" | grep -o '`[^`]*`' | tr -d '`' | grep -E '^(k3simg|man|kubectl) .'
}
shown >"$T/shown"
inline >"$T/inline"
check "there are dozens" test "$(cat "$T/shown" "$T/inline" | wc -l)" -ge 25

# ---- the first of them ----
# On its own meanwhile.  It is for people, who have no variables of the tests.
(cd "$TOP" && exec env -u K3SIMG -u CTD_VERSION ./demo) >"$T/demo.log" 2>&1 </dev/null &
demo=$!
at_exit eval "kill $demo 2>/dev/null"

# ---- what they speak of ----
registry_start -s "$T/storage"
layout=$(images_storage)/oci
# put IMAGE NAME: as it is called in the registry that it is known from.
put() {
    skopeo --insecure-policy copy -q --dest-tls-verify=false "oci:$layout:$1" "docker://$REGISTRY/$2"
}
box=$T/box
mkdir -p "$box"/{containerd,etc-containerd,etc-cni,opt,local,srv,work}
for host in docker.io ghcr.io registry.k8s.io myreg:5000; do
    mkdir -p "$box/etc-containerd/certs.d/$host"
    printf '[host."http://%s"]\n  capabilities = ["pull", "resolve"]\n' "$REGISTRY" \
        >"$box/etc-containerd/certs.d/$host/hosts.toml"
done
put nginx:7 library/nginx:1.27
put exit:1 org/app:v1
put static:1 app:v2
# What Debian's containerd asks for by itself, not what newer ones do.
put rancher/mirrored-pause:3.6 pause:3.6
put rancher/mirrored-pause:3.6 rancher/mirrored-pause:3.6
(
    cd "$box/work" || exit
    skopeo --insecure-policy copy -q "oci:$layout:docker2:1" docker-archive:airgap.tar:example.org/airgap:1
    zstd -q --rm airgap.tar -o k3s-airgap-images-amd64.tar.zst
    skopeo --insecure-policy copy -q "oci:$layout:multi:1" oci:layout:example.org/multi:1
    printf '%s\n' nginx:1.27 ghcr.io/org/app:v1 >images.list
    cat >pod.yaml <<'YAML'
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
  - name: nginx
    image: nginx:1.27
    imagePullPolicy: IfNotPresent
YAML
)

# ---- the machine ----
# It is this one, but for the places that the commands write to.
for place in /var/lib/containerd /etc/cni; do
    [ -d $place ] || { mkdir $place && at_exit rmdir $place; }
done
cat >"$T/machine" <<'MACHINE'
while read -r from to; do
    mount --bind "$box/$from" "$to" || exit
done <<'PLACES'
containerd /var/lib/containerd
etc-containerd /etc/containerd
etc-cni /etc/cni
opt /opt
local /usr/local
srv /srv
PLACES
export HOME=$box/work PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset K3SIMG MANPATH
# "verify --start" is for a containerd that runs; doing without one is what the others are for.
start_containerd() {
    local i
    (cd / && exec containerd >"$box/containerd.log" 2>&1 </dev/null) &
    for ((i = 0; i < 200; i++)); do
        ctr version >/dev/null 2>&1 && return
        sleep 0.1
    done
}
n=0
while read -r line <&3; do
    n=$((n + 1))
    case $line in
    make*) cd "$top" ;;
    *) cd "$box/work" ;;
    esac
    [[ $line != *" --start "* ]] || start_containerd
    bash -c "$line" >"$out/$n.out" 2>"$out/$n.err" </dev/null
    echo $? >"$out/$n.status"
done 3<"$1"
MACHINE

# run_all FILE: its commands, one after the other; their results are $T/out/N.*
run_all() {
    mkdir -p "$T/out"
    (
        export box top=$TOP out=$T/out
        enter "" "" bash "$T/machine" "$1"
    ) >"$T/machine.log" 2>&1 || fail "the machine runs" "$(cat "$T/machine.log")"
}

# The first two are this test itself, and what the last part runs; `make deb` is run by package.sh, as
# the cluster's command by daemonset.sh, as far as it goes without an API server.
grep -vE '^(\./(demo|test)|make deb|kubectl .*|apt-get .*)$' "$T/shown" >"$T/commands"
# Before all else: what the reader has to install is what the build knows.
# shellcheck disable=SC2086
check_eq "apt-get: the packages of the build" "$(sed -n 's/^apt-get install //p' "$T/shown" | tr ' ' '\n' | sort)" \
    "$(printf '%s\n' $BUILD_PACKAGES | grep -v '^libc6-dev$' | sort)"
for word in 'make deb' 'kubectl apply -k packaging/kubernetes/base'; do
    check_has "$word: still named" "$(cat "$T/shown" "$T/inline")" "^$word$"
done
# Credentials are asked for: login.sh does that.
grep -vE '^(kubectl .*|k3simg login)$' "$T/inline" >>"$T/commands"
run_all "$T/commands"

n=0
while read -r line; do
    n=$((n + 1)) wanted=0
    status=$(cat "$T/out/$n.status")
    # What doctor finds on this machine may well stop pods of other kinds.
    [[ $line != "k3simg doctor" ]] || { [ "$status" = 10 ] && wanted=10; }
    check_eq "$line" "$status $([ "$status" = $wanted ] || tail -n 3 "$T/out/$n.err")" "$wanted "
done <"$T/commands"
# said COMMAND: what it printed.
said() {
    cat "$T/out/$(grep -nF -m 1 -- "$1" "$T/commands" | cut -d: -f1).out"
}
check_eq "list: the images of registries, archives, layouts" "$(said "k3simg list" | awk 'NR > 1 { print $1 ":" $2, $(NF - 1), $NF }')" \
    "$(printf '%s yes yes\n' docker.io/library/nginx:1.27 example.org/airgap:1 example.org/multi:1 ghcr.io/org/app:v1 \
        registry.k8s.io/pause:3.6)"
check_has "verify --start: it does" "$(said "k3simg verify --start")" "^nginx:1.27 started in "
check_eq "the other root has its own" "$(names "$box/srv/agent/containerd" | tail -n 1)" myreg:5000/app:v2

wait $demo
check_eq "./demo: status" $? 0
check_has "./demo: the page of a pod that runs offline" "$(cat "$T/demo.log")" '<h1>k3simg test page</h1>'
finish
