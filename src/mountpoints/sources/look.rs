// SPDX-License-Identifier: Apache-2.0
//! Looks at what is in a source. Nothing is created from what is seen here without another check.

use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::{Seen, Sources};
use crate::mountpoints::failure::Cause;
use crate::mountpoints::host_place::SourceId;
use crate::path::RelRef;
use crate::sys::{self, Inode, InodeKind};

impl Sources {
    /// What is at `path` in a source, without following symlinks. `goes_on`: the caller is on its way to something
    /// below it, so most likely it is a directory.
    ///
    /// # Errors
    ///
    /// The source or a directory on the way can't be looked into.
    pub fn look(&mut self, source: SourceId, path: RelRef, goes_on: bool) -> Result<Seen, Cause> {
        let Some((parent, name)) = path.split_last() else {
            // Known since it was added; and a file can't be opened by `.`.
            let root = self.all.get(source.0).ok_or(Cause::Internal)?;
            return Ok(match root.kind {
                InodeKind::Directory => Seen::Directory,
                InodeKind::File | InodeKind::Link => Seen::File,
            });
        };
        if self.is_absent(source) {
            return Ok(Seen::Missing);
        }
        if self.cache.is_missing(source, path) {
            return Ok(Seen::Missing);
        }
        let mut missing = path;
        let stays_in_mount = self.stays_in_mount(source);
        let found = if goes_on || stays_in_mount {
            match self.directory(source, path).map(drop) {
                Ok(()) => Ok(Seen::Directory),
                Err(cause) if !cause.is_not_a_directory() => Err(cause),
                // Let the kernel walk, without leaving the source's own mount.
                Err(_) if stays_in_mount => {
                    let open = self.open_in(source, path, sys::open_beneath);
                    open.and_then(|found| {
                        let inode = sys::inode(found.as_fd()).map_err(Cause::system("fstat"))?;
                        seen(inode.kind, || sys::read_link(found.as_fd()))
                    })
                }
                Err(_) => self.directory(source, parent).and_then(|directory| {
                    match sys::read_link_in(directory, name) {
                        Ok(text) => Ok(Seen::Link(text)),
                        Err(Errno::EINVAL) => Ok(Seen::File),
                        Err(errno) => Err(Cause::system("readlinkat")(errno)),
                    }
                }),
            }
        } else {
            // Look in the parent directory, which is open already or will be needed again.
            match self.directory(source, parent) {
                Err(cause) => {
                    missing = parent;
                    Err(cause)
                }
                Ok(directory) => sys::inode_in(directory, name)
                    .map_err(Cause::system("newfstatat"))
                    .and_then(|inode| seen(inode.kind, || sys::read_link_in(directory, name))),
            }
        };
        let Err(Cause::System { errno, .. }) = found else {
            return found;
        };
        match errno {
            Errno::ENOENT => {
                // If a parent is missing, its own parent may be missing as well.
                if missing == path || missing.depth() == 1 {
                    self.cache.add_missing(source, missing);
                }
                Ok(Seen::Missing)
            }
            Errno::ELOOP | Errno::ENOTDIR => Ok(Seen::Blocked),
            _ => found,
        }
    }

    /// The inode at `path` in a source, without following symlinks; none if nothing is there, or something is in the
    /// way.
    ///
    /// # Errors
    ///
    /// The source or a directory on the way can't be looked into.
    pub fn inode(&mut self, source: SourceId, path: RelRef) -> Result<Option<Inode>, Cause> {
        if self.is_absent(source) || self.cache.is_missing(source, path) {
            return Ok(None);
        }
        let found = match path.split_last() {
            None => self
                .root(source)
                .and_then(|root| sys::inode(root).map_err(Cause::system("fstat"))),
            Some(_) if self.stays_in_mount(source) => self
                .open_in(source, path, sys::open_beneath)
                .and_then(|found| sys::inode(found.as_fd()).map_err(Cause::system("fstat"))),
            Some((parent, name)) => self.directory(source, parent).and_then(|parent| {
                sys::inode_in(parent, name).map_err(Cause::system("newfstatat"))
            }),
        };
        match found {
            Err(cause) if cause.is_missing() || cause.is_not_a_directory() => Ok(None),
            other => other.map(Some),
        }
    }

    /// The regular file at `path` in a source, open for reading; none if there is none, or it can't be opened.
    pub fn open_file(&mut self, source: SourceId, path: RelRef) -> Option<File> {
        if path.is_root() {
            return sys::reopen_regular(self.root(source).ok()?);
        }
        let found = self.open_in(source, path, sys::open_beneath).ok()?;
        sys::reopen_regular(found.as_fd())
    }
}

/// What an inode is; `text` reads it if it is a link.
fn seen(kind: InodeKind, text: impl FnOnce() -> Result<Vec<u8>, Errno>) -> Result<Seen, Cause> {
    match kind {
        InodeKind::Directory => Ok(Seen::Directory),
        InodeKind::File => Ok(Seen::File),
        InodeKind::Link => match text() {
            Ok(text) => Ok(Seen::Link(text)),
            // It was a symlink a moment ago.
            Err(Errno::EINVAL | Errno::ENOENT) => Err(Cause::Changed),
            Err(errno) => Err(Cause::system("readlinkat")(errno)),
        },
    }
}
