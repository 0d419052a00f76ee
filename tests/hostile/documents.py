# SPDX-License-Identifier: Apache-2.0
"""JSON that is none, bombs, wrong types; digests, platforms, media types, indexes."""

import json

from image import (CONFIG, DOCKER, INDEX, MANIFEST, MIB, OCI, Attacks, Image, descriptor, digest, image, index)
from raw import file, tar

ONE = tar(file(b"one"))
TREE = {"one": "file:evil\n"}
ESCAPE = "\x1b[31mred\x9b0m\x07\u202e"


def text_of(edit):
    """A manifest or config whose text edit() changes."""
    return lambda value: edit(json.dumps(value).encode())


def syntax():
    """The same for a manifest and a config."""
    a = Attacks()
    deep = 200000
    cases = [
        ("empty", lambda t: b"", ()), ("blank", lambda t: b" \n" * 10, "JSON"), ("null", lambda t: b"null", ()),
        ("array", lambda t: b"[]", ()), ("number", lambda t: b"42", ()), ("string", lambda t: b'"text"', ()),
        ("html", lambda t: b"<html>\x1b[31mlogin</html>", "JSON"), ("bom", lambda t: b"\xef\xbb\xbf" + t, "JSON"),
        ("utf16", lambda t: t.decode().encode("utf-16"), "JSON"), ("two-values", lambda t: t + t, "JSON"),
        ("garbage-behind", lambda t: t + b"\x1b[31m", "JSON"), ("nul-behind", lambda t: t + b"\0", "JSON"),
        ("nul-inside", lambda t: t.replace(b'"', b'\0"', 1), "JSON"),
        ("nul-in-a-string", lambda t: t[:-1] + b', "x": "a\\u0000b"}', "JSON"),
        ("raw-control-in-a-string", lambda t: t[:-1] + b', "x": "a\x1b[31mb"}', "JSON"),
        ("not-utf8", lambda t: t[:-1] + b', "x": "\xff\xfe\x80"}', "JSON"),
        ("overlong-utf8", lambda t: t[:-1] + b', "x": "\xc0\xaf\xe0\x80\xaf"}', "JSON"),
        ("utf8-surrogate", lambda t: t[:-1] + b', "x": "\xed\xa0\x80"}', "JSON"),
        ("lone-surrogate", lambda t: t[:-1] + b', "x": "\\ud800"}', "JSON"),
        ("escape-at-the-error", lambda t: b'{"x": \x1b[31m\x9b\xff}', "JSON"),
        ("comment", lambda t: b"// comment\n" + t, "JSON"), ("trailing-comma", lambda t: t[:-1] + b",}", "JSON"),
        ("single-quotes", lambda t: t.replace(b'"', b"'"), "JSON"), ("nan", lambda t: t[:-1] + b', "x": NaN}', "JSON"),
        ("number-overflow", lambda t: t[:-1] + b', "x": 1e999}', "JSON"),
        ("integer-overflow", lambda t: t[:-1] + b', "x": 123456789012345678901234567890}', "JSON"),
        ("integer-endless", lambda t: t[:-1] + b', "x": ' + b"9" * MIB + b"}", "JSON"),
        ("depth-101", lambda t: t[:-1] + b', "x": ' + b"[" * 101 + b"]" * 101 + b"}", "nested deeper"),
        ("depth-of-arrays", lambda t: b"[" * deep, "nested deeper"),
        ("depth-of-objects", lambda t: b'{"a":' * deep, "nested deeper"),
        ("depth-hidden-in-quotes", lambda t: b'{"a": "\\"", "b": ' + b"[" * deep, "nested deeper"),
        ("values-200000", lambda t: t[:-1] + b', "x": [' + b"1," * 200000 + b"1]}", "values"),
        ("objects-200000", lambda t: t[:-1] + b', "x": [' + b"{}," * 200000 + b"{}]}", "values"),
        ("keys-90000", lambda t: t[:-1] + b"".join(b', "k%d": 0' % i for i in range(90000)) + b"}", None),
        ("size-beyond-the-limit", lambda t: t[:-1] + b', "x": "' + b"x" * (4 * MIB) + b'"}', "limit"),
        ("size-of-20-megabytes", lambda t: t + b" " * (20 * MIB), "limit"),
        ("string-of-3-megabytes", lambda t: t[:-1] + b', "x": "' + b"\\u001b" * (MIB // 2) + b'"}', None),
        ("duplicate-key", lambda t: t[:-1] + b', "x": 1, "x": 2}', "duplicate"),
        ("duplicate-key-escaped", lambda t: t[:-1] + b', "x": 1, "\\u0078": 2}', "duplicate"),
        ("duplicate-key-nested", lambda t: t[:-1] + b', "x": {"y": 1, "y": 2}}', "duplicate"),
    ]
    for name, edit, says in cases:
        for what in ("manifest", "config"):
            img = image([ONE], **{what: text_of(edit)})
            if says is None:
                a.document("%s-%s" % (what, name), img, (), 0, tree=TREE)
            else:
                a.document("%s-%s" % (what, name), img, says)
    a.document("manifest-duplicate-layers", image([ONE], manifest=text_of(lambda t: t[:-1] + b', "layers": []}')), "duplicate")
    a.document("config-duplicate-rootfs", image([ONE], config=text_of(
        lambda t: t[:-1] + b', "rootfs": {"type": "layers", "diff_ids": []}}')), "duplicate")
    return a


def members():
    a = Attacks()

    def m(name, says, edit, exits=6, **kwargs):
        a.document("manifest-" + name, image([ONE], manifest=edit), says, exits, **kwargs)

    def c(name, says, edit, exits=6, **kwargs):
        a.document("config-" + name, image([ONE], config=edit), says, exits, **kwargs)

    for what, value in (("object", {}), ("text", "text"), ("number", 5), ("true", True), ("arrays", [[]]),
                        ("texts", ["x"]), ("nulls", [None]), ("numbers", [5])):
        m("layers-as-" + what, "layers", lambda d, v=value: d.update(layers=v))
    m("layers-missing", "layers is missing", lambda d: d.pop("layers") and None)
    for what, value in (("array", []), ("text", "text"), ("number", 5), ("null", None), ("empty-object", {}),
                        ("half-descriptor", {"digest": "x"})):
        m("config-as-" + what, "config", lambda d, v=value: d.update(config=v))
    m("schema-version-1", "schema 1", lambda d: d.update(schemaVersion=1))
    m("schema-version-3", "schemaVersion 3", lambda d: d.update(schemaVersion=3))
    m("schema-version-text", "schemaVersion", lambda d: d.update(schemaVersion="2"))
    m("schema-version-negative", "schemaVersion", lambda d: d.update(schemaVersion=-2))
    m("schema-1-members", "schema 1", lambda d: d.update(fsLayers=[], history=[], name="x"))
    m("with-index-members", "index", lambda d: d.update(manifests=[]))
    m("artifact", "artifact", lambda d: (d["config"].update(mediaType="application/vnd.example"), d.update(artifactType="x" + ESCAPE))[2:])
    m("config-type-escape", "artifact", lambda d: d["config"].update(mediaType=ESCAPE))
    m("config-type-of-an-index", "artifact", lambda d: d["config"].update(mediaType=INDEX))
    m("config-size-lie", (), lambda d: d["config"].update(size=d["config"]["size"] + 1), exits=(5, 6))
    m("config-size-small", (), lambda d: d["config"].update(size=3), exits=(5, 6))
    m("config-size-enormous", "limit", lambda d: d["config"].update(size=1 << 40))
    m("config-missing-blob", (), lambda d: d["config"].update(digest=digest(b"nothing")), exits=3)
    m("annotations-50000", (), lambda d: d.update(annotations={"k%d" % i: "v" * 20 for i in range(50000)}), 0, tree=TREE)
    m("annotations-of-a-megabyte", (), lambda d: d.update(annotations={"k": "\x1b" * 200000}), 0, tree=TREE)
    m("annotations-as-array", (), lambda d: d.update(annotations=[1, 2]), (0, 6))
    m("subject-elsewhere", (), lambda d: d.update(subject=descriptor(b"x", MANIFEST)), 0, tree=TREE)

    for where in ("layers", "config"):
        for name, value in (
                ("empty", ""), ("no-colon", "sha256"), ("no-hex", "sha256:"), ("short", "sha256:" + "a" * 63),
                ("long", "sha256:" + "a" * 65), ("of-sha512-length", "sha256:" + "a" * 128), ("upper-case", "sha256:" + "A" * 64),
                ("upper-algorithm", "SHA256:" + "a" * 64), ("not-hex", "sha256:" + "g" * 64), ("md5", "md5:" + "a" * 32),
                ("sha384", "sha384:" + "a" * 96), ("traversal", "sha256:../../../../etc/passwd"),
                ("traversal-of-length", "sha256:" + "../" * 21 + "x"), ("algorithm-traversal", "../sha256:" + "a" * 64),
                ("escape", "sha256:" + ESCAPE), ("newline", "sha256:" + "a" * 63 + "\n"), ("blank", " sha256:" + "a" * 64),
                ("megabyte", "sha256:" + "a" * MIB), ("number", 5), ("object", {}), ("null", None)):
            def edit(d, where=where, value=value):
                (d["layers"][0] if where == "layers" else d["config"])["digest"] = value
            m("%s-digest-%s" % (where, name), where, edit)
    a.document("manifest-layer-digest-sha512", image([ONE], manifest=lambda d: d["layers"][0].update(
        digest="sha512:" + "a" * 128)), says=(), exits=3)

    c("rootfs-missing", "rootfs is missing", lambda d: d.pop("rootfs") and None)
    for what, value in (("array", []), ("text", "text"), ("number", 5)):
        c("rootfs-as-" + what, "rootfs is not an object", lambda d, v=value: d.update(rootfs=v))
    c("rootfs-type-escape", "rootfs.type", lambda d: d["rootfs"].update(type=ESCAPE))
    c("rootfs-type-missing", "rootfs.type", lambda d: d["rootfs"].pop("type") and None)
    c("rootfs-type-number", "rootfs.type", lambda d: d["rootfs"].update(type=1))
    c("diff-ids-as-object", "diff_ids", lambda d: d["rootfs"].update(diff_ids={}))
    c("os-escape", "no image for platform", lambda d: d.update(os="evil" + ESCAPE))
    c("architecture-escape", "no image for platform", lambda d: d.update(architecture=ESCAPE))
    c("architecture-of-a-kilobyte", "architecture", lambda d: d.update(architecture="x" * 1000))
    c("architecture-number", "architecture", lambda d: d.update(architecture=64))
    c("variant-array", "variant", lambda d: d.update(variant=[]))
    c("platform-empty", (), lambda d: d.update(os="", architecture=""), 0, tree=TREE)
    c("env-enormous", (), lambda d: d["config"].update(Env=["A=" + "\x1b[31m" * 100000, "B=" + "b" * MIB]), 0, tree=TREE)
    c("labels-40000", (), lambda d: d["config"].update(Labels={"l%d" % i: "v" for i in range(40000)}), 0, tree=TREE)
    c("history-30000", (), lambda d: d.update(history=[{"created_by": "x"}] * 30000), 0, tree=TREE)
    c("user-escape", (), lambda d: d["config"].update(User=ESCAPE, WorkingDir="../../.."), 0, tree=TREE)
    c("config-as-array", (), lambda d: d.update(config=[1]), (0, 6))
    c("claims-to-be-a-manifest", (), lambda d: d.update(mediaType=MANIFEST, layers=[]), (0, 6))
    c("created-garbage", (), lambda d: d.update(created=ESCAPE), 0, tree=TREE)
    return a


def media_types():
    """Records, headers and contents that contradict each other."""
    a = Attacks()
    entry_of = {"platform": {"os": "linux", "architecture": "amd64"}}

    def typed(name, says, content_type, exits=6, **kwargs):
        a.document("content-type-" + name, image([ONE], content_type=content_type), says, exits, **kwargs)

    typed("index", (), INDEX, (5, 6))
    typed("docker-list", (), DOCKER + "distribution.manifest.list.v2+json", (5, 6))
    typed("docker-manifest", (), DOCKER + "distribution.manifest.v2+json", (5, 6))
    typed("config", (), CONFIG, (5, 6))
    typed("layer", (), OCI + "layer.v1.tar+gzip", (5, 6))
    typed("schema-1", (), DOCKER + "distribution.manifest.v1+prettyjws", (5, 6))
    typed("html", (), "text/html", (5, 6))
    typed("unknown", (), "application/x-evil", (5, 6))
    typed("json", (), "application/json", 0, tree=TREE)
    typed("octet-stream", (), "application/octet-stream", 0, tree=TREE)
    typed("upper-case", (), MANIFEST.upper(), 0, tree=TREE, check=lambda run: run.database_complaints())
    typed("parameters", (), MANIFEST + "; charset=utf-8; x=\"\x9b31m\"", 0, tree=TREE, check=lambda run: run.database_complaints())
    typed("of-10-kilobytes", (), MANIFEST + ";" + "x" * 10000, (0, 5, 6))
    typed("none", (), None, 0, tree=TREE)
    for name, value in (("parameters", MANIFEST + ";\x1b[31m" + ESCAPE), ("blanks", "  " + MANIFEST + " \x1b"),
                        ("upper-case", MANIFEST.upper())):
        for said in (MANIFEST, "application/json"):
            a.document("media-type-%s-%s" % (name, "vague" if "json" == said[-4:] and "oci" not in said else "said"),
                       image([ONE], manifest=lambda d, v=value: d.update(mediaType=v), content_type=said),
                       (), (0, 5, 6), check=lambda run: run.database_complaints())
    for name, value in (("escape", ESCAPE), ("index", INDEX), ("config", CONFIG), ("number", 5), ("array", []),
                        ("of-a-megabyte", "x" * MIB)):
        for said in (MANIFEST, "application/json"):
            a.document("media-type-%s-%s" % (name, "vague" if said == "application/json" else "said"),
                       image([ONE], manifest=lambda d, v=value: d.update(mediaType=v), content_type=said), (), (5, 6))
    a.document("media-type-missing", image([ONE], manifest=lambda d: d.pop("mediaType") and None), (), 0, tree=TREE)
    a.document("media-type-missing-and-vague", image([ONE], manifest=lambda d: d.pop("mediaType") and None,
                                                     content_type="text/plain"), (), 0, tree=TREE)

    def record_says(name, media, says, exits=6, edit=None, **kwargs):
        """An index entry that calls a manifest something else."""
        img = image([ONE])
        body = img.tag[1]
        entry = {**descriptor(body, media), **entry_of}
        a.document("record-" + name, index([entry], img, edit), says, exits, **kwargs)

    record_says("manifest-as-index", INDEX, (), (5, 6))
    record_says("manifest-as-docker-list", DOCKER + "distribution.manifest.list.v2+json", (), (5, 6))
    record_says("manifest-as-docker-manifest", DOCKER + "distribution.manifest.v2+json", (), (0, 5, 6))
    record_says("manifest-as-config", CONFIG, "no image for platform")
    record_says("manifest-as-layer", OCI + "layer.v1.tar", "no image for platform")
    record_says("manifest-as-schema-1", DOCKER + "distribution.manifest.v1+json", "schema 1")
    record_says("manifest-as-escape", ESCAPE, "no image for platform")
    record_says("manifest-and-layers", MANIFEST, "members of a manifest", edit=lambda d: d.update(layers=[], config={}))
    for kind, claim in (("index-as-manifest", MANIFEST), ("index-as-docker-manifest", DOCKER + "distribution.manifest.v2+json")):
        img = image([ONE])
        inner = index([{**descriptor(img.tag[1], MANIFEST), **entry_of}], img)
        a.document("record-" + kind, index([{**descriptor(inner.tag[1], claim), **entry_of}], inner), (), (5, 6))
    return a


def indexes():
    a = Attacks()
    here = {"platform": {"os": "linux", "architecture": "amd64"}}

    def nested(depth, platform=here):
        img = image([ONE])
        entry = {**descriptor(img.tag[1], MANIFEST), **here}
        for _ in range(depth):
            img = index([entry], img)
            entry = {**descriptor(img.tag[1], INDEX), **platform}
        return img

    def entries(name, says, edit, exits=6, **kwargs):
        img = image([ONE])
        value = {**descriptor(img.tag[1], MANIFEST), **here}
        a.document("index-" + name, index(edit(value), img), says, exits, **kwargs)

    a.document("index-depth-4", nested(4), (), 0, tree=TREE)
    a.document("index-depth-5", nested(5), "indexes inside one another")
    a.document("index-depth-50", nested(50), "indexes inside one another")
    a.document("index-depth-50-no-platform", nested(50, {}), "indexes inside one another")

    loop = Image()
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": INDEX, "digest": digest(b"loop"), "size": 200, **here}]}).encode()
    loop.tag = (INDEX, body)
    loop.wire = lambda h, kind, what: kind == "manifests" and (h.answer(200, body, [("Content-Type", INDEX)]), True)[1]
    a.document("index-loop", loop, (), (5, 6))
    rightsize = Image()
    size = len(body)
    body2 = body.replace(b'"size": 200', b'"size": %d' % size)
    rightsize.tag = (INDEX, body2)
    rightsize.wire = lambda h, kind, what: kind == "manifests" and (h.answer(200, body2, [("Content-Type", INDEX)]), True)[1]
    a.document("index-loop-of-the-right-size", rightsize, (), (5, 6))

    # An index whose entries tell no platform: each has to be looked at, but not for ever.
    many = image([ONE])
    refs = []
    for i in range(100):
        other = image([ONE], config=lambda c, i=i: c.update(architecture="s390x", created="%d" % i))
        many.documents.update(other.documents)
        many.blobs.update(other.blobs)
        refs.append(descriptor(other.tag[1], MANIFEST))
    a.document("index-100-without-platform", index(refs, many), "documents")
    entries("empty", "no image for platform", lambda v: [])
    entries("null", "no image for platform", lambda v: None)
    entries("as-object", "manifests", lambda v: {"0": v})
    entries("of-numbers", "manifests[0]", lambda v: [1, 2])
    entries("of-10001", ("limit",), lambda v: [v] * 10001)
    entries("of-10000-foreign", "no image for platform",
            lambda v: [{**v, "platform": {"os": "linux", "architecture": "a%d" % i}} for i in range(9000)])
    entries("same-entry-often", (), lambda v: [v] * 5000, 0, tree=TREE)
    entries("foreign-escape", "no image for platform", lambda v: [{**v, "platform": {"os": ESCAPE, "architecture": ESCAPE}}])
    entries("platform-of-a-kilobyte", (), lambda v: [{**v, "platform": {"os": "linux", "architecture": "x" * 1000}}])
    entries("platform-as-text", "platform", lambda v: [{**v, "platform": "linux/amd64"}])
    entries("platform-numbers", "platform", lambda v: [{**v, "platform": {"os": 1, "architecture": 2}}])
    entries("os-features", "os.features", lambda v: [{**v, "platform": {**v["platform"], "os.features": ["evil" + ESCAPE]}}])
    entries("annotations-as-text", "annotations", lambda v: [{**v, "annotations": "x"}])
    entries("annotations-thousands", (), lambda v: [{**v, "annotations": {"k%d" % i: ESCAPE for i in range(30000)}}], 0, tree=TREE)
    entries("attestation-only", "no image for platform",
            lambda v: [{**v, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}])
    entries("sha384-digest", "sha384", lambda v: [{**v, "digest": "sha384:" + "a" * 96}])
    entries("digest-escape", "digest", lambda v: [{**v, "digest": "sha256:" + ESCAPE}])
    entries("size-lie", (), lambda v: [{**v, "size": v["size"] - 1}], (5, 6))
    entries("size-enormous", "limit", lambda v: [{**v, "size": 1 << 50}])
    entries("missing-manifest", (), lambda v: [{**v, "digest": digest(b"x")}], 3)
    entries("urls", (), lambda v: [{**v, "urls": ["http://127.0.0.1:1/", "file:///etc/passwd"]}], 0, tree=TREE)
    return a
