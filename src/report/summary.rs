// SPDX-License-Identifier: Apache-2.0
//! The sum of all mounts.

use std::fmt::{self, Display, Formatter};

use crate::mountpoints::pending::Made;
use crate::mountpoints::plan::{Plan, Status};
use crate::sys::NewKind;

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
    created_fifos: usize,
    open_files: usize,
    open_files_missing: usize,
    open_files_failed: usize,
    open_files_differ: usize,
    /// Of the mountpoints that are missing, those that are missing still.
    #[serde(skip)]
    left: usize,
    /// The same of open files, logs among them.
    #[serde(skip)]
    files_left: usize,
}

impl Summary {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut sum = Self {
            mounts: plan.mounts.len(),
            open_files: plan.files.len(),
            ..Self::default()
        };
        sum.add_files(plan);
        for planned in &plan.mounts {
            match &planned.status {
                Status::Failed(_) | Status::NotCreated(..) => sum.failed += 1,
                Status::Missing(_) => {
                    sum.missing += 1;
                    sum.left += 1;
                }
                // By this premount, or by another at the same time.
                Status::Created(_) => sum.missing += 1,
                Status::NotInspected(_)
                | Status::KindUnknown
                | Status::NotRequested
                | Status::MissingContent
                | Status::Differs(_) => {
                    sum.not_inspected += 1;
                }
                Status::Present | Status::Restored | Status::Kernel | Status::Link => {
                    sum.present += 1;
                }
            }
        }
        for need in plan.needs() {
            let tried =
                |status: &Status| matches!(status, Status::Created(_) | Status::NotCreated(..));
            if !plan.status(need).is_some_and(tried) {
                continue;
            }
            let inodes = plan.lacking(need);
            for inode in inodes.filter(|inode| inode.made == Made::Created) {
                match inode.kind {
                    NewKind::Directory => sum.created_directories += 1,
                    NewKind::File => sum.created_files += 1,
                    NewKind::Fifo => sum.created_fifos += 1,
                }
            }
        }
        sum
    }

    fn add_files(&mut self, plan: &Plan) {
        for planned in &plan.files {
            match &planned.status {
                Status::Failed(_) | Status::NotCreated(..) => self.open_files_failed += 1,
                Status::Missing(_)
                | Status::NotRequested
                | Status::KindUnknown
                | Status::MissingContent => {
                    self.open_files_missing += 1;
                    self.files_left += 1;
                }
                Status::Created(_) => self.open_files_missing += 1,
                Status::Differs(_) => self.open_files_differ += 1,
                Status::NotInspected(_)
                | Status::Present
                | Status::Restored
                | Status::Kernel
                | Status::Link => {}
            }
        }
    }
}

impl Display for Summary {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let counted = |count: usize, one: &str, more: &str| {
            format!("{count} {}", if count == 1 { one } else { more })
        };
        let mut parts = Vec::new();
        let created = [
            (self.created_directories, "directory", "directories"),
            (self.created_files, "file", "files"),
            (self.created_fifos, "FIFO", "FIFOs"),
        ];
        let created = created.into_iter().filter(|(count, ..)| *count > 0);
        let created: Vec<String> = created
            .map(|(count, one, more)| counted(count, one, more))
            .collect();
        match created.split_last() {
            Some((last, [])) => parts.push(format!("created {last}")),
            Some((last, first)) => parts.push(format!("created {} and {last}", first.join(", "))),
            None if self.left > 0 => parts.push(counted(
                self.left,
                "mountpoint missing",
                "mountpoints missing",
            )),
            None => {}
        }
        if self.files_left > 0 {
            parts.push(counted(
                self.files_left,
                "open file missing",
                "open files missing",
            ));
        }
        if self.open_files_differ > 0 {
            parts.push(counted(
                self.open_files_differ,
                "open file differs",
                "open files differ",
            ));
        }
        let failed = self.failed + self.open_files_failed;
        if failed > 0 {
            parts.push(format!("{failed} failed"));
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
