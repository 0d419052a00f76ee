#!/usr/bin/python3
"""storage.py LAYOUT STORAGE: turn an OCI layout into the storage directory of
docker-registry (its "filesystem" driver), without pushing image by image."""

import json
import os
import sys


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def main(layout, storage):
    top = os.path.join(storage, "docker/registry/v2")
    seen = set()

    def blob(digest):
        if digest in seen:
            return
        seen.add(digest)
        algorithm, name = digest.split(":")
        target = os.path.join(top, "blobs", algorithm, name[:2], name, "data")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.link(os.path.join(layout, "blobs", algorithm, name), target)

    with open(os.path.join(layout, "index.json"), encoding="utf-8") as f:
        index = json.load(f)
    for entry in index["manifests"]:
        repository, tag = entry["annotations"]["org.opencontainers.image.ref.name"].rsplit(":", 1)
        repo = os.path.join(top, "repositories", repository)
        digest = entry["digest"]
        name = digest.split(":")[1]
        with open(os.path.join(layout, "blobs/sha256", name), encoding="utf-8") as f:
            manifest = json.load(f)
        for d in [manifest["config"]] + manifest["layers"]:
            blob(d["digest"])
            put(os.path.join(repo, "_layers/sha256", d["digest"].split(":")[1], "link"), d["digest"])
        blob(digest)
        put(os.path.join(repo, "_manifests/revisions/sha256", name, "link"), digest)
        put(os.path.join(repo, "_manifests/tags", tag, "current/link"), digest)
        put(os.path.join(repo, "_manifests/tags", tag, "index/sha256", name, "link"), digest)


main(*sys.argv[1:])
