#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A session hook: call it when a machine or a sandbox starts, before containerd or k3s does.  It
# writes what pods need there and preloads the images of a bundle and of a list; where all is in
# place, that takes a moment, and no network if the list names digests.
#
#   K3SIMG_BUNDLE a file of k3simg bundle create (default: none)
#   K3SIMG_LIST   the images, one a line (default: /etc/k3simg/images.list if there is one)
#   K3SIMG_SETUP  more options for k3simg setup, as "--k3s" or "--runtime /opt/bin/crun"
#   K3SIMG_ARGS   more options for k3simg bundle apply and preload, as "--snapshots chain"
#   K3SIMG        the program (default: k3simg in $PATH)
#
# Exit status: that of the first command that failed (k3simg(1)), else 0.
set -eu

k3simg=${K3SIMG:-k3simg}
list=${K3SIMG_LIST:-/etc/k3simg/images.list}

# Options are words.
# shellcheck disable=SC2086
"$k3simg" setup ${K3SIMG_SETUP:-} >&2

if [ -n "${K3SIMG_BUNDLE:-}" ]; then
    # shellcheck disable=SC2086
    "$k3simg" bundle apply ${K3SIMG_ARGS:-} "$K3SIMG_BUNDLE"
fi
if [ -n "${K3SIMG_LIST:-}" ] || [ -e "$list" ]; then
    # shellcheck disable=SC2086
    "$k3simg" preload ${K3SIMG_ARGS:-} --file "$list"
fi
