// SPDX-License-Identifier: Apache-2.0
//! The only host directories and files that mountpoints may lie in: the rootfs and the bind sources. Every look
//! at the host, and everything created there, goes through one of these.

mod cache;
mod look;

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::mountpoints::failure::Cause;
use crate::mountpoints::host_place::{HostPlace, SourceId};
use crate::path::RelRef;
use crate::sys::{self, FileSystem, Inode, InodeKind, MountpointKind};

use cache::Cache;
pub use cache::Judged;

/// A directory or file of the host that the configuration names.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    /// Includes the host's mounts below it (`rbind`).
    recursive: bool,
    /// Opened without the host's mounts below it, which a plain bind doesn't show.
    stripped: bool,
    kind: InodeKind,
    /// Device and inode number; none before they are needed.
    identity: Option<(u64, u64)>,
    state: State,
}

/// Whether a source is there.
#[derive(Debug)]
enum State {
    /// It is.
    There,
    /// It isn't there yet, but will be: the mountpoint of an earlier mount, at this place.
    Pending(HostPlace),
    /// Nobody knows yet what it will be: as if it were empty.
    Awaited,
}

/// What is at a path.
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

/// All directories and files of the host that the configuration names.
#[derive(Debug, Default)]
pub struct Sources {
    all: Vec<Source>,
    cache: Cache,
}

impl Sources {
    /// Adds a path of the configuration; `recursive`: with the mounts that the host has below it; `follow`:
    /// if it is a link, what it leads to. Returns what it is as well.
    ///
    /// # Errors
    ///
    /// Of stat(2).
    pub fn add(
        &mut self,
        path: PathBuf,
        recursive: bool,
        follow: bool,
    ) -> Result<(SourceId, MountpointKind), Errno> {
        let inode = if follow {
            sys::inode_of_root(&path)?
        } else {
            sys::inode_of_link(&path)?
        };
        Ok(self.add_as(path, recursive, inode.kind, Some(inode.identity)))
    }

    /// Adds the rootfs, which has to be a directory, and keeps it open: everything begins there.
    ///
    /// # Errors
    ///
    /// Of open(2).
    pub fn add_rootfs(&mut self, path: PathBuf) -> Result<SourceId, Errno> {
        let fd = sys::open_directory(&path)?;
        let (id, _) = self.add_as(path, true, InodeKind::Directory, None);
        self.cache.add(id, RelRef::ROOT, fd);
        Ok(id)
    }

    /// Adds a path that isn't there yet: `below` of the directory `at`, as a `kind`.
    pub fn add_pending(
        &mut self,
        path: PathBuf,
        (at, directory): (PathBuf, Inode),
        below: RelRef,
        kind: MountpointKind,
    ) -> SourceId {
        let (directory, _) = self.add_as(at, true, directory.kind, Some(directory.identity));
        let (id, _) = self.add_as(path, true, kind.into(), None);
        if let Some(source) = self.all.get_mut(id.0) {
            source.state = State::Pending(directory.at(below));
        }
        id
    }

    /// Adds a source that only the restore will have; `name`: what to call it.
    pub fn add_awaited(&mut self, name: PathBuf, kind: MountpointKind) -> SourceId {
        let (id, _) = self.add_as(name, true, kind.into(), None);
        if let Some(source) = self.all.get_mut(id.0) {
            source.state = State::Awaited;
        }
        id
    }

    fn add_as(
        &mut self,
        path: PathBuf,
        recursive: bool,
        kind: InodeKind,
        identity: Option<(u64, u64)>,
    ) -> (SourceId, MountpointKind) {
        let mountpoint = match kind {
            InodeKind::Directory => MountpointKind::Directory,
            InodeKind::File | InodeKind::Link => MountpointKind::File,
        };
        let id = SourceId(self.all.len());
        self.all.push(Source {
            path,
            recursive,
            stripped: false,
            kind,
            identity,
            state: State::There,
        });
        (id, mountpoint)
    }

    /// Translates a place in a pending source into one in a source that exists. None for other sources.
    pub fn real(&self, source: SourceId, path: RelRef) -> Option<HostPlace> {
        let State::Pending(pending) = &self.all.get(source.0)?.state else {
            return None;
        };
        Some(HostPlace {
            source: pending.source,
            path: pending.view().join(path),
        })
    }

    /// The host path of a place.
    pub fn host_path(&self, place: &HostPlace) -> PathBuf {
        self.host_path_in(place.source, place.view())
    }

    /// The host path of `path` in a source.
    pub fn host_path_in(&self, source: SourceId, path: RelRef) -> PathBuf {
        let source = self.all.get(source.0);
        let source = source.map_or(Path::new(""), |source| source.path.as_path());
        if path.is_root() {
            source.to_owned()
        } else {
            source.join(OsStr::from_bytes(path.as_bytes()))
        }
    }

    /// The directory at `path` in a source, open until others push it out of the cache. For looking only: another
    /// directory may take this path, so whoever creates something reopens it.
    ///
    /// # Errors
    ///
    /// It can't be opened, or something that is not a directory is there.
    pub fn directory(&mut self, source: SourceId, path: RelRef) -> Result<BorrowedFd<'_>, Cause> {
        if path.is_root() {
            return self.root(source);
        }
        if !self.cache.find(source, path) {
            let fd = self.open_in(source, path, sys::open_directory_beneath)?;
            self.cache.add(source, path, fd);
        }
        self.cache.last().map(|open| open.fd.as_fd())
    }

    /// The identity and the file system of the directory at `path` in a source.
    ///
    /// # Errors
    ///
    /// As [`Sources::directory`].
    pub fn judge(&mut self, source: SourceId, path: RelRef) -> Result<Judged, Cause> {
        if self.is_awaited(source) {
            return Ok(Judged {
                identity: awaited_identity(source),
                file_system: FileSystem::default(),
            });
        }
        if path.is_root() {
            self.checked_root(source)?;
        } else {
            self.directory(source, path)?;
        }
        let open = self.cache.last()?;
        if let Some(judged) = open.judged {
            return Ok(judged);
        }
        let identity = open.identity()?;
        let file_system = sys::file_system(open.fd.as_fd()).map_err(Cause::system("fstatfs"))?;
        let judged = Judged {
            identity,
            file_system,
        };
        Ok(*open.judged.insert(judged))
    }

    /// The identity of the directory at `path` in a source.
    ///
    /// # Errors
    ///
    /// As [`Sources::directory`].
    pub fn identity_at(&mut self, source: SourceId, path: RelRef) -> Result<(u64, u64), Cause> {
        if self.is_awaited(source) {
            return Ok(awaited_identity(source));
        }
        let directory = self.directory(source, path)?;
        let inode = sys::inode(directory).map_err(Cause::system("fstat"))?;
        Ok(inode.identity)
    }

    /// Opens the directory at `path` in a source to create something in it, without following symlinks.
    ///
    /// # Errors
    ///
    /// As [`Sources::directory`] and [`Sources::checked_root`].
    pub fn open_directory(&mut self, source: SourceId, path: RelRef) -> Result<OwnedFd, Cause> {
        self.identity(source)?;
        self.open_in(source, path, sys::open_directory_beneath)
    }

    fn open_in(
        &mut self,
        source: SourceId,
        path: RelRef,
        open: impl Fn(BorrowedFd, RelRef, bool) -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, Cause> {
        let same_mount = self.stays_in_mount(source);
        let mut opened = open(self.root(source)?, path, same_mount);
        if let Err(Errno::EMFILE) = opened {
            self.make_room();
            opened = open(self.root(source)?, path, same_mount);
        }
        match opened {
            // A host mount is in the way, which a bind without `rbind` doesn't show.
            Err(Errno::EXDEV) if same_mount => {
                self.strip(source)?;
                open(self.root(source)?, path, false)
            }
            other => other,
        }
        .map_err(Cause::system("openat2"))
    }

    /// Reopens a source without the host's mounts below it.
    fn strip(&mut self, id: SourceId) -> Result<(), Cause> {
        let stripped =
            sys::without_submounts(self.root(id)?).map_err(Cause::system("open_tree"))?;
        if let Some(source) = self.all.get_mut(id.0) {
            source.stripped = true;
        }
        self.cache.forget(id);
        self.cache.add(id, RelRef::ROOT, stripped);
        Ok(())
    }

    /// A source itself, open. For looking only: it may have been replaced since it was added.
    ///
    /// # Errors
    ///
    /// It can't be opened.
    fn root(&mut self, id: SourceId) -> Result<BorrowedFd<'_>, Cause> {
        if !self.cache.find(id, RelRef::ROOT) {
            let source = self.all.get(id.0).ok_or(Cause::Internal)?;
            if let State::Awaited = source.state {
                return Err(Cause::Internal);
            }
            let mut fd = match sys::open_root(&source.path) {
                Err(Errno::EMFILE) => {
                    self.cache.make_room();
                    sys::open_root(&source.path)
                }
                other => other,
            }
            .map_err(Cause::Source)?;
            if source.stripped {
                fd = sys::without_submounts(fd.as_fd()).map_err(Cause::system("open_tree"))?;
            }
            self.cache.add(id, RelRef::ROOT, fd);
        }
        self.cache.last().map(|open| open.fd.as_fd())
    }

    /// A source itself, open: still the inode that was added, although the path may have been opened again since.
    ///
    /// # Errors
    ///
    /// It can't be opened, or has been replaced.
    pub fn checked_root(&mut self, id: SourceId) -> Result<BorrowedFd<'_>, Cause> {
        self.identity(id)?;
        self.cache.last().map(|open| open.fd.as_fd())
    }

    /// Device and inode number of a source, which is open afterwards.
    ///
    /// # Errors
    ///
    /// As [`Sources::checked_root`].
    pub fn identity(&mut self, id: SourceId) -> Result<(u64, u64), Cause> {
        self.root(id)?;
        let identity = self.cache.last()?.identity()?;
        let source = self.all.get_mut(id.0).ok_or(Cause::Internal)?;
        if *source.identity.get_or_insert(identity) != identity {
            return Err(Cause::Changed);
        }
        Ok(identity)
    }

    /// Closes all but the last few directories, and keeps few open from now on: something else needs descriptors.
    pub fn make_room(&mut self) {
        self.cache.make_room();
    }

    /// Whether lookups must not cross into the host's mounts below a source.
    pub fn stays_in_mount(&self, id: SourceId) -> bool {
        let source = self.all.get(id.0);
        source.is_some_and(|source| !source.recursive && !source.stripped)
    }

    /// Whether a source isn't there yet.
    pub fn is_absent(&self, id: SourceId) -> bool {
        let source = self.all.get(id.0);
        source.is_some_and(|source| !matches!(source.state, State::There))
    }

    /// Whether nobody knows yet what a source will be.
    pub fn is_awaited(&self, id: SourceId) -> bool {
        let source = self.all.get(id.0);
        source.is_some_and(|source| matches!(source.state, State::Awaited))
    }
}

/// What stands for device and inode number of a source that isn't there: no file system has this device.
fn awaited_identity(id: SourceId) -> (u64, u64) {
    (u64::MAX, id.0 as u64)
}
