#!/usr/bin/python3
"""Damage the databases of a root in many ways, and see what k3simg does with each.

  database_damage.py K3SIMG ROOT REF BBOLTCHECK COUNT SEED

ROOT is a store that containerd has written; REF an image that it does not have and that can be
pulled.  COUNT files are damaged: chosen places first, random bytes then.  For each, `k3simg list`
and `k3simg preload REF` either refuse with exit status 7, one line and a hint, and the store is
unharmed to the byte; or succeed, and bbolt's checker finds nothing that it had not found before,
and every record that could be read before is still there.  Prints what went wrong and figures.
"""

import gc
import os
import random
import resource
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from database_bolt import (BRANCH, FREELIST, LEAF, META_FIELDS, NO_FREELIST, File, Page,  # noqa: E402
                           fnv1a, lost)

MEMORY = 1 << 30        # address space of one run
PATIENCE = 120          # seconds: only a hang takes that long
BLOBS = "io.containerd.content.v1.content/blobs/sha256"
TREES = "io.containerd.snapshotter.v1.native/snapshots"
FILES = {"meta": "io.containerd.metadata.v1.bolt/meta.db",
         "native": "io.containerd.snapshotter.v1.native/metadata.db"}


# ---- mutants: (what, change) of one file ---------------------------------------------------

class Change:
    """Bytes to be put at offsets, and a size to cut to; applied only when its turn comes."""

    def __init__(self, *patches, size=None):
        self.patches, self.size = patches, size

    def apply(self, data):
        out = bytearray(data[:self.size])
        for at, raw in self.patches:
            out[at:at + len(raw)] = raw
        return bytes(out)


def raw(value, size):
    return (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def put(at, value, size):
    return Change((at, raw(value, size)))


def numbers(old, size, *more):
    """Values that a field of this size might wrongly have."""
    wrong = [0, 1, old - 1, old + 1, old ^ 0x80, (1 << 8 * size) - 1, 1 << 8 * size - 1, *more]
    return sorted({v & (1 << 8 * size) - 1 for v in wrong} - {old})


def sealed(file, base, at, value, size):
    """A field of a meta page, and a checksum that fits."""
    meta = bytearray(file.data[base:base + 80])
    meta[at:at + size] = raw(value, size)
    return Change((base + at, raw(value, size)), (base + 72, raw(fnv1a(meta[16:72]), 8)))


def meta_mutants(file):
    """Every field of both meta pages, with and without a checksum that fits."""
    for slot in sorted(file.metas):
        base = slot * file.page_size
        for name, (at, size) in META_FIELDS.items():
            old = file.metas[slot][name]
            more = {"page size": [1024, 2048, 8192, 65536, 131072, 4097], "freelist": [2, 3, NO_FREELIST],
                    "root": [2, 3, 4], "high water": [2, 4, old // 2, old + 1000, 1 << 40],
                    "txid": [old + 2, old - 2]}.get(name, [])
            for value in numbers(old, size, *more):
                yield "meta %d: %s %d" % (slot, name, value), put(base + at, value, size)
                if at >= 16 and name != "checksum":
                    yield "meta %d: %s %d, sealed" % (slot, name, value), sealed(file, base, at, value, size)
    yield "both meta pages", Change((72, bytes(8)), (file.page_size + 72, bytes(8)))


def schema_mutants(file):
    """The schema version: newer, older, garbage, gone; and top-level names of another kind."""
    for slot in range(2, len(file.data) // file.page_size):
        page = file.data[slot * file.page_size:(slot + 1) * file.page_size]
        for version in (b"\x06", b"\x08"):
            at = page.find(b"version" + version)
            if at < 0 or slot not in file.reached:
                continue
            at += slot * file.page_size
            for what, byte in (("newer", 126), ("the next", 10), ("old", 4), ("zero", 0), ("negative", 5),
                               ("garbage", 255)):
                yield "schema version: %s" % what, put(at + 7, byte, 1)
            yield "schema version: missing", put(at, ord("w"), 1)


def name_mutants(file, names):
    """Buckets that the schema needs get another name, keeping the order of keys."""
    for id_ in sorted(file.reached):
        page = file.page(id_)
        if not page.flags & LEAF:
            continue
        for _, key, value, is_bucket in page.elements():
            if key in names and is_bucket:
                at = file.data.find(key + value[:16], id_ * file.page_size)
                yield "the bucket %s is called otherwise" % key.decode(), \
                    put(at + len(key) - 1, key[-1] + 1, 1)


def sequence_mutants(file, path):
    """The numbers that were given out: none, a lower one, the last there is."""
    for id_ in sorted(file.reached):
        page = file.page(id_)
        if not page.flags & LEAF:
            continue
        for _, key, value, is_bucket in page.elements():
            if key == path and is_bucket:
                at = file.data.find(key + value[:16], id_ * file.page_size) + len(key) + 8
                for number in numbers(struct.unpack_from("<Q", value, 8)[0], 8, 5):
                    yield "the sequence of %s is %d" % (key.decode(), number), put(at, number, 8)


def page_mutants(file, id_):
    """Every field of a page's header, of its first and last element, and what they point to."""
    base = id_ * file.page_size
    content = file.data[base:base + file.page_size]
    page = Page(content, id_)
    kind = {LEAF: "leaf", BRANCH: "branch", FREELIST: "freelist"}.get(page.flags, "page")
    what = "%s %d: " % (kind, id_)
    fields = [("id", 0, 8), ("flags", 8, 2), ("count", 10, 2), ("overflow", 12, 4)]
    if page.flags == FREELIST:
        fields += [("first entry", 16, 8), ("second entry", 24, 8)]
    elif page.count:
        for name, i in (("first", 0), ("last", page.count - 1)):
            if 32 + 16 * i <= len(content):
                layout = [("pos", 4), ("ksize", 8), ("vsize", 12), ("flags", 0)] if page.flags == LEAF else \
                    [("pos", 0), ("ksize", 4)]
                fields += [("%s element: %s" % (name, n), 16 + 16 * i + o, 4) for n, o in layout]
                if page.flags == BRANCH:
                    fields.append(("%s element: child" % name, 24 + 16 * i, 8))
    for name, at, size in fields:
        old = int.from_bytes(content[at:at + size], "little")
        more = [2, 4, 16, file.meta["root"], id_, file.meta["high water"]]
        for value in numbers(old, size, *more):
            yield what + "%s %d" % (name, value), put(base + at, value, size)
    if page.flags == LEAF:
        yield from bucket_mutants(file, page, what)


def bucket_mutants(file, page, what):
    for at, key, value, is_bucket in page.elements():
        if not is_bucket:
            continue
        where = page.id * file.page_size + at + struct.unpack_from("<I", page.raw, at + 4)[0] + len(key)
        for root in numbers(struct.unpack_from("<Q", value, 0)[0], 8, page.id, file.meta["root"],
                            file.meta["high water"]):
            yield what + "bucket %r has root %d" % (key[:20], root), put(where, root, 8)
        return


def cut_mutants(file, rnd, count):
    pages = len(file.data) // file.page_size
    sizes = {0, 1, 15, 16, 79, 80, 1023, 4095, 4096, 4097, 8191, 8192, 8193, len(file.data) - 1}
    sizes |= {p * file.page_size for p in rnd.sample(range(1, pages), min(pages - 1, count))}
    sizes |= {rnd.randrange(len(file.data)) for _ in range(count)}
    sizes |= {file.meta["high water"] * file.page_size + d for d in (-file.page_size, -1, 0)}
    for size in sorted(sizes):
        yield "cut to %d of %d bytes" % (size, len(file.data)), Change(size=size)
    yield "zeroes", Change((0, bytes(len(file.data))))
    yield "random bytes", Change((0, rnd.randbytes(min(len(file.data), 1 << 20))))


def list_mutants(file, rnd):
    """A stored list of free pages that names pages in use, or no pages at all."""
    if file.meta["freelist"] == NO_FREELIST:
        return
    at = file.meta["freelist"] * file.page_size
    count = struct.unpack_from("<H", file.data, at + 10)[0]
    used = sorted(file.reached)
    for n in range(min(count, 6)):
        yield "the freelist names page %d, in use" % used[n], put(at + 16 + 8 * n, used[n], 8)
    every = b"".join(raw(rnd.choice(used), 8) for _ in range(count))
    yield "the freelist names pages in use only", Change((at + 16, every))
    yield "the freelist is empty", put(at + 10, 0, 2)


def random_mutant(file, rnd):
    data, size = file.data, file.page_size
    used = sorted(file.reached)
    page, other = rnd.choice(used) * size, rnd.choice(used) * size
    kind = rnd.randrange(8)
    if kind < 3:        # bits and bytes anywhere below the high-water mark
        places = [rnd.randrange(file.meta["high water"] * size) for _ in range(rnd.choice((1, 1, 2, 8, 64)))]
        return "random bytes", Change(*((at, raw(rnd.choice((data[at] ^ 1 << rnd.randrange(8), rnd.randrange(256))), 1))
                                        for at in places))
    if kind < 5:        # in one page that is in use, where its structure is
        places = [page + rnd.randrange(256) for _ in range(rnd.choice((1, 1, 3)))]
        return "bytes of page %d" % (page // size), Change(
            *((at, raw(rnd.choice((data[at] ^ 1 << rnd.randrange(8), rnd.randrange(256), 0, 255)), 1)) for at in places))
    if kind == 5:       # a sector that was never written, or written elsewhere
        at, source = (p + 512 * rnd.randrange(size // 512) for p in (page, other))
        return "a sector of page %d" % (page // size), Change(
            (at, rnd.choice((bytes(512), data[source:source + 512], rnd.randbytes(512)))))
    if kind == 6:       # a page in the place of another
        return "page %d is page %d" % (page // size, other // size), Change((page, data[other:other + size]))
    return "page %d is zeroes" % (page // size), Change((page, bytes(size)))


def mutants(files, count, rnd):
    """(which file, what, change): all that were chosen, thinned to half of `count`; then random ones."""
    chosen = []
    for which, file in files.items():
        some = list(meta_mutants(file))
        pages = {file.meta["root"]} | set(rnd.sample(sorted(file.reached), min(24, len(file.reached))))
        pages |= {p for p in sorted(file.reached) if file.page(p).flags & BRANCH and len(pages) < 40}
        if file.meta["freelist"] != NO_FREELIST:
            pages.add(file.meta["freelist"])
        for id_ in sorted(pages):
            some += page_mutants(file, id_)
        some += cut_mutants(file, rnd, max(8, count // 40))
        chosen += [(which, *m) for m in some]
    always = [("meta", *m) for m in schema_mutants(files["meta"])]
    always += [("meta", *m) for m in name_mutants(files["meta"], (b"v1", b"k8s.io", b"images", b"native", b"blob"))]
    always += [("native", *m) for m in name_mutants(files["native"], (b"v1", b"snapshots", b"parents"))]
    always += [("native", *m) for m in sequence_mutants(files["native"], b"snapshots")]
    always += [("meta", *m) for m in sequence_mutants(files["meta"], b"native")]
    for which, file in files.items():
        always += [(which, *m) for m in list_mutants(file, rnd)]
        always.append((which, "zero-length", Change(size=0)))
    room = max(0, count // 2 - len(always))
    yield from always
    yield from (chosen if len(chosen) <= room else rnd.sample(chosen, room))
    for _ in range(count - len(always) - min(room, len(chosen))):
        which = rnd.choice(("meta", "meta", "native"))
        yield (which, *random_mutant(files[which], rnd))


# ---- one run -------------------------------------------------------------------------------

class Store:
    def __init__(self, program, root, ref, checker):
        self.program, self.root, self.ref, self.checker = program, root, ref, checker
        self.paths = {which: os.path.join(root, name) for which, name in FILES.items()}
        self.pristine = {}
        for which, path in self.paths.items():
            with open(path, "rb") as f:
                self.pristine[which] = f.read()
        self.known, self.trees, self.touched = self.entries(), {}, set()
        self.figures = {"refused": 0, "accepted": 0, "listed": 0, "not listed": 0}

    def entries(self):
        """Everything in the store but the databases, two levels deep: trees are never touched."""
        found = {}
        for where in ("", "io.containerd.content.v1.content", BLOBS, TREES):
            with os.scandir(os.path.join(self.root, where)) as it:
                for e in it:
                    st = e.stat(follow_symlinks=False)
                    found[where + "/" + e.name] = (st.st_ino, st.st_mode) + \
                        ((st.st_size, st.st_mtime_ns) if where in (BLOBS, TREES) else ())
        return found

    def write(self, which, data):
        with open(self.paths[which], "wb") as f:
            f.write(data)

    def read(self, which):
        with open(self.paths[which], "rb") as f:
            return f.read()

    def restore(self):
        for which in self.touched:
            self.write(which, self.pristine[which])
        for name in set(self.entries()) - set(self.known):
            subprocess.run(["rm", "-rf", "--", self.root + "/" + name], check=True)
        # A blob whose record was damaged may have been fetched again.
        self.known = self.entries()

    def run(self, *args):
        try:
            done = subprocess.run([self.program, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            return None, "no end after %d s" % PATIENCE
        return done.returncode, done.stderr.decode("utf-8", "backslashreplace")

    def findings(self, *files):
        """What bbolt finds in them; it may have more memory than k3simg."""
        done = subprocess.run(["prlimit", "--as=unlimited", self.checker, "-check", *(self.paths[f] for f in files)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode == 0:
            return set()
        return set(done.stdout.decode("utf-8", "replace").splitlines()[:50]) or {"status %d" % done.returncode}

    def refusal(self, status, err):
        """What is wrong with how it refused; None if nothing is."""
        if status is None or status < 0 or status != 7:
            return "exit status %s: %s" % (status, err.strip()[-300:])
        errors = [line for line in err.splitlines() if line.startswith("k3simg: error: ")]
        if len(errors) != 1:
            return "%d error lines: %s" % (len(errors), err.strip()[-300:])
        if sum(line.startswith("hint: ") for line in err.splitlines()) != 1:
            return "no hint: %s" % errors[0]
        if any(ord(c) < 32 for line in err.splitlines() for c in line):
            return "control characters: %r" % err
        return None

    def judge(self, which, data):
        """None, or what is wrong."""
        self.write(which, data)
        self.touched = {which}
        written = os.stat(self.paths[which])
        status, err = self.run("list", "--root", self.root)
        self.figures["listed" if status == 0 else "not listed"] += 1
        wrong = self.refusal(status, err) if status != 0 else None
        if wrong:
            return "list: " + wrong
        if os.stat(self.paths[which]).st_mtime_ns != written.st_mtime_ns:
            return "list: the file was changed"
        status, err = self.run("preload", "-q", "--root", self.root, "--pause", "none", self.ref)
        if status != 0:
            self.figures["refused"] += 1
            wrong = self.refusal(status, err)
            if wrong:
                return "preload: " + wrong
            for name in FILES:
                if self.read(name) != (data if name == which else self.pristine[name]):
                    self.touched = set(FILES)
                    return "preload: refused, but %s was changed: %s" % (FILES[name], err)
            if self.entries() != self.known:
                return "preload: refused, but the store was changed: %s" % err
            return None
        self.figures["accepted"] += 1
        self.touched = set(FILES)
        return self.accepted(which, data)

    def accepted(self, which, data):
        for name in FILES:
            if name == which:
                old = File(data)
                before, errors = old.tree(), old.errors
            else:
                before, errors = self.trees[name], []
            new = File(self.read(name))
            after = new.tree()
            if new.errors and not errors:
                return "preload: %s is broken now: %s" % (name, new.errors[0])
            gone = lost(before, after)
            if gone:
                return "preload: %s lost %s" % (name, gone)
        found = self.findings(*FILES)
        if found:
            for name, pristine in self.pristine.items():
                self.write(name, data if name == which else pristine)
            found -= self.findings(*FILES)
        return "preload: bbolt finds: %s" % sorted(found)[0] if found else None


def main(program, root, ref, checker, count, seed):
    gc.disable()    # there are no cycles, and the trees are large
    rnd = random.Random(seed)
    store = Store(program, root, ref, checker)
    files = {which: File(data) for which, data in store.pristine.items()}
    store.trees = {which: file.tree() for which, file in files.items()}
    if any(file.errors for file in files.values()):
        sys.exit("the store is damaged already")
    if os.environ.get("DAMAGE_NO_LIMIT") is None:   # a sanitizer needs more
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    wrong = done = 0
    if store.judge("meta", store.pristine["meta"]) or not store.figures["accepted"]:
        sys.exit("the store is refused although nothing is damaged")
    store.restore()
    store.figures = dict.fromkeys(store.figures, 0)
    for which, what, change in mutants(files, int(count), rnd):
        data = change.apply(store.pristine[which])
        problem = store.judge(which, data)
        done += 1
        if problem:
            wrong += 1
            print("%s: %s: %s" % (which, what, problem))
            keep = os.environ.get("DAMAGE_KEEP")
            if keep:
                with open(os.path.join(keep, "%d-%s" % (done, which)), "wb") as f:
                    f.write(data)
        store.restore()
    print("%d damaged files: %s" % (done, ", ".join("%d %s" % (n, k) for k, n in store.figures.items())))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
