// SPDX-License-Identifier: Apache-2.0
//! What became of each mount and open file, from what became of the inodes that it needs.

use crate::mountpoints::failure::{Cause, Failure};
use crate::mountpoints::pending::{Made, Need};
use crate::mountpoints::plan::{Missing, Plan, Status};

impl Plan {
    /// The status of what was missing, after creation.
    pub(super) fn status_after(&self, need: Need) -> Option<Status> {
        let Status::Missing(missing) = self.status(need)? else {
            return None;
        };
        Some(match self.failure_of(missing) {
            None => Status::Created(missing.clone()),
            Some(failure) => Status::NotCreated(missing.clone(), failure),
        })
    }

    fn failure_of(&self, missing: &Missing) -> Option<Failure> {
        if let Some((at, cause)) = self.pending.unreachable(missing.inode) {
            return Some(Failure {
                at: Some(at.clone()),
                cause: *cause,
            });
        }
        let inodes = self.pending.upwards(missing.inode);
        let mut failure = None;
        for (inode, path) in inodes.zip(missing.at.view().ancestors()) {
            let cause = match inode.made {
                // Everything above it exists.
                Made::Created | Made::Found => break,
                // In the way of what lies below it, and no mountpoint itself.
                Made::Failed(Cause::NotADirectory) if path == missing.at.view() => {
                    let needed = inode.kind.as_mountpoint();
                    Cause::WrongKind { needed }
                }
                Made::Failed(cause) => cause,
                // Something above it failed.
                Made::NotYet => Cause::Internal,
            };
            failure = Some(Failure {
                at: Some(missing.at.source.at(path)),
                cause,
            });
        }
        failure
    }
}
