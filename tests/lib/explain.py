#!/usr/bin/env python3
"""explain.py CAUSE SEVERITY COMMAND...: runs k3simg explain (COMMAND, which gets -o json), wants
CAUSE among what it finds of the node and its containers, with this severity and nothing else of
that severity or a higher one, applies the fix to the letter and wants the cause to be gone and
nothing to stop the container.  Prints what is not so.

$ALSO names causes that may be there, too; $NOFIX=1 stops before the fix; $STILL names causes that
the fix of this one leaves."""
import json
import os
import subprocess
import sys

ORDER = ["note", "warns", "stops"]


def explain(command):
    done = subprocess.run(command + ["-o", "json"], stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 10):
        sys.exit(f"explain: status {done.returncode}")
    report = json.loads(done.stdout)
    found = {c["id"]: c for c in report["node"]["causes"]}
    stops = {c["id"] for c in report["node"]["causes"] if c["severity"] == "stops"}
    for container in report["containers"]:
        found.update({c["id"]: c for c in container["causes"]})
        own = {c["id"] for c in container["causes"] if c["severity"] == "stops"}
        if container["wouldStart"] != (not own and not stops):
            sys.exit("the verdict is not what the causes say")
        stops |= own
    if (done.returncode == 10) != bool(stops):
        sys.exit(f"status {done.returncode}, and {sorted(stops)} stop")
    return found


def told(found, names):
    return "; ".join(f"{i}: {found[i]['message']}" for i in sorted(names))


def main():
    cause, severity, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    also = set(os.environ.get("ALSO", "").split())
    found = explain(command)
    if cause not in found:
        sys.exit(f"not found; there is: {told(found, found)}")
    if found[cause]["severity"] != severity:
        sys.exit(f"it is {found[cause]['severity']}: {found[cause]['message']}")
    others = {i for i, c in found.items() if ORDER.index(c["severity"]) >= ORDER.index(severity)}
    others -= {cause} | also
    if others:
        sys.exit("also there: " + told(found, others))
    if severity != "note" and not found[cause]["fix"]:
        sys.exit("there is no fix")
    if os.environ.get("NOFIX") or severity == "note":
        return
    done = subprocess.run(found[cause]["fix"], shell=True, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"{found[cause]['fix']}: status {done.returncode}\n{done.stdout.decode()}")
    found = explain(command)
    left = {i for i, c in found.items() if c["severity"] == "stops"} | ({cause} & set(found))
    left -= set(os.environ.get("STILL", "").split())
    if left:
        sys.exit("after the fix: " + told(found, left))


main()
