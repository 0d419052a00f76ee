#!/usr/bin/python3
"""proxy.py PORTFILE LOG [USER:PASSWORD]: an HTTP proxy for plain requests and CONNECT.

Every host is 127.0.0.1, so that names that do not exist can be asked for.  With credentials,
who does not show them gets 407.  Each request is a line "METHOD TARGET allowed|refused" of LOG."""

import base64
import http.client
import http.server
import os
import socket
import socketserver
import sys
import threading
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def allowed(self):
        want = "Basic " + base64.b64encode(CREDS.encode()).decode() if CREDS else None
        ok = self.headers["Proxy-Authorization"] == want
        with open(LOG, "a", encoding="utf-8") as f:
            f.write("%s %s %s\n" % (self.command, self.path, "allowed" if ok else "refused"))
        if not ok:
            self.send_response(407)
            self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        return ok

    def do_CONNECT(self):
        if not self.allowed():
            return
        peer = socket.create_connection(("127.0.0.1", int(self.path.rsplit(":", 1)[1])))
        self.send_response(200)
        self.end_headers()
        there = threading.Thread(target=self.copy, args=(self.connection, peer), daemon=True)
        there.start()
        self.copy(peer, self.connection)
        self.close_connection = True

    @staticmethod
    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if not self.allowed():
            return
        url = urllib.parse.urlsplit(self.path)
        up = http.client.HTTPConnection("127.0.0.1", url.port or 80)
        up.request(self.command, url.path + ("?" + url.query if url.query else ""),
                   headers={k: v for k, v in self.headers.items() if not k.startswith("Proxy-")})
        got = up.getresponse()
        body = got.read()
        self.send_response(got.status)
        for name, value in got.getheaders():
            if name not in ("Connection", "Transfer-Encoding", "Date", "Server"):
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    LOG = sys.argv[2]
    CREDS = sys.argv[3] if len(sys.argv) > 3 else ""
    server = Server(("127.0.0.1", 0), Handler)
    with open(sys.argv[1] + ".new", "w", encoding="ascii") as port:
        port.write("%d\n" % server.server_address[1])
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    server.serve_forever()
