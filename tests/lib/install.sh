# shellcheck shell=bash
# What the build and the testbed need from Debian, and one function that
# installs it.  Works on a minimal Debian 12 as root.

BUILD_PACKAGES="gcc libc6-dev make pkg-config zlib1g-dev libisal-dev
    libzstd-dev libssl-dev libjansson-dev libyaml-dev libcurl4-openssl-dev libnghttp2-dev"

# The demo runs on these alone.
DEMO_PACKAGES="containerd runc docker-registry skopeo mmdebstrap
    busybox-static python3 python3-grpcio curl procps zstd ca-certificates"

# The judges of manual pages, completions and JSON.
HELP_PACKAGES="man-db groff mandoc bash zsh fish python3-jsonschema"

TEST_PACKAGES="$DEMO_PACKAGES $HELP_PACKAGES e2fsprogs openssl strace umoci buildah xz-utils"

# `make deb`; and what looks at packages and manifests.
DEB_PACKAGES="debhelper dpkg-dev"
PACKAGE_TEST_PACKAGES="$DEB_PACKAGES lintian systemd python3-yaml"

# The peers of tests/bench that are not in the newer Debian (lib/forky.sh).
BENCH_PACKAGES="isal libisal-dev tar"

# File systems for the long form of tests/integration/power-loss.sh.
TORTURE_PACKAGES="xfsprogs btrfs-progs"

# The gates, and the second compiler.
LINT_PACKAGES="clang clang-format pmccabe shellcheck git"

# Only to build bbolt's own checker, once (lib/bbolt.sh).
BBOLT_PACKAGES="golang-go golang-github-coreos-bbolt-dev"

# A terminal that can be looked at, and a judge of JSON (progress.sh).
PROGRESS_PACKAGES="tmux python3-jsonschema"

export BUILD_PACKAGES DEMO_PACKAGES HELP_PACKAGES PROGRESS_PACKAGES TEST_PACKAGES DEB_PACKAGES PACKAGE_TEST_PACKAGES
export BENCH_PACKAGES TORTURE_PACKAGES LINT_PACKAGES BBOLT_PACKAGES

# install_packages NAME...: nothing happens if all of them are there.
install_packages() {
    local missing="" p log status=0 policy=/usr/sbin/policy-rc.d
    for p in "$@"; do
        case $(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null) in
        ii*) ;;
        *) missing="$missing $p" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "install: root is needed to install:$missing" >&2
        return 1
    fi
    log=$(mktemp) || return 1
    # Debian starts services at install; we run our own.
    if [ -e "$policy" ]; then
        policy=""
    else
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    # shellcheck disable=SC2086
    {
        apt-get -q -o DPkg::Lock::Timeout=600 update &&
            DEBIAN_FRONTEND=noninteractive apt-get -q -y \
                -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 \
                --no-install-recommends install $missing
    } >"$log" 2>&1 </dev/null || status=$?
    [ -z "$policy" ] || rm -f "$policy"
    if [ "$status" != 0 ]; then
        tail -n 15 "$log" >&2
        echo "install: apt-get could not install:$missing" >&2
    fi
    rm -f "$log"
    return "$status"
}
