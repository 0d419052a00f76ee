#!/bin/bash
# The pause image comes from the configuration that belongs to the root, and
# list shows what is there in three forms.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry

# A root as k3s has it: .../agent/containerd with .../agent/etc/containerd.
agent=$T/k3s/agent
mkdir -p "$agent/etc/containerd"
for form in v2 v3; do
    if [ $form = v2 ]; then
        printf 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "%s"\n' "$PAUSE"
    else
        printf "version = 3\n[plugins.'io.containerd.cri.v1.images']\n  snapshotter = \"native\"\n"
        printf "[plugins.'io.containerd.cri.v1.images'.pinned_images]\n  sandbox = '%s'\n" "$PAUSE"
    fi >"$agent/etc/containerd/config.toml"
    root=$agent/containerd
    warned=0
    [ $form = v3 ] || warned=1
    "$K3SIMG" preload --root "$root" "$REGISTRY/exit:1" >"$T/out" 2>"$T/err"
    check_eq "k3s root, config $form: preload" "$?" 0
    check_eq "k3s root, config $form: warns if another snapshotter is in use" \
        "$(grep -c '^warning: .*config.toml: .*"overlayfs" by default' "$T/err")" $warned
    check_has "k3s root, config $form: its pause image is in" "$(names "$root")" "^$PAUSE\$"
    rm -rf -- "$root"
done

root=$T/root
check "--pause REF" "$K3SIMG" preload --root "$root" --pause "$PAUSE" "$REGISTRY/exit:1" "$REGISTRY/multi:1"
check_has "--pause REF is in" "$(names "$root")" "^$PAUSE\$"
rm -rf -- "$T/none"
check "--pause none" "$K3SIMG" preload --root "$T/none" --pause none "$REGISTRY/exit:1"
check_eq "--pause none brings no pause image" "$(names "$T/none")" "$REGISTRY/exit:1"

# list
check_eq "list -o name, sorted" "$(names "$root" | tr '\n' ' ')" \
    "$REGISTRY/exit:1 $REGISTRY/multi:1 $PAUSE "
check_has "list as a table" "$("$K3SIMG" list --root "$root")" "exit"
check_eq "list -o json is JSON and has them all" "$("$K3SIMG" list --root "$root" -o json | "$PYTHON" -c '
import json, sys
x = json.load(sys.stdin)
text = json.dumps(x)
print(sum(ref in text for ref in sys.argv[1:]))' "$REGISTRY/exit:1" "$REGISTRY/multi:1" "$PAUSE")" 3
before=$(store_state "$root")
"$K3SIMG" list --root "$root" >/dev/null
check_eq "list changes nothing" "$(store_state "$root")" "$before"
ctd_start "$CTD_VERSION" "$root" && {
    check_has "list while containerd runs: says so or lists" "$("$K3SIMG" list --root "$root" 2>&1)" 'exit|running'
    ctd_stop
}

# -f LIST: comments, blank lines and several lists.
printf '# a comment\n\n%s\n  %s  \n' "$REGISTRY/exit:1" "$REGISTRY/static:1" >"$T/list"
check "-f LIST" preload "$T/listed" -f "$T/list" "$REGISTRY/multi:1"
check_eq "-f LIST and a name: all are there" "$(names "$T/listed" | wc -l)" 4
check_eq "-q shows no progress" "$(preload "$T/quiet" -q "$REGISTRY/exit:1" 2>&1 >"$T/out")" ""

# another namespace, another platform
check "--namespace" "$K3SIMG" preload --root "$T/ns" --namespace other --pause none "$REGISTRY/exit:1"
check "--platform linux/arm64" "$K3SIMG" preload --root "$T/arm" --platform linux/arm64 --pause none "$REGISTRY/multi:1"
ctd_start "$CTD_VERSION" "$T/ns" ns && {
    check_eq "--namespace: k8s.io has nothing" "$(cri images)" "[]"
    # The last -n wins.
    check_has "--namespace: other has it" "$(ctd_ctr ns -n other images ls -q)" "exit:1"
    ctd_stop ns
}

# TLS, credentials
registry_start -n secure -a -t
secure=$REGISTRY
printf '{"auths": {"%s": {"auth": "%s"}}}\n' "$secure" "$(printf tester:secret | base64)" >"$T/auth.json"
export SSL_CERT_FILE=$T/secure/ca.pem CURL_CA_BUNDLE=$T/secure/ca.pem
check "TLS and --creds" "$K3SIMG" preload --root "$T/tls" --pause none --creds tester:secret "$secure/exit:1"
check "TLS and REGISTRY_AUTH_FILE" env "REGISTRY_AUTH_FILE=$T/auth.json" \
    "$K3SIMG" preload --root "$T/tls2" --pause none "$secure/exit:1"
mkdir "$HOME/.docker"
cp "$T/auth.json" "$HOME/.docker/config.json"
check "TLS and docker's config.json" "$K3SIMG" preload --root "$T/tls3" --pause none "$secure/exit:1"
rm -rf -- "$HOME/.docker"
"$K3SIMG" preload -q --root "$T/tls4" --pause none --creds tester:Tr0ub4dor "$secure/exit:1" >"$T/out" 2>&1
check_eq "a wrong password: exit code 4" "$?" 4
check "the password is not in the message" test -z "$(grep Tr0ub4dor "$T/out")"
unset SSL_CERT_FILE CURL_CA_BUNDLE
"$K3SIMG" preload -q --root "$T/tls5" --pause none --creds tester:secret "$secure/exit:1" >"$T/out" 2>&1
check_eq "a certificate nobody vouches for: exit code 5" "$?" 5
check_eq "and no plain HTTP behind it" "$(grep -c 'HTTP request to an HTTPS server' "$T/secure/log")" 0
finish
