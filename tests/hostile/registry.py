# SPDX-License-Identifier: Apache-2.0
"""A registry on 127.0.0.1 that serves one attack per repository."""

import http.server
import socketserver
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    images = {}

    def log_message(self, *_args):
        pass

    def answer(self, code, body=b"", headers=()):
        """headers: pairs of str; Content-Length comes by itself unless it is among them."""
        self.send_response(code)
        if not any(k.lower() == "content-length" for k, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        for key, value in headers:
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def raw(self, data):
        """An answer as it shall be on the wire; the connection ends with it."""
        self.close_connection = True
        self.wfile.write(data)

    def serve(self):
        parts = self.path.split("?")[0].split("/")
        if parts[:2] != ["", "v2"] or len(parts) < 5:
            name = parts[2] if len(parts) > 2 else ""
            img = self.images.get(name)
            if img and img.wire and img.wire(self, "other", parts[-1]):
                return
            self.answer(200 if self.path in ("/v2/", "/v2") else 404)
            return
        name, kind, what = parts[-3], parts[-2], parts[-1]
        img = self.images.get(name)
        if not img:
            self.answer(404)
        elif img.wire and img.wire(self, kind, what):
            return
        elif kind == "manifests" and not what.startswith("sha"):
            self.document(img, *img.tag)
        elif kind == "manifests" and what in img.documents:
            self.document(img, *img.documents[what])
        elif kind == "blobs" and what in img.blobs:
            self.answer(200, img.blobs[what], [("Content-Type", "application/octet-stream")])
        else:
            self.answer(404)

    def document(self, img, media, body):
        headers = {"Content-Type": media, **img.headers}
        self.answer(200, body, [(k, v) for k, v in headers.items() if v is not None])

    def do_GET(self):
        try:
            self.serve()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_POST = do_GET


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that goes away early is what refusing looks like."""


def start(images):
    """Serves from a thread of its own until the process ends; the port."""
    Handler.images = images
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]
