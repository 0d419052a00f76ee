#!/bin/bash
# Archives that this containerd wrote are read, it finds complete what is made
# of archives, and a docker archive becomes what its own import makes of it.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
R=$REGISTRY
layout=$(images_storage)/oci
root=$T/root

# target NAME REF [OPTIONS]: the digest that a containerd has recorded.
target() {
    ctd_ctr "$1" "${@:3}" images ls "name==$2" | awk 'NR > 1 { print $3 }'
}

skopeo --insecure-policy copy -q "oci:$layout:multi:1" "docker-archive:$T/docker.tar:example.org/docker:1"
check "preload from the registry" preload "$root" "$R/multi:1" "$R/zstd:1"
ctd_start "$CTD_VERSION" "$root" one || die "containerd $CTD_VERSION does not start"
# multi:1 is an index of which only this platform is there.
check "ctr images export" ctd_ctr one images export --platform linux/amd64 "$T/export.tar" "$R/multi:1" "$R/zstd:1"
# In a namespace without these layers: in another it takes them compressed, as they came from the registry.
check "ctr images import, for comparison" ctd_ctr one -n other images import --no-unpack --platform linux/amd64 "$T/docker.tar"
wanted=$(target one example.org/docker:1 -n other)
ctd_stop one
rm -rf -- "$root"
registry_stop

check "preload of docker-archive:" preload "$root" "docker-archive:$T/export.tar" "docker-archive:$T/docker.tar" --pause none
check "the same as oci-archive: is up to date" preload "$root" "oci-archive:$T/export.tar" --pause none
check "verify finds notes at the most" "$K3SIMG" verify --deep --root "$root"
ctd_start "$CTD_VERSION" "$root" two || die "containerd $CTD_VERSION does not start"
check_eq "a docker archive becomes what containerd makes of it" "$(target two example.org/docker:1)" "$wanted"
for name in multi:1 zstd:1; do
    check_eq "$name: the registry's digest" "$(target two "$R/$name")" "$(image_digest "$name")"
    check "$name: containerd's tree" "$PYTHON" "$LIB/tree.py" "$(ctd_image_dir two "$R/$name")" "$(reference_tree "$name")"
done
table=$(ctd_ctr two images check --snapshotter native)
check_eq "ctr images check: all complete and unpacked" "$(awk 'NR > 1' <<<"$table" | grep -vc ' complete .* true *$')" 0
check_eq "ctr images check: all three" "$(grep -cE "^($R/(multi|zstd):1|example.org/docker:1) " <<<"$table")" 3
check_has "CRI knows the image by its ID" "$(cri image-status "$(cri image-status example.org/docker:1 |
    "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["id"])')")" '"example.org/docker:1"'
check_eq "nothing that containerd calls an error" "$(ctd_complaints two)" ""
ctd_stop two
finish
