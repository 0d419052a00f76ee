#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Images that only the benchmark needs.

  images.py four TEST BENCH LAYOUT   nginx:7 layers:32 python-node:4 big-files:2, made of the
                                     layers of the test images (layouts of tests/lib/images.sh)
  images.py series LAYOUT            depth:N (N layers), files:N (N files in a layer), huge:1
                                     (a layer of 2 GB), shared:0 ... shared:19 (on common bases)
"""
import gzip
import hashlib
import importlib.util
import io
import json
import os
import random
import sys
import tarfile
import zlib

DEPTHS = (1, 8, 32, 64, 127)
FILES = (1_000, 10_000, 50_000, 200_000)


def test_images():
    """The definitions of tests/lib/images.py, a script that ends in its usage when it is imported."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib/images.py")
    spec = importlib.util.spec_from_file_location("images", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SystemExit:
        pass
    return module


LIB = test_images()


# ---- layers of images that are there ---------------------------------------------------------

def read_blob(layout, digest):
    with open(os.path.join(layout, "blobs/sha256", digest[7:]), "rb") as f:
        return f.read()


def layers_of(layout, ref):
    """The uncompressed layers of an image, bottom first."""
    with open(os.path.join(layout, "index.json"), encoding="utf-8") as f:
        index = json.load(f)["manifests"]
    digest = next(m["digest"] for m in index if m["annotations"]["org.opencontainers.image.ref.name"] == ref)
    for layer in json.loads(read_blob(layout, digest))["layers"]:
        yield gzip.decompress(read_blob(layout, layer["digest"]))


def without_outer_links(tar):
    """A layer without hard links to files of lower layers: containerd's overlayfs refuses them."""
    out, names = io.BytesIO(), set()
    with tarfile.open(fileobj=io.BytesIO(tar)) as old, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in old:
            names.add(member.name)
            if not member.islnk() or member.linkname in names:
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
    return out.getvalue()


# ---- the four images -------------------------------------------------------------------------

def nginx(lay, test):
    """nginx on Debian as it is often built: package archives that the last layer deletes, with documentation."""
    base, libraries, server, content, changes, _, _ = layers_of(test, "nginx:7")
    rnd = random.Random(1)
    archives, clean = LIB.Tar(), LIB.Tar()
    for i in range(31):
        archives.add("var/cache/apt/archives/package-%02d.deb" % i, rnd.randbytes(2_000_000))
        clean.add("var/cache/apt/archives/.wh.package-%02d.deb" % i)
    for name in "doc", "info", "locale", "man":
        clean.add("usr/share/.wh." + name)
    tars = [base, libraries, server, archives.done(), content, without_outer_links(changes), clean.done()]
    lay.name("nginx:7", lay.manifest([lay.layer(tar) for tar in tars]))
    return base


def python_node(lay, bench):
    """Interpreters, modules and 20 files that do not compress."""
    tars = list(layers_of(bench, "bench-python-node:4"))
    rnd = random.Random(2)
    t = LIB.Tar()
    for i in range(20):
        t.add("srv/app/data-%02d" % i, rnd.randbytes(2_000_000))
    t.add("srv/app/main.py", b"print('hello')\n")
    layers = [lay.layer(tars[0])] + [lay.layer(tar, level=1) for tar in tars[1:3] + [t.done()]]
    lay.name("python-node:4", lay.manifest(layers))


def big_files(lay, base):
    """Eight files, half of each noise, as in archives and models, and half words."""
    rnd = random.Random(3)
    words = [rnd.randbytes(rnd.randrange(2, 6)).hex().encode() + b" " for _ in range(200)]
    t = LIB.Tar()
    for i in range(8):
        t.add("srv/big-%d" % i, rnd.randbytes(40_000_000) + b"".join(rnd.choices(words, k=5_500_000)))
    lay.name("big-files:2", lay.manifest([lay.layer(base), lay.layer(t.done(), level=1)]))


def four(test, bench, layout):
    lay = LIB.Layout(layout)
    base = nginx(lay, test)
    lay.name("layers:32", lay.manifest([lay.layer(without_outer_links(tar)) for tar in layers_of(test, "layers:32")]))
    python_node(lay, bench)
    big_files(lay, base)
    lay.done()


# ---- series ----------------------------------------------------------------------------------

def small_files(t, top, count, rnd, low=0, high=3000):
    """Files as in a tree of sources: a hundred to a directory."""
    text = rnd.randbytes(1500).hex().encode()
    for i in range(count):
        if i % 100 == 0:
            t.dir("%s/%04d" % (top, i // 100))
        n = rnd.randrange(low, high)
        at = rnd.randrange(len(text) - n) if n < len(text) else 0
        t.add("%s/%04d/%02d" % (top, i // 100, i % 100), b"%d\n" % i + text[at:at + n])


def huge(lay):
    """2 GB in 20 files, made and hashed piece by piece: a third of it noise, the rest zeros and text."""
    rnd = random.Random(4)
    piece = rnd.randbytes(1_000_000) + bytes(1_000_000) + rnd.randbytes(50_000).hex().encode() * 10
    packer, data, diff = zlib.compressobj(1, zlib.DEFLATED, 31), io.BytesIO(), hashlib.sha256()

    def put(raw):
        diff.update(raw)
        data.write(packer.compress(raw))

    count = 2_000_000_000 // 20 // len(piece)
    for i in range(20):
        info = tarfile.TarInfo("srv/huge-%02d" % i)
        info.size = count * len(piece)
        put(info.tobuf())
        for _ in range(count):
            put(piece)
        put(bytes(-info.size % 512))
    put(bytes(1024))
    data.write(packer.flush())
    layer = lay.blob(data.getvalue(), LIB.OCI + "layer.v1.tar+gzip"), "sha256:" + diff.hexdigest()
    lay.name("huge:1", lay.manifest([layer]))


def depth(lay):
    """A base of 2,000 files and thin layers."""
    rnd = random.Random(5)
    t = LIB.Tar()
    small_files(t, "base", 2000, rnd)
    layers = [lay.layer(t.done(), level=1)]
    for n in range(1, max(DEPTHS)):
        t = LIB.Tar()
        small_files(t, "layer-%03d" % n, 20, rnd)
        layers.append(lay.layer(t.done(), level=1))
    for n in DEPTHS:
        lay.name("depth:%d" % n, lay.manifest(layers[:n]))


def files(lay):
    for n in FILES:
        t = LIB.Tar()
        small_files(t, "srv", n, random.Random(6))
        lay.name("files:%d" % n, lay.manifest([lay.layer(t.done(), level=1)]))


def shared(lay):
    """20 images: one base, four middles, a layer of their own each; no file is in two layers."""
    rnd = random.Random(7)

    def layer(top, count, noise):
        t = LIB.Tar()
        small_files(t, top, count, rnd)
        for i in range(4):
            t.add("%s/noise-%d" % (top, i), rnd.randbytes(noise // 4))
        return lay.layer(t.done(), level=1)

    base = layer("base", 8000, 40_000_000)
    middles = [layer("middle-%d" % n, 2000, 20_000_000) for n in range(4)]
    for n in range(20):
        lay.name("shared:%d" % n, lay.manifest([base, middles[n % 4], layer("own-%02d" % n, 200, 4_000_000)]))


def series(layout):
    lay = LIB.Layout(layout)
    depth(lay)
    files(lay)
    huge(lay)
    shared(lay)
    lay.done()


def main(argv):
    verbs = {"four": four, "series": series}
    if len(argv) < 3 or argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[argv[1]](*argv[2:])


main(sys.argv)
