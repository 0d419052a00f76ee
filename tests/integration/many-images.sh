#!/bin/bash
# From 1 image to many: bbolt's own checker accepts every database, and so does
# containerd.  TORTURE=full: 2,000 of them on each, else 500.
# Short form: once.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

if [ "${TORTURE:-}" = full ]; then
    most=2000
else
    most=500
fi
MANY_MAX=${MANY_MAX:-$most}
registry_start -s "$(images_many "$MANY_MAX")/registry" -r
root=$T/root
meta=$root/io.containerd.metadata.v1.bolt/meta.db
native=$root/io.containerd.snapshotter.v1.native/metadata.db
done=0
for upto in 1 2 10 100 500 "$MANY_MAX"; do
    [ "$upto" -le "$MANY_MAX" ] || continue
    [ "$upto" -gt "$done" ] || continue
    for ((i = 0; i < upto; i++)); do
        printf '%s/many:%d\n' "$REGISTRY" "$i"
    done >"$T/list"
    start=$(now_ms)
    check "preload of $upto images" "$K3SIMG" preload --root "$root" --pause none -f "$T/list"
    printf '      %d ms, meta.db %d KiB, metadata.db %d KiB\n' $(($(now_ms) - start)) \
        $(($(stat -c %s "$meta") >> 10)) $(($(stat -c %s "$native") >> 10))
    check "bbolt's checker with $upto images" bbolt_check "$meta" "$native"
    check_eq "list names $upto images" "$(names "$root" | wc -l)" "$upto"
    done=$upto
done
if ctd_start "$CTD_VERSION" "$root"; then
    check_eq "containerd lists $MANY_MAX images" "$(cri images | grep -c '^  "id"')" "$MANY_MAX"
    ctd_ctr ctd images rm --sync "$REGISTRY/many:7" >/dev/null
    # shellcheck disable=SC2046,SC2086
    check "containerd removes 100" cri rmi $(for ((i = 50; i < 150; i++)); do echo "$REGISTRY/many:$i"; done)
    check "containerd pulls one back" cri pull "$REGISTRY/many:100"
    ctd_stop
else
    fail "containerd starts"
fi
check "bbolt's checker after containerd" bbolt_check "$meta" "$native"
check "preload of all again" "$K3SIMG" preload --root "$root" --pause none -f "$T/list"
check "bbolt's checker at the end" bbolt_check "$meta" "$native"
check_eq "list names all" "$(names "$root" | wc -l)" "$MANY_MAX"
finish
