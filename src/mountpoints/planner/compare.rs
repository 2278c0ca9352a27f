// SPDX-License-Identifier: Apache-2.0
//! Compares what is on the host with what a checkpoint's tasks had open.

use nix::libc::{S_IFMT, S_IFREG, S_IFSOCK};

use crate::checkpoint::OpenKind;
use crate::mountpoints::failure::Cause;
use crate::mountpoints::host_place::SourceId;
use crate::mountpoints::plan::{Difference, Reason, Status};
use crate::path::RelPath;
use crate::sys::{Inode, InodeKind, MountpointKind};

/// What CRIU doesn't compare with its option `skip-file-rwx-check`.
const PERMISSIONS: u32 = 0o777;

/// Something that CRIU opens, where it is.
pub(super) struct Wanted {
    pub(super) source: SourceId,
    /// Its path in the source.
    pub(super) at: RelPath,
    /// The mount that it is in.
    pub(super) parent: Option<usize>,
    /// Its path in the container.
    pub(super) path: RelPath,
    pub(super) kind: OpenKind,
    /// With the kind.
    pub(super) mode: Option<u32>,
    pub(super) size: Option<u64>,
    pub(super) build_id: Option<Box<[u8]>>,
    /// CRIU's ID of it; none for the working directory of the configuration.
    pub(super) id: Option<u32>,
    /// Whether the runtime creates it at a first start: the working directory of the configuration.
    pub(super) is_of_runtime: bool,
    /// Whether the container can't write there.
    pub(super) read_only: bool,
}

/// Compares what is there with what CRIU expects (CRIU criu/files-reg.c, `open_path`): its kind, then its size, its
/// build ID and its mode. `build_id`: that of what is there; `skips_permissions`:
/// CRIU is told not to compare them.
pub(super) fn compare(
    wanted: &Wanted,
    inode: &Inode,
    build_id: impl FnOnce() -> Option<Vec<u8>>,
    skips_permissions: bool,
) -> Result<Status, Cause> {
    let needed = match wanted.kind {
        // CRIU removes a socket that has the name (CRIU criu/sk-unix.c, `unlink_sk`).
        OpenKind::Socket if inode.mode & S_IFMT == S_IFSOCK => return Ok(Status::Present),
        OpenKind::Socket => return Ok(Status::Differs(Difference::InUse)),
        // CRIU would follow it.
        _ if inode.kind == InodeKind::Link => return Ok(Status::NotInspected(Reason::Link)),
        OpenKind::Directory | OpenKind::SocketDirectory => Some(MountpointKind::Directory),
        OpenKind::Fifo
        | OpenKind::EmptyFile
        | OpenKind::File
        | OpenKind::Device
        | OpenKind::Log => Some(MountpointKind::File),
        OpenKind::Unknown | OpenKind::Deleted => None,
    };
    let there = if inode.kind == InodeKind::Directory {
        MountpointKind::Directory
    } else {
        MountpointKind::File
    };
    if let Some(needed) = needed.filter(|&needed| needed != there) {
        return Err(Cause::WrongKind { needed });
    }
    let here = inode.size;
    if let Some(recorded) = wanted.size.filter(|&recorded| recorded != here) {
        return Ok(Status::Differs(Difference::Size { here, recorded }));
    }
    // CRIU compares the build IDs of files whose sizes it compares, and what has none is accepted.
    let is_regular = inode.mode & S_IFMT == S_IFREG && wanted.size.is_some();
    if let Some(recorded) = wanted.build_id.as_ref().filter(|_| is_regular) {
        let differs = |mut here: Vec<u8>| {
            here.resize(here.len().next_multiple_of(4), 0);
            here[..] != recorded[..]
        };
        if build_id().is_some_and(differs) {
            return Ok(Status::Differs(Difference::BuildId));
        }
    }
    let here = inode.mode;
    let ignored = if skips_permissions { PERMISSIONS } else { 0 };
    let differs = |recorded: &u32| recorded | ignored != here | ignored;
    if let Some(recorded) = wanted.mode.filter(differs) {
        return Ok(Status::Differs(Difference::Mode { here, recorded }));
    }
    Ok(Status::Present)
}
