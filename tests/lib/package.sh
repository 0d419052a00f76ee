# shellcheck shell=bash
# Debian packages of this tree, a clean Debian to install them in, and their container image: each made
# once and kept.  Source all.sh first.

# package_debs: the directory with the tarball and deb/, the packages of `make deb`; K3SIMG_DEBS=DIR is
# another one.
package_debs() {
    # shellcheck disable=SC2086
    install_packages $PACKAGE_TEST_PACKAGES || die "packages are missing"
    make -s -C "$TOP" dist O="$T/dist" >"$T/dist.log" 2>&1 || die "make dist: $(cat "$T/dist.log")"
    if [ -n "${K3SIMG_DEBS:-}" ]; then
        printf '%s\n' "$K3SIMG_DEBS"
        return
    fi
    cached "deb-$(sha256sum <"$(echo "$T"/dist/*.tar.gz)" | cut -c1-12)" _debs_build
}

# need_kubectl: any will do; Debian's cannot be installed beside another one.
need_kubectl() {
    command -v kubectl >/dev/null || install_packages kubernetes-client || die "there is no kubectl"
}

_debs_build() {
    # Time matters more here than that of the program.
    DEB_CFLAGS_APPEND="-O1 -g0" DEB_BUILD_OPTIONS="nocheck noautodbgsym parallel=$(nproc)" make -C "$TOP" deb O="$1"
}

# package_depends DEB: names of packages, with commas.
package_depends() {
    dpkg-deb -f "$1" Depends | sed 's/([^)]*)//g; s/|[^,]*//g; s/[[:space:]]//g'
}

# package_clean DEB: a fresh Debian, which has the files of what DEB depends on at hand, but not installed.
package_clean() {
    local depends
    depends=$(package_depends "$1") || return
    cached "clean-$({
        declare -f debootstrap_options _clean_build
        echo "$depends"
    } | sha256sum | cut -c1-8)" _clean_build "${depends//,/ }"
}

_clean_build() {
    local opts
    mapfile -t opts < <(debootstrap_options)
    # shellcheck disable=SC2016
    mmdebstrap --quiet --mode=root --variant=minbase --format=directory --skip=cleanup/apt "${opts[@]}" \
        --customize-hook='chroot "$1" apt-get -q -y --no-install-recommends --download-only install '"$1" \
        "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$2" "$(mirror_uri)"
}

# package_image DEB: the directory with image.tar, an OCI archive.
package_image() {
    cached "image-$(cat "$1" "$TOP/packaging/kubernetes/image.sh" | sha256sum | cut -c1-12)" _image_build "$1"
}

_image_build() {
    local opts
    mapfile -t opts < <(debootstrap_options)
    "$TOP/packaging/kubernetes/image.sh" "$1" "$2/image.tar" -- "${opts[@]}" "$(mirror_uri)"
}
