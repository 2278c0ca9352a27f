// SPDX-License-Identifier: Apache-2.0
//! The sum of all mounts.

use std::fmt::{self, Display, Formatter};

use crate::mountpoints::pending::Made;
use crate::mountpoints::plan::{Plan, Status};
use crate::sys::MountpointKind;

/// The sum of all.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Summary {
    mounts: usize,
    present: usize,
    missing: usize,
    failed: usize,
    not_inspected: usize,
    created_directories: usize,
    created_files: usize,
    /// Of those that are missing, those that are missing still.
    #[serde(skip)]
    left: usize,
}

impl Summary {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut sum = Self {
            mounts: plan.mounts.len(),
            ..Self::default()
        };
        for (index, planned) in plan.mounts.iter().enumerate() {
            match &planned.status {
                Status::Failed(_) | Status::NotCreated(..) => sum.failed += 1,
                Status::Missing(_) => {
                    sum.missing += 1;
                    sum.left += 1;
                }
                // By this premount, or by another at the same time.
                Status::Created(_) => sum.missing += 1,
                Status::NotInspected(_) | Status::KindUnknown => sum.not_inspected += 1,
                Status::Present | Status::Restored | Status::Kernel | Status::Link => {
                    sum.present += 1;
                }
            }
            if !matches!(planned.status, Status::Created(_) | Status::NotCreated(..)) {
                continue;
            }
            for inode in plan
                .lacking(index)
                .filter(|inode| inode.made == Made::Created)
            {
                match inode.kind {
                    MountpointKind::Directory => sum.created_directories += 1,
                    MountpointKind::File => sum.created_files += 1,
                }
            }
        }
        sum
    }
}

impl Display for Summary {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let counted = |count: usize, one: &str, more: &str| {
            format!("{count} {}", if count == 1 { one } else { more })
        };
        let mut parts = Vec::new();
        let directories = counted(self.created_directories, "directory", "directories");
        let files = counted(self.created_files, "file", "files");
        if self.created_directories > 0 && self.created_files > 0 {
            parts.push(format!("created {directories} and {files}"));
        } else if self.created_directories > 0 {
            parts.push(format!("created {directories}"));
        } else if self.created_files > 0 {
            parts.push(format!("created {files}"));
        } else if self.left > 0 {
            parts.push(counted(
                self.left,
                "mountpoint missing",
                "mountpoints missing",
            ));
        }
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        if self.not_inspected > 0 {
            parts.push(format!("{} not inspected", self.not_inspected));
        }
        if parts.is_empty() {
            parts.push("nothing missing".to_owned());
        }
        write!(
            out,
            "{}: {}",
            counted(self.mounts, "mount", "mounts"),
            parts.join(", ")
        )
    }
}
