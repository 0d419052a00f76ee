# SPDX-License-Identifier: Apache-2.0
"""What is in a directory tree: states to compare, and the words in which attacks say what
a tree must look like.

A tree is a dictionary: path -> "dir", "file:CONTENT", "size:BYTES", "link:TARGET", "fifo",
"char:MAJOR:MINOR", "block:MAJOR:MINOR" or "same:PATH" (a hard link of that path); or a pair
of such a word and a dictionary of attributes ("mode", "uid", "gid", "mtime").  Parents that
are not named are directories.  Paths are str, their bytes surrogate-escaped."""

import hashlib
import os
import stat

SMALL = 4096      # files up to here are compared by content
HASHED = 8 << 20  # up to here by hash, larger ones by size: they may be holes of gigabytes


def walk(root):
    """Yields (path, parent directory descriptor, name, stat): paths may be longer than PATH_MAX."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    stack = [("", fd, None)]
    while stack:
        prefix, at, names = stack.pop()
        if names is None:
            names = sorted(os.listdir(at), reverse=True)
        if not names:
            os.close(at)
            continue
        name = names.pop()
        stack.append((prefix, at, names))
        st = os.lstat(name, dir_fd=at)
        yield prefix + name, at, name, st
        if stat.S_ISDIR(st.st_mode):
            down = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            stack.append((prefix + name + "/", down, None))


def content(at, name, limit=HASHED):
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=at), "rb") as f:
        return f.read(limit)


def xattrs(at, name):
    try:
        path = "/proc/self/fd/%d/%s" % (at, name)
        return tuple((x, os.getxattr(path, x, follow_symlinks=False))
                     for x in sorted(os.listxattr(path, follow_symlinks=False)))
    except OSError:
        return ()


def state(root, skip=(), inodes=False):
    """path -> everything that must not change.  inodes: also what a hard link elsewhere changes,
    and the times of directories."""
    found = {}
    for path, at, name, st in walk(root):
        if any(path == s or path.startswith(s + "/") for s in skip):
            continue
        value = [st.st_mode, st.st_uid, st.st_gid, st.st_rdev, xattrs(at, name)]
        if inodes:
            value += [st.st_ino, st.st_nlink, st.st_ctime_ns, st.st_mtime_ns]
        if stat.S_ISREG(st.st_mode):
            value += [st.st_size, st.st_mtime_ns, hashlib.sha256(content(at, name)).hexdigest()]
        elif stat.S_ISLNK(st.st_mode):
            value += [os.readlink(name, dir_fd=at), st.st_mtime_ns]
        elif not stat.S_ISDIR(st.st_mode):
            value += [st.st_mtime_ns]
        found[path] = value
    return found


def changes(before, after):
    """What differs between two states, in words."""
    words = ["gone: %r" % p for p in sorted(before.keys() - after.keys())]
    words += ["new: %r" % p for p in sorted(after.keys() - before.keys())]
    words += ["changed: %r" % p for p in sorted(before.keys() & after.keys()) if before[p] != after[p]]
    return words


def describe(root):
    """path -> (word, attributes, inode), in the words of this module."""
    found = {}
    for path, at, name, st in walk(root):
        mode = st.st_mode
        if stat.S_ISDIR(mode):
            word = "dir"
        elif stat.S_ISREG(mode) and st.st_size <= SMALL:
            word = "file:" + content(at, name).decode("utf-8", "surrogateescape")
        elif stat.S_ISREG(mode):
            word = "size:%d" % st.st_size
        elif stat.S_ISLNK(mode):
            word = "link:" + os.readlink(name, dir_fd=at)
        elif stat.S_ISFIFO(mode):
            word = "fifo"
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            word = "%s:%d:%d" % ("char" if stat.S_ISCHR(mode) else "block", os.major(st.st_rdev),
                                 os.minor(st.st_rdev))
        else:
            word = "socket"
        attrs = {"mode": stat.S_IMODE(mode), "uid": st.st_uid, "gid": st.st_gid, "mtime": st.st_mtime_ns / 1e9,
                 "blocks": st.st_blocks}
        found[path] = (word, attrs, (st.st_dev, st.st_ino))
    return found


def with_parents(tree):
    whole = dict(tree)
    for path in tree:
        parts = path.split("/")
        for i in range(1, len(parts)):
            whole.setdefault("/".join(parts[:i]), "dir")
    return whole


def compare(found, wanted):
    """Complaints about found, a describe(), that is not wanted, a dictionary in words."""
    wanted = with_parents(wanted)
    words = ["missing: %.200r" % p for p in sorted(wanted.keys() - found.keys())]
    words += ["unexpected: %.200r" % p for p in sorted(found.keys() - wanted.keys())]
    for path in sorted(wanted.keys() & found.keys()):
        word, attrs = wanted[path] if isinstance(wanted[path], tuple) else (wanted[path], {})
        got, have, inode = found[path]
        if word.startswith("same:"):
            if found.get(word[5:], (None, None, None))[2] != inode:
                words.append("%.200r is no hard link of %.200r" % (path, word[5:]))
        elif word != got:
            words.append("%.200r is %.200r, wanted %.200r" % (path, got, word))
        words += ["%.200r: %s %r, wanted %r" % (path, k, have[k], v) for k, v in attrs.items() if have[k] != v]
    return words[:20]
