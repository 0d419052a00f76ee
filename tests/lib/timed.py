#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""timed.py FILE COMMAND...: run COMMAND and append "seconds peak-KiB " to FILE."""
import os
import subprocess
import sys
import time

out, command = sys.argv[1], sys.argv[2:]
start = time.monotonic()
child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
text = child.stderr.read()
_, status, usage = os.wait4(child.pid, 0)
if status:
    sys.stderr.buffer.write(text)
    sys.exit(1)
with open(out, "a") as f:
    f.write("%.3f %d " % (time.monotonic() - start, usage.ru_maxrss))
