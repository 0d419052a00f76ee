#!/bin/bash
# What the files of a machine say of registries: mirrors, TLS and headers through
# hosts.toml, registries.yaml and config.toml; mirrors that are broken or lie;
# proxies; config show and --debug-http.
# Each half once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

registry_start -n plain
PLAIN=$REGISTRY
"$PYTHON" "$LIB/mirror.py" "$T/mirror.port" "$T/mirror.log" "$PLAIN" >"$T/mirror.err" 2>&1 &
at_exit kill $!
for ((i = 0; i < 200; i++)); do
    [ ! -s "$T/mirror.port" ] || break
    sleep 0.05
done
MIRROR=http://127.0.0.1:$(cat "$T/mirror.port")
N=0 IMAGE=exit:1

# try STATUS NAME ARGS...: a preload into a root of its own; $OUT has what it says.
try() {
    local want=$1 name=$2 got
    shift 2
    N=$((N + 1))
    : >"$T/mirror.log"
    "$K3SIMG" preload --root "$T/root$N" --pause none --timeout 10s --retries 1 "$@" >"$T/out" 2>"$T/err" </dev/null
    got=$?
    OUT=$(cat "$T/out" "$T/err")
    check_eq "$name" "$got" "$want"
    [ "$got" = "$want" ] || printf '%s\n' "$OUT"
}

# hosts HOST TEXT: a fresh --hosts-dir, $DIR, with that hosts.toml.
hosts() {
    DIR=$T/certs$N
    mkdir -p "$DIR/$1"
    printf '%s\n' "$2" >"$DIR/$1/hosts.toml"
    N=$((N + 1))
}

# asked KIND [PATTERN]: how often that mirror was.
asked() {
    grep -c "^$1 .*${2:-}" "$T/mirror.log"
}

with_hosts_toml() {
    hosts reg.test "[host.\"$MIRROR/good\"]
capabilities = [\"pull\", \"resolve\"]
[host.\"$MIRROR/good\".header]
X-Test = \"marked\""
    try 0 "hosts.toml: a mirror of a registry that is not there" --hosts-dir "$DIR" reg.test/$IMAGE
    check_eq "hosts.toml: every request has ns and the header" \
        "$(grep -vc 'ns=reg.test authorization=None x-test=marked$' "$T/mirror.log")" 0
    check_eq "hosts.toml: the tag was asked for by HEAD, once" "$(asked good 'HEAD ')" 1
    check "hosts.toml: the image has its own name" names_has "$T/root$N" reg.test/$IMAGE

    hosts _default "[host.\"$MIRROR/good\"]
capabilities = [\"pull\"]
[host.\"http://$PLAIN\"]"
    try 0 "hosts.toml: _default, and a mirror without resolve" --hosts-dir "$DIR" reg.test/$IMAGE
    check_eq "hosts.toml: no tag is asked of that mirror" "$(asked good 'manifests/1')" 0
    check "hosts.toml: but blobs are" test "$(asked good /blobs/)" -gt 0

    hosts reg.test "server = \"$MIRROR/low/v2/\"
override_path = true"
    try 0 "hosts.toml: override_path" --hosts-dir "$DIR" reg.test/$IMAGE
    check_has "a low rate limit is told" "$OUT" 'warning: .* lets you pull 3 more images of 100 in 360 minutes'
    check_eq "once" "$(grep -c 'lets you pull' <<<"$OUT")" 1

    hosts reg.test 'server = "https://x"
[host."https://y"'
    try 6 "hosts.toml: a syntax error" --hosts-dir "$DIR" reg.test/$IMAGE
    check_has "hosts.toml: names file and line" "$OUT" 'error: .*/reg.test/hosts.toml: line 2: '
    check_eq "hosts.toml: nothing is imported" "$(names "$T/root$N" 2>/dev/null)" ""
    hosts reg.test "[host.\"$MIRROR/good\"]
skip_verfy = true"
    try 0 "hosts.toml: an unknown key" --hosts-dir "$DIR" reg.test/$IMAGE
    check_has "hosts.toml: is a warning" "$OUT" 'warning: .*hosts.toml: line 2: unknown key "skip_verfy"'
    local log
    log=$(cat "$T/mirror.log")
    "$K3SIMG" preload --root "$T/root$N" --pause none --hosts-dir /nonexistent --registries /nonexistent \
        "reg.test/exit@$(image_digest exit:1)" >"$T/out" 2>"$T/err"
    check_eq "a run that needs no network reads no such file" "$?" 0
    check_eq "and asks nobody" "$(cat "$T/mirror.log")" "$log"
}

names_has() {
    names "$1" | grep -qxF "$2"
}

with_tls() {
    local ca cert
    registry_start -n tls -t -c
    cert=$T/tls/client.pem ca=$T/tls/ca.pem
    hosts reg.test "[host.\"https://$REGISTRY\"]
ca = \"$ca\"
client = [[\"$cert\", \"$T/tls/client.key\"]]"
    try 0 "TLS: private CA and client certificate" --hosts-dir "$DIR" reg.test/$IMAGE
    check_eq "TLS: verified without a word" "$(grep -c 'not verified' <<<"$OUT")" 0
    hosts reg.test "[host.\"https://$REGISTRY\"]
skip_verify = true
client = \"$T/tls/both.pem\""
    cat "$cert" "$T/tls/client.key" >"$T/tls/both.pem"
    try 0 "TLS: skip_verify, and a client certificate with its key" --hosts-dir "$DIR" reg.test/$IMAGE
    check_has "TLS: is told" "$OUT" 'warning: the TLS certificate of .* is not verified \(.*hosts.toml, line 3\)'
    check_eq "TLS: once" "$(grep -c 'not verified' <<<"$OUT")" 1
    hosts reg.test "server = \"https://$REGISTRY\"
ca = \"$ca\""
    try 4 "TLS: no client certificate" --hosts-dir "$DIR" reg.test/$IMAGE
    check_has "TLS: is what is missing" "$OUT" 'error: .* wants a client certificate'
    hosts reg.test "server = \"https://$REGISTRY\"
client = [[\"$cert\", \"$T/tls/client.key\"]]"
    try 5 "TLS: a CA that is not trusted" --hosts-dir "$DIR" reg.test/$IMAGE
    check_has "TLS: names the issuer" "$OUT" 'issued by .*k3simg test CA'
    try 0 "--tls-verify=false" --hosts-dir "$DIR" --tls-verify=false reg.test/$IMAGE
    check_has "--tls-verify=false: is told" "$OUT" 'warning: TLS certificates are not verified'
    try 2 "--tls-verify=maybe" --hosts-dir "$DIR" --tls-verify=maybe reg.test/$IMAGE
    hosts reg.test "server = \"https://$REGISTRY\"
ca = \"missing.pem\""
    try 2 "TLS: a CA file that is missing" --hosts-dir "$DIR" reg.test/$IMAGE
    check_has "TLS: names it, and the file that names it" "$OUT" 'reg.test/hosts.toml: line 2: .*missing.pem'
    # docker's layout, as the registry is itself
    mkdir -p "$T/docker/$REGISTRY"
    cp "$ca" "$T/docker/$REGISTRY/ca.crt"
    cp "$cert" "$T/docker/$REGISTRY/client.cert"
    cp "$T/tls/client.key" "$T/docker/$REGISTRY/client.key"
    try 0 "TLS: docker's layout" --hosts-dir "$T/docker" "$REGISTRY/$IMAGE"
    registry_stop tls
}

# passed_over URL WHY ARGS...: such a mirror in front of the registry itself.
passed_over() {
    local url=$1 why=$2
    shift 2
    hosts "$PLAIN" "[host.\"$url\"]"
    try 0 "mirror ${url##*/}, then the registry" --hosts-dir "$DIR" "$@" "$PLAIN/$IMAGE"
    check_has "mirror ${url##*/}: is named, and why" "$OUT" "warning: mirror ${url}[^ ]* .*$why"
}

with_bad_mirrors() {
    passed_over "http://127.0.0.1:$(free_port)" 'cannot connect.*asking https://.* instead'
    check_eq "a mirror that is not there is told of once" "$(grep -c '^warning: mirror' <<<"$OUT")" 1
    passed_over "$MIRROR/s404" 'HTTP 404.*instead'
    passed_over "$MIRROR/s503" 'HTTP 503.*instead'
    passed_over "$MIRROR/s401" 'credentials.*instead'
    check_eq "a mirror that wants a login is asked once" "$(asked s401)" 1
    passed_over "$MIRROR/blobless" 'HTTP 404.*instead'
    IMAGE=static:1 passed_over "$MIRROR/cut" 'instead'
    IMAGE=static:1 passed_over "$MIRROR/spoil" 'sent wrong bytes and is not asked again.*digest differs'
    check_eq "a mirror that lies is asked for nothing more" "$(asked spoil sha256:)" 1
    # Its layers were unpacked while they came: those trees are begun again.
    IMAGE=nginx:7 passed_over "$MIRROR/lies" 'sent wrong bytes and is not asked again'
    check "and what it sent is nowhere" "$K3SIMG" verify --deep --root "$T/root$N"
    IMAGE=nginx:7
    passed_over "$MIRROR/lies" 'sent wrong bytes' --chunk-size 1MiB
    check "nor of parts" "$K3SIMG" verify --deep --root "$T/root$N"
    IMAGE=exit:1
    hosts "$PLAIN" "[host.\"$MIRROR/spoil\"]
capabilities = [\"pull\"]
[host.\"$MIRROR/blobless\"]"
    try 0 "several mirrors that fail" --hosts-dir "$DIR" "$PLAIN/nginx:7"
    # Credentials given for a registry are not its mirror's.
    hosts "$PLAIN" "[host.\"$MIRROR/s401\"]"
    try 0 "--creds are for the registry" --hosts-dir "$DIR" --creds tester:secret "$PLAIN/exit:1"
    check_eq "and not for its mirror" "$(asked s401 authorization=Basic)" 0
    hosts reg.test "server = \"$MIRROR/good\"
[host.\"$MIRROR/s404\"]"
    try 3 "a tag that nobody has" --hosts-dir "$DIR" reg.test/exit:nope
}

with_registries_yaml() {
    registry_start -n closed -a
    cat >"$T/registries.yaml" <<YAML
mirrors:
  reg.test:
    endpoint:
      - "$MIRROR/good/v2"
    rewrite:
      "^org/team/(.*)": "\$1"
  auth.test:
    endpoint: ["http://$REGISTRY"]
  "*":
    endpoint: ["$MIRROR/s404/v2", "http://$PLAIN"]
configs:
  "$REGISTRY":
    auth: {username: tester, password: secret}
YAML
    try 0 "registries.yaml: mirror and rewrite" --registries "$T/registries.yaml" reg.test/org/team/$IMAGE
    check "registries.yaml: the image has its own name" names_has "$T/root$N" reg.test/org/team/$IMAGE
    check_eq "registries.yaml: the mirror knows it by another" "$(asked good /v2/org/)" 0
    try 0 "registries.yaml: credentials" --registries "$T/registries.yaml" auth.test/$IMAGE
    try 0 "registries.yaml: *, in order" --registries "$T/registries.yaml" else.test/$IMAGE
    check "registries.yaml: the first one was asked" test "$(asked s404)" -gt 0
    printf 'mirrors:\n  reg.test: [\n' >"$T/bad.yaml"
    try 6 "registries.yaml: a syntax error" --registries "$T/bad.yaml" reg.test/$IMAGE
    check_has "registries.yaml: names file, line and column" "$OUT" 'error: .*/bad.yaml: line [0-9]+, column [0-9]+: '
    try 3 "registries.yaml: not there" --registries "$T/none.yaml" reg.test/$IMAGE
}

# cri VERSION PLUGIN
with_cri_tables() {
    {
        printf 'version = %s\n[plugins."%s".registry.mirrors."reg.test"]\nendpoint = ["http://%s"]\n' "$1" "$2" "$REGISTRY"
        printf '[plugins."%s".registry.configs."%s".auth]\nusername = "tester"\npassword = "secret"\n' "$2" "$REGISTRY"
    } >"$T/config.toml"
    try 0 "config.toml version $1: mirror and credentials" --containerd-config "$T/config.toml" reg.test/$IMAGE
}

with_k3s_root() {
    local agent=$T/k3s/agent
    mkdir -p "$agent/etc/containerd/certs.d/reg.test"
    printf '[host."%s/good"]\n' "$MIRROR" >"$agent/etc/containerd/certs.d/reg.test/hosts.toml"
    check "certs.d of a k3s root" "$K3SIMG" preload --root "$agent/containerd" --pause none reg.test/$IMAGE
}

proxy_start() {
    local name=$1 i
    shift
    "$PYTHON" "$LIB/proxy.py" "$T/$name.port" "$T/$name.log" "$@" >"$T/$name.err" 2>&1 &
    at_exit kill $!
    for ((i = 0; i < 200; i++)); do
        [ ! -s "$T/$name.port" ] || break
        sleep 0.05
    done
    PROXY=127.0.0.1:$(cat "$T/$name.port")
}

# through NAME=VALUE...: one preload of a registry that only a proxy can find.
through() {
    local status=$1 name=$2 i
    shift 2
    for i; do
        export "${i?}"
    done
    try "$status" "$name" --hosts-dir "$DIR" "${FROM:-reg.test:${PLAIN#*:}}/$IMAGE"
    unset "${@%%=*}"
}

with_proxies() {
    hosts "reg.test:${PLAIN#*:}" "server = \"http://reg.test:${PLAIN#*:}\""
    proxy_start free
    through 0 "proxy: HTTP_PROXY" HTTP_PROXY="http://$PROXY"
    check_has "proxy: was asked" "$(cat "$T/free.log")" '^HEAD http://reg.test:[0-9]*/v2/exit/manifests/1 allowed'
    through 0 "proxy: http_proxy" http_proxy="http://$PROXY"
    through 5 "proxy: NO_PROXY" HTTP_PROXY="http://$PROXY" NO_PROXY=.test
    through 5 "proxy: NO_PROXY with the port" HTTP_PROXY="http://$PROXY" NO_PROXY="x.test,reg.test:${PLAIN#*:}"
    through 0 "proxy: NO_PROXY with another port" HTTP_PROXY="http://$PROXY" NO_PROXY=reg.test:1
    through 5 "proxy: no_proxy" http_proxy="http://$PROXY" no_proxy=reg.test
    proxy_start locked user:hidden
    through 0 "proxy with a password" HTTP_PROXY="http://user:hidden@$PROXY"
    through 4 "proxy: no password" HTTP_PROXY="http://$PROXY"
    check_has "proxy: and what to do" "$OUT" '^hint: a proxy wants credentials'
    registry_start -n tls -t
    FROM=reg.test:${REGISTRY#*:}
    hosts "$FROM" "ca = \"$T/tls/ca.pem\""
    through 0 "proxy: CONNECT, with HTTPS_PROXY" HTTPS_PROXY="http://user:hidden@$PROXY"
    check_has "proxy: tunnelled" "$(cat "$T/locked.log")" '^CONNECT reg.test:[0-9]* allowed'
    through 4 "proxy: CONNECT, no password" https_proxy="http://$PROXY"
    check_has "proxy: named, without its password" "$OUT" 'error: .*the proxy wants credentials'
    FROM=
}

with_show() {
    local shown
    hosts reg.test "server = \"http://$PLAIN\"
[host.\"$MIRROR/good\"]
capabilities = [\"pull\", \"resolve\"]
skip_verify = true
[host.\"$MIRROR/good\".header]
X-Secret-Key = \"hunter2\""
    shown=$("$K3SIMG" config show --hosts-dir "$DIR" reg.test/a/b:1)
    check_has "config show: the mirror, first" "$shown" "^ +1\. $MIRROR/good/v2 \(mirror; pull resolve\)"
    check_has "config show: who decided it" "$shown" "decided by: $DIR/reg.test/hosts.toml:2 \[host"
    check_has "config show: who decided its TLS" "$shown" 'TLS decided by: .*hosts.toml:4'
    check_has "config show: the registry" "$shown" "^ +2\. http://$PLAIN/v2 "
    check_eq "config show: no secret" "$(grep -c hunter2 <<<"$shown")" 0
    shown=$("$K3SIMG" config show -o json --registries "$T/registries.yaml" auth.test/x)
    check_has "config show: JSON" "$("$PYTHON" -c 'import json, sys; d = json.load(sys.stdin); e = d["endpoints"][0]
print(d["schemaVersion"], e["credentials"]["user"], e["credentials"]["decidedBy"]["line"])' <<<"$shown")" '^1 tester 13$'
    check_eq "config show: no password" "$(grep -c secret <<<"$shown")" 0
    "$K3SIMG" config show --registries "$T/bad.yaml" x.test/y >"$T/out" 2>&1
    check_eq "config show: a syntax error" "$?" 6
    "$K3SIMG" config show >"$T/out" 2>&1
    check_eq "config show: nothing named" "$?" 2
    try 0 "--debug-http" --debug-http --hosts-dir "$DIR" reg.test/$IMAGE
    check_has "--debug-http: requests" "$OUT" "^> HEAD $MIRROR/good/v2/exit/manifests/1\?ns=reg.test"
    check_has "--debug-http: answers" "$OUT" '^< HTTP 200 from http://127'
    check_has "--debug-http: hides what the configuration sends" "$OUT" '^> X-Secret-Key: \*\*\*$'
    check_eq "--debug-http: no secret" "$(grep -c hunter2 <<<"$OUT")" 0
    try 0 "--debug-http with credentials" --debug-http --registries "$T/registries.yaml" auth.test/$IMAGE
    check_has "--debug-http: hides credentials" "$OUT" '^> Authorization: Basic \*\*\*$'
    check_eq "--debug-http: no password" "$(grep -Ec "secret|$(printf tester:secret | base64)" <<<"$OUT")" 0
}

if my_turn 0; then
    with_hosts_toml
    with_tls
    with_bad_mirrors
fi
if my_turn 1; then
    with_registries_yaml
    with_cri_tables 1 cri
    with_cri_tables 2 io.containerd.grpc.v1.cri
    with_cri_tables 3 io.containerd.cri.v1.images
    with_k3s_root
    with_show
    with_proxies
fi

finish
