# shellcheck shell=bash
# Newer Debians as directories: forky has the containerd 2.1 series, trixie 1.7.
# Built from the mirror that this machine's apt already uses.  Source common.sh
# first.

# mirror_uri: the mirror of the running Debian release, from apt itself.
mirror_uri() {
    local codename uri
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016
    uri=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Identifier: Packages' |
        awk -v r="$codename" '$1 == r && $2 == "main" { print $3; exit }')
    [ -n "$uri" ] || die "apt knows no mirror for Debian $codename"
    printf '%s\n' "$uri"
}

# debootstrap_options: what mmdebstrap has to know about this machine's apt.
debootstrap_options() {
    printf '%s\n' \
        '--aptopt=Apt::Install-Recommends "false"' \
        '--aptopt=Acquire::Check-Valid-Until "false"' \
        '--aptopt=Acquire::Languages "none"'
    apt-config dump 2>/dev/null |
        sed -n 's/^\(Acquire::[a-z:]*[Pp]roxy[^ ]*\) \("..*"\);$/--aptopt=\1 \2/p'
}

# _debian_build RELEASE PACKAGES DIR
_debian_build() {
    local opts
    mapfile -t opts < <(debootstrap_options)
    mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
        --include="$2" "${opts[@]}" "$1" "$3" "$(mirror_uri)" || return
    # containerd copies both into pods; Go knows no localhost without the first.
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$3/etc/hosts"
    rm -f "$3/etc/resolv.conf"
    : >"$3/etc/resolv.conf"
}

# _debian_root RELEASE PACKAGES: print the directory, building it first if need be.
_debian_root() {
    cached "$1-$({
        declare -f debootstrap_options _debian_build
        echo "$@"
    } | sha256sum | cut -c1-8)" _debian_build "$@"
}

# forky_root: the Debian with containerd 2.1 and the peers of tests/bench.
forky_root() {
    _debian_root forky containerd,runc,crun,skopeo,umoci,ca-certificates
}

# trixie_root: the Debian with containerd 1.7; only where a test asks for it.
trixie_root() {
    _debian_root trixie containerd,runc,ca-certificates
}

# The inside of a private mount namespace: $1 = new root ("" keeps the old),
# $2 = directories to show at the same path, one per line, the rest = command.
# shellcheck disable=SC2016
_ENTER='
set -e
root=$1 dirs=$2
shift 2
if [ -n "$root" ]; then
    mount --bind "$root" "$root"
    for d in /sys /dev /tmp /run; do mount --rbind "$d" "$root$d"; done
    mount -t proc proc "$root/proc"
    printf "%s\n" "$dirs" | while read -r d; do
        [ -d "$d" ] || continue
        [ -d "$root$d" ] && [ "$root$d" -ef "$d" ] && continue
        mkdir -p "$root$d"
        mount --rbind "$d" "$root$d"
    done
    mkdir -p "$root/.old"
    cd "$root"
    pivot_root . .old
    cd /
    umount -l /.old
fi
if [ -n "${NO_CGROUPS:-}" ]; then
    umount -R /sys/fs/cgroup
    mount -t tmpfs none /sys/fs/cgroup
fi
# Sockets of shims; the real directory stays as it is.
mkdir -p /run/containerd
mount -t tmpfs none /run/containerd
exec "$@"
'

# enter ROOT DIRS COMMAND...: run COMMAND in its own mount and PID namespace;
# whatever it started or mounted ends with it.  $NO_CGROUPS: no cgroups in there.  ROOT "" is this machine's own.
enter() {
    local root=$1 dirs=$2
    shift 2
    # shellcheck disable=SC2086
    exec unshare ${ENTER_OPTIONS:-} --mount --propagation private --pid --fork --kill-child \
        --mount-proc /bin/sh -c "$_ENTER" enter "$root" "$dirs" "$@"
}

# forky_run COMMAND...: run a program of the newer Debian.
forky_run() {
    local root
    root=$(forky_root) || return
    (enter "$root" "${FORKY_DIRS:-}" "$@")
}
