#!/bin/bash
# Pods that are broken on purpose: explain names what is wrong with each, nothing else, and its
# fix, applied to the letter, makes the cause go.  What it says of some is what a real pod does.
# Once: verdicts hang on no containerd's version.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
PATH=$(dirname -- "$K3SIMG"):$PATH
"$PYTHON" "$LIB/unfit.py" >"$T/unfit.port" &
at_exit kill $!
for ((i = 0; i < 200; i++)); do
    [ ! -s "$T/unfit.port" ] || break
    sleep 0.05
done
unfit=127.0.0.1:$(cat "$T/unfit.port")
cd "$T" || exit
V3=io.containerd.cri.v1
foreign=arm64
[ "$(uname -m)" != aarch64 ] || foreign=amd64

# machine DIR: its configuration, and the paths of its root.
machine() {
    mkdir -p "$1/etc/containerd" "$1/var/lib/kubelet"
    m=$T/$1 root=$T/$1/var/lib/containerd
    echo 'kind: KubeletConfiguration' >"$1/var/lib/kubelet/config.yaml"
    cat >"$1/etc/containerd/config.toml" <<END
version = 3
[plugins.'$V3.images']
  snapshotter = "native"
[plugins.'$V3.images'.pinned_images]
  sandbox = "$PAUSE"
END
    meta=$root/io.containerd.metadata.v1.bolt/meta.db
    blobs=$root/io.containerd.content.v1.content/blobs/sha256
}

# pod: a manifest of one container; standard input is what it says beside its image $1.
pod() {
    printf 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: test\nspec:\n  containers:\n  - name: main\n    image: %s\n' "$1" >pod.yaml
    sed 's/^/    /' >>pod.yaml
}

# cause NAME CAUSE SEVERITY ARGS...: on the machine $m.
cause() {
    check "$1: $2" "$PYTHON" "$LIB/explain.py" "$2" "$3" "$K3SIMG" explain --sysroot "$m" "${@:4}"
}
text() {
    "$K3SIMG" explain --sysroot "$m" "$@" 2>&1
}

machine sound
# shellcheck disable=SC2046
check "a sound machine is made" "$K3SIMG" preload -q --root "$root" --pause "$PAUSE" \
    $(refs exit:1) $(for name in foreign text interpreter loader nothing user group workdir; do echo "$unfit/$name:1"; done)
image=$REGISTRY/exit:1
before=$(store_state "$root")

pod "$image" </dev/null
check_eq "a pod that would start" "$(text pod.yaml; echo "$?")" "$image (Pod test, container main): would start
0"
check_eq "an image that would start" "$(text "$image"; echo "$?")" "$image: would start
0"
check_has "the name that the kubelet asks for" "$(text exit)" '^  the kubelet asks for docker.io/library/exit:latest$'
check_has "a verdict with a fix" "$(text "$REGISTRY/exit:2")" "^         fix:  k3simg preload --root $root --pause none $REGISTRY/exit:2\$"
check_has "... and its count" "$(text "$REGISTRY/exit:2")" "^$REGISTRY/exit:2: would not start: 1 cause\$"

# ---- what a pod says -------------------------------------------------------

pod "$image" <<<'imagePullPolicy: Always'
cause "it is pulled each time" pull-always stops pod.yaml
pod "$image" <<<'imagePullPolicy: always'
cause "a policy that there is not" pull-policy stops pod.yaml
pod "${image%:1}" </dev/null
ALSO=tag STILL=tag cause "no tag and no policy" pull-latest stops pod.yaml
printf '{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "%s:latest"}]}}' "${image%:1}" >pod.json
ALSO=tag STILL=tag cause "latest and no policy, in JSON" pull-latest stops pod.json
pod "$REGISTRY/Exit:1" </dev/null
cause "capital letters in the name" name stops pod.yaml
pod "$REGISTRY/exot:1" </dev/null
cause "a name that is spelt wrong" spelling stops pod.yaml
pod quay.io/exit:1 </dev/null
cause "another registry" registry stops pod.yaml
printf 'apiVersion: v1\nkind: Pod\nspec:\n  runtimeClassName: kata\n  containers: [{image: %s}]\n' "$image" >pod.yaml
cause "a runtime class without a runtime" runtime-class stops pod.yaml
printf 'apiVersion: v1\nkind: Pod\nspec:\n  nodeSelector: {kubernetes.io/arch: s390x}\n  containers: [{image: %s}]\n' "$image" >pod.yaml
cause "a node of another architecture" node-arch stops pod.yaml
printf 'apiVersion: v1\nkind: Pod\nspec:\n  os: {name: windows}\n  containers: [{image: %s}]\n' "$image" >pod.yaml
cause "a node of another system" node-os stops pod.yaml
pod "$image" <<<'command: ["/usr/bin/sh", "-c", "true"]'
cause "a program that is elsewhere" program stops pod.yaml
pod "$image" <<<'command: ["sleep", "1"]
env: [{name: PATH, value: /usr/bin}]'
cause "a program that is not in the pod's PATH" program stops pod.yaml
pod "$image" <<<'command: [/bin]'
cause "a directory as program" program-file stops pod.yaml
pod "$image" <<<'command: ["/etc/passwd"]'
cause "a file that is not executable" program-mode stops pod.yaml
pod "$image" <<<'workingDir: /etc/passwd'
cause "a file as working directory" workdir stops pod.yaml
pod "$image" <<<'securityContext:
  runAsNonRoot: true'
cause "root, and runAsNonRoot" non-root stops pod.yaml
pod "$image" <<<'securityContext: {runAsNonRoot: true, runAsUser: 0}'
cause "runAsUser 0, and runAsNonRoot" non-root stops pod.yaml
pod "$image" <<<'command: [/data/run]
volumeMounts: [{name: v, mountPath: /data}]'
cause "a program in a volume" volume note pod.yaml
printf 'apiVersion: v1\nkind: Pod\nspec:\n  imagePullSecrets: [{name: key}]\n  containers: [{image: %s}]\n' "$image" >pod.yaml
cause "secrets for a registry" pull-secrets note pod.yaml

# ---- what an image says ----------------------------------------------------

while read -r name id severity; do
    pod "$unfit/$name:1" </dev/null
    cause "an unfit image, $name" "$id" "$severity" pod.yaml
done <<'END'
foreign program-machine stops
text program-format stops
interpreter interpreter stops
loader loader stops
nothing no-command stops
user user stops
group group warns
workdir workdir stops
END
pod "$unfit/user:1" <<<'securityContext: {runAsNonRoot: true}'
ALSO=user cause "a name as user, and runAsNonRoot" non-root stops pod.yaml

# Several containers: each has its verdict.
cat >pods.yaml <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {initContainers: [{name: a, image: "$image"}], containers: [{name: b, image: none}]}}}
---
apiVersion: v1
kind: Pod
spec: {containers: [{name: c, image: "$unfit/user:1", securityContext: {runAsUser: 7}}]}
END
check_eq "a verdict for each container" "$(text -q - <pods.yaml | grep -v '^ ')" "$image (Deployment web, init container a): would start
none (Deployment web, container b): would not start: 2 causes
$unfit/user:1 (Pod, container c): would start"
check_eq "explain changes nothing" "$(store_state "$root")" "$before"

# ---- what the store has ----------------------------------------------------

cause "no such image" absent stops "$REGISTRY/zstd:1"
pod "$REGISTRY/static:1" <<<'imagePullPolicy: Never'
ALSO=absent cause "Never, and no such image" pull-never stops pod.yaml
NOFIX=1 cause "another tag" tag stops "$REGISTRY/exit:2"
digest=$(image_digest exit:1)
NOFIX=1 cause "another digest" other-digest stops "$image@sha256:$(printf '%064d' 7)"
cause "the same digest of another repository" same-image stops "$REGISTRY/other@$digest"
check "an image for another platform is stored" "$K3SIMG" preload -q --root "$root" --pause none --platform "linux/$foreign" "$REGISTRY/multi:1"
cause "an image for another platform" platform stops "$REGISTRY/multi:1"
sed -i 's/= "native"/= "overlayfs"/' "$m/etc/containerd/config.toml"
ALSO=snapshotter cause "CRI uses another snapshotter" other-snapshotter warns "$image"

machine broken
fresh() {
    rm -rf --one-file-system -- "$root"
    if [ $# = 0 ] && [ -d whole ]; then
        cp -a whole "$root"
        return
    fi
    "$K3SIMG" preload -q --root "$root" "$@" --pause "$PAUSE" "$image" >/dev/null || die "no preload"
    [ $# != 0 ] || cp -a "$root" whole
}
manifest=${digest#sha256:}
fresh --no-pin
ALSO=pause cause "images are not pinned" collected warns "$image"
fresh
rm "$blobs/$manifest"
cause "the manifest is gone" document stops "$image"
printf x >>"$blobs/$manifest"
cause "the manifest is damaged" document stops "$image"
printf '%*s' "$(stat -c %s "$blobs/$manifest")" '' | dd of="$blobs/$manifest" conv=notrunc status=none
cause "the manifest has other bytes" damaged stops "$image"
for tree in "$root"/io.containerd.snapshotter.v1.native/snapshots/*; do
    [ ! -e "$tree/bin/busybox" ] || rm -r "$tree"
done
cause "the snapshot's directory is gone" snapshot stops "$image"
edit() { "$EDIT" "$meta" "$1" v1 k8s.io "${@:2}"; }
EDIT=$(bbolt_editor) || exit 99
chain=$(sed 's/.*"diff_ids":\["\([^"]*\)".*/\1/' "$blobs/$(sed 's/.*"config":{[^}]*"digest":"sha256:\([0-9a-f]*\)".*/\1/' "$blobs/$manifest")")
fresh
edit delete snapshots native "$chain"
cause "it is not unpacked" not-unpacked warns "$image"
fresh
edit delete snapshots native "$chain"
layer=$(sed 's/.*"layers":\[{[^}]*"digest":"sha256:\([0-9a-f]*\)".*/\1/' "$blobs/$manifest")
rm "$blobs/$layer"
cause "it is not unpacked and has no layers" layers stops "$image"
fresh
# A record as ctr makes one of a short name; its size is a number as Go writes them.
edit put images exit:1 target digest "$digest"
edit put images exit:1 target mediatype application/vnd.oci.image.manifest.v1+json
edit put images exit:1 target size "$("$PYTHON" -c 'import sys
n, out = 2 * int(sys.argv[1]), ""
while n > 127:
    n, out = n >> 7, out + "\\x%02x" % (n & 127 | 128)
print(out + "\\x%02x" % n)' "$(stat -c %s "$blobs/$manifest")")"
"$K3SIMG" tag --help >/dev/null 2>&1 || export NOFIX=1
ALSO="unmanaged collected" cause "a name that is not written in full" not-normal stops exit:1
ALSO="unmanaged collected" cause "another registry, without a manifest" registry stops quay.io/exit:1
unset NOFIX
edit delete images "$image" labels io.cri-containerd.image
cause "CRI does not know it" unmanaged warns "$image"
edit delete images "$image" target
NOFIX=1 cause "a record without a target" record stops "$image"
fresh -n default
"$K3SIMG" preload -q --root "$root" --pause "$PAUSE" "$PAUSE" >/dev/null
cause "another namespace has it" namespace stops "$image"
machine none
mkdir -p "$root/io.containerd.metadata.v1.bolt"
echo "no database" >"$root/io.containerd.metadata.v1.bolt/meta.db"
STILL="pause absent" cause "the store is none" root stops "$image"
rm -r "$root"
ALSO=pause STILL=pause cause "there is no store yet" absent stops "$image"
cause "there is no pause image" pause stops "$image"

# ---- the command line ------------------------------------------------------

usage() {
    "$K3SIMG" explain --sysroot "$m" "${@:3}" >out 2>err </dev/null
    check_eq "$1: status" "$?" 2
    check_has "$1: the words" "$(cat err)" "error: .*$2"
    check_eq "$1: nothing else" "$(cat out)" ""
}
usage "nothing to explain" "nothing to explain"
usage "a manifest that is not there" "no-pod.yaml" no-pod.yaml
usage "standard input twice" "only once" - -
usage "no pods" "no container of a pod" -
usage "another format" "text or json" -o xml a
echo 'a: [' >bad.yaml
"$K3SIMG" explain --sysroot "$m" bad.yaml >out 2>err
check_eq "no YAML: status" "$?" 6
check_has "no YAML: file and line" "$(cat err)" 'error: bad.yaml: line 2'
check_has "--help lists the causes" "$("$K3SIMG" explain --help)" '^  loader-machine '
printf '#!/bin/sh\nkind: \033[2J\n' >escape.yaml
check_eq "nothing drives a terminal" "$("$K3SIMG" explain --sysroot "$m" escape.yaml $'a\033[2J' 2>&1 | grep -c $'\033')" 0

# ---- a real pod ------------------------------------------------------------

# as_real NAME IMAGE CAUSE: what explain finds is why the pod does not start ("" = it starts).
as_real() {
    local found real
    found=$("$K3SIMG" explain -q -o json --root "$root" --containerd-config "$T/ctd/config.toml" "$2" |
        "$PYTHON" -c 'import json, sys
print(*[c["id"] for c in json.load(sys.stdin)["containers"][0]["causes"]])')
    check_eq "$1: explain" "$found" "$3"
    "$K3SIMG" verify --start --run-for 0s --address "$CRI_SOCKET" --containerd-config "$T/ctd/config.toml" "$2" >out 2>&1
    real=$?
    check_eq "$1: a real pod" "$real" "$([ -z "$3" ] && echo 0 || echo 10)"
}
root=$T/sound/var/lib/containerd
if ctd_start "$CTD_VERSION" "$root"; then
    as_real "an image that starts" "$image" ""
    as_real "an unknown user" "$unfit/user:1" user
    as_real "nothing to run" "$unfit/nothing:1" no-command
    as_real "no such image" "$REGISTRY/none:1" absent
    ctd_stop
else
    fail "containerd starts"
fi
finish
