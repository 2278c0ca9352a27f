// SPDX-License-Identifier: Apache-2.0
//! The inodes that a report names, within its limits.

use std::path::PathBuf;

use crate::mountpoints::budget::Lines;
use crate::mountpoints::pending::Made;
use crate::mountpoints::plan::Plan;
use crate::request::View;
use crate::sys::MountpointKind;

/// An inode that is named in a report.
pub(super) struct Named {
    pub(super) path: PathBuf,
    pub(super) kind: MountpointKind,
}

/// The inodes that the mount with this index lacks, or that were created for it, outermost first.
pub(super) fn named<'a>(
    view: View,
    plan: &'a Plan,
    index: usize,
    lines: &'a mut Lines,
) -> impl Iterator<Item = Named> + 'a {
    let planned = plan.mounts.get(index);
    let at = planned.and_then(|planned| planned.status.missing());
    let mount = planned.map_or(0, |planned| planned.mount.written.len());
    plan.lacking(index)
        .filter(move |inode| view != View::Created || inode.made == Made::Created)
        .filter(move |inode| lines.take(inode.path.size() + mount))
        .filter_map(move |inode| {
            let path = plan.sources.host_path_in(at?.at.source, inode.path);
            let kind = inode.kind;
            Some(Named { path, kind })
        })
}
