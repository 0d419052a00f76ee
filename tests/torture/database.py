#!/usr/bin/python3
"""The work around k3simg in the database tests.

  database.py fill SOCKET STORAGE HOST STATE          hundreds of records of every kind
  database.py edit STORAGE HOST STATE ROUND           choose what k3simg does next (JSON; may move a tag)
  database.py turn SOCKET STORAGE HOST STATE ROUND [EDIT]
                                                      what containerd shows is what it showed
                                                      before, and what EDIT added; then its own work
  database.py figures META NATIVE                     how many records of each kind the files have

STATE is a file: what containerd showed at the end of its last turn.  The work of a round is
chosen by its number and is the same every time.  Prints what is wrong; exit status 1 then.
"""

import json
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from database_bolt import Bucket, load  # noqa: E402
from database_images import Image, Storage  # noqa: E402

SPACES = ("k8s.io", "default", "moby", "buildkit", "team-a.x")
FAR, PAST = "2199-01-01T00:00:00Z", "2001-01-01T00:00:00Z"
IN_K8S, IN_OTHERS = range(0, 100), range(80, 150)   # many:N that containerd has from the start
FRESH = range(150, 395)


def ref(host, n):
    return "%s/many:%d" % (host, n)


# ---- the first store -----------------------------------------------------------------------

def fill_images(ctd, storage, host):
    for n in IN_K8S:
        labels = {"team": "a-%d" % n} if n % 3 == 0 else {}
        notes = {"org.example.note": "x" * (n * 7)} if n % 4 == 0 else {}
        ctd.whole_image("k8s.io", ref(host, n), storage.image("many:%d" % n), "filling", labels, notes)
    for n in IN_OTHERS:
        ns = SPACES[1 + n % 4]
        ctd.whole_image(ns, "docker.example/other:%d" % n, storage.image("many:%d" % n), "filling",
                        {"owner": ns, "long": "y" * (n * 20)})
    for n in range(60):
        image = storage.image("many:%d" % (n % 9))
        ctd.image("k8s.io", "docker.example/tagged-%d:latest" % n, image.media, image.digest, image.size)


def fill_snapshots(ctd, snapshotters):
    for snapshotter in snapshotters:
        for ns in SPACES[:3]:
            for n in range(16):
                parent = "layer-%d" % (n - 1) if n % 8 else ""
                ctd.snapshot(ns, snapshotter, "layer-%d" % n, parent,
                             {"containerd.io/gc.root": "user", "n": str(n)}, "filling")
            ctd.snapshot(ns, snapshotter, "active", "layer-7", {"containerd.io/gc.root": "user"}, "filling", False)
            ctd.view(ns, snapshotter, "view", "layer-3", {"containerd.io/gc.root": "user"})


def fill_leases(ctd, storage, snapshotters):
    for n in range(90):
        ns = SPACES[n % len(SPACES)]
        labels = {0: {}, 1: {"containerd.io/gc.expire": FAR}, 2: {"by": "somebody"}}[n % 3]
        resources = []
        if n % 2:
            resources.append(("content", storage.image("many:%d" % (n % 80)).config))
        if ns in SPACES[:3] and n % 4 == 0:
            resources.append(("snapshots/" + snapshotters[n % len(snapshotters)], "layer-%d" % (n % 16)))
        if n % 5 == 0:
            resources.append(("ingests", "upload-%d" % n))
        ctd.lease(ns, "lease-%d" % n, labels, resources)
    for n in range(12):
        ns = SPACES[n % len(SPACES)]
        ctd.ingest(ns, "upload-%d" % n, b"z" * (100 * n + 1), lease="lease-%d" % n)


def fill_containers(ctd, host, snapshotters):
    for n in range(60):
        ns = SPACES[n % 3]
        snapshot = (snapshotters[0], "active") if n % 4 == 0 else ("", "")
        ctd.container(ns, "container-%d" % n, ref(host, n), {"n": str(n)}, *snapshot)
    if ctd.sandboxes("default") is not None:
        for n in range(30):
            # CRI removes those in its own namespace that it does not know.
            ctd.sandbox(SPACES[1 + n % 4], "sandbox-%d" % n, {"n": str(n)})


def fill(ctd, storage, host):
    snapshotters = ["native"] + sorted(ctd.plugins("io.containerd.snapshotter.v1") & {"overlayfs", "btrfs"})
    for ns in SPACES:
        if ns not in ctd.namespaces():
            ctd.namespace(ns, {"purpose": "torture", "for": ns})
        ctd.lease(ns, "filling")
    fill_images(ctd, storage, host)
    fill_snapshots(ctd, snapshotters)
    fill_leases(ctd, storage, snapshotters)
    fill_containers(ctd, host, snapshotters)
    for n in (3, 5, 7):
        ctd.cri.pull(ref(host, n))
    for ns in SPACES:
        ctd.delete_lease(ns, "filling")
    return snapshotters


# ---- what k3simg does ----------------------------------------------------------------------

def edit(storage, host, state, number):
    rnd = random.Random("edit %d" % number)
    have = state["shown"]["k8s.io"]["images"]
    fresh = [n for n in FRESH if ref(host, n) not in have]
    present = [n for n in range(400) if ref(host, n) in have]
    kind = number % 8
    images = ["many:%d" % rnd.choice(fresh)]
    if kind == 2:       # a tag that is there is given to another image
        moved = rnd.choice(present)
        storage.move("many:%d" % moved, images[0])
        images = ["many:%d" % moved]
    elif kind == 3:
        images = ["many:%d" % n for n in rnd.sample(fresh, 5)] + ["many:%d" % rnd.choice(present)]
    elif kind == 4:
        images = ["many@" + storage.digest(images[0])]
    elif kind == 5:     # an image that containerd has, unpacked or not
        images = ["many:%d" % rnd.choice(present)]
    elif kind == 6:     # one whose blobs only another namespace has
        images = ["many:%d" % rnd.choice(IN_OTHERS[20:])]
    elif kind == 7:
        images = [rnd.choice(["multi:1", "exit:1", "static:1"])]
    return {"mode": "chain" if kind in (1, 3) or (kind == 5 and rnd.random() < 0.5) else "flat",
            "pin": kind != 7, "host": host, "images": images}


# ---- what containerd shows -----------------------------------------------------------------

def expected(shown, storage, change):
    """Adds to `shown` what k3simg has done.  Returns what may be gone: a moved tag's old image."""
    space, gone = shown["k8s.io"], set()
    for name in change["images"]:
        repo = name.split("@")[0].rsplit(":", 1)[0]
        digest = name.split("@")[1] if "@" in name else storage.digest(name)
        image, prefix = Image(storage, digest), change["host"] + "/"
        for record in [image.config, "%s%s@%s" % (prefix, repo, digest)] + [prefix + name] * ("@" not in name):
            old = space["images"].get(record)
            if old and old[0] != digest:
                try:
                    former = Image(storage, old[0])
                    gone |= set(former.blobs) | set(former.chains)
                except OSError:
                    pass
            space["images"][record] = [digest, old[1] if old else {}]
        for blob, (data, _) in image.blobs.items():
            space["content"].setdefault(blob, [len(data), {}])
        for chain in image.chains if change["mode"] == "chain" else image.chains[-1:]:
            space["snapshots"]["native"].setdefault(chain, ["", 3, {}])
    return gone


def own(labels):
    """Without the labels that k3simg, CRI and a pull put on."""
    return {k: v for k, v in labels.items() if not k.startswith(("io.cri-containerd.", "containerd.io/gc.ref.",
                                                                 "containerd.io/distribution.source.",
                                                                 "containerd.io/uncompressed",
                                                                 "containerd.io/snapshot.ref"))}


def differences(wanted, got, gone):
    if set(wanted) != set(got):
        yield "namespaces: %s, not %s" % (sorted(got), sorted(wanted))
        return
    for ns in wanted:
        for kind in ("labels", "leases", "containers", "sandboxes", "ingests"):
            if wanted[ns][kind] != got[ns][kind]:
                a, b = wanted[ns][kind], got[ns][kind]
                odd = [k for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)]
                yield "%s: %s: %s was %s, is %s" % (ns, kind, odd[0], a.get(odd[0]), b.get(odd[0]))
        a, b = wanted[ns]["images"], got[ns]["images"]
        for name in sorted(set(a) | set(b)):
            # CRI makes the id of every image that it adopts.
            if name not in a and name.startswith("sha256:") and ns == "k8s.io":
                continue
            if name not in a or name not in b or a[name][0] != b[name][0] or own(a[name][1]) != own(b[name][1]):
                yield "%s: image %s: was %s, is %s" % (ns, name, a.get(name), b.get(name))
        lists = [("content", wanted[ns]["content"], got[ns]["content"])]
        lists += [("snapshots of " + s, wanted[ns]["snapshots"][s], got[ns]["snapshots"].get(s, {}))
                  for s in wanted[ns]["snapshots"]]
        for kind, a, b in lists:
            for key in sorted(set(a) - gone if ns == "k8s.io" else a):
                if key not in b or own(a[key][-1]) != own(b[key][-1]):
                    yield "%s: %s: %s was %s, is %s" % (ns, kind, key, a[key], b.get(key))
            for key in sorted(set(b) - set(a)):
                yield "%s: %s: %s came from nowhere" % (ns, kind, key)


# ---- containerd's own work -----------------------------------------------------------------

def pull_and_tag(ctd, storage, host, rnd, shown):
    have = shown["k8s.io"]["images"]
    for n in rnd.sample([n for n in FRESH if ref(host, n) not in have], 2):
        ctd.cri.pull(ref(host, n))
    tags = [name for name in sorted(have) if name.startswith(host + "/many:")]
    ctd.cri.pull(rnd.choice(tags))
    for ns in ("k8s.io", rnd.choice(SPACES[1:])):
        image = storage.image("many:%d" % rnd.choice(IN_K8S))
        if ns == "k8s.io":
            image = Image(storage, have[rnd.choice(tags)][0])
            ctd.image(ns, "docker.example/again-%d:1" % rnd.randrange(1000), image.media, image.digest, image.size)
        else:
            ctd.lease(ns, "tagging", {"containerd.io/gc.expire": FAR})
            ctd.whole_image(ns, "docker.example/other:%d" % rnd.randrange(1000), image, "tagging", {"again": "1"})
            ctd.delete_lease(ns, "tagging")


def remove(ctd, host, rnd, shown):
    tags = [n for n in sorted(shown["k8s.io"]["images"]) if n.startswith(host + "/many:")]
    for name in rnd.sample(tags, 3):
        if ctd.cri.image_status(name):
            ctd.remove(name)
    for ns in SPACES[1:]:
        names = sorted(shown[ns]["images"])
        if len(names) > 8:
            ctd.delete_image(ns, rnd.choice(names), sync=rnd.random() < 0.3)
    # Removed by hand, as `ctr content rm` does; its image keeps its record.
    digests = sorted(ctd.content("moby"))
    if len(digests) > 12:
        ctd.call("Content", "Delete", (1, rnd.choice(digests)), ns="moby")


def leases_and_more(ctd, rnd, shown, number, snapshotters):
    ns = rnd.choice(SPACES)
    old = sorted(id_ for id_ in shown[ns]["leases"] if id_.startswith(("lease-", "new-")))
    if len(old) > 6:
        ctd.delete_lease(ns, rnd.choice(old), sync=rnd.random() < 0.5)
    content = sorted(shown[ns]["content"])
    ctd.lease(ns, "new-%d" % number, {"containerd.io/gc.expire": FAR} if number % 2 else {},
              [("content", rnd.choice(content))] if content else [])
    ctd.lease(ns, "past-%d" % number, {"containerd.io/gc.expire": PAST})
    snapshotter = rnd.choice(snapshotters)
    ctd.snapshot("k8s.io", snapshotter, "new-%d" % number, "layer-2", {"containerd.io/gc.root": "user"}, None)
    if number > 1 and "new-%d" % (number - 1) in shown["k8s.io"]["snapshots"].get(snapshotter, {}):
        ctd.remove_snapshot("k8s.io", snapshotter, "new-%d" % (number - 1))
    ctd.container(ns, "made-%d" % number, "docker.example/none:1", {"round": str(number)})
    gone = [c for c in sorted(shown[ns]["containers"]) if c.startswith(("container-", "made-"))]
    if len(gone) > 5:
        ctd.delete_container(ns, rnd.choice(gone))
    ctd.ingest(ns, "ingest-%d" % number, b"i" * (number * 11 + 1))
    refs = [r for r in sorted(shown[ns]["ingests"]) if r.startswith("ingest-")]
    if len(refs) > 2:
        ctd.abort(ns, refs[0])
    if shown[ns]["sandboxes"] is not None and ns != "k8s.io":
        ctd.sandbox(ns, "sandbox-new-%d" % number, {})
        boxes = [s for s in sorted(shown[ns]["sandboxes"]) if s.startswith("sandbox-")]
        if len(boxes) > 3:
            ctd.delete_sandbox(ns, rnd.choice(boxes))
    if ns != "k8s.io":
        ctd.label_namespace(ns, "round", str(number))
    if number % 3 == 0:
        ctd.namespace("short-%d" % number, {"for": "a while"})
    for name in shown:
        if name.startswith("short-") and name != "short-%d" % number:
            ctd.call("Namespaces", "Delete", (1, name))


def work(ctd, storage, host, number, shown, snapshotters):
    rnd = random.Random("work %d" % number)
    pull_and_tag(ctd, storage, host, rnd, shown)
    remove(ctd, host, rnd, shown)
    leases_and_more(ctd, rnd, shown, number, snapshotters)
    if number % 4 == 1:
        ctd.cri.pull(host + "/exit:1")
        state = ctd.cri.run(host + "/exit:1", [], [], True, 20, False)
        if state["exit_code"] != 0 or state["state"] != "exited":
            raise SystemExit("exit:1 does not run: %s" % state)


def turn(ctd, storage, host, state, number, change):
    """What is wrong, and the next state."""
    ctd.collect()
    shown, problems = ctd.all(state["snapshotters"]), []
    if state["shown"]:
        wanted = json.loads(json.dumps(state["shown"]))
        gone = expected(wanted, storage, change) if change else set()
        problems = list(differences(wanted, shown, gone))
    work(ctd, storage, host, number, shown, state["snapshotters"])
    ctd.collect()
    return problems, {"snapshotters": state["snapshotters"], "shown": ctd.all(state["snapshotters"])}


# ---- figures -------------------------------------------------------------------------------

def figures(meta, native):
    root, counts = load(meta), {}

    def add(kind, bucket):
        if isinstance(bucket, Bucket):
            counts[kind] = counts.get(kind, 0) + len(bucket.items)

    for space in root.get("v1").items.values():
        if isinstance(space, Bucket):
            for kind in ("images", "leases", "containers", "sandboxes"):
                add(kind, space.get(kind))
            add("blobs", space.get("content", "blob"))
            add("ingests", space.get("content", "ingests"))
            snapshots = space.get("snapshots")
            for snapshotter, bucket in (snapshots.items if snapshots else {}).items():
                add("snapshots of " + snapshotter.decode(), bucket)
    for name, space in root.items.items():
        if name != b"v1":
            add("sandboxes", space.get("sandboxes"))
    add("trees", load(native).get("v1", "snapshots"))
    print(", ".join("%d %s" % (n, kind) for kind, n in sorted(counts.items())))


def main(verb, *args):
    if verb == "figures":
        return figures(*args)
    if verb == "edit":
        storage, host, path, number = args
        with open(path, encoding="utf-8") as f:
            json.dump(edit(Storage(storage), host, json.load(f), int(number)), sys.stdout)
        return None
    from database_containerd import Containerd
    socket, storage, host, path = args[:4]
    ctd, storage = Containerd(socket), Storage(storage)
    problems = []
    if verb == "fill":
        snapshotters = fill(ctd, storage, host)
        ctd.collect()
        state = {"snapshotters": snapshotters, "shown": ctd.all(snapshotters)}
    else:
        with open(path, encoding="utf-8") as f:
            state = json.load(f)
        change = json.loads(args[5]) if len(args) > 5 else None
        problems, state = turn(ctd, storage, host, state, int(args[4]), change)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(state, f)
    for problem in problems[:20]:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
