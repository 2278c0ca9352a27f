// SPDX-License-Identifier: Apache-2.0
//! Decides whether a missing inode can be created, and reserves its inodes.

use nix::errno::Errno;

use super::Planner;
use crate::mountpoints::failure::{Cause, Failure};
use crate::mountpoints::host_place::{HostPlace, SourceId};
use crate::mountpoints::pending::{Made, MakerId, Need, NodeId, Pending, PendingId, PendingInode};
use crate::mountpoints::plan::{Missing, Reason, Status};
use crate::path::{Name, RelRef};
use crate::sys::NewKind;

/// Write permission for the group and for others.
const OTHERS_WRITE: u32 = 0o022;

/// A missing inode, as something needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needed {
    pub(super) kind: NewKind,
    /// Its permissions, if the checkpoint has them.
    pub(super) mode: Option<u32>,
    pub(super) maker: MakerId,
    pub(super) by: Need,
}

impl Planner {
    /// Plans a missing inode; the first `existing` components of its path exist.
    pub(super) fn missing(
        &mut self,
        source: SourceId,
        path: RelRef,
        existing: usize,
        needed: Needed,
    ) -> Result<Status, Failure> {
        match self.tree.sources.real(source, path) {
            None => self.missing_at(source.at(path), existing, needed),
            // Nothing exists yet in a pending source.
            Some(real) => self.missing_at(real, 0, needed).map_err(|failure| Failure {
                at: Some(source.at(path)),
                ..failure
            }),
        }
    }

    fn missing_at(
        &mut self,
        at: HostPlace,
        existing: usize,
        needed: Needed,
    ) -> Result<Status, Failure> {
        let base = at.view().prefix(existing);
        let failed = |path: RelRef, cause| Failure {
            at: Some(at.source.at(path)),
            cause,
        };
        let sources = &mut self.tree.sources;
        let judged = sources
            .judge(at.source, base)
            .map_err(|cause| failed(base, cause))?;
        if let Some(name) = judged.file_system.kernel {
            return Ok(Status::NotInspected(Reason::FileSystem(name.to_owned())));
        }
        if judged.file_system.read_only {
            let cause = Cause::system("mkdirat")(Errno::EROFS);
            return Err(failed(at.view(), cause));
        }
        let below = at.view().strip_prefix(base);
        let below = below.ok_or_else(|| failed(base, Cause::Internal))?;
        let inode = self
            .reserve(judged.identity, below, needed)
            .map_err(|(below, cause)| failed(base.join(below).view(), cause))?;
        Ok(Status::Missing(Missing {
            at,
            existing,
            inode,
        }))
    }

    /// Reserves every missing component of `path` below the directory `identity`. The error names the part of
    /// the path where it failed.
    fn reserve<'a>(
        &mut self,
        identity: (u64, u64),
        path: RelRef<'a>,
        needed: Needed,
    ) -> Result<PendingId, (RelRef<'a>, Cause)> {
        let (tree, inodes) = self
            .tree
            .pending
            .tree_at(identity)
            .ok_or((path, Cause::Internal))?;
        let kind_of = |prefix| {
            if prefix == path {
                needed.kind
            } else {
                NewKind::Directory
            }
        };
        let mut at = NodeId::TOP;
        let mut new: Vec<(Name, PendingInode)> = Vec::new();
        for (prefix, name) in path.prefixes().zip(path.names()) {
            let kind = kind_of(prefix);
            let there = inodes.child(at, name).filter(|_| new.is_empty());
            let planned = there.and_then(|there| inodes.value(there));
            match (there, planned.map(|inode| inode.kind)) {
                (Some(there), Some(planned)) if planned == kind => at = there,
                (_, Some(_)) if prefix == path => {
                    let needed = kind.as_mountpoint();
                    return Err((prefix, Cause::WrongKind { needed }));
                }
                (_, Some(_)) => return Err((prefix, Cause::NotADirectory)),
                (_, None) => {
                    let inode = PendingInode {
                        kind,
                        mode: None,
                        maker: needed.maker,
                        need: needed.by,
                        made: Made::NotYet,
                    };
                    new.push((name, inode));
                }
            }
        }
        // All or nothing: half a path is of no use.
        let left = self.inodes.checked_sub(new.len());
        self.inodes = left.ok_or((path, Cause::TooMany))?;
        for (name, inode) in new {
            at = inodes.add(at, name);
            inodes.set(at, inode);
        }
        let id = Pending::id(tree, at);
        if let Some(mode) = needed.mode {
            // Only root can have changed the mode of what the runtime created.
            let is_of_runtime = self.tree.pending.maker(id) == Some(MakerId::RUNTIME);
            let mask = if is_of_runtime && self.user.uid != 0 {
                !OTHERS_WRITE
            } else {
                !0
            };
            self.tree.pending.set_mode(id, mode & mask);
        }
        Ok(id)
    }
}
