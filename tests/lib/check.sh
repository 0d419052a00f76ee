# shellcheck shell=bash
# The harness of every test script: ok, fail, check, skip, and the last line.
# Source common.sh first; end the script with "finish".

PASSED=0 FAILED=0 SKIPPED=0

ok() {
    PASSED=$((PASSED + 1))
    [ -n "${QUIET:-}" ] || printf 'ok    %s\n' "$1"
}

# fail NAME [WHY]
fail() {
    FAILED=$((FAILED + 1))
    printf 'FAIL  %s\n' "$1"
    [ $# -lt 2 ] || printf '%s\n' "$2" | tail -n 20 | sed 's/^/      /'
}

# skip NAME WHY
skip() {
    SKIPPED=$((SKIPPED + 1))
    printf 'skip  %s (%s)\n' "$1" "$2"
}

# check NAME COMMAND...: passes if COMMAND succeeds; shows its output if not.
check() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        ok "$name"
    else
        fail "$name" "${*:1:6}: status $?
$out"
    fi
}

# check_eq NAME GOT WANTED
check_eq() {
    if [ "$2" = "$3" ]; then
        ok "$1"
    else
        fail "$1" "got:    $2
wanted: $3"
    fi
}

# check_has NAME TEXT PATTERN: TEXT contains a line matching the ERE.
check_has() {
    if printf '%s\n' "$2" | grep -Eq -- "$3"; then
        ok "$1"
    else
        fail "$1" "no match for: $3
$2"
    fi
}

# finish: the line that whoever called adds up.
finish() {
    local extra=""
    [ "$SKIPPED" = 0 ] || extra=", $SKIPPED skipped"
    printf '%d passed, %d failed%s\n' "$PASSED" "$FAILED" "$extra"
    [ "$FAILED" = 0 ] && [ "$PASSED" -gt 0 ]
    exit
}
