# SPDX-License-Identifier: Apache-2.0
"""What a registry says around the documents: headers, challenges, error bodies, redirects;
and references that users or lists may hold."""

import gzip
import json

from image import MANIFEST, MIB, Attacks, digest, image
from raw import file, tar

ONE = tar(file(b"one"))
TREE = {"one": "file:evil\n"}
ESCAPE = b"\x1b[31mred\x1b]0;t\x07\xc2\x9b0m\x9b\xff\xe2\x80\xae"


def on(kinds, function):
    """An image whose answers to these kinds of requests function(handler) makes."""
    img = image([ONE])
    img.wire = lambda h, kind, what: kind in kinds and function(h) is not False
    return img


def head(status, *headers, body=b"", length=True):
    """An answer as bytes; headers are bytes."""
    lines = [b"HTTP/1.1 " + status, *headers]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def sends(kinds, data):
    return on(kinds, lambda h: h.raw(data))


ALL = ("manifests", "blobs")


def answers():
    a = Attacks()
    body = image([ONE]).tag[1]
    typ = b"Content-Type: " + MANIFEST.encode()

    def digest_says(name, value, says=(), exits=6, **kwargs):
        img = image([ONE])
        img.headers = {"Docker-Content-Digest": value}
        a.document("digest-header-" + name, img, says, exits, **kwargs)

    digest_says("wrong", digest(b"else"), (), (3, 6))
    digest_says("wrong-sha512", digest(b"else", "sha512"), (), (3, 6))
    digest_says("right-sha512", digest(body, "sha512"), (), 0, tree=TREE)
    digest_says("malformed", "sha256:xyz", (), (0, 5, 6))
    digest_says("traversal", "sha256:../../../../etc/passwd", (), (0, 5, 6))
    digest_says("escape", "\x9b31m", (), (0, 5, 6))
    digest_says("of-20-kilobytes", "sha256:" + "a" * 20000, (), (0, 5, 6))
    a.document("digest-header-twice", sends(("manifests",), head(
        b"200 OK", typ, b"Docker-Content-Digest: " + digest(body).encode(),
        b"Docker-Content-Digest: " + digest(b"else").encode(), body=body)), (), (0, 3, 5, 6))
    a.document("digest-header-of-head-only", on(("manifests",), lambda h: h.command == "HEAD" and h.answer(
        200, body, [("Content-Type", MANIFEST), ("Docker-Content-Digest", digest(b"else"))])), (), (3, 5, 6))
    a.document("length-header-of-head-only", on(("manifests",), lambda h: h.command == "HEAD" and h.answer(
        200, b"", [("Content-Type", MANIFEST), ("Docker-Content-Digest", digest(body)), ("Content-Length", "3")])), (), (0, 5, 6))
    pinned = on(("manifests",), lambda h: h.answer(200, body, [("Content-Type", MANIFEST)]))
    a.document("by-digest-other-content", pinned, "digest differs", refs=["{repo}@" + digest(b"else")], names="@sha256:")

    for name, data in (
            ("status-escape", head(b"404 " + ESCAPE)), ("status-999", head(b"999 x")), ("status-099", head(b"099 x")),
            ("status-letters", head(b"abc x")), ("status-negative", head(b"-200 x")), ("header-escape", head(
                b"404 no", b"X-" + ESCAPE + b": " + ESCAPE)), ("header-nul", head(b"404 no", b"X: a\0b")),
            ("header-of-a-megabyte", head(b"404 no", b"X: " + b"x" * MIB)), ("headers-20000", head(
                b"404 no", *(b"X-%d: y" % i for i in range(20000)))),
            ("header-folded", head(b"404 no", b"X: a\r\n " + ESCAPE)), ("header-without-colon", head(b"404 no", ESCAPE)),
            ("body-escape-json", head(b"404 no", b"Content-Type: application/json", body=json.dumps(
                {"errors": [{"code": "X", "message": ESCAPE.decode("latin-1") + "\n\r\u2028"}]}).encode())),
            ("body-escape-text", head(b"404 no", b"Content-Type: text/plain", body=ESCAPE)),
            ("body-escape-untyped", head(b"404 no", body=ESCAPE + b"\nsecond line")),
            ("body-fake-line", head(b"404 no", b"Content-Type: text/plain", body=b"x\rk3simg: all is well")),
            ("body-not-utf8", head(b"404 no", b"Content-Type: application/json",
                                   body=b'{"errors": [{"message": "\xff\xfe"}]}')),
            ("body-deep", head(b"404 no", b"Content-Type: application/json", body=b"[" * 100000)),
            ("body-of-10-megabytes", head(b"404 no", body=b"x" * (10 * MIB))),
            ("body-errors-as-number", head(b"404 no", b"Content-Type: application/json", body=b'{"errors": 5}')),
            ("body-message-of-60-kilobytes", head(b"404 no", b"Content-Type: application/json", body=json.dumps(
                {"errors": [{"message": "\u20ac" * 20000}]}).encode())),
            ("body-403-html", head(b"403 no", b"Content-Type: text/html", body=b"<h1>" + ESCAPE))):
        exits = 4 if "403" in name else (3, 5, 6)
        a.document("answer-" + name, sends(ALL, data), (), exits)
        a.document("blob-answer-" + name, sends(("blobs",), data), (), exits)

    for name, data in (
            ("length-negative", head(b"200 OK", typ, b"Content-Length: -1", body=body, length=False)),
            ("length-letters", head(b"200 OK", typ, b"Content-Length: many", body=body, length=False)),
            ("length-enormous", head(b"200 OK", typ, b"Content-Length: 99999999999999999999", body=body, length=False)),
            ("length-of-a-terabyte", head(b"200 OK", typ, b"Content-Length: 1099511627776", body=body, length=False)),
            ("length-twice", head(b"200 OK", typ, b"Content-Length: 5", body=body)),
            ("chunk-garbage", head(b"200 OK", typ, b"Transfer-Encoding: chunked", length=False) + b"zz\r\nx\r\n"),
            ("chunk-enormous", head(b"200 OK", typ, b"Transfer-Encoding: chunked", length=False) + b"ffffffffffffffff\r\nx"),
            ("no-http", ESCAPE * 100),
            ("http-0.9", b"{}"),
            ("range-unasked", head(b"206 Partial Content", typ, b"Content-Range: bytes 5-9/10", body=body[:5])),
            ("no-content", head(b"204 No Content", typ)),
            ("not-modified", head(b"304 Not Modified", typ)),
            ("early-hints-1000", head(b"103 Early Hints", length=False) * 1000 + head(b"404 no"))):
        exits = (0, 3, 5, 6)
        a.document("answer-" + name, sends(("manifests",), data), (), exits, full=name in ("no-http", "http-0.9"))
    squeezed = gzip.compress(bytes(64 * MIB), 9)
    a.document("answer-encoded-bomb", sends(("manifests",), head(b"200 OK", typ, b"Content-Encoding: gzip", body=squeezed)),
               (), (5, 6))
    a.document("answer-body-without-end", on(("manifests",), lambda h: h.raw(head(b"200 OK", typ, length=False) + (
        b"" if h.command == "HEAD" else b"{" + b" " * (16 * MIB)))), "limit")

    for name, where in (("file", b"file:///etc/passwd"), ("gopher", b"gopher://127.0.0.1:1/x"), ("ftp", b"ftp://127.0.0.1:1/x"),
                        ("escape", b"http://127.0.0.1:1/" + ESCAPE), ("garbage", b"\x01\x02"), ("empty", b""),
                        ("credentials", b"http://user:pass@127.0.0.1:1/"), ("of-100-kilobytes", b"http://127.0.0.1:1/" + b"x" * 100000),
                        ("host-escape", b"http://\x1b[31m/")):
        a.document("redirect-" + name, sends(("manifests",), head(b"307 go", b"Location: " + where)), (), (3, 5, 6), full=name in (
            "credentials", "escape", "of-100-kilobytes"))
    a.document("redirect-to-itself", on(("manifests",), lambda h: h.answer(307, b"", [("Location", h.path)])), (), 5)
    return a


def challenges():
    a = Attacks()

    def challenge(name, *fields, says=(), exits=(4, 5, 6), **kwargs):
        data = head(b"401 Unauthorized", *(b"WWW-Authenticate: " + f for f in fields))
        a.document("challenge-" + name, sends(ALL, data), says, exits, **kwargs)

    challenge("none")
    challenge("empty", b"")
    challenge("escape", ESCAPE)
    challenge("scheme-escape", b"Bearer\x1b[31m realm=\"x\"")
    challenge("realm-escape", b'Bearer realm="http://127.0.0.1:1/' + ESCAPE + b'"')
    challenge("realm-tab-and-delete", b'Bearer realm="http://127.0.0.1:1/\t\x7f"')
    challenge("realm-unclosed", b'Bearer realm="http://127.0.0.1:1/')
    challenge("realm-none", b"Bearer service=x")
    challenge("realm-garbage", b'Bearer realm="not a url"')
    challenge("realm-file", b'Bearer realm="file:///etc/passwd"')
    challenge("realm-gopher", b'Bearer realm="gopher://127.0.0.1:1/_x"')
    challenge("realm-empty-host", b'Bearer realm="http:///x"')
    challenge("realm-of-100-kilobytes", b'Bearer realm="http://127.0.0.1:1/' + b"x" * 100000 + b'"')
    challenge("fields-2000", *(b'Scheme%d realm="x"' % i for i in range(2000)))
    challenge("commas", b"," * 60000)
    challenge("backslashes", b'Bearer realm="' + b"\\" * 20001)
    challenge("scope-injection", b'Bearer realm="http://127.0.0.1:1/",scope="a&b=c\\r\\n d",service="x\\"y"', full=True)
    challenge("digest-scheme", b'Digest realm="x", nonce="y"')
    challenge("negotiate", b"Negotiate " + b"QUFB" * 1000)
    challenge("basic", b'Basic realm="' + ESCAPE + b'"')

    def token(name, data, says="token", exits=(4, 5, 6)):
        """The registry sends us to its own token service, which answers with data."""
        img = image([ONE])

        def wire(h, kind, _what):
            if kind == "other":
                h.raw(data)
            elif h.headers["Authorization"]:
                return False
            else:
                host = h.headers["Host"]
                h.answer(401, b"", [("WWW-Authenticate", 'Bearer realm="http://%s/v2/%s/token",service="s"' % (host, "token-" + name))])
            return True
        img.wire = wire
        a.document("token-" + name, img, says, exits)

    def token_json(name, value, **kwargs):
        token(name, head(b"200 OK", b"Content-Type: application/json", body=json.dumps(value).encode()), **kwargs)

    token_json("newline", {"token": "abc\r\nX-Evil: 1"})
    token_json("escape", {"token": "\x1b[31m"})
    token_json("nul", {"token": "a\0b"})
    token_json("empty", {"token": ""})
    token_json("number", {"token": 5})
    token_json("array", [1])
    token_json("not-ascii", {"access_token": "\u20ac"})
    token_json("of-a-megabyte", {"token": "a" * MIB}, says=())
    token_json("error-escape", {"details": ESCAPE.decode("latin-1")})
    token("not-json", head(b"200 OK", body=ESCAPE))
    token("deep", head(b"200 OK", body=b"[" * 60000))
    token("status-escape", head(b"403 " + ESCAPE, body=ESCAPE))
    token("forbidden-words", head(b"403 no", b"Content-Type: application/json", body=json.dumps(
        {"errors": [{"message": ESCAPE.decode("latin-1")}]}).encode()))
    token("endless", head(b"200 OK", length=False) + b" " * (8 * MIB), says=())
    return a


def references():
    """Words of the command line and of -f lists; nothing of this reaches a network."""
    a = Attacks()

    def ref(name, text, says="image reference", **kwargs):
        a.document("reference-" + name, None, says, 2, refs=[text], names="", **kwargs)

    esc = "\x1b[31mred\x1b]0;t\x07"
    for name, text in (
            ("escape", esc), ("escape-in-host", esc + ".example/x"), ("escape-in-tag", "x:" + esc), ("escape-in-digest", "x@sha256:" + esc),
            ("c1", "x\u009b31m"), ("raw-c1", "x\udc9b31m"), ("not-utf8", "\udcff\udcfe"), ("bidi", "x\u202egpj.exe"), ("delete", "x\x7f"),
            ("newline", "x\nk3simg: error: fine"), ("tab", "a\tb"), ("blank", "a b"), ("empty", ""), ("slash", "/"), ("slashes", "a//b"), ("dotdot", "../../etc/passwd"),
            ("dotdot-inside", "a/../b"), ("absolute", "/etc/passwd"), ("file", "file:///etc/passwd"), ("scheme", "https://x.example/y"),
            ("only-tag", ":1"), ("only-digest", "@sha256:" + "a" * 64), ("two-digests", "x@sha256:" + "a" * 64 + "@sha256:" + "b" * 64),
            ("digest-short", "x@sha256:123"), ("digest-upper", "x@sha256:" + "A" * 64), ("digest-unknown", "x@md5:" + "a" * 32),
            ("port-letters", "x.example:port/y"), ("port-empty", "x.example:/y"), ("host-user", "user:pass@x.example/y"), ("host-percent", "%2e%2e/x.y/z:1"),
            ("host-brackets", "[::1/x"), ("query", "x.example/y?z=1"), ("fragment", "x.example/y#z:1"), ("backslash", "x.example\\y"), ("shell", "x;reboot"),
            ("dollar", "$(id)"), ("format", "%s%s%s%n"), ("upper", "x.example/UPPER"), ("tag-of-129", "x:" + "t" * 129), ("tag-dash", "x:-t"), ("repo-of-256", "a" * 256),
            ("of-1025", "x.example/" + "a/" * 507 + "b"), ("of-100-kilobytes", "a" * 100000), ("image-id", "a" * 64), ("unicode", "\u4f8b/x"), ("full-width-slash", "x\uff0fy")):
        ref(name, text)
        if "\n" not in text and "\x00" not in text and text and "#" not in text:
            a.document("list-" + name, None, "line 2", 2, refs=["-f", "-"], stdin=("# one\n" + text + "\n").encode("utf-8", "surrogateescape"), names="")
    for name, text in (("nul", b"x\0y\n"), ("utf16", "nginx\n".encode("utf-16")), ("binary", bytes(range(256)) * 10),
                       ("of-5-megabytes", b"# comment\n" * 500000 + b"x:-\n"), ("line-of-a-megabyte", b"a" * MIB + b"\n"),
                       ("fake-option", b"--root=/evil\n"), ("carriage-returns", b"x y\r\n"), ("form-feed", b"\x0cx\n"),
                       ("escape-comment-then-bad", b"# \x1b[31m\n\x1b[31m\n")):
        a.document("list-file-" + name, None, (), (2, 6), refs=["-f", "-"], stdin=text, names="")
    a.document("list-empty", None, (), (0, 2), refs=["-f", "-"], stdin=b"", names="")
    a.document("list-missing-escape", None, (), 2, refs=["-f", "/nonexistent/" + esc], names="")
    a.document("list-directory", None, (), (2, 7), refs=["-f", "/"], names="")
    for name, words in (("platform-escape", ["--platform", "linux/" + esc, "x"]), ("option-escape", ["--" + esc]),
                        ("jobs-escape", ["--jobs", esc, "x"]), ("snapshots-escape", ["--snapshots", esc, "x"]), ("output-escape", ["-o", esc, "x"]),
                        ("namespace-escape", ["-n", esc, "x"]), ("namespace-traversal", ["-n", "../../x", "x"]), ("pause-escape", ["--pause", esc, "x"]),
                        ("chunk-escape", ["--chunk-size", esc, "x"]), ("letter-escape", ["-\x1b"])):
        a.document("words-" + name, None, (), (2, 7), refs=words, names="")
    return a
