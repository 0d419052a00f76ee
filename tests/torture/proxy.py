#!/usr/bin/python3
"""proxy.py: stands between a program and containerd, and disturbs it at a frame.

  proxy.py --dir DIR --to SOCKET [--at N] [--how kill|late|stall] [--vanish BLOBS] COMMAND...

Runs COMMAND, in which the word ADDRESS is the socket of this proxy, and ends with its status
(128 + N for signal N).  Counted are the HEADERS and DATA frames that it sends, from 1; DIR/frames
has their number at the end.  At frame N:

  kill   COMMAND gets SIGKILL and the frame is not passed on
  late   the frame is passed on, and COMMAND gets SIGKILL instead of the first answer
  stall  DIR/stalled is made, and nothing is passed on until DIR/go is there

--vanish: before k3simg begins to write a blob to containerd, the file of that blob is removed
from the directory BLOBS, as a collection just then would.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

PREFACE = 24
DATA, HEADERS = 0, 1
WRITE = re.compile(rb"k3simg-[0-9a-f]{24}-sha256:([0-9a-f]{64})")


class Frames:
    """Cuts a stream into whole frames; the preface of a client is passed as it is."""

    def __init__(self, skip):
        self.buf, self.skip = b"", skip

    def add(self, data):
        self.buf += data
        if self.skip and len(self.buf) >= self.skip:
            yield None, self.buf[:self.skip]
            self.buf, self.skip = self.buf[self.skip:], 0
        while not self.skip and len(self.buf) >= 9:
            size = 9 + int.from_bytes(self.buf[:3], "big")
            if len(self.buf) < size:
                return
            frame, self.buf = self.buf[:size], self.buf[size:]
            yield frame[3], frame


class Proxy:
    def __init__(self, args):
        self.args, self.child = args, None
        self.count, self.lock = 0, threading.Lock()
        self.late = False
        self.vanished = set()

    def path(self, name):
        return os.path.join(self.args.dir, name)

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def stall(self, peer):
        with open(self.path("stalled"), "w", encoding="ascii"):
            pass
        while not os.path.exists(self.path("go")):
            # The other thread shuts both down when containerd has gone.
            if peer.fileno() < 0 or self.child.poll() is not None:
                return
            time.sleep(0.02)

    def vanish(self, frame):
        for name in map(bytes.decode, WRITE.findall(frame)):
            if name not in self.vanished:
                self.vanished.add(name)
                try:
                    os.unlink(os.path.join(self.args.vanish, name))
                except FileNotFoundError:
                    pass

    def on_frame(self, kind, frame, peer):
        """False: it is not to be passed on."""
        if kind not in (DATA, HEADERS):
            return True
        with self.lock:
            self.count += 1
            hit = self.count == self.args.at
        if self.args.vanish and kind == DATA:
            self.vanish(frame)
        if not hit:
            return True
        if self.args.how == "kill":
            self.kill()
            return False
        if self.args.how == "late":
            self.late = True
        if self.args.how == "stall":
            self.stall(peer)
        return True

    def forward(self, source, sink, frames, upwards):
        try:
            while data := source.recv(1 << 16):
                for kind, frame in frames.add(data):
                    if upwards and not self.on_frame(kind, frame, sink):
                        return
                    if not upwards and self.late and kind in (DATA, HEADERS):
                        self.kill()
                        return
                    sink.sendall(frame)
        except OSError:
            pass
        finally:
            for s in (source, sink):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                s.close()

    def serve(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.args.to)
            except OSError:
                client.close()
                continue
            for source, sink, skip, up in ((client, server, PREFACE, True), (server, client, 0, False)):
                threading.Thread(target=self.forward, args=(source, sink, Frames(skip), up), daemon=True).start()

    def run(self):
        for name in ("stalled", "go", "frames", "p"):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path("p"))
        listener.listen()
        threading.Thread(target=self.serve, args=(listener,), daemon=True).start()
        command = [self.path("p") if word == "ADDRESS" else word for word in self.args.command]
        self.child = subprocess.Popen(command)
        status = self.child.wait()
        with open(self.path("frames"), "w", encoding="ascii") as f:
            f.write("%d\n" % self.count)
        return status if status >= 0 else 128 - status


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--dir", required=True)
    p.add_argument("--to", required=True)
    p.add_argument("--at", type=int, default=0)
    p.add_argument("--how", choices=("kill", "late", "stall"), default="kill")
    p.add_argument("--vanish")
    p.add_argument("command", nargs=argparse.REMAINDER)
    args = p.parse_args()
    os.makedirs(args.dir, exist_ok=True)
    sys.exit(Proxy(args).run())


main()
