#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A registry of images that do not start, each for one reason: prints its port and serves until
it is killed.

  foreign       an ELF program for another machine
  text          an executable file that is no program
  interpreter   a script whose interpreter is not there
  nothing       neither entrypoint nor command
  user          a user that is not in /etc/passwd
  workdir       a working directory that is a file
  status        ends with 3 after two lines
"""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "hostile"))

import registry                              # noqa: E402
from image import image                      # noqa: E402
from raw import file, folder, hardlink, tar  # noqa: E402

X86_64, AARCH64 = 62, 183


def main():
    with open("/bin/busybox", "rb") as f:
        box = f.read()
    machine = AARCH64 if int.from_bytes(box[18:20], "little") == X86_64 else X86_64
    foreign = box[:18] + machine.to_bytes(2, "little") + box[20:4096]
    root = tar(
        folder(b"bin/"), folder(b"etc/"), folder(b"tmp/", mode=0o1777),
        file(b"bin/sh", box, mode=0o755), hardlink(b"bin/sleep", b"bin/sh", mode=0o755),
        file(b"etc/passwd", b"root:x:0:0:root:/:/bin/sh\n"),
        file(b"foreign", foreign, mode=0o755), file(b"text", b"no program\n", mode=0o755),
        file(b"script", b"#!/no/such/interpreter\n", mode=0o755))

    def one(**fields):
        return image([root], config=lambda c: c.update(
            architecture={X86_64: "arm64", AARCH64: "amd64"}[machine], config=fields))

    port = registry.start({
        "foreign": one(Entrypoint=["/foreign"]),
        "text": one(Entrypoint=["/text"]),
        "interpreter": one(Entrypoint=["/script"]),
        "nothing": one(),
        "user": one(Cmd=["/bin/sh"], User="nobody-here"),
        "workdir": one(Cmd=["/bin/sh"], WorkingDir="/etc/passwd"),
        "status": one(Cmd=["/bin/sh", "-c", "echo first; echo second; exit 3"]),
    })
    print(port, flush=True)
    signal.pause()


main()
