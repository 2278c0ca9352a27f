// SPDX-License-Identifier: Apache-2.0
//! The inodes that a report names, within its limits.

use std::path::PathBuf;

use crate::mountpoints::budget::Lines;
use crate::mountpoints::pending::{Made, Need};
use crate::mountpoints::plan::{Plan, Status};
use crate::request::View;
use crate::sys::NewKind;

/// An inode that is named in a report.
pub(super) struct Named {
    pub(super) path: PathBuf,
    pub(super) kind: NewKind,
}

/// The inodes that a mount or an open file lacks, or that were created for it, outermost first.
pub(super) fn named<'a>(
    view: View,
    plan: &'a Plan,
    need: Need,
    lines: &'a mut Lines,
) -> impl Iterator<Item = Named> + 'a {
    let at = plan.status(need).and_then(Status::missing);
    let name = plan.name_of(need).len();
    plan.lacking(need)
        .filter(move |inode| view != View::Created || inode.made == Made::Created)
        .filter(move |inode| lines.take(inode.path.size() + name))
        .filter_map(move |inode| {
            let path = plan.sources.host_path_in(at?.at.source, inode.path);
            let kind = inode.kind;
            Some(Named { path, kind })
        })
}
