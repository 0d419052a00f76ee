# shellcheck shell=bash
# A real gVisor: runsc of this Debian's backports, unpacked but not installed, and sandboxes in
# which the newer Debian of forky.sh runs with containerd 2.1 and k3simg.  Source common.sh and
# forky.sh first; the caller has made $T.

# _runsc_build DIR: apt with directories of its own; this machine's packages stay as they are.
_runsc_build() {
    local dir=$1 codename options
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" &&
        printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s-backports main\n' \
            "$(mirror_uri)" "$codename" >"$dir/sources" || return
    options=(-q -o "Dir::Etc::SourceList=$dir/sources" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o Acquire::Languages=none
        -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update && (cd "$dir" && apt-get "${options[@]}" download runsc) &&
        dpkg-deb -x "$dir"/runsc_*.deb "$dir/unpacked" &&
        mv "$dir/unpacked/usr/bin/runsc" "$dir/runsc" || return
    rm -rf -- "$dir/lists" "$dir/cache" "$dir/unpacked" "$dir/sources" "$dir"/runsc_*.deb
}

# runsc_program: the path of runsc; RUNSC=PROGRAM is another one.
runsc_program() {
    local dir
    if [ -n "${RUNSC:-}" ]; then
        printf '%s\n' "$RUNSC"
        return
    fi
    dir=$(cached "runsc-$(declare -f _runsc_build | sha256sum | cut -c1-8)" _runsc_build) || return
    printf '%s\n' "$dir/runsc"
}

# The libraries of k3simg that the newer Debian does not have under the same name.
_sandbox_libraries() {
    local root=$1 name path
    ldd "$K3SIMG" | awk '$2 == "=>" { print $1, $3 }' | while read -r name path; do
        [ -e "$root/usr/lib/x86_64-linux-gnu/$name" ] || cp -L -- "$path" "$root/usr/lib/x86_64-linux-gnu/$name"
    done
}

# sandbox_make DIR: a bundle whose root is a copy of the newer Debian, with k3simg in it.
# /srv/inside is the script that it runs.
sandbox_make() {
    local dir=$1 root=$1/root forky
    forky=$(forky_root) || return
    mkdir -p "$root" || return
    # What nobody needs there is a third of the copy.
    tar -C "$forky" -c --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* --exclude=./usr/share/* \
        --exclude=./var/lib/dpkg/* --exclude=./var/cache/* --exclude=./usr/bin/skopeo --exclude=./usr/bin/umoci \
        --exclude=*/gconv --exclude=*/perl* --exclude=*.a . | tar -x -C "$root" || return
    cp -- "$K3SIMG" "$root/usr/bin/k3simg" && cp -- "$TOP/tests/sandbox/inside.sh" "$root/srv/inside" || return
    _sandbox_libraries "$root" && _sandbox_config >"$dir/config.json"
}

_sandbox_config() {
    "$PYTHON" - <<'PY'
import json, sys

caps = ["CAP_" + c for c in """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
    LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
    SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
    AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ""".split()]
json.dump({
    "ociVersion": "1.0.0",
    "process": {
        "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["/bin/sh", "/srv/inside"],
        "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"],
        "capabilities": {kind: caps for kind in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 65536, "soft": 65536}]},
    "root": {"path": "root", "readonly": False},
    "hostname": "sandbox",
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
               {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
               {"destination": "/run", "type": "tmpfs", "source": "tmpfs"},
               {"destination": "/sys", "type": "sysfs", "source": "sysfs"}],
    "linux": {"namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")]},
}, sys.stdout)
PY
}

# sandbox_run DIR NAME [FLAG...]: run the bundle to its end; what it says goes to DIR/NAME.log.
# Returns the status that /srv/inside left in /srv/out/status, 125 when the sandbox did not run.
sandbox_run() {
    local dir=$1 name=$2 runsc
    shift 2
    runsc=$(runsc_program) || return
    rm -rf -- "$dir/root/srv/out"
    mkdir -p "$dir/root/srv/out" "$dir/state"
    # Its own process group and a limit: what is left of a sandbox ends with it.  A pipe, for
    # several processes write to the same file with offsets of their own.
    timeout -k 5 "${SANDBOX_TIMEOUT:-600}" "$runsc" "--root=$dir/state" --network=none --ignore-cgroups --overlay2=none \
        "--platform=${SANDBOX_PLATFORM:-systrap}" "$@" run --bundle "$dir" "k3simg-$$-$name" 2>&1 </dev/null |
        cat >"$dir/$name.log"
    "$runsc" "--root=$dir/state" delete --force "k3simg-$$-$name" >>"$dir/$name.log" 2>&1
    return "$(cat "$dir/root/srv/out/status" 2>/dev/null || echo 125)"
}
