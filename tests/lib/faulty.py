#!/usr/bin/python3
"""faulty.py PORTFILE: a registry that answers wrongly, one way per repository.

Listens on a free port of 127.0.0.1 and writes it to PORTFILE.  The repository
name chooses the fault (the names are in FAULTS and STATUS below); "good" is a
correct image.  The tag does not matter.

Of these the blobs are big and may be asked for by Range:
  rate-N         each connection gets N MB/s
  cdn            the registry wants credentials and sends to another host for the
                 blobs, which refuses whoever shows it those
Every blob request to them is a line "blob REPOSITORY BYTES BESIDE" on standard
error; BESIDE is how many others of that repository are being answered."""

import collections
import gzip
import hashlib
import http.server
import io
import json
import os
import random
import re
import socketserver
import sys
import tarfile
import threading
import time

OCI = "application/vnd.oci.image."
MANIFEST, INDEX = OCI + "manifest.v1+json", OCI + "index.v1+json"
STATUS = {"s401": 401, "s403": 403, "s404": 404, "s429": 429, "s500": 500, "s503": 503}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(extra=()):
    buf = io.BytesIO()
    with tarfile.open(fileobj=buf, mode="w", format=tarfile.PAX_FORMAT) as t:
        for name, data in [("hello", b"hello\n" * 2000), *extra]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return buf.getvalue()


class Image:
    """A small image; what is wrong with it depends on the name."""

    def __init__(self, fault):
        self.fault, self.blobs = fault, {}
        seed = hashlib.sha256(fault.encode()).digest()
        noise = b"".join(hashlib.sha256(seed + bytes([i & 255, i >> 8])).digest() for i in range(3000))
        if fault == "cdn" or fault.startswith("rate-"):
            noise = random.Random(fault).randbytes(24 << 20)
        plain = tar([("noise", noise)])
        media = OCI + "layer.v1.tar+gzip"
        diff = digest(plain)
        data = gzip.compress(plain, 1, mtime=0)
        if fault == "truncated-layer":
            data = data[:len(data) // 2]
        elif fault == "not-gzip":
            data = b"this is no gzip stream, nor is it a tar\n" * 50
        elif fault == "bad-crc":
            data = data[:-8] + b"\1\2\3\4" + data[-4:]
        elif fault == "unknown-compression":
            media = OCI + "layer.v1.tar+lz4"
        elif fault == "foreign-type":
            media = "application/x-what-is-this"
        elif fault == "diff-id":
            diff = digest(b"something else")
        elif fault == "truncated-tar":
            plain = plain[:len(plain) // 2 + 100]
            data, diff = gzip.compress(plain, mtime=0), digest(plain)
        layer = self.blob(data, media)
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"]},
                             "rootfs": {"type": "layers", "diff_ids": [diff] + ([diff] if fault == "diff-count" else [])}})
        if fault == "config-not-json":
            config = "{ not json"
        config = self.blob(config.encode(), OCI + "config.v1+json")
        if fault == "blob-size":
            layer["size"] += 7
        elif fault == "bad-digest-text":
            layer["digest"] = "sha256:../../../../etc/passwd"
        elif fault == "unknown-algorithm":
            layer["digest"] = "md5:" + "0" * 32
        elif fault == "missing-blob":
            del self.blobs[layer["digest"]]
        elif fault == "huge-size":
            layer["size"] = 1 << 62
        self.corrupt = layer["digest"]
        self.media = MANIFEST
        self.manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
                                    "layers": [layer]}).encode()
        if fault == "not-json":
            self.manifest = b"<html><body>Welcome to the hotel network</body></html>"
        elif fault == "big-manifest":
            self.manifest = b'{"schemaVersion": 2, "pad": "' + b"x" * (20 << 20) + b'"}'
        elif fault == "deep-manifest":
            self.manifest = b"[" * 200_000
        elif fault == "unknown-media":
            self.media = "application/vnd.example.thing+json"
            self.manifest = b'{"schemaVersion": 2, "mediaType": "application/vnd.example.thing+json"}'
        elif fault == "schema1":
            self.media = "application/vnd.docker.distribution.manifest.v1+prettyjws"
            self.manifest = b'{"schemaVersion": 1, "name": "x", "fsLayers": [], "history": []}'
        elif fault == "no-platform":
            sub = self.blob(self.manifest, MANIFEST)
            self.media = INDEX
            self.manifest = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                {**sub, "platform": {"os": "windows", "architecture": "amd64"}},
                {**sub, "platform": {"os": "linux", "architecture": "s390x"}}]}).encode()
        elif fault == "index-loop":
            self.media = INDEX
            self.manifest = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                {"mediaType": INDEX, "digest": digest(b"loop"), "size": 10}]}).encode()

    def blob(self, data, media):
        self.blobs[digest(data)] = data
        return {"mediaType": media, "digest": digest(data), "size": len(data)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    images, making = {}, threading.Lock()
    answering = collections.Counter()

    def log_message(self, *args):
        sys.stderr.write("%s\n" % (args[0] % args[1:]))

    def answer(self, code, body=b"", media="application/json", length=None, **headers):
        self.send_response(code)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def ranged(self, body, fault):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        first, last = 0, len(body) - 1
        self.send_response(206 if wanted else 200)
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or last), last)
            self.send_header("Content-Range", "bytes %d-%d/%d" % (first, last, len(body)))
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        rate = float(fault[5:]) * 1e6 if fault.startswith("rate-") else 1e12
        with self.making:
            sys.stderr.write("blob %s %d %d\n" % (fault, last - first + 1, self.answering[fault]))
            self.answering[fault] += 1
        begin, sent = time.monotonic(), 0
        try:
            while first + sent <= last:
                piece = body[first + sent:min(first + sent + 65536, last + 1)]
                self.wfile.write(piece)
                sent += len(piece)
                time.sleep(max(0.0, begin + sent / rate - time.monotonic()))
        finally:
            with self.making:
                self.answering[fault] -= 1

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts == ["v2"]:
            return self.answer(200, b"{}")
        if len(parts) < 4 or parts[0] != "v2":
            return self.answer(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"?"}]}')
        fault, kind, what = parts[-3], parts[-2], parts[-1]
        if fault in STATUS:
            extra = {401: {"WWW_Authenticate": 'Basic realm="closed"'},
                     429: {"Retry_After": "1"}}.get(STATUS[fault], {})
            return self.answer(STATUS[fault], b'{"errors":[{"code":"FAULT","message":"this is on purpose"}]}', **extra)
        if fault == "garbage":
            self.wfile.write(b"\x16\x03\x01 no http at all \xff\xfe\r\n\r\n" * 20)
            self.close_connection = True
            return None
        if fault == "closes":
            self.close_connection = True
            return None
        if fault == "redirect-loop":
            return self.answer(307, Location=self.path)
        if fault == "cdn" and self.headers["Host"].startswith("127.") and not self.headers["Authorization"]:
            return self.answer(401, b"{}", WWW_Authenticate='Basic realm="cdn"')
        if fault == "cdn" and self.headers["Host"].startswith("localhost") and self.headers["Authorization"]:
            sys.stderr.write("leak\n")
            return self.answer(400, b"{}")
        with self.making:
            if fault not in self.images:
                self.images[fault] = Image(fault)
        image = self.images[fault]
        if kind == "manifests":
            body = image.manifest
            if what.startswith("sha256:"):
                body = image.blobs.get(what, body)
                if fault == "wrong-manifest-digest":
                    body += b"\n"
            return self.answer(200, body, image.media, Docker_Content_Digest=digest(body))
        body = image.blobs.get(what)
        if body is None:
            return self.answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"no such blob"}]}')
        if fault == "cdn" and self.headers["Host"].startswith("127."):
            return self.answer(307, Location="http://localhost:%d%s" % (self.server.server_address[1], self.path))
        if fault == "cdn" or fault.startswith("rate-"):
            return self.ranged(body, fault)
        if what == image.corrupt:
            if fault == "wrong-digest":
                body = body[:-1] + bytes([body[-1] ^ 1])
            elif fault == "longer-body":
                body += b"extra bytes"
            elif fault == "short-body":      # announced in full, then cut, every time
                self.answer(200, body[:len(body) // 2], length=len(body))
                self.close_connection = True
                return None
            elif fault == "html-instead":
                body = b"<html>login first</html>"
            elif fault == "layer-500":
                return self.answer(500, b"oops")
        return self.answer(200, body, "application/octet-stream")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main(portfile):
    server = Server(("127.0.0.1", 0), Handler)
    with open(portfile + ".new", "w", encoding="ascii") as f:
        f.write("127.0.0.1:%d\n" % server.server_address[1])
    os.rename(portfile + ".new", portfile)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
