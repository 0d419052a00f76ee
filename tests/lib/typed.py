#!/usr/bin/env python3
"""Types lines at a shell on a terminal of its own, as somebody who completes words does.

usage: typed.py SETUP LINE... -- SHELL...

SETUP is typed first, and the shell must answer its last command with READY.  Each LINE is typed up
to its end, where a tab follows; then a return.  What is run must print "GOT<its words>"; prints a
line with these words for each LINE.
"""
import fcntl
import os
import select
import subprocess
import sys
import termios
import time

LIMIT = 20.0  # seconds for one answer
QUIET = 0.4   # seconds without output: the completion is done

split = sys.argv.index("--")
setup, lines = sys.argv[1], sys.argv[2:split]
master, slave = os.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, b"\x18\x00\x2c\x01\x00\x00\x00\x00")  # 24 lines of 300


def own_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


shell = subprocess.Popen(sys.argv[split + 1:], stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal)


def read_until(mark, quiet=LIMIT):
    """What is shown until the mark, or until nothing comes for so long."""
    shown, end = "", time.time() + LIMIT
    while time.time() < end and mark not in shown:
        if not select.select([master], [], [], quiet)[0]:
            break
        shown += os.read(master, 65536).decode(errors="replace")
    return shown


read_until("> ", QUIET)
os.write(master, setup.encode() + b"; echo REA''DY\n")
shown = read_until("READY")
if "READY" not in shown:
    sys.exit(f"the shell does not come up: {shown}")
read_until("never", QUIET)
for line in lines:
    os.write(master, line.encode() + b"\t")
    seen = read_until("never", QUIET)
    os.write(master, b"\n")
    seen += read_until(">\r\n")
    got = seen.rsplit("GOT<", 1)
    print(got[1].split(">\r\n")[0] if len(got) == 2 else f"nothing was run: {seen!r}")
    read_until("never", 0.1)
shell.kill()
