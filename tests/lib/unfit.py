#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A registry of images that do not start, each for one reason: prints its port and serves until
it is killed.

  foreign       an ELF program for another machine
  text          an executable file that is no program
  interpreter   a script whose interpreter is not there
  loader        a program whose loader is not there
  nothing       neither entrypoint nor command
  user          a user that is not in /etc/passwd
  group         a group that is not in /etc/group
  workdir       a working directory that is a file
  status        ends with 3 after two lines
"""

import os
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "hostile"))

import registry                              # noqa: E402
from image import image                      # noqa: E402
from raw import file, folder, hardlink, tar  # noqa: E402

X86_64, AARCH64 = 62, 183


def dynamic(machine, loader):
    """An ELF file of 64 bits of which nothing but the loader is right."""
    return (b"\x7fELF\2\1\1" + bytes(9) +
            struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0) +
            struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(loader), len(loader), 1) + loader)


def main():
    with open("/bin/busybox", "rb") as f:
        box = f.read()
    machine = AARCH64 if int.from_bytes(box[18:20], "little") == X86_64 else X86_64
    own = int.from_bytes(box[18:20], "little")
    foreign = box[:18] + machine.to_bytes(2, "little") + box[20:4096]
    root = tar(
        folder(b"bin/"), folder(b"etc/"), folder(b"tmp/", mode=0o1777),
        file(b"bin/sh", box, mode=0o755), hardlink(b"bin/sleep", b"bin/sh", mode=0o755),
        file(b"etc/passwd", b"root:x:0:0:root:/:/bin/sh\n"),
        file(b"foreign", foreign, mode=0o755), file(b"text", b"no program\n", mode=0o755),
        file(b"script", b"#!/no/such/interpreter\n", mode=0o755),
        file(b"dynamic", dynamic(own, b"/lib/no-such-ld.so.1\0"), mode=0o755))

    def one(**fields):
        return image([root], config=lambda c: c.update(
            architecture={X86_64: "arm64", AARCH64: "amd64"}[machine], config=fields))

    port = registry.start({
        "foreign": one(Entrypoint=["/foreign"]),
        "text": one(Entrypoint=["/text"]),
        "interpreter": one(Entrypoint=["/script"]),
        "loader": one(Entrypoint=["/dynamic"]),
        "nothing": one(),
        "user": one(Cmd=["/bin/sh"], User="nobody-here"),
        "group": one(Cmd=["/bin/sh"], User="root:no-such-group"),
        "workdir": one(Cmd=["/bin/sh"], WorkingDir="/etc/passwd"),
        "status": one(Cmd=["/bin/sh", "-c", "echo first; echo second; exit 3"]),
    })
    print(port, flush=True)
    signal.pause()


main()
