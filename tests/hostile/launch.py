# SPDX-License-Identifier: Apache-2.0
"""Small processes that start the program under test, made before this one grows: Linux
counts the memory of whoever starts a program into the program's own peak."""

import json
import os
import resource
import signal
import socket
import time


def _limit(what, value):
    if value:
        resource.setrlimit(what, (value, value))


def _child(job):
    os.setsid()
    os.chdir(job["cwd"])
    for fd, path, flags in ((0, job["stdin"], os.O_RDONLY), (1, job["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
                            (2, job["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, fd)
    os.closerange(3, 64)
    # A file beyond its limit is an error of write(2) then, not the end of the program.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _limit(resource.RLIMIT_FSIZE, job["fsize"])
    _limit(resource.RLIMIT_AS, job["memory"])
    _limit(resource.RLIMIT_CPU, job["cpu"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    argv = [x.encode("utf-8", "surrogateescape") for x in job["argv"]]
    os.execve(argv[0], argv, job["env"])


def _run(job):
    pid = os.fork()
    if not pid:
        try:
            _child(job)
        finally:
            os._exit(127)
    killed = []

    def kill(*_args):
        killed.append(True)
        os.kill(pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.alarm(job["seconds"])
    while True:
        try:
            _, status, usage = os.wait4(pid, 0)
            break
        except InterruptedError:
            continue
    signal.alarm(0)
    return {"status": status, "rss": usage.ru_maxrss, "cpu": usage.ru_utime + usage.ru_stime,
            "late": bool(killed)}


def _serve(sock):
    reader = sock.makefile("r")
    for line in reader:
        sock.sendall((json.dumps(_run(json.loads(line))) + "\n").encode())
    os._exit(0)


class Launcher:
    """One run at a time; one launcher per thread."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        if not os.fork():
            ours.close()
            _serve(theirs)
        theirs.close()
        self.sock, self.reader = ours, ours.makefile("r")

    def run(self, **job):
        start = time.monotonic()
        self.sock.sendall((json.dumps(job) + "\n").encode())
        line = self.reader.readline()
        if not line:
            raise RuntimeError("a launcher ended")
        return {**json.loads(line), "seconds": time.monotonic() - start}
