#!/usr/bin/env python3
"""doctor.py CHECK STATE COMMAND...: runs k3simg doctor (COMMAND, which gets -o json), wants CHECK
to be in STATE and to be all that is wrong, applies its fix to the letter, twice if that shows
another one, and wants the check to pass.  Prints what is not so.

$ALSO names checks that may be wrong, too; $NOFIX=1 stops before the fix."""
import json
import os
import subprocess
import sys


def doctor(command):
    done = subprocess.run(command + ["-o", "json", "-q"], stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 10):
        sys.exit(f"doctor: status {done.returncode}")
    report = json.loads(done.stdout)
    errors = sum(c["state"] == "error" for c in report["checks"])
    if (done.returncode == 10) != (errors > 0) or report["errors"] != errors:
        sys.exit(f"status {done.returncode} with {errors} errors")
    return {c["id"]: c for c in report["checks"]}


def write(fix):
    """Lines go behind their section, or to the top, where the same keys are replaced."""
    path, section = fix["file"], fix["section"]
    lines = fix["lines"].split("\n")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path):
        text = [line for line in (fix["head"], section) if line] + lines
    else:
        with open(path, encoding="utf-8") as file:
            text = file.read().splitlines()
        if section and section not in text:
            text += [section] + lines
        else:
            at = text.index(section) + 1 if section else 0
            keys = {line.split("=")[0].strip() for line in lines if "=" in line}
            end = at
            while end < len(text) and not text[end].startswith("["):
                end += 1
            kept = [line for line in text[at:end] if line.split("=")[0].strip() not in keys]
            text[at:end] = lines + kept
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(text) + "\n")


def apply(fix):
    if fix["command"]:
        subprocess.run(fix["command"], shell=True, check=True, stdout=subprocess.DEVNULL)
    if fix["file"]:
        write(fix)


def main():
    check, state, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    also = os.environ.get("ALSO", "").split()
    found = doctor(command)
    if found[check]["state"] != state:
        sys.exit(f"{check} is {found[check]['state']}: {found[check]['message']}")
    wrong = [c["id"] for c in found.values() if c["state"] in ("warning", "error")]
    others = sorted(set(wrong) - {check} - set(also))
    if others:
        sys.exit("also wrong: " + "; ".join(f"{i}: {found[i]['message']}" for i in others))
    if os.environ.get("NOFIX"):
        return
    for _ in range(2):
        if "fix" not in found[check]:
            break
        apply(found[check]["fix"])
        found = doctor(command)
    if found[check]["state"] in ("warning", "error"):
        sys.exit(f"fixed, and still {found[check]['state']}: {found[check]['message']}")
    others = sorted(i for i, c in found.items() if c["state"] in ("warning", "error") and i not in also)
    if others:
        sys.exit("wrong after the fix: " + "; ".join(f"{i}: {found[i]['message']}" for i in others))


main()
