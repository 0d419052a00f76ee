#!/bin/bash
# Inside a real gVisor, on its gofer file system: the session hook (setup, preload out of archives),
# the trees as outside but for what is reported, and pods that run in containerd 2.1 with the stock
# crun.  SANDBOX chooses forms: "all" is also without directfs, with shared file access, and with
# the stock runc 1.1 and cgroups of version 1 (make test-sandbox); "table" compares times,
# "threads" those of threads.
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
    printf '%s\n' "ROOT=/var/lib/containerd" "$@" >"$bundle/root/srv/job"
}

said() {
    cat "$out/$1" 2>/dev/null
}

# image_of DIR: the image that a tree is of.
image_of() {
    if [ -e "$1/usr/sbin/nginx" ]; then
        echo nginx:7
    elif [ -e "$1/bin/busybox" ]; then
        echo exit:1
    else
        echo rancher/mirrored-pause:3.6
    fi
}

# same_trees NAME: each tree is the one that containerd makes outside.
same_trees() {
    local id dir image trees=0
    for id in $(said trees); do
        dir=$bundle/root/var/lib/containerd/io.containerd.snapshotter.v1.native/snapshots/$id
        image=$(image_of "$dir")
        check "$1: the tree of $image is the one from outside, but for the losses reported" \
            "$TOP/tests/sandbox/compare.py" "$dir" "$(reference_tree "$image")" "$out/hook.out" "registry.test/$image" "$out/fifos"
        trees=$((trees + 1))
    done
    check_eq "$1: trees" "$trees" 3
}

# pods NAME: what verify --start said.
pods() {
    check_eq "$1: the pod runs" "$(said start.status) $(grep -c '"started": true' "$out/start.out")" "0 1"
    [ "$(said start.status)" = 0 ] || tail -n 5 "$out/start.err" "$out/containerd.log"
    check_has "$1: and is removed" "$(said start.err)" '^removed '
    check_eq "$1: so are its processes" "$(said processes | grep -c nginx)" 0
    check_eq "$1: a pod with a network of its own runs" \
        "$(said network.status) $(grep -c '"started": true' "$out/network.out")" "0 1"
    [ "$(said network.status)" = 0 ] || tail -n 5 "$out/network.err" "$out/containerd.log"
}

# findings FILE [STATE...]: the checks of a doctor's report in these states; with "setup" only those
# that setup is said to put right.
findings() {
    "$PYTHON" -c 'import json, sys
wanted = set(sys.argv[2:])
for c in json.load(open(sys.argv[1]))["checks"]:
    if c["state"] in wanted and ("setup" not in wanted or c.get("fix", {}).get("setup")):
        print(c["id"])' "$out/$1" "${@:2}" | sort | xargs
}

# variant NAME ACTIONS SETUP [FLAG...]: one sandbox from an empty root to pods.
variant() {
    local name=$1
    rm -rf -- "$bundle/root/var/lib/containerd"
    job "ACTIONS='$2'" "SETUP='$3'"
    shift 3
    sandbox_run "$bundle" "$name" "$@" || [ -s "$out/status" ] || fail "$name: the sandbox runs" "$(cat "$bundle/$name.log")"
    check_eq "$name: the session hook" "$(said hook.status)" 0
    [ "$(said hook.status)" = 0 ] || tail -n 5 "$out/hook.err"
    check_eq "$name: again" "$(said again.status)" 0
    check_has "$name: where nothing is left to set up" "$(said again.err)" '^nothing to do: all is in place'
    check "$name: or to preload" "$PYTHON" -c 'import json, sys
assert {i["status"] for i in json.load(open(sys.argv[1]))["images"]} == {"up-to-date"}' "$out/again.out"
    check "$name: which is done in seconds" test "$(said again.ms)" -lt 10000
    check_eq "$name: one line about losses" "$(grep -c '^warning: ' "$out/hook.err")" 1
    check_has "$name: which counts them" "$(said hook.err)" \
        '^warning: registry.test/nginx:7: the file system refused [0-9]+ xattrs, 2 devices; -v lists them'
    same_trees "$name"
    pods "$name"
    printf '%s: hook %s ms, again %s ms, pod %s ms\n' "$name" "$(said hook.ms)" "$(said again.ms)" "$(said start.ms)"
}

# advice: what doctor said, before and after.
advice() {
    check_eq "doctor names what stops pods here" "$(findings doctor-before.out error)" \
        "cgroups cni-config kernel-gate pause procfs snapshotter"
    check_eq "and after the hook nothing" "$(said doctor-after.status) $(findings doctor-after.out error)" "0 "
    check_eq "nor anything else that setup is for" "$(findings doctor-after.out setup warning error)" ""
    # shellcheck disable=SC2016
    check_has "mount propagation, which no file settles, has a command" \
        "$("$PYTHON" -c 'import json, sys
print([c["fix"]["command"] for c in json.load(open(sys.argv[1]))["checks"] if c["id"] == "propagation"])' "$out/doctor-after.out")" \
        'mount --make-rshared /'
    check_eq "k3s: setup" "$(said k3s.status)" 0
    check_has "k3s: /dev/kmsg is there" "$(said kmsg)" '/dev/kmsg -> /dev/null'
    check_eq "k3s: nothing that setup is for is left" "$(findings doctor-k3s.out setup warning error)" ""
}

# table: each image by us and by containerd, in the same sandbox; the files are in its cache.
# containerd is given up at LIMIT times our time, with the trees that it has made until then.
table() {
    local images=${TABLE_IMAGES:-"nginx:7:8 layers:32:30"} image name layers wanted ours theirs ended actions="warm" limit=31
    for image in $images; do
        name=${image%%:*}
        actions="$actions flat-$name import-$name chain-$name"
    done
    job "ACTIONS='$actions'" "LIMIT=$limit"
    printf '#!/bin/sh\ncat /srv/images/*.tar >/dev/null\n' >"$bundle/root/srv/warm"
    chmod 755 "$bundle/root/srv/warm"
    sandbox_run "$bundle" table
    printf '| layers | k3simg preload | with --snapshots chain | ctr images import --local --snapshotter native | ratio |\n|---|---|---|---|---|\n'
    for image in $images; do
        IFS=: read -r name layers wanted <<<"$image"
        check_eq "table: preload of $layers layers" "$(said "flat-$name.status") $(said "chain-$name.status")" "0 0"
        check_has "table: import of $layers layers ends or is given up" "$(said "import-$name.status")" '^(0|124)$'
        ours=$(said "flat-$name.ms") theirs=$(said "import-$name.ms") ended=""
        [ "$(said "import-$name.status")" = 0 ] || ended=", not finished: $(said "import-$name.trees") trees"
        printf '| %s | %s ms | %s ms, %s trees | %s ms%s | %s%s |\n' "$layers" "$ours" "$(said "chain-$name.ms")" \
            "$(said "chain-$name.trees")" "$theirs" "$ended" "${ended:+more than }" "$((theirs / ours))"
        check "table: $layers layers are at least $wanted times faster" test "$theirs" -ge "$((ours * wanted))"
    done
}

# threads NAME [FLAG...]: what files and links cost that several threads make.
threads() {
    gcc -O2 -static -pthread -o "$bundle/root/srv/create" "$TOP/tests/sandbox/create.c" || die "no create"
    printf '#!/bin/sh\nmkdir /var/threads && /srv/create /var/threads 2000; rm -r /var/threads\n' >"$bundle/root/srv/threads"
    chmod 755 "$bundle/root/srv/threads"
    job "ACTIONS=threads"
    sandbox_run "$bundle" "threads-$1" "${@:2}"
    check_eq "threads, $1" "$(said threads.status)" 0
    said threads.out
}

"$K3SIMG" preload --on-loss xattr=never registry.test/x >"$T/out" 2>&1
check_eq "a policy that is none" "$? $(head -n 1 "$T/out")" '2 k3simg: error: --on-loss: "xattr=never" is no policy'
sandbox_make "$bundle" || die "no bundle for the sandbox"
cp -- "$TOP/packaging/session-hook.sh" "$bundle/root/srv/session-hook" && mkdir -p "$bundle/root/srv/images"
job "ACTIONS=''"
if ! SANDBOX_TIMEOUT=60 sandbox_run "$bundle" empty; then
    skip "gVisor" "runsc does not run on this machine: $(tail -n 1 "$bundle/empty.log" | cut -c1-200)"
    printf '0 passed, 0 failed, 1 skipped\n'
    exit 0
fi
archive nginx nginx:7
archive pause rancher/mirrored-pause:3.6
archive exit exit:1
printf 'oci-archive:/srv/images/%s.tar\n' nginx pause exit >"$bundle/root/srv/images.list"
forms=${SANDBOX:-systrap}
[ "$forms" != all ] || forms="systrap nodirectfs shared runc"
for form in $forms; do
    case $form in
    systrap)
        variant systrap "doctor strict hook doctor start k3s" ""
        check_eq "systrap: --on-loss fail is a failure" "$(said strict.status)" 7
        check_has "systrap: which names what was refused" "$(said strict.err)" \
            'registry.test/nginx:7: .*: extended attribute [a-z.]+ was refused: Operation not supported'
        check_eq "systrap: and nothing of the image is there" "$(said strict.left)" 0
        advice
        ;;
    nodirectfs) variant nodirectfs "hook start" "" --directfs=false ;;
    shared) variant shared "hook start" "" --file-access=shared ;;
    ptrace) SANDBOX_PLATFORM=ptrace variant ptrace "hook start" "" ;;
    runc)
        cp -- /usr/sbin/runc "$bundle/root/usr/bin/runc-1.1"
        variant runc "cgroup hook start" "--runtime /usr/bin/runc-1.1"
        ;;
    table)
        archive layers layers:32
        SANDBOX_TIMEOUT=7200 table
        ;;
    threads)
        threads systrap
        threads nodirectfs --directfs=false
        SANDBOX_PLATFORM=ptrace threads ptrace
        SANDBOX_PLATFORM=ptrace threads ptrace-nodirectfs --directfs=false
        ;;
    *) die "SANDBOX=$form: systrap, nodirectfs, shared, ptrace, runc, table, threads or all" ;;
    esac
    # The next one finds nothing of what setup wrote.
    (cd "$bundle/root" && rm -rf etc/containerd etc/cni etc/k3simg etc/rancher opt/cni var/lib/k3simg var/lib/rancher \
        usr/local/lib/k3simg && cp -a "$(forky_root)/etc/containerd" etc/)
done
finish
