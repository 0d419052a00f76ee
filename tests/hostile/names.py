# SPDX-License-Identifier: Apache-2.0
"""Names, symlinked parents, hard links: layers that try to leave their root."""

from image import BASE, BASE_LAYER, Attacks, without
from raw import entry, fifo, file, folder, gnu_long, hardlink, header, pad, pax, symlink, tar

UP = b"../" * 40


def names(precious, unique):
    """precious: a directory outside every root whose change would show; unique: an absolute path
    that does not exist.  Both bytes."""
    a = Attacks()
    inside = precious[1:].decode()
    there = unique[1:].decode()

    a.harmless("absolute-name", file(unique + b"/file"), tree={there + "/file": "file:evil\n"})
    a.harmless("absolute-name-of-a-real-file", file(precious + b"/file"), tree={inside + "/file": "file:evil\n"})
    a.harmless("dotdot-name", file(b"../evil"), tree={"evil": "file:evil\n"})
    a.harmless("dotdot-many", file(UP + b"evil"), tree={"evil": "file:evil\n"})
    a.harmless("dotdot-to-a-real-file", file(UP + precious[1:] + b"/file"), tree={inside + "/file": "file:evil\n"})
    a.harmless("dotdot-inside", file(b"a/b/../../../../c"), tree={"c": "file:evil\n"})
    a.harmless("dotdot-after-file", file(b"f"), file(b"f/../g"), tree={"f": "file:evil\n", "g": "file:evil\n"})
    a.harmless("dotdot-directory", folder(UP + precious[1:], mode=0o777), tree={inside: ("dir", {"mode": 0o777})})
    a.harmless("dot-names", file(b"./././x/./y"), tree={"x/y": "file:evil\n"}, gnu_tar=True)
    a.harmless("double-slashes", file(b"a///b////c"), tree={"a/b/c": "file:evil\n"}, gnu_tar=True)
    a.harmless("slash-slash-name", file(b"//x"), tree={"x": "file:evil\n"})
    a.harmless("trailing-slash-on-file", file(b"f/"), tree={"f": "file:evil\n"})
    a.harmless("backslash-name", file(b"..\\..\\evil"), tree={"..\\..\\evil": "file:evil\n"}, gnu_tar=True)
    a.harmless("drive-name", file(b"C:\\evil"), file(b"C:/evil"),
               tree={"C:\\evil": "file:evil\n", "C:/evil": "file:evil\n"}, gnu_tar=True)
    a.harmless("three-dots", file(b".../x"), tree={".../x": "file:evil\n"}, gnu_tar=True)
    a.harmless("dotdot-by-prefix-field", header(b"evil", 5, prefix=b"../.." + precious) + pad(b"evil\n"),
               tree={inside + "/evil": "file:evil\n"})
    a.harmless("dotdot-by-pax-path", entry(b"fine", b"evil\n", [(b"path", UP + b"evil")]),
               tree={"evil": "file:evil\n"})
    a.harmless("dotdot-by-gnu-long-name", gnu_long(b"L", UP + b"evil") + file(b"fine"), tree={"evil": "file:evil\n"})

    # The root itself: it stays as it is.
    for name, what in (("file", file(b"/")), ("dotdot-file", file(b"..")), ("empty-name", file(b"")),
                       ("directory", folder(b"./", mode=0, uid=5, mtime=1)), ("symlink", symlink(b".", precious)),
                       ("hard-link", hardlink(b"/", b"x")), ("fifo", fifo(b"./."))):
        a.harmless("root-as-" + name, file(b"x"), what, tree={"x": "file:evil\n"})
    a.stack("root-as-symlink-in-a-later-layer", BASE_LAYER, [symlink(b"/", precious), file(b"new")],
            tree={**BASE, "new": "file:evil\n"}, lower=BASE)

    # Bytes in names.
    a.harmless("nul-in-name", file(b"a\0b"), tree={"a": "file:evil\n"}, gnu_tar=True)
    a.refused("nul-in-pax-path", entry(b"x", b"", [(b"path", b"a\0../../evil")]), says="NUL")
    a.refused("nul-in-pax-linkpath", symlink(b"x", b"y" * 200 + b"\0z"), says="NUL")
    a.harmless("nul-in-gnu-long-name", gnu_long(b"L", b"a\0b") + file(b"x"), tree={"a": "file:evil\n"})
    a.harmless("newline-in-name", file(b"a\nb"), tree={"a\nb": "file:evil\n"}, gnu_tar=True)
    a.harmless("controls-in-name", file(bytes(range(1, 47)) + b"x"), gnu_tar=True, check=lambda run: run.told_safely(),
               tree={bytes(range(1, 47)).decode() + "x": "file:evil\n"})
    a.harmless("escape-sequence-in-name", file(b"\x1b]0;evil\x07\x1b[2J"), tree={"\x1b]0;evil\x07\x1b[2J": "file:evil\n"},
               gnu_tar=True, check=lambda run: run.told_safely())
    a.harmless("c1-and-bidi-in-name", file("\u009b31m\u202egpj.exe\u2066".encode()), gnu_tar=True,
               tree={"\u009b31m\u202egpj.exe\u2066": "file:evil\n"}, check=lambda run: run.told_safely())
    a.harmless("not-utf8-in-name", file(b"\xff\xfe\x80\xc0\xaf"), tree={"\udcff\udcfe\udc80\udcc0\udcaf": "file:evil\n"},
               gnu_tar=True, check=lambda run: run.told_safely())
    a.harmless("overlong-utf8-dotdot", file(b"\xc0\xae\xc0\xae/x"), tree={"\udcc0\udcae\udcc0\udcae/x": "file:evil\n"},
               gnu_tar=True)
    a.harmless("two-normal-forms", file("\u00e9".encode(), b"nfc"), file("e\u0301".encode(), b"nfd"), gnu_tar=True,
               tree={"\u00e9": "file:nfc", "e\u0301": "file:nfd"})
    for name, bad in (("escape-sequence", b"\x1b[31mred\x1b]0;title\x07"), ("newline", b"a\nk3simg: error: all is well"),
                      ("c1-control", "\u009b31mred".encode()), ("raw-c1-byte", b"\x9b31mred"),
                      ("not-utf8", b"\xff\xc3\x28\xe2\x82"), ("bidi-override", "\u202egpj.exe\u2066".encode()),
                      ("line-separator", "a\u2028b\u2029c\u0085d".encode()), ("delete", b"a\x7f\x7fb"),
                      ("cut-character", b"/".join([b"x" * 200] * 3 + ["\u20ac".encode() * 80]))):
        a.refused(name + "-in-an-error", hardlink(b"h", bad), says="does not exist" if len(bad) < 600 else "h: ")

    # Lengths.
    a.harmless("component-of-255", file(b"n" * 255), tree={"n" * 255: "file:evil\n"}, gnu_tar=True)
    a.refused("component-of-256", file(b"n" * 256), says="too long")
    a.refused("component-of-256-on-the-way", file(b"n" * 256 + b"/x"), says="too long")
    a.refused("component-of-256-in-a-link", hardlink(b"h", b"n" * 256), says="too long")
    deep = b"d/" * 2047 + b"e"
    a.harmless("path-of-4095", file(deep), tree={deep.decode(): "file:evil\n"})
    long = b"/".join([b"n" * 255] * 16)
    a.harmless("path-of-4095-in-16-parts", file(long), tree={long.decode(): "file:evil\n"})
    a.harmless("path-of-4096", file(deep + b"e"), tree={(deep + b"e").decode(): "file:evil\n"})
    a.refused("path-of-4097", file(b"d/" * 2048 + b"e"), says="4096")
    a.refused("path-beyond-through-symlink", file(b"d/" * 2000 + b"e"), symlink(b"l", b"d/" * 2000),
              file(b"l/" + b"f/" * 200 + b"g"), says="4096")
    a.refused("path-of-a-megabyte", file(b"d/" * (1 << 19)), says="limit")
    a.refused("gnu-name-of-2-megabytes", gnu_long(b"L", b"d" * (2 << 20)) + file(b"x"), says="limit")
    a.refused("gnu-link-of-2-megabytes", gnu_long(b"K", b"d" * (2 << 20)) + symlink(b"x", b""), says="limit")

    # One entry over another.
    a.harmless("same-file-often", *(file(b"f", b"%d" % i) for i in range(2000)), tree={"f": "file:1999"}, gnu_tar=True)
    a.harmless("file-over-directory", file(b"d/x/y"), file(b"d"), tree={"d": "file:evil\n"})
    a.harmless("directory-over-file", file(b"d"), folder(b"d/"), file(b"d/x"), tree={"d/x": "file:evil\n"})
    a.harmless("symlink-over-directory", file(b"d/x"), symlink(b"d", precious), tree={"d": "link:" + precious.decode()})
    a.harmless("directory-over-symlink", symlink(b"d", precious), folder(b"d/", mode=0o777, uid=5),
               tree={"d": ("dir", {"mode": 0o777, "uid": 5})})
    a.harmless("directory-of-mode-0", folder(b"d/", mode=0), file(b"d/x"),
               tree={"d": ("dir", {"mode": 0}), "d/x": "file:evil\n"}, gnu_tar=True)
    a.harmless("swap-back-and-forth", *(x for i in range(50) for x in (
        file(b"d/f"), symlink(b"s", precious), file(b"s/f"), symlink(b"d", precious), file(b"d/f"), folder(b"d/"),
        file(b"s"), hardlink(b"h", b"s"))),
        tree={"d": "dir", "s": "file:evil\n", "h": "same:s", inside + "/f": "file:evil\n"})
    return a


def symlinks(precious, unique):
    a = Attacks()
    inside, target = precious[1:].decode(), "link:" + precious.decode()
    evil = "file:evil\n"
    # The content of a symlinked directory comes to lie within the root.
    fooled = {"l": target, inside + "/file": evil}

    a.harmless("symlink-absolute", symlink(b"l", precious), file(b"l/file"), tree=fooled)
    a.harmless("symlink-relative", symlink(b"l", UP + precious[1:]), file(b"l/file"),
               tree={"l": "link:" + (UP + precious[1:]).decode(), inside + "/file": evil})
    a.harmless("symlink-below-a-directory", symlink(b"a/b/l", UP + precious[1:]), file(b"a/b/l/file"),
               tree={"a/b/l": "link:" + (UP + precious[1:]).decode(), inside + "/file": evil})
    a.harmless("symlink-to-the-root", symlink(b"l", b"/"), file(b"l/l2/x"), tree={"l": "link:/", "l2/x": evil})
    a.harmless("symlink-to-dotdot", symlink(b"l", b".."), file(b"l/x"), tree={"l": "link:..", "x": evil})
    a.harmless("symlink-to-dot", symlink(b"l", b"."), file(b"l/l/l/x"), tree={"l": "link:.", "x": evil})
    a.harmless("symlink-chain", *(symlink(b"l%d" % i, b"l%d" % (i + 1)) for i in range(30)),
               symlink(b"l30", precious), file(b"l0/file"),
               tree={**{"l%d" % i: "link:l%d" % (i + 1) for i in range(30)}, "l30": target, inside + "/file": evil})
    a.harmless("symlink-chain-of-directories", *(symlink(b"d/l%d" % i, b"../d/l%d" % (i + 1)) for i in range(20)),
               symlink(b"d/l20", UP), file(b"d/l0/x"),
               tree={**{"d/l%d" % i: "link:../d/l%d" % (i + 1) for i in range(20)}, "d/l20": "link:" + UP.decode(),
                     "x": evil})
    a.refused("symlink-chain-of-300", *(symlink(b"l%d" % i, b"l%d" % (i + 1)) for i in range(300)),
              folder(b"l300"), file(b"l0/x"), says="symlinks")
    a.refused("symlink-to-itself", symlink(b"l", b"l"), file(b"l/x"), says="symlinks")
    a.refused("symlink-loop-of-two", symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/x"), says="symlinks")
    a.refused("symlink-loop-through-dotdot", symlink(b"d/l", b"../d/l/x"), file(b"d/l/y"), says="symlink")
    a.refused("symlink-loop-that-grows", symlink(b"l", b"l/" * 2000 + b"x"), file(b"l/y"), says="symlink")
    a.refused("symlink-loop-that-doubles", symlink(b"a", b"b/b/b/b"), symlink(b"b", b"a/a/a/a"), file(b"a/x"),
              says="symlink")
    a.harmless("symlink-loop-unused", symlink(b"l", b"l"), symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"x"),
               tree={"l": "link:l", "a": "link:b", "b": "link:a", "x": evil}, gnu_tar=True)
    a.harmless("symlink-replaced-between", file(b"safe/x"), symlink(b"l", b"safe"), file(b"l/y"),
               symlink(b"l", precious), file(b"l/file"), tree={"safe/x": evil, "safe/y": evil, **fooled})
    a.harmless("directory-becomes-symlink", file(b"d/x"), symlink(b"d", precious), file(b"d/file"),
               tree={"d": target, inside + "/file": evil})
    a.harmless("parent-becomes-symlink", file(b"a/b/c/x"), symlink(b"a/b", precious), file(b"a/b/c/file"),
               tree={"a/b": target, inside + "/c/file": evil})
    a.harmless("grandparent-becomes-symlink", *(file(b"a/b/c/%d" % i) for i in range(40)), symlink(b"a", precious),
               file(b"a/b/c/x"), tree={"a": target, inside + "/b/c/x": evil})
    a.harmless("symlink-becomes-directory", symlink(b"l", precious), file(b"l/file"), folder(b"l/"), file(b"l/x"),
               tree={"l/x": evil, inside + "/file": evil})
    a.harmless("symlink-removed-between", symlink(b"l", precious), file(b"l/file"), file(b".wh.l"), file(b"l/x"),
               tree={"l/x": evil, inside + "/file": evil})
    a.harmless("symlink-target-replaced", folder(b"t/"), symlink(b"l", b"t"), file(b"l/x"), symlink(b"t", precious),
               file(b"l/file"), tree={"l": "link:t", "t": target, inside + "/file": evil})
    a.harmless("symlink-as-last-part", symlink(b"f", precious + b"/file"), file(b"f"), tree={"f": evil}, gnu_tar=True)
    a.harmless("symlink-to-new-name-as-last-part", symlink(b"f", unique), file(b"f"), tree={"f": evil}, gnu_tar=True)
    a.harmless("symlink-under-directory-entry", symlink(b"d", precious), folder(b"d", mode=0o777),
               tree={"d": ("dir", {"mode": 0o777})})
    a.harmless("symlink-under-fifo", symlink(b"f", precious + b"/file"), fifo(b"f"), tree={"f": "fifo"}, gnu_tar=True)
    a.harmless("symlink-mode-and-owner", symlink(b"f", precious + b"/file", mode=0o4777, uid=5, gid=6, mtime=1),
               tree={"f": ("link:" + (precious + b"/file").decode(), {"uid": 5, "gid": 6, "mtime": 1.0})}, gnu_tar=True)
    a.harmless("symlink-with-xattrs", entry(b"f", b"", [(b"SCHILY.xattr.user.evil", b"1"),
                                                        (b"SCHILY.xattr.trusted.evil", b"1")],
                                            kind=b"2", link=precious[:100] + b"/file"),
               tree={"f": "link:" + (precious[:100] + b"/file")[:100].decode()})
    a.harmless("symlink-dangling-parent", symlink(b"l", b"no/such/place"), file(b"l/x"),
               tree={"l": "link:no/such/place", "no/such/place/x": evil})
    a.harmless("symlink-dangling-up", symlink(b"a/l", b"../no/../../../such"), file(b"a/l/x"),
               tree={"a/l": "link:../no/../../../such", "such/x": evil})
    a.harmless("symlink-to-proc-root", symlink(b"l", b"/proc/self/root" + precious), file(b"l/file"),
               tree={"l": "link:/proc/self/root" + precious.decode(), "proc/self/root/" + inside + "/file": evil})
    a.harmless("symlink-to-proc-cwd", symlink(b"l", b"/proc/self/cwd"), file(b"l/x"),
               tree={"l": "link:/proc/self/cwd", "proc/self/cwd/x": evil})
    a.harmless("symlink-to-proc-fd", *(x for i in range(3, 20) for x in (
        symlink(b"l%d" % i, b"/proc/self/fd/%d" % i), file(b"l%d/../../x" % i))), tree={
            "x": evil, **{"l%d" % i: "link:/proc/self/fd/%d" % i for i in range(3, 20)}})
    a.harmless("symlink-with-slashes", symlink(b"l", precious + b"///"), file(b"l///file"),
               tree={"l": target + "///", inside + "/file": evil})
    a.refused("symlink-to-file-as-parent", file(b"f"), symlink(b"l", b"f"), file(b"l/x"), says="not a directory")
    a.refused("file-as-parent", file(b"f"), file(b"f/x"), says="not a directory")
    a.refused("fifo-as-parent", fifo(b"p"), file(b"p/x"), says="not a directory")
    a.refused("symlink-to-fifo-as-parent", fifo(b"p"), symlink(b"l", b"p"), file(b"l/x"), says="not a directory")
    a.refused("symlink-without-target", symlink(b"l", b""), says="without a target")
    a.harmless("symlink-target-of-4095", symlink(b"l", b"t" * 4095), tree={"l": "link:" + "t" * 4095}, gnu_tar=True)
    a.refused("symlink-target-of-4096", symlink(b"l", b"t" * 4096), says="too long")
    a.refused("symlink-target-of-4097", symlink(b"l", b"t" * 4097), says="4096")
    a.harmless("symlink-target-controls", symlink(b"l", b"\x1b[31m\n\xff"), tree={"l": "link:\x1b[31m\n\udcff"},
               gnu_tar=True)

    # The layer below plants it, the layer above goes through it.
    a.stack("lower-symlink-absolute", [symlink(b"l", precious)], [file(b"l/file")], tree=fooled, lower={"l": target})
    a.stack("lower-symlink-over-base-directory", BASE_LAYER, [symlink(b"base", precious)], [file(b"base/file")],
            tree={"base": target, inside + "/file": evil}, lower=BASE)
    a.stack("lower-symlink-chain", [symlink(b"a", b"b"), symlink(b"b", b"c")], [symlink(b"c", precious)],
            [file(b"a/file")], tree={"a": "link:b", "b": "link:c", "c": target, inside + "/file": evil},
            lower={"a": "link:b", "b": "link:c"})
    a.stack("lower-symlink-as-last-part", [symlink(b"f", precious + b"/file")], [file(b"f")], tree={"f": evil},
            lower={"f": "link:" + (precious + b"/file").decode()})
    a.stack("lower-symlink-becomes-directory", [symlink(b"l", precious)], [folder(b"l/", mode=0o777), file(b"l/x")],
            tree={"l": ("dir", {"mode": 0o777}), "l/x": evil}, lower={"l": target})
    a.stack("lower-symlink-whiteout-through", [symlink(b"l", precious)], [file(b"l/.wh.file"), file(b"l/.wh.sub")],
            tree={"l": target, inside: "dir"}, lower={"l": target})
    a.stack("lower-symlink-opaque-through", [symlink(b"l", precious)], [file(b"l/.wh..wh..opq")],
            tree={"l": target, inside: "dir"}, lower={"l": target})
    a.stack("lower-symlink-whiteout-of-it", [symlink(b"l", precious)], [file(b".wh.l")], tree={}, lower={"l": target})
    a.stack("lower-symlink-to-lower-directory", BASE_LAYER, [symlink(b"l", b"base")],
            [file(b"l/file"), file(b"l/dir/.wh.inner")], lower=BASE,
            tree={**without(BASE, "base/dir/inner"), "l": "link:base", "base/file": evil, "base/hard": "file:base\n"})
    a.stack("lower-symlink-through-file-link", BASE_LAYER, [file(b"base/link")], lower=BASE,
            tree={**BASE, "base/link": evil})
    a.stack("lower-symlink-mode-through", [symlink(b"f", precious + b"/file")],
            [hardlink(b"h", b"f", mode=0o777, uid=5, gid=5, mtime=5)],
            tree={"f": "link:" + (precious + b"/file").decode(), "h": "same:f"},
            lower={"f": "link:" + (precious + b"/file").decode()})
    return a


def hardlinks(precious, unique):
    a = Attacks()
    evil = "file:evil\n"
    gone = "does not exist"

    a.refused("hard-link-absolute", hardlink(b"h", precious + b"/file"), says=gone)
    a.refused("hard-link-dotdot", hardlink(b"h", UP + precious[1:] + b"/file"), says=gone)
    a.refused("hard-link-through-symlink", symlink(b"l", precious), hardlink(b"h", b"l/file"), says=gone)
    a.refused("hard-link-through-proc", symlink(b"l", b"/proc/self/root"), hardlink(b"h", b"l" + precious + b"/file"),
              says=gone)
    a.refused("hard-link-to-missing", hardlink(b"h", b"nothing"), says=gone)
    a.refused("hard-link-to-later", hardlink(b"h", b"f"), file(b"f"), says=gone)
    a.refused("hard-link-to-directory", folder(b"d/"), hardlink(b"h", b"d"), says="directory")
    a.refused("hard-link-to-root", hardlink(b"h", b"/"), says="root directory")
    a.refused("hard-link-to-nothing", hardlink(b"h", b""), says="root directory")
    a.refused("hard-link-to-itself", file(b"h"), hardlink(b"h", b"./h"), says="itself")
    a.refused("hard-link-to-itself-by-symlink", file(b"d/h"), symlink(b"l", b"d"), hardlink(b"d/h", b"l/h"), says="itself")
    a.refused("hard-link-loop", hardlink(b"a", b"b"), hardlink(b"b", b"a"), says=gone)
    a.refused("hard-link-to-whited-out", file(b"f"), file(b".wh.f"), hardlink(b"h", b"f"), says=gone)
    a.refused("hard-link-over-its-own-directory", file(b"d/f"), hardlink(b"d", b"d/f"), says="d/f")
    a.refused("hard-link-below-its-own-target", file(b"f"), hardlink(b"f/h", b"f"), says="not a directory")
    a.refused("hard-link-symlink-loop", symlink(b"l", b"l"), hardlink(b"h", b"l/x"), says="symlinks")
    a.harmless("hard-link-to-symlink", symlink(b"s", precious + b"/file"), hardlink(b"h", b"s", mode=0o777),
               tree={"s": "link:" + (precious + b"/file").decode(), "h": "same:s"})
    a.harmless("hard-link-to-symlink-then-file", symlink(b"s", precious + b"/file"), hardlink(b"h", b"s"), file(b"h"),
               tree={"s": "link:" + (precious + b"/file").decode(), "h": evil}, gnu_tar=True)
    a.harmless("hard-link-to-symlink-with-attributes", symlink(b"s", precious + b"/file"),
               hardlink(b"h", b"s", mode=0o4777, uid=5, gid=5, mtime=9),
               tree={"s": ("link:" + (precious + b"/file").decode(), {"uid": 5}), "h": "same:s"})
    a.harmless("hard-link-to-fifo", fifo(b"p"), hardlink(b"h", b"p", mode=0o600), tree={"p": "fifo", "h": "same:p"})
    a.harmless("hard-link-with-a-size", file(b"f"), entry(b"h", b"", kind=b"1", link=b"f", size=1 << 30), file(b"g"),
               tree={"f": evil, "h": "same:f", "g": evil})
    a.harmless("hard-link-name-dotdot", file(b"f"), hardlink(UP + b"h", UP + b"f"), tree={"f": evil, "h": "same:f"})
    a.harmless("hard-links-thousands", file(b"f"), *(hardlink(b"h%d" % i, b"f") for i in range(3000)),
               tree={"f": evil, **{"h%d" % i: "same:f" for i in range(3000)}}, gnu_tar=True)
    a.stack("hard-links-beyond-the-limit", BASE_LAYER, [hardlink(b"h%05d" % i, b"base/dir/inner") for i in range(66000)],
            tree={**BASE, **{"h%05d" % i: "file:inner\n" for i in range(66000)}}, lower=BASE, full=True)

    # Links into the layer below: what is below stays as it is, byte for byte.
    same = {"uid": 7, "gid": 8, "mode": 0o640}
    a.stack("lower-hard-link-same", BASE_LAYER, [hardlink(b"h", b"base/file", **same)], lower=BASE,
            tree={**BASE, "h": "same:base/file"})
    a.stack("lower-hard-link-mode", BASE_LAYER, [hardlink(b"h", b"base/file", mode=0o777, uid=9, gid=9, mtime=9)],
            lower={**BASE, "base/file": ("file:base\n", same)},
            tree={**BASE, "h": "same:base/file", "base/file": ("file:base\n", {"mode": 0o777, "uid": 9, "mtime": 9.0})})
    a.stack("lower-hard-link-set-uid", BASE_LAYER, [hardlink(b"h", b"base/file", mode=0o6755)], lower=BASE,
            tree={**BASE, "h": ("same:base/file", {"mode": 0o6755, "uid": 0})})
    a.stack("lower-hard-link-then-written", BASE_LAYER, [hardlink(b"h", b"base/file", **same), file(b"h")], lower=BASE,
            tree={**BASE, "h": evil})
    a.stack("lower-hard-link-twice", BASE_LAYER, [hardlink(b"h", b"base/file", **same),
                                                  hardlink(b"i", b"h", mode=0o777, uid=1)], lower=BASE,
            tree={**BASE, "h": "same:base/file", "i": ("same:base/file", {"mode": 0o777, "uid": 1})})
    a.stack("lower-hard-link-xattr", BASE_LAYER, [entry(b"h", b"", [(b"SCHILY.xattr.user.evil", b"1")], kind=b"1",
                                                        link=b"base/file", **same)], lower=BASE,
            tree={**BASE, "h": "same:base/file"})
    a.stack("lower-hard-link-by-symlink", BASE_LAYER, [symlink(b"l", b"base"), hardlink(b"h", b"l/file", mode=0o777)],
            lower=BASE, tree={**BASE, "l": "link:base", "h": ("same:base/file", {"mode": 0o777})})
    a.stack("lower-hard-link-removed", BASE_LAYER, [hardlink(b"h", b"base/file", **same), file(b"base/.wh.file"),
                                                    hardlink(b"i", b"h", mode=0o777)], lower=BASE,
            tree={**without(BASE, "base/file"), "base/hard": "same:h", "h": ("file:base\n", {"mode": 0o777}),
                  "i": "same:h"})
    a.stack("lower-hard-link-to-symlink", BASE_LAYER, [hardlink(b"h", b"base/link", uid=9, mtime=9)], lower=BASE,
            tree={**BASE, "h": "same:base/link", "base/link": ("link:file", {"uid": 9})})
    a.stack("lower-hard-link-in-three-layers", BASE_LAYER, [hardlink(b"h", b"base/file", **same)],
            [hardlink(b"i", b"h", mode=0o777)], [file(b"i"), file(b"base/file")], lower=BASE,
            tree={**BASE, "base/file": evil, "base/hard": ("file:base\n", {"mode": 0o777}), "h": "same:base/hard",
                  "i": evil})
    a.stack("lower-file-written", BASE_LAYER, [file(b"base/file")], lower=BASE,
            tree={**BASE, "base/file": evil, "base/hard": ("file:base\n", same)})
    a.stack("lower-directory-changed", BASE_LAYER, [folder(b"base/", mode=0o7777, uid=9, mtime=9)],
            lower={**BASE, "base": ("dir", {"mode": 0o755, "uid": 0})},
            tree={**BASE, "base": ("dir", {"mode": 0o7777, "uid": 9, "mtime": 9.0})})
    a.stack("lower-files-replaced-by-everything", BASE_LAYER,
            [symlink(b"base/file", precious), fifo(b"base/hard"), file(b"base/dir"), folder(b"base/tool")], lower=BASE,
            tree={"base/file": "link:" + precious.decode(), "base/hard": "fifo", "base/dir": evil, "base/tool": "dir",
                  "base/link": "link:file"})
    a.stack("lower-refused-half-way", BASE_LAYER, [hardlink(b"h", b"base/file", mode=0o777), file(b"base/hard"),
                                                   file(b"base/.wh.dir"), hardlink(b"x", b"nothing")],
            exits=6, says=gone)
    return a
