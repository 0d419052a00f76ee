"""A token service for a real docker-registry, as distribution's docs/spec/auth/token.md has it.

usage: tokens.py PORT_FILE LOG DIR

DIR gets key.pem and root.pem (for rootcertbundle).  Issuer and service are "k3simg-test".  Who
gives "tester" and "secret" by Basic, or the refresh token "good-identity" by OAuth2, may pull
everything; others get a token for nothing.  A line of the
log is METHOD WAY SCOPE, WAY being basic, refresh, none or refused.
"""
import base64
import http.server
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse

NAME = "k3simg-test"
PORT_FILE, LOG, DIR = sys.argv[1:4]
KEY, CERT = os.path.join(DIR, "key.pem"), os.path.join(DIR, "root.pem")
LOCK = threading.Lock()


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_key():
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                    "/CN=" + NAME, "-keyout", KEY, "-out", CERT], check=True, capture_output=True)
    der = subprocess.run(["openssl", "x509", "-in", CERT, "-outform", "DER"], check=True,
                         capture_output=True).stdout
    return base64.b64encode(der).decode()


CHAIN = make_key()


def make_token(user, scopes):
    """A JWT by RS256, with its certificate in the header (RFC 7515, 4.1.6)."""
    now = int(time.time())
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":", 2)
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    head = {"typ": "JWT", "alg": "RS256", "x5c": [CHAIN]}
    body = {"iss": NAME, "sub": user, "aud": NAME, "exp": now + 300, "nbf": now - 10, "iat": now,
            "jti": b64(os.urandom(9)), "access": access}
    signed = b64(json.dumps(head).encode()) + "." + b64(json.dumps(body).encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", KEY], input=signed.encode(),
                               check=True, capture_output=True).stdout
    return signed + "." + b64(signature)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def note(self, way, scopes):
        with LOCK, open(LOG, "a") as log:
            log.write("%s %s %s\n" % (self.command, way, " ".join(scopes)))

    def reply(self, status, document):
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def grant(self, way, user, fields, member):
        scopes = " ".join(fields.get("scope", [])).split()
        self.note(way, scopes)
        if way == "refused":
            self.reply(401, {"details": "wrong user or password"})
            return
        if fields.get("service") != [NAME]:
            self.reply(400, {"details": "unknown service"})
            return
        token = make_token(user, scopes if user else [])
        self.reply(200, {member: token, "expires_in": 300})

    def do_GET(self):
        fields = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        given = self.headers.get("Authorization", "")
        if not given:
            self.grant("none", "", fields, "token")
            return
        user, _, password = base64.b64decode(given.split(" ", 1)[1]).decode().partition(":")
        good = (user, password) == ("tester", "secret") and fields.get("account") == ["tester"]
        self.grant("basic" if good else "refused", user, fields, "token")

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        fields = urllib.parse.parse_qs(self.rfile.read(length).decode())
        good = (fields.get("grant_type") == ["refresh_token"] and
                fields.get("refresh_token") == ["good-identity"] and "client_id" in fields)
        self.grant("refresh" if good else "refused", "somebody", fields, "access_token")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(PORT_FILE + ".new", "w") as f:
    f.write("%d\n" % server.server_port)
os.rename(PORT_FILE + ".new", PORT_FILE)
server.serve_forever()
