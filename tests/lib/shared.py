#!/usr/bin/python3
"""An OCI layout with two images that share their lower layers.

usage: shared.py DIR

  registry.test/shared/a:1   base, common, a
  registry.test/shared/b:1   base, common, b

The file system refuses something of "common" (trusted.*, which every unpacker leaves out) and of
"a".  Files are 8 KiB, so that what they take is more than their directories.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

FILES = 60


def tar(name, lossy=()):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        top = tarfile.TarInfo(name)
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        t.addfile(top)
        for i in range(FILES):
            data = hashlib.sha512(b"%s %d" % (name.encode(), i)).digest() * 128
            info = tarfile.TarInfo("%s/%02d" % (name, i))
            info.size, info.mtime = len(data), 1700000000 + i
            if i in lossy:
                info.pax_headers = {"SCHILY.xattr.trusted.k3simg": "lost"}
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Layout:
    def __init__(self, path):
        self.path = path
        self.manifests = []
        os.makedirs(path + "/blobs/sha256")
        with open(path + "/oci-layout", "w") as f:
            f.write('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, kind, data):
        digest = hashlib.sha256(data).hexdigest()
        with open("%s/blobs/sha256/%s" % (self.path, digest), "wb") as f:
            f.write(data)
        return {"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + digest, "size": len(data)}

    def image(self, name, layers):
        config = {"architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine], "os": "linux",
                  "config": {"Entrypoint": ["/bin/look", "two words"], "Env": ["A=b"], "User": "7"},
                  "rootfs": {"type": "layers",
                             "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]}}
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": self.blob("config.v1+json", json.dumps(config).encode()),
                    "layers": [self.blob("layer.v1.tar+gzip", gzip.compress(x, mtime=0)) for x in layers]}
        entry = self.blob("manifest.v1+json", json.dumps(manifest).encode())
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
        self.manifests.append(entry)

    def done(self):
        with open(self.path + "/index.json", "w") as f:
            json.dump({"schemaVersion": 2, "manifests": self.manifests}, f)


lay = Layout(sys.argv[1])
base, common = tar("base"), tar("common", lossy=(3, 4))
lay.image("registry.test/shared/a:1", [base, common, tar("a", lossy=(5,))])
lay.image("registry.test/shared/b:1", [base, common, tar("b")])
lay.done()
