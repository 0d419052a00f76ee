#!/usr/bin/python3
"""tree.py A B: compare two directory trees in everything an image carries.

Path, type, mode, owner, size, content, link target, device numbers, hard-link
groups, extended attributes, and the modification time of all but directories.
The two roots themselves are compared by mode and owner.  Prints the
differences (at most 40) and a count; exit status 1 if there are any.

tree.py --hash A: one line that changes when anything in the tree does.
tree.py --usage A: bytes on disk, each file once.
"""

import hashlib
import os
import stat
import sys


def content(path):
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read(root):
    """path -> (attribute -> value)."""
    found, links = {}, {}
    root = os.fsencode(root)
    stack = [b""]
    hashes = {}
    while stack:
        rel = stack.pop()
        path = os.path.join(root, rel) if rel else root
        st = os.lstat(path)
        kind = stat.S_IFMT(st.st_mode)
        entry = {"type": oct(kind), "mode": oct(stat.S_IMODE(st.st_mode)), "uid": st.st_uid, "gid": st.st_gid}
        found[rel] = entry
        if rel:
            names = os.listxattr(path, follow_symlinks=False)
            entry["xattrs"] = {n: os.getxattr(path, n, follow_symlinks=False) for n in sorted(names)}
        if kind == stat.S_IFDIR:
            stack.extend(os.path.join(rel, name) for name in os.listdir(path))
            continue
        entry["mtime"] = st.st_mtime_ns
        if kind == stat.S_IFREG:
            entry["size"] = st.st_size
            if st.st_ino not in hashes:
                hashes[st.st_ino] = content(path)
            entry["content"] = hashes[st.st_ino]
        elif kind == stat.S_IFLNK:
            entry["target"] = os.readlink(path)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            entry["device"] = (os.major(st.st_rdev), os.minor(st.st_rdev))
        links.setdefault((st.st_dev, st.st_ino), []).append(rel)
    for names in links.values():
        for name in names:
            # Chain snapshots share inodes with each other: a name outside of
            # this tree is no link within it, so count only those inside.
            # Two names of one symbolic link become two links when containerd
            # copies a tree for the next layer; nobody can tell them apart.
            if "target" in found[name]:
                continue
            found[name]["links"] = sorted(names)[0] if len(names) > 1 else None
    return found


def compare(a, b):
    bad = []
    left, right = read(a), read(b)
    for path in sorted(left.keys() | right.keys()):
        if path not in right:
            bad.append("%r only in %s" % (path, a))
        elif path not in left:
            bad.append("%r only in %s" % (path, b))
        elif left[path] != right[path]:
            for key in sorted(left[path].keys() | right[path].keys()):
                one, two = left[path].get(key), right[path].get(key)
                if one != two:
                    bad.append("%r: %s %.80r, other %.80r" % (path, key, one, two))
    for line in bad[:40]:
        print(line)
    if bad:
        print("%d differences in %d entries: %s %s" % (len(bad), len(left), a, b))
    return 1 if bad else 0


def fingerprint(root):
    digest = hashlib.sha256()
    for path, entry in sorted(read(root).items()):
        digest.update(repr((path, sorted(entry.items(), key=lambda i: i[0]))).encode())
    return digest.hexdigest()


def usage(root):
    seen, total = set(), 0
    for base, dirs, files in os.walk(os.fsencode(root)):
        for name in dirs + files:
            st = os.lstat(os.path.join(base, name))
            if (st.st_dev, st.st_ino) not in seen:
                seen.add((st.st_dev, st.st_ino))
                total += st.st_blocks * 512
    return total


def main(argv):
    if len(argv) == 2 and argv[0] == "--hash":
        print(fingerprint(argv[1]))
    elif len(argv) == 2 and argv[0] == "--usage":
        print(usage(argv[1]))
    elif len(argv) == 2:
        sys.exit(compare(*argv))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
