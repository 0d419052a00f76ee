# shellcheck shell=bash
# bbolt's own checker, built once from Debian's source of bbolt.
# Source common.sh and install.sh first.

_bbolt_build() {
    # shellcheck disable=SC2086
    install_packages $BBOLT_PACKAGES &&
        GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$1/cache HOME=$1 \
            go build -o "$1/bboltcheck" "$LIB/bboltcheck/main.go" &&
        chmod -R u+w "$1/cache" && rm -rf -- "$1/cache"
}

_bbolt_tool() {
    cached "bboltcheck-$(sha256sum <"$LIB/bboltcheck/main.go" | cut -c1-12)" _bbolt_build
}

# bbolt_check FILE...: Tx.Check of every file, then one update of it on a copy.
bbolt_check() {
    local tool
    tool=$(_bbolt_tool) && "$tool/bboltcheck" "$@"
}

# bbolt_dump FILE: its buckets, keys and values as text, without times.
bbolt_dump() {
    local tool
    tool=$(_bbolt_tool) && "$tool/bboltcheck" -dump "$1"
}

# bbolt_do OPTION FILE...: -records, -check or -plant, as main.go has them.
bbolt_do() {
    local tool
    tool=$(_bbolt_tool) && "$tool/bboltcheck" "$@"
}

# bbolt_program: the program itself, for callers that run it often.
bbolt_program() {
    local tool
    tool=$(_bbolt_tool) && printf '%s\n' "$tool/bboltcheck"
}

_bboltedit_build() {
    # shellcheck disable=SC2086
    install_packages $BBOLT_PACKAGES &&
        GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$1/cache HOME=$1 \
            go build -o "$1/bboltedit" "$LIB/bboltedit/main.go" &&
        chmod -R u+w "$1/cache" && rm -rf -- "$1/cache"
}

# bbolt_editor: the program that makes single edits, as bboltedit/main.go has them.
bbolt_editor() {
    local tool
    tool=$(cached "bboltedit-$(sha256sum <"$LIB/bboltedit/main.go" | cut -c1-12)" _bboltedit_build) &&
        printf '%s\n' "$tool/bboltedit"
}
