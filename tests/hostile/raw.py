# SPDX-License-Identifier: Apache-2.0
"""Tar headers, PAX records, gzip members and zstd frames by hand: what Python's own
modules are too polite to write."""

import struct
import zlib

EPOCH = 1700000000
BLOCK = 512
END = bytes(2 * BLOCK)


def octal(value, size):
    return b"%0*o\0" % (size - 1, value)


def base256(value, size):
    """GNU's binary numbers: two's complement, marked by the first bit."""
    raw = bytearray((value & ((1 << (8 * size)) - 1)).to_bytes(size, "big"))
    raw[0] |= 0x80
    return bytes(raw)


def pad(data):
    return data + bytes(-len(data) % BLOCK)


def header(name=b"", size=0, kind=b"0", mode=0o644, uid=0, gid=0, mtime=EPOCH, link=b"", prefix=b"",
           dev=(0, 0), magic=b"ustar\00000", raw=(), checksum=None):
    """One header block.  raw: (offset, bytes) pairs that overrule all else but the checksum."""
    block = bytearray(BLOCK)

    def put(at, text):
        block[at:at + len(text)] = text

    put(0, name[:100])
    put(100, octal(mode & 0o7777777, 8))
    put(108, octal(uid, 8))
    put(116, octal(gid, 8))
    put(124, octal(size, 12) if size < 8 ** 11 else base256(size, 12))
    put(136, octal(mtime, 12))
    put(156, kind)
    put(157, link[:100])
    put(257, magic)
    put(329, octal(dev[0], 8))
    put(337, octal(dev[1], 8))
    put(345, prefix)
    for at, text in raw:
        put(at, text)
    put(148, b" " * 8)
    total = sum(block) if checksum is None else checksum
    put(148, b"%06o\0 " % total)
    return bytes(block)


def record(key, value):
    """One PAX record; its length counts itself."""
    body = b" " + key + b"=" + value + b"\n"
    size = len(body)
    while len(b"%d" % size) + len(body) != size:
        size = len(b"%d" % size) + len(body)
    return b"%d" % size + body


def pax(records, kind=b"x"):
    """An extended header; records: pairs, or bytes as they shall be."""
    data = records if isinstance(records, bytes) else b"".join(record(k, v) for k, v in records)
    return header(b"pax", len(data), kind) + pad(data)


def gnu_long(kind, text):
    data = text + b"\0"
    return header(b"././@LongLink", len(data), kind, magic=b"ustar  \0") + pad(data)


def entry(name, data=b"", records=None, **fields):
    """A whole entry; names and targets that do not fit travel in PAX records."""
    records = list(records or ())
    if len(name) > 100:
        records.append((b"path", name))
    if len(fields.get("link", b"")) > 100:
        records.append((b"linkpath", fields["link"]))
    fields.setdefault("size", len(data))
    return (pax(records) if records else b"") + header(name, **fields) + pad(data)


def file(name, data=b"evil\n", **fields):
    return entry(name, data, **fields)


def folder(name, **fields):
    fields.setdefault("mode", 0o755)
    return entry(name, kind=b"5", **fields)


def symlink(name, target, **fields):
    fields.setdefault("mode", 0o777)
    return entry(name, kind=b"2", link=target, **fields)


def hardlink(name, target, **fields):
    return entry(name, kind=b"1", link=target, **fields)


def device(name, kind, major=0, minor=0, **fields):
    return entry(name, kind=kind, dev=(major, minor), **fields)


def fifo(name, **fields):
    return entry(name, kind=b"6", **fields)


def tar(*entries):
    return b"".join(entries) + END


def sparse_old(name, parts, real, data, more=b""):
    """An old-GNU sparse file; more: map blocks as they shall be."""
    cells = b"".join(octal(off, 12) + octal(size, 12) if max(off, size) < 8 ** 11 else
                     base256(off, 12) + base256(size, 12) for off, size in parts)
    raw = [(386, cells), (482, b"\1" if more else b"\0"),
           (483, octal(real, 12) if real < 8 ** 11 else base256(real, 12))]
    return header(name, len(data), b"S", magic=b"ustar  \0", raw=raw) + more + pad(data)


# --- gzip ---

def gzip_member(data, level=1, flags=0, extra=b"", crc=None, size=None, method=8, body=None):
    """extra: what the flags announce, as it shall be."""
    if body is None:
        deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
        body = deflate.compress(data) + deflate.flush()
    crc = zlib.crc32(data) if crc is None else crc
    size = len(data) & 0xffffffff if size is None else size
    return bytes((0x1f, 0x8b, method, flags, 0, 0, 0, 0, 0, 255)) + extra + body + struct.pack("<II", crc, size)


# --- zstd (RFC 8878), of raw and RLE blocks only ---

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_BLOCK = 128 << 10


def zstd_block(kind, size, payload, last):
    return struct.pack("<I", size << 3 | kind << 1 | int(last))[:3] + payload


def zstd_frame(data=b"", window_log=17, blocks=None, content_size=None, descriptor=0, after_window=b""):
    """descriptor: bits to add to the frame header's; after_window: dictionary id and the like."""
    head = bytes(((window_log - 10) << 3,)) + after_window
    if content_size is not None:
        descriptor |= 0xc0
        head += struct.pack("<Q", content_size)
    if blocks is None:
        cut = [data[i:i + ZSTD_BLOCK] for i in range(0, len(data), ZSTD_BLOCK)] or [b""]
        blocks = b"".join(zstd_block(0, len(c), c, i == len(cut) - 1) for i, c in enumerate(cut))
    return ZSTD_MAGIC + bytes((descriptor,)) + head + blocks


def zstd_zeros(count):
    """A frame of count zero bytes (whole blocks) in four bytes a block."""
    number = count // ZSTD_BLOCK
    return zstd_frame(blocks=zstd_block(1, ZSTD_BLOCK, b"\0", False) * (number - 1) +
                      zstd_block(1, ZSTD_BLOCK, b"\0", True))


def zstd_skippable(payload, claim=None):
    return struct.pack("<II", 0x184d2a50, len(payload) if claim is None else claim) + payload
