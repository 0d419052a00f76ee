#!/bin/bash
# Help, manual pages and completions come from one table: every option is in all of them, man and
# mandoc find nothing to say, and bash, zsh and fish complete what fits.
# Once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

# shellcheck disable=SC2086
install_packages $HELP_PACKAGES || die "man, mandoc, zsh and fish cannot be installed"

# commands: all of them, with those that consist of others; one a line.
commands() {
    local group
    table | tee "$T/commands" | while read -r group; do
        # shellcheck disable=SC2086
        table $group
    done
    cat "$T/commands"
}

table() {
    "$K3SIMG" help -o table "$@" | sed -n 's/^command\t\([^\t]*\)\t.*/\1/p'
}

# options COMMAND: as its table has them, "--help" added.
options() {
    # shellcheck disable=SC2086
    "$K3SIMG" help -o table $1 | sed -n 's/^option\t\([^\t]*\)\t.*/--\1/p' | sort
    echo --help
}

# shown FILE: options that begin an entry there, as people see it.
shown() {
    sed -En 's/[‐−]/-/g; s/^ +(-., )?(--[a-z0-9-]+).*/\2/p' "$1" | sort -u
}

# ---- help and manual pages ----

check "make man" "$TOP/tools/man-pages" "$K3SIMG" "$T/man"
commands >"$T/all"
check "there are commands" test "$(wc -l <"$T/all")" -gt 15
wide="" lost="" unlike="" lint="" noise="" incomplete=""
while read -r name; do
    page=$T/man/k3simg-${name// /-}.1
    # shellcheck disable=SC2086
    "$K3SIMG" $name --help >"$T/help" 2>&1 || lost+="$name --help "
    # shellcheck disable=SC2086
    "$K3SIMG" help $name >"$T/help2" 2>&1
    cmp -s "$T/help" "$T/help2" || unlike+="$name "
    awk 'length($0) > 80 { exit 1 }' "$T/help" || wide+="$name "
    [ -s "$page" ] || { lost+="$page " && continue; }
    MANWIDTH=100 man --warnings -l -Tutf8 "$page" 2>"$T/noise" | sed 's/\x1b\[[0-9;]*m//g; s/.\x08//g' >"$T/shown"
    [ ! -s "$T/noise" ] || noise+="$name: $(cat "$T/noise") "
    mandoc -T lint -W style "$page" >"$T/lint" 2>&1 || lint+="$(grep -v 'operating system' "$T/lint")"
    grep -q '^Commands:' "$T/help" && continue
    options "$name" >"$T/options"
    # shellcheck disable=SC2086
    "$K3SIMG" completion answer -- $name "--" 2>&1 | cut -f 1 | grep -v '^:' | sort >"$T/completed"
    sort "$T/options" | cmp -s - "$T/completed" || incomplete+="$name "
    shown "$T/help" >"$T/in-help"
    shown "$T/shown" >"$T/in-page"
    lost+=$(sort "$T/options" | comm -23 - "$T/in-help" | sed "s/^/$name --help: /")
    lost+=$(sort "$T/options" | comm -23 - "$T/in-page" | sed "s/^/man $name: /")
    cat "$T/options" >>"$T/every"
done <"$T/all"
check_eq "every option is in --help and its page" "$lost" ""
check_eq "help COMMAND is COMMAND --help" "$unlike" ""
check_eq "--help fits 80 columns" "$wide" ""
check_eq "man has nothing to say about the pages" "$noise" ""
check_eq "mandoc neither" "$lint" ""
check_eq "every option is completed" "$incomplete" ""
for page in "$T"/man/k3simg.1 "$T"/man/k3simg-config.5; do
    check_eq "${page##*/}: man" "$(MANWIDTH=80 man --warnings -l -Tutf8 "$page" 2>&1 >"$T/shown")" ""
    check_eq "${page##*/}: mandoc" "$(mandoc -T lint -W style "$page")" ""
done
# What the sources have as an option is in some table that was seen.
"$PYTHON" - "$TOP"/cli/*.c <<'PY' | sort -u >"$T/written"
import re, sys
for file in sys.argv[1:]:
    for name in re.findall(r'\{\s*"([a-z0-9-]+)",\s*(?:0|\'.\'),\s*OPT_', open(file).read()):
        print("--" + name)
PY
check "options are found in the sources" test "$(wc -l <"$T/written")" -gt 40
check_eq "none of them is undocumented" "$(sort -u "$T/every" | comm -13 - "$T/written")" ""
check_has "k3simg.1 leads to each command" "$(cat "$T/man/k3simg.1")" 'k3simg\\-preload.*\(1\)'
check_eq "no page has lost its name" "$(grep -L '^\.SH NAME' "$T"/man/*)" ""

# ---- values ----

said=$("$K3SIMG" list -o yaml 2>&1)
check_eq "a value that is no choice: status" $? 2
check_has "and which there are" "$said" '^k3simg: error: --output is ([a-z]+, )+[a-z]+ or [a-z]+, not "yaml"$'
check_has "two choices" "$("$K3SIMG" version -o yaml 2>&1)" '^k3simg: error: --output is text or json, not "yaml"$'
said=$("$K3SIMG" bundle creat 2>&1)
check_eq "an unknown command of a group: status" $? 2
check_has "and what to do" "$said" '^hint: '
check_eq "help of an unknown command: status" "$("$K3SIMG" help nonsense >/dev/null 2>&1; echo $?)" 2

# answer WORD...: candidates for the last word, on one line.
answer() {
    "$K3SIMG" completion answer -- "$@" 2>&1 | cut -f 1 | tr '\n' ' '
}
check_eq "answer: commands" "$(answer pre)" "preload "
check_eq "answer: commands of a group" "$(answer bundle cr)" "create "
check_eq "answer: values" "$(answer preload --mode "")" "auto live offline "
check_eq "answer: values by letter" "$(answer list -o j)" "json "
check_eq "answer: values behind =" "$(answer preload --mode=l)" "--mode=live "
check_eq "answer: a flag with =" "$(answer preload --tls-verify=f)" "--tls-verify=false "
check_eq "answer: files" "$(answer preload -f "")" ":files  "
check_eq "answer: directories" "$(answer list --root /x)" ":dirs  "
check_eq "answer: files behind =" "$(answer preload --file=x)" ":files --file= "
check_eq "answer: an archive" "$(answer preload docker-archive:x)" ":files docker-archive: "
check_eq "answer: transports" "$(answer fetch --to "")" "oci: oci-archive: "
check_eq "answer: checks of doctor" "$(answer doctor pau)" "pause "
check_eq "answer: no options behind --" "$(answer verify --start x -- -)" ":files  "
check_eq "answer: nothing for a command that is not there" "$(answer nonsense "")" ""

# ---- local images ----

use_registry
"$K3SIMG" fetch -q "$REGISTRY/exit:1" --to "oci:$T/layout" >"$T/out" 2>&1 || fail "fetch" "$(cat "$T/out")"
check "a root with images" "$K3SIMG" preload -q --root "$T/root" --pause none "$REGISTRY/exit:1"
check "and one of Docker Hub's names" "$K3SIMG" preload -q --root "$T/root" --pause none --name exit:2 "oci:$T/layout"
registry_stop
check_eq "answer: images" "$(answer verify --root "$T/root" "")" "$REGISTRY/exit:1 exit:2 "
check_eq "answer: as people write them" "$(answer verify --root "$T/root" ex)" "exit:2 "
check_eq "answer: and as containerd does" "$(answer verify --root "$T/root" docker.io/)" "docker.io/library/exit:2 "
check_eq "answer: with their digests" "$(answer verify --root "$T/root" "$REGISTRY/exit@")" "$REGISTRY/exit@$(image_digest exit:1) "
check_eq "answer: no root, no word" "$(answer verify --root "$T/none" "")" ""
check_eq "answer: another namespace" "$(answer verify -n other --root "$T/root" "")" ""

# ---- in shells ----

# What is run says so; the completions ask the program under test.
mkdir "$T/bin"
# shellcheck disable=SC2016
printf '#!/bin/sh\n[ "$1" = completion ] && exec "%s" "$@"\nprintf "GOT<%%s>\\n" "$*"\n' "$K3SIMG" >"$T/bin/k3simg"
chmod 755 "$T/bin/k3simg"
touch "$T/x file.list"
printf '%s\n' \
    'preload' \
    'bundle create' \
    'list -o name' \
    'preload --mode=offline' \
    "verify --root $T/root $REGISTRY/exit:1" \
    "verify --root $T/root exit:2" \
    "preload -f $T/x file.list" \
    "fetch --to oci:$T/layout" \
    "preload docker-archive:$T/x file.list" \
    'setup --dry-run' >"$T/wanted"
typed=('k3simg prel' 'k3simg bundle cr' 'k3simg list -o na' 'k3simg preload --mode=of'
    "k3simg verify --root $T/root $REGISTRY/ex" "k3simg verify --root $T/root ex"
    "k3simg preload -f $T/x" "k3simg fetch --to oci:$T/lay" "k3simg preload docker-archive:$T/x" 'k3simg setup --dr')

# shell NAME SETUP COMMAND...: the words that each line became, blanks and slashes at their ends left out.
shell() {
    local name=$1 setup=$2
    shift 2
    PATH=$T/bin:$PATH PS1='> ' TERM=vt100 "$PYTHON" "$LIB/typed.py" "PS1='> '; $setup" "${typed[@]}" -- "$@" >"$T/$name.got" 2>&1
    check_eq "$name completes on a terminal" "$(sed 's, *$,,; s,/$,,' "$T/$name.got")" "$(cat "$T/wanted")"
}
shell bash ". $TOP/packaging/completions/k3simg.bash" bash --norc --noprofile -i
shell zsh "fpath=($TOP/packaging/completions \$fpath); autoload -Uz compinit; compinit -u -D" zsh -f -i
check_eq "completion bash is the script" "$("$K3SIMG" completion bash)" "$(cat "$TOP/packaging/completions/k3simg.bash")"
check_eq "completion zsh" "$("$K3SIMG" completion zsh)" "$(cat "$TOP/packaging/completions/_k3simg")"
check_eq "completion fish" "$("$K3SIMG" completion fish)" "$(cat "$TOP/packaging/completions/k3simg.fish")"
check_eq "completion of another shell: status" "$("$K3SIMG" completion csh >/dev/null 2>&1; echo $?)" 2

# fish_for LINE: its candidates without what is said about them.
fish_for() {
    PATH=$T/bin:$PATH fish --no-config -c "source $TOP/packaging/completions/k3simg.fish; complete -C $(printf %q "$1")" 2>&1 |
        cut -f 1 | tr '\n' ' '
}
check_eq "fish: commands" "$(fish_for 'k3simg pre')" "preload "
check_eq "fish: commands of a group" "$(fish_for 'k3simg bundle cr')" "create "
check_eq "fish: values" "$(fish_for 'k3simg list -o na')" "name "
check_eq "fish: values behind =" "$(fish_for 'k3simg preload --mode=of')" "--mode=offline "
check_eq "fish: images" "$(fish_for "k3simg verify --root $T/root $REGISTRY/ex")" "$REGISTRY/exit:1 "
check_eq "fish: files" "$(fish_for "k3simg preload -f $T/x")" "$T/x file.list "
check_eq "fish: files of a transport" "$(fish_for "k3simg fetch --to oci:$T/lay")" "oci:$T/layout/ "
check_has "fish: options" "$(fish_for 'k3simg setup --dr')" '^--dry-run $'

# ---- installed ----

check "make install" make -s -C "$TOP" install "DESTDIR=$T/inst" PREFIX=/usr
check_eq "what is where shells and man look" "$(cd "$T/inst/usr/share" && stat -c %n \
    man/man1/k3simg.1 man/man1/k3simg-preload.1 man/man1/k3simg-bundle-apply.1 man/man5/k3simg-config.5 \
    bash-completion/completions/k3simg zsh/site-functions/_k3simg fish/vendor_completions.d/k3simg.fish \
    k3simg/schema/list.json 2>/dev/null | wc -l)" 8
check "make uninstall" make -s -C "$TOP" uninstall "DESTDIR=$T/inst" PREFIX=/usr
check_eq "leaves nothing" "$(find "$T/inst" -type f)" ""
finish
