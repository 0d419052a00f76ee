#!/bin/bash
# Machines that are broken on purpose, made of plain files (--sysroot) or real: doctor names what
# is wrong with each, nothing else, and its fix, applied to the letter, makes that check pass.
# Once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
PATH=$(dirname -- "$K3SIMG"):$PATH
V3=io.containerd.cri.v1

# A machine on which all is well; its store has the pause image.
sound=$T/sound
make_sound() {
    mkdir -p "$sound"/{proc/self,proc/sys/kernel,dev,usr/sbin,opt/cni/bin,etc/cni/net.d,etc/containerd,run} \
        "$sound/var/lib/kubelet" && cd "$sound" || exit
    echo 6.1.0-18-amd64 >proc/sys/kernel/osrelease
    echo 40 >proc/sys/kernel/cap_last_cap
    touch dev/kmsg
    cat >proc/self/mountinfo <<END
26 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
27 26 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw
END
    cp /usr/bin/true usr/sbin/runc
    cp /usr/bin/true usr/sbin/xtables-legacy-multi
    ln -s /usr/sbin/xtables-legacy-multi usr/sbin/iptables
    cp /usr/bin/true opt/cni/bin/ptp
    echo '{"cniVersion": "0.4.0", "name": "net", "plugins": [{"type": "ptp"}]}' >etc/cni/net.d/10-net.conflist
    echo 'kind: KubeletConfiguration' >var/lib/kubelet/config.yaml
    cat >etc/containerd/config.toml <<END
version = 3
[plugins.'$V3.images']
  snapshotter = "native"
[plugins.'$V3.images'.pinned_images]
  sandbox = "$PAUSE"
[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
  platform = "linux/amd64"
  snapshotter = "native"
END
    "$K3SIMG" preload -q --root "$sound/var/lib/containerd" --pause none "$PAUSE" >/dev/null
}
check "a sound machine is made" make_sound
cd "$T" || exit

# broken NAME CHECK STATE [OPTIONS...]: standard input breaks a copy of the sound machine ($m).
n=0
broken() {
    local name=$1 id=$2 state=$3
    shift 3
    n=$((n + 1)) m=$T/m$n
    cp -a "$sound" "$m"
    (cd "$m" && eval "$(cat)") || die "$name: cannot break the machine"
    check "$name: $id" "$PYTHON" "$LIB/doctor.py" "$id" "$state" \
        "$K3SIMG" doctor --sysroot "$m" "$@"
    rm -rf --one-file-system -- "$m"
}
# edit SED: of the configuration.
edit() {
    sed -i "$1" etc/containerd/config.toml
}

before=$(store_state "$sound/var/lib/containerd")
check_eq "a sound machine: nothing is wrong" \
    "$("$K3SIMG" doctor --sysroot "$sound" -q 2>&1; echo "$?")" 0
check_eq "doctor changes nothing" "$(store_state "$sound/var/lib/containerd")" "$before"

broken "overlayfs is configured" snapshotter warning <<<"edit 's/= \"native\"/= \"overlayfs\"/;8s/overlayfs/native/'"
broken "no snapshotter is configured" snapshotter warning <<<"edit '3d'"
broken "a kernel of gVisor" kernel-gate error <<<'echo 4.4.0 >proc/sys/kernel/osrelease'
broken "a kernel of gVisor, configuration version 2" kernel-gate error <<'END'
echo 4.4.0 >proc/sys/kernel/osrelease
cat >etc/containerd/config.toml <<TOML
version = 2
[plugins.'io.containerd.grpc.v1.cri']
  sandbox_image = "$PAUSE"
  enable_unprivileged_ports = true
[plugins.'io.containerd.grpc.v1.cri'.containerd]
  snapshotter = "native"
TOML
END
broken "the transfer service unpacks for overlayfs" unpack-platforms warning <<<"edit '/transfer/,\$d'"
broken "another pause image is configured" pause error <<<"edit 's|$PAUSE|$REGISTRY/exit:1|'"
broken "the pause image is not pinned" pause warning <<'END'
rm -r var/lib/containerd
"$K3SIMG" preload -q --no-pin --root var/lib/containerd --pause none "$PAUSE" >/dev/null
END
broken "nothing is preloaded" pause error <<<'find var/lib/containerd -mindepth 1 -delete'
ALSO=pause broken "there is no root" root warning <<<'rm -r var/lib/containerd'
ALSO=pause broken "the root is something else" root error <<<'rm -r var/lib/containerd; mkdir -p var/lib/containerd/music'
ALSO="pause snapshotter" broken "the configuration names another root" root error --root "$T/m$((n + 1))/var/lib/containerd" <<'END'
echo "root = \"/srv/other\"" | cat - etc/containerd/config.toml >new && mv new etc/containerd/config.toml
END
ALSO="snapshotter pause" broken "the configuration is no TOML" config error <<<'echo "[[" >>etc/containerd/config.toml'
broken "runc is missing, crun is there" runtime error <<<'mv usr/sbin/runc usr/sbin/crun'
broken "runc is not executable" runtime error <<<'chmod 644 usr/sbin/runc'
broken "runc is of another architecture" runtime error <<'END'
cp usr/sbin/runc usr/sbin/crun
printf '\xf3\0' | dd of=usr/sbin/runc bs=1 seek=18 conv=notrunc status=none
END
broken "no cgroups" cgroups error <<<'sed -i /cgroup/d proc/self/mountinfo'
broken "systemd's cgroups without systemd" cgroups error <<'END'
printf "[plugins.'$V3.runtime'.containerd.runtimes.runc.options]\n  SystemdCgroup = true\n" >>etc/containerd/config.toml
END
broken "no /dev/kmsg" kmsg error <<<'rm dev/kmsg'
broken "iptables-nft on an old kernel" iptables error <<'END'
echo 4.14.0 >proc/sys/kernel/osrelease
cp usr/sbin/xtables-legacy-multi usr/sbin/xtables-nft-multi
cp usr/sbin/xtables-legacy-multi usr/sbin/iptables-legacy
ln -sf xtables-nft-multi usr/sbin/iptables
END
ALSO=cni-plugins broken "no CNI configuration" cni-config error <<'END'
rm etc/cni/net.d/*
END
broken "the CNI configuration is no JSON" cni-config error <<'END'
echo '{"name": "a",' >etc/cni/net.d/00-first.conf
END
broken "a CNI plugin is elsewhere" cni-plugins error <<'END'
mkdir -p usr/lib/cni && mv opt/cni/bin/ptp usr/lib/cni/
END
nine="sed -i '1s/ext4 .dev.vda/9p none/' proc/self/mountinfo"
ALSO=local-storage broken "the kubelet cannot measure 9p" image-gc warning <<<"$nine"
ALSO=image-gc broken "the kubelet isolates storage on 9p" local-storage error <<<"$nine"
# k3s: its data directory is where the root is looked for.
k3s='mkdir -p var/lib/rancher/k3s/agent/etc/containerd etc/rancher/k3s
cp etc/containerd/config.toml var/lib/rancher/k3s/agent/etc/containerd/
mv var/lib/containerd var/lib/rancher/k3s/agent/containerd'
broken "k3s with overlayfs" snapshotter warning <<<"$k3s"'
sed -i "s/= \"native\"/= \"overlayfs\"/;8s/overlayfs/native/" var/lib/rancher/k3s/agent/etc/containerd/config.toml'
ALSO=image-gc broken "k3s isolates storage on 9p" local-storage error <<<"$k3s
$nine"
ALSO=local-storage broken "k3s cannot measure 9p" image-gc warning <<<"$k3s
$nine"
broken "k3s without flannel and without CNI" cni-config error <<<"$k3s"'
echo "flannel-backend: none" >etc/rancher/k3s/config.yaml
rm etc/cni/net.d/*'
broken "a file of the kubelet is no YAML" image-gc error --only image-gc <<<'echo "a: [" >var/lib/kubelet/config.yaml'
broken "k3s imports archives at each start" k3s note <<<"$k3s"'
mkdir var/lib/rancher/k3s/agent/images && touch var/lib/rancher/k3s/agent/images/a.tar.zst'

# Somebody else's daemon on the socket.
cp -a "$sound" "$T/other"
mkdir -p "$T/other/run/containerd"
"$PYTHON" -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(60)' \
    "$T/other/run/containerd/containerd.sock" &
at_exit kill $!
for ((i = 0; i < 50; i++)); do [ ! -S "$T/other/run/containerd/containerd.sock" ] || break; sleep 0.1; done
check "a daemon with another root: socket" env NOFIX=1 "$PYTHON" "$LIB/doctor.py" socket error \
    "$K3SIMG" doctor --sysroot "$T/other"
check "another socket is asked for: socket" env NOFIX=1 "$PYTHON" "$LIB/doctor.py" socket warning \
    "$K3SIMG" doctor --sysroot "$sound" --address /run/else.sock

# Real ones, in a mount namespace of their own: what is mounted goes with it, whatever happens.
# real NAME CHECK STATE SETUP [OPTIONS...]
real() {
    local name=$1 id=$2 state=$3 setup=$4
    shift 4
    # shellcheck disable=SC2016
    check "$name: $id" unshare -m --propagation private bash -c 'eval "$1" && shift && "$@"' real "$setup" \
        "$PYTHON" "$LIB/doctor.py" "$id" "$state" "$K3SIMG" doctor --only "$id" "$@"
}
if unshare -m --propagation private mount -t tmpfs tmpfs /mnt 2>/dev/null; then
    mkdir "$T/disk"
    real "32 MiB are left" space error 'mount -t tmpfs -o size=32M tmpfs disk' --root "$T/disk"
    real "600 inodes are left" space error 'mount -t tmpfs -o nr_inodes=600 tmpfs disk' --root "$T/disk"
    real "a root without attributes" xattrs warning 'mount -t ramfs ramfs disk && mkdir disk/root' --root "$T/disk/root"
    real "a private /" propagation warning :
    check_eq "a disk is tried and nothing is left" \
        "$("$K3SIMG" doctor --root "$T/disk" -q links xattrs nodes owners openat2 2>/dev/null; ls -A "$T/disk")" ""
    cp -a "$sound" "$T/old"
    rm "$T/old/proc/sys/kernel/cap_last_cap"
    real "no cap_last_cap" cap-last-cap error : --sysroot "$T/old"
    cp -a "$sound" "$T/inode"
    printf 'incorrect procfs root inode number %%d' >>"$T/inode/usr/sbin/runc"
    cp /usr/bin/true "$T/inode/usr/sbin/crun"
    real "/proc is not inode 1" procfs error 'mount --bind /proc/sys inode/proc' --sysroot "$T/inode"
else
    skip "real file systems" "nothing can be mounted here"
fi

# The command line.
"$K3SIMG" doctor kmgs >"$T/out" 2>&1
check_eq "a check that there is not: usage" "$?" 2
check_has "... and the nearest one" "$(cat "$T/out")" 'did you mean "kmsg"'
"$K3SIMG" doctor --containerd-config "$T/none" >"$T/out" 2>&1
check_eq "a configuration that there is not: usage" "$?" 2
check_has "--help lists the checks" "$("$K3SIMG" doctor --help)" '^  cni-plugins '
check_has "text has the fix" "$("$K3SIMG" doctor --sysroot "$sound" --root "$T/none" pause 2>&1)" \
    '^      fix:  k3simg preload --root '
finish
