#!/usr/bin/python3
"""Power loss, from a log of what a disk was told to write (logdev.c).

power.py prove CONFIG FS
    The disk really logs: data written and flushed on FS is in the log, with a
    flush behind it, and base image + all writes of the log = the disk.

power.py run CONFIG FS MODE SCENARIO POINTS
    Runs k3simg on FS on the logging disk, builds POINTS crash images from the
    log, mounts each of them and checks the store, then runs k3simg again.

    FS        ext4, writeback (ext4 with data=writeback), xfs, btrfs
    MODE      flat or chain: the --snapshots of k3simg
    SCENARIO  store    onto a store that holds an image
              empty    into a directory that is not there yet
              update   a tag that moved, onto a store that has what it meant
              parts    "store" with layers in parts (--chunk-size 1MiB)
              again    onto a store in which power was lost in the middle of a commit
              no-sync  "store" with --no-sync: the databases are sound, no more is promised

CONFIG is a JSON file, written by power-loss.sh.  A crash image has all that was
written before the last flush, and of what was written later all, nothing, all
but one write, all up to some write, or any of them, whole or in sectors.
"""

import ast
import hashlib
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import tree  # noqa: E402

WRITE, FLUSH, MARK = 1, 2, 3
META = "io.containerd.metadata.v1.bolt/meta.db"
NATIVE = "io.containerd.snapshotter.v1.native/metadata.db"
SNAPSHOTS = "io.containerd.snapshotter.v1.native/snapshots"
BLOBS = "io.containerd.content.v1.content/blobs"
NS = ("v1", "k8s.io")
OLD = "static:1"  # in the store from the beginning
NEW = ["exit:1", "zstd:1", "multi:1"]
MIB = 1 << 20


class FileSystem:
    """How to make and mount one; `sector` is what it expects to be written whole."""

    def __init__(self, mkfs, size, kind, options="", sector=512):
        self.mkfs, self.size, self.kind, self.sector = mkfs, size, kind, sector
        self.options = ",".join(filter(None, ["loop", options]))


EXT4 = ["mkfs.ext4", "-q", "-m", "0", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
FILE_SYSTEMS = {
    "ext4": FileSystem(EXT4, 160 * MIB, "ext4"),
    "writeback": FileSystem(EXT4, 160 * MIB, "ext4", "data=writeback"),
    # Both keep blocks of 4 KiB whose parts they do not expect to be of different age.
    "xfs": FileSystem(["mkfs.xfs", "-q", "-s", "size=4096"], 320 * MIB, "xfs", "nouuid", 4096),
    "btrfs": FileSystem(["mkfs.btrfs", "-q"], 256 * MIB, "btrfs", "", 4096),
}


def call(argv, **more):
    """(status, output)"""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          text=True, errors="replace", check=False, **more)
    return done.returncode, done.stdout


def must(argv, **more):
    status, out = call(argv, **more)
    if status:
        sys.exit("power.py: %s: status %d\n%s" % (" ".join(argv), status, out))
    return out


def copy_sparse(source, target):
    with open(source, "rb") as f, open(target, "wb") as t:
        size, at = os.fstat(f.fileno()).st_size, 0
        os.truncate(t.fileno(), size)
        while at < size:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            while at < end:
                block = os.pread(f.fileno(), min(end - at, 4 * MIB), at)
                os.pwrite(t.fileno(), block, at)
                at += len(block)


def same_files(one, two):
    with open(one, "rb") as a, open(two, "rb") as b:
        while block := a.read(4 * MIB):
            if block != b.read(4 * MIB):
                return False
        return not b.read(1)


# ---- the disk ----------------------------------------------------------------------------------

class Mounted:
    """A file system on a loop device on a file, as a context."""

    def __init__(self, fs, image, at):
        self.fs, self.image, self.at = fs, image, at

    def __enter__(self):
        if self.fs.kind == "btrfs":
            # It remembers devices by their identity, and these are many of one identity.
            call(["btrfs", "device", "scan", "--forget"])
        must(["mount", "-t", self.fs.kind, "-o", self.fs.options, self.image, self.at])
        return self.at

    def __exit__(self, *unused):
        for _ in range(100):
            status, out = call(["umount", self.at])
            if not status:
                return
            time.sleep(0.1)
        sys.exit("power.py: cannot unmount: " + out)


class LogDisk:
    """logdev on an image, as a context; `mark` writes into its log."""

    def __init__(self, config, image, log, at):
        self.config, self.image, self.log, self.at = config, image, log, at
        self.process = None

    def __enter__(self):
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen([self.config["logdev"], self.at, self.image, self.log],
                                        stdin=subprocess.DEVNULL)
        while not os.path.ismount(self.at):
            if self.process.poll() is not None:
                sys.exit("power.py: logdev ended with status %d" % self.process.returncode)
            time.sleep(0.01)
        self.disk = os.path.join(self.at, "disk")
        return self

    def mark(self, text):
        fd = os.open(os.path.join(self.at, "mark"), os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)

    def __exit__(self, *unused):
        for _ in range(100):
            # The loop device is let go a little after the unmount.
            if not call(["umount", self.at])[0]:
                break
            time.sleep(0.1)
        else:
            call(["umount", "-l", self.at])
        if self.process.wait() != 0:
            sys.exit("power.py: logdev ended with status %d" % self.process.returncode)


class Log:
    """Records of a log: (kind, offset on the disk, length, position of the data)."""

    def __init__(self, name):
        # pylint: disable=consider-using-with
        self.file = open(name, "rb")
        self.records, self.marks = [], {}
        at = 0
        while len(head := self.file.read(16)) == 16:
            offset, length, kind = struct.unpack("<QII", head)
            at += 16
            if kind == MARK:
                self.marks[self.file.read(length).decode()] = len(self.records)
            self.records.append((kind, offset, length, at))
            at += length
            self.file.seek(at)
        self.flushes = [k for k, r in enumerate(self.records) if r[0] == FLUSH]
        self.writes = [k for k, r in enumerate(self.records) if r[0] == WRITE]

    def data(self, k):
        return os.pread(self.file.fileno(), self.records[k][2], self.records[k][3])

    def apply(self, fd, chosen, torn=None, sector=512):
        """Write the chosen records; of the torn ones only some sectors, as `torn` (a Random) has it."""
        for k in chosen:
            offset, data = self.records[k][1], self.data(k)
            # No file system survives half of its only superblock, nor claims to.
            if torn is None or offset < 4096 or 65536 <= offset < 69632 or torn.random() < 0.5:
                os.pwrite(fd, data, offset)
                continue
            for at in range(0, len(data), sector):
                if torn.random() < 0.5:
                    os.pwrite(fd, data[at:at + sector], offset + at)


# ---- what a store says -------------------------------------------------------------------------

KEY = re.compile(r'"(?:[^"\\]|\\.)*"')


def unquote(text):
    return ast.literal_eval(text)


class Database:
    """The text of bboltcheck -dump: `values` path -> value, `buckets` the paths of buckets."""

    def __init__(self, config, name):
        self.values, self.buckets, self.lines = {}, set(), []
        # An empty file is one that bbolt has not yet begun.
        if not os.path.exists(name) or not os.path.getsize(name):
            return
        for line in must([config["bboltcheck"], "-dump", name]).splitlines():
            keys, at = [], 0
            while (m := KEY.match(line, at)):
                keys.append(unquote(m.group()))
                at = m.end()
                if not line.startswith("/", at):
                    break
                at += 1
            if line.startswith(" = ", at):
                self.values[tuple(keys)] = unquote(line[at + 3:])
                self.lines.append(line)
            else:
                self.buckets.add(tuple(keys))

    def below(self, *path):
        """Names of the buckets in a bucket."""
        return [b[-1] for b in self.buckets if b[:-1] == path]


class Store:
    """A containerd root, looked at: findings, images, chains and what tells two states apart."""

    def __init__(self, run, root):
        self.run, self.root, self.findings = run, root, []
        self.images, self.checked = {}, {}
        config = run.config
        files = [f for f in (self.path(META), self.path(NATIVE)) if os.path.exists(f)]
        status, out = call([config["bboltcheck"]] + files)
        self.databases_sound = not status
        if status:
            self.say("bbolt's checker: " + out.strip())
            self.meta = self.native = Database(config, "/nonexistent")
            return
        self.meta = Database(config, self.path(META))
        self.native = Database(config, self.path(NATIVE))
        for key in self.meta.below(*NS, "images"):
            self.images[key] = self.meta.values[(*NS, "images", key, "target", "digest")]
        self.chains = set(self.meta.below(*NS, "snapshots", "native"))

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def say(self, text):
        self.findings.append(text)

    def state(self):
        """Changes with what containerd can see: records, and whether there is more on the disk."""
        dirs, blobs = self.loose()
        text = json.dumps([sorted(self.meta.lines), sorted(self.native.lines), bool(dirs), bool(blobs)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def loose(self):
        """Snapshot directories and blobs without a record."""
        ids = {str(self.number(key)) for key in self.native.below("v1", "snapshots")}
        dirs = set(os.listdir(self.path(SNAPSHOTS))) - ids if os.path.isdir(self.path(SNAPSHOTS)) else set()
        blobs = set()
        known = set(self.meta.below(*NS, "content", "blob"))
        for alg in os.listdir(self.path(BLOBS)) if os.path.isdir(self.path(BLOBS)) else []:
            blobs |= {alg + ":" + name for name in os.listdir(self.path(BLOBS, alg))} - known
        return dirs, blobs

    def number(self, key):
        raw = self.native.values.get(("v1", "snapshots", key, "id"), "")
        # A varint; these stores are small.
        return ord(raw) if len(raw) == 1 and ord(raw) < 128 else -1

    # Each of these finds what a record promises and the disk does not have.

    def blob(self, digest):
        """The bytes of a blob whose record and file are right, else None; each is read once."""
        if digest in self.checked:
            return self.checked[digest]
        data = None
        size = (*NS, "content", "blob", digest, "size")
        name = self.path(BLOBS, *digest.split(":"))
        if size not in self.meta.values:
            self.say("blob %s has no record" % digest)
        elif not os.path.exists(name):
            self.say("blob %s has no file" % digest)
        else:
            with open(name, "rb") as f:
                data = f.read()
            if hashlib.sha256(data).hexdigest() != digest.split(":")[1]:
                self.say("blob %s has other bytes (%d, %d of them zero)" % (digest, len(data), data.count(0)))
                data = None
        self.checked[digest] = data
        return data

    def snapshot(self, chain):
        name = self.meta.values.get((*NS, "snapshots", "native", chain, "name"))
        if name is None:
            self.say("snapshot %s has no record" % chain)
            return
        number = self.number(name)
        if number < 0:
            self.say("snapshot %s has no record in metadata.db" % chain)
        elif not os.path.isdir(self.path(SNAPSHOTS, str(number))):
            self.say("snapshot %s has no directory" % chain)
        else:
            wanted = self.run.trees.get(chain)
            got = tree.fingerprint(self.path(SNAPSHOTS, str(number)))
            if wanted is None:
                self.run.trees[chain] = got  # a lower chain in an undisturbed run: see Run.learn
            elif got != wanted:
                self.say("snapshot %s (%d): the tree differs" % (chain, number))

    def image(self, name):
        digest = self.images[name]
        raw = self.blob(digest)
        while raw is not None:
            doc = json.loads(raw)
            if "manifests" not in doc:
                break
            entry = next(m for m in doc["manifests"] if m.get("platform", {}).get("architecture") == "amd64")
            raw = self.blob(entry["digest"])
        if raw is None:
            self.say("image %s is not whole" % name)
            return None
        config = self.blob(doc["config"]["digest"])
        for layer in doc["layers"]:
            self.blob(layer["digest"])
        if config is None:
            return None
        chain = None
        for diff in json.loads(config)["rootfs"]["diff_ids"]:
            chain = diff if chain is None else "sha256:" + hashlib.sha256(
                ("%s %s" % (chain, diff)).encode()).hexdigest()
        if chain not in self.chains:
            self.say("image %s: its snapshot %s is missing" % (name, chain))
        return chain

    def learn_trees(self):
        """The trees that containerd itself makes of the images that are here are the right ones."""
        by_digest = {self.run.images[short]: path for short, path in self.run.config["trees"].items()}
        for name, digest in self.images.items():
            chain = self.image(name) if digest in by_digest else None
            if chain and chain not in self.run.trees:
                self.run.trees[chain] = tree.fingerprint(by_digest[digest])

    def check(self):
        """All that the records of a sound store promise."""
        if not self.databases_sound:
            return
        for name in self.images:
            self.image(name)
        for digest in self.meta.below(*NS, "content", "blob"):
            self.blob(digest)
        for chain in self.chains:
            self.snapshot(chain)


# ---- one series --------------------------------------------------------------------------------

class Run:
    def __init__(self, config, fs, mode, scenario, points):
        self.config, self.mode, self.scenario, self.points = config, mode, scenario, points
        self.fs = FILE_SYSTEMS[fs]
        self.title = "%s %s %s" % (fs, mode, scenario)
        self.dir = os.path.join(config["work"], self.title.replace(" ", "-"))
        for name in ("fuse", "mnt", "states"):
            os.makedirs(self.file(name))
        self.rng = random.Random("%s %s" % (config["seed"], self.title))
        self.trees = {}       # chain ID -> fingerprint of the tree
        self.kept = []        # lines of the databases that have to stay
        self.images = dict(config["images"])
        self.app = "app-%s-%s:1" % (fs, mode)
        self.new = [self.app, "multi:1"] if scenario == "update" else NEW
        self.root = os.path.join(self.file("mnt"), "var/root")
        self.states, self.failed, self.crashes, self.damaged = {}, 0, 0, 0
        self.staged = self.torn = self.journals = 0

    def file(self, name):
        return os.path.join(self.dir, name)

    def name(self, short):
        return self.config["registry"] + "/" + short

    def preload(self, *shorts, first=False):
        argv = [self.config["k3simg"], "preload", "--root", self.root, "--snapshots", self.mode]
        argv += ["--pause", "none" if first else self.name(self.config["pause"])]
        if self.scenario == "no-sync" and not first:
            argv.append("--no-sync")
        if self.scenario == "parts" and not first:
            argv += ["--chunk-size", "1MiB"]
        return call(argv + [self.name(s) for s in shorts])

    def wanted(self):
        """Record -> digest after the run."""
        names = self.new + [self.config["pause"]]
        return {self.name(n): self.images[n] for n in names}

    def move_tag(self, to):
        """Let the tag of this run mean the image `to`; its repository has both."""
        top = os.path.join(self.config["storage"], "docker/registry/v2/repositories")
        repo = os.path.join(top, self.app.split(":")[0])
        for name in ("exit", "zstd"):
            shutil.copytree(os.path.join(top, name), repo, dirs_exist_ok=True)
        with open(os.path.join(repo, "_manifests/tags/1/current/link"), "w", encoding="ascii") as f:
            f.write(self.images[to])
        self.images[self.app] = self.images[to]

    # ---- the log

    def make_base(self):
        base = self.file("base")
        with open(base, "wb") as f:
            f.truncate(self.fs.size)
        must(self.fs.mkfs + [base])
        with Mounted(self.fs, base, self.file("mnt")):
            if self.scenario != "empty":
                os.makedirs(self.root)
                first = [OLD]
                if self.scenario == "update":
                    self.move_tag("exit:1")
                    first.append(self.app)
                status, out = self.preload(*first, first=True)
                if status:
                    sys.exit("power.py: the first preload: status %d\n%s" % (status, out))
                self.remember()
        must(["fallocate", "--dig-holes", base])
        if self.scenario == "update":
            self.old_app = self.images[self.app]
            self.move_tag("zstd:1")

    def remember(self):
        """Records that are in the store before: they stay as they are."""
        store = Store(self, self.root)
        store.learn_trees()
        store.check()
        if store.findings:
            sys.exit("power.py: the store is not sound before: %s" % store.findings)
        moving = json.dumps(self.name(self.app))[1:-1]
        for db, lines in (("meta", store.meta.lines), ("native", store.native.lines)):
            for line in lines:
                if db == "meta" and ("/\"images\"/" not in line and "/\"snapshots\"/" not in line):
                    continue  # labels of blobs may grow
                if moving not in line:
                    self.kept.append((db, line))

    def stir(self, stop):
        """Other programs on the node flush their files: the file system then writes its own
        records of ours, and with chain snapshots, now and then, all of ours."""
        rng = random.Random(self.rng.random())
        with open(self.file("mnt/other"), "wb", buffering=0) as f:
            while not stop.wait(rng.uniform(0.005, 0.06)):
                if self.mode == "chain" and rng.random() < 0.3:
                    call(["sync", "-f", self.file("mnt")])
                else:
                    f.write(b"other")
                    os.fsync(f.fileno())

    def record(self, base):
        disk = self.file("disk")
        copy_sparse(base, disk)
        stop = threading.Event()
        stirrer = threading.Thread(target=self.stir, args=(stop,))
        with LogDisk(self.config, disk, self.file("log"), self.file("fuse")) as logging:
            with Mounted(self.fs, logging.disk, self.file("mnt")):
                logging.mark("start")
                if self.scenario != "no-sync":
                    stirrer.start()
                status, out = self.preload(*self.new)
                stop.set()
                if stirrer.is_alive():
                    stirrer.join()
                logging.mark("end")
                if status:
                    sys.exit("power.py: preload: status %d\n%s" % (status, out))
        log = Log(self.file("log"))
        copy_sparse(base, self.file("crash"))
        with open(self.file("crash"), "r+b") as f:
            log.apply(f.fileno(), log.writes)
        if not same_files(disk, self.file("crash")):
            sys.exit("power.py: the log does not lead to what the disk has")
        return log

    def learn(self):
        """The undisturbed outcome is right; its lower chains tell what theirs have to be."""
        with Mounted(self.fs, self.file("disk"), self.file("mnt")):
            store = Store(self, self.root)
            for name, digest in self.wanted().items():
                if store.images.get(name) != digest:
                    sys.exit("power.py: without a loss of power: %s is %s" % (name, store.images.get(name)))
            store.learn_trees()
            store.check()
            if store.findings:
                sys.exit("power.py: without a loss of power: %s" % store.findings)

    # ---- crash images

    def intervals(self, log):
        """(flush, writes behind it up to the next one) from the start of the program to the end."""
        first = max([f for f in log.flushes if f < log.marks["start"]], default=-1)
        bounds = [first] + [f for f in log.flushes if f > first] + [len(log.records)]
        for at, end in zip(bounds, bounds[1:]):
            yield at, [k for k in range(at + 1, end) if log.records[k][0] == WRITE]

    def choose(self, log):
        """Crash points: (last flush, chosen writes behind it, torn, how), in the order of the log."""
        todo = list(self.intervals(log))
        found, seen = [], set()

        def add(at, chosen, torn, how):
            # Writes before a flush count; what is the same image need not be tried twice.
            key = (sum(1 for w in log.writes if w < at), tuple(chosen), torn)
            if key not in seen:
                seen.add(key)
                found.append((at, chosen, torn, how))

        # Exit status 0 means on disk: at the very end nothing but what was flushed, and more.
        end = log.marks["end"]
        at = max(f for f in log.flushes + [-1] if f < end)
        behind = [k for k in log.writes if at < k < end]
        add(at, [], False, "none, at the exit")
        add(at, [k for k in behind if self.rng.random() < 0.5], False, "some, at the exit")
        last, writes = todo[-1]
        add(last, [k for k in writes if self.rng.random() < 0.5], False, "some, at the end")
        tries = 0
        while len(found) < self.points and tries < 50 * self.points:
            if tries % len(todo) == 0:
                self.rng.shuffle(todo)
            at, writes = todo[tries % len(todo)]
            tries += 1
            how = self.rng.choice(["none", "all", "all but one", "up to one", "some", "some", "torn", "torn"])
            chosen = list(writes)
            if how == "none" or not writes:
                chosen = []
            elif how == "all but one":
                chosen.remove(self.rng.choice(writes))
            elif how == "up to one":
                chosen = chosen[:self.rng.randrange(len(chosen)) + 1]
            elif how in ("some", "torn"):
                share = self.rng.choice([0.1, 0.5, 0.9])
                chosen = [k for k in writes if self.rng.random() < share]
            add(at, chosen, how == "torn" and bool(chosen), how)
        return sorted(found, key=lambda p: (p[0], len(p[1])))

    def crash_images(self, log, base, points):
        """Makes each image in the file `crash`; the durable part grows along."""
        durable = self.file("durable")
        copy_sparse(base, durable)
        done = 0
        for point in points:
            at, chosen, torn, _ = point
            with open(durable, "r+b") as f:
                while done < len(log.writes) and log.writes[done] < at:
                    log.apply(f.fileno(), [log.writes[done]])
                    done += 1
            copy_sparse(durable, self.file("crash"))
            with open(self.file("crash"), "r+b") as f:
                log.apply(f.fileno(), chosen, self.rng if torn else None, self.fs.sector)
            yield point

    def judge(self, point, log):
        """What is wrong with the store on the mounted crash image."""
        store = Store(self, self.root)
        store.check()
        if self.scenario == "no-sync":
            if not store.databases_sound:
                return store, ["the databases: %s" % store.findings]
            return store, []
        wanted, findings = self.wanted(), store.findings
        if store.databases_sound:
            there = [n for n, d in wanted.items() if store.images.get(n) == d]
            if there and len(there) != len(wanted):
                findings.append("only some of the images of one commit: %s" % there)
            if point[0] >= log.last_before_end and len(there) != len(wanted):
                findings.append("exit status 0, but only these images are there: %s" % there)
            if self.scenario == "update" and store.images.get(self.name(self.app)) not in (
                    self.old_app, wanted[self.name(self.app)]):
                findings.append("the tag is %s" % store.images.get(self.name(self.app)))
            lines = {"meta": set(store.meta.lines), "native": set(store.native.lines)}
            for db, line in self.kept:
                if line not in lines[db]:
                    findings.append("gone from the %s database: %s" % (db, line))
                    break
        return store, findings

    def judge_next(self):
        """The next run completes and leaves a whole store and nothing else."""
        status, out = self.preload(*self.new)
        if status:
            return ["the next preload: status %d: %s" % (status, out.strip())]
        store = Store(self, self.root)
        store.check()
        findings = store.findings
        for name, digest in self.wanted().items():
            if store.images.get(name) != digest:
                findings.append("after the next preload: %s is %s" % (name, store.images.get(name)))
        if store.databases_sound:
            dirs, blobs = store.loose()
            if dirs or blobs or os.path.exists(os.path.join(self.root, ".k3simg")):
                findings.append("after the next preload: left over: %s %s %s" % (
                    sorted(dirs), sorted(blobs), os.listdir(self.root)))
        return findings

    def look_at_staging(self):
        """What a run that was cut off has left for the next one to be careful with."""
        blobs = os.path.join(self.root, ".k3simg/blobs")
        self.journals += os.path.exists(os.path.join(self.root, ".k3simg/journal"))
        bad = files = 0
        for name in os.listdir(blobs) if os.path.isdir(blobs) else []:
            files += 1
            if not name.endswith(".part"):
                with open(os.path.join(blobs, name), "rb") as f:
                    bad += hashlib.sha256(f.read()).hexdigest() != name.split("-")[1]
        self.staged += bool(files)
        self.torn += bool(bad)

    def keep_state(self, store):
        """The first image of each state is kept for containerd; true if this is one."""
        state = store.state()
        self.states[state] = self.states.get(state, 0) + 1
        try:
            os.mkdir(os.path.join(self.config["work"], "seen", state))
        except FileExistsError:
            return None
        return self.file("states/%s.img" % state)

    def one(self, point, log):
        findings, keep = [], None
        with Mounted(self.fs, self.file("crash"), self.file("mnt")):
            store, findings = self.judge(point, log)
            self.look_at_staging()
            self.damaged += bool(store.findings) and self.scenario == "no-sync"
            if not findings and self.scenario != "no-sync":
                keep = self.keep_state(store)
            if not keep:
                findings = findings or self.judge_next_if_promised()
        if keep:
            copy_sparse(self.file("crash"), keep)
            with Mounted(self.fs, self.file("crash"), self.file("mnt")):
                findings = self.judge_next_if_promised()
        return findings

    def judge_next_if_promised(self):
        return [] if self.scenario == "no-sync" else self.judge_next()

    def cut_off(self, log, base):
        """A crash image in which the journal is there and the images are not: the new base."""
        points = [(at, [], False, "none") for at, _ in self.intervals(log)]
        best = None
        for point in self.crash_images(log, base, points):
            with Mounted(self.fs, self.file("crash"), self.file("mnt")):
                store = Store(self, self.root)
                journal = os.path.exists(os.path.join(self.root, ".k3simg/journal"))
                if journal and self.name(NEW[0]) not in store.images and len(store.native.lines) > len(self.kept):
                    best = point
            if best == point:
                copy_sparse(self.file("crash"), self.file("base"))
        if best is None:
            sys.exit("power.py: no crash image is cut off in the middle of a commit")

    def run(self):
        self.make_base()
        log = self.record(self.file("base"))
        self.learn()
        if self.scenario == "again":
            self.cut_off(log, self.file("base"))
            log = self.record(self.file("base"))
            self.learn()
        log.last_before_end = max(f for f in log.flushes + [-1] if f < log.marks["end"])
        points = self.choose(log)
        for point in self.crash_images(log, self.file("base"), points):
            self.crashes += 1
            findings = self.one(point, log)
            if findings:
                self.failed += 1
                print("%s: after flush %d of %d, %s (%d writes): %s" % (
                    self.title, sum(f <= point[0] for f in log.flushes), len(log.flushes), point[3], len(point[1]),
                    "; ".join(findings[:6])), flush=True)
                if self.config.get("keep"):
                    shutil.copy(self.file("crash"), os.path.join(self.config["keep"], "%s-%d.img" % (
                        self.title.replace(" ", "-"), self.crashes)))
        inside = range(log.marks["start"], log.marks["end"])
        more = ", %d with damaged trees or blobs" % self.damaged if self.scenario == "no-sync" else ""
        print("%s: %d writes and %d flushes logged, %d crash images (%d with staged blobs, %d with damaged ones, "
              "%d with a journal) of %d states, %d findings%s" % (
                  self.title, sum(w in inside for w in log.writes), sum(f in inside for f in log.flushes),
                  self.crashes, self.staged, self.torn, self.journals, len(self.states), self.failed, more), flush=True)
        for name in ("base", "disk", "durable", "crash", "log"):
            os.unlink(self.file(name))
        # Here the loss has to show, or this test would not see one elsewhere.
        if self.scenario == "no-sync" and not self.damaged:
            print("%s: nothing was lost without a flush: the crash images lose nothing" % self.title)
            return 1
        return 1 if self.failed else 0


def prove(config, fs_name):
    fs = FILE_SYSTEMS[fs_name]
    top = os.path.join(config["work"], "prove-" + fs_name)
    name = {n: os.path.join(top, n) for n in ("base", "disk", "log", "copy", "fuse", "mnt")}
    os.makedirs(name["fuse"])
    os.makedirs(name["mnt"])
    with open(name["base"], "wb") as f:
        f.truncate(fs.size)
    must(fs.mkfs + [name["base"]])
    copy_sparse(name["base"], name["disk"])
    flushed, lost = os.urandom(65536), os.urandom(65536)
    with LogDisk(config, name["disk"], name["log"], name["fuse"]) as disk:
        with Mounted(fs, disk.disk, name["mnt"]):
            disk.mark("before")
            with open(os.path.join(name["mnt"], "flushed"), "wb") as f:
                f.write(flushed)
                f.flush()
                os.fsync(f.fileno())
            disk.mark("after")
            with open(os.path.join(name["mnt"], "lost"), "wb") as f:
                f.write(lost)
            disk.mark("end")
    log = Log(name["log"])
    span = range(log.marks["before"], log.marks["after"])
    blocks = {flushed[at:at + 4096] for at in range(0, 65536, 4096)}
    for k in (w for w in log.writes if w in span):
        data = log.data(k)
        blocks -= {data[at:at + 4096] for at in range(0, len(data), 4096)}
        last = k
        if not blocks:
            break
    if blocks:
        sys.exit("power.py: %s: what was flushed is not in the log" % fs_name)
    if not any(f in span and f > last for f in log.flushes):
        sys.exit("power.py: %s: no flush behind what was flushed" % fs_name)
    copy_sparse(name["base"], name["copy"])
    with open(name["copy"], "r+b") as f:
        at = max(f for f in log.flushes if f < log.marks["end"])
        log.apply(f.fileno(), [w for w in log.writes if w < at])
        with Mounted(fs, name["copy"], name["mnt"]):
            with open(os.path.join(name["mnt"], "flushed"), "rb") as got:
                if got.read() != flushed:
                    sys.exit("power.py: %s: what was flushed is not in the crash image" % fs_name)
            if os.path.exists(os.path.join(name["mnt"], "lost")):
                with open(os.path.join(name["mnt"], "lost"), "rb") as got:
                    if got.read() == lost:
                        sys.exit("power.py: %s: what was not flushed is in the crash image" % fs_name)
    copy_sparse(name["base"], name["copy"])
    with open(name["copy"], "r+b") as f:
        log.apply(f.fileno(), log.writes)
    if not same_files(name["disk"], name["copy"]):
        sys.exit("power.py: %s: the log does not lead to what the disk has" % fs_name)
    shutil.rmtree(top)
    return 0


def main(argv):
    # Ended from outside: the contexts unmount what they have mounted.
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(143))
    if len(argv) < 4:
        sys.exit(__doc__)
    with open(argv[2], encoding="utf-8") as f:
        config = json.load(f)
    os.makedirs(os.path.join(config["work"], "seen"), exist_ok=True)
    if argv[1] == "prove" and len(argv) == 4:
        return prove(config, argv[3])
    if argv[1] == "run" and len(argv) == 7:
        return Run(config, argv[3], argv[4], argv[5], int(argv[6])).run()
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
