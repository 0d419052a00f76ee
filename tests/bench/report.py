#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tables and targets from the measurements of tests/bench/run.

  report.py [-j JSON] [-v VERSION] [-n RUNS] RESULTS   lines of KEY=VALUE; -j also writes JSON
  report.py [-m] [-u PAGE] JSON                        the same tables from that JSON again

-m prints Markdown; -u puts it into PAGE between <!-- results --> and <!-- end of results -->.
Exit status 1 if a target is missed, but for -u.
"""
import argparse
import json
import os
import platform
import statistics
import sys

WHO = {"native": "containerd native", "overlayfs": "containerd overlayfs", "skopeo": "skopeo + umoci",
       "flat": "k3simg flat", "chain": "k3simg chain"}
IMAGES = {"nginx:7": "nginx, 7 layers", "layers:32": "32 layers", "python-node:4": "python, 45 k files",
          "big-files:2": "big files"}
# How many times faster than: image -> mode -> peer -> factor (issue 3).
FASTER = {
    "nginx:7": {"flat": {"native": 7, "overlayfs": 3, "skopeo": 3}, "chain": {"native": 5}},
    "layers:32": {"flat": {"native": 45, "overlayfs": 3, "skopeo": 3}, "chain": {"native": 12}},
    "python-node:4": {"flat": {"native": 6, "overlayfs": 4, "skopeo": 4}},
    "big-files:2": {"flat": {"native": 3.3, "overlayfs": 3, "skopeo": 3}},
}
OF_FLOOR = 1.3
BUNDLE = 2.0                          # times as fast
LIVE, LIVE_DISK = 1.5, 1.005         # of offline; ext4 counts a block more or less
MEMORY_ONE, MEMORY_LIST = 32, 96    # MiB
COMMIT_GROWTH = 3
STAGE_WHO = {"k3simg-isal": "k3simg, ISA-L", "k3simg-zlib": "k3simg, zlib", "igzip": "igzip -dc", "gzip": "gzip -dc",
             "zstd": "zstd -dc", "openssl": "openssl dgst", "tar": "tar -x", "cp-al": "cp -al", "k3simg-2": "k3simg, 2 threads"}
PER_FILE_GROWTH = 1.5               # time a file, 200 k files against 10 k
START_MS, RERUN_MS = 10, 20


class Rows(list):
    """Measurements: dictionaries, numbers as floats."""

    def of(self, **want):
        return Rows(r for r in self if all(r.get(k) == v for k, v in want.items()))

    def values(self, key):
        return [r[key] for r in self if key in r]

    def median(self, key):
        found = self.values(key)
        return statistics.median(found) if found else None

    def distinct(self, key):
        return list(dict.fromkeys(r[key] for r in self))


class Report:
    def __init__(self, rows):
        self.rows, self.tables, self.targets = rows, [], []

    def table(self, title, header, lines, note=""):
        self.tables.append({"title": title, "header": header, "lines": lines, "note": note})

    def target(self, name, got, sign, want, unit=""):
        """got None: not measured, because of a part that did not run."""
        if got is not None:
            holds = got >= want if sign == ">=" else got == want if sign == "=" else got <= want
            self.targets.append({"name": name, "value": got, "sign": sign, "target": want, "unit": unit,
                                 "holds": holds})


def num(value, digits=2, unit=""):
    return "-" if value is None else "%.*f%s" % (digits, value, unit)


def mib(kib):
    return None if kib is None else kib / 1024


def paired(rows, a, b):
    """Median over the runs of a's seconds by b's seconds."""
    left = {r["run"]: r["seconds"] for r in rows.of(who=a)}
    right = {r["run"]: r["seconds"] for r in rows.of(who=b)}
    both = [left[i] / right[i] for i in left.keys() & right.keys()]
    return statistics.median(both) if both else None


# ---- parts -----------------------------------------------------------------------------------

def images(rep):
    rows = rep.rows.of(part="images")
    if not rows:
        return
    facts, lines = [], []
    for name in rows.distinct("image"):
        fact = rep.rows.of(part="facts", image=name)
        if fact:
            facts.append([IMAGES.get(name, name), num(fact[0]["layers"], 0), num(fact[0]["compressed"] / 1e6, 0),
                          num(fact[0]["bytes"] / 1e6, 0), num(fact[0]["entries"], 0)])
        mine = rows.of(image=name)
        for who in mine.distinct("who"):
            it = mine.of(who=who)
            peer = who not in ("flat", "chain")
            lines.append([IMAGES.get(name, name), WHO[who], num(it.median("seconds")),
                          "%.2f-%.2f" % (min(it.values("seconds")), max(it.values("seconds"))),
                          num(it.median("diskBytes") / 1e6, 0), num(mib(it.median("peakKiB")), 0),
                          num(paired(mine, who, "flat") if peer else None, 1, " x"),
                          num(paired(mine, who, "chain") if peer else None, 1, " x")])
        for mode, peers in FASTER.get(name, {}).items():
            for peer, want in peers.items():
                rep.target("%s, %s: faster than %s" % (IMAGES[name], mode, WHO[peer]),
                           paired(mine, peer, mode), ">=", want, "x")
    rep.table("The images", ["image", "layers", "MB compressed", "MB of files", "entries"], facts)
    rep.table("End to end", ["image", "program", "seconds", "range", "MB on disk", "MiB of memory", "flat is faster",
                             "chain is faster"], lines,
              "Disk includes the compressed layers. Memory is the largest process; containerd's its high-water mark.")
    ours = [r["peakKiB"] for r in rows if r["who"] in ("flat", "chain")]
    rep.target("peak memory, one image, all runs of the four images", mib(max(ours)) if ours else None,
               "<=", MEMORY_ONE, "MiB")


def live(rep):
    rows, lines = rep.rows.of(part="live"), []
    for mode in rows.distinct("mode"):
        it = rows.of(mode=mode)
        ratio = paired(it, "live", "offline")
        disk = [it.of(who=w).median("diskBytes") for w in ("offline", "live")]
        lines.append([mode] + [num(it.of(who=w).median("seconds")) for w in ("offline", "live")] + [num(ratio, 2, " x")] +
                     [num(n / 1e6, 1) for n in disk] + [num(mib(max(it.of(who="live").values("peakKiB"))), 0)])
        rep.target("nginx, 7 layers, %s: live, of offline" % mode, ratio, "<=", LIVE, "x")
        rep.target("nginx, 7 layers, %s: disk, live of offline" % mode, disk[1] / disk[0], "<=", LIVE_DISK, "x")
    if lines:
        rep.table("Into a containerd that runs", ["mode", "offline s", "live s", "live of offline", "MB offline", "MB live",
                                                  "MiB of memory, live"], lines,
                  "nginx, 7 layers, into a store that containerd 2.1 has made; MB of blobs and trees.")


def bundle(rep):
    rows, lines = rep.rows.of(part="bundle"), []
    for image in rows.distinct("image"):
        for mode in rows.distinct("mode"):
            it = rows.of(image=image, mode=mode)
            other = "archive" if it.of(who="archive").values("seconds") else "registry"
            ratio = paired(it, other, "bundle")
            cpu = it.of(who=other).median("cpu") / it.of(who="bundle").median("cpu")
            lines.append([image, mode, other] + [num(it.of(who=w).median("seconds")) for w in (other, "bundle", "pipe")] +
                         [num(ratio, 2, " x"), num(cpu, 2, " x"), num(it.median("size") / 1e6, 0),
                          num(mib(max(it.of(who="bundle").values("peakKiB"))), 0)])
            rep.target("%s, %s: bundle, faster than %s" % (image, mode, other), ratio, ">=", BUNDLE, "x")
    if lines:
        rep.table("Out of a bundle", ["image", "mode", "against", "its seconds", "bundle", "bundle by pipe", "bundle is faster",
                                      "less CPU", "MB of bundle", "MiB of memory"], lines,
                  "Source and root on the same disk; the source was read once before.")


def floor(rep):
    rows = rep.rows.of(part="floor")
    lines = []
    for name in rows.distinct("image"):
        it = rows.of(image=name)
        least = [max(r["read"], r["write"]) for r in it]
        durable = [max(r["read"], r["write"] + r["sync"]) for r in it]
        ratio = statistics.median(r["flat"] / n for r, n in zip(it, least))
        with_sync = statistics.median(r["flat"] / n for r, n in zip(it, durable))
        lines.append([IMAGES.get(name, name), num(it.median("read")), num(it.median("write")),
                      num(it.median("sync")), num(statistics.median(least)), num(statistics.median(durable)),
                      num(it.median("together")), num(it.median("flat")), num(ratio, 2, " x"),
                      num(with_sync, 2, " x"), num(statistics.median(r["readCpu"] + r["writeCpu"] for r in it)),
                      num(it.median("cpu"))])
        rep.target("%s, flat: of the overlapped floor" % IMAGES.get(name, name), ratio, "<=", OF_FLOOR, "x")
    if lines:
        rep.table("The floor (seconds)", ["image", "inflate + hash", "write", "sync after it", "floor", "with sync",
                                          "both at once", "k3simg flat", "of floor", "of floor with sync", "CPU of both sides",
                                          "CPU of k3simg"],
                  lines, "floor = the larger of inflate + hash and write, each alone; both at once: the same two "
                  "at the same time, nothing synced. k3simg syncs.")


def stages(rep):
    rows = rep.rows.of(part="stages")
    lines = []
    for stage in rows.distinct("stage"):
        for who in rows.of(stage=stage).distinct("who"):
            it = rows.of(stage=stage, who=who)
            seconds = it.median("seconds")
            size, items = it.median("bytes"), it.median("items")
            lines.append([stage.replace("-", " "), STAGE_WHO.get(who, who), num(seconds, 3), num(size / 1e6 / seconds if size else None, 0),
                          num(items / seconds if items else None, 0)])
    if lines:
        rep.table("Stages alone", ["stage", "program", "seconds", "MB/s", "items/s"], lines,
                  "inflate and hash: MB of tar, one thread. create: entries of the python image. clone: entries "
                  "linked. commit: images, one commit each, into an empty store.")


def layers(rep):
    rows = rep.rows.of(part="layers")
    lines = []
    for n in rows.distinct("n"):
        it = rows.of(n=n)
        lines.append([num(n, 0)] + [num(it.of(who=w).median("seconds"), 3) for w in ("flat", "chain")] +
                     [num(it.of(who=w).median("seconds") * 1000 / n, 1) for w in ("flat", "chain")] +
                     [num(mib(max(it.values("peakKiB"))), 0)])
    if lines:
        rep.table("Layers in an image", ["layers", "flat s", "chain s", "flat ms/layer", "chain ms/layer",
                                         "MiB of memory"], lines,
                  "A base of 2,000 files and layers of 20 files.")


def store(rep):
    rows = rep.rows.of(part="store")
    lines = []
    for n in rows.distinct("n"):
        it = rows.of(n=n)
        lines.append([num(n, 0), num(1000 * (it.median("one") or 0), 1), num(1000 * it.median("seconds"), 2),
                      num(mib(it.median("peakKiB")), 0)])
    if not lines:
        return
    rep.table("Images in the store", ["images", "one more: ms", "its commit: ms", "MiB of memory"], lines,
              "One more: the whole of k3simg preload of a small image. Commit: of one image, by the library, "
              "into the same store.")
    first, last = rows.of(n=0.0).median("seconds"), rows.of(n=5000.0).median("seconds")
    rep.target("commit into a store of 5,000 images, of that into an empty one",
               last / first if first and last else None, "<=", COMMIT_GROWTH, "x")


def shared(rep):
    it = rep.rows.of(part="list")
    if not it:
        return
    last = it[-1]
    rep.table("20 images at once, 25 layers between them",
              ["seconds", "MiB of memory", "bytes of layers", "bytes fetched", "blobs stored", "files in layers",
               "files made", "entries linked"],
              [[num(it.median("seconds")), num(mib(max(it.values("peakKiB"))), 0), num(last["layerBytes"], 0),
                num(last["fetched"], 0), num(last["stored"], 0), num(last["files"], 0), num(last["made"], 0),
                num(last["names"] - last["made"], 0)]])
    rep.target("20 images: layer bytes fetched, of those there are", max(r["fetched"] / r["layerBytes"] for r in it),
               "=", 1, "x")
    rep.target("20 images: layer blobs stored, of those there are", max(r["stored"] / r["layers"] for r in it),
               "=", 1, "x")
    rep.target("20 images: files made, of those in the layers", max(r["made"] / r["files"] for r in it), "=", 1, "x")
    rep.target("peak memory, 20 images at once", mib(max(it.values("peakKiB"))), "<=", MEMORY_LIST, "MiB")


def files(rep):
    rows = rep.rows.of(part="files")
    lines, per = [], {}
    for n in rows.distinct("n"):
        it = rows.of(n=n)
        per[n] = it.median("seconds") * 1e6 / n
        lines.append([num(n, 0), num(it.median("seconds"), 3), num(per[n], 1), num(mib(max(it.values("peakKiB"))), 0)])
    if lines:
        rep.table("Files in a layer", ["files", "seconds", "us a file", "MiB of memory"], lines)
        few, many = per.get(10000.0), per.get(200000.0)
        rep.target("time a file, 200,000 of them against 10,000", many / few if few and many else None, "<=",
                   PER_FILE_GROWTH, "x")
    huge = rep.rows.of(part="huge")
    if huge:
        rep.table("A layer of 2 GB", ["mode", "seconds", "MB/s", "MiB of memory"],
                  [[w, num(huge.of(who=w).median("seconds")), num(2000 / huge.of(who=w).median("seconds"), 0),
                    num(mib(max(huge.of(who=w).values("peakKiB"))), 0)] for w in huge.distinct("who")])
        rep.target("peak memory, a layer of 2 GB", mib(max(huge.values("peakKiB"))), "<=", MEMORY_ONE, "MiB")


def startup(rep):
    rows = rep.rows.of(part="startup")
    lines = [[w, num(1000 * rows.of(what=w).median("seconds"), 1), num(rows.of(what=w).median("requests"), 0)]
             for w in rows.distinct("what")]
    if not lines:
        return
    rep.table("Start-up", ["command", "ms", "requests"], lines, "By digest: the registry was stopped.")

    def ms(what):
        seconds = rows.of(what=what).median("seconds")
        return None if seconds is None else 1000 * seconds

    rep.target("start-up (k3simg version)", ms("version"), "<=", START_MS, "ms")
    rep.target("the same image again by digest, no network", ms("again-by-digest"), "<=", RERUN_MS, "ms")
    rep.target("the same image again by tag: requests", rows.of(what="again-by-tag").median("requests"), "=", 1, "HEAD")


# ---- output ----------------------------------------------------------------------------------

def aligned(header, lines):
    wide = [max(len(line[i]) for line in [header] + lines) for i in range(len(header))]
    # A column of words starts on its left, one of numbers ends on its right.
    words = [any(line[i][:1].isalpha() for line in lines) for i in range(len(header))]
    return ["  ".join(c.ljust(w) if left else c.rjust(w) for c, w, left in zip(line, wide, words)).rstrip()
            for line in [header] + lines]


def ruled(header, lines):
    rule = ["---"] * len(header)
    return ["| " + " | ".join(line) + " |" for line in [header, rule] + lines]


def text_of(data, markdown):
    out = []
    show = ruled if markdown else aligned

    def add(title, header, lines, note):
        out.extend(["### " + title, ""] if markdown else [title])
        out.extend(show(header, lines))
        out.extend([""] * markdown + [note] if note else [])
        out.append("")

    for table in data["tables"]:
        add(table["title"], table["header"], table["lines"], table["note"])
    targets = data["targets"]
    if targets:
        add("Targets", ["target", "wanted", "measured", "holds"],
            [[t["name"], "%s %g %s" % (t["sign"], t["target"], t["unit"]), "%.2f %s" % (t["value"], t["unit"]),
              "yes" if t["holds"] else "**no**" if markdown else "NO"] for t in targets], "")
    out.append("%d of %d targets hold; %s, %d runs, %s" % (
        sum(t["holds"] for t in targets), len(targets), data["version"], data["runs"], data["machine"]))
    return "\n".join(out) + "\n"


def update(page, text):
    begin, end = "<!-- results -->\n", "<!-- end of results -->\n"
    with open(page, encoding="utf-8") as f:
        old = f.read()
    if begin not in old or end not in old:
        sys.exit("report.py: %s has no place for results" % page)
    with open(page, "w", encoding="utf-8") as f:
        f.write(old[:old.index(begin)] + begin + "\n" + text + "\n" + old[old.index(end):])


def machine():
    with open("/proc/meminfo", encoding="ascii") as f:
        memory = int(f.readline().split()[1]) >> 20
    with open("/proc/cpuinfo", encoding="ascii") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return "%d cores (%s), %d GiB, Linux %s" % (os.cpu_count(), model, memory, platform.release())


def parse(line):
    row = {}
    for word in line.split():
        key, value = word.split("=", 1)
        try:
            row[key] = float(value)
        except ValueError:
            row[key] = value
    return row


def main():
    args = argparse.ArgumentParser(usage=__doc__)
    args.add_argument("-m", dest="markdown", action="store_true")
    args.add_argument("-u", dest="page")
    args.add_argument("-j", dest="json")
    args.add_argument("-v", dest="version", default="k3simg")
    args.add_argument("-n", dest="runs", type=int, default=0)
    args.add_argument("results")
    args = args.parse_args()
    with open(args.results, encoding="utf-8") as f:
        text = f.read()
    if text.startswith("{"):
        data = json.loads(text)
    else:
        data = {"schemaVersion": 1, "version": args.version, "machine": machine(), "runs": args.runs,
                "measurements": [parse(line) for line in text.splitlines()]}
    # Always made again from the measurements.
    rep = Report(Rows(data["measurements"]))
    for part in images, live, bundle, floor, stages, layers, store, shared, files, startup:
        part(rep)
    data.update(tables=rep.tables, targets=rep.targets)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(data, f, indent=1)
            f.write("\n")
    if args.page:
        update(args.page, text_of(data, True))
        return
    sys.stdout.write(text_of(data, args.markdown))
    sys.exit(any(not t["holds"] for t in rep.targets))


main()
