#!/bin/bash
# The packages of `make deb`: built from the tarball of `make dist`, as lintian wants them, installed in a
# clean Debian, used there, removed again; the service does its work with what it is allowed; programs
# are linked with the library.
# Once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"
# shellcheck source=tests/lib/package.sh
. "$LIB/package.sh"

debs=$(package_debs) || exit
version=$(cat "$TOP/VERSION")
deb=$(echo "$debs"/deb/k3simg_*.deb)
triplet=$(dpkg-architecture -q DEB_HOST_MULTIARCH)

# ---- the tarball ----
tarball=k3simg-$version.tar.gz
check "make dist twice: the same bytes" cmp "$T/dist/$tarball" "$debs/$tarball"
tar -C "$T" -xf "$T/dist/$tarball"
# shellcheck disable=SC2016
check "and once more from its own tree" sh -c '"$1/tools/dist" "$2" >/dev/null && cmp "$2" "$3"' dist \
    "$T/k3simg-$version" "$T/again/$tarball" "$T/dist/$tarball"

# ---- the packages ----
# It takes most of the time, and nobody's attention.
lintian --fail-on error,warning --tag-display-limit 0 "$debs"/deb/*.changes >"$T/lintian" 2>&1 &
lintian=$!
at_exit eval "kill $lintian 2>/dev/null"
clean=$T/clean
cp -a "$(package_clean "$deb")" "$clean" || die "no clean Debian"
mkdir "$clean/debs"
cp "$debs"/deb/*.deb "$clean/debs"
skopeo --insecure-policy copy -q "oci:$(images_storage)/oci:exit:1" "oci-archive:$clean/exit.tar:example.org/exit:1"

# inside COMMAND...: in the clean Debian.
inside() {
    (enter "$clean" "$T" "$@")
}
# dpkg_inside PACKAGE: its state.
dpkg_inside() {
    dpkg-query --root="$clean" -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null
}

check "install" inside env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o APT::Sandbox::User=root \
    --no-install-recommends install "/debs/${deb##*/}" "/debs/$(basename "$debs"/deb/libk3simg0_*.deb)"
check_eq "installed" "$(dpkg_inside k3simg) $(dpkg_inside libk3simg0)" "ii  ii "
check "hardened" "$TOP/tools/check-hardening" "$clean/usr/bin/k3simg"
check_has "k3simg version" "$(inside k3simg version)" "^k3simg $version"
root=/var/lib/containerd
check "preload of an archive" inside k3simg preload -q --root $root --pause none oci-archive:/exit.tar
listed=$(inside k3simg list --root $root -o name)
check_has "list" "$listed" '^example.org/exit:1$'
check "what is installed is whole" inside dpkg --verify k3simg

# ---- the services ----
check_has "enabled" "$(ls "$clean/etc/systemd/system/multi-user.target.wants")" '^k3simg-preload.service$'
unit=$clean/lib/systemd/system/k3simg-preload.service
cp "$unit" "${unit/preload/bundle}" "$T"
sed -i 's|^ExecStart=/usr/bin/k3simg |ExecStart=/usr/bin/true |' "$T"/k3simg-*.service
for name in preload bundle; do
    check_eq "systemd-analyze verify $name" "$(systemd-analyze --man=no verify "$T/k3simg-$name.service" 2>&1 | grep k3simg)" ""
    check "systemd-analyze security $name" systemd-analyze security --offline=true --threshold=35 "$T/k3simg-$name.service"
done
# setting NAME: of the unit, as words.
setting() {
    sed -n "s/^$1=//p" "$unit"
}
# As the service would: its command and its capabilities, and no system call but those that it may make.
allowed() {
    local name
    for name in $(systemd-analyze syscall-filter "$1" | sed -n 's/^    \([@a-z_0-9-]*\).*/\1/p'); do
        case $name in
        @*) allowed "$name" ;;
        *) echo "$name" ;;
        esac
    done
}
mkdir -p "$T/service"
echo "oci-archive:$clean/exit.tar" >"$T/service/images.list"
caps=$(setting CapabilityBoundingSet | tr 'A-Z ' 'a-z,' | sed 's/cap_/+/g')
read -ra service < <(setting ExecStart | sed "s|/usr/bin|$clean/usr/bin|; s|/etc/k3simg|$T/service|; s|\$K3SIMG_ARGS|--pause none --root $T/service/root|")
check "the service's command, with its capabilities" strace -f -c -o "$T/service/calls" \
    setpriv --no-new-privs --inh-caps=-all "--bounding-set=-all,$caps" "${service[@]}"
check_eq "its images" "$("$K3SIMG" list --root "$T/service/root" -o name | head -n 1)" example.org/exit:1
check_eq "system calls beyond its filter" "$(awk '$1 ~ /^[0-9]/ && $NF != "total" { print $NF }' "$T/service/calls" | sort |
    comm -23 - <(allowed "$(setting SystemCallFilter)" | sort -u))" ""

# ---- the library ----
sdk=$T/sdk
dpkg-deb -x "$(echo "$debs"/deb/libk3simg0_*.deb)" "$sdk"
dpkg-deb -x "$(echo "$debs"/deb/libk3simg-dev_*.deb)" "$sdk"
sdk_pc() {
    PKG_CONFIG_SYSROOT_DIR=$sdk PKG_CONFIG_PATH=$sdk/usr/lib/$triplet/pkgconfig pkg-config "$@" k3simg
}
# What the public headers declare, as the compiler sees it.
(cd "$sdk/usr/include/k3simg" && find . -name '*.h' | sed 's|^\./\(.*\)|#include "\1"|') >"$T/all.c"
# shellcheck disable=SC2046
gcc -std=gnu11 -Wall -Wextra -Werror $(sdk_pc --cflags) -fsyntax-only -aux-info "$T/aux" "$T/all.c" 2>"$T/gcc.log"
check_eq "all public headers at once, without a warning" "$(cat "$T/gcc.log")" ""
{
    sed -n 's|^/\* [^ ]*/include/k3simg/[^ ]* \*/ extern [^(]*[ *]\([a-z0-9_]*\) (.*|\1|p' "$T/aux"
    cat "$sdk"/usr/include/k3simg/*/*.h | sed -n 's/^extern const .* \([a-z_]*\);$/\1/p'
} | sort -u >"$T/declared"
check "there are some hundreds" test "$(wc -l <"$T/declared")" -gt 200
nm -D --defined-only "$sdk/usr/lib/$triplet/libk3simg.so" | awk '$2 != "A" { sub("@.*", "", $3); print $3 }' | sort >"$T/shared"
check "the shared library exports what they declare, and nothing else" diff "$T/declared" "$T/shared"
nm -g --defined-only "$sdk/usr/lib/$triplet/libk3simg.a" | awk 'NF == 3 { print $3 }' | sort >"$T/static"
check "so does the static one" diff "$T/declared" "$T/static"

registry_start
# The package that has them is only recommended.
mkdir -p "$clean/etc/ssl/certs"
cp -L /etc/ssl/certs/ca-certificates.crt "$clean/etc/ssl/certs"
example=$sdk/usr/share/doc/libk3simg-dev/examples/preload.c
# shellcheck disable=SC2046
check "an example, shared" gcc -Wall -Wextra -Werror "$example" $(sdk_pc --cflags --libs) -o "$clean/shared"
# shellcheck disable=SC2046
check "an example, static" gcc -Wall -Wextra -Werror "$example" $(sdk_pc --static --cflags --libs | sed 's/-lk3simg/-l:libk3simg.a/') -o "$clean/static"
check_has "one needs the library" "$(readelf -d "$clean/shared")" 'NEEDED.*\[libk3simg.so.0\]'
check_eq "the other does not" "$(readelf -d "$clean/static" | grep k3simg)" ""
for kind in shared static; do
    said=$(inside /$kind "$T/root-$kind" "$REGISTRY/zstd:1" 2>&1)
    check_has "$kind: preloads" "$said" "^$REGISTRY/zstd:1: preloaded, [1-9]"
    check_has "$kind: lists" "$said" "^$REGISTRY/zstd:1  $(image_digest zstd:1)  pinned$"
    check_has "$kind: again" "$(inside /$kind "$T/root-$kind" "$REGISTRY/zstd:1" 2>&1)" ": up to date, 0 bytes"
done
check_has "static: an error" "$(inside /static "$T/root-static" "$REGISTRY/none:1" 2>&1)" "^preload: .*none"
registry_stop

# ---- gone again ----
check "purge" inside env DEBIAN_FRONTEND=noninteractive apt-get -q -y purge k3simg libk3simg0
check_eq "purged" "$(dpkg_inside k3simg)" ""
check_eq "nothing is left of it" "$(cd "$clean" && find etc usr lib -path '*k3simg*')" ""
check_eq "but the images" "$("$K3SIMG" list --root "$clean$root" -o name)" "$listed"
check "which are whole" "$K3SIMG" verify --deep --root "$clean$root"

wait $lintian
status=$?
check_eq "lintian: status" "$status" 0
check_eq "lintian: errors, warnings, overrides" "$(grep -E '^[EWO]: ' "$T/lintian")" ""
finish
