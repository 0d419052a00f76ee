#!/usr/bin/python3
"""kill.py: k3simg is ended or disturbed at its n-th change of the file system, for
many n, and after each of them the store is looked at and the next run is to finish.

  kill.py --preload CMD --shim fault.so --bbolt TOOL --before ROOT --known ROOT...
          --work DIR --mode NAME --plan short|full [--workers N]

CMD is the command line with ROOT for the root.  --before is the store that each
point starts from; --known are stores that containerd wrote itself: a snapshot of
a chain ID has to be what it is there.  Each distinct state that containerd would
find is left as DIR/states/NNNNN-HASH, with what made it in DIR/states/....txt.

Output: lines "pass TEXT", "fail TEXT" and "note TEXT".
"""

import argparse
import collections
import errno
import hashlib
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys

META = "io.containerd.metadata.v1.bolt/meta.db"
NATIVE = "io.containerd.snapshotter.v1.native/metadata.db"
SNAPSHOTS = "io.containerd.snapshotter.v1.native/snapshots"
BLOBS = "io.containerd.content.v1.content/blobs/sha256"
CLOCK = 1767225600          # all records get this time
NS = (b"v1", b"k8s.io")
PATIENCE = 300              # seconds that no run may take
# Every system call that changes a file system, whether k3simg makes it or not.
CHANGING = """write pwrite64 writev pwritev pwritev2 sendfile copy_file_range splice vmsplice fsync fdatasync syncfs
    sync sync_file_range msync truncate ftruncate fallocate ioctl rename renameat renameat2 link linkat symlink
    symlinkat mkdir mkdirat mknod mknodat unlink unlinkat rmdir open openat openat2 creat chmod fchmod fchmodat
    chown fchown lchown fchownat utime utimes utimensat futimesat setxattr lsetxattr fsetxattr removexattr
    lremovexattr fremovexattr mmap io_uring_enter mount umount2""".split()

# first: the run before is killed there; then: this one is killed so many calls after its fault.
Point = collections.namedtuple("Point", "series how n errnum classes jobs what first then", defaults=(0, 0))
Call = collections.namedtuple("Call", "n name classes path")
State = collections.namedtuple("State", "meta native blobs trees files bad")


# ---- databases -----------------------------------------------------------------------

ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
PLAIN = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def unquote(text):
    """The bytes that Go printed by %q."""
    def one(m):
        code = m.group(1)
        if code[:1] == b"x":
            return bytes.fromhex(code[1:].decode())
        if code[:1] in b"uU" and len(code) > 1:
            return chr(int(code[1:], 16)).encode()
        return PLAIN.get(code, code)
    return ESCAPE.sub(one, text)


def uvarint(data):
    value = shift = 0
    for at, byte in enumerate(data):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at + 1
    raise ValueError("varint without an end")


class Databases:
    """What bbolt itself says about a file; asked once for the same bytes."""

    def __init__(self, tool):
        self.tool, self.dumps, self.checks = tool, {}, {}

    @staticmethod
    def key(path):
        with open(path, "rb") as f:
            return hashlib.sha256(f.read()).digest()

    def dump(self, path):
        """path of keys -> value, and for a bucket its sequence."""
        if not os.path.exists(path) or not os.path.getsize(path):
            return {}
        key = self.key(path)
        if key not in self.dumps:
            out = subprocess.run([self.tool, "-dump", path], stdout=subprocess.PIPE, check=False).stdout
            found = {}
            for line in out.split(b"\n"):
                at, keys = 0, []
                while m := QUOTED.match(line, at):
                    keys.append(unquote(m.group(1)))
                    at = m.end() + (line[m.end():m.end() + 1] == b"/")
                rest = line[at:].strip()
                if keys:
                    value = QUOTED.match(rest, 2)
                    found[tuple(keys)] = unquote(value.group(1)) if value else int(rest.strip(b"()"))
                elif line:
                    found[(b"unreadable",)] = line
            self.dumps[key] = found
        return self.dumps[key]

    def check(self, path):
        if not os.path.exists(path) or not os.path.getsize(path):
            return ""
        key = self.key(path)
        if key not in self.checks:
            run = subprocess.run([self.tool, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            self.checks[key] = run.stdout.decode(errors="replace") if run.returncode else ""
        return self.checks[key]


# ---- stores --------------------------------------------------------------------------

def tree_hash(top):
    """Changes when anything in the tree does, but for the times of directories."""
    lines, links = [], {}
    stack = [b""]
    top = os.fsencode(top)
    while stack:
        rel = stack.pop()
        path = top + b"/" + rel
        st = os.lstat(path)
        kind = stat.S_IFMT(st.st_mode)
        line = [rel, st.st_mode, st.st_uid, st.st_gid]
        # The root directory is containerd's own.
        if rel:
            for name in sorted(os.listxattr(path, follow_symlinks=False)):
                line += [name, os.getxattr(path, name, follow_symlinks=False)]
        if kind == stat.S_IFDIR:
            stack.extend((rel + b"/" if rel else b"") + name for name in os.listdir(path))
        else:
            line.append(st.st_mtime_ns)
        if kind == stat.S_IFREG:
            with open(path, "rb", buffering=0) as f:
                line.append(hashlib.sha256(f.read()).digest())
        elif kind == stat.S_IFLNK:
            line.append(os.readlink(path))
        elif kind != stat.S_IFDIR:
            line.append(st.st_rdev)
        if kind not in (stat.S_IFDIR, stat.S_IFLNK):
            links.setdefault(st.st_ino, []).append(rel)
        lines.append(line)
    groups = sorted(sorted(names) for names in links.values() if len(names) > 1)
    return hashlib.sha256(repr((sorted(lines), groups)).encode()).hexdigest()


def all_files(root):
    """Everything beside snapshots, blobs and our staging: path, type and mode."""
    found = []
    for base, dirs, files in os.walk(root):
        rel = os.path.relpath(base, root)
        if rel == ".":
            dirs[:] = [d for d in dirs if d not in (".k3simg", "lost+found")]
        for name in dirs + files:
            st = os.lstat(os.path.join(base, name))
            found.append((os.path.normpath(os.path.join(rel, name)), oct(st.st_mode), st.st_uid))
        dirs[:] = [d for d in dirs if os.path.normpath(os.path.join(rel, d)) not in (SNAPSHOTS, BLOBS)]
    return [f for f in sorted(found) if not f[0].startswith((SNAPSHOTS + "/", BLOBS + "/"))]


def numbers(native):
    """key of a snapshot -> its number."""
    return {path[2]: uvarint(value)[0] for path, value in native.items()
            if len(path) == 4 and path[1] == b"snapshots" and path[3] == b"id"}


def read_state(root, dbs):
    bad, blobs, trees = [], {}, {}
    path = os.path.join(root, BLOBS)
    for name in sorted(os.listdir(path)) if os.path.isdir(path) else []:
        with open(os.path.join(path, name), "rb") as f:
            data = f.read()
        if hashlib.sha256(data).hexdigest() != name:
            bad.append("blob %s has another digest" % name)
        blobs[name] = (len(data), oct(os.lstat(os.path.join(path, name)).st_mode))
    path = os.path.join(root, SNAPSHOTS)
    for name in sorted(os.listdir(path)) if os.path.isdir(path) else []:
        trees[name] = tree_hash(os.path.join(path, name))
    return State(dbs.dump(os.path.join(root, META)), dbs.dump(os.path.join(root, NATIVE)), blobs, trees,
                 all_files(root), bad)


def fingerprint(state):
    return hashlib.sha256(repr([sorted(part.items()) if isinstance(part, dict) else part
                                for part in state]).encode()).hexdigest()[:16]


def chains(state):
    """chain ID -> hash of its tree."""
    found = {}
    for key, number in numbers(state.native).items():
        if b"sha256:" in key and str(number) in state.trees:
            found[key.split(b"/")[-1]] = state.trees[str(number)]
    return found


NUMBER = re.compile(rb"^(k8s\.io)/\d+/")


def normal(state):
    """A state without the numbers that containerd would have given, and without the blocks
    that ext4 happened to count."""
    def plain(value):
        return NUMBER.sub(rb"\1/#/", value) if isinstance(value, bytes) else "bucket"

    keys = {number: plain(key) for key, number in numbers(state.native).items()}
    native = {}
    for path, value in state.native.items():
        if len(path) == 3 and path[1] == b"parents":
            parent, used = uvarint(path[2])
            child, _ = uvarint(path[2][used + 1:])
            native["parent", keys.get(parent), keys.get(child)] = plain(value)
        elif len(path) < 4 or path[3] not in (b"id", b"size"):
            native[tuple(plain(p) for p in path)] = plain(value)
    meta = {path: plain(value) for path, value in state.meta.items()}
    known = {str(n): key for n, key in keys.items()}
    return {"meta": meta, "native": native, "blobs": state.blobs, "files": state.files,
            "trees": {known[n]: t for n, t in state.trees.items() if n in known},
            "strange": [n for n in state.trees if n not in known]}


def differences(a, b, parts):
    for part in parts:
        one, two = a[part], b[part]
        if one == two:
            continue
        if isinstance(one, dict):
            for key in sorted(set(one) | set(two), key=repr):
                if one.get(key) != two.get(key):
                    yield "%s: %r is %.100r instead of %.100r" % (part, key, one.get(key), two.get(key))
        else:
            yield "%s: %s" % (part, sorted(set(one) ^ set(two))[:4])


class Judge:
    """What must hold in every state, whatever has happened."""

    def __init__(self, before, known):
        self.before = before
        self.known = {**known, **chains(before)}
        self.old = numbers(before.native)

    def problems(self, s):
        bad = list(s.bad)
        ids = numbers(s.native)
        sequence = max([0] + [v for p, v in s.native.items() if p == (b"v1", b"snapshots")])
        for key, number in ids.items():
            chain = key.split(b"/")[-1]
            tree = s.trees.get(str(number))
            if tree is None:
                bad.append("snapshot %s has no directory" % key.decode())
            elif b"sha256:" in key and tree != self.known.get(chain):
                bad.append("the tree of snapshot %s is not what containerd unpacks" % key.decode())
        for number in list(ids.values()) + [int(n) for n in s.trees]:
            if number > sequence:
                bad.append("number %d is above the sequence %d" % (number, sequence))
        for path, value in s.meta.items():
            if path[:3] == NS + (b"snapshots",) and len(path) == 6 and path[5] == b"name" and value not in ids:
                bad.append("meta.db names %s, which metadata.db has not" % value.decode())
            if path[:4] == NS + (b"content", b"blob") and len(path) == 6 and path[5] == b"size":
                name, size = path[4].decode()[7:], uvarint(value)[0] >> 1
                if s.blobs.get(name, (None,))[0] != size:
                    bad.append("blob %s has a record and no file" % name)
            if path[:3] == NS + (b"images",) and path[-1] == b"digest" and \
                    NS + (b"content", b"blob", value, b"size") not in s.meta:
                bad.append("image %s points nowhere" % path[3].decode())
        for key, number in self.old.items():
            if ids.get(key) != number or s.trees.get(str(number)) != self.before.trees.get(str(number)):
                bad.append("snapshot %s of before is not as it was" % key.decode())
        for path, value in self.before.meta.items():
            target = path[:3] == NS + (b"images",) and path[-1] == b"digest" and b"/app:1" not in path[3]
            if target and s.meta.get(path) != value:
                bad.append("image %s of before is not as it was" % path[3].decode())
        return bad


# ---- one run --------------------------------------------------------------------------

class Runner:
    def __init__(self, args):
        self.args, self.dbs = args, Databases(args.bbolt)
        self.before = read_state(args.before, self.dbs)
        known = {}
        for root in args.known:
            known.update(chains(read_state(root, self.dbs)))
        self.judge = Judge(self.before, known)
        self.work = os.path.join(args.work, "point-%d" % os.getpid())

    def root(self):
        return os.path.join(self.work, "root")

    def fresh(self):
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)
        subprocess.run(["cp", "-a", self.args.before, self.root()], check=True)

    def command(self, jobs=1):
        return [self.root() if word == "ROOT" else word for word in shlex.split(self.args.preload)] + \
            ["--jobs", str(jobs)]

    def preload(self, jobs=1, **fault):
        """(status, stderr, lines of the shim)"""
        log = os.path.join(self.work, "log")
        if os.path.exists(log):
            os.unlink(log)
        env = {**os.environ, "LD_PRELOAD": self.args.shim, "FAULT_LOG": log, "FAULT_CLOCK": str(CLOCK)}
        env.update({"FAULT_" + k.upper(): str(v) for k, v in fault.items()})
        run = subprocess.run(self.command(jobs), env=env, stdin=subprocess.DEVNULL, check=False,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=PATIENCE)
        with open(log, encoding="utf-8", errors="replace") as f:
            return run.returncode, run.stderr.decode(errors="replace"), f.read().splitlines()

    def check_bolt(self):
        return [text for name in (META, NATIVE) if (text := self.dbs.check(os.path.join(self.root(), name)))]

    def undisturbed(self):
        """The calls, the number of allocations, the normal end state."""
        self.fresh()
        status, err, log = self.preload(trace=1)
        if status:
            sys.exit("kill.py: undisturbed it fails with %d: %s" % (status, err))
        calls, allocs = [], 0
        for line in log:
            word, n, name, *rest = line.split(" ", 4)
            if word == "call":
                calls.append(Call(int(n), name, rest[0], rest[1]))
            elif word == "total":
                allocs = int(name)
        state = read_state(self.root(), self.dbs)
        bad = self.judge.problems(state) + self.check_bolt() + normal(state)["strange"]
        if bad or os.path.exists(os.path.join(self.root(), ".k3simg")):
            sys.exit("kill.py: undisturbed: %s" % bad)
        return calls, allocs, state

    def traced(self):
        """The calls by name, as the kernel sees them.  The shim has to see the same ones."""
        self.fresh()
        log, out = os.path.join(self.work, "log"), os.path.join(self.work, "strace")
        subprocess.run(["strace", "-f", "-qq", "-y", "-s", "0", "-o", out, "-e", "trace=" + ",".join(CHANGING),
                        "-E", "LD_PRELOAD=" + self.args.shim, "-E", "FAULT_LOG=" + log] + self.command(),
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=PATIENCE)
        seen = collections.Counter()
        with open(out, encoding="utf-8", errors="replace") as f:
            for line in f:
                m = re.match(r"\d+ +(\w+)\((.*)", line)
                if not m:
                    continue
                name, rest = m.groups()
                fd = re.match(r"(\d+)<(.*?)>", rest)
                if name in ("write", "pwrite64", "writev", "pwritev", "pwritev2") and \
                        (not fd or int(fd[1]) < 3 or fd[2] == log or not fd[2].startswith("/")):
                    continue
                if name in ("open", "openat", "openat2") and \
                        (log in rest or not re.search("O_CREAT|O_TRUNC|O_TMPFILE", rest)):
                    continue
                if name == "mmap" and not ("PROT_WRITE" in rest and "MAP_SHARED" in rest and "</" in rest):
                    continue
                if name == "ioctl":
                    if "FICLONE" not in rest:
                        continue
                    name = "FICLONE"
                seen["openat" if name.startswith("open") else name] += 1
        return seen

    def keep(self, state, point):
        """Leaves a state that nobody has met yet for containerd to look at."""
        place = os.path.join(self.args.work, "states", fingerprint(state))
        try:
            os.mkdir(place)
        except FileExistsError:
            return
        subprocess.run(["cp", "-a", self.root(), place + "/root"], check=True)
        shutil.rmtree(place + "/root/.k3simg", ignore_errors=True)
        with open(place + "/made-by", "w", encoding="utf-8") as f:
            print(point.what, file=f)

    def one(self, point, end):
        """What is wrong after this point."""
        self.fresh()
        fault = {}
        if point.errnum:
            fault["errno"] = point.errnum
        if point.classes:
            fault["class"] = point.classes
        if point.then:
            fault["then"] = point.then
        if point.first:
            self.preload(at=point.first, how="kill")
        status, err, log = self.preload(jobs=point.jobs, at=point.n, how=point.how, **fault)
        hit = any(line.startswith("hit ") for line in log)
        state = read_state(self.root(), self.dbs)
        bad = self.judge.problems(state) + self.check_bolt()
        bad += self.outcome(point, hit, status, err, normal(state), normal(end))
        self.keep(state, point)
        partly = status == 9
        status, err, _ = self.preload()
        if status:
            bad.append("the next run ends with %d: %s" % (status, err))
            return bad, hit
        state = read_state(self.root(), self.dbs)
        bad += ["then: " + b for b in self.judge.problems(state) + self.check_bolt()]
        bad += ["then: " + b for b in self.unlike(point, normal(state), normal(end), partly)]
        if os.path.exists(os.path.join(self.root(), ".k3simg")):
            bad.append("then: there is still a .k3simg")
        return bad, hit

    @staticmethod
    def forget_inodes(*states):
        for s in states:
            s["native"] = {k: v for k, v in s["native"].items() if k[-1] != b"inodes"}

    def unlike(self, point, now, end, partly):
        """Which trees are made besides those of images depends, in flat mode, on the images
        of a run: when some of them were done by the run before there may be fewer."""
        if point.errnum == errno.EMLINK:
            self.forget_inodes(now, end)
        if partly and self.args.mode != "chain":
            for part in (now, end):
                part["meta"] = {k: v for k, v in part["meta"].items() if k[2:3] != (b"snapshots",)}
            return differences(now, end, ("meta", "blobs", "files", "strange"))
        return differences(now, end, end)

    def outcome(self, point, hit, status, err, now, end):
        """Whether exit status, message and store belong together."""
        before = normal(self.before)
        if point.errnum == errno.EMLINK:
            # Rightly: a file that cannot have one more name is copied, and counted.
            self.forget_inodes(now, end, before)
        parts = ("meta", "native", "blobs", "trees", "strange")
        if point.how in ("kill", "half", "alloc"):
            if hit and status != -signal.SIGKILL:
                return ["killed, it ends with %d" % status]
            if hit:
                return []
        if point.then and status == -signal.SIGKILL:
            return []
        if status == 0:
            return ["ends with 0, but " + d for d in differences(now, end, parts)]
        if not hit:
            return ["ends with %d without a fault: %s" % (status, err)]
        bad = []
        if status == 9:          # others are whole: self.judge has seen to that
            return self.message(point, err)
        wanted = {errno.ENOSPC: 8, errno.EDQUOT: 8, errno.ENOMEM: 1}.get(point.errnum, 7)
        if status != wanted:
            bad.append("ends with %d instead of %d: %s" % (status, wanted, err))
        bad += self.message(point, err)
        if point.how == "from":
            # A fault that stays may keep us from taking back what nothing refers to.  Or the last
            # write to meta.db was made, and neither flushed nor taken back: the new state it is.
            parts = ("meta",)
            if not list(differences(now, end, ("meta", "blobs", "trees"))):
                return bad
        for part in (now, before):
            # A new database may keep the buckets of records that are gone.
            part["native"] = {k: v for k, v in part["native"].items() if v != "bucket"}
        bad += ["ends with %d, but %s" % (status, d) for d in differences(now, before, parts)]
        return bad

    @staticmethod
    def message(point, err):
        lines = [line for line in err.splitlines() if line.startswith("k3simg: error: ")]
        bad = []
        if not lines or not any(os.strerror(point.errnum) in line for line in lines):
            bad.append("no error line that says why: %s" % err)
        if point.errnum in (errno.ENOSPC, errno.EDQUOT) and "hint: " not in err:
            bad.append("no hint: %s" % err)
        return bad


# ---- which points ---------------------------------------------------------------------

ONCE = ((errno.ENOSPC, "as"), (errno.EIO, "cs"), (errno.EROFS, "c"), (errno.EDQUOT, "a"),
        (errno.ENOMEM, "c"), (errno.EMLINK, "l"), (errno.EINTR, "i"))
LINKED = ("owned", "hard", "hard-too")      # kill-images.py
FROM = ((errno.ENOSPC, "a"), (errno.EROFS, "c"), (errno.EIO, "cs"), (errno.EIO, "s"), (errno.EIO, "as"))


def spread(items, count):
    """`count` of the items, evenly; always the first and the last."""
    items = list(items)
    if count >= len(items) or count < 2:
        return items[:max(count, 0)] if count < 2 else items
    return [items[i * (len(items) - 1) // (count - 1)] for i in range(count)]


def one_of_each(calls):
    seen = {}
    for c in calls:
        head, tail = os.path.split(c.path)
        seen.setdefault((c.name, head[:20], re.split(r"[-\d]", tail)[0]), c)
    return list(seen.values())


def points(calls, allocs, full):
    start = next(c.n for c in calls if c.name == "syncfs") - 1
    late = [c for c in calls if c.n > start]
    early = [c for c in calls if c.n <= start]
    writes = [c for c in calls if c.name in ("write", "pwrite64", "copy_file_range")]
    late_writes = [c for c in writes if c.n > start]

    def make(series, how, chosen, errnum=0, classes="", jobs=1):
        for c in chosen:
            if isinstance(c, Call):
                what = "%s at call %d, %s %s" % (series, c.n, c.name, c.path)
                yield Point(series, how, c.n, errnum, classes, jobs, what)
            else:
                yield Point(series, how, c, errnum, classes, jobs, "%s at %d" % (series, c))

    killed = calls if full else sorted(set(spread(early, 10) + spread(late, 60)))
    yield from make("kill", "kill", killed)
    yield from make("kill in a write", "half",
                    writes if full else spread(late_writes, 6) + spread(writes, 3))
    yield from make("short write", "short", spread(writes, 80) if full else spread(writes, 3))
    for errnum, classes in ONCE:
        fits = [[c for c in some if set(c.classes) & set(classes)] for some in (early, late)]
        if errnum == errno.EMLINK:
            # The links that a layer itself makes are copied where the limit is met; files
            # that have only run out of links in the parent stay what they were.
            fits[0] = [c for c in fits[0] if c.path not in LINKED]
        chosen = sorted(set(one_of_each(fits[0]) + spread(fits[0], 12) + fits[1])) if full else \
            spread(fits[0], 1) + spread(fits[1], 2)
        yield from make("%s once" % errno.errorcode[errnum], "once", chosen, errnum)
    for errnum, classes in FROM:
        fits = [[c for c in some if set(c.classes) & set(classes)] for some in (early, late)]
        chosen = spread(fits[0], 8) + fits[1] if full else spread(fits[0], 1) + spread(fits[1], 2)
        # Here the new state can neither be flushed nor be taken back.
        chosen += [] if full or "s" not in classes else \
            [c for c in fits[1] if c.name == "fdatasync" and c.path.endswith(META)][-1:]
        name = "%s of every %s on" % (errno.errorcode[errnum], {"s": "sync", "a": "allocation", "as": "write and sync"}.get(classes, "call"))
        yield from make(name, "from", chosen, errnum, classes)
    # While the run that failed takes back what it has done, and while the next one does.
    flush = [c for c in late if c.name == "fdatasync" and c.path.endswith(META)][-1]
    write = [c for c in late if c.name == "pwrite64" and c.path.endswith(META)][0]
    for k in spread(range(1, 81), 80 if full else 5):
        yield Point("kill while it takes back", "once", flush.n, errno.EIO, "", 1,
                    "EIO once at call %d, kill %d calls later" % (flush.n, k), 0, k)
    for k in spread(range(1, 121), 120 if full else 6):
        yield Point("kill while the next run takes back", "kill", k, 0, "", 1,
                    "kill at call %d, the next run at call %d" % (write.n, k), write.n)
    yield from make("kill at an allocation", "alloc", spread(range(1, allocs + 1), 150 if full else 2))
    yield from make("kill with --jobs 4", "kill", spread(killed, 120 if full else 3), jobs=4)
    yield from make("EIO once with --jobs 4", "once", spread(calls, 40 if full else 1), errno.EIO, jobs=4)


# ---- main -------------------------------------------------------------------------------

RUNNER = END = None


def work(point):
    global RUNNER
    if RUNNER is None:
        RUNNER = Runner(ARGS)
    bad, hit = RUNNER.one(point, END)
    return point, bad, hit


def main():
    global ARGS, END
    p = argparse.ArgumentParser()
    for name in ("preload", "shim", "bbolt", "before", "work", "mode"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--known", action="append", required=True)
    p.add_argument("--plan", choices=("short", "full"), default="short")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--part", type=int, default=1, help="take every PART-th point ...")
    p.add_argument("--first", type=int, default=0, help="... from this one on")
    p.add_argument("--only", help="an expression of n and series: only these points")
    ARGS = p.parse_args()
    os.makedirs(os.path.join(ARGS.work, "states"))
    runner = Runner(ARGS)
    calls, allocs, END = runner.undisturbed()
    names = collections.Counter(c.name for c in calls)
    print("note %s: %d calls that change the file system (%s), %d allocations" %
          (ARGS.mode, len(calls), ", ".join("%s %d" % i for i in names.most_common(6)), allocs), flush=True)
    kernel = runner.traced()
    if kernel == names:
        print("pass %s: the shim sees the calls that strace sees" % ARGS.mode)
    else:
        print("fail %s: the shim sees %s, strace %s" % (ARGS.mode, dict(names - kernel), dict(kernel - names)))
    todo = list(points(calls, allocs, ARGS.plan == "full"))[ARGS.first::ARGS.part]
    if ARGS.only:
        todo = [t for t in todo if eval(ARGS.only, {"n": t.n, "series": t.series, "what": t.what})]
    done, missed, failed = collections.Counter(), collections.Counter(), collections.Counter()
    with multiprocessing.Pool(ARGS.workers) as pool:
        for point, bad, hit in pool.imap_unordered(work, todo, chunksize=1):
            done[point.series] += 1
            missed[point.series] += not hit
            if sum(done.values()) % 250 == 0:
                print("%s: %d of %d" % (ARGS.mode, sum(done.values()), len(todo)), file=sys.stderr, flush=True)
            if bad:
                failed[point.series] += 1
                print("fail %s: %s: %s" % (ARGS.mode, point.what, " | ".join(bad[:6]).replace("\n", " ")), flush=True)
    for series in dict.fromkeys(t.series for t in todo):
        if not failed[series]:
            print("pass %s: %s: %d points%s" % (ARGS.mode, series, done[series],
                  ", of which %d came too late" % missed[series] if missed[series] else ""))
    shutil.rmtree(runner.work, ignore_errors=True)
    print("note %s: %d points, %d states for containerd" %
          (ARGS.mode, sum(done.values()), len(os.listdir(os.path.join(ARGS.work, "states")))))


if __name__ == "__main__":
    main()
