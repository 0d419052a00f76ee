"""Runs a command on a terminal of its own and types at its prompts.

usage: terminal.py PROMPT=TEXT... -- COMMAND...

TEXT is typed, with a return, once PROMPT is printed; "^C" is an interrupt.  Prints all that the
terminal showed, then a line "echo: on|off at PROMPT, ..., on|off after", then ends with the
command's status.
"""
import fcntl
import os
import select
import subprocess
import sys
import termios
import time

split = sys.argv.index("--")
steps = [a.split("=", 1) for a in sys.argv[1:split]]
master, slave = os.openpty()


def own_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


command = subprocess.Popen(sys.argv[split + 1:], stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal)



def echo():
    return "on" if termios.tcgetattr(slave)[3] & termios.ECHO else "off"


shown, seen, said, status = "", 0, [], None
end = time.time() + 30
while time.time() < end:
    if select.select([master], [], [], 0.05)[0]:
        shown += os.read(master, 4096).decode(errors="replace")
        continue
    if steps and steps[0][0] in shown[seen:]:
        prompt, text = steps.pop(0)
        seen = len(shown)
        said.append(echo() + " at " + prompt.strip())
        os.write(master, b"\x03" if text == "^C" else text.encode() + b"\n")
        continue
    if status is not None:
        break
    status = command.poll()
print(shown)
print("echo: " + ", ".join(said + [echo() + " after"]))
sys.exit(99 if status is None else status)
