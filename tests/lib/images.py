#!/usr/bin/python3
"""Build the test images.

  images.py layer ROOT OUT       record what changed in ROOT since the last call
                                 as the next layer of OUT (used from mmdebstrap)
  images.py assemble OUT LAYOUT  make all images from the layers in OUT
  images.py many N LAYOUT        N tiny images (many:0 ... many:N-1)
  images.py bench OUT LAYOUT     the large images of the benchmark

LAYOUT is an OCI image layout; the name of an image (nginx:7) is its
org.opencontainers.image.ref.name.
"""

import gzip
import hashlib
import io
import json
import os
import pickle
import random
import stat
import struct
import subprocess
import sys
import tarfile

OCI = "application/vnd.oci.image."
EPOCH = 1700000000
# What a build leaves in the tree and an image should not have.
SKIP = ("dev/", "proc/", "sys/", "run/", "tmp/", "var/lib/apt/lists/", "var/cache/apt/",
        "var/log/", "var/cache/debconf/", "etc/apt/", "etc/resolv.conf", "etc/hostname",
        "usr/sbin/policy-rc.d", "var/cache/ldconfig/")


# ---- layers as tar files ---------------------------------------------------

class Tar:
    """A layer under construction; names are bytes, so any name can be made."""

    def __init__(self):
        self.buf = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buf, mode="w|", format=tarfile.PAX_FORMAT,
                                encoding="utf-8", errors="surrogateescape")

    def add(self, name, data=b"", kind=tarfile.REGTYPE, mode=0o644, uid=0, gid=0, mtime=EPOCH,
            link="", xattr=None, dev=(0, 0)):
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, uid, gid, mtime
        info.linkname, (info.devmajor, info.devminor) = link, dev
        for key, value in (xattr or {}).items():
            info.pax_headers["SCHILY.xattr." + key] = value.decode("utf-8", "surrogateescape")
        if kind == tarfile.REGTYPE:
            info.size = len(data)
            self.tar.addfile(info, io.BytesIO(data))
        else:
            self.tar.addfile(info)

    def dir(self, name, mode=0o755, **kw):
        self.add(name, kind=tarfile.DIRTYPE, mode=mode, **kw)

    def symlink(self, name, target):
        self.add(name, kind=tarfile.SYMTYPE, mode=0o777, link=target)

    def hardlink(self, name, target, **kw):
        self.add(name, kind=tarfile.LNKTYPE, link=target, **kw)

    def done(self):
        self.tar.close()
        return self.buf.getvalue()


def capability(*bits):
    """security.capability, revision 2, the given capabilities effective and permitted."""
    mask = sum(1 << b for b in bits)
    return struct.pack("<IIIII", 0x02000001, mask & 0xffffffff, 0, mask >> 32, 0)


def raw_pax(tar_bytes_of_entry_list):
    """Join pieces of tar into one archive with a proper end."""
    return b"".join(tar_bytes_of_entry_list) + bytes(1024)


def pax_record(key, value):
    body = b" " + key + b"=" + value + b"\n"
    n = len(body)
    while len(str(n)) + len(body) != n:
        n = len(str(n)) + len(body)
    return str(n).encode() + body


def entry_with_pax(records, name, data, mode=0o644):
    """One file entry behind a PAX header of exact bytes (binary xattr values)."""
    pax = b"".join(pax_record(k, v) for k, v in records)

    def header(nm, size, typ):
        h = struct.pack("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x", nm,
                        b"%07o\0" % mode, b"0000000\0", b"0000000\0", b"%011o\0" % size,
                        b"%011o\0" % EPOCH, b" " * 8, typ, b"", b"ustar\0", b"00", b"", b"",
                        b"0000000\0", b"0000000\0", b"")
        return h[:148] + b"%06o\0 " % sum(h) + h[156:]

    def padded(b):
        return b + bytes(-len(b) % 512)

    return header(b"PaxHeaders/x", len(pax), b"x") + padded(pax) + header(name, len(data), b"0") + padded(data)


# ---- layers as differences of a tree ---------------------------------------

def scan(root):
    """path -> (stat signature, lstat) of everything in root."""
    seen = {}
    stack = [b""]
    root = os.fsencode(root)
    while stack:
        rel = stack.pop()
        with os.scandir(os.path.join(root, rel)) as it:
            for e in it:
                path = rel + b"/" + e.name if rel else e.name
                text = os.fsdecode(path)
                if text.startswith(SKIP):
                    continue
                st = e.stat(follow_symlinks=False)
                directory = stat.S_ISDIR(st.st_mode)
                sig = (st.st_mode, st.st_uid, st.st_gid, 0 if directory else st.st_size,
                       0 if directory else st.st_mtime_ns, 0 if directory else st.st_ino, st.st_rdev)
                seen[text] = (sig, st)
                if directory:
                    stack.append(path)
    return seen


def layer(root, out):
    state = os.path.join(out, "state")
    old = {}
    if os.path.exists(state):
        with open(state, "rb") as f:
            old = pickle.load(f)
    new = scan(root)
    number = len([n for n in os.listdir(out) if n.endswith(".tar")]) + 1
    changed = {p for p, (sig, _) in new.items() if old.get(p) != sig}
    gone = [p for p in old if p not in new]
    gone = [p for p in gone if os.path.dirname(p) in new or not os.path.dirname(p)]
    for p in list(changed) + gone:     # parents come along, as in real layers
        while p := os.path.dirname(p):
            if p in changed:
                break
            changed.add(p)
    with tarfile.open(os.path.join(out, "%02d.tar" % number), "w", format=tarfile.PAX_FORMAT,
                      encoding="utf-8", errors="surrogateescape") as tar:
        for p in sorted(set(gone) | changed):
            if p in gone:
                head, name = os.path.split(p)
                info = tarfile.TarInfo(os.path.join(head, ".wh." + name))
                info.mtime = EPOCH
                tar.addfile(info)
                continue
            full = os.path.join(root, p)
            info = tar.gettarinfo(full, arcname=p)
            info.uname = info.gname = ""
            for name in os.listxattr(full, follow_symlinks=False):
                value = os.getxattr(full, name, follow_symlinks=False)
                info.pax_headers["SCHILY.xattr." + name] = value.decode("utf-8", "surrogateescape")
            if info.isreg():
                with open(full, "rb") as f:
                    tar.addfile(info, f)
            else:
                tar.addfile(info)
    with open(state, "wb") as f:
        pickle.dump({p: sig for p, (sig, _) in new.items()}, f)


# ---- the layout ------------------------------------------------------------

class Layout:
    def __init__(self, path):
        self.path, self.refs = path, []
        os.makedirs(os.path.join(path, "blobs/sha256"), exist_ok=True)

    def blob(self, data, media, **more):
        digest = hashlib.sha256(data).hexdigest()
        name = os.path.join(self.path, "blobs/sha256", digest)
        if not os.path.exists(name):
            with open(name, "wb") as f:
                f.write(data)
        return {"mediaType": media, "digest": "sha256:" + digest, "size": len(data), **more}

    def json(self, value, media, **more):
        return self.blob(json.dumps(value, separators=(",", ":")).encode(), media, **more)

    def layer(self, tar, how="gzip", level=6):
        """(descriptor, diff id) of an uncompressed tar."""
        diff = "sha256:" + hashlib.sha256(tar).hexdigest()
        if how == "gzip":
            data = gzip.compress(tar, level, mtime=0)
        elif how == "multi-gzip":    # several members, as pigz and stargz make them
            step = max(1, len(tar) // 5)
            data = b"".join(gzip.compress(tar[i:i + step], level, mtime=0)
                            for i in range(0, len(tar), step))
            how = "gzip"
        elif how == "zstd":
            data = subprocess.run(["zstd", "-q", "-3", "-c"], input=tar, stdout=subprocess.PIPE,
                                  check=True).stdout
        else:
            return self.blob(tar, OCI + "layer.v1.tar"), diff
        return self.blob(data, OCI + "layer.v1.tar+" + how), diff

    def manifest(self, layers, arch="amd64", os_="linux", **config):
        config = {"created": "2023-11-14T22:13:20Z", "architecture": arch, "os": os_,
                  "config": config, "rootfs": {"type": "layers", "diff_ids": [d for _, d in layers]},
                  "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "layer %d" % i}
                              for i in range(len(layers))]}
        body = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                "config": self.json(config, OCI + "config.v1+json"), "layers": [d for d, _ in layers]}
        return self.json(body, OCI + "manifest.v1+json")

    def name(self, ref, descriptor):
        annotations = {**descriptor.get("annotations", {}), "org.opencontainers.image.ref.name": ref}
        self.refs.append({**descriptor, "annotations": annotations})

    def done(self):
        for name, body in (("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                           ("index.json", {"schemaVersion": 2, "manifests": self.refs})):
            with open(os.path.join(self.path, name), "w", encoding="utf-8") as f:
                json.dump(body, f, indent=1)


# ---- the images ------------------------------------------------------------

NGINX_CONF = b"""# k3simg test image
worker_processes 1;
error_log /dev/stderr notice;
pid /tmp/nginx.pid;
events { worker_connections 64; }
http {
    access_log off;
    server {
        include /tmp/listen.conf;
        root /srv/www;
    }
    client_body_temp_path /tmp/nginx-body;
    proxy_temp_path /tmp/nginx-proxy;
    fastcgi_temp_path /tmp/nginx-fastcgi;
    uwsgi_temp_path /tmp/nginx-uwsgi;
    scgi_temp_path /tmp/nginx-scgi;
}
"""

START = b"""#!/bin/sh
# Entry point: PORT chooses the port, 127.0.0.1 only.
echo "listen 127.0.0.1:${PORT:-18080};" >/tmp/listen.conf
exec /usr/sbin/nginx -c /etc/nginx/k3simg.conf -g 'daemon off;'
"""

NFC = "caf\u00e9-\u00fc".encode()
NFD = "cafe\u0301-u\u0308".encode()
NOT_UTF8 = b"latin1-\xe9-\xff"


def nginx_content():
    """The layer with the page: also files that later layers remove."""
    t = Tar()
    t.dir("srv")
    t.dir("srv/www", mtime=EPOCH + 5)
    t.add("srv/www/index.html", b"<h1>k3simg test page</h1>\n", mtime=EPOCH + 0.25)
    t.add("etc/nginx/k3simg.conf", NGINX_CONF)
    t.add("usr/local/bin/start-nginx", START, mode=0o755)
    t.dir("opt")
    t.dir("opt/opaque", mode=0o750, uid=10, gid=20)
    t.dir("opt/opaque/sub")
    for i in range(5):
        t.add("opt/opaque/sub/old-%d" % i, b"old\n" * i)
    t.add("opt/opaque/old", b"hidden later\n")
    t.add("opt/replaced", b"a file that becomes a directory\n")
    t.dir("opt/becomes-file")
    t.add("opt/becomes-file/x", b"x")
    t.symlink("opt/link-to-dir", "opaque")
    t.add("opt/removed", b"gone in the next layer\n")
    t.dir("opt/removed-dir")
    t.add("opt/removed-dir/x", b"x")
    t.add("opt/linked-1", b"three names, one file\n")
    t.hardlink("opt/linked-2", "opt/linked-1")
    return t.done()


def nginx_changes():
    """Whiteouts, an opaque directory, types that change."""
    t = Tar()
    t.dir("opt")
    t.add("opt/.wh.removed")
    t.add("opt/.wh.removed-dir")
    t.dir("opt/opaque", mode=0o700, uid=30, gid=40)
    t.add("opt/opaque/.wh..wh..opq")
    t.add("opt/opaque/new", b"only this is left\n")
    t.dir("opt/replaced")
    t.add("opt/replaced/y", b"y")
    t.add("opt/becomes-file", b"now a file\n", mode=0o600)
    t.add("opt/.wh.nothing-like-this")
    t.hardlink("opt/linked-3", "opt/linked-1")
    t.add("srv/www/second.html", b"<p>second</p>\n")
    t.add("etc/motd", b"changed in layer 5\n")
    return t.done()


def nginx_odd():
    """Everything a tree can have that a simple unpacker gets wrong."""
    t = Tar()
    t.dir("odd", mode=0o1777)
    t.add("odd/setuid", b"#!\n", mode=0o4755, uid=0)
    t.add("odd/setgid", b"#!\n", mode=0o2755, uid=1, gid=50)
    t.add("odd/both-nobody", b"#!\n", mode=0o6711, uid=65534, gid=65534)
    t.dir("odd/sticky", mode=0o1777)
    t.dir("odd/setgid-dir", mode=0o2775, gid=50)
    t.dir("odd/no-access", mode=0o000)
    t.add("odd/no-access/file", b"", mode=0o000)
    t.add("odd/big-id", b"x", uid=3000000000, gid=2147483648)
    t.add("odd/fifo", kind=tarfile.FIFOTYPE, mode=0o622)
    t.add("odd/char", kind=tarfile.CHRTYPE, mode=0o666, dev=(1, 3))
    t.add("odd/block", kind=tarfile.BLKTYPE, mode=0o660, gid=6, dev=(7, 300))
    t.symlink("odd/dangling", "/no/such/place")
    t.symlink("odd/long-link", "x/" * 150 + "end")
    t.symlink("odd/absolute", "/etc/passwd")
    t.hardlink("odd/link-to-symlink", "odd/dangling")
    t.add("odd/hard-1", b"hard\n", mode=0o640)
    for i in range(2, 6):
        t.hardlink("odd/hard-%d" % i, "odd/hard-1", mode=0o640)
    t.add(b"odd/" + NFC, b"nfc\n")
    t.add(b"odd/" + NFD, b"nfd\n")
    t.add("odd/\u65e5\u672c\u8a9e \U0001f40b".encode(), b"wide\n")
    t.add("odd/new\nline\ttab", b"control\n")
    t.add("odd/back\\slash and 'quotes\"", b"quotes\n")
    t.add("odd/" + "n" * 120, b"name over 100 bytes\n")
    t.add("odd/" + "m" * 250, b"name near the limit\n")
    deep = "odd/" + "/".join("directory-%02d" % i for i in range(30))
    t.add(deep + "/file", b"path over 255 bytes without parent entries\n")
    t.dir("odd/" + "d" * 99 + "/" + "e" * 99 + "/" + "f" * 99)
    t.add("odd/mtime-ns", b"", mtime=EPOCH + 0.123456)
    t.add("odd/mtime-zero", b"", mtime=0)
    t.add("odd/mtime-before", b"", mtime=-86400)
    t.add("odd/mtime-far", b"", mtime=4102444800)
    t.add("odd/sparse-like", bytes(1 << 20))
    t.add("odd/empty", b"")
    t.add("./odd/dot-prefix", b"./\n")
    t.add("/odd/absolute-name", b"/\n")
    t.add("odd/a/../up/name", b"cleaned\n")
    t.add("odd/xattr-user", b"x", xattr={"user.k3simg": b"value", "user.empty": b"e"})
    t.dir("odd/xattr-dir", xattr={"user.on-directory": "\u00e9".encode()})
    # An entry created and removed in one layer, then made again.
    t.add("odd/same-layer", b"first")
    t.add("odd/.wh.same-layer")
    t.add("odd/same-layer", b"second")
    plain = t.done().rstrip(b"\0")
    plain += bytes(-len(plain) % 512)
    return raw_pax([
        plain,
        entry_with_pax([(b"SCHILY.xattr.security.capability", capability(10, 12))], b"odd/with-capability",
                       b"#!cap\n", 0o755),
        entry_with_pax([(b"SCHILY.xattr.user.binary", bytes(range(256))),
                        (b"SCHILY.xattr.trusted.refused", b"no")], b"odd/xattr-binary", b"b\n"),
        entry_with_pax([(b"path", b"odd/" + NOT_UTF8)], b"odd/latin1", b"not utf-8\n"),
        entry_with_pax([(b"mtime", b"1700000001.987654321")], b"odd/mtime-nine-digits", b""),
        entry_with_pax([(b"SCHILY.xattr.user.many%d" % i, b"v" * 40) for i in range(20)], b"odd/xattr-many", b""),
    ])


def assemble(out, layout_dir):
    lay = Layout(layout_dir)
    made = {}
    for name in sorted(os.listdir(out)):
        if name.endswith(".tar"):
            with open(os.path.join(out, name), "rb") as f:
                made[name[:-4]] = lay.layer(f.read())
    base = made["01"]
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    lay.name("debian:base", lay.manifest([base], Env=[path], Cmd=["/bin/sh"]))

    # nginx:7 -- base, libraries, nginx, content, changes, odd files, clean-up
    layers = [base, made["02"], made["03"], lay.layer(nginx_content()),
              lay.layer(nginx_changes(), "multi-gzip"), lay.layer(nginx_odd()), made["04"]]
    nginx = lay.manifest(layers, Env=[path, "PORT=18080"], Entrypoint=["/usr/local/bin/start-nginx"],
                         WorkingDir="/srv/www", StopSignal="SIGQUIT")
    lay.name("nginx:7", nginx)
    lay.name("docker2:1", nginx)          # pushed as Docker schema 2

    # layers:32 -- the base and 31 thin ones that add, change and remove
    rnd = random.Random(32)
    layers = [base]
    for n in range(1, 32):
        t = Tar()
        t.dir("srv/layer-%02d" % n)
        for i in range(40):
            t.add("srv/layer-%02d/file-%02d" % (n, i), rnd.randbytes(rnd.randrange(200, 3000)) * 2,
                  mtime=EPOCH + n + i / 7)
        t.add("srv/layer-%02d/big" % n, rnd.randbytes(200_000) + bytes(1_000_000))
        t.add("srv/counter", b"%d\n" % n)
        if n > 1:
            t.add("srv/layer-%02d/.wh.file-%02d" % (n - 1, n))
            t.hardlink("srv/layer-%02d/linked" % n, "srv/layer-%02d/big" % (n - 1))
        if n % 8 == 0:
            t.add("srv/layer-%02d/.wh..wh..opq" % (n - 3))
        layers.append(lay.layer(t.done()))
    lay.name("layers:32", lay.manifest(layers, Env=[path], Cmd=["/bin/cat", "/srv/counter"]))

    # one static binary
    with open(os.path.join(out, "static"), "rb") as f:
        static = f.read()
    t = Tar()
    t.add("static", static, mode=0o755)
    one = lay.layer(t.done())
    lay.name("static:1", lay.manifest([one], Entrypoint=["/static"], Cmd=["static", "binary", "ran"]))
    t = Tar()
    t.add("pause", static, mode=0o755)
    pause = lay.manifest([lay.layer(t.done())], Entrypoint=["/pause"], User="65535:65535")
    lay.name("rancher/mirrored-pause:3.6", pause)

    # busybox that prints and ends
    t = Tar()
    with open("/bin/busybox", "rb") as f:
        t.add("bin/busybox", f.read(), mode=0o755)
    for applet in ("sh", "ls", "cat", "sleep", "echo", "stat", "sync", "true"):
        t.hardlink("bin/" + applet, "bin/busybox", mode=0o755)
    t.add("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
    t.dir("tmp", mode=0o1777)
    box = lay.layer(t.done())
    lay.name("exit:1", lay.manifest([box], Env=[path], Cmd=["/bin/sh", "-c", "echo ran to the end"]))

    # zstd layers, one of them plain tar between two compressed ones
    t = Tar()
    t.dir("data")
    for i in range(300):
        t.add("data/%03d" % i, rnd.randbytes(64) * rnd.randrange(1, 400), mtime=EPOCH + i)
    more = Tar()
    more.add("data/.wh.000")
    more.add("data/new", b"new\n")
    with open(os.path.join(out, "02.tar"), "rb") as f:
        libraries = f.read()
    zlayers = [lay.layer(libraries, "zstd"), lay.layer(t.done(), "tar"), lay.layer(more.done(), "zstd"), box]
    lay.name("zstd:1", lay.manifest(zlayers, Env=[path], Cmd=["/bin/ls", "/data"]))

    # an index: two platforms, and an attestation that nobody must choose
    amd = lay.manifest([box, one], Env=[path], Cmd=["/bin/echo", "amd64"])
    t = Tar()
    t.add("arm64-only", b"arm64\n")
    arm = lay.manifest([lay.layer(t.done())], arch="arm64", Cmd=["/arm64-only"])
    note = lay.blob(b'{"_type":"https://in-toto.io/Statement/v0.1"}', "application/vnd.in-toto+json")
    config = lay.json({"architecture": "unknown", "os": "unknown", "config": {},
                       "rootfs": {"type": "layers", "diff_ids": [note["digest"]]}}, OCI + "config.v1+json")
    att = lay.json({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config,
                    "layers": [note]}, OCI + "manifest.v1+json")
    index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [
        {**att, "platform": {"architecture": "unknown", "os": "unknown"}, "annotations":
         {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": amd["digest"]}},
        {**arm, "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"}},
        {**amd, "platform": {"architecture": "amd64", "os": "linux"}}]}
    lay.name("multi:1", lay.json(index, OCI + "index.v1+json"))
    arm_only = {**index, "manifests": index["manifests"][:2]}
    lay.name("arm:1", lay.json(arm_only, OCI + "index.v1+json"))
    lay.done()


def many(count, layout_dir):
    lay = Layout(layout_dir)
    t = Tar()
    t.add("shared", b"in all of them\n" * 20)
    shared = lay.layer(t.done(), level=1)
    for n in range(count):
        t = Tar()
        t.add("number", b"%d\n" % n)
        lay.name("many:%d" % n, lay.manifest([shared, lay.layer(t.done(), level=1)], Cmd=["/number"]))
    lay.done()


def bench(out, layout_dir):
    """python + node on Debian (4 layers), and two layers of big files."""
    lay = Layout(layout_dir)
    made = []
    for name in sorted(os.listdir(out)):
        if name.endswith(".tar"):
            with open(os.path.join(out, name), "rb") as f:
                made.append(lay.layer(f.read()))
    t = Tar()
    t.dir("srv/app")
    t.add("srv/app/main.py", b"print('hello')\n")
    made.append(lay.layer(t.done()))
    lay.name("bench-python-node:4", lay.manifest(made, Cmd=["/bin/sh"]))
    rnd = random.Random(7)
    t = Tar()
    words = [rnd.randbytes(12) for _ in range(3000)]
    for i in range(8):
        noise = rnd.randbytes(40_000_000)
        text = b"".join(rnd.choices(words, k=4_000_000))[:48_000_000]
        t.add("srv/big-%d" % i, noise + text)
    lay.name("bench-big-files:2", lay.manifest([made[0], lay.layer(t.done(), level=1)], Cmd=["/bin/sh"]))
    lay.done()


def main(argv):
    if argv[1] == "layer":
        layer(argv[2], argv[3])
    elif argv[1] == "assemble":
        assemble(argv[2], argv[3])
    elif argv[1] == "many":
        many(int(argv[2]), argv[3])
    elif argv[1] == "bench":
        bench(argv[2], argv[3])
    else:
        sys.exit(__doc__)


main(sys.argv)
