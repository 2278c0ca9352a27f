// SPDX-License-Identifier: Apache-2.0
//! The rootfs and the sources of the configuration's mounts: those that are there, those that will be, and those that nobody has
//! named.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Planner;
use crate::error::Error;
use crate::mountpoints::failure::{Cause, Failure};
use crate::mountpoints::host_place::SourceId;
use crate::mountpoints::mount_tree::Backing;
use crate::mountpoints::plan::{Reason, Status};
use crate::mountpoints::sources::Sources;
use crate::oci::mount::{Content, LinkSource};
use crate::path::{Name, RelPath};
use crate::sys::{self, MountpointKind};

/// How far up from a missing source to look for a directory that exists.
const MAX_MISSING_DEPTH: usize = 64;

impl Planner {
    /// Opens what a mount shows, which decides the kind of its mountpoint.
    pub(super) fn open(&mut self, content: &Content) -> (Backing, Result<MountpointKind, Errno>) {
        match content {
            Content::Bind {
                source,
                recursive,
                link,
            } => {
                let follow = *link != LinkSource::Bound;
                match self.tree.sources.add(source.clone(), *recursive, follow) {
                    Ok((id, kind)) => (Backing::Source(id, kind), Ok(kind)),
                    Err(Errno::ENOENT) => match self.pending_source(source) {
                        Some((id, kind)) => (Backing::Source(id, kind), Ok(kind)),
                        None => (Backing::Broken, Err(Errno::ENOENT)),
                    },
                    Err(errno) => (Backing::Broken, Err(errno)),
                }
            }
            Content::Tmpfs { copy_up } => (
                Backing::Tmpfs { copy_up: *copy_up },
                Ok(MountpointKind::Directory),
            ),
            Content::Awaited { kind, .. } => {
                // Most are directories, and what is nested in one is.
                let kind = kind.unwrap_or(MountpointKind::Directory);
                let id = self.tree.sources.add_awaited(PathBuf::new(), kind);
                (Backing::Source(id, kind), Ok(kind))
            }
            Content::Kernel | Content::Other => (Backing::Opaque, Ok(MountpointKind::Directory)),
        }
    }

    /// A source that isn't there yet, but is the mountpoint of an earlier mount: for the runtime it is there
    /// when its turn comes.
    fn pending_source(&mut self, source: &Path) -> Option<(SourceId, MountpointKind)> {
        if self.tree.pending.is_empty() {
            return None;
        }
        for at in source.ancestors().take(MAX_MISSING_DEPTH) {
            let Ok(directory) = sys::inode_of_root(at) else {
                continue;
            };
            let mut below = RelPath::default();
            for name in source.strip_prefix(at).ok()?.components() {
                // None for `..`, which means nothing in a path that doesn't exist yet.
                below.push(Name::new(name.as_os_str().as_bytes())?);
            }
            let pending = self.tree.pending.below(directory.identity)?;
            let kind = pending.get(below.view())?.kind.as_mountpoint();
            let at = (at.to_owned(), directory);
            let sources = &mut self.tree.sources;
            let id = sources.add_pending(source.to_owned(), at, below.view(), kind);
            return Some((id, kind));
        }
        None
    }

    /// The status that a judgement gives. What fails in a source that nobody has named says nothing of this host.
    pub(super) fn settled(&self, status: Result<Status, Failure>) -> Status {
        let is_awaited = |failure: &Failure| {
            let at = failure.at.as_ref();
            at.is_some_and(|at| self.tree.sources.is_awaited(at.source))
        };
        match status {
            Err(failure) if failure.cause != Cause::TooMany && is_awaited(&failure) => {
                Status::NotInspected(Reason::Awaited)
            }
            status => status.unwrap_or_else(Status::Failed),
        }
    }
}

/// Opens the rootfs.
pub(super) fn open_rootfs(sources: &mut Sources, path: &Path) -> Result<SourceId, Error> {
    sources
        .add_rootfs(path.to_owned())
        .map_err(|errno| match errno {
            Errno::ENOTDIR => Error::invalid(path, "", "the rootfs is not a directory"),
            errno => Error::Unreadable {
                file: path.to_owned(),
                operation: "open",
                errno,
            },
        })
}

/// The target of the symlink that crun creates instead of a mount.
pub(super) fn copied_link(content: &Content) -> Option<Vec<u8>> {
    match content {
        Content::Bind {
            source,
            link: LinkSource::Copied,
            ..
        } => sys::text_of_link(source).ok(),
        _ => None,
    }
}
