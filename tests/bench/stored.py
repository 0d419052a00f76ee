#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the storage of a registry holds.

  stored.py blobs STORAGE NAME       the files of the layers of an image
  stored.py list STORAGE PATTERN     "digest size" of each layer of the images that match
"""
import fnmatch
import json
import os
import sys

TOP = "docker/registry/v2"


def path_of(storage, digest):
    return os.path.join(storage, TOP, "blobs/sha256", digest[7:9], digest[7:], "data")


def layers(storage, ref):
    """digest -> size, bottom first"""
    name, tag = ref.rsplit(":", 1)
    with open(os.path.join(storage, TOP, "repositories", name, "_manifests/tags", tag, "current/link"),
              encoding="ascii") as f:
        digest = f.read()
    with open(path_of(storage, digest), encoding="utf-8") as f:
        return {d["digest"]: d["size"] for d in json.load(f)["layers"]}


def main(argv):
    if len(argv) != 4 or argv[1] not in ("blobs", "list"):
        sys.exit(__doc__)
    verb, storage, ref = argv[1:]
    if verb == "blobs":
        for digest in layers(storage, ref):
            print(path_of(storage, digest))
        return
    name, pattern = ref.rsplit(":", 1)
    tags = os.listdir(os.path.join(storage, TOP, "repositories", name, "_manifests/tags"))
    found = {}
    for tag in fnmatch.filter(tags, pattern):
        found.update(layers(storage, "%s:%s" % (name, tag)))
    for digest, size in found.items():
        print(digest, size)


main(sys.argv)
