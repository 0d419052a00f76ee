#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""run.py PROGRAM WORK [NAME...]: the hostile input set, end to end.

Serves each attack as a repository of its own, lets PROGRAM preload it into a copy of a good
store below WORK and judges what comes out: exit code, message, bytes on the terminal, the
store, everything outside of it, memory, time.  NAME: only the attacks whose names begin so.

TORTURE=full: the long ones too, and layers and documents cut at every byte (CUT_STEP=16: at
every 16th, an hour less on a busy machine).  K3SIMG_ASAN: a program built with sanitizers,
over which everything goes once more.  VERBOSE=1 shows what each run said.  The last line is "N passed, N failed"."""

import json
import os
import queue
import re
import resource
import shutil
import stat
import subprocess
import sys
import threading
import time

import launch

WORKERS = 3
# Made before anything large is loaded; see launch.py.
LAUNCHERS = [launch.Launcher() for _ in range(WORKERS)]

import documents
import entries
import names
import registry
import streams
import tree
import wire
from image import BASE_LAYER, digest, image
from raw import file

# The bound of docs/pipeline.md for two jobs is 28 MiB; the documents of an image may take
# 30 MiB more while they are parsed (docs/oci.md).
RSS_MIB = 64
# Backstops, far beyond what any input needs even on a slow machine.
SECONDS, CPU_SECONDS, ADDRESS_SPACE = 300, 120, 4 << 30
NATIVE = "io.containerd.snapshotter.v1.native/snapshots"
DATABASES = ("io.containerd.metadata.v1.bolt/meta.db", "io.containerd.snapshotter.v1.native/metadata.db")
# ESC and its like, DEL, C1; and what makes a terminal show text in another order or place.
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
SANITIZER = re.compile("AddressSanitizer|runtime error:|LeakSanitizer")


class Place:
    """Where everything happens: precious is never to change."""

    def __init__(self, work):
        self.work = work
        self.precious = os.path.join(work, "precious")
        self.unique = "/k3simg-hostile-%d" % os.getpid()
        os.makedirs(os.path.join(self.precious, "sub/deep"))
        for path, text in (("file", "precious\n"), ("sub/file", "precious too\n"), ("sub/deep/file", "and deep\n")):
            with open(os.path.join(self.precious, path), "w", encoding="ascii") as f:
                f.write(text)
        os.link(os.path.join(self.precious, "file"), os.path.join(self.precious, "hard"))
        os.symlink("file", os.path.join(self.precious, "link"))
        os.mkfifo(os.path.join(self.precious, "fifo"))
        os.chmod(os.path.join(self.precious, "sub/file"), 0o4711)
        self.cwd = os.path.join(work, "cwd")
        self.home = os.path.join(work, "home")
        self.runs = os.path.join(work, "runs")
        for path in (self.cwd, self.home, self.runs):
            os.mkdir(path)
        self.before = self.look()

    def look(self):
        found = {p + ":" + k: v for p in (self.precious, self.cwd, self.home)
                 for k, v in tree.state(p, inodes=True).items()}
        st = os.lstat(self.precious)
        found[self.precious] = [st.st_ino, st.st_mode, st.st_mtime_ns, st.st_ctime_ns]
        for top in ("/", "/tmp", "/etc", self.work):
            for name in os.listdir(top):
                if name.startswith("k3simg-hostile-%d" % os.getpid()) or (top == self.work and name != "good"):
                    found[os.path.join(top, name)] = True
        return found


class Run:
    """One start of the program and what came of it."""

    def __init__(self, suite, attack, mode, launcher, program):
        self.suite, self.attack, self.mode, self.launcher = suite, attack, mode, launcher
        self.program = program
        self.dir = os.path.join(suite.place.runs, "%s-%s" % (attack.name[:100].encode().hex()[:200], mode))
        self.base = os.path.join(self.dir, "a/b")
        self.root = os.path.join(self.base, "root")
        self.complaints, self.found, self.mounted = [], {}, False
        self.out = self.err = b""

    def complain(self, *words):
        self.complaints += words

    def command(self):
        reference = "127.0.0.1:%d/%s" % (self.suite.port, self.attack.name)
        words = self.attack.refs or ["{repo}:1"]
        chain = self.mode == "chain"
        return [self.program, "preload", "--root", self.root, "--pause", "none", "--no-sync", "--jobs", "1" if chain else "2",
                "--snapshots", self.mode if self.mode == "chain" else "flat",
                *(["-o", "json"] if self.mode in ("chain", "json") else []),
                *(x.replace("{repo}", reference) for x in words)]

    def prepare(self):
        os.makedirs(self.base)
        if self.attack.needs == "mount":
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "k3simg-test", self.base], check=True)
            self.mounted = True
        subprocess.run(["cp", "-a", "--", self.suite.good, self.root], check=True)
        for name in ("beside", "a/beside", "a/b/beside"):
            with open(os.path.join(self.dir, name), "w", encoding="ascii") as f:
                f.write("beside\n")
        with open(os.path.join(self.dir, "stdin"), "wb") as f:
            f.write(self.attack.stdin or b"")
        self.before = tree.state(self.root, skip=(".k3simg",))
        self.beside = self.around()

    def around(self):
        skip = ("a/b/root", "out", "err")
        return tree.state(self.dir, skip, inodes=True)

    def env(self):
        return {"PATH": "/usr/bin:/bin", "HOME": self.suite.place.home, "LC_ALL": "C.UTF-8",
                "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1", "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1"}

    def start(self):
        self.end = self.launcher.run(
            argv=self.command(), cwd=self.suite.place.cwd, stdin=os.path.join(self.dir, "stdin"),
            out=os.path.join(self.dir, "out"), err=os.path.join(self.dir, "err"), env=self.env(), seconds=SECONDS,
            cpu=CPU_SECONDS * 4 if self.sanitized() else CPU_SECONDS, fsize=self.attack.fsize,
            memory=0 if self.sanitized() else ADDRESS_SPACE)
        with open(os.path.join(self.dir, "out"), "rb") as f:
            self.out = f.read()
        with open(os.path.join(self.dir, "err"), "rb") as f:
            self.err = f.read()

    def sanitized(self):
        return self.program != self.suite.program

    # --- judging ---

    def judge(self):
        status = self.end["status"]
        if self.end["late"]:
            self.complain("not over after %d seconds" % SECONDS)
        elif os.WIFSIGNALED(status):
            self.complain("ended by signal %d" % os.WTERMSIG(status))
        elif os.WEXITSTATUS(status) not in self.attack.exits:
            self.complain("exit code %d, wanted %s" % (os.WEXITSTATUS(status), self.attack.exits))
        self.code = os.waitstatus_to_exitcode(status)
        most = self.attack.rss or RSS_MIB
        if self.end["rss"] > most * 1024 and not self.sanitized():
            self.complain("%d KiB of memory, at most %d MiB are right" % (self.end["rss"], most))
        self.judge_bytes("standard output", self.out)
        self.judge_bytes("standard error", self.err)
        if self.code:
            self.judge_refusal()
        else:
            self.judge_result()
        self.judge_json()
        self.complain(*("outside of the root: " + w for w in tree.changes(self.beside, self.around())))
        if self.code == 0 and self.attack.image and not self.complaints:
            self.judge_verify()
        if self.attack.check and not self.complaints and self.code == 0:
            self.complain(*self.attack.check(self))

    def judge_bytes(self, what, data):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as e:
            self.complain("%s is not UTF-8: %s" % (what, e))
            return
        hit = FORBIDDEN.search(text)
        if hit:
            self.complain("%s has U+%04X: %r" % (what, ord(hit[0]), text[max(0, hit.start() - 40):hit.end() + 20]))
        if SANITIZER.search(text):
            self.complain("a sanitizer spoke")

    def judge_refusal(self):
        lines = self.err.decode("utf-8", "replace").split("\n")
        errors = [x for x in lines if x.startswith("k3simg: error: ")]
        named = self.attack.names
        if named is None:
            named = "127.0.0.1:%d/%s:1" % (self.suite.port, self.attack.name)
        if len(errors) != 1:
            self.complain("%d error lines" % len(errors))
        else:
            if named not in errors[0]:
                self.complain("the error does not name " + named)
            if len(errors[0]) < len("k3simg: error: ") + len(named) + 8:
                self.complain("the error gives no reason")
            self.complain(*("the error does not say %r" % w for w in self.attack.says if w not in errors[0]))
        self.complain(*("the store: " + w for w in tree.changes(self.before, tree.state(self.root, (".k3simg",)))))
        # Only what the network broke is kept for the next run.
        if self.code not in (5, 130) and os.path.lexists(os.path.join(self.root, ".k3simg")):
            self.complain("refused, and .k3simg is left: %s" % sorted(p for p, *_ in tree.walk(
                os.path.join(self.root, ".k3simg")))[:5])

    def judge_result(self):
        if b"k3simg: error: " in self.err:
            self.complain("success with an error line")
        after = tree.state(self.root)
        blobs = {"io.containerd.content.v1.content/blobs/%s/%s" % tuple(d.split(":")) for d in (
            list(self.attack.image.blobs) + list(self.attack.image.documents))} if self.attack.image else set()
        numbers = set()
        for path in sorted(after.keys() - self.before.keys()):
            snapshot = re.match(NATIVE + r"/(\d+)(/|$)", path)
            if snapshot:
                numbers.add(int(snapshot[1]))
            elif re.fullmatch(r"\.k3simg(/losses(/\d+\.json)?)?", path):
                # For "inspect --losses".
                if b": the file system refused " not in self.err:
                    self.complain("losses are remembered and were not told: %r" % path)
            elif path not in blobs and path not in {os.path.dirname(b) for b in blobs}:
                self.complain("new in the store: %r" % path)
        for path in self.before.keys() - after.keys():
            self.complain("gone from the store: %r" % path)
        for path in self.before.keys() & after.keys():
            if path not in DATABASES and self.before[path] != after[path]:
                self.complain("changed in the store: %r" % path)
        if self.attack.tree is None or not self.attack.image:
            return
        trees = sorted(numbers) or [max(int(n) for n in os.listdir(os.path.join(self.root, NATIVE)))]
        top = os.path.join(self.root, NATIVE, str(trees[-1]))
        st = os.lstat(top)
        if (st.st_mode & 0o7777, st.st_uid) != (0o755, 0):
            self.complain("the root of the tree has mode %o, owner %d" % (st.st_mode & 0o7777, st.st_uid))
        self.found = tree.describe(top)
        self.complain(*tree.compare(self.found, self.attack.tree))
        if self.mode == "chain" and self.attack.lower is not None:
            first = self.suite.good_tree if self.attack.image.layers[0] is BASE_LAYER else trees[0]
            lower = os.path.join(self.root, NATIVE, str(first))
            self.complain(*("the layer below: " + w for w in tree.compare(tree.describe(lower), self.attack.lower)))
        if self.attack.gnu_tar and self.mode == "flat":
            self.judge_gnu_tar()

    def judge_gnu_tar(self):
        """GNU tar agrees with the tree that the attack says is right."""
        there = os.path.join(self.dir, "gnu")
        os.mkdir(there)
        subprocess.run(["tar", "-xpf", "-", "--same-owner", "--no-xattrs", "-P", "-C", there],
                       input=self.attack.image.layers[-1].plain, stderr=subprocess.DEVNULL, check=False)
        self.complain(*("GNU tar: " + w for w in tree.compare(tree.describe(there), self.attack.tree)))
        shutil.rmtree(there)

    def judge_json(self):
        if self.mode not in ("chain", "json") or not self.attack.image:
            return
        try:
            value = json.loads(self.out.decode("utf-8"))
        except ValueError as e:
            self.complain("-o json is none: %s" % e)
            return
        images = value["images"]
        if len(images) != 1 or (images[0]["status"] == "failed") != bool(self.code):
            self.complain("-o json says %s" % images)

        def strings(v):
            if isinstance(v, str):
                yield v
            elif isinstance(v, dict):
                for k, x in v.items():
                    yield k
                    # What is there has the names of the image; JSON's own escapes keep them harmless.
                    if k != "lossPaths":
                        yield from strings(x)
            elif isinstance(v, list):
                for x in v:
                    yield from strings(x)

        for text in strings(value):
            if FORBIDDEN.search(text):
                self.complain("-o json has a control character in %r" % text)

    def verify(self, *words):
        return subprocess.run([self.program, "verify", "--deep", "--root", self.root, *words], cwd=self.suite.place.cwd,
                              env=self.env(), capture_output=True, check=False)

    def judge_verify(self):
        """What was accepted is whole to `verify --deep`: its second look at all of it agrees."""
        got = self.verify("-q")
        self.judge_bytes("what verify prints", got.stdout + got.stderr)
        if got.returncode:
            self.complain("verify --deep: status %d: %s" % (got.returncode, (got.stdout + got.stderr)[-600:].decode(
                "utf-8", "backslashreplace")))

    # --- for the checks of single attacks ---

    def told_safely(self):
        """Damages the files: their names are in what verify prints then."""
        for path, at, name, st in tree.walk(os.path.join(self.root, NATIVE)):
            if stat.S_ISREG(st.st_mode) and int(path.split("/")[0]) != self.suite.good_tree:
                os.utime(name, (5, 5), dir_fd=at, follow_symlinks=False)
        bad = []
        for form in ("text", "json"):
            got = self.verify("-o", form)
            self.judge_bytes("verify -o " + form, got.stdout)
            self.judge_bytes("verify -o " + form, got.stderr)
            if got.returncode != 10 or b"modification time" not in got.stdout:
                bad.append("verify -o %s: status %d: %r" % (form, got.returncode, got.stdout[:300]))
        return bad

    def xattr_names(self):
        return [name for path, at, name_, _ in tree.walk(os.path.join(self.root, NATIVE))
                for name, _ in tree.xattrs(at, name_)]

    def database_complaints(self):
        """No control bytes within media types; `list` prints none either."""
        bad = []
        for path in DATABASES:
            with open(os.path.join(self.root, path), "rb") as f:
                if re.search(b"application/vnd[a-zA-Z0-9.+/-]*[; ][^a-z]*\x1b", f.read()):
                    bad.append("a control byte in a media type of " + path)
        for form in ([], ["-o", "json"]):
            got = subprocess.run([self.suite.program, "list", "--root", self.root, *form], capture_output=True, check=False)
            if got.returncode or FORBIDDEN.search(got.stdout.decode("utf-8", "replace")):
                bad.append("list %s: status %d, %r" % (form, got.returncode, got.stdout[:300]))
        return bad

    def clean(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.base], check=False)
        if os.environ.get("K3SIMG_KEEP") is None:
            subprocess.run(["rm", "-rf", "--", self.dir], check=False)


class Suite:
    def __init__(self, program, work, only):
        self.program = os.path.abspath(program)
        self.full = os.environ.get("TORTURE") == "full"
        self.place = Place(work)
        self.only = only
        self.good = os.path.join(work, "good")
        self.passed, self.failures, self.skipped = 0, [], []
        self.peak, self.slowest, self.runs, self.cpu = (0, ""), (0, ""), 0, 0.0
        self.lock = threading.Lock()
        self.attacks = self.collect()
        served = {a.name: a.image for a in self.attacks if a.image}
        served["good"] = image([BASE_LAYER])
        self.port = registry.start(served)

    def collect(self):
        precious, unique = os.fsencode(self.place.precious), os.fsencode(self.place.unique)
        made = []

        def add(part, *args):
            attacks = part(*args)
            for a in attacks:
                a.kind = part.__name__.replace("_", " ")
            made.extend(attacks)

        for part in (names.names, names.symlinks, names.hardlinks, entries.whiteouts, entries.kinds, entries.headers):
            add(part, precious, unique)
        for part in (streams.streams, streams.layers, documents.syntax, documents.members, documents.media_types,
                     documents.indexes, wire.answers, wire.challenges, wire.references):
            add(part)
        add(streams.truncated, self.full)
        taken = set()
        for a in made:
            # A repository name has only these; and the name is the file of no other attack.
            a.name = re.sub("[^a-z0-9]+", "-", a.name.lower()).strip("-")
            if a.name in taken:
                raise ValueError("two attacks are called " + a.name)
            taken.add(a.name)
        return [a for a in made if not self.only or a.name.startswith(tuple(self.only))]

    def can(self, need):
        """Does this machine have what some attacks are about?"""
        probe = os.path.join(self.place.work, "good.probe")
        try:
            if need == "devices":
                os.mknod(probe, 0o20600, os.makedev(1, 3))
                os.unlink(probe)
            elif need == "mount":
                os.mkdir(probe)
                try:
                    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "k3simg-test", probe], check=True,
                                   stderr=subprocess.DEVNULL)
                    subprocess.run(["umount", probe], check=True)
                finally:
                    os.rmdir(probe)
        except (OSError, subprocess.CalledProcessError):
            return False
        return True

    def make_good(self):
        """The store that every run gets a copy of: one image, one layer."""
        done = subprocess.run([self.program, "preload", "-q", "--root", self.good, "--pause", "none",
                               "127.0.0.1:%d/good:1" % self.port], cwd=self.place.cwd,
                              env={"PATH": "/usr/bin:/bin", "HOME": self.place.home}, check=False)
        if done.returncode:
            sys.exit("the good store cannot be made: status %d" % done.returncode)
        numbers = os.listdir(os.path.join(self.good, NATIVE))
        assert len(numbers) == 1
        self.good_tree = int(numbers[0])

    def attempt(self, attack, mode, launcher, program):
        run = Run(self, attack, mode, launcher, program)
        try:
            run.prepare()
            run.start()
            run.judge()
            with self.lock:
                self.runs += 1
                self.cpu += run.end["cpu"]
                if not attack.rss and not run.sanitized():
                    self.peak = max(self.peak, (run.end["rss"], attack.name))
                self.slowest = max(self.slowest, (run.end["cpu"], attack.name))
            if os.environ.get("VERBOSE"):
                first = (run.err.decode("utf-8", "backslashreplace").strip().split("\n") or [""])[-1]
                errors = [x for x in run.err.decode("utf-8", "backslashreplace").split("\n") if "error:" in x]
                print("      %s %s: %d, %d KiB, %.2f s, %.1f s: %.300s" % (
                    attack.name, mode, run.code, run.end["rss"], run.end["cpu"], run.end["seconds"],
                    errors[0] if errors else first), flush=True)
            if run.complaints and run.err:
                run.complain("said: " + run.err.decode("utf-8", "backslashreplace").strip()[-600:])
        except Exception as e:  # the harness itself failed on this input: that is a failure, not the end
            run.complain("%s: %s" % (type(e).__name__, e))
        finally:
            run.clean()
        return run.complaints

    def modes(self, attack):
        if attack.name.startswith("truncated") or (self.full and "chain" in attack.modes):
            return attack.modes
        # The short form takes one of the two, unless the layer below is what it is about.
        if "chain" in attack.modes:
            return attack.modes if attack.lower is not None else attack.modes[len(attack.name) % len(attack.modes):][:1]
        # Every second one with -o json: the form of the output is not what they are about.
        return ("flat", "json") if self.full else ("flat", "json")[len(attack.name) % 2:][:1]

    def one(self, attack, launcher):
        complaints = []
        programs = [self.program]
        if os.environ.get("K3SIMG_ASAN"):
            programs.append(os.path.abspath(os.environ["K3SIMG_ASAN"]))
        for program in programs:
            for mode in self.modes(attack):
                found = self.attempt(attack, mode, launcher, program)
                label = mode + (" under sanitizers" if program != self.program else "")
                complaints += ["%s: %s" % (label, c) for c in found]
        with self.lock:
            if complaints:
                self.failures.append(attack.name)
                print("FAIL  %s" % attack.name)
                print("\n".join("      " + c.replace("\n", "\n        ") for c in complaints[:20]), flush=True)
            else:
                self.passed += 1
                print("ok    %s" % attack.name)

    def work(self, todo, launcher):
        while True:
            try:
                attack = todo.get_nowait()
            except queue.Empty:
                return
            self.one(attack, launcher)

    def go(self):
        self.make_good()
        # Reading them shows once what looking changes.
        self.place.before = self.place.look()
        todo, kinds = queue.SimpleQueue(), {}
        lacking = {need for need in ("devices", "mount") if not self.can(need)}
        for attack in sorted(self.attacks, key=lambda a: "bomb" not in a.name and "blob-answer" not in a.name):
            if attack.full and not self.full:
                continue
            if attack.needs in lacking:
                self.skipped.append(attack.name)
                print("skip  %s (no %s here)" % (attack.name, attack.needs))
                continue
            todo.put(attack)
            kinds[attack.kind] = kinds.get(attack.kind, 0) + 1
        start = time.monotonic()
        threads = [threading.Thread(target=self.work, args=(todo, x)) for x in LAUNCHERS]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        strays = tree.changes(self.place.before, self.place.look())
        if strays:
            self.failures.append("outside")
            print("FAIL  nothing outside the roots is touched\n      %s" % "\n      ".join(strays[:20]))
        else:
            self.passed += 1
            print("ok    nothing outside the roots is touched")
        print("inputs by kind: %s" % ", ".join("%s %d" % pair for pair in kinds.items()))
        print("%d inputs in %d runs, %.0f s (%.0f s of CPU); most memory %d KiB (%s), most CPU %.1f s (%s)" % (
            self.passed + len(self.failures) - 1, self.runs, time.monotonic() - start, self.cpu, *self.peak, *self.slowest))
        print("%d passed, %d failed%s" % (self.passed, len(self.failures), ", %d skipped" % len(self.skipped)
                                          if self.skipped else ""))
        return 0 if not self.failures and self.passed > 1 else 1


def main(argv):
    if len(argv) < 3:
        sys.exit(__doc__)
    os.umask(0o022)
    # A tree of 2,048 levels is walked with a descriptor for each.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    status = Suite(argv[1], os.path.abspath(argv[2]), argv[3:]).go()
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv)
