# shellcheck shell=bash
# A real OCI registry (Debian's docker-registry) on a free loopback port.
# Source common.sh first; the caller has made $T.

# free_port: a TCP port of 127.0.0.1 that nobody uses now.
free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# registry_start [-n NAME] [-s DIR] [-r] [-a] [-k] [-t] [-c]: start a registry and set $REGISTRY
# to its host:port.  It serves the test images (read-only) unless -s names a
# directory of its own (-r: read-only as well).  -a asks for user "tester", password "secret"; -t speaks
# TLS with a certificate of the CA in $T/NAME/ca.pem; -c also wants one of the client
# ($T/NAME/client.pem, client.key); -k sends who comes to the token service of tokens_start.  NAME
# (default: registry) is for registry_stop; the log is $T/NAME/log.
registry_start() {
    local OPTIND opt name=registry storage="" readonly="" auth="" tokens="" tls="" client="" dir i port
    while getopts n:s:raktc opt; do
        case $opt in
        n) name=$OPTARG ;;
        s) storage=$OPTARG ;;
        r) readonly=1 ;;
        a) auth=1 ;;
        k) tokens=1 ;;
        t) tls=1 ;;
        c) client=1 ;;
        *) return 2 ;;
        esac
    done
    dir=$T/$name
    mkdir -p "$dir"
    if [ -z "$storage" ]; then
        storage=$(images_storage) || exit 99
        storage=$storage/registry readonly=1
    fi
    [ -n "$tls" ] && [ ! -e "$dir/server.pem" ] && _registry_certificates "$dir"
    [ -n "$auth" ] && "$PYTHON" - >"$dir/htpasswd" <<'PY'
import warnings
warnings.simplefilter("ignore")
import crypt
print("tester:" + crypt.crypt("secret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32)))
PY
    for ((i = 0; i < 5; i++)); do
        port=$(free_port)
        {
            printf 'version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: false\n'
            printf 'storage:\n  filesystem:\n    rootdirectory: %s\n' "$storage"
            if [ -n "$readonly" ]; then
                printf '  maintenance:\n    readonly:\n      enabled: true\n'
            else
                printf '  delete:\n    enabled: true\n'
            fi
            printf 'http:\n  addr: 127.0.0.1:%s\n' "$port"
            [ -z "$tls" ] || printf '  tls:\n    certificate: %s\n    key: %s\n' "$dir/server.pem" "$dir/server.key"
            [ -z "$client" ] || printf '    clientcas:\n      - %s\n' "$dir/ca.pem"
            [ -z "$auth" ] || printf 'auth:\n  htpasswd:\n    realm: test\n    path: %s\n' "$dir/htpasswd"
            [ -z "$tokens" ] || printf 'auth:\n  token:\n    realm: http://127.0.0.1:%s/token\n    service: %s\n    issuer: %s\n    rootcertbundle: %s\n' \
                "$(cat "$T/tokens/port")" k3simg-test k3simg-test "$T/tokens/root.pem"
        } >"$dir/config.yml"
        (exec env -i PATH="$PATH" OTEL_TRACES_EXPORTER=none docker-registry serve "$dir/config.yml" \
            >>"$dir/log" 2>&1 </dev/null) &
        echo $! >"$dir/pid"
        if _registry_ready "$dir" "$port" "$tls"; then
            REGISTRY=127.0.0.1:$port
            export REGISTRY
            at_exit registry_stop "$name"
            return 0
        fi
        registry_stop "$name"
    done
    tail -n 5 "$dir/log" >&2
    die "docker-registry does not start"
}

_registry_ready() {
    local i
    for ((i = 0; i < 100; i++)); do
        kill -0 "$(cat "$1/pid")" 2>/dev/null || return 1
        if curl -s -o "$1/probe" --noproxy '*' ${3:+--cacert "$1/ca.pem" --cert "$1/client.pem" --key "$1/client.key"} "http${3:+s}://127.0.0.1:$2/v2/"; then
            return 0
        fi
        sleep 0.05
    done
    return 1
}

_registry_certificates() {
    (
        cd "$1" || exit
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
            -subj '/CN=k3simg test CA' -keyout ca.key -out ca.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
            -subj '/CN=127.0.0.1' -keyout server.key -out server.csr
        printf 'subjectAltName=IP:127.0.0.1,DNS:reg.test\nbasicConstraints=CA:FALSE\n' >ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile ext -out server.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
            -subj '/CN=tester' -keyout client.key -out client.csr
        openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out client.pem
    ) >"$1/openssl.log" 2>&1 || die "openssl could not make certificates"
}

# tokens_start: a token service for registries (tokens.py); its log is $T/tokens/log.
tokens_start() {
    local i
    mkdir "$T/tokens"
    "$PYTHON" "$LIB/tokens.py" "$T/tokens/port" "$T/tokens/log" "$T/tokens" >"$T/tokens/err" 2>&1 &
    at_exit kill $!
    for ((i = 0; i < 200; i++)); do
        [ ! -s "$T/tokens/port" ] || return 0
        sleep 0.05
    done
    die "the token service does not start: $(cat "$T/tokens/err")"
}

# registry_stop [NAME]
registry_stop() {
    local pidfile=$T/${1:-registry}/pid
    [ -s "$pidfile" ] || return 0
    kill "$(cat "$pidfile")" 2>/dev/null
    wait "$(cat "$pidfile")" 2>/dev/null
    rm -f "$pidfile"
}

# registry_blobs [NAME]: digests of the blobs that were read, in order.
registry_blobs() {
    sed -n 's|.*"GET /v2/[^ ]*/blobs/\(sha256:[0-9a-f]*\) HTTP[^"]*" 20[06] .*|\1|p' "$T/${1:-registry}/log"
}
