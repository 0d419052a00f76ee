#!/usr/bin/python3
"""kill-images.py STORAGE: small images for tests/torture/kill.py, as the storage
directory of docker-registry.

  old:1    layers L0 A1
  app:1    layers L0 L1 A2; kill-images.py --switch STORAGE gives the tag its new
           target, layers L0 L1 B2
  web:1    layers L0 L1 W2 W3: whiteouts, an opaque directory, files that become directories
  multi:1  an index; its amd64 manifest has the layers M0 M1 of its own

A layer has everything that a tree can have, a few times; none has more than needed
for some hundred changes of the file system.
"""

import gzip
import hashlib
import io
import json
import os
import random
import sys
import tarfile

OCI = "application/vnd.oci.image."
EPOCH = 1700000000
NEXT = "app-next"     # holds the digest that the tag is to get


class Layer:
    def __init__(self):
        self.buf = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buf, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8")

    def add(self, name, data=b"", kind=tarfile.REGTYPE, mode=0o644, uid=0, gid=0, mtime=EPOCH + 0.5,
            link="", xattr=None, dev=(0, 0)):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, uid, gid, mtime
        info.linkname, (info.devmajor, info.devminor) = link, dev
        for key, value in (xattr or {}).items():
            info.pax_headers["SCHILY.xattr." + key] = value
        if kind == tarfile.REGTYPE:
            info.size = len(data)
        self.tar.addfile(info, io.BytesIO(data) if kind == tarfile.REGTYPE else None)

    def files(self, top, count, rnd, **kw):
        self.add(top, kind=tarfile.DIRTYPE, mode=0o755)
        for i in range(count):
            self.add("%s/file-%02d" % (top, i), rnd.randbytes(rnd.randrange(1, 400)), mtime=EPOCH + i, **kw)

    def odd(self, top):
        """One of each kind that is made by a call of its own."""
        self.add(top, kind=tarfile.DIRTYPE, mode=0o1777, uid=1, gid=2)
        self.add(top + "/setuid", b"#!\n", mode=0o4755, uid=7)
        self.add(top + "/owned", b"mine\n", uid=1000, gid=1000, mode=0o600)
        self.add(top + "/link", kind=tarfile.SYMTYPE, mode=0o777, link="../somewhere")
        self.add(top + "/fifo", kind=tarfile.FIFOTYPE, mode=0o622)
        self.add(top + "/null", kind=tarfile.CHRTYPE, mode=0o666, dev=(1, 3))
        self.add(top + "/hard", kind=tarfile.LNKTYPE, link=top + "/owned")
        self.add(top + "/hard-too", kind=tarfile.LNKTYPE, link=top + "/owned")
        self.add(top + "/labelled", b"x", xattr={"user.k3simg": "value", "user.more": "again"})
        self.add(top + "/no/parents/here/file", b"deep\n")
        self.add(top + "/d", kind=tarfile.DIRTYPE, mode=0o2750, gid=50, xattr={"user.dir": "yes"})
        self.add(top + "/large", bytes(70000) + b"end\n" * 20000)

    def done(self):
        self.tar.close()
        return self.buf.getvalue()


class Storage:
    def __init__(self, path):
        self.top = os.path.join(path, "docker/registry/v2")

    def put(self, path, data):
        path = os.path.join(self.top, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)

    def blob(self, repo, data, media, **more):
        name = hashlib.sha256(data).hexdigest()
        self.put("blobs/sha256/%s/%s/data" % (name[:2], name), data)
        kind = "_manifests/revisions" if ".manifest." in media or ".index." in media else "_layers"
        self.put("repositories/%s/%s/sha256/%s/link" % (repo, kind, name), b"sha256:" + name.encode())
        return {"mediaType": media, "digest": "sha256:" + name, "size": len(data), **more}

    def manifest(self, repo, tars, arch="amd64"):
        layers = [self.blob(repo, gzip.compress(tar, 6, mtime=0), OCI + "layer.v1.tar+gzip") for tar in tars]
        config = {"architecture": arch, "os": "linux", "config": {"Cmd": ["/none"]},
                  "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(t).hexdigest() for t in tars]}}
        body = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                "config": self.blob(repo, json.dumps(config).encode(), OCI + "config.v1+json"), "layers": layers}
        return self.blob(repo, json.dumps(body).encode(), body["mediaType"],
                         platform={"architecture": arch, "os": "linux"})

    def tag(self, repo, digest):
        self.put("repositories/%s/_manifests/tags/1/current/link" % repo, digest.encode())
        self.put("repositories/%s/_manifests/tags/1/index/sha256/%s/link" % (repo, digest[7:]), digest.encode())


def layers():
    rnd = random.Random(4)
    made = {}
    for name, count in (("L0", 42), ("L1", 30), ("A1", 6), ("A2", 8), ("M0", 36), ("M1", 12)):
        layer = Layer()
        layer.files("srv/" + name, count, rnd)
        if name in ("L0", "M0"):
            layer.odd("odd")
        made[name] = layer
    new = made["B2"] = Layer()
    new.files("srv/B2", 14, rnd)
    new.files("srv/L1", 3, rnd, mode=0o640)            # replaces files of L1
    new.add("odd/owned", kind=tarfile.LNKTYPE, link="odd/setuid")
    new.add("odd/.wh.fifo")
    web = made["W2"] = Layer()
    web.files("srv/W2", 24, rnd)
    web.add("srv/L1", kind=tarfile.DIRTYPE, mode=0o700)
    web.add("srv/L1/.wh..wh..opq")
    web.add("srv/L1/new", b"the only one\n")
    web.add("srv/L0/.wh.file-03")
    web.add("odd/large", kind=tarfile.DIRTYPE, mode=0o755)
    web.add("odd/large/inside", b"a file became a directory\n")
    web.add("odd/.wh.d")
    top = made["W3"] = Layer()
    top.files("srv/W3", 12, rnd)
    top.files("srv/W2", 4, rnd, uid=33, gid=33)
    top.add("odd/no", kind=tarfile.SYMTYPE, mode=0o777, link="d")
    return {name: layer.done() for name, layer in made.items()}


def main(argv):
    if argv[:1] == ["--switch"]:
        storage = Storage(argv[1])
        with open(os.path.join(storage.top, NEXT), encoding="ascii") as f:
            storage.tag("app", f.read())
        return
    storage = Storage(argv[0])
    tar = layers()
    for repo, names in (("old", "L0 A1"), ("app", "L0 L1 A2"), ("web", "L0 L1 W2 W3")):
        storage.tag(repo, storage.manifest(repo, [tar[n] for n in names.split()])["digest"])
    storage.put(NEXT, storage.manifest("app", [tar[n] for n in "L0 L1 B2".split()])["digest"].encode())
    index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [
        storage.manifest("multi", [tar["M0"]], arch="arm64"), storage.manifest("multi", [tar["M0"], tar["M1"]])]}
    storage.tag("multi", storage.blob("multi", json.dumps(index).encode(), index["mediaType"])["digest"])


main(sys.argv[1:])
