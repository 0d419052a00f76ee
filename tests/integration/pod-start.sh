#!/bin/bash
# Containers start from a store we wrote, flat or chain, with no registry.
# Modes: offline or live
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
names="nginx:7 exit:1 static:1 zstd:1 multi:1"
for mode in $(both_modes); do
    root=$T/$mode
    # shellcheck disable=SC2046,SC2086
    check "$mode: preload into a root that does not exist" preload "$root" --snapshots "$mode" $(refs $names)
done
registry_stop

for mode in $(both_modes); do
    ctd_start "$CTD_VERSION" "$T/$mode" "$mode" || { fail "$mode: containerd starts"; continue; }
    port=$(free_port)
    state=$(cri run "$REGISTRY/nginx:7" --env "PORT=$port")
    check_has "$mode: a pod with nginx runs" "$state" '"state": "running"'
    check_eq "$mode: nginx answers with its page" "$(page "$port")" "<h1>k3simg test page</h1>"
    id=$(printf '%s\n' "$state" | sed -n 's/^ "id": "\(.*\)",$/\1/p')
    check_has "$mode: file capabilities are there inside" \
        "$(cri exec "$id" -- getcap /odd/with-capability)" 'cap_net_bind_service,cap_net_admin=ep|cap_net_admin,cap_net_bind_service'
    check_has "$mode: set-uid bits are there inside" "$(cri exec "$id" -- stat -c '%a %u' /odd/setuid)" '4755 0'
    check_has "$mode: exit:1 prints and ends" "$(cri run "$REGISTRY/exit:1" --for 30)" '"output": "ran to the end'
    check_has "$mode: the static binary prints and ends" "$(cri run "$REGISTRY/static:1" --for 30)" 'static binary ran'
    check_has "$mode: zstd layers: the new file is listed" "$(cri run "$REGISTRY/zstd:1" --for 30)" 'new'
    check_has "$mode: the right platform of the index ran" "$(cri run "$REGISTRY/multi:1" --for 30)" '"output": "amd64'
    check_has "$mode: an image that is not there does not start" "$(cri run "$REGISTRY/none:1" 2>&1)" 'cri.py: run: NOT_FOUND'
    ctd_stop "$mode"
done
finish
