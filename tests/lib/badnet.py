#!/usr/bin/python3
"""badnet.py PORTS LOG [CERTIFICATES]: a registry on a network where everything goes wrong.

Writes its addresses as shell assignments to the file PORTS:
  MAIN    the registry, plain HTTP
  OTHER   another host: storage and token service
  CLOSED  refuses connections
  FULL    never completes one: its backlog is full
  PROXY   an HTTP proxy for names that end in .test; its first label chooses
          the port: tls-NAME one of those below, anything else MAIN
  TLS_NAME  the same registry for each NAME.pem with NAME.key in CERTIFICATES;
          "old" speaks TLS 1.0 only
All of them have the same image.  The repository chooses the fault:
  WHAT.FAULT.WHEN   WHAT is head, manifest, config, layer or any; FAULT the name
                    of a function fault_* below, with - for _, and an argument
                    behind a second -; WHEN is once, twice, N or always
  cut.FAULT.WHEN    a layer that is cut in the middle, then FAULT for its rest
  auth.KIND.0       the registry wants a token; KIND says what goes wrong
  basic.KIND.0      it wants a password
Every request is a line "PORT REPOSITORY METHOD WHAT RANGE AUTHORIZATION STATUS
BODYBYTES QUERY" of the file LOG, with - for what there is not."""

import collections
import email.utils
import gzip
import json
import os
import random
import re
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse

from faulty import MANIFEST, OCI, digest, tar

LAYER = gzip.compress(tar([("noise", random.Random(4).randbytes(300_000))]), 1, mtime=0)
PLAIN = gzip.decompress(LAYER)
CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"]},
                     "rootfs": {"type": "layers", "diff_ids": [digest(PLAIN)]}}).encode()
IMAGE = json.dumps({
    "schemaVersion": 2, "mediaType": MANIFEST,
    "config": {"mediaType": OCI + "config.v1+json", "digest": digest(CONFIG), "size": len(CONFIG)},
    "layers": [{"mediaType": OCI + "layer.v1.tar+gzip", "digest": digest(LAYER), "size": len(LAYER)}]}).encode()
BLOBS = {digest(LAYER): ("layer", LAYER), digest(CONFIG): ("config", CONFIG)}
FOREVER = 600

lock = threading.Lock()
counts = collections.Counter()
address = {}
log = None


class Gone(Exception):
    """The connection has been dealt with."""


class Request:
    def __init__(self, port, head):
        lines = head.decode("latin-1").split("\r\n")
        self.port = port
        self.method, self.target = lines[0].split(" ")[:2]
        self.fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        url = urllib.parse.urlsplit(self.target)
        self.path, self.query = url.path, url.query
        parts = self.path.strip("/").split("/")
        self.repo, self.what, self.ref = "-", "other", ""
        if parts[0] == "v2" and len(parts) == 4:
            self.repo, kind, self.ref = parts[1:]
            if kind == "manifests":
                self.what = "head" if self.method == "HEAD" else "manifest"
            else:
                self.what = BLOBS.get(self.ref, ("unknown",))[0]
        elif parts[0] == "token" and len(parts) >= 2:
            self.repo, self.what = parts[1], "token"
        with lock:
            self.nth = counts[self.repo, self.what]
            counts[self.repo, self.what] += 1
        self.range = self.fields.get("range", "-")
        self.auth = self.fields.get("authorization", "-").replace(" ", ":")


class Answer:
    def __init__(self, status, body=b"", media="application/json", **fields):
        self.status, self.body, self.version = status, body, "1.1"
        self.fields = {"Content-Type": media, "Content-Length": str(len(body))}
        self.fields.update({k.replace("_", "-"): v for k, v in fields.items()})
        self.raw_fields = b""

    def head(self):
        lines = ["HTTP/%s %d Whatever" % (self.version, self.status)]
        lines += ["%s: %s" % (k, v) for k, v in self.fields.items() if v is not None]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n" + self.raw_fields + b"\r\n"


class Connection:
    def __init__(self, sock):
        self.sock, self.body_sent, self.status = sock, 0, 0
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        self.sock.sendall(data)

    def wire(self, req, answer, most=None, rate=None):
        """Sends the answer, or its first bytes, head included."""
        head = answer.head()
        body = b"" if req.method == "HEAD" else answer.body
        data = (head + body)[:most]
        self.status = answer.status
        at = 0
        while at < len(data):
            n = len(data) - at if rate is None or at < len(head) else max(1, int(rate / 10))
            if at < len(head):
                n = min(n, len(head) - at)
            piece = data[at:at + n]
            self.send(piece)
            at += len(piece)
            self.body_sent = max(0, at - len(head))
            if rate is not None and at > len(head):
                time.sleep(max(0.1, 1 / rate))
        if answer.version == "1.0" or "Content-Length" not in answer.fields or most is not None:
            raise Gone

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone


def stay(_):
    """Holds the connection and says nothing more."""
    time.sleep(FOREVER)
    raise Gone


def place(req, answer, where):
    """How many bytes of the answer come: a word, hN of the header, or N of the body."""
    head = len(answer.head())
    body = 0 if req.method == "HEAD" else len(answer.body)
    words = {"0": 0, "head": head // 2, "mid": head + body // 2, "last": head + body - 1}
    if where in words:
        return words[where]
    return int(where[1:]) if where[0] == "h" else head + int(where)


# ---- the faults: (connection, request, the right answer, argument) ----

def fault_reset(c, req, answer, where):
    try:
        c.wire(req, answer, place(req, answer, where))
    except Gone:
        pass
    c.reset()


def fault_close(c, req, answer, where):
    c.wire(req, answer, place(req, answer, where))


def fault_stall(c, req, answer, where):
    try:
        c.wire(req, answer, place(req, answer, where))
    except Gone:
        stay(c)


def fault_drip(c, req, answer, _):
    c.wire(req, answer, rate=1)


def fault_slow(c, req, answer, rate):
    c.wire(req, answer, rate=int(rate))


def fault_driphead(c, req, answer, _):
    for i in range(FOREVER):
        c.send(b"HTTP/1.1 200 OK\r\n" if i == 0 else b"X-%d: y\r\n" % i)
        time.sleep(0.3)


def fault_flood100(c, req, answer, _):
    """Never an answer, but always the promise of one."""
    for _ in range(FOREVER):
        c.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.3)


def fault_short(c, req, answer, _):
    answer.body = answer.body[:-7]
    answer.fields["Content-Length"] = str(len(answer.body))
    c.wire(req, answer)


def fault_long(c, req, answer, _):
    answer.body += b"seven\r\n"
    answer.fields["Content-Length"] = str(len(answer.body))
    c.wire(req, answer)


def fault_longunsaid(c, req, answer, _):
    answer.body += b"seven\r\n"
    del answer.fields["Content-Length"]
    c.wire(req, answer)


def fault_length(c, req, answer, value):
    """A Content-Length that is a lie."""
    answer.fields["Content-Length"] = {"more": str(len(answer.body) + 1000), "less": str(len(answer.body) - 100),
                                       "negative": "-1", "huge": "18446744073709551617", "words": "many"}[value]
    c.wire(req, answer, 1 << 30)


def fault_lengths(c, req, answer, _):
    answer.raw_fields = b"Content-Length: 5\r\n"
    c.wire(req, answer, 1 << 30)


def fault_chunked(c, req, answer, how):
    del answer.fields["Content-Length"]
    answer.fields["Transfer-Encoding"] = "chunked"
    body, answer.body = answer.body, b""
    if how == "garbage":
        body = body[:len(body) // 2]
    pieces = [body[i:i + 10000] for i in range(0, len(body), 10000)]
    if how == "short":
        pieces = pieces[:len(pieces) // 2]
    for p in pieces:
        answer.body += b"%x\r\n%s\r\n" % (len(p), p)
    if how == "cut":
        answer.body = answer.body[:len(answer.body) // 2]
    elif how == "garbage":
        answer.body += b"zzzz\r\nno chunk\r\n"
    else:
        answer.body += b"0\r\n\r\n"
    c.wire(req, answer)


def fault_corrupt(c, req, answer, _):
    answer.body = answer.body[:-1] + bytes([answer.body[-1] ^ 1])
    c.wire(req, answer)


def fault_type(c, req, answer, which):
    answer.fields["Content-Type"] = {"html": "text/html; charset=utf-8", "png": "image/png", "none": None,
                                     "index": OCI + "index.v1+json", "control": "a/b\x1b[31m"}[which]
    c.wire(req, answer)


def fault_dcd(c, req, answer, which):
    answer.fields["Docker-Content-Digest"] = {"wrong": digest(b"something else"), "none": None,
                                              "garbage": "sha256:xyz"}[which]
    c.wire(req, answer)


def fault_status(c, req, _, status):
    c.wire(req, Answer(int(status), b'{"errors":[{"code":"FAULT","message":"this is on purpose"}]}'))


def fault_later(c, req, _, when):
    value = {"date": email.utils.formatdate(time.time() + 2, usegmt=True),
             "year9999": "Fri, 31 Dec 9999 23:59:59 GMT"}.get(when, when)
    c.wire(req, Answer(429, b'{"errors":[{"code":"TOOMANYREQUESTS"}]}', Retry_After=value))


def fault_redirect(c, req, _, to):
    here = "http://%s%s" % (address[req.port], req.path)
    c.wire(req, Answer(307, Location={
        "loop": req.path, "other": "http://" + address["OTHER"] + req.path, "file": "file:///etc/passwd",
        "gopher": "gopher://%s/x" % address["OTHER"], "user": here.replace("://", "://root:x@"),
        "none": None, "long": here + "?x=" + "y" * 20000, "plain": "http://plain.test" + req.path,
        "dead": "http://" + address["CLOSED"] + req.path, "empty": "", "garbage": "http://[::1",
        "slow": "http://" + address["OTHER"] + "/slow/" + req.path}[to]))


def fault_http10(c, req, answer, _):
    answer.version = "1.0"
    del answer.fields["Content-Length"]
    c.wire(req, answer)


def fault_http09(c, req, answer, _):
    c.send(answer.body)
    raise Gone


def fault_gzip(c, req, answer, how):
    answer.fields["Content-Encoding"] = "gzip"
    if how == "again":
        answer.body = gzip.compress(answer.body, 1, mtime=0)
        answer.fields["Content-Length"] = str(len(answer.body))
    c.wire(req, answer)


def fault_head(c, req, answer, which):
    answer.raw_fields = {
        "many": b"X-Padding: %s\r\n" % (b"x" * 1000) * 200, "line": b"X-Padding: %s\r\n" % (b"x" * 200_000),
        "escape": b"X-Colour: \x1b[31mred\r\n", "nul": b"X-Nul: a\0b\r\n", "cr": b"X: a\rDocker-Content-Digest: b\r\n",
        "nocolon": b"this is no header field\r\n", "fold": b"X: a\r\n  b\r\n"}[which]
    c.wire(req, answer)


def fault_garbage(c, *_):
    c.send(b"\xff\xfe\x00 no http at all\r\n\r\n" * 20)
    raise Gone


# What becomes of a Range, behind a first answer that was cut.

def fault_norange(c, req, answer, _):
    c.wire(req, Answer(200, LAYER, "application/octet-stream"))


def fault_contentrange(c, req, answer, value):
    if answer.status == 206:
        last = len(LAYER) - 1
        answer.fields["Content-Range"] = {
            "wrong": "bytes 0-%d/%d" % (last, len(LAYER)), "none": None, "garbage": "bytes what",
            "total": "bytes %s-%d/%d" % (req.range[6:-1], last, len(LAYER) + 5),
            "beyond": "bytes %s-%d/*" % (req.range[6:-1], last + 9)}[value]
    c.wire(req, answer)


def fault_pieces(c, req, answer, size):
    """Ranges are answered, but only so many bytes of them."""
    if answer.status == 206:
        first, n = int(req.range[6:-1]), int(size)
        answer.body = answer.body[:n]
        answer.fields["Content-Length"] = str(len(answer.body))
        answer.fields["Content-Range"] = "bytes %d-%d/%d" % (first, first + len(answer.body) - 1, len(LAYER))
    c.wire(req, answer)


FAULTS = {name[6:]: f for name, f in globals().items() if name.startswith("fault_")}


def right_answer(req):
    if req.what in ("head", "manifest"):
        return Answer(200, IMAGE, MANIFEST, Docker_Content_Digest=digest(IMAGE))
    if req.what not in ("layer", "config"):
        return Answer(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"?"}]}')
    body = BLOBS[req.ref][1]
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", req.range)
    if not wanted:
        return Answer(200, body, "application/octet-stream")
    first, last = int(wanted[1]), min(int(wanted[2] or len(body)), len(body) - 1)
    return Answer(206, body[first:last + 1], "application/octet-stream",
                  Content_Range="bytes %d-%d/%d" % (first, last, len(body)))


# ---- tokens and passwords ----

def refuse_without_token(c, req, kind):
    """A token is "KIND-N"; which of them are good depends on the kind."""
    realm = "http://%s/token/%s" % (address["OTHER"], req.repo)
    if kind == "realmplain":
        realm = "http://plain.test/token/%s" % req.repo
    elif kind == "realmfile":
        realm = "file:///etc/passwd"
    scope = "" if kind == "noscope" else ',scope="repository:%s:pull"' % req.repo
    challenge = 'Bearer realm="%s",service="badnet"%s' % (realm, scope)
    good = re.fullmatch(r"Bearer:%s-(\d+)" % kind, req.auth)
    if good and kind == "expires" and req.what in ("config", "layer") and good[1] == "0":
        good = None
    elif good and kind == "expiresmid" and req.what == "layer" and req.range != "-" and good[1] == "0":
        good = None
    elif kind == "refused":
        good = None
    if not good:
        c.wire(req, Answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', WWW_Authenticate=challenge))
    return bool(good)


def give_token(c, req):
    kind = req.repo.split(".")[1].partition("-")[0]
    answer = Answer(200, json.dumps({"token": "%s-%d" % (kind, req.nth), "expires_in": 300}).encode())
    if kind == "tok500" or (kind == "tok500once" and not req.nth):
        answer = Answer(500, b"oops")
    elif kind == "tok404":
        answer = Answer(404)
    elif kind == "tok401":
        answer = Answer(401, b'{"details":"wrong password"}')
    elif kind == "tokgarbage":
        answer = Answer(200, b"<html>login</html>", "text/html")
    elif kind == "tokcontrol":
        answer = Answer(200, json.dumps({"token": "a\r\nX-Injected: y"}).encode())
    elif kind == "tokhuge":
        answer = Answer(200, b'{"token":"' + b"x" * 1_000_000 + b'"}')
    elif kind == "tokstall":
        stay(c)
    elif kind == "tokdrip":
        fault_drip(c, req, Answer(200, b" " * 60_000), "")
    elif kind == "tokredirect" and req.port == "OTHER":
        answer = Answer(307, Location="http://%s%s?%s" % (address["MAIN"], req.path, req.query))
    elif kind == "tokloop":
        answer = Answer(307, Location=req.path)
    c.wire(req, answer)


def handle(c, req):
    if req.path.startswith("/slow/"):
        time.sleep(1.5)
        c.wire(req, Answer(307, Location=req.path))
        return
    if req.what == "token":
        give_token(c, req)
        return
    answer = right_answer(req)
    if req.repo.count(".") != 2:
        c.wire(req, answer)
        return
    what, fault, when = req.repo.split(".")
    name, _, argument = fault.partition("-")
    if what in ("auth", "basic") and req.port == "OTHER":
        if req.auth != "-":     # never meant for this host
            c.wire(req, Answer(400, b"leak"))
        elif argument == "cut" and req.what == "layer" and req.range == "-":
            fault_close(c, req, answer, "mid")
        else:
            c.wire(req, answer)
    elif what == "basic":
        if not req.auth.startswith("Basic:"):
            c.wire(req, Answer(401, b"{}", WWW_Authenticate='Basic realm="badnet"'))
        elif name == "redirect" and req.what == "layer":
            fault_redirect(c, req, answer, "other")
        else:
            c.wire(req, answer)
    elif what == "auth":
        if not refuse_without_token(c, req, name):
            return
        if name == "redirect" and req.what == "layer":
            fault_redirect(c, req, answer, "other")
        elif name == "expiresmid" and req.what == "layer" and req.range == "-":
            fault_close(c, req, answer, "mid")
        else:
            c.wire(req, answer)
    else:
        most = {"once": 1, "twice": 2, "always": 1 << 30}.get(when) or int(when)
        if req.port == "OTHER":
            c.wire(req, answer)
        elif what == "cut" and req.what == "layer" and req.range == "-" and not req.nth:
            fault_close(c, req, answer, "mid")
        elif what == "cut" and req.what == "layer" and req.nth <= most:
            FAULTS[name](c, req, answer, argument)
        elif what in (req.what, "any") and req.nth < most:
            FAULTS[name](c, req, answer, argument)
        else:
            c.wire(req, answer)


# ---- connections ----

def read_head(sock):
    data = b""
    while b"\r\n\r\n" not in data and len(data) < 65536:
        piece = sock.recv(65536)
        if not piece:
            raise Gone
        data += piece
        if not data[:1].isalpha():      # a TLS hello: what a server in Go says
            sock.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n")
            raise Gone
    return data.split(b"\r\n\r\n")[0]


def tunnel(c, req):
    """CONNECT: passes the bytes on.  A refusing proxy is chosen by the name, too."""
    host = req.target.split(":")[0]
    if host.startswith("refused"):
        c.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        raise Gone
    if host.startswith("silent"):
        stay(c)
    name = host.split(".")[0].upper().replace("-", "_")
    to, port = address.get(name, address["MAIN"]).split(":")
    peer = socket.create_connection((to, int(port)))
    c.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    threading.Thread(target=pump, args=(peer, c.sock), daemon=True).start()
    pump(c.sock, peer)
    raise Gone


def serve(sock, port, context):
    try:
        if context:
            sock = context.wrap_socket(sock, server_side=True)
        c = Connection(sock)
        while True:
            req = Request(port, read_head(sock))
            if req.method == "CONNECT":
                tunnel(c, req)
            c.body_sent = c.status = 0
            try:
                handle(c, req)
            finally:
                with lock:
                    log.write(" ".join(map(str, (port, req.repo, req.method, req.what, req.range, req.auth, c.status,
                                                 c.body_sent, req.query or "-"))) + "\n")
                    log.flush()
    except (Gone, OSError):
        pass
    finally:
        sock.close()


def accept(listener, port, context):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock, port, context), daemon=True).start()


def listen(name, backlog=128):
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    if backlog is not None:
        s.listen(backlog)
    address[name] = "127.0.0.1:%d" % s.getsockname()[1]
    return s


def tls_context(directory, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if name == "old":
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    context.load_cert_chain("%s/%s.pem" % (directory, name), "%s/%s.key" % (directory, name))
    return context


def main(ports, logfile, certificates=None):
    global log
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    log = open(logfile, "w", encoding="utf-8")
    listeners = [(listen(name), name, None) for name in ("MAIN", "OTHER", "PROXY")]
    if certificates:
        for file in sorted(os.listdir(certificates)):
            name, ext = os.path.splitext(file)
            if ext == ".pem" and os.path.exists("%s/%s.key" % (certificates, name)):
                listeners.append((listen("TLS_" + name.upper()), "TLS_" + name.upper(),
                                  tls_context(certificates, name)))
    kept = [listen("CLOSED", None), listen("FULL", 0)]
    for _ in range(3):      # until nothing more fits into the backlog
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(kept[1].getsockname())
        kept.append(s)
    threads = [threading.Thread(target=accept, args=a, daemon=True) for a in listeners]
    for t in threads:
        t.start()
    with open(ports + ".new", "w", encoding="ascii") as f:
        f.write("".join("%s=%s\n" % item for item in address.items()))
        f.write("LAYER_SIZE=%d\n" % len(LAYER))
    os.rename(ports + ".new", ports)
    threads[0].join()


if __name__ == "__main__":
    main(*sys.argv[1:])
