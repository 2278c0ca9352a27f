// SPDX-License-Identifier: Apache-2.0
//! What is missing of a mountpoint: whether it can be made, from where on, and as what.

use nix::errno::Errno;

use super::Planner;
use crate::error::Cause;
use crate::hosts::HostId;
use crate::mount::MountpointKind;
use crate::names::NameId;
use crate::path::component_ends;
use crate::plan::{Missing, Status};
use crate::sys::{self, FileSystem};

/// A directory that something is missing in, and what it is.
#[derive(Clone)]
pub(super) struct Judged {
    host: HostId,
    path: Vec<u8>,
    identity: (u64, u64),
    file_system: FileSystem,
}

impl Planner {
    /// What the directory is that something is missing in; often that of the mount before.
    fn judge_directory(&mut self, host: HostId, path: &[u8]) -> Result<Judged, Cause> {
        if let Some(judged) = &self.judged {
            if judged.host == host && judged.path == path {
                return Ok(judged.clone());
            }
        }
        let known = self.tree.hosts.identity(host).filter(|_| path.is_empty());
        let directory = self.tree.hosts.parent(host, path)?;
        let identity = if let Some(identity) = known {
            identity
        } else {
            let inode = sys::inode(directory).map_err(Cause::system("fstat"))?;
            inode.identity
        };
        let file_system = sys::file_system(directory).map_err(Cause::system("fstatfs"))?;
        let judged = Judged {
            host,
            path: path.to_owned(),
            identity,
            file_system,
        };
        Ok(self.judged.insert(judged).clone())
    }

    /// Judges a mountpoint that is not there. The error has the end of the path that it is about.
    pub(super) fn missing(
        &mut self,
        host: HostId,
        path: Vec<u8>,
        existing: usize,
        kind: MountpointKind,
    ) -> Result<Status, (usize, Cause)> {
        if !self.tree.hosts.is_to_come(host) {
            return self.missing_below(host, path, existing, kind);
        }
        let (host, whole) = self.tree.hosts.real(host, &path);
        let before = whole.len() - path.len();
        self.missing_below(host, whole, 0, kind)
            .map_err(|(end, cause)| (end.saturating_sub(before), cause))
    }

    fn missing_below(
        &mut self,
        host: HostId,
        path: Vec<u8>,
        existing: usize,
        kind: MountpointKind,
    ) -> Result<Status, (usize, Cause)> {
        let base = path.get(..existing).unwrap_or_default();
        let Judged {
            identity,
            file_system,
            ..
        } = self
            .judge_directory(host, base)
            .map_err(|cause| (existing, cause))?;
        if let Some(name) = file_system.kernel {
            return Ok(Status::Unjudged(name.to_owned()));
        }
        if file_system.read_only {
            return Err((
                path.len(),
                Cause::System {
                    operation: "mkdirat",
                    errno: Errno::EROFS,
                },
            ));
        }
        let from = self.reserve(identity, &path, existing, kind)?;
        Ok(Status::Missing(Missing {
            host,
            path,
            existing,
            identity,
            from,
        }))
    }

    /// Plans all that is missing of a path behind its first `existing` bytes, which lead to the directory
    /// `identity`. Says from which byte on it is this mount's to make. The error has the end of the path
    /// that it is about.
    fn reserve(
        &mut self,
        identity: (u64, u64),
        path: &[u8],
        existing: usize,
        kind: MountpointKind,
    ) -> Result<usize, (usize, Cause)> {
        let names = self.tree.planned.entry(identity).or_default();
        let mut at = NameId::TOP;
        let (mut start, mut from) = (existing, existing);
        for end in component_ends(path).filter(|&end| end > existing) {
            let name = path.get(start..end).unwrap_or_default();
            let name = name.strip_prefix(b"/").unwrap_or(name);
            let needed = if end == path.len() {
                kind
            } else {
                MountpointKind::Directory
            };
            let there = names.child(at, name);
            match there.and_then(|there| names.kind(there)) {
                None => {
                    self.inodes = self.inodes.checked_sub(1).ok_or((end, Cause::TooMany))?;
                    at = names.add(at, name);
                    names.set(at, needed);
                }
                Some(planned) if planned == needed => {
                    at = there.unwrap_or(at);
                    from = end;
                }
                Some(_) if end == path.len() => return Err((end, Cause::WrongKind { needed })),
                Some(_) => return Err((end, Cause::NotADirectory)),
            }
            start = end;
        }
        Ok(from)
    }
}
