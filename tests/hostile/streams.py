# SPDX-License-Identifier: Apache-2.0
"""Compressed layers: broken, cut, nested, bombs; and layers that are not what is said."""

import os

from image import DOCKER_LAYER, GZIP, MIB, TAR, ZSTD, Attacks, Layer, digest, image
from raw import (ZSTD_BLOCK, ZSTD_MAGIC, file, gzip_member, header, tar, zstd_block, zstd_frame, zstd_skippable,
                 zstd_zeros)

PLAIN = tar(file(b"x", b"content of a file\n" * 500))
TREE = {"x": "size:9000"}
ZEROS = bytes(MIB)


def streams():
    a = Attacks()

    def gz(name, blob, says=(), exits=6, plain=PLAIN, media=GZIP, **kwargs):
        if exits == 0:
            kwargs.setdefault("tree", TREE)
        a.add("gzip-" + name, image([Layer(plain, blob, media)]), exits, says, **kwargs)

    def zs(name, blob, says=(), exits=6, plain=PLAIN, media=ZSTD, **kwargs):
        if exits == 0:
            kwargs.setdefault("tree", TREE)
        a.add("zstd-" + name, image([Layer(plain, blob, media)]), exits, says, **kwargs)

    good = gzip_member(PLAIN)
    gz("concatenated", gzip_member(PLAIN[:700]) + gzip_member(b"") + gzip_member(PLAIN[700:]), exits=0)
    gz("of-single-bytes", b"".join(gzip_member(PLAIN[i:i + 1], 9) for i in range(len(PLAIN))), exits=0)
    gz("empty-members", good + gzip_member(b"") * 100000, exits=0)
    gz("zeros-behind", good + bytes(100000), exits=0)
    gz("garbage-behind", good + b"garbage", "gzip")
    gz("garbage-behind-zeros", good + bytes(100) + b"\x1f\x8b\x08garbage", "gzip")
    gz("half-member-behind", good + good[:12], "truncated")
    gz("magic-behind", good + b"\x1f", "truncated")
    gz("hidden-second-archive", good + gzip_member(tar(file(b"hidden"))), exits=0, plain=PLAIN + tar(file(b"hidden")))
    gz("checksum-wrong", gzip_member(PLAIN, crc=1), "gzip")
    gz("size-wrong", gzip_member(PLAIN, size=1), "gzip")
    gz("method-unknown", gzip_member(PLAIN, method=9), "gzip")
    gz("reserved-flags", gzip_member(PLAIN, flags=0xe0), "flags")
    gz("block-type-3", gzip_member(PLAIN, body=b"\xff" * 100), "gzip")
    gz("distance-before-start", gzip_member(PLAIN, body=b"\x63\x00\x02\x00\x00\xff\xff\xff"), "gzip")
    gz("stored-length-wrong", gzip_member(PLAIN, body=b"\1\x05\x00\x00\x00hello"), "gzip")
    gz("endless-name", b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (4 * MIB), "truncated")
    gz("long-name-and-comment", gzip_member(PLAIN, flags=0x18, extra=b"\x1b[31m" * 20000 + b"\0" + b"c" * MIB + b"\0"), exits=0)
    gz("extra-field", gzip_member(PLAIN, flags=4, extra=b"\xff\xff" + b"e" * 65535), exits=0)
    gz("extra-field-cut", gzip_member(b"", flags=4, extra=b"\xff\xff", body=b""), "truncated")
    gz("header-checksum-wrong", gzip_member(PLAIN, flags=2, extra=b"\0\0"), "gzip")
    gz("in-gzip", gzip_member(good), plain=good)
    gz("said-but-plain", PLAIN, "said to be gzip")
    gz("said-but-zstd", zstd_frame(PLAIN), "said to be gzip")
    gz("said-but-empty", b"", "said to be gzip")
    gz("said-but-text", b"<html>not a layer</html>", "said to be gzip")
    gz("under-tar", good, media=TAR, plain=good)
    gz("docker-but-plain", PLAIN, exits=0, media=DOCKER_LAYER)
    gz("docker-but-zstd", zstd_frame(PLAIN), exits=0, media=DOCKER_LAYER)
    gz("docker-but-xz", b"\xfd7zXZ\0" + bytes(600), "checksum", media=DOCKER_LAYER)
    gz("docker-but-noise", os.urandom(5000), "checksum", media=DOCKER_LAYER)

    zgood = zstd_frame(PLAIN)
    zs("concatenated", zstd_frame(PLAIN[:700]) + zstd_frame(b"") + zstd_frame(PLAIN[700:]), exits=0)
    zs("skippable-frames", zstd_skippable(b"\x1b[31m") * 50000 + zgood + zstd_skippable(b"x" * MIB), exits=0)
    zs("skippable-beyond", zgood + zstd_skippable(b"x", claim=0xffffffff), "truncated")
    zs("garbage-behind", zgood + b"garbage", "zstd")
    zs("half-frame-behind", zgood + zgood[:9], "truncated")
    zs("window-of-a-gigabyte", zstd_frame(PLAIN, window_log=30), "zstd")
    zs("window-of-a-terabyte", zstd_frame(PLAIN, window_log=40), "zstd")
    zs("window-of-128-mebibytes", zstd_frame(PLAIN, window_log=27), exits=0)
    # The one input whose memory is meant to be large: a window that is used to its end.
    window = zstd_frame(window_log=27, blocks=b"".join(zstd_block(1, ZSTD_BLOCK, b"\0", False) for _ in range(1100)) +
                        zstd_block(0, len(PLAIN), PLAIN, True))
    a.add("zstd-window-used", image([Layer(bytes(1100 * ZSTD_BLOCK) + PLAIN, window, ZSTD)]), 0, tree={}, rss=64 + 130,
          modes=("flat",))
    zs("reserved-bit", zstd_frame(PLAIN, descriptor=8), "zstd")
    zs("dictionary", zstd_frame(PLAIN, descriptor=3, after_window=b"\1\2\3\4"), "zstd")
    zs("block-type-3", zstd_frame(blocks=zstd_block(3, 10, b"x" * 10, True)), "zstd")
    zs("block-beyond-window", zstd_frame(window_log=10, blocks=zstd_block(0, ZSTD_BLOCK, bytes(ZSTD_BLOCK), True)), "zstd")
    zs("content-size-lie", zstd_frame(PLAIN, content_size=5), "zstd")
    zs("content-size-enormous", zstd_frame(PLAIN, content_size=1 << 60), "zstd")
    zs("checksum-wrong", zstd_frame(PLAIN, descriptor=4) + b"\1\2\3\4", "zstd")
    zs("compressed-garbage", zstd_frame(blocks=zstd_block(2, 1000, os.urandom(1000), True)), "zstd")
    zs("in-zstd", zstd_frame(zgood), "checksum", plain=zgood)
    zs("said-but-gzip", good, "said to be zstd")
    zs("said-but-plain", PLAIN, "said to be zstd")
    zs("old-format", b"\x27\xb5\x2f\xfd" + zgood[4:], "said to be zstd")
    zs("magic-only", ZSTD_MAGIC, "truncated")

    # Bombs.  Memory stays as it is for any layer; what lands on the disk is bounded by limits.
    a.add("bomb-gzip-behind-the-archive", image([Layer(PLAIN + bytes(256 * MIB), good + gzip_member(ZEROS, 9) * 256)]), 0,
          tree=TREE, modes=("flat",))
    a.add("bomb-zstd-behind-the-archive", image([Layer(PLAIN, zgood + zstd_zeros(16 << 30), ZSTD)]), 6, "times",
          modes=("flat",))
    a.add("bomb-zstd-file", image([Layer(PLAIN, zstd_frame(header(b"x", 100 << 30)) + zstd_zeros(100 << 30), ZSTD)]), 8,
          "No space", modes=("flat",), needs="mount", fsize=0)
    a.add("bomb-gzip-file", image([Layer(PLAIN, gzip_member(header(b"x", 8 << 30)) + gzip_member(ZEROS, 9) * 200)]), 8,
          "No space", modes=("flat",), needs="mount", fsize=0)
    a.add("bomb-many-small-files", image([Layer(tar(*(file(b"d%d/f%d" % (i % 50, i), b"z" * 4000) for i in range(20000))))]),
          8, "No space", needs="mount", fsize=0)
    a.add("bomb-file-claimed", image([Layer(header(b"x", 200 << 30))]), 6, "files of more than")
    a.add("bomb-layer-of-zeros", image([Layer(bytes(64 * MIB))]), 0, tree={}, modes=("flat",))
    return a


def layers():
    """Layers that contradict their descriptors or diff IDs, and each other."""
    a = Attacks()
    one, two = tar(file(b"one")), tar(file(b"two"))

    def desc(i, **fields):
        return lambda m: m["layers"][i].update(fields)

    def diffs(edit):
        def change(c):
            c["rootfs"]["diff_ids"] = edit(c["rootfs"]["diff_ids"])
        return change

    a.document("diff-id-wrong", image([one], config=diffs(lambda d: [digest(b"else")])), "image config wants")
    a.document("diff-ids-swapped", image([one, two], config=diffs(lambda d: d[::-1])), "image config wants")
    a.document("diff-ids-more", image([one], config=diffs(lambda d: d * 2)), "2 diff IDs for 1 layers")
    a.document("diff-ids-fewer", image([one, two], config=diffs(lambda d: d[:1])), "1 diff IDs for 2 layers")
    a.document("diff-ids-none", image([one], config=diffs(lambda d: [])), "0 diff IDs for 1 layers")
    a.document("diff-ids-null", image([one], config=diffs(lambda d: None)), "0 diff IDs for 1 layers")
    a.document("diff-ids-of-blobs", image([one], config=diffs(lambda d: [digest(Layer(one).blob)])), "image config wants")
    a.document("diff-ids-thousands", image([one], config=diffs(lambda d: d * 50000)), "diff IDs for 1 layers")
    a.document("diff-id-number", image([one], config=diffs(lambda d: [5])), "diff_ids[0] is not a string")
    a.document("diff-id-short", image([one], config=diffs(lambda d: ["sha256:12"])), "diff_ids[0]")
    a.document("diff-id-of-sha384", image([one], config=diffs(lambda d: [digest(one, "sha384")])), "sha384")
    a.document("diff-id-of-sha512", image([one], config=diffs(lambda d: [digest(one, "sha512")])), (), 0, tree={"one": "file:evil\n"})
    a.document("layers-none", image([]), (), (0, 6))
    a.document("layers-null", image([], manifest=lambda m: m.update(layers=None)), (), (0, 6))
    a.document("layers-1025", image([one], manifest=lambda m: m.update(layers=m["layers"] * 1025),
                                    config=diffs(lambda d: d * 1025)), "1025 layers")
    a.document("layers-20000", image([one], manifest=lambda m: m.update(layers=m["layers"] * 20000)), ("limit",))
    a.document("layers-200-the-same", image([one], manifest=lambda m: m.update(layers=m["layers"] * 200),
                                            config=diffs(lambda d: d * 200)), (), 0, tree={"one": "file:evil\n"})
    a.document("layers-1024-the-same", image([one], manifest=lambda m: m.update(layers=m["layers"] * 1024),
                                             config=diffs(lambda d: d * 1024)), (), 0, tree={"one": "file:evil\n"}, full=True)
    a.document("layer-size-smaller", image([one], manifest=desc(0, size=10)), exits=(5, 6), says=())
    a.document("layer-size-larger", image([one], manifest=desc(0, size=100000)), exits=(5, 6), says=())
    a.document("layer-size-zero", image([one], manifest=desc(0, size=0)), exits=(5, 6), says=())
    a.document("layer-size-enormous", image([one], manifest=desc(0, size=(1 << 63) - 1)), exits=(5, 6, 8), says=())
    a.document("layer-size-beyond", image([one], manifest=desc(0, size=1 << 63)), "JSON")
    a.document("layer-size-negative", image([one], manifest=desc(0, size=-1)), "layers[0].size")
    a.document("layer-size-fraction", image([one], manifest=desc(0, size=1.5)), "layers[0].size")
    a.document("layer-size-text", image([one], manifest=desc(0, size="10")), "layers[0].size")
    a.document("layer-size-null", image([one], manifest=desc(0, size=None)), "layers[0].size is missing")
    a.document("layer-digest-wrong", image([one], manifest=desc(0, digest=digest(b"else"))), says=(), exits=3)
    a.document("layer-digest-of-other", image([one, two], manifest=lambda m: m["layers"][0].update(m["layers"][1])),
               "image config wants")
    a.document("layer-digest-two-sizes", image([one], manifest=lambda m: m["layers"].append({**m["layers"][0], "size": 3}),
                                               config=diffs(lambda d: d * 2)), exits=(5, 6), says=())
    a.document("layer-digest-two-media-types", image([one], manifest=lambda m: m["layers"].append(
        {**m["layers"][0], "mediaType": TAR}), config=diffs(lambda d: [d[0], d[0]])), exits=(6,), says=())
    a.document("layer-that-is-the-config", image([one], manifest=lambda m: m["layers"].__setitem__(
        0, {**m["config"], "mediaType": GZIP})), "said to be gzip")
    a.document("config-that-is-the-layer", image([one], manifest=lambda m: m.update(
        config={**m["layers"][0], "mediaType": m["config"]["mediaType"]})), "JSON")
    a.document("layer-type-encrypted", image([one], manifest=desc(0, mediaType=GZIP + "+encrypted")), "encrypted")
    a.document("layer-type-of-a-manifest", image([one], manifest=desc(0, mediaType="application/vnd.oci.image.manifest.v1+json")),
               "not a layer")
    a.document("layer-type-of-a-config", image([one], manifest=desc(0, mediaType="application/vnd.oci.image.config.v1+json")),
               "not a layer")
    a.document("layer-type-escape", image([one], manifest=desc(0, mediaType="\x1b[31m\x9b31m\u202e")), "not a layer")
    a.document("layer-type-of-300-bytes", image([one], manifest=desc(0, mediaType="x" * 300)), "255")
    a.document("layer-type-missing", image([one], manifest=desc(0, mediaType=None)), "mediaType is missing")
    a.document("layer-type-number", image([one], manifest=desc(0, mediaType=7)), "mediaType is not a string")
    a.document("layer-type-parameters", image([one], manifest=desc(0, mediaType=GZIP + ";\x1b[31m")), (), 0,
               tree={"one": "file:evil\n"}, check=lambda run: run.database_complaints())
    a.document("layer-type-upper-case", image([one], manifest=desc(0, mediaType=GZIP.upper())), (), (0, 6))
    a.document("layer-urls-elsewhere", image([one], manifest=desc(0, urls=["file:///etc/passwd", "http://127.0.0.1:1/x"])), (), 0,
               tree={"one": "file:evil\n"})
    a.document("layer-data-inline", image([one], manifest=desc(0, data="QUFB" * 1000)), (), 0, tree={"one": "file:evil\n"})
    return a


def truncated(full):
    """Layers and documents cut at many places; the unit tests cut them at every byte."""
    a = Attacks()
    step = int(os.environ.get("CUT_STEP", "1"))
    small = tar(file(b"a", b"text\n" * 30), file(b"d/" + b"n" * 120, b"y"))[:7 * 512]

    def places(size, number=6):
        return range(0, size, step) if full else sorted({size * i // number for i in range(number)} | {1, size - 1})

    for what, blob, media in (("tar", small, TAR), ("gzip", gzip_member(small), GZIP), ("zstd", zstd_frame(small), ZSTD)):
        for at in places(len(blob)):
            a.add("truncated-%s-at-%d" % (what, at), image([Layer(small, blob[:at], media)]), 6, modes=("flat",))
    whole = image([small])
    text = whole.tag[1]
    for at in places(len(text)):
        a.document("truncated-manifest-at-%d" % at, image([small], manifest=lambda m, at=at: text[:at]), "JSON")
    config = next(v for v in whole.blobs.values() if v[:1] == b"{")
    for at in places(len(config)):
        a.document("truncated-config-at-%d" % at, image([small], config=lambda c, at=at: config[:at]), "JSON")
    return a
