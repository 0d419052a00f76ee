#!/bin/bash
# The DaemonSet of packaging/kubernetes: its manifests are what they should be, and its pod, run as they
# say, fills a running containerd through the mirrors of the node, with the image made of the package.
# Once: the calls are those of live.sh, on both.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"
# shellcheck source=tests/lib/package.sh
. "$LIB/package.sh"

need_kubectl
debs=$(package_debs) || exit
image=$(package_image "$(echo "$debs"/deb/k3simg_*.deb)")/image.tar || exit
use_registry
root=$T/root

kubelet() {
    "$PYTHON" "$LIB/kubelet.py" "$@"
}
# of EXPRESSION FILE: over its JSON, called x.
of() {
    "$PYTHON" -c 'import json, sys
x = json.load(open(sys.argv[2]))
print(eval(sys.argv[1]))' "$1" "$2"
}
# manifests NAME IMAGE...: sets $yaml to those of a cluster that wants these images, as a user would write
# its kustomization.
manifests() {
    local dir=$T/cluster-$1
    yaml=$dir.yaml
    cp -r "$TOP/packaging/kubernetes" "$dir"
    printf '%s\n' "${@:2}" >"$dir/base/images.list"
    kubectl kustomize "$dir/base" >"$yaml"
}

# status_of PID: of a process of the node, as its containerd numbers it.
status_of() {
    nsenter -t "$(_ctd_init "$(cat "$T/node/pid")" | tr -d ' ')" -m -p cat "/proc/$1/status"
}

# ---- the manifests ----
kubectl kustomize "$TOP/packaging/kubernetes/base" >"$T/base.yaml"
check_eq "base: what it has" "$(kubelet check "$T/base.yaml" 2>&1 | tr -dc 'A-Za-z/,0-9-' | sed 's/-[a-z0-9]*,/,/')" \
    "ConfigMap/k3simg-images,DaemonSet/k3simg-preload,Namespace/k3simg,PriorityClass/k3simg,ServiceAccount/k3simg"
check_eq "its image is the one of this version" "$(grep -o 'image: .*' "$T/base.yaml" | sort -u)" \
    "image: localhost/k3simg:$(cat "$TOP/VERSION")"
mirrored=registry.test
manifests one "$mirrored/exit:1" "$mirrored/zstd:1@$(image_digest zstd:1)"
one=$yaml
manifests two "$mirrored/exit:1" "$mirrored/not-there:1"
check "another list is another pod" test "$(grep -o 'name: k3simg-images-.*' "$one" | sort -u)" != "$(grep -o 'name: k3simg-images-.*' "$yaml" | sort -u)"

# ---- its work ----
check "the image goes into the node" preload "$root" "oci-archive:$image"
mkdir -p "$T/certs.d/$mirrored"
printf '[host."http://%s"]\n  capabilities = ["pull", "resolve"]\n' "$REGISTRY" >"$T/certs.d/$mirrored/hosts.toml"
ctd_start "$CTD_VERSION" "$root" node || die "containerd $CTD_VERSION does not start"

# pod NAME: runs it; what it says is in $T/NAME.json.
pod() {
    kubelet start "$yaml" "$T/$1" "/var/lib/containerd=$root" "/etc/containerd/certs.d=$T/certs.d" \
        "/run/containerd/containerd.sock=$T/node/sock" >"$T/$1.json" 2>"$T/$1.err" || fail "$1: the pod starts" "$(cat "$T/$1.err")"
}
yaml=$one
pod one
check_eq "the init container has done its work" "$(of 'x["containers"][0]["exit_code"]' "$T/one.json")" 0
check_eq "and says so, one line an image" "$(of 'x["containers"][0]["output"].count("  live  ")' "$T/one.json")" 2
for name in exit:1 zstd:1; do
    check_has "CRI knows $name" "$(cri images)" "\"$mirrored/${name%:*}@$(image_digest $name)\""
done
check_has "exit:1 is unpacked, and runs" "$(cri run "$mirrored/exit:1" --for 30)" '"output": "ran to the end'
check_eq "all are complete, unpacked and pinned" "$(ctd_ctr node images check --snapshotter native | grep "^$mirrored/" |
    grep -vc ' complete .* true *$') $(ctd_ctr node images ls | grep "^$mirrored/" | grep -vc 'io.cri-containerd.pinned=pinned')" "0 0"
check_eq "the sleeper runs" "$(of 'x["containers"][1]["state"]' "$T/one.json")" running
pid=$(of 'x["containers"][1]["pid"]' "$T/one.json")
check_eq "with no capability, new privilege or free system call" "$(status_of "$pid" |
    awk '/^(CapEff|CapBnd|NoNewPrivs|Seccomp):/ { printf "%s ", $2 }')" "0000000000000000 0000000000000000 1 2 "
took=$(kubelet stop "$(of 'x["pod"]' "$T/one.json")")
check "it ends when it is told to ($took s)" test "${took%.*}" -lt 5

yaml=$T/cluster-two.yaml
pod two
check_eq "an image that is nowhere: the init container fails" "$(of 'x["containers"][0]["exit_code"]' "$T/two.json")" 9
check_has "and says which" "$(of 'x["containers"][0]["output"]' "$T/two.json")" "$mirrored/not-there:1"
cri remove-all >"$T/removed"
check "nothing is left half done" "$K3SIMG" verify --root "$root"
check_eq "nothing that containerd calls an error" "$(ctd_complaints node)" ""
ctd_stop node
finish
