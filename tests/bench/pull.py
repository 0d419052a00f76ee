#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""pull.py CRI.PY SOCKET FILE REF: pull through CRI and append " seconds=S" to FILE.

Only the call itself is timed: neither the start of Python nor the connection,
which a first call has opened.
"""
import contextlib
import io
import runpy
import sys
import time

script, socket, out, ref = sys.argv[1:]
sys.argv = [script, "-s", socket, "images"]
with contextlib.redirect_stdout(io.StringIO()):
    client = runpy.run_path(script)["Cri"](socket)
client.images()
start = time.monotonic()
client.pull(ref)
seconds = time.monotonic() - start
with open(out, "a", encoding="ascii") as f:
    f.write(" seconds=%.6f" % seconds)
