#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The baseline in Python: premount's logic as an OCI hook, with the standard library alone.

It builds the container's mount tree as the kernel would, looks up the mount that really covers each
mountpoint, resolves links in the container's view, and makes what is missing on open directories,
without following a link. Not for use: what premount does beyond that (checkpoints, owners, masked
paths, races) is left out.
"""

import json
import os
import stat
import sys

LINKS = 40
LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Mount:
    """A mount: its mountpoint, and the host's file or directory behind it, if there is one."""

    def __init__(self, parent, at, source):
        self.parent, self.at = parent, at
        self.fd = os.open(source, os.O_PATH | os.O_CLOEXEC) if source else None
        self.is_directory = source is None or stat.S_ISDIR(os.fstat(self.fd).st_mode)
        self.children = {}


def top(mount):
    """The mount that is seen where this one is: the last of those stacked on its root."""
    while () in mount.children:
        mount = mount.children[()]
    return mount


def open_below(mount, path):
    """Opens a path below a mount's source, one component at a time, following no link."""
    fd = os.dup(mount.fd)
    for name in path:
        below = os.open(name, LOOK, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


def look(mount, path):
    """What a path below a mount's source is: a mode, or None where nothing is."""
    if mount.fd is None:
        return None
    try:
        fd = open_below(mount, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.fstat(fd).st_mode
    finally:
        os.close(fd)


def read_link(mount, path):
    fd = open_below(mount, path)
    try:
        return os.readlink("", dir_fd=fd)
    finally:
        os.close(fd)


def walk(root, destination):
    """Follows a destination through the mounts so far: the mount, and the path below its root."""
    place = [(top(root), ())]
    rest = [name for name in reversed(destination.split("/"))]
    links = 0
    while rest:
        name = rest.pop()
        if name in ("", "."):
            continue
        if name == "..":
            if len(place) > 1:
                place.pop()
            continue
        mount, path = place[-1]
        path = path + (name,)
        if path in mount.children:
            place.append((top(mount.children[path]), ()))
            continue
        mode = look(mount, path)
        if mode is not None and stat.S_ISLNK(mode):
            links += 1
            if links > LINKS:
                raise OSError(f"{destination}: too many links")
            text = read_link(mount, path)
            if text.startswith("/"):
                del place[1:]
            rest.extend(reversed(text.split("/")))
            continue
        place.append((mount, path))
    return place[-1]


def make(mount, path, is_directory):
    """Makes what is missing of a path below a mount's source."""
    fd = os.dup(mount.fd)
    for depth, name in enumerate(path):
        last = depth == len(path) - 1
        try:
            if last and not is_directory:
                flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC
                os.close(os.open(name, flags, 0o644, dir_fd=fd))
            else:
                os.mkdir(name, 0o755, dir_fd=fd)
            print(f"created {'/'.join(path[: depth + 1])}", file=sys.stderr)
        except FileExistsError:
            pass
        below = os.open(name, LOOK, dir_fd=fd)
        os.close(fd)
        fd = below
    is_there = os.fstat(fd).st_mode
    os.close(fd)
    if stat.S_ISDIR(is_there) != is_directory:
        raise OSError(f"{'/'.join(path)}: of the wrong kind")


def main():
    state = json.load(sys.stdin)
    if state.get("annotations", {}).get("io.premount.restore") != "true":
        return 0
    bundle = state["bundle"]
    with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    os.umask(0o022)
    root = Mount(None, (), os.path.join(bundle, config["root"]["path"]))
    failed = 0
    for entry in config["mounts"]:
        options = entry.get("options") or []
        is_bind = entry.get("type") == "bind" or "bind" in options or "rbind" in options
        try:
            source = os.path.join(bundle, entry["source"]) if is_bind else None
            parent, at = walk(root, entry["destination"])
            mount = Mount(parent, at, source)
            if parent.fd is not None and look(parent, at) is None:
                make(parent, at, mount.is_directory)
            parent.children[at] = mount
        except OSError as error:
            print(f"{entry['destination']}: {error}", file=sys.stderr)
            failed = 1
    return failed


sys.exit(main())
