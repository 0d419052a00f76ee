#!/bin/bash
# Who one is at a registry: login and logout, auth files that skopeo reads and
# has written, credential helpers that work and that do not, a registry with
# htpasswd behind TLS, and one with a token service.
# Once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

tokens_start
registry_start -n secure -a -t
SECURE=$REGISTRY CA=$T/secure/ca.pem
registry_start -n tokened -k
TOKENED=$REGISTRY
registry_start -n open
OPEN=$REGISTRY
# skopeo looks for certificates below a directory of the registry's name.
mkdir -p "$T/certs/$SECURE"
cp "$CA" "$T/certs/$SECURE/ca.crt"
FILE=$T/auth.json CONFIG=$HOME/.docker/config.json
BIN=$T/bin
mkdir "$BIN"
PATH=$BIN:$PATH

login() {
    "$K3SIMG" login --ca-file "$CA" "$@"
}

# try STATUS NAME COMMAND...: its status, and no password in what it says; $OUT has that.
try() {
    local want=$1 name=$2 got
    shift 2
    "$@" >"$T/out" 2>"$T/err" </dev/null
    got=$?
    OUT=$(cat "$T/out" "$T/err")
    check_eq "$name" "$got" "$want"
    [ "$got" = "$want" ] || printf '%s\n' "$OUT"
    if grep -Eq 'secret|s3kr1t|good-identity' "$T/out" "$T/err"; then
        fail "$name: no password is printed" "$OUT"
    fi
    if [ "$want" != 0 ]; then
        check_eq "$name: one error line" "$(grep -c '^k3simg: error: ' <<<"$OUT")" 1
        printf '      %s\n' "$(grep '^k3simg: error: ' <<<"$OUT" | cut -c1-250)"
    fi
}

# with TEXT COMMAND...: the command with that on standard input.
with() {
    local text=$1
    shift
    printf '%s' "$text" | "$@"
}

N=0
# pull STATUS NAME IMAGE ARGS...: a preload into a root of its own.
pull() {
    local want=$1 name=$2 image=$3
    shift 3
    N=$((N + 1))
    try "$want" "$name" "$K3SIMG" preload -q --root "$T/root.$N" --pause none --ca-file "$CA" "$@" "$image"
    [ "$want" = 0 ] && [ "$(names "$T/root.$N")" != "$image" ] && fail "$name: the image is there"
    [ "$want" = 0 ] || check_eq "$name: nothing is there" "$("$K3SIMG" list --root "$T/root.$N" -o name 2>/dev/null)" ""
}

# --- login, judged by skopeo ---
try 0 "login" with secret login -u tester --password-stdin --authfile "$FILE" "$SECURE"
check_has "login says where" "$OUT" "^Login succeeded; stored in $FILE\$"
check_has "and that it is not encrypted" "$OUT" '^warning: the password is not encrypted'
check_eq "the file is private" "$(stat -c %a "$FILE")" 600
check_eq "skopeo knows who that is" "$(skopeo login --get-login --authfile "$FILE" "$SECURE")" tester
check "skopeo gets in with it" skopeo inspect --authfile "$FILE" --cert-dir "$T/certs/$SECURE" "docker://$SECURE/exit:1"
check_eq "--get-login" "$("$K3SIMG" login --get-login --authfile "$FILE" "$SECURE")" tester
try 0 "login again" with secret login -u tester --password-stdin --authfile "$FILE" -o json "https://$SECURE/"
check_eq "login -o json" "$("$PYTHON" -c 'import json,sys; d=json.load(open(sys.argv[1])); print(d["schemaVersion"], d["registry"], d["user"], d["checked"], d["helper"])' "$T/out")" \
    "1 $SECURE tester True None"
check_eq "one entry" "$(grep -c '"auth":' "$FILE")" 1

# --- what is refused is not stored ---
BEFORE=$(sha256sum <"$FILE")
try 4 "a wrong password" with s3kr1t login -u tester --password-stdin --authfile "$FILE" "$SECURE"
check_has "says who refused" "$OUT" "https://$SECURE refused"
check_has "and what may be wrong" "$OUT" '^hint: user or password is wrong'
try 5 "an unknown CA" with secret "$K3SIMG" login -u tester --password-stdin --authfile "$FILE" "$SECURE"
try 5 "no registry there" with secret login -u tester --password-stdin --authfile "$FILE" "127.0.0.1:$(free_port)"
try 5 "a service that is no registry" with secret login -u tester --password-stdin --authfile "$FILE" \
    "127.0.0.1:$(cat "$T/tokens/port")"
try 2 "a name that is no host" with secret login -u tester --password-stdin --authfile "$FILE" "$SECURE/exit"
try 2 "a word that is no host" with secret login -u tester --password-stdin --authfile "$FILE" registry
try 2 "no user" with secret login --password-stdin --authfile "$FILE" "$SECURE"
try 2 "no password and no terminal" login -u tester --authfile "$FILE" "$SECURE"
try 2 "an empty password" with "" login -u tester --password-stdin --authfile "$FILE" "$SECURE"
try 2 "two lines" with $'secret\nsecret\n' login -u tester --password-stdin --authfile "$FILE" "$SECURE"
try 2 "no registry" login -u tester --authfile "$FILE"
check_eq "the file is as it was" "$(sha256sum <"$FILE")" "$BEFORE"
printf '{"auths": {"x": }' >"$T/broken.json"
try 6 "a broken auth file" with secret login -u tester --password-stdin --authfile "$T/broken.json" "$SECURE"
check_has "names file and place" "$OUT" "broken.json: .* line 1, column 17"
check_eq "and is left alone" "$(cat "$T/broken.json")" '{"auths": {"x": }'

# --- docker's own file: everything else in it stays ---
mkdir "$HOME/.docker" "$T/elsewhere"
printf '{\n\t"auths": {\n\t\t"other.example": {\n\t\t\t"auth": "Ym9iOnM="\n\t\t}\n\t},\n\t"HttpHeaders": {\n\t\t"X-\\u00c4": "\\/ü"\n\t},\n\t"n": [1.50, 2e3, 12345678901234567]\n}' >"$T/elsewhere/config.json"
cp "$T/elsewhere/config.json" "$T/kept.json"
ln -s "$T/elsewhere/config.json" "$CONFIG"
chown 1234:1234 "$T/elsewhere/config.json"
unset XDG_RUNTIME_DIR
try 0 "login into ~/.docker/config.json" with secret$'\n' login -u tester --password-stdin "$SECURE"
check "a symlink is followed" test -L "$CONFIG" -a ! -L "$T/elsewhere/config.json"
check_eq "mode and owner" "$(stat -c '%a %u %g' "$T/elsewhere/config.json")" "600 1234 1234"
check_eq "nothing is left beside it" "$(ls -A "$T/elsewhere")" config.json
pull 0 "preload finds it" "$SECURE/exit:1"
try 0 "logout" "$K3SIMG" logout "$SECURE"
check "the file is as it was, byte for byte" cmp "$T/elsewhere/config.json" "$T/kept.json"
pull 4 "preload without it" "$SECURE/exit:1"
check_has "hints at login" "$OUT" "k3simg login $SECURE"
try 3 "logout without a login" "$K3SIMG" logout "$SECURE"
try 4 "--get-login without a login" "$K3SIMG" login --get-login "$SECURE"
# Two at the same time do not lose each other's entry.
with secret login -u tester --password-stdin "$SECURE" >"$T/a" 2>&1 &
with secret login -u tester --password-stdin "$TOKENED" >"$T/b" 2>&1
wait $!
check_eq "logins side by side" "$(grep -Ec "\"($SECURE|$TOKENED)\"" "$CONFIG")" 2
try 0 "logout --all" "$K3SIMG" logout --all
check_has "all three are gone" "$OUT" '^Removed 3 logins'
check_eq "and nothing else" "$("$PYTHON" -c 'import json,sys; d=json.load(open(sys.argv[1])); print(d["auths"], d["n"], sorted(d))' "$CONFIG")" \
    "{} [1.5, 2000.0, 12345678901234567] ['HttpHeaders', 'auths', 'n']"

# --- what skopeo wrote ---
check "skopeo login" skopeo login -u tester -p secret --authfile "$T/skopeo.json" --cert-dir "$T/certs/$SECURE" "$SECURE"
check_eq "--get-login of it" "$("$K3SIMG" login --get-login --authfile "$T/skopeo.json" "$SECURE")" tester
pull 0 "preload with it, by REGISTRY_AUTH_FILE" "$SECURE/exit:1" --authfile "$T/skopeo.json"
try 0 "login over it" env "REGISTRY_AUTH_FILE=$T/skopeo.json" bash -c 'printf secret | "$@"' - \
    "$K3SIMG" login --ca-file "$CA" -u tester --password-stdin "$SECURE"
check "skopeo logout of ours" skopeo logout --authfile "$T/skopeo.json" "$SECURE"
try 3 "and it is gone" "$K3SIMG" logout --authfile "$T/skopeo.json" "$SECURE"

# --- Docker Hub by docker's name and by containers' ---
printf '{"auths":{"docker.io":{"auth":"Ym9iOnM="},"https://index.docker.io/v1/":{"auth":"ZXZlOnM="}}}' >"$T/hub.json"
try 0 "Docker Hub has names" "$K3SIMG" login --get-login --authfile "$T/hub.json" docker.io
try 0 "logout takes all of them" "$K3SIMG" logout --authfile "$T/hub.json" docker.io
check_eq "really" "$(cat "$T/hub.json")" '{"auths":{}}'

# --- token service: a real registry takes what it signs ---
pull 4 "token service, no credentials" "$TOKENED/exit:1"
pull 0 "token service, --creds" "$TOKENED/exit:1" --creds tester:secret
pull 4 "token service, wrong password" "$TOKENED/exit:1" --creds tester:s3kr1t
check_has "says who refused" "$OUT" 'token service: .*wrong user or password'
try 4 "login there, wrong password" with s3kr1t login -u tester --password-stdin --authfile "$FILE" "$TOKENED"
try 0 "login there" with secret login -u tester --password-stdin --authfile "$FILE" "$TOKENED"
check_has "without a scope" "$(tail -n 1 "$T/tokens/log")" '^GET basic $'
pull 0 "preload with it" "$TOKENED/exit:1" --authfile "$FILE"
check_has "a token for that repository" "$(tail -n 1 "$T/tokens/log")" '^GET basic repository:exit:pull$'
check "skopeo, too" skopeo inspect --tls-verify=false --authfile "$FILE" "docker://$TOKENED/exit:1"
printf '{"auths":{"%s":{"identitytoken":"good-identity"}}}' "$TOKENED" >"$T/identity.json"
pull 0 "an identity token" "$TOKENED/exit:1" --authfile "$T/identity.json"
check_has "is posted" "$(tail -n 1 "$T/tokens/log")" '^POST refresh repository:exit:pull$'

# --- a registry for everybody ---
try 0 "login where nobody asks" with secret login -u tester --password-stdin --authfile "$T/open.json" "$OPEN"
check_has "is a warning" "$OUT" '^warning: .* did not ask for credentials'

# --- --password-stdin and a terminal ---
try 0 "preload --password-stdin" with secret$'\r\n' "$K3SIMG" preload -q --root "$T/stdin" --pause none --ca-file "$CA" \
    --creds tester --password-stdin "$SECURE/exit:1"
try 2 "with -f -" "$K3SIMG" preload -q --root "$T/no" --pause none --creds tester --password-stdin -f -
check_has "says so" "$OUT" 'both read standard input'
try 2 "with a password" "$K3SIMG" preload -q --root "$T/no" --creds tester:x --password-stdin "$SECURE/exit:1"
try 2 "without a user" "$K3SIMG" preload -q --root "$T/no" --password-stdin "$SECURE/exit:1"
check "none of them made a root" test ! -e "$T/no"

on_terminal() {
    "$PYTHON" "$LIB/terminal.py" "$@"
}
try 0 "login on a terminal" on_terminal User=tester Password=secret -- \
    "$K3SIMG" login --ca-file "$CA" --authfile "$T/tty.json" "$SECURE"
check_has "echoes the user only" "$OUT" '^echo: on at User, off at Password, on after'
check_eq "and has stored it" "$("$K3SIMG" login --get-login --authfile "$T/tty.json" "$SECURE")" tester
try 130 "an interrupted login" on_terminal Password=^C -- \
    "$K3SIMG" login -u tester --authfile "$T/tty2.json" "$SECURE"
check_has "leaves the echo on" "$OUT" '^echo: off at Password, on after'
check "and no file" test ! -e "$T/tty2.json"
try 0 "preload on a terminal" on_terminal Password=secret -- "$K3SIMG" preload -q --root "$T/tty" --pause none \
    --ca-file "$CA" --creds tester "$SECURE/exit:1"

# --- credential helpers ---
# helper NAME: a credential helper from the script on standard input; $D is its directory.
helper() {
    {
        printf '#!/bin/bash\nD=%q\n' "$T"
        cat
    } >"$BIN/docker-credential-$1"
    chmod 755 "$BIN/docker-credential-$1"
}
helper good <<'SH'
case $1 in
store) "$(type -P python3)" -c 'import json,sys,os; d=json.load(sys.stdin); open(os.path.join(sys.argv[1], "kept."+d["ServerURL"].replace("/","_")), "w").write(json.dumps(d))' "$D" ;;
get | erase)
    read -r server
    echo "$1 $server" >>"$D/asked"
    f=$D/kept.${server//\//_}
    [ -e "$f" ] || { echo "credentials not found in native keychain"; exit 1; }
    [ "$1" = erase ] && rm "$f" || cat "$f"
    ;;
esac
SH
helper token <<<"echo '{\"ServerURL\":\"x\",\"Username\":\"<token>\",\"Secret\":\"good-identity\"}'"
helper garbage <<<'echo "s3kr1t <html>"; echo s3kr1t >&2'
helper fails <<<'echo "s3kr1t is not good"; exit 3'
helper floods <<<'yes s3kr1t'
helper hangs <<'SH'
echo s3kr1t
sleep 300 &
echo $! >"$D/hung"
wait
SH

gone() {
    local i
    for ((i = 0; i < 20; i++)); do
        kill -0 "$(cat "$T/hung")" 2>/dev/null || return 0
        ! grep -qs ') Z ' "/proc/$(cat "$T/hung")/stat" || return 0
        sleep 0.05
    done
    return 1
}

# config ENTRIES: the auth file.
config() {
    printf '{%s}' "$1" >"$FILE"
}

for entry in "\"credHelpers\":{\"$SECURE\":\"good\"}" '"credsStore":"good"'; do
    where=$(cut -d'"' -f2 <<<"$entry")
    config "$entry"
    : >"$T/asked"
    try 0 "$where: login" with secret login -u tester --password-stdin --authfile "$FILE" "$SECURE"
    check_has "$where: says who has it" "$OUT" 'stored by docker-credential-good'
    check_eq "$where: the helper has it" "$("$PYTHON" -c 'import json,sys; d=json.load(open(sys.argv[1])); print(d["Username"], len(d["Secret"]))' "$T/kept.$SECURE")" "tester 6"
    check_eq "$where: the file has not" "$(cat "$FILE")" "{$entry,\"auths\":{\"$SECURE\":{}}}"
    pull 0 "$where: preload" "$SECURE/exit:1" --authfile "$FILE"
    check_eq "$where: --get-login" "$("$K3SIMG" login --get-login --authfile "$FILE" "$SECURE")" tester
    try 0 "$where: logout" "$K3SIMG" logout --authfile "$FILE" "$SECURE"
    check "$where: the helper has forgotten it" test ! -e "$T/kept.$SECURE"
    check_eq "$where: and the file" "$(cat "$FILE")" "{$entry,\"auths\":{}}"
    pull 4 "$where: preload without it" "$SECURE/exit:1" --authfile "$FILE"
done
config "\"credHelpers\":{\"$SECURE\":\"good\"}"
check "skopeo login through the helper" skopeo login -u tester -p secret --authfile "$FILE" --cert-dir "$T/certs/$SECURE" "$SECURE"
pull 0 "preload with what it stored" "$SECURE/exit:1" --authfile "$FILE"
: >"$T/asked"
try 0 "several images of one run" "$K3SIMG" preload -q --root "$T/several" --pause none --ca-file "$CA" --authfile "$FILE" \
    "$SECURE/exit:1" "$SECURE/static:1" "$SECURE/multi:1"
check_eq "ask the helper once a run" "$(wc -l <"$T/asked")" 1
config "\"credHelpers\":{\"$TOKENED\":\"token\"}"
pull 0 "an identity token of a helper" "$TOKENED/exit:1" --authfile "$FILE"
check_has "is posted, too" "$(tail -n 1 "$T/tokens/log")" '^POST refresh repository:exit:pull$'

for case in "missing not.in.PATH" "garbage no.JSON" "fails failed.with.status.3" "floods printed.more.than" \
    "hangs did.not.end.within"; do
    name=${case% *}
    config "\"credHelpers\":{\"$SECURE\":\"$name\"}"
    pull 4 "helper that is $name" "$SECURE/exit:1" --authfile "$FILE" --timeout 3s
    check_has "helper $name: file, entry, helper and why" "$OUT" \
        "$FILE: credHelpers: \"$SECURE\": docker-credential-$name.*${case#* }"
    check_has "helper $name: a hint" "$OUT" '^hint: .'
    # This one says that it has stored it.
    [ "$name" = garbage ] && continue
    try 4 "helper $name: login" with secret login -u tester --password-stdin --authfile "$FILE" --timeout 3s "$SECURE"
    check_eq "helper $name: the file is as it was" "$(cat "$FILE")" "{\"credHelpers\":{\"$SECURE\":\"$name\"}}"
done
check "the hanging helper's children are gone" gone
config '"credsStore":"../evil"'
pull 6 "a helper's name that is a path" "$SECURE/exit:1" --authfile "$FILE"

# An interrupt does not wait for it.
config "\"credHelpers\":{\"$SECURE\":\"hangs\"}"
rm -f "$T/hung"
"$K3SIMG" preload -q --root "$T/int" --pause none --ca-file "$CA" --authfile "$FILE" "$SECURE/exit:1" >"$T/out" 2>&1 &
pid=$!
for ((i = 0; i < 100; i++)); do
    [ -s "$T/hung" ] && break
    sleep 0.05
done
start=$(now_ms)
kill -INT $pid
wait $pid
check_eq "interrupted while a helper hangs: exit code" "$?" 130
check "at once" test $(($(now_ms) - start)) -lt 2000
check "and its children are gone" gone

# docker's file of a desktop: its helper is for every registry, also for those that ask for nothing.
rm -f "$CONFIG"
printf '{"credsStore":"missing"}' >"$CONFIG"
pull 0 "credsStore that is missing, a registry for everybody" "$OPEN/exit:1"
pull 4 "credsStore that is missing, where it is needed" "$SECURE/exit:1"
check_has "names file, entry and helper" "$OUT" "$CONFIG: credsStore: docker-credential-missing is not in PATH"
finish
