#!/bin/bash
# What becomes of a preload when the network or the registry misbehaves: it
# recovers by itself, and nothing is fetched twice; or it ends in time with the
# right exit code, one line that says whose fault it is, and a hint.
# Once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

AT_ONCE=48 # most of them wait for something
PARALLEL=() CASES=()
declare -A WANTED REASON MOST CHECK

# --- certificates: of a CA of our own, and what is wrong with them ---
certificates() {
    local dir=$1 name
    mkdir -p "$dir" && cd "$dir" || return
    for name in ca stranger; do
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
            -subj "/CN=badnet $name" -keyout "$name-key.pem" -out "$name.crt" || return
    done
    certificate good 'IP:127.0.0.1,DNS:tls-good.test' ca &&
        certificate otherhost 'DNS:registry.example' ca &&
        certificate unknown 'IP:127.0.0.1,DNS:*.test' stranger &&
        certificate expired 'IP:127.0.0.1,DNS:*.test' ca \
            -startdate 20200101000000Z -enddate 20200201000000Z &&
        certificate future 'IP:127.0.0.1,DNS:*.test' ca \
            -startdate 20900101000000Z -enddate 20910101000000Z &&
        cp good.pem old.pem && cp good.key old.key &&
        mkdir hashed && cp ca.crt hashed/ca.pem && openssl rehash hashed
}

# certificate NAME SAN CA [-startdate TIME -enddate TIME]
certificate() {
    local name=$1 san=$2 ca=$3
    shift 3
    [ $# != 0 ] || set -- -days 2
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=badnet" \
        -keyout "$name.key" -out "$name.csr" || return
    printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\n' "$san" >"$name.ext"
    rm -f index index.attr serial
    : >index
    printf '[ca]\ndefault_ca=x\n[x]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n' >ca.cnf
    printf 'policy=p\nunique_subject=no\n[p]\ncommonName=supplied\n' >>ca.cnf
    openssl ca -batch -config ca.cnf -in "$name.csr" -cert "$ca.crt" -keyfile "$ca-key.pem" -out "$name.pem" \
        -notext -extfile "$name.ext" "$@"
}

(certificates "$T/tls") >"$T/openssl.log" 2>&1 </dev/null || die "openssl could not make certificates: $(tail -n 3 "$T/openssl.log")"
"$PYTHON" "$LIB/badnet.py" "$T/ports" "$T/requests" "$T/tls" >"$T/badnet.log" 2>&1 &
at_exit kill $!
for ((i = 0; i < 200; i++)); do
    [ -s "$T/ports" ] && break
    sleep 0.05
done
# shellcheck disable=SC1091
. "$T/ports" 2>/dev/null || die "the bad network does not start: $(cat "$T/badnet.log")"
# The names are set by the file above.
: "${MAIN:?}" "${OTHER:?}" "${CLOSED:?}" "${FULL:?}" "${PROXY:?}" "${LAYER_SIZE:?}"
: "${TLS_GOOD:?}" "${TLS_OTHERHOST:?}" "${TLS_UNKNOWN:?}" "${TLS_EXPIRED:?}" "${TLS_FUTURE:?}" "${TLS_OLD:?}"

# begin NAME COMMAND...: run it in the background, a bounded number at a time.
begin() {
    local name=$1 still=() pid
    shift
    while [ ${#PARALLEL[@]} -ge $AT_ONCE ]; do
        wait -n "${PARALLEL[@]}" 2>/dev/null
        still=()
        for pid in "${PARALLEL[@]}"; do
            kill -0 "$pid" 2>/dev/null && still+=("$pid")
        done
        PARALLEL=("${still[@]}")
    done
    CASES+=("$name")
    mkdir "$T/$name"
    (
        timeout 110 "$@" >"$T/$name/out" 2>"$T/$name/err" </dev/null
        echo $? >"$T/$name/status"
    ) &
    PARALLEL+=($!)
}

# program NAME HOST ARGS...: the command line of a case; its repository is named after it.
program() {
    local name=$1 host=$2
    shift 2
    printf '%s\0' "$K3SIMG" preload -q --root "$T/$name/root" --pause none --platform linux/amd64 "$@" "$host/$name:1"
}

# works NAME [ARGS...]: it recovers.  $HOST, $PLAIN and ${ENV[@]} as they are.
HOST=$MAIN PLAIN=--plain-http ENV=()
works() {
    local name=$1 command
    shift
    WANTED[$name]=0 MOST[$name]=${LIMIT:-12} CHECK[$name]=$HOST
    mapfile -d '' command < <(program "$name" "$HOST" ${PLAIN:+"$PLAIN"} --timeout 24s "$@")
    begin "$name" env "${ENV[@]}" "${command[@]}"
}

# fails NAME CODE REASON [ARGS...]: it ends with that code, and its error line matches the ERE.
fails() {
    local name=$1 command
    WANTED[$name]=$2 REASON[$name]=$3 MOST[$name]=${LIMIT:-12} CHECK[$name]=$HOST
    shift 3
    mapfile -d '' command < <(program "$name" "$HOST" ${PLAIN:+"$PLAIN"} --timeout 8s "$@")
    begin "$name" env "${ENV[@]}" "${command[@]}"
}

# requests NAME [WHAT]: the lines of its requests.
requests() {
    awk -v name="$1" -v what="${2:-}" '$2 == name && (what == "" || $4 == what)' "$T/requests"
}

tree() {
    "$PYTHON" "$LIB/tree.py" --hash "$1/io.containerd.snapshotter.v1.native/snapshots"
}

judge_success() {
    local name=$1 whole
    if [ -s "$T/$name/err" ]; then
        fail "$name: nothing to complain about" "$(cat "$T/$name/err")"
    fi
    check_eq "$name: the image is whole" "$(tree "$T/$name/root" | sha256sum)" "$GOOD"
    check_eq "$name: it is recorded" "$("$K3SIMG" list --root "$T/$name/root" -o name | grep -v @)" "${CHECK[$name]}/$name:1"
    whole=$(requests "$name" layer | awk -v size="$LAYER_SIZE" '$8 >= size { n++ } END { print n + 0 }')
    if [ "$whole" -gt 1 ]; then
        fail "$name: the layer is not fetched twice" "$(requests "$name" layer)"
    fi
}

judge_failure() {
    local name=$1 line
    line=$(grep '^k3simg: error: ' "$T/$name/err")
    if [ "$(grep -c . <<<"$line")" = 1 ] && ! grep -qv '^k3simg: error: \|^hint: ' "$T/$name/err"; then
        ok "$name: one error line"
    else
        fail "$name: one error line" "$(cat "$T/$name/err")"
    fi
    check_has "$name: it names the image" "$line" "${CHECK[$name]}/$name:1"
    check_has "$name: it says why" "$line" "${REASON[$name]}"
    check_has "$name: a hint" "$(cat "$T/$name/err")" '^hint: .'
    if grep -q '[[:cntrl:]]' "$T/$name/err"; then
        fail "$name: no control characters" "$(cat -v "$T/$name/err")"
    fi
    check_eq "$name: no image is there" "$("$K3SIMG" list --root "$T/$name/root" -o name 2>/dev/null)" ""
    printf '      %s\n' "$(cut -c1-220 <<<"$line")" "$(grep '^hint: ' "$T/$name/err")"
}

judge() {
    local name=$1 status n
    while [ ! -s "$T/$name/status" ]; do
        sleep 0.1
    done
    status=$(cat "$T/$name/status")
    check_eq "$name: exit code" "$status" "${WANTED[$name]}"
    if [ "$status" != "${WANTED[$name]}" ]; then
        fail "$name: what it said" "$(cat "$T/$name/err")
$(requests "$name")"
    elif [ "$status" = 0 ]; then
        judge_success "$name"
    else
        judge_failure "$name"
    fi
    n=$(requests "$name" | wc -l)
    if [ "$n" -gt "${MOST[$name]}" ]; then
        fail "$name: at most ${MOST[$name]} requests" "$(requests "$name")"
    fi
}

# --- the right image, for comparison ---
works plain
wait "${PARALLEL[@]}"
PARALLEL=()
GOOD=$(tree "$T/plain/root" | sha256sum)
check "the tree has its files" test -s "$T/plain/root/io.containerd.snapshotter.v1.native/snapshots/1/noise"

# --- the default limits, begun first since they take a minute: many images of a dead registry ---
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    printf '%s/head.stall-0.always/image-%s:1\n' "$FULL" "$i"
done >"$T/many.list"
begin many-images "$K3SIMG" preload -q --root "$T/many" --pause none --plain-http -f "$T/many.list"

mkdir "$T/told-root"
begin told "$K3SIMG" preload --root "$T/told-root" --pause none --platform linux/amd64 --plain-http \
    "$MAIN/layer.status-503.once:1"
# The same in the default setting with a registry that takes connections and says nothing.
fails manifest.stall-0.always 5 'gave up after 2 attempts: .*sent nothing for' --timeout 60s

# --- no connection ---
HOST=$CLOSED
fails refused 5 'cannot connect to .*Connection refused'
fails refused-with-retries 5 'gave up after 4 attempts: .*Connection refused' --retries 3
fails refused-once 5 'cannot connect to' --retries 0
HOST=no-such-host.invalid
fails unresolved 5 'cannot (find|connect to)'
HOST=$FULL
fails backlog-full 5 'cannot connect to .*([Tt]imed out|Timeout)'

# --- broken, cut and silent connections ---
HOST=$MAIN
for where in 0 head mid last; do
    works layer.reset-$where.once
    works layer.close-$where.twice
    works manifest.reset-$where.once
    fails manifest.close-$where.always 5 'gave up after [0-9] attempts: .*(broke|Empty reply)' --timeout 20s
done
works head.reset-0.twice
works config.close-mid.once
fails any.reset-0.always 5 'gave up after [0-9] attempts: .*broke' --timeout 20s
fails layer.reset-0.always 5 'gave up after [0-9] attempts: .*broke' --timeout 20s
fails layer.close-5000.always 5 'gave up after [0-9] attempts: ' --timeout 20s
# Each of these gets further: there is no end of attempts, and nothing comes twice.
LIMIT=24 works layer.reset-70000.always
works layer.stall-mid.once --timeout 10s
works layer.stall-0.once --timeout 10s
works manifest.stall-head.once --timeout 10s
fails layer.stall-mid.always 5 'sent nothing for'
fails head.stall-0.always 5 'sent nothing for'
fails manifest.stall-mid.always 5 'sent nothing for'
fails layer.drip.always 5 'sent only [0-9]+ bytes in'
fails manifest.drip.always 5 'sent only [0-9]+ bytes in'
fails head.driphead.always 5 'sent no whole header in'
fails manifest.flood100.always 5 'sent no whole header in'
# 30 kB a second: as slow as it gets, but it comes.
works layer.slow-30000.always --timeout 10s

# --- bodies and lengths ---
fails layer.short.always 6 'size differs'
fails layer.long.always 6 'size differs'
fails layer.longunsaid.always 6 'larger than'
fails layer.length-more.always 6 'size differs'
fails layer.length-less.always 6 'size differs'
fails layer.length-words.always 5 'does not answer in HTTP'
# Taken for none; the descriptor says it all.
works layer.length-huge.always
fails layer.length-negative.always 5 'does not answer in HTTP'
fails layer.lengths.always 5 'two different Content-Lengths'
fails manifest.length-more.always 6 'larger than'
fails manifest.length-less.always 6 'digest|manifest of'
works layer.chunked-whole.always
works layer.chunked-cut.once
works layer.chunked-short.once
works layer.chunked-garbage.once
fails manifest.chunked-cut.always 5 'gave up after' --timeout 20s
fails layer.corrupt.always 6 'digest differs: expected'
# Not asked for again: the builder unpacks behind the download, and bytes that
# TLS carried whole are wrong where they lie.
fails layer.corrupt.once 6 'digest differs: expected'
fails manifest.corrupt.always 6 'digest differs'

# --- headers ---
fails manifest.type-html.always 5 'web page'
fails layer.type-html.always 5 'web page'
fails manifest.type-png.always 5 'Content-Type is image/png'
fails manifest.type-index.always 5 'Content-Type is'
fails manifest.type-control.always 5 'control characters'
works manifest.type-none.always
works layer.type-png.always
works layer.type-none.always
fails head.dcd-wrong.always 6 'digest differs'
works head.dcd-none.always
works head.dcd-garbage.always
fails manifest.dcd-wrong.always 6 'digest differs'
works manifest.dcd-none.always
fails manifest.head-many.always 6 'bytes of headers'
fails layer.head-line.always 6 'bytes of headers'
fails manifest.head-escape.always 5 'control characters'
fails manifest.head-nul.always 5 '.'
fails layer.head-cr.always 5 'control characters'
works layer.head-fold.always
fails any.garbage.always 5 'does not answer in HTTP'
fails layer.http09.always 5 'does not answer in HTTP'
works any.http10.always
works layer.gzip-said.always
fails layer.gzip-again.always 6 'differs|larger'
fails manifest.gzip-again.always 6 'differs|larger|manifest of'

# --- statuses ---
for status in 408 500 502 503 504; do
    works any.status-$status.twice --retries 6
done
works any.status-503.once
fails any.status-503.always 5 'gave up after 3 attempts: .*HTTP 503' --retries 2
fails layer.status-500.always 5 'gave up after 3 attempts: .*HTTP 500' --retries 2
fails manifest.status-501.always 5 'HTTP 501'
fails layer.status-418.always 5 'HTTP 418'
works any.later-1.once
works layer.later-date.once
works layer.later-text.once
works layer.later--5.once
fails any.later-60.always 5 'HTTP 429 and is to be asked again in 60 s'
fails layer.later-99999999999999999999999.always 5 'asked again in 86400 s'
fails layer.later-year9999.always 5 'asked again in 86400 s'
fails any.later-1.always 5 'gave up after [0-9] attempts: .*HTTP 429'

# --- redirects ---
works layer.redirect-other.always
fails any.redirect-loop.always 5 'more than 10 redirects'
for to in file gopher user long garbage none empty; do
    fails layer.redirect-$to.always 5 'redirect'
done
fails layer.redirect-dead.always 5 'Connection refused'
fails layer.redirect-slow.always 5 'no time is left|sent nothing|more than 10 redirects'

# --- a layer that breaks, and a server that does not like ranges ---
for fault in norange contentrange-wrong contentrange-none contentrange-garbage status-416 status-400 status-403; do
    works "cut.$fault.once"
done
works cut.status-500.twice
works cut.norange.always
fails cut.contentrange-total.always 6 'size differs'
fails cut.contentrange-beyond.once 6 'size differs'
LIMIT=20 works cut.pieces-20000.always
LIMIT=80 fails cut.pieces-1.always 5 'too many pieces' --timeout 60s
fails cut.corrupt.always 6 'digest differs'

# --- tokens and passwords ---
works auth.good.0 --jobs 1
works auth.noscope.0 --jobs 1
works auth.expires.0 --jobs 1
works auth.expiresmid.0 --jobs 1
works auth.tok500once.0
works auth.redirect.0
works auth.redirect-cut.0
works auth.tokredirect.0 --creds tester:secret
works basic.redirect-cut.0 --creds tester:secret
fails auth.refused.0 4 'HTTP 401'
fails auth.tok500.0 5 'token service: .*HTTP 500' --retries 1
fails auth.tok404.0 5 'token service'
fails auth.tok401.0 4 'token service: .*wrong password' --creds tester:secret
fails auth.tokgarbage.0 5 'token service'
fails auth.tokcontrol.0 5 'no usable token'
fails auth.tokhuge.0 6 'token service: .*65536 bytes for a token'
fails auth.tokstall.0 5 'token service: .*sent nothing'
fails auth.tokdrip.0 5 'token service: .*sent only'
fails auth.tokloop.0 5 'token service: .*redirects'
fails auth.realmfile.0 5 'token service'
fails basic.refused.0 4 'wants credentials'

# --- TLS ---
PLAIN="" HOST=$MAIN
works loopback-without-tls
PLAIN="" HOST=$TLS_GOOD
ENV=(SSL_CERT_FILE="$T/tls/ca.crt")
works tls-cert-file
ENV=(SSL_CERT_DIR="$T/tls/hashed")
works tls-cert-dir
ENV=()
works tls-ca-file --ca-file "$T/tls/ca.crt"
fails tls-unknown-without 5 'certificate of .* refused: .*issuer' --ca-file "$T/tls/stranger.crt"
HOST=$TLS_EXPIRED
fails tls-expired 5 'certificate of .* refused: .*expired' --ca-file "$T/tls/ca.crt"
HOST=$TLS_FUTURE
fails tls-future 5 'certificate of .* refused: .*not yet valid' --ca-file "$T/tls/ca.crt"
HOST=$TLS_UNKNOWN
fails tls-unknown 5 'certificate of .* refused: .*issued by .*badnet stranger' --ca-file "$T/tls/ca.crt"
HOST=$TLS_OTHERHOST
fails tls-otherhost 5 'certificate of .* refused' --ca-file "$T/tls/ca.crt"
HOST=$TLS_OLD
fails tls-old 5 'TLS handshake with .* failed' --ca-file "$T/tls/ca.crt"

# --- names behind a proxy: nothing of what loopback addresses are allowed holds for them ---
ENV=(https_proxy="http://$PROXY" http_proxy="http://$PROXY")
HOST=tls-good.test
works proxy-tls --ca-file "$T/tls/ca.crt"
works layer.close-mid.5 --ca-file "$T/tls/ca.crt"
fails layer.redirect-plain.always 5 'redirect from TLS to plain HTTP' --ca-file "$T/tls/ca.crt"
fails auth.realmplain.0 5 'token fetched over plain HTTP' --ca-file "$T/tls/ca.crt"
HOST=plain.test
fails proxy-plain-on-tls-port 5 'does not speak TLS'
works proxy-plain-http --plain-http
HOST=refused.test
fails proxy-refuses 5 'the proxy does not connect to https://refused.test: HTTP 403'
HOST=silent.test
fails proxy-silent 5 'cannot connect to'
ENV=(https_proxy="http://$CLOSED")
HOST=tls-good.test
fails proxy-dead 5 'cannot connect to'

# --- make torture: broken at many places, by FIN and by RST ---
if [ -n "${TORTURE:-}" ]; then
    ENV=() HOST=$MAIN PLAIN=--plain-http
    for what in head manifest config layer; do
        for ((i = 1; i < 130; i += 9)); do
            works $what.close-h$i.once
            works $what.reset-h$i.once
        done
    done
    for ((i = 1; i < 421; i += 30)); do
        works manifest.close-$i.once
        works manifest.reset-$i.twice
    done
    for ((i = 1; i < LAYER_SIZE; i += 9973)); do
        works layer.close-$i.once
        works layer.reset-$i.twice
    done
    # Each answer brings this many bytes and breaks.
    for ((i = 65536; i < LAYER_SIZE; i += 33331)); do
        LIMIT=12 works layer.close-$i.always
    done
fi

# Those that take the default minute come last.
for name in "${CASES[@]}"; do
    [ -z "${WANTED[$name]:-}" ] || [ "$name" = manifest.stall-0.always ] || judge "$name"
done
judge manifest.stall-0.always
wait "${PARALLEL[@]}"
check_eq "many images of a dead registry: exit code" "$(cat "$T/many-images/status")" 5
check_eq "many images of a dead registry: each is named" "$(grep -c "^k3simg: error: $FULL/" "$T/many-images/err")" 12
check_eq "a retry is told, but not with -q: exit code" "$(cat "$T/told/status")" 0
check_has "a retry is told: by one line" "$(cat "$T/told/err")" '^blob sha256:.*HTTP 503.*; trying again in [0-9.]+ s$'

# --- tokens: no more of them than it takes ---
token_queries() {
    requests "$1" token | awk '{ print $1, $9 }' | sort | uniq -c | sed 's/^ *//'
}
scope='service=badnet&scope=repository%3a'
check_eq "one token for all of an image" "$(token_queries auth.good.0)" "1 OTHER ${scope}auth.good.0%3apull"
check_eq "the scope we need, where the challenge has none" "$(token_queries auth.noscope.0)" "1 OTHER ${scope}auth.noscope.0%3apull"
check_eq "a token that expired is fetched again once" "$(token_queries auth.expires.0)" "2 OTHER ${scope}auth.expires.0%3apull"
check_eq "also in the middle of a layer" "$(token_queries auth.expiresmid.0)" "2 OTHER ${scope}auth.expiresmid.0%3apull"
check_eq "a token refused at once is the end" "$(token_queries auth.refused.0)" "1 OTHER ${scope}auth.refused.0%3apull"

# --- what the other hosts were shown ---
check_eq "no credentials went to another host" \
    "$(awk '$1 == "OTHER" && $4 != "token" && $6 != "-"' "$T/requests")" ""
check_eq "a redirect of the token service keeps the password from the other host" \
    "$(requests auth.tokredirect.0 token | awk '{ print $1, substr($6, 1, 6) }' | sort -u)" "MAIN -
OTHER Basic:"
# PORT, with Authorization, with Range
check_eq "the rest of a redirected layer is asked for at the registry, and it alone sees the token" \
    "$(requests auth.redirect-cut.0 layer | awk '{ print $1, $6 != "-", $5 != "-" }')" "MAIN 1 0
OTHER 0 0
MAIN 1 1
OTHER 0 1"
finish
