#!/bin/bash
# Hostile images, registries and references (tests/hostile), end to end: each is refused with
# its exit code and message, or does no harm; and nothing outside the root is touched.
# TORTURE=full runs the long form, K3SIMG_ASAN=PROGRAM all of it over a sanitized build, too.
# Once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

mkdir "$T/hostile"
# Mount points of the inputs that fill a file system; the suite itself may have been killed.
unmount_all() {
    local point points
    # Whole, first: what is unmounted while the list is read makes it skip entries.
    points=$(cut -d ' ' -f 2 /proc/mounts)
    while read -r point; do
        case $point in "$T"/hostile/*) umount -l "$point" ;; esac
    done <<<"$points"
}
at_exit unmount_all
cores=$(find "$T" -name core | wc -l)
# Its lines are those of every test script, and so is its last one.
"$PYTHON" "$TOP/tests/hostile/run.py" "$K3SIMG" "$T/hostile" "$@" >"$T/log" 2>&1
status=$?
sed '$d' "$T/log"
check_eq "nothing left a core" "$(find "$T" -name core | wc -l)" "$cores"
line=$(tail -n 1 "$T/log")
if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
    PASSED=$((PASSED + BASH_REMATCH[1]))
    FAILED=$((FAILED + BASH_REMATCH[2]))
    SKIPPED=$((SKIPPED + ${BASH_REMATCH[4]:-0}))
else
    fail "the hostile input set: status $status and no closing line" "$line"
fi
finish
