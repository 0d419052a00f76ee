#!/usr/bin/python3
"""mirror.py PORTFILE LOG UPSTREAM: mirrors of the registry at UPSTREAM (host:port), good and bad.

Listens on a free port of 127.0.0.1 and writes it to PORTFILE.  The first segment of a path is
the kind of mirror, so that http://127.0.0.1:PORT/KIND is its address:
  good     hands everything on
  low      the same, and says that few pulls are left
  blobless has no blobs (404)
  s404, s503, s401  answers everything with that status
  lies     changes the last byte of layers
  spoil    changes the last byte of every blob, and of manifests asked for by digest
  cut      breaks every large blob off in the middle
  slow-N   hands everything on, N MB/s a connection
Each request is a line "KIND METHOD PATH authorization=… x-test=…" of LOG."""

import http.client
import http.server
import os
import socketserver
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        _, kind, rest = self.path.split("/", 2)
        with open(LOG, "a", encoding="utf-8") as f:
            f.write("%s %s /%s authorization=%s x-test=%s\n" % (
                kind, self.command, rest, self.headers["Authorization"], self.headers["X-Test"]))
        if kind in ("s404", "s503", "s401") or (kind == "blobless" and "/blobs/" in rest):
            return self.answer(int(kind[1:]) if kind != "blobless" else 404,
                               b'{"errors":[{"code":"FAULT","message":"this is on purpose"}]}', {})
        up = http.client.HTTPConnection(UPSTREAM)
        headers = {k: self.headers[k] for k in ("Accept", "Range") if self.headers[k]}
        up.request(self.command, "/" + rest.split("?")[0], headers=headers)
        got = up.getresponse()
        body = got.read()
        fields = {k: v for k, v in got.getheaders()
                  if k in ("Content-Type", "Docker-Content-Digest", "Content-Range")}
        length = got.getheader("Content-Length")
        if kind == "low":
            fields.update({"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "3;w=21600"})
        if kind == "spoil" and "sha256:" in rest and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if kind == "lies" and "/blobs/" in rest and len(body) > 5000:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if kind == "cut" and "/blobs/" in rest and len(body) > 5000:
            self.answer(got.status, body[:len(body) // 2], fields, length)
            self.close_connection = True
            return None
        return self.answer(got.status, body, fields, length)

    def answer(self, status, body, fields, length=None):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="mirror"')
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.send(body)

    def send(self, body):
        kind = self.path.split("/")[1]
        rate = float(kind[5:]) * 1e6 if kind.startswith("slow-") else 0
        begin, piece = time.monotonic(), 65536
        for at in range(0, len(body), piece):
            if rate:
                time.sleep(max(0, begin + at / rate - time.monotonic()))
            self.wfile.write(body[at:at + piece])


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    LOG, UPSTREAM = sys.argv[2:4]
    server = Server(("127.0.0.1", 0), Handler)
    with open(sys.argv[1] + ".new", "w", encoding="ascii") as port:
        port.write("%d\n" % server.server_address[1])
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    server.serve_forever()
