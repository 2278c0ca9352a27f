// SPDX-License-Identifier: Apache-2.0
//! The places of the host that mountpoints may lie in: the rootfs and the bind sources, and nothing
//! else. Whatever is looked at or made on the host goes through one of these.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::Cause;
use crate::mount::MountpointKind;
use crate::path::{is_below, join};
use crate::sys::{self, Inode, InodeKind};

/// How many of the roots stay open at once. A container can have more mounts than a process may
/// have descriptors; most lookups go to the last few.
const OPEN_AT_ONCE: usize = 8;
/// How many directories within them stay open at once: mountpoints come in flocks, as those in /etc.
const PARENTS_AT_ONCE: usize = 4;

/// One of the [`Hosts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostId(usize);

/// A directory or file of the host's that the configuration names.
#[derive(Debug)]
struct HostRoot {
    path: PathBuf,
    /// Shown with the mounts that the host has below it.
    recursive: bool,
    /// The host has a mount below it that this view must not show.
    stripped: bool,
    inode: Inode,
    /// It isn't there yet: an earlier mount's mountpoint, by the directory that is and the path below.
    to_come: Option<(HostId, Vec<u8>)>,
}

/// What stands at a path.
#[derive(Debug)]
pub enum Seen {
    /// A directory.
    Directory,
    /// Something that is not a directory.
    File,
    /// A symbolic link, with its text.
    Link(Vec<u8>),
    /// Nothing.
    Missing,
    /// A link or a file is in the way.
    Blocked,
}

/// All host directories and files that the configuration names.
#[derive(Debug, Default)]
pub struct Hosts {
    roots: Vec<HostRoot>,
    /// Of the roots; the one used last is the last.
    open: VecDeque<(HostId, OwnedFd)>,
    /// Of directories within; likewise.
    parents: VecDeque<((HostId, Vec<u8>), OwnedFd)>,
    /// What was found missing last: nothing is below that either.
    missing: Option<(HostId, Vec<u8>)>,
}

impl Hosts {
    /// Adds a path of the configuration's; `recursive`: with the host's mounts below it; `follow`: what
    /// it leads to if it is a link. Says what it is, too.
    pub fn add(
        &mut self,
        path: PathBuf,
        recursive: bool,
        follow: bool,
    ) -> Result<(HostId, MountpointKind), Errno> {
        let inode = if follow {
            sys::inode_of_root(&path)?
        } else {
            sys::inode_of_link(&path)?
        };
        Ok(self.add_as(path, recursive, inode))
    }

    /// Adds a path that isn't there yet: `below` of the directory `at`, as a `kind`.
    pub fn add_to_come(
        &mut self,
        path: PathBuf,
        (at, directory): (PathBuf, Inode),
        below: Vec<u8>,
        kind: MountpointKind,
    ) -> HostId {
        let (directory, _) = self.add_as(at, true, directory);
        let inode = Inode {
            // That of nothing.
            identity: (0, 0),
            kind: match kind {
                MountpointKind::Directory => InodeKind::Directory,
                MountpointKind::File => InodeKind::File,
            },
        };
        let (id, _) = self.add_as(path, true, inode);
        if let Some(root) = self.roots.get_mut(id.0) {
            root.to_come = Some((directory, below));
        }
        id
    }

    /// A place in a root that isn't there yet, as one in a root that is; any other as it is.
    pub fn real(&self, id: HostId, path: &[u8]) -> (HostId, Vec<u8>) {
        let root = self.roots.get(id.0);
        match root.and_then(|root| root.to_come.as_ref()) {
            Some((directory, below)) => (*directory, join(below, path)),
            None => (id, path.to_owned()),
        }
    }

    /// Adds the path of the rootfs, and keeps it open: everything begins there.
    pub fn add_rootfs(&mut self, path: PathBuf) -> Result<(HostId, MountpointKind), Errno> {
        let fd = sys::open_root(&path)?;
        let inode = sys::inode(fd.as_fd())?;
        let (id, kind) = self.add_as(path, true, inode);
        self.keep_open(id, fd);
        Ok((id, kind))
    }

    fn add_as(&mut self, path: PathBuf, recursive: bool, inode: Inode) -> (HostId, MountpointKind) {
        let kind = match inode.kind {
            InodeKind::Directory => MountpointKind::Directory,
            InodeKind::File | InodeKind::Link => MountpointKind::File,
        };
        let id = HostId(self.roots.len());
        self.roots.push(HostRoot {
            path,
            recursive,
            stripped: false,
            inode,
            to_come: None,
        });
        (id, kind)
    }

    /// The host path of `path` in the root `id`.
    pub fn path(&self, id: HostId, path: &[u8]) -> PathBuf {
        let root = self
            .roots
            .get(id.0)
            .map_or(Path::new(""), |root| root.path.as_path());
        if path.is_empty() {
            root.to_owned()
        } else {
            root.join(std::ffi::OsStr::from_bytes(path))
        }
    }

    /// What stands at `path` in the root `id`, no link followed on the way.
    pub fn look(&mut self, id: HostId, path: &[u8]) -> Result<Seen, Cause> {
        if path.is_empty() {
            // Known since it was added; and a file has no `.` to open.
            return match self.roots.get(id.0).map(|root| root.inode.kind) {
                Some(InodeKind::Directory) => Ok(Seen::Directory),
                Some(_) => Ok(Seen::File),
                None => Err(Cause::Below),
            };
        }
        if self.is_to_come(id) {
            return Ok(Seen::Missing);
        }
        if let Some((of, top)) = &self.missing {
            if *of == id && is_below(path, top) {
                return Ok(Seen::Missing);
            }
        }
        let seen = if self.has_to_stay(id) {
            self.look_by_opening(id, path)
        } else {
            self.look_in_parent(id, path)
        };
        match seen {
            Err(Cause::System {
                errno: Errno::ENOENT,
                ..
            }) => {
                self.missing = Some((id, path.to_owned()));
                Ok(Seen::Missing)
            }
            Err(Cause::System {
                errno: Errno::ELOOP | Errno::ENOTDIR,
                ..
            }) => Ok(Seen::Blocked),
            other => other,
        }
    }

    /// Looks at the last component in the directory before it, which is open already or will be of use.
    fn look_in_parent(&mut self, id: HostId, path: &[u8]) -> Result<Seen, Cause> {
        let end = path.iter().rposition(|&byte| byte == b'/');
        let (parent, name) = match end {
            Some(end) => (
                path.get(..end).unwrap_or_default(),
                path.get(end + 1..).unwrap_or_default(),
            ),
            None => (&[][..], path),
        };
        let is_name = !parent.is_empty() && !parent.contains(&b'/');
        let top = is_name.then(|| parent.to_owned());
        let parent = match self.parent(id, parent) {
            Err(Cause::System {
                errno: Errno::ENOENT,
                ..
            }) if is_name => {
                self.missing = top.map(|top| (id, top));
                return Ok(Seen::Missing);
            }
            other => other?,
        };
        match sys::inode_in(parent, name)
            .map_err(Cause::system("newfstatat"))?
            .kind
        {
            InodeKind::Directory => Ok(Seen::Directory),
            InodeKind::File => Ok(Seen::File),
            InodeKind::Link => match sys::read_link_in(parent, name) {
                Ok(text) => Ok(Seen::Link(text)),
                // It was a link a moment ago.
                Err(Errno::EINVAL | Errno::ENOENT) => Err(Cause::Changed),
                Err(errno) => Err(Cause::system("readlinkat")(errno)),
            },
        }
    }

    /// Looks by a walk of the kernel's that stays on the root's own mount.
    fn look_by_opening(&mut self, id: HostId, path: &[u8]) -> Result<Seen, Cause> {
        let found = self.open(id, path, sys::open_beneath)?;
        match sys::inode(found.as_fd())
            .map_err(Cause::system("fstat"))?
            .kind
        {
            InodeKind::Directory => Ok(Seen::Directory),
            InodeKind::File => Ok(Seen::File),
            InodeKind::Link => {
                let text = sys::read_link(found.as_fd()).map_err(Cause::system("readlinkat"))?;
                Ok(Seen::Link(text))
            }
        }
    }

    /// The directory at `path` in the root `id`, open for as long as others aren't asked for. To look
    /// only: what it is called may change, so whoever makes something opens it anew.
    pub fn parent(&mut self, id: HostId, path: &[u8]) -> Result<BorrowedFd<'_>, Cause> {
        if path.is_empty() {
            return self.root(id);
        }
        let of_it = |((of, at), _): &((HostId, Vec<u8>), OwnedFd)| *of == id && at == path;
        if let Some(index) = self.parents.iter().position(of_it) {
            let used = self.parents.remove(index);
            self.parents.extend(used);
        } else {
            let fd = self.directory(id, path)?;
            if self.parents.len() == PARENTS_AT_ONCE {
                self.parents.pop_front();
            }
            self.parents.push_back(((id, path.to_owned()), fd));
        }
        let last = self.parents.back().map(|(_, fd)| fd.as_fd());
        last.ok_or(Cause::Below)
    }

    /// Opens the directory at `path` in the root `id`, no link followed on the way.
    pub fn directory(&mut self, id: HostId, path: &[u8]) -> Result<OwnedFd, Cause> {
        self.open(id, path, sys::open_directory_beneath)
    }

    fn open(
        &mut self,
        id: HostId,
        path: &[u8],
        open: impl Fn(BorrowedFd, &[u8], bool) -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, Cause> {
        let same_mount = self.has_to_stay(id);
        match open(self.root(id)?, path, same_mount) {
            // A mount of the host's is in the way, which a bind without `rbind` doesn't show.
            Err(Errno::EXDEV) if same_mount => {
                self.strip(id)?;
                open(self.root(id)?, path, false)
            }
            other => other,
        }
        .map_err(Cause::system("openat2"))
    }

    /// From now on the root `id` is seen without the host's mounts below it.
    fn strip(&mut self, id: HostId) -> Result<(), Cause> {
        let stripped =
            sys::without_submounts(self.root(id)?).map_err(Cause::system("open_tree"))?;
        if let Some(root) = self.roots.get_mut(id.0) {
            root.stripped = true;
        }
        self.open.retain(|(open, _)| *open != id);
        self.parents.retain(|((of, _), _)| *of != id);
        self.missing = None;
        self.keep_open(id, stripped);
        Ok(())
    }

    /// The root `id` itself, open.
    pub fn root(&mut self, id: HostId) -> Result<BorrowedFd<'_>, Cause> {
        if let Some(index) = self.open.iter().position(|(open, _)| *open == id) {
            let used = self.open.remove(index);
            self.open.extend(used);
        } else {
            let root = self.roots.get(id.0).ok_or(Cause::Below)?;
            let mut fd = sys::open_root(&root.path).map_err(Cause::Source)?;
            // Opened by its path only now, or once more: it has to be what it was.
            let inode = sys::inode(fd.as_fd()).map_err(Cause::system("fstat"))?;
            if inode.identity != root.inode.identity {
                return Err(Cause::Changed);
            }
            if root.stripped {
                fd = sys::without_submounts(fd.as_fd()).map_err(Cause::system("open_tree"))?;
            }
            self.keep_open(id, fd);
        }
        let last = self.open.back().map(|(_, fd)| fd.as_fd());
        last.ok_or(Cause::Below)
    }

    /// Whether a mount of the host's below the root is in the way, rather than in view.
    pub fn has_to_stay(&self, id: HostId) -> bool {
        let root = self.roots.get(id.0);
        root.is_some_and(|root| !root.recursive && !root.stripped)
    }

    /// Whether the root `id` isn't there yet.
    pub fn is_to_come(&self, id: HostId) -> bool {
        let root = self.roots.get(id.0);
        root.is_some_and(|root| root.to_come.is_some())
    }

    /// What the root `id` is.
    pub fn identity(&self, id: HostId) -> Option<(u64, u64)> {
        self.roots.get(id.0).map(|root| root.inode.identity)
    }

    fn keep_open(&mut self, id: HostId, fd: OwnedFd) {
        if self.open.len() == OPEN_AT_ONCE {
            self.open.pop_front();
        }
        self.open.push_back((id, fd));
    }
}
