#!/usr/bin/python3
"""Compare both databases of a root before and after k3simg worked on it.

  database_compare.py BEFORE ROOT STORAGE EDIT

BEFORE has the copies meta.db and metadata.db, ROOT is the root after the work, STORAGE is the
directory of the registry.  EDIT is JSON: {"mode": "flat" | "chain", "pin": bool, "host": HOST,
"images": ["repo:tag" | "repo@digest", ...], "unchanged": bool}.

There is a rule for every bucket.  What is not ours must be equal to the byte; what is ours must
be there, whole and right.  Prints each violation; the exit status is 1 if there is one.
"""

import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from database_bolt import Bucket, load  # noqa: E402
from database_images import Image, Storage  # noqa: E402

NS, SNAPSHOTTER = b"k8s.io", b"native"
SOURCE = "containerd.io/distribution.source."


def uvarint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def number(raw):
    """An unsigned varint that fills all of raw; -1 if it does not."""
    value = shift = 0
    for i, byte in enumerate(raw or b""):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value if i + 1 == len(raw) else -1
    return -1


def text(raw):
    return raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else repr(raw)


def texts(bucket):
    """A bucket of labels as a dict."""
    return {text(k): text(v) for k, v in bucket.items.items()} if bucket else {}


class Compare:
    def __init__(self, root, storage, edit):
        self.root, self.edit, self.problems = root, edit, []
        self.names, self.blobs, self.chains = {}, {}, {}
        self.new_snapshots = {}     # key in metadata.db -> (chain, parent's chain or None)
        for ref in edit["images"]:
            self._expect(storage, ref)

    def _expect(self, storage, ref):
        repo = re.split("[@:]", ref)[0]
        digest = ref.split("@")[1] if "@" in ref else storage.digest(ref)
        image = Image(storage, digest)
        host = self.edit["host"]
        self.names[image.config] = self.names["%s/%s@%s" % (host, repo, digest)] = image
        if "@" not in ref:
            self.names["%s/%s" % (host, ref)] = image
        for blob in image.blobs:
            self.blobs.setdefault(blob, []).append((image, repo))
        wanted = image.chains if self.edit["mode"] == "chain" else image.chains[-1:]
        for n, chain in enumerate(image.chains):
            must = chain in wanted or self.chains.get(chain, (None, False))[1]
            self.chains[chain] = (image.chains[:n], must)

    def bad(self, path, what):
        self.problems.append("%s: %s" % ("/".join(text(p) for p in path), what))

    # ---- what is not ours ------------------------------------------------------------------

    def same(self, before, after, path):
        if before == after:
            return
        if not isinstance(before, Bucket) or not isinstance(after, Bucket):
            self.bad(path, "was %s, is %s" % (text(before), text(after)))
            return
        if before.sequence != after.sequence:
            self.bad(path, "sequence was %d, is %d" % (before.sequence, after.sequence))
        for key in sorted(set(before.items) | set(after.items)):
            self.same(before.items.get(key), after.items.get(key), path + (key,))

    def each(self, before, after, path, rules, sequence=True):
        """The rule of each key by name; None is for the others.  A missing bucket is None."""
        before = before or Bucket()
        if not isinstance(after, Bucket):
            self.bad(path, "the bucket is not there")
            return
        if sequence and before.sequence != after.sequence:
            self.bad(path, "sequence was %d, is %d" % (before.sequence, after.sequence))
        for key in sorted(set(before.items) | set(after.items) | set(k for k in rules if k)):
            rule = rules.get(key) or rules.get(None, self.same)
            rule(before.items.get(key), after.items.get(key), path + (key,))

    def times(self, old, new, path, changed):
        """createdat stays; updatedat is another one only if something else is."""
        for name in (b"createdat", b"updatedat"):
            value = new.items.get(name)
            if not isinstance(value, bytes) or len(value) != 15 or value[0] != 1:
                self.bad(path + (name,), "not a time: %r" % value)
                return
        if not old:
            return
        if old.items.get(b"createdat", new.items[b"createdat"]) != new.items[b"createdat"]:
            self.bad(path, "createdat changed")
        if (old.items.get(b"updatedat") != new.items[b"updatedat"]) != changed:
            self.bad(path, "updatedat %s although the record %s" %
                     (("stayed", "changed") if changed else ("changed", "stayed")))

    # ---- meta.db ---------------------------------------------------------------------------

    def meta(self, before, after):
        self.each(before, after, (), {b"v1": self.v1})

    def v1(self, old, new, path):
        self.each(old, new, path, {b"version": self.version, NS: self.namespace})

    def version(self, old, new, path):
        self.same(old or uvarint(6), new, path)

    def namespace(self, old, new, path):
        self.each(old, new, path, {b"images": self.images, b"content": self.content,
                                   b"snapshots": self.snapshotters})

    def images(self, old, new, path):
        ours = {name.encode(): self.image for name in self.names}
        self.each(old, new, path, ours)

    def image(self, old, new, path):
        image = self.names[text(path[-1])]
        if not isinstance(new, Bucket):
            self.bad(path, "the image is not there")
            return
        target = {"digest": image.digest.encode(), "mediatype": image.media.encode(),
                  "size": uvarint(image.size * 2)}
        got = new.items.get(b"target")
        if not isinstance(got, Bucket) or {text(k): v for k, v in got.items.items()} != target:
            self.bad(path, "the target is not %s" % image.digest)
        moved = old is not None and old.items.get(b"target") != got
        wanted = texts(old.items.get(b"labels")) if old else {}
        wanted["io.cri-containerd.image"] = "managed"
        if self.edit["pin"]:
            wanted["io.cri-containerd.pinned"] = "pinned"
        if texts(new.items.get(b"labels")) != wanted:
            self.bad(path, "labels are %r, not %r" % (texts(new.items.get(b"labels")), wanted))
        notes = old.items.get(b"annotations") if old and not moved else None
        self.same(notes, new.items.get(b"annotations"), path + (b"annotations",))
        known = {b"target", b"labels", b"annotations", b"createdat", b"updatedat"}
        if set(new.items) - known:
            self.bad(path, "unknown fields %r" % (set(new.items) - known))
        changed = old is None or moved or texts(old.items.get(b"labels")) != wanted
        self.times(old, new, path, changed)

    def content(self, old, new, path):
        self.each(old, new, path, {b"blob": self.all_blobs})

    def all_blobs(self, old, new, path):
        self.each(old, new, path, {digest.encode(): self.blob for digest in self.blobs})

    def blob(self, old, new, path):
        digest = text(path[-1])
        image, repo = self.blobs[digest][0]
        if not isinstance(new, Bucket):
            self.bad(path, "the blob is not there")
            return
        if new.items.get(b"size") != uvarint(2 * len(image.blobs[digest][0])):
            self.bad(path, "the size is wrong")
        had = texts(old.items.get(b"labels")) if old else {}
        has = texts(new.items.get(b"labels"))
        wanted = dict(had)
        for image, repo in self.blobs[digest]:
            wanted.update(image.labels(digest))
            key = SOURCE + self.edit["host"].split(":")[0]
            wanted[key] = ",".join(sorted(set(wanted.get(key, repo).split(",")) | {repo}))
        if self.edit["mode"] == "chain":
            # These keep chains that nothing stands on; they may be needed or not.
            for key in has:
                found = re.fullmatch(r"containerd\.io/gc\.ref\.snapshot\.native/(\d+)", key)
                if found and digest == image.config and has[key] == image.chains[int(found[1])]:
                    wanted[key] = has[key]
        if has != wanted:
            self.bad(path, "labels are %r, not %r" % (has, wanted))
        if set(new.items) - {b"size", b"labels", b"createdat", b"updatedat"}:
            self.bad(path, "unknown fields")
        self.times(old, new, path, had != has or old is None)
        name = os.path.join(self.root, "io.containerd.content.v1.content/blobs", digest.replace(":", "/"))
        if not os.path.isfile(name) or os.path.getsize(name) != len(image.blobs[digest][0]):
            self.bad(path, "the file is missing or has another size")

    def snapshotters(self, old, new, path):
        self.each(old, new, path, {SNAPSHOTTER: self.snapshots})

    def snapshots(self, old, new, path):
        old = old or Bucket()
        rules = {chain.encode(): self.snapshot for chain, (_, must) in self.chains.items()
                 if must or chain.encode() in new.items}
        rules[None] = self.other_snapshot
        self.sequence = (old.sequence, new.sequence)
        self.each(old, new, path, rules, sequence=False)
        if new.sequence != old.sequence + len(self.new_snapshots):
            self.bad(path, "sequence was %d, is %d with %d new ones" %
                     (old.sequence, new.sequence, len(self.new_snapshots)))

    def other_snapshot(self, old, new, path):
        """Only children of ours may come in."""
        if not isinstance(old, Bucket) or not isinstance(new, Bucket):
            self.same(old, new, path)
            return
        self.each(old, new, path, {b"children": self.children} if b"children" in new.items else {})

    def children(self, old, new, path):
        self.each(old, new, path, {None: self.child})

    def child(self, old, new, path):
        if old is None and new == b"" and text(path[-1]) in self.chains:
            return
        self.same(old, new, path)

    def snapshot(self, old, new, path):
        chain = text(path[-1])
        if old is not None:
            self.other_snapshot(old, new, path)
            return
        if not isinstance(new, Bucket):
            self.bad(path, "the snapshot is not there")
            return
        name, parent = text(new.items.get(b"name")), new.items.get(b"parent")
        found = re.fullmatch(r"k8s\.io/(\d+)/" + re.escape(chain), name)
        if not found or not self.sequence[0] < int(found[1]) <= self.sequence[1]:
            self.bad(path, "its name is %s" % name)
        if parent is not None and text(parent) not in self.chains[chain][0]:
            self.bad(path, "its parent is %s" % text(parent))
        if texts(new.items.get(b"labels")) != {"containerd.io/snapshot.ref": chain}:
            self.bad(path, "labels are %r" % texts(new.items.get(b"labels")))
        if set(new.items) - {b"name", b"parent", b"labels", b"createdat", b"updatedat", b"children"}:
            self.bad(path, "unknown fields")
        self.times(None, new, path, True)
        self.new_snapshots[name] = (chain, text(parent) if parent is not None else None)

    def links(self, meta):
        """Every new snapshot is a child of its parent, and of nothing else."""
        all_ = meta.get("v1", NS, "snapshots", SNAPSHOTTER)
        for chain, parent in self.new_snapshots.values():
            for key, record in all_.items.items():
                is_child = record.get("children", chain) is not None
                if is_child != (text(key) == parent):
                    self.bad(("v1", NS, "snapshots", SNAPSHOTTER, key),
                             "%s %s its child" % (chain, "is" if is_child else "is not"))

    # ---- metadata.db -----------------------------------------------------------------------

    def native(self, before, after, meta):
        if not after.items and not before.items and not self.new_snapshots:
            return
        self.names_of = {v[0]: k for k, v in self.new_snapshots.items()}
        records = meta.get("v1", NS, "snapshots", SNAPSHOTTER)
        for key, record in records.items.items():
            self.names_of[text(key)] = text(record.items[b"name"])
        self.backend = after.get("v1", "snapshots") or Bucket()
        self.each(before, after, (), {b"v1": self.native_v1})

    def native_v1(self, old, new, path):
        self.each(old, new, path, {b"snapshots": self.trees, b"parents": self.parents})

    def trees(self, old, new, path):
        old = old or Bucket()
        self.ids = (old.sequence, new.sequence)
        self.each(old, new, path, {key.encode(): self.tree for key in self.new_snapshots}, sequence=False)
        if new.sequence < old.sequence + len(self.new_snapshots) or \
                (not self.new_snapshots and new.sequence != old.sequence):
            self.bad(path, "sequence was %d, is %d" % (old.sequence, new.sequence))
        ids = [r.items.get(b"id") for r in new.items.values() if isinstance(r, Bucket)]
        if len(set(ids)) != len(ids):
            self.bad(path, "two records have one number")

    def tree(self, old, new, path):
        chain, parent = self.new_snapshots[text(path[-1])]
        if old is not None or not isinstance(new, Bucket):
            self.bad(path, "is not a new record")
            return
        id_ = number(new.items.get(b"id"))
        if not self.ids[0] < id_ <= self.ids[1]:
            self.bad(path, "its number is %d" % id_)
        wanted = self.names_of[parent].encode() if parent else None
        if new.items.get(b"kind") != b"\3" or new.items.get(b"parent") != wanted:
            self.bad(path, "kind or parent is wrong")
        if number(new.items.get(b"size")) < 0 or number(new.items.get(b"inodes")) < 0:
            self.bad(path, "it has no size")
        if texts(new.items.get(b"labels")) != {"containerd.io/snapshot.ref": chain}:
            self.bad(path, "labels are %r" % texts(new.items.get(b"labels")))
        self.times(None, new, path, True)
        if not os.path.isdir(os.path.join(self.root, "io.containerd.snapshotter.v1.native/snapshots", str(id_))):
            self.bad(path, "the directory %d is missing" % id_)

    def parents(self, old, new, path):
        rules = {}
        for key, (_, parent) in self.new_snapshots.items():
            if parent:
                up, me = (self.backend.get(k, "id") for k in (self.names_of[parent], key))
                rules[(up or b"?") + b"\0" + (me or b"?")] = self.new_link(key)
        self.each(old, new, path, rules)

    def new_link(self, key):
        def rule(old, new, path):
            if old is not None or new != key.encode():
                self.bad(path, "is %s, not %s" % (text(new), key))
        return rule


def main(before, root, storage, edit):
    edit = json.loads(edit)
    was = {name: load(os.path.join(before, name)) for name in ("meta.db", "metadata.db")
           if os.path.exists(os.path.join(before, name))}
    meta = load(os.path.join(root, "io.containerd.metadata.v1.bolt/meta.db"))
    native = load(os.path.join(root, "io.containerd.snapshotter.v1.native/metadata.db"))
    compare = Compare(root, Storage(storage), edit)
    compare.meta(was.get("meta.db", Bucket()), meta)
    compare.links(meta)
    compare.native(was.get("metadata.db", Bucket()), native, meta)
    if edit.get("unchanged") and (was["meta.db"] != meta or was["metadata.db"] != native):
        compare.bad((), "nothing should have changed")
    for problem in compare.problems:
        print(problem)
    return 1 if compare.problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
