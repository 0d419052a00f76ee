#!/usr/bin/python3
"""compare.py TREE REFERENCE REPORT IMAGE FIFOS: is TREE the REFERENCE but for what was reported?

REPORT is what `k3simg preload -o json` said, IMAGE the name of the image in it.  What it calls
lost must be in REFERENCE and not in TREE, and everything else must be equal, as tree.py compares.
FIFOS lists the fifos seen inside (./SNAPSHOT/PATH): gVisor keeps them in memory, as long as the
sandbox lives; outside they are not to be seen.
Prints what is not so; exit status 1 then.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import tree  # noqa: E402


def losses(report, image):
    with open(report, encoding="utf-8") as f:
        found = [i for i in json.load(f)["images"] if i["name"] == image]
    if len(found) != 1 or found[0]["status"] != "imported":
        sys.exit("%s is not in the report, or was not imported" % image)
    if found[0]["losses"] != len(found[0]["lossPaths"]):
        sys.exit("%s: %d losses, but paths of %d" % (image, found[0]["losses"], len(found[0]["lossPaths"])))
    return found[0]["lossPaths"]


def expect(entries, lost, bad):
    """Takes out of the reference what was lost."""
    for loss in lost:
        path, what = os.fsencode(loss["path"]), loss["what"]
        entry = entries.get(path)
        if entry is None:
            bad.append("%r was lost, says the report, but is not in the reference" % path)
        elif loss["class"] == "device":
            if "device" not in entry:
                bad.append("%r was lost, says the report, but is no device" % path)
            del entries[path]
        elif loss["class"] == "xattr":
            # containerd itself keeps no trusted.*.
            if entry["xattrs"].pop(what, None) is None and not what.startswith("trusted."):
                bad.append("%r lost %s, says the report, but the reference has none" % (path, what))
        else:
            bad.append("%r lost its owner %s, though we are root" % (path, what))


def fifos(listing, snapshot, want, have):
    """The fifos of the reference that were seen inside are taken for there."""
    with open(listing, "rb") as f:
        inside = set(f.read().splitlines())
    for path, entry in want.items():
        if path not in have and entry["type"] == "0o10000" and b"./%s/%s" % (snapshot, path) in inside:
            have[path] = entry


def main(got, reference, report, image, listing):
    bad = []
    want, have = tree.read(reference), tree.read(got)
    fifos(listing, os.fsencode(os.path.basename(got)), want, have)
    expect(want, losses(report, image), bad)
    for path in sorted(want.keys() | have.keys()):
        one, two = have.get(path), want.get(path)
        if one is None or two is None:
            bad.append("%r only in the %s" % (path, "reference" if one is None else "tree"))
        elif one != two:
            bad += ["%r: %s %.80r, reference %.80r" % (path, k, one.get(k), two.get(k))
                    for k in sorted(one.keys() | two.keys()) if one.get(k) != two.get(k)]
    print("\n".join(bad[:40]))
    return 1 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
