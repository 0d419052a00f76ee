# SPDX-License-Identifier: Apache-2.0
"""Images as a registry serves them, and what one attack is."""

import gzip
import hashlib
import json

from raw import file, folder, hardlink, symlink, tar

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
MANIFEST, INDEX, CONFIG = OCI + "manifest.v1+json", OCI + "index.v1+json", OCI + "config.v1+json"
GZIP, ZSTD, TAR = OCI + "layer.v1.tar+gzip", OCI + "layer.v1.tar+zstd", OCI + "layer.v1.tar"
DOCKER_LAYER = DOCKER + "image.rootfs.diff.tar.gzip"
MIB = 1 << 20


def digest(data, algorithm="sha256"):
    return algorithm + ":" + hashlib.new(algorithm, data).hexdigest()


def descriptor(data, media, **more):
    return {"mediaType": media, "digest": digest(data), "size": len(data), **more}


class Layer:
    """plain: the tar stream that diff_id is about; blob: what is served."""

    def __init__(self, plain, blob=None, media=None, diff=None, **descriptor_fields):
        if blob is None:
            blob = gzip.compress(plain, 1, mtime=0) if media in (None, GZIP, DOCKER_LAYER) else plain
        self.plain, self.blob, self.media = plain, blob, media or GZIP
        self.diff = diff or digest(plain)
        self.desc = {**descriptor(blob, self.media), **descriptor_fields}


class Image:
    """What one repository answers.  wire: a function that may answer instead (registry.py)."""

    def __init__(self):
        self.blobs, self.documents = {}, {}
        self.tag = None               # (media type, bytes) of the tag
        self.headers = {}             # of the tag's answers, besides or instead of the usual ones
        self.wire = None
        self.layers = []

    def blob(self, data, media=None):
        self.blobs[digest(data)] = data
        return descriptor(data, media or "application/octet-stream")

    def document(self, data, media, content_type=None):
        for algorithm in ("sha256", "sha512"):
            self.documents[digest(data, algorithm)] = (content_type or media, data)
        return descriptor(data, media)


def dump(value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def image(layers=(), manifest=None, config=None, media=MANIFEST, content_type=None, config_media=CONFIG):
    """A correct image of these layers but for what manifest(m) and config(c) make of the two
    documents: they change the dictionary, or return bytes to be served instead."""
    img = Image()
    img.layers = [x if isinstance(x, Layer) else Layer(x) for x in layers]
    for layer in img.layers:
        img.blobs[digest(layer.blob)] = layer.blob
    c = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
         "rootfs": {"type": "layers", "diff_ids": [x.diff for x in img.layers]}}
    made = config(c) if config else None
    text = dump(c if made is None else made)
    m = {"schemaVersion": 2, "mediaType": media, "config": img.blob(text, config_media),
         "layers": [x.desc for x in img.layers]}
    made = manifest(m) if manifest else None
    text = dump(m if made is None else made)
    img.document(text, media, content_type)
    img.tag = (content_type or media, text)
    return img


def index(entries, img=None, edit=None, content_type=INDEX, media=INDEX):
    """An index over descriptors; the documents are img's."""
    img = img or Image()
    value = {"schemaVersion": 2, "mediaType": media, "manifests": entries}
    made = edit(value) if edit else None
    text = dump(value if made is None else made)
    img.document(text, media, content_type)
    img.tag = (content_type, text)
    return img


# The layer that the store of every run holds already: attacks on what lies below build on it.
BASE_LAYER = Layer(tar(
    folder(b"base/"), file(b"base/file", b"base\n", uid=7, gid=8, mode=0o640),
    hardlink(b"base/hard", b"base/file", uid=7, gid=8, mode=0o640),
    folder(b"base/dir/"), file(b"base/dir/inner", b"inner\n"), symlink(b"base/link", b"file"),
    file(b"base/tool", b"#!tool\n", mode=0o4755)))
BASE = {"base": "dir", "base/file": "file:base\n", "base/hard": "same:base/file", "base/dir": "dir",
        "base/dir/inner": "file:inner\n", "base/link": "link:file", "base/tool": "file:#!tool\n"}


def without(tree, *paths):
    return {k: v for k, v in tree.items() if not any(k == p or k.startswith(p + "/") for p in paths)}


class Attack:
    """One hostile input.

    name      also its repository
    image     what the registry serves, or None
    exits     the exit codes that are right; (0,) means that it is harmless
    says      parts of the error message, each of which must be there
    tree      for exit code 0: path -> what is there (tree.py's words), or None
    lower     the same for the tree of the first layer, with --snapshots chain
    modes     flat and chain, or only one where the layers are not the point
    refs      references or options instead of the repository's reference
    stdin     given to -f -
    names     what the error line must name instead of the reference
    rss       most memory in MiB, with the reason where it is more than usual
    gnu_tar   GNU tar makes the same tree of the last layer
    needs     "devices", "mount", "ext4": skipped where the machine has none
    full      only with TORTURE=full
    fsize     bytes that one file may have
    check     a function of the finished run that returns complaints
    """

    def __init__(self, name, img, exits, says=(), tree=None, lower=None, modes=("flat", "chain"), refs=None,
                 stdin=None, names=None, rss=None, gnu_tar=False, needs=None, full=False, fsize=256 * MIB,
                 check=None):
        self.name, self.image = name, img
        self.exits = (exits,) if isinstance(exits, int) else tuple(exits)
        self.says = (says,) if isinstance(says, str) else tuple(says)
        self.tree, self.lower, self.modes, self.refs, self.stdin = tree, lower, modes, refs, stdin
        self.names, self.rss, self.gnu_tar, self.needs, self.full = names, rss, gnu_tar, needs, full
        self.fsize, self.check = fsize, check


class Attacks(list):
    """The list, with a word for each kind of attack."""

    def add(self, name, img, exits, *args, **kwargs):
        if any(a.name == name for a in self):
            raise ValueError("two attacks are called " + name)
        self.append(Attack(name, img, exits, *args, **kwargs))

    def harmless(self, name, *entries, tree, over_base=False, **kwargs):
        """A layer of these entries is accepted and makes this tree."""
        layers = [BASE_LAYER] if over_base else []
        if over_base:
            kwargs.setdefault("lower", BASE)
        self.add(name, image(layers + [tar(*entries)]), 0, tree=tree, **kwargs)

    def refused(self, name, *entries, says, over_base=False, exits=6, **kwargs):
        layers = [BASE_LAYER] if over_base else []
        self.add(name, image(layers + [tar(*entries)]), exits, says, **kwargs)

    def stack(self, name, *layers, exits=0, says=(), **kwargs):
        """Several layers, each a list of entries."""
        self.add(name, image([tar(*x) if isinstance(x, (list, tuple)) else x for x in layers]), exits, says,
                 **kwargs)

    def document(self, name, img, says, exits=6, **kwargs):
        kwargs.setdefault("modes", ("flat",))
        self.add(name, img, exits, says, **kwargs)
