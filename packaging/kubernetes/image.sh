#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A container image of a k3simg package, as an OCI archive, without docker and without root: the
# program, the libraries that it needs from Debian, CA certificates and sleep(1); no shell.
# The same packages give the same bytes.
#
#   packaging/kubernetes/image.sh k3simg_VERSION_ARCH.deb OUT.tar [NAME:TAG] [-- MMDEBSTRAP-ARGS...]
#
# NAME:TAG: localhost/k3simg:VERSION, as in base/daemonset.yaml.  SUITE in the environment is the
# Debian release that the package is for (default: this machine's); the arguments behind "--" are
# mirrors and options for mmdebstrap.  Needs mmdebstrap, tar and gzip.
set -eu
umask 022
usage() {
    sed -n '7s/^#  *//p' "$0" >&2
    exit 2
}
[ $# -ge 2 ] || usage
deb=$1 out=$2
shift 2
version=$(dpkg-deb -f "$deb" Version)
arch=$(dpkg-deb -f "$deb" Architecture)
name=localhost/k3simg:${version%-*}
if [ $# -gt 0 ] && [ "$1" != -- ]; then
    name=$1
    shift
fi
[ $# = 0 ] || [ "$1" = -- ] || usage
[ $# = 0 ] || shift
suite=${SUITE:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- the files ----

# Unpacked, never configured: none of these packages' scripts is needed for what is taken of them.
depends=$(dpkg-deb -f "$deb" Depends | sed 's/([^)]*)//g; s/|[^,]*//g; s/[[:space:]]//g')
mmdebstrap --quiet --variant=extract --format=tar --architectures="$arch" \
    --include="$depends,ca-certificates,coreutils" "$suite" - "$@" |
    tar -x -C "$work" --one-top-level=debian --no-same-owner --exclude='./dev/*'
dpkg-deb -x "$deb" "$work/debian"

root=$work/root
mkdir -p "$root/etc/ssl/certs" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
for dir in bin lib lib32 lib64; do
    ln -s "usr/$dir" "$root/$dir"
done
(
    cd "$work/debian"
    # Top-level libraries only: neither plug-ins nor character sets are asked for.  Licences go along.
    for file in usr/bin/k3simg usr/share/k3simg bin/sleep usr/bin/sleep lib*/ld-linux* usr/lib*/ld-linux* \
        lib/*-linux-*/*.so.* usr/lib/*-linux-*/*.so.* usr/share/doc/*/copyright; do
        [ ! -e "$file" ] && [ ! -h "$file" ] || printf '%s\n' "$file"
    done | tar -c --transform='flags=rh;s,^\(bin\|lib[^/]*\)/,usr/&,' --files-from=- | tar -x -C "$root"
    cat usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
)
echo 'root:x:0:0:root:/root:/nonexistent
nobody:x:65534:65534:nobody:/nonexistent:/nonexistent' >"$root/etc/passwd"
echo 'root:x:0:
nogroup:x:65534:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

# ---- the image ----

layout=$work/layout
blobs=$layout/blobs/sha256
mkdir -p "$blobs"
: "${SOURCE_DATE_EPOCH:=$(stat -c %Y "$work/debian/usr/bin/k3simg")}"
pack() {
    tar -C "$1" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=ustar \
        --mode=go-w,a-s -c .
}
# blob FILE: moves it into the layout; sets $digest and $size.
blob() {
    digest=$(sha256sum <"$1" | cut -d' ' -f1)
    size=$(stat -c %s "$1")
    mv "$1" "$blobs/$digest"
}
pack "$root" >"$work/layer"
diff_id=$(sha256sum <"$work/layer" | cut -d' ' -f1)
gzip -9n "$work/layer"
blob "$work/layer.gz"
layer='{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:'$digest'","size":'$size'}'
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
case $arch in
armhf) platform='"architecture":"arm","variant":"v7"' ;;
i386) platform='"architecture":"386"' ;;
ppc64el) platform='"architecture":"ppc64le"' ;;
*) platform='"architecture":"'$arch'"' ;;
esac
printf '%s' '{"created":"'"$created"'",'"$platform"',"os":"linux","config":{"Entrypoint":["/usr/bin/k3simg"],' \
    '"Env":["PATH=/usr/bin:/bin"],"WorkingDir":"/"},"rootfs":{"type":"layers","diff_ids":["sha256:'"$diff_id"'"]}}' \
    >"$work/config"
blob "$work/config"
printf '%s' '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":' \
    '"application/vnd.oci.image.config.v1+json","digest":"sha256:'"$digest"'","size":'"$size"'},"layers":['"$layer"']}' \
    >"$work/manifest"
blob "$work/manifest"
printf '%s' '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":' \
    '"application/vnd.oci.image.manifest.v1+json","digest":"sha256:'"$digest"'","size":'"$size"',"platform":{"os":"linux",' \
    "$platform"'},"annotations":{"org.opencontainers.image.ref.name":"'"${name##*:}"'","io.containerd.image.name":"'"$name"'"}}]}' \
    >"$layout/index.json"
printf '%s' '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
pack "$layout" >"$out"
echo "$name sha256:$digest"
