"""A reader of bbolt files for the database tests: independent of bolt/, and able to read what
is left of a damaged file.  Format: go.etcd.io/bbolt, internal/common."""

import struct

MAGIC, VERSION, NO_FREELIST = 0xED0CDAED, 2, (1 << 64) - 1
BRANCH, LEAF, META, FREELIST = 1, 2, 4, 16
META_FIELDS = {"page id": (0, 8), "page flags": (8, 2), "page count": (10, 2), "page overflow": (12, 4),
               "magic": (16, 4), "version": (20, 4), "page size": (24, 4), "flags": (28, 4),
               "root": (32, 8), "sequence": (40, 8), "freelist": (48, 8), "high water": (56, 8),
               "txid": (64, 8), "checksum": (72, 8)}


def fnv1a(raw):
    h = 0xcbf29ce484222325
    for byte in raw:
        h = (h ^ byte) * 0x100000001b3 & (1 << 64) - 1
    return h


class Bucket:
    """sequence, and items: key -> bytes, or Bucket."""
    __slots__ = ("sequence", "items")

    def __init__(self, sequence=0):
        self.sequence, self.items = sequence, {}

    def __eq__(self, other):
        return isinstance(other, Bucket) and self.sequence == other.sequence and self.items == other.items

    __hash__ = None

    def get(self, *path):
        """What is at the end of a path of keys (bytes or text), or None."""
        at = self
        for key in path:
            if not isinstance(at, Bucket):
                return None
            at = at.items.get(key.encode() if isinstance(key, str) else key)
        return at


class Page:
    def __init__(self, raw, id_):
        self.raw, self.id = raw, id_
        self.own, self.flags, self.count, self.overflow = struct.unpack_from("<QHHI", raw, 0)

    def elements(self):
        """(offset of the element, key, value or child's number, is a bucket)."""
        for i in range(self.count):
            at = 16 + 16 * i
            if at + 16 > len(self.raw):
                raise ValueError("page %d: no room for its elements" % self.id)
            if self.flags & LEAF:
                flags, pos, ksize, vsize = struct.unpack_from("<IIII", self.raw, at)
            else:
                pos, ksize, child = struct.unpack_from("<IIQ", self.raw, at)
                flags, vsize = 0, 0
            if at + pos + ksize + vsize > len(self.raw):
                raise ValueError("page %d: element %d is outside" % (self.id, i))
            key = self.raw[at + pos:at + pos + ksize]
            if self.flags & LEAF:
                yield at, key, self.raw[at + pos + ksize:at + pos + ksize + vsize], bool(flags & 1)
            else:
                yield at, key, child, False


class File:
    """errors gathers what could not be read; the rest is read all the same."""

    def __init__(self, data):
        self.data, self.errors, self.reached = data, [], set()
        self.metas = {}
        first = self._meta(0)
        if first:
            self.metas[0] = first
            second = self._meta(first["page size"])
            if second:
                self.metas[1] = second
        else:
            for shift in range(10, 17):
                second = self._meta(1 << shift)
                if second and second["page size"] == 1 << shift:
                    self.metas[1] = second
                    break
        self.meta = max(self.metas.values(), key=lambda m: m["txid"], default=None)
        self.page_size = self.meta["page size"] if self.meta else 4096

    def _meta(self, at):
        raw = self.data[at:at + 80]
        if len(raw) < 80:
            return None
        meta = {name: int.from_bytes(raw[o:o + n], "little") for name, (o, n) in META_FIELDS.items()}
        if meta["magic"] != MAGIC or meta["version"] != VERSION or meta["checksum"] != fnv1a(raw[16:72]):
            return None
        if not 1024 <= meta["page size"] <= 65536 or meta["page size"] & meta["page size"] - 1:
            return None
        return meta

    def page(self, id_):
        at = id_ * self.page_size
        if at + 16 > len(self.data):
            raise ValueError("page %d: beyond the end" % id_)
        overflow = struct.unpack_from("<I", self.data, at + 12)[0]
        page = Page(self.data[at:at + (overflow + 1) * self.page_size], id_)
        if page.own != id_ or page.flags not in (BRANCH, LEAF):
            raise ValueError("page %d: calls itself %d, flags %#x" % (id_, page.own, page.flags))
        return page

    def tree(self):
        """The root bucket."""
        root = Bucket()
        if not self.meta:
            self.errors.append("no valid meta page")
            return root
        self._tree(self.meta["root"], root, 0)
        return root

    def _tree(self, id_, into, depth):
        try:
            if id_ in self.reached or depth > 64:
                raise ValueError("page %d: reached twice, or too deep" % id_)
            self.reached.add(id_)
            page = self.page(id_)
            self._elements(page, into, depth)
        except (ValueError, struct.error) as e:
            self.errors.append(str(e))

    def _elements(self, page, into, depth):
        for _, key, value, is_bucket in page.elements():
            if page.flags & BRANCH:
                self._tree(value, into, depth + 1)
            elif is_bucket:
                into.items[key] = self._bucket(value, depth)
            else:
                into.items[key] = value

    def _bucket(self, value, depth):
        if len(value) < 16:
            raise ValueError("a bucket of %d bytes" % len(value))
        root, sequence = struct.unpack_from("<QQ", value, 0)
        bucket = Bucket(sequence)
        if root:
            self._tree(root, bucket, depth + 1)
        else:
            try:
                if len(value) < 32:
                    raise ValueError("an inline bucket of %d bytes" % len(value))
                self._elements(Page(value[16:], 0), bucket, depth + 1)
            except (ValueError, struct.error) as e:
                self.errors.append(str(e))
        return bucket


def load(path):
    """The root bucket of a sound file."""
    with open(path, "rb") as f:
        file = File(f.read())
    root = file.tree()
    if file.errors:
        raise SystemExit("%s: %s" % (path, file.errors[0]))
    return root


def lines(bucket, path=""):
    """One line for each bucket and each value, as `bboltcheck -records` prints them."""
    for key, value in bucket.items.items():
        at = path + "/" + key.hex()
        if isinstance(value, Bucket):
            yield "%s (%d)" % (at, value.sequence)
            yield from lines(value, at)
        else:
            yield "%s = %s" % (at, value.hex())


def lost(before, after, path=""):
    """The first thing that `before` has and `after` does not have in the same place, or None;
    that a value is another one does not count."""
    for key, value in before.items.items():
        at, other = path + "/" + key.decode("utf-8", "backslashreplace"), after.items.get(key)
        if other is None or isinstance(value, Bucket) != isinstance(other, Bucket):
            return at
        if isinstance(value, Bucket):
            found = lost(value, other, at)
            if found:
                return found
    return None


if __name__ == "__main__":
    import sys
    sys.stdout.writelines(line + "\n" for line in lines(load(sys.argv[1])))
