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
use crate::sys::{self, Inode, InodeKind};

/// How many of the roots stay open at once. A container can have more mounts than a process may
/// have descriptors; most lookups go to the last few.
const OPEN_AT_ONCE: usize = 8;

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
    open: VecDeque<(HostId, OwnedFd)>,
}

impl Hosts {
    /// Adds a path of the configuration's; `recursive`: with the host's mounts below it. Says what
    /// it is, too.
    pub fn add(
        &mut self,
        path: PathBuf,
        recursive: bool,
    ) -> Result<(HostId, MountpointKind), Errno> {
        let fd = sys::open_root(&path)?;
        let inode = sys::inode(fd.as_fd())?;
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
        });
        self.keep_open(id, fd);
        Ok((id, kind))
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
        let found = match self.open(id, path, sys::open_beneath) {
            Ok(found) => found,
            Err(Cause::System {
                errno: Errno::ENOENT,
                ..
            }) => return Ok(Seen::Missing),
            Err(Cause::System {
                errno: Errno::ELOOP | Errno::ENOTDIR,
                ..
            }) => {
                return Ok(Seen::Blocked);
            }
            Err(cause) => return Err(cause),
        };
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

    /// Opens the directory at `path` in the root `id`, no link followed on the way.
    pub fn directory(&mut self, id: HostId, path: &[u8]) -> Result<OwnedFd, Cause> {
        self.open(id, path, sys::open_directory_beneath)
    }

    /// Opens what a path in the directory `parent`, which lies in the root `id`, leads to.
    pub fn open_in(&self, id: HostId, parent: BorrowedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
        let same_mount = self.roots.get(id.0).is_some_and(HostRoot::has_to_stay);
        sys::open_beneath(parent, name, same_mount)
    }

    fn open(
        &mut self,
        id: HostId,
        path: &[u8],
        open: impl Fn(BorrowedFd, &[u8], bool) -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, Cause> {
        let same_mount = self.roots.get(id.0).is_some_and(HostRoot::has_to_stay);
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
        self.keep_open(id, stripped);
        Ok(())
    }

    fn root(&mut self, id: HostId) -> Result<BorrowedFd<'_>, Cause> {
        if !self.open.iter().any(|(open, _)| *open == id) {
            let root = self.roots.get(id.0).ok_or(Cause::Below)?;
            let mut fd = sys::open_root(&root.path).map_err(Cause::Source)?;
            // Opened by its path once more: it has to be what it was, since what lies in it has
            // been judged already.
            let inode = sys::inode(fd.as_fd()).map_err(Cause::system("fstat"))?;
            if inode.identity != root.inode.identity {
                return Err(Cause::Changed);
            }
            if root.stripped {
                fd = sys::without_submounts(fd.as_fd()).map_err(Cause::system("open_tree"))?;
            }
            self.keep_open(id, fd);
        }
        let open = self.open.iter().find(|(open, _)| *open == id);
        open.map(|(_, fd)| fd.as_fd()).ok_or(Cause::Below)
    }

    fn keep_open(&mut self, id: HostId, fd: OwnedFd) {
        if self.open.len() == OPEN_AT_ONCE {
            self.open.pop_front();
        }
        self.open.push_back((id, fd));
    }
}

impl HostRoot {
    /// Whether a mount of the host's below it is in the way, rather than in view.
    fn has_to_stay(&self) -> bool {
        !self.recursive && !self.stripped
    }
}
