#!/bin/bash
# Inside a real gVisor, on its gofer file system: preload out of archives, the trees as outside but
# for what is reported, and a pod that runs in containerd 2.1 with the stock crun.
# SANDBOX=full (make test-sandbox): also without directfs, with shared file access, with the stock
# runc 1.1 and cgroups of version 1, and the table of times; SANDBOX="FORM..." only those.
# Once: containerd 2.1 is the one inside.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"
# shellcheck source=tests/lib/gvisor.sh
. "$LIB/gvisor.sh"

bundle=$T/sandbox out=$T/sandbox/root/srv/out
CTD_VERSION=2.1

# archive FILE NAME: one test image as registry.test/NAME, for the sandbox.
archive() {
    skopeo --insecure-policy copy -q "oci:$(images_storage)/oci:$2" \
        "oci-archive:$bundle/root/srv/images/$1.tar:registry.test/$2" || die "skopeo cannot write $1.tar"
}

# job LINE...: what the sandbox is to do next.
job() {
    printf '%s\n' "ROOT=/var/lib/containerd" \
        'PRELOAD="oci-archive:/srv/images/nginx.tar oci-archive:/srv/images/pause.tar"' "$@" >"$bundle/root/srv/job"
}

said() {
    cat "$out/$1" 2>/dev/null
}

# same_trees NAME: each tree is the one that containerd makes outside.
same_trees() {
    local id dir image trees=0
    for id in $(said trees); do
        dir=$bundle/root/var/lib/containerd/io.containerd.snapshotter.v1.native/snapshots/$id
        image=rancher/mirrored-pause:3.6
        [ ! -e "$dir/usr/sbin/nginx" ] || image=nginx:7
        check "$1: the tree of $image is the one from outside, but for the losses reported" \
            "$TOP/tests/sandbox/compare.py" "$dir" "$(reference_tree "$image")" "$out/preload.out" "registry.test/$image" "$out/fifos"
        trees=$((trees + 1))
    done
    check_eq "$1: trees" "$trees" 2
}

# pod NAME: what verify --start said.
pod() {
    check_eq "$1: the pod runs" "$(said start.status) $(grep -c '"started": true' "$out/start.out")" "0 1"
    [ "$(said start.status)" = 0 ] || tail -n 5 "$out/start.err" "$out/containerd.log"
    check_has "$1: and is removed" "$(said start.err)" '^removed '
}

# variant NAME ACTIONS RUNTIME [FLAG...]: one sandbox from an empty root to a pod.
variant() {
    local name=$1
    rm -rf -- "$bundle/root/var/lib/containerd"
    job "ACTIONS='$2'" "RUNTIME='$3'"
    shift 3
    sandbox_run "$bundle" "$name" "$@" || [ -s "$out/status" ] || fail "$name: the sandbox runs" "$(cat "$bundle/$name.log")"
    check_eq "$name: preload" "$(said preload.status)" 0
    check_eq "$name: one line about losses" "$(grep -c '^warning: ' "$out/preload.err")" 1
    check_has "$name: which counts them" "$(said preload.err)" \
        '^warning: registry.test/nginx:7: the file system refused [0-9]+ xattrs, 2 devices; -v lists them'
    same_trees "$name"
    pod "$name"
    printf '%s: preload %s ms, pod %s ms\n' "$name" "$(said preload.ms)" "$(said start.ms)"
}

# table: each image by us and by containerd, in the same sandbox; the files are in its cache.
# containerd is given up at LIMIT times our time.
table() {
    local images=${TABLE_IMAGES:-"nginx:7:8 layers:32:30"} image name layers wanted ours theirs actions="warm" limit=32
    for image in $images; do
        name=${image%%:*}
        actions="$actions preload-$name import-$name"
    done
    job "ACTIONS='$actions'" "LIMIT=$limit"
    printf '#!/bin/sh\ncat /srv/images/*.tar >/dev/null\n' >"$bundle/root/srv/warm"
    chmod 755 "$bundle/root/srv/warm"
    sandbox_run "$bundle" table
    printf '| image in gVisor (systrap) | k3simg preload | ctr images import --local --snapshotter native | ratio |\n|---|---|---|---|\n'
    for image in $images; do
        IFS=: read -r name layers wanted <<<"$image"
        check_eq "table: preload of $layers layers" "$(said "preload-$name.status")" 0
        check_has "table: import of $layers layers ends or is given up" "$(said "import-$name.status")" '^(0|124)$'
        ours=$(said "preload-$name.ms") theirs=$(said "import-$name.ms")
        printf '| %s layers | %s ms | %s ms%s | %s |\n' "$layers" "$ours" "$theirs" \
            "$([ "$(said "import-$name.status")" = 0 ] || echo ', given up')" "$((theirs / ours))"
        check "table: $layers layers are at least $wanted times faster" test "$theirs" -ge "$((ours * wanted))"
    done
}

"$K3SIMG" preload --on-loss xattr=never registry.test/x >"$T/out" 2>&1
check_eq "a policy that is none" "$? $(head -n 1 "$T/out")" '2 k3simg: error: --on-loss: "xattr=never" is no policy'
sandbox_make "$bundle" || die "no bundle for the sandbox"
mkdir -p "$bundle/root/srv/images"
job "ACTIONS=''"
if ! SANDBOX_TIMEOUT=60 sandbox_run "$bundle" empty; then
    skip "gVisor" "runsc does not run on this machine: $(tail -n 1 "$bundle/empty.log" | cut -c1-200)"
    printf '0 passed, 0 failed, 1 skipped\n'
    exit 0
fi
archive nginx nginx:7
archive pause rancher/mirrored-pause:3.6
crun="/usr/bin/crun --cgroup-manager=disabled"
forms=${SANDBOX:-systrap}
[ "$forms" != full ] || forms="systrap nodirectfs shared runc table"
for form in $forms; do
    case $form in
    systrap)
        variant systrap "strict preload start" "$crun"
        check_eq "systrap: --on-loss fail is a failure" "$(said strict.status)" 7
        check_has "systrap: which names what was refused" "$(said strict.err)" \
            'registry.test/nginx:7: .*: extended attribute [a-z.]+ was refused: Operation not supported'
        check_eq "systrap: and nothing of the image is there" "$(said strict.left)" 0
        ;;
    nodirectfs) variant nodirectfs "preload start" "$crun" --directfs=false ;;
    shared) variant shared "preload start" "$crun" --file-access=shared ;;
    ptrace) SANDBOX_PLATFORM=ptrace variant ptrace "preload start" "$crun" ;;
    runc)
        cp -- /usr/sbin/runc "$bundle/root/usr/bin/runc-1.1"
        variant runc "cgroup preload start" /usr/bin/runc-1.1
        ;;
    table)
        archive layers layers:32
        SANDBOX_TIMEOUT=3600 table
        ;;
    *) die "SANDBOX=$form: systrap, nodirectfs, shared, ptrace, runc, table or full" ;;
    esac
done
finish
