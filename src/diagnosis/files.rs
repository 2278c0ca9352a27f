// SPDX-License-Identifier: Apache-2.0
//! What keeps CRIU from opening what tasks have open.

use std::collections::BTreeSet;

use super::FindingKind;
use crate::checkpoint::OpenKind;
use crate::escape::Escaped;
use crate::mountpoints::failure::{Cause, Failure};
use crate::mountpoints::pending::Need;
use crate::mountpoints::plan::{Difference, Plan, PlannedFile, Reason, Status};
use crate::sys::NewKind;

/// What CRIU would report of an open file, without what differs from one run to the next.
pub(super) fn criu(planned: &PlannedFile) -> String {
    // As CRIU opens it: from the root of the namespace.
    let path = Escaped(planned.path.as_bytes());
    if let Status::Differs(difference) = planned.status {
        return differs(&path, difference);
    }
    if of_open_file(planned) == Some(FindingKind::WrongKind) {
        return match planned.kind {
            OpenKind::SocketDirectory => "Can't bind: Not a directory".to_owned(),
            _ if planned.size.is_some() => format!("File {path} has bad size"),
            // Or it can't be opened: that depends on how it was.
            _ => format!("File {path} has bad mode"),
        };
    }
    match planned.kind {
        OpenKind::Fifo => format!("Can't open fake fifo [{path}]"),
        // Only watches have no mode.
        OpenKind::Directory | OpenKind::Unknown if planned.mode.is_none() => {
            format!("Unable to open /{path}")
        }
        OpenKind::SocketDirectory => "Can't bind: No such file or directory".to_owned(),
        _ => format!("Can't open file {path}"),
    }
}

/// Whether a missing directory is created with the mountpoint of one of these mounts, and with the recorded mode.
pub(super) fn is_of_mount(plan: &Plan, planned: &PlannedFile, mounts: &BTreeSet<usize>) -> bool {
    let Status::Missing(missing) = &planned.status else {
        return false;
    };
    let inode = plan.pending.upwards(missing.inode).next();
    inode.is_some_and(|inode| {
        let is_needed = matches!(inode.need, Need::Mount(mount) if mounts.contains(&mount));
        is_needed && inode.kind == NewKind::Directory && inode.mode() == 0o755
    })
}

/// What CRIU reports of something that it doesn't accept.
fn differs(path: &Escaped, difference: Difference) -> String {
    match difference {
        Difference::Size { here, recorded } => {
            format!("File {path} has bad size {here} (expect {recorded})")
        }
        Difference::Mode { here, recorded } => {
            format!("File {path} has bad mode 0{here:o} (expect 0{recorded:o})")
        }
        Difference::ReadOnly => "Can't create ghost regfile".to_owned(),
        Difference::BuildId => format!("File {path} has bad build-ID"),
        Difference::InUse => "Can't bind: Address already in use".to_owned(),
    }
}

/// What keeps CRIU from opening an open file, if anything does.
pub fn of_open_file(planned: &PlannedFile) -> Option<FindingKind> {
    match &planned.status {
        Status::Missing(_) => Some(FindingKind::MissingOpenFile),
        Status::NotRequested => Some(FindingKind::MissingLog),
        Status::MissingContent => Some(FindingKind::MissingContent),
        Status::Differs(Difference::Size { .. }) => Some(FindingKind::BadSize),
        Status::Differs(Difference::Mode { .. }) => Some(FindingKind::BadMode),
        Status::Differs(Difference::ReadOnly) => Some(FindingKind::DeletedFile),
        Status::Differs(Difference::BuildId) => Some(FindingKind::BadBuildId),
        Status::Differs(Difference::InUse) => Some(FindingKind::AddressInUse),
        Status::KindUnknown => Some(FindingKind::OpenFileOfUnknownKind),
        Status::Failed(Failure {
            cause: Cause::WrongKind { .. },
            ..
        }) => Some(FindingKind::WrongKind),
        Status::Failed(_) | Status::NotCreated(..) => Some(FindingKind::OpenFileNotCreated),
        Status::NotInspected(Reason::Link) => Some(FindingKind::SymbolicLink),
        Status::Present
        | Status::Created(_)
        | Status::Restored
        | Status::Kernel
        | Status::Link
        | Status::NotInspected(_) => None,
    }
}
