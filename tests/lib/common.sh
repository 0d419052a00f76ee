# shellcheck shell=bash
# Shared by every script of the testbed: paths, a temporary directory that
# goes away at exit, and a stack of cleanup actions.  Source this file first.

set -u
umask 022
LC_ALL=C.UTF-8
export LC_ALL
# Debian's own programs first: the tests rely on its python3 and its modules.
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export PATH

LIB=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd -- "$LIB/../.." && pwd)
CACHE=${K3SIMG_CACHE:-/var/cache/k3simg-test}
K3SIMG=$(realpath -m -- "${K3SIMG:-$TOP/build/k3simg}")
PYTHON=/usr/bin/python3
export LIB TOP CACHE K3SIMG PYTHON
export PYTHONDONTWRITEBYTECODE=1

# die MESSAGE: the testbed itself is broken, not the program under test.
die() {
    printf 'testbed: %s\n' "$*" >&2
    exit 99
}

_CLEANUP=()

# at_exit COMMAND...: run COMMAND when the script ends; the last one first.
at_exit() {
    local quoted
    printf -v quoted '%q ' "$@"
    _CLEANUP+=("$quoted")
}

_run_cleanup() {
    local status=$? i
    trap - EXIT
    trap '' INT TERM HUP
    for ((i = ${#_CLEANUP[@]} - 1; i >= 0; i--)); do
        eval "${_CLEANUP[i]}" || :
    done
    exit "$status"
}

# own_cleanup: the shell (or a subshell) cleans up after itself.
own_cleanup() {
    _CLEANUP=()
    trap _run_cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
}
own_cleanup

# tmp_make: create $T, a directory for this script alone, removed at exit.
# K3SIMG_KEEP=1 leaves it for a look afterwards.
tmp_make() {
    T=$(mktemp -d "${TMPDIR:-/tmp}/k3simg-test.XXXXXX") || die "no temporary directory"
    export T
    if [ -z "${K3SIMG_KEEP:-}" ]; then
        at_exit rm -rf -- "$T"
    fi
}

# tmp_fast: let $TMPDIR be a fresh ext4 in memory, if this machine has enough
# of it and may mount one.  Unpacking the same trees again and again makes the
# root file systems of some machines very slow.
tmp_fast() {
    local free image=/dev/shm/k3simg-test.$$
    free=$(awk '$1 == "MemAvailable:" { print int($2 / 1048576) }' /proc/meminfo)
    [ "${free:-0}" -ge 12 ] && [ "$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 11000000 ] || return 0
    at_exit rm -f -- "$image"
    truncate -s 10G "$image" && mkfs.ext4 -q -m 0 -N 1500000 "$image" &&
        mkdir "$T/fast" && mount -o loop "$image" "$T/fast" || return 0
    at_exit umount -l "$T/fast"
    TMPDIR=$T/fast
    export TMPDIR
}

# now_ms: milliseconds on some clock.
now_ms() {
    local t=${EPOCHREALTIME/[.,]/}
    echo $((t / 1000))
}

# _remove_build PATH...: a build that was cut off; it may have /sys and /proc mounted in it.
_remove_build() {
    local dir at
    for dir; do
        awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r | while read -r at; do
            umount -l -- "$at"
        done
        rm -rf --one-file-system -- "$dir"
    done
}

# cached NAME COMMAND...: print the path of $CACHE/NAME; if it is not there,
# run "COMMAND... DIR" to fill a fresh directory and move that into place.
cached() {
    local name=$1 dir=$CACHE/$1 work
    shift
    if [ ! -d "$dir" ]; then
        mkdir -p "$CACHE" || die "cannot create $CACHE"
        (
            flock 9
            [ -d "$dir" ] && exit 0
            _remove_build "$CACHE/.$name".*
            work=$(mktemp -d "$CACHE/.$name.XXXXXX") || exit 1
            chmod 755 "$work"
            if ! "$@" "$work" >"$work.log" 2>&1 9>&-; then
                tail -n 25 "$work.log" >&2
                _remove_build "$work" "$work.log"
                exit 1
            fi
            rm -f -- "$work.log"
            mv -T -- "$work" "$dir"
            # What an older checkout left and nobody has used for a week.  Not what is
            # being built: a Debian root has the times of its packages until it is done.
            find "$CACHE" -maxdepth 1 -name '[!.]*-*' -mtime +7 -exec rm -rf --one-file-system -- {} +
        ) 9>"$CACHE/lock.$name" || die "cannot build $name in $CACHE"
    fi
    touch -c -- "$dir"
    printf '%s\n' "$dir"
}
