# SPDX-License-Identifier: Apache-2.0
"""Whiteouts, devices, modes, owners, times, extended attributes, sparse maps and broken headers."""

from image import BASE, BASE_LAYER, MIB, Attacks, Layer, image, without
from raw import (BLOCK, END, base256, device, entry, fifo, file, folder, gnu_long, hardlink, header, octal, pad, pax,
                 record, sparse_old, symlink, tar)

EVIL = "file:evil\n"


def whiteouts(precious, unique):
    a = Attacks()
    inside = precious[1:].decode()

    for what, name in (("nothing", b".wh."), ("dot", b".wh.."), ("dotdot", b".wh...")):
        a.refused("whiteout-called-" + what, file(name), says="invalid whiteout")
        a.refused("whiteout-called-%s-below" % what, file(b"a/" + name), says="invalid whiteout")
    a.harmless("whiteout-of-nothing", file(b".wh.nothing"), file(b"a/.wh.nothing"), tree={"a": "dir"})
    a.harmless("whiteout-of-own-file", file(b"x"), file(b".wh.x"), tree={})
    a.harmless("whiteout-then-file", file(b".wh.x"), file(b"x"), tree={"x": EVIL})
    a.harmless("whiteout-with-payload", file(b".wh.x", b"z" * MIB), file(b"y"), tree={"y": EVIL})
    a.harmless("whiteout-as-directory", folder(b".wh.d/"), file(b".wh.d/x"), tree={".wh.d/x": EVIL})
    a.harmless("whiteout-as-symlink", file(b"x"), symlink(b".wh.x", precious), tree={})
    a.harmless("whiteout-as-hard-link", file(b"x"), hardlink(b".wh.x", b"missing"), tree={})
    a.harmless("whiteout-as-fifo", file(b"x"), fifo(b".wh.x"), tree={})
    a.harmless("whiteout-of-whiteout", file(b".wh..wh.x"), tree={})
    a.harmless("whiteout-aufs-names", folder(b".wh..wh.plnk/"), file(b".wh..wh.aufs"), file(b"x"), tree={"x": EVIL})
    a.harmless("whiteout-of-255-bytes", file(b"n" * 255), file(b".wh." + b"n" * 255), tree={})
    a.refused("whiteout-of-256-bytes", file(b".wh." + b"n" * 256), says="too long")
    a.harmless("whiteout-dotdot", file(b"../.wh.x"), file(b"a/../../.wh..wh..opq"), tree={})
    a.harmless("whiteout-absolute", file(precious + b"/.wh.file"), tree={inside: "dir"})
    a.harmless("whiteout-through-symlink", symlink(b"l", precious), file(b"l/.wh.file"),
               tree={"l": "link:" + precious.decode(), inside: "dir"})
    a.harmless("whiteout-of-symlink", symlink(b"l", precious), file(b".wh.l"), tree={})
    a.harmless("whiteout-escape-in-name", file(b"\x1b[31m"), file(b".wh.\x1b[31m"), tree={})
    a.refused("whiteout-below-file", file(b"f"), file(b"f/.wh.x"), says="not a directory")
    a.refused("opaque-below-file", file(b"f"), file(b"f/.wh..wh..opq"), says="not a directory")
    a.harmless("opaque-root", file(b"x"), file(b".wh..wh..opq"), tree={"x": EVIL})
    a.harmless("opaque-as-directory", file(b"d/x"), folder(b"d/.wh..wh..opq/"), tree={"d/x": EVIL})
    a.harmless("opaque-through-symlink", symlink(b"l", precious), file(b"l/.wh..wh..opq"),
               tree={"l": "link:" + precious.decode(), inside: "dir"})
    # containerd counts only what has an entry as the layer's own: x comes without its parent.
    a.harmless("opaque-removes-implied-parents", file(b"d/e/x"), file(b"d/.wh..wh..opq"), tree={"d": "dir"})
    a.harmless("opaque-often", *(file(b"d/%d" % i) for i in range(100)), *(file(b"d/.wh..wh..opq") for _ in range(100)),
               tree={"d/%d" % i: EVIL for i in range(100)})

    lower = {"lower": BASE}
    for what, where, left in (("root", b"", {}), ("directory", b"base/", {"base": "dir"}),
                              ("directory-below", b"base/dir/", without(BASE, "base/dir/inner")),
                              ("dotdot", b"./../", {}), ("directory-dotdot", b"base/../", {})):
        a.stack("lower-opaque-at-" + what, BASE_LAYER,
                [file(where + b".wh..wh..opq")], tree=left, **lower)
    a.stack("lower-opaque-after-own-files", BASE_LAYER, [file(b"base/own"), file(b"base/.wh..wh..opq")],
            tree={"base/own": EVIL}, **lower)
    a.stack("lower-opaque-keeps-rewritten", BASE_LAYER, [file(b"base/file"), file(b"base/.wh..wh..opq")],
            tree={"base/file": EVIL}, **lower)
    a.stack("lower-whiteout-of-directory", BASE_LAYER, [file(b".wh.base")], tree={}, **lower)
    a.stack("lower-whiteout-then-child", BASE_LAYER, [file(b".wh.base"), file(b"base/new")], tree={"base/new": EVIL}, **lower)
    a.stack("lower-child-then-whiteout", BASE_LAYER, [file(b"base/new"), file(b".wh.base")], tree={}, **lower)
    a.stack("lower-whiteout-of-one-hard-link", BASE_LAYER, [file(b"base/.wh.file")],
            tree={**without(BASE, "base/file"), "base/hard": "file:base\n"}, **lower)
    a.stack("lower-whiteout-and-symlink-swap", BASE_LAYER, [file(b".wh.base"), symlink(b"base", precious),
                                                            file(b"base/.wh.file"), file(b"base/.wh..wh..opq")],
            tree={"base": "link:" + precious.decode(), inside: "dir"}, **lower)
    a.stack("lower-opaque-and-symlink-swap", BASE_LAYER, [symlink(b"base/dir", precious), file(b"base/.wh..wh..opq"),
                                                          file(b"base/dir/file")],
            tree={"base/dir": "link:" + precious.decode(), inside + "/file": EVIL}, **lower)
    a.stack("lower-whiteout-twice", BASE_LAYER, [file(b"base/.wh.file"), file(b"base/.wh.file")],
            [file(b"base/.wh.file")], tree={**without(BASE, "base/file"), "base/hard": "file:base\n"}, **lower)
    a.stack("lower-planted-whiteout-name", [file(b".wh.d/x")], [file(b"y")], tree={".wh.d/x": EVIL, "y": EVIL})
    return a


def kinds(precious, unique):
    """Devices, fifos, modes, owners, times, extended attributes."""
    a = Attacks()
    dev = {"needs": "devices"}

    a.harmless("device-over-file", file(b"n"), device(b"n", b"3", 1, 3, mode=0o666), tree={"n": "char:1:3"}, gnu_tar=True, **dev)
    a.harmless("device-over-directory", file(b"n/x"), device(b"n", b"4", 7, 0), tree={"n": "block:7:0"}, **dev)
    a.harmless("device-over-symlink", symlink(b"n", precious + b"/file"), device(b"n", b"3", 1, 3), tree={"n": "char:1:3"},
               gnu_tar=True, **dev)
    a.harmless("file-over-device", device(b"n", b"3", 1, 8), file(b"n"), tree={"n": EVIL}, gnu_tar=True, **dev)
    a.harmless("hard-link-to-device", device(b"n", b"3", 1, 3), hardlink(b"h", b"n", mode=0o666, uid=4),
               tree={"n": ("char:1:3", {"uid": 4, "mode": 0o666}), "h": "same:n"}, **dev)
    a.harmless("device-with-payload", entry(b"n", b"", kind=b"3", dev=(1, 3), size=1 << 30), file(b"x"),
               tree={"n": "char:1:3", "x": EVIL}, **dev)
    a.stack("lower-device-written", [device(b"n", b"3", 1, 3), device(b"m", b"4", 7, 0)], [file(b"n"), file(b"m")],
            tree={"n": EVIL, "m": EVIL}, lower={"n": "char:1:3", "m": "block:7:0"}, **dev)
    a.refused("device-as-parent", device(b"n", b"3", 1, 3), file(b"n/x"), says="not a directory", **dev)
    a.refused("device-number-beyond", header(b"n", kind=b"3", raw=[(329, base256(1 << 33, 8))]), says="device number")
    a.refused("device-number-negative", header(b"n", kind=b"3", raw=[(329, base256(-1, 8))]), says="device number")
    a.refused("device-number-of-32-bits", header(b"n", kind=b"3", raw=[(329, base256((1 << 32) - 1, 8)),
                                                                         (337, base256((1 << 32) - 1, 8))]),
              says="device", **dev)
    a.refused("device-number-malformed", header(b"n", kind=b"3", raw=[(329, b"99999999")]), says="malformed number")
    a.harmless("fifo-over-file", file(b"p"), fifo(b"p", mode=0o600), tree={"p": ("fifo", {"mode": 0o600})}, gnu_tar=True)
    a.harmless("fifo-over-directory", file(b"p/x"), fifo(b"p"), tree={"p": "fifo"})
    a.harmless("file-over-fifo", fifo(b"p"), file(b"p"), tree={"p": EVIL}, gnu_tar=True)
    a.stack("lower-fifo-written", [fifo(b"p")], [file(b"p")], [hardlink(b"h", b"p", mode=0o600)],
            tree={"p": EVIL, "h": "same:p"}, lower={"p": "fifo"})
    a.stack("lower-fifo-linked", [fifo(b"p")], [hardlink(b"h", b"p", mode=0o600, uid=3)],
            tree={"p": ("fifo", {"uid": 3}), "h": "same:p"}, lower={"p": ("fifo", {"uid": 0, "mode": 0o644})})
    a.stack("lower-tree-of-fifos-opaque", [fifo(b"d/%d" % i) for i in range(50)], [file(b"d/.wh..wh..opq")],
            tree={"d": "dir"})
    for letter in b"89ABDEIMNVXZ~\x1b\xff":
        kind = bytes((letter,))
        a.refused("unknown-type-%02x" % letter, entry(b"x", b"data", kind=kind), says="unknown type")
    a.harmless("contiguous-type", entry(b"x", b"evil\n", kind=b"7"), tree={"x": EVIL}, gnu_tar=True)
    a.harmless("old-directory-type", entry(b"d/", kind=b"\0"), file(b"d/x", kind=b"\0"), tree={"d/x": EVIL}, gnu_tar=True)

    a.harmless("set-uid-and-owner", file(b"s", mode=0o4755, uid=1000, gid=1000), gnu_tar=True,
               tree={"s": (EVIL, {"mode": 0o4755, "uid": 1000, "gid": 1000})})
    a.harmless("set-gid-directory", folder(b"d/", mode=0o2777, gid=1000), file(b"d/x", gid=5), folder(b"d/e"),
               tree={"d": ("dir", {"mode": 0o2777, "gid": 1000}), "d/x": (EVIL, {"gid": 5}),
                     "d/e": ("dir", {"mode": 0o755, "gid": 0})})
    a.harmless("all-mode-bits", file(b"m", mode=0o7777, uid=3), folder(b"d/", mode=0o7777), gnu_tar=True,
               tree={"m": (EVIL, {"mode": 0o7777}), "d": ("dir", {"mode": 0o7777})})
    a.harmless("more-than-mode-bits", file(b"m", mode=0o7777777), tree={"m": (EVIL, {"mode": 0o7777})}, gnu_tar=True)
    a.harmless("negative-mode", header(b"m", 5, raw=[(100, base256(-1, 8))]) + pad(b"evil\n"),
               tree={"m": (EVIL, {"mode": 0o7777})})
    a.stack("set-uid-by-a-later-link", BASE_LAYER, [hardlink(b"base/tool2", b"base/tool", mode=0o4755, uid=1234)],
            tree={**BASE, "base/tool2": ("same:base/tool", {"mode": 0o4755, "uid": 1234})},
            lower={**BASE, "base/tool": ("file:#!tool\n", {"mode": 0o4755, "uid": 0})})
    a.stack("set-uid-of-lower-file-replaced", BASE_LAYER, [file(b"base/tool", mode=0o755, uid=1234)],
            tree={**BASE, "base/tool": (EVIL, {"mode": 0o755, "uid": 1234})},
            lower={**BASE, "base/tool": ("file:#!tool\n", {"mode": 0o4755, "uid": 0})})

    a.harmless("owner-nobody-as-minus-2", header(b"x", 5, raw=[(108, base256(-2, 8))]) + pad(b"evil\n"),
               tree={"x": (EVIL, {"uid": 2 ** 32 - 2})})
    a.harmless("owner-minus-1", header(b"x", 5, raw=[(108, base256(-1, 8)), (116, base256(-1, 8))]) + pad(b"evil\n"),
               tree={"x": (EVIL, {"uid": 0, "gid": 0})})
    a.refused("owner-beyond-32-bits", header(b"x", 5, raw=[(108, base256(1 << 32, 8))]) + pad(b"evil\n"), says="owner")
    a.refused("owner-beyond-by-pax", file(b"x", records=[(b"uid", b"4294967296")]), says="owner")
    a.refused("owner-negative-by-pax", file(b"x", records=[(b"gid", b"-99999999999")]), says="owner")
    for name, value in (("letters", b"root"), ("overflow", b"99999999999999999999"), ("blank", b" 1"),
                        ("fraction", b"1.5"), ("hex", b"0x10"), ("nul", b"1\0")):
        a.refused("owner-%s-by-pax" % name, file(b"x", records=[(b"uid", value)]), says="owner")

    a.harmless("time-negative", file(b"t", records=[(b"mtime", b"-1")]), tree={"t": (EVIL, {"mtime": 0.0})})
    a.harmless("time-enormous", header(b"t", 5, raw=[(136, base256(1 << 62, 12))]) + pad(b"evil\n"),
               tree={"t": (EVIL, {"mtime": 0.0})})
    a.harmless("time-most-negative", header(b"t", 5, raw=[(136, base256(-(1 << 63), 12))]) + pad(b"evil\n"),
               tree={"t": (EVIL, {"mtime": 0.0})})
    a.refused("time-beyond-64-bits", header(b"t", 5, raw=[(136, base256(1 << 64, 12))]) + pad(b"evil\n"), says="malformed")
    a.harmless("time-many-digits", file(b"t", records=[(b"mtime", b"5." + b"9" * 100000)]), tree={"t": EVIL})
    for name, value in (("overflow", b"99999999999999999999"), ("exponent", b"1e9"), ("letters", b"now"),
                        ("two-dots", b"1.2.3"), ("minus", b"-"), ("dot", b"."), ("nul", b"1\0")):
        a.refused("time-%s-by-pax" % name, file(b"t", records=[(b"mtime", value)]), says="time")
    a.harmless("directory-times-thousands", *(folder(b"d%d/" % i, mtime=i) for i in range(3000)),
               tree={"d%d" % i: ("dir", {"mtime": float(i)}) for i in range(3000)}, gnu_tar=True)

    def xattr(*pairs, **fields):
        return file(b"x", records=[(b"SCHILY.xattr." + k, v) for k, v in pairs], **fields)

    a.refused("xattr-300", xattr(*((b"user.%d" % i, b"v") for i in range(300))), says="extended attributes")
    a.refused("xattr-bytes-beyond", xattr(*((b"user.%d" % i, b"v" * 60000) for i in range(5))), says="extended attributes")
    a.refused("xattr-value-of-70000", xattr((b"user.big", b"v" * 70000)), says="user.big")
    a.refused("xattr-name-of-300", xattr((b"user." + b"n" * 300, b"v")), says="extended attribute")
    a.refused("xattr-capability-garbage", xattr((b"security.capability", b"garbage")), says="security.capability")
    # Refused, or lost with a warning where the file system has no ACLs.
    a.add("xattr-acl-garbage", image([tar(xattr((b"system.posix_acl_access", b"garbage")))]), (0, 6))
    a.harmless("xattr-trusted", xattr((b"trusted.overlay.opaque", b"y"), (b"trusted.overlay.redirect", b"/etc")),
               tree={"x": EVIL}, check=no_xattrs)
    a.harmless("xattr-overlay-on-directory", folder(b"d", records=[(b"SCHILY.xattr.trusted.overlay.opaque", b"y")]),
               tree={"d": "dir"}, check=no_xattrs)
    a.harmless("xattr-no-namespace", xattr((b"evil", b"1"), (b".", b"1"), (b"\x1b[31m", b"1")), tree={"x": EVIL})
    a.harmless("xattr-empty-name", xattr((b"", b"1")), tree={"x": EVIL})
    a.harmless("xattr-escape-in-a-warning", xattr(*((b"trusted.\x1b[31m%d\n\xff" % i, b"1") for i in range(20))), tree={"x": EVIL})
    a.harmless("xattr-same-name-often", xattr(*((b"user.a", b"%d" % i) for i in range(5000))), tree={"x": EVIL})
    a.refused("xattr-nul-in-key", xattr((b"user.a\0b", b"1")), says="invalid key")
    a.harmless("xattr-on-fifo", entry(b"p", b"", [(b"SCHILY.xattr.user.a", b"1")], kind=b"6"), tree={"p": "fifo"})
    return a


def no_xattrs(run):
    return ["extended attribute %s" % name for name in run.xattr_names() if not name.startswith("security.selinux")]


def headers(precious, unique):
    """PAX records, sizes, sparse maps, checksums, ends."""
    a = Attacks()
    x = file(b"x")

    for name, text in (
            ("no-length", b"path=evil\n"), ("length-zero", b"0 path=x\n"), ("length-short", b"5 path=x\n"),
            ("length-negative", b"-9 path=x\n"), ("length-beyond", b"999 path=x\n"), ("length-signed", b"+10 path=xy\n"),
            ("length-overflow", b"99999999999999999999 path=x\n"), ("length-octal", b"0x0a path=x\n"),
            ("no-newline", b"9 path=xy"), ("no-equals", b"8 pathx\n"), ("no-key", record(b"", b"x")),
            ("nul-key", record(b"a\0b", b"x")), ("only-nul", bytes(100)), ("blank-record", b"   \n")):
        a.refused("pax-" + name, pax(text) + x, says="PAX" if name != "length-signed" else ("PAX",))
    a.refused("pax-of-2-megabytes", pax([(b"comment", b"z" * (2 * MIB))]) + x, says="limit")
    a.harmless("pax-of-a-megabyte", pax([(b"comment", b"z" * (MIB - 40))]) + x, tree={"x": EVIL})
    a.harmless("pax-records-thousands", pax([(b"k%d" % i, b"v") for i in range(60000)]) + x, tree={"x": EVIL})
    a.harmless("pax-headers-in-a-row", *(pax([(b"path", b"p%d" % i)]) for i in range(2000)), x, tree={"p1999": EVIL})
    a.harmless("pax-path-twice", pax([(b"path", b"../../one"), (b"path", b"two")]) + x, tree={"two": EVIL})
    a.harmless("pax-path-empty", pax([(b"path", b"")]) + x, tree={"x": EVIL})
    a.refused("pax-without-entry", pax([(b"path", b"y")]), says="truncated")
    a.refused("pax-size-negative", entry(b"x", b"", [(b"size", b"-1")]), says="size")
    a.refused("pax-size-letters", entry(b"x", b"", [(b"size", b"many")]), says="size")
    a.refused("pax-size-beyond-64-bits", entry(b"x", b"", [(b"size", b"18446744073709551616")]), says="size")
    a.refused("pax-size-enormous", entry(b"x", b"", [(b"size", b"9223372036854775807")]), says="files of more than")
    a.refused("pax-size-beyond-the-end", entry(b"x", b"", [(b"size", b"5000000")]), says="truncated")
    a.harmless("pax-size-smaller", entry(b"x", b"", [(b"size", b"0")], size=1 << 40), file(b"y"),
               tree={"x": "file:", "y": EVIL})
    a.harmless("pax-global-path", pax([(b"path", precious), (b"linkpath", precious), (b"size", b"0"), (b"uid", b"77")], b"g") + x,
               tree={"x": (EVIL, {"uid": 0})})
    a.refused("pax-global-malformed", pax(b"garbage", b"g") + x, says="global header")
    a.harmless("pax-local-then-global", pax([(b"path", b"y")]) + pax([(b"path", b"z")], b"g") + x, tree={"x": EVIL})
    a.refused("size-enormous", header(b"x", 1 << 62), says="files of more than")
    a.refused("size-negative", header(b"x", raw=[(124, base256(-1, 12))]), says="negative size")
    a.refused("size-most-negative", header(b"x", raw=[(124, base256(-(1 << 63), 12))]), says="negative size")
    a.refused("size-of-more-than-64-bits", header(b"x", raw=[(124, base256(1 << 70, 12))]), says="malformed number")
    a.refused("size-of-8-gigabytes", header(b"x", 8 ** 11 - 1) + b"z" * BLOCK, says="truncated")
    a.refused("size-letters", header(b"x", raw=[(124, b"many bytes..")]), says="malformed number")
    a.refused("size-beyond-the-end", header(b"x", 6 * BLOCK) + bytes(BLOCK), says="truncated")
    a.refused("sizes-that-add-up", *(header(b"x", kind=b"S", magic=b"ustar  \0", raw=[(483, base256(100 << 30, 12))])
                                     for _ in range(2)), says="files of more than", fsize=0, needs="mount")
    a.refused("extension-size-enormous", header(b"x", 1 << 62, b"x"), says="limit")
    a.refused("extension-size-negative", header(b"x", kind=b"L", raw=[(124, base256(-5, 12))]), says="negative size")
    a.refused("checksum-wrong", header(b"x", checksum=1234), says="checksum")
    a.refused("checksum-letters", header(b"x")[:148] + b"abcdefgh" + header(b"x")[156:], says="checksum")
    a.refused("header-of-ones", b"\xff" * BLOCK, says="checksum")
    a.refused("header-of-text", pad(b"<html>This is no archive.</html>\n" * 30), says="checksum")
    a.refused("lone-zero-block", x + bytes(BLOCK) + x, says="zero block")
    a.refused("long-name-without-entry", gnu_long(b"L", b"long"), says="truncated")

    def cut(name, plain, **kwargs):
        a.add(name, image([Layer(plain)]), 6, "truncated", **kwargs)

    cut("ends-in-a-header", tar(x)[:300])
    cut("ends-in-a-file", header(b"x", 5000) + b"z" * 1000)
    cut("ends-in-an-extension", pax([(b"path", b"y" * 2000)])[:1000])
    a.add("ends-without-an-end", image([Layer(x)]), 0, tree={"x": EVIL})
    a.add("ends-in-padding", image([Layer(x[:BLOCK + 5])]), 0, tree={"x": EVIL})
    a.add("empty-archive", image([Layer(END)]), 0, tree={})
    a.add("empty-layer", image([Layer(b"")]), 0, tree={})
    a.add("trailing-archive", image([Layer(tar(x) + tar(file(b"hidden")))]), 0, tree={"x": EVIL})
    a.add("trailing-garbage", image([Layer(tar(x) + b"\x1b[31m garbage" * 5000)]), 0, tree={"x": EVIL})
    a.add("more-entries-than-the-limit", many_entries(), 6, "entries", modes=("flat",))

    def pax_sparse(major, minor, records, data=b"", **fields):
        return entry(b"x", data, [(b"GNU.sparse.major", major), (b"GNU.sparse.minor", minor)] + records, **fields)

    a.refused("sparse-overlapping", sparse_old(b"x", [(0, 512), (256, 512)], 4096, bytes(1024)), says="sparse")
    a.refused("sparse-backwards", sparse_old(b"x", [(2048, 512), (0, 512)], 4096, bytes(1024)), says="sparse")
    a.refused("sparse-beyond-its-size", sparse_old(b"x", [(4096, 512)], 4096, bytes(512)), says="sparse")
    a.refused("sparse-more-than-stored", sparse_old(b"x", [(0, 4096)], 4096, bytes(512)), says="sparse")
    a.refused("sparse-less-than-stored", sparse_old(b"x", [(0, 512)], 4096, bytes(1024)), says="sparse")
    a.refused("sparse-offset-overflow", sparse_old(b"x", [((1 << 63) - 1, 512)], 4096, bytes(512)), says="sparse")
    a.refused("sparse-of-an-exabyte", sparse_old(b"x", [], 1 << 60, b""), says="files of more than")
    a.refused("sparse-negative-size", header(b"x", kind=b"S", magic=b"ustar  \0", raw=[(483, base256(-1, 12))]), says="sparse")
    a.refused("sparse-without-magic", header(b"x", kind=b"S"), says="sparse")
    a.refused("sparse-map-ends", sparse_old(b"x", [(0, 0)], 512, b"", more=bytes(100)), says="truncated")
    a.refused("sparse-map-of-nothing", sparse_old(b"x", [(0, 0)], 512, b"", more=bytes(504) + b"\1" + bytes(7)),
              says="sparse")
    more = b"".join(octal(512 * i, 12) + octal(0, 12) for i in range(21)) + b"\1" + bytes(7)
    a.refused("sparse-map-endless", sparse_old(b"x", [(0, 0)], 1 << 30, b"", more=more * 3000), says="sparse")
    a.harmless("sparse-hole-of-100-gigabytes", sparse_old(b"x", [], 100 << 30, b""), tree={"x": "size:%d" % (100 << 30)},
               fsize=0, check=few_blocks, needs="mount")
    a.stack("sparse-hole-copied-up", [sparse_old(b"x", [], 100 << 30, b"")], [hardlink(b"h", b"x", mode=0o777)],
            tree={"x": "size:%d" % (100 << 30), "h": "same:x"}, fsize=0, check=few_blocks, needs="mount")
    a.refused("sparse-1.0-count-of-a-billion", pax_sparse(b"1", b"0", [(b"GNU.sparse.realsize", b"4096")],
                                                          pad(b"1000000000\n")), says="sparse")
    a.refused("sparse-1.0-endless-number", pax_sparse(b"1", b"0", [(b"GNU.sparse.realsize", b"4096")], b"1" * 5000), says="sparse")
    a.refused("sparse-1.0-no-map", pax_sparse(b"1", b"0", [(b"GNU.sparse.realsize", b"4096")]), says="sparse")
    a.refused("sparse-1.0-negative", pax_sparse(b"1", b"0", [(b"GNU.sparse.realsize", b"-5")], pad(b"0\n")), says="sparse")
    a.refused("sparse-0.1-odd-map", pax_sparse(b"0", b"1", [(b"GNU.sparse.size", b"4096"), (b"GNU.sparse.map", b"0,512,1024")],
                                               bytes(512)), says="sparse")
    a.refused("sparse-0.1-text-map", pax_sparse(b"0", b"1", [(b"GNU.sparse.size", b"4096"), (b"GNU.sparse.map", b"a,b")]),
              says="sparse")
    a.refused("sparse-0.1-map-overflow", pax_sparse(b"0", b"1", [(b"GNU.sparse.size", b"4096"), (
        b"GNU.sparse.map", b"18446744073709551615,2")], bytes(512)), says="sparse")
    a.refused("sparse-0.0-half-pair", pax_sparse(b"0", b"0", [(b"GNU.sparse.size", b"4096"), (b"GNU.sparse.offset", b"0")]),
              says="sparse")
    a.harmless("sparse-name-escapes", pax_sparse(b"1", b"0", [(b"GNU.sparse.realsize", b"0"), (b"GNU.sparse.name", b"../../evil")],
                                                 pad(b"0\n")), tree={"evil": "file:"})
    a.harmless("sparse-unknown-version", pax_sparse(b"9", b"9", [(b"GNU.sparse.realsize", b"99999999999")], b"evil\n"),
               tree={"x": EVIL})
    return a


def few_blocks(run):
    return ["%s takes %d blocks of disk" % (path, attrs["blocks"])
            for path, (_, attrs, _) in run.found.items() if attrs["blocks"] > 64]


def many_entries():
    """2,000,001 entries for the root itself, which cost nothing but time: one gzip member often."""
    from hashlib import sha256
    from raw import gzip_member
    block = header(b"./", kind=b"5", mode=0o755)
    chunk, rest = block * 2000, block
    full = sha256()
    for _ in range(1000):
        full.update(chunk)
    full.update(rest + END)
    blob = gzip_member(chunk) * 1000 + gzip_member(rest + END)
    return image([Layer(b"", blob=blob, diff="sha256:" + full.hexdigest())])
