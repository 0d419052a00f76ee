"""What is in the storage directory of the test registry: for the database tests, which have to
know what an image must look like in containerd's databases."""

import hashlib
import json
import os

INDEX = ("application/vnd.oci.image.index.v1+json",
         "application/vnd.docker.distribution.manifest.list.v2+json")


class Storage:
    def __init__(self, path):
        self.top = os.path.join(path, "docker/registry/v2")

    def blob(self, digest):
        algorithm, name = digest.split(":")
        with open(os.path.join(self.top, "blobs", algorithm, name[:2], name, "data"), "rb") as f:
            return f.read()

    def link(self, name):
        repository, tag = name.rsplit(":", 1)
        return os.path.join(self.top, "repositories", repository, "_manifests/tags", tag, "current/link")

    def digest(self, name):
        with open(self.link(name), encoding="ascii") as f:
            return f.read().strip()

    def move(self, name, to):
        """Lets the tag point at the image of another tag of the same repository."""
        digest = self.digest(to)
        with open(self.link(name), "w", encoding="ascii") as f:
            f.write(digest)

    def image(self, name):
        return Image(self, self.digest(name))


class Image:
    """target: the outermost document.  blobs: digest -> (size, media type, labels), of
    everything that is fetched for linux/amd64.  chains: chain IDs, lowest first."""

    def __init__(self, storage, digest):
        self.digest, self.blobs, self.diffs = digest, {}, {}
        raw = storage.blob(digest)
        body = json.loads(raw)
        self.media, self.size = body["mediaType"], len(raw)
        self.documents = [digest]
        self._children(digest, body)
        if self.media in INDEX:
            entry = next(m for m in body["manifests"]
                         if m.get("platform", {}).get("architecture") == "amd64")
            self._add(digest, raw, self.media)
            digest = entry["digest"]
            raw = storage.blob(digest)
            body = json.loads(raw)
            self._children(digest, body)
            self.documents.append(digest)
        self._add(digest, raw, body["mediaType"])
        self.config = body["config"]["digest"]
        raw = storage.blob(self.config)
        self._add(self.config, raw, body["config"]["mediaType"])
        diffs = json.loads(raw)["rootfs"]["diff_ids"]
        self.layers = [layer["digest"] for layer in body["layers"]]
        self.chains = []
        for layer, diff in zip(body["layers"], diffs):
            self._add(layer["digest"], storage.blob(layer["digest"]), layer["mediaType"])
            self.diffs[layer["digest"]] = diff
            below = self.chains[-1:]
            self.chains.append(diff if not below else "sha256:" + hashlib.sha256(
                ("%s %s" % (below[0], diff)).encode()).hexdigest())

    def _add(self, digest, raw, media):
        self.blobs[digest] = (raw, media)

    def _children(self, digest, body):
        children = getattr(self, "children", {})
        children[digest] = [d["digest"] for d in
                            body.get("manifests", []) + body.get("layers", []) + [body.get("config")] if d]
        self.children = children

    def references(self, digest):
        """The labels that containerd's collector needs on a document: key -> digest."""
        labels, body = {}, json.loads(self.blobs[digest][0])
        if "manifests" in body:
            for n, entry in enumerate(body["manifests"]):
                labels["containerd.io/gc.ref.content.m.%d" % n] = entry["digest"]
        else:
            labels["containerd.io/gc.ref.content.config"] = self.config
            for n, layer in enumerate(self.layers):
                labels["containerd.io/gc.ref.content.l.%d" % n] = layer
        return labels

    def labels(self, digest):
        """All labels that k3simg owes the blob, but for the source and the chains of chain mode."""
        if digest in self.documents:
            return self.references(digest)
        if digest == self.config:
            return {"containerd.io/gc.ref.snapshot.native": self.chains[-1]}
        return {"containerd.io/uncompressed": self.diffs[digest]}
