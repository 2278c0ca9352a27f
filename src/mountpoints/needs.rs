// SPDX-License-Identifier: Apache-2.0
//! What a checkpoint that stands alone needs of a host: the sources that nobody has named, and what CRIU opens in
//! each.

use std::path::Path;

use super::plan::{Plan, PlannedFile, PlannedMount, Reason, Status};
use crate::checkpoint::OpenKind;
use crate::oci::mount::Content;
use crate::path::{RelPath, RelRef};
use crate::sys::MountpointKind;

/// What something has to be if nothing tells.
pub const UNKNOWN: &str = "directory or file";

/// A source that the restore has to have.
#[derive(Debug)]
pub struct NeededSource<'a> {
    /// The mount that shows it.
    pub mount: &'a PlannedMount,
    /// What it has to be, if that is known.
    pub kind: Option<MountpointKind>,
    /// Whether the engine provides it itself.
    pub by_engine: bool,
    /// Its path where the checkpoint was made, if that is known.
    pub was: Option<&'a Path>,
    /// What has to be in it, by path.
    pub inodes: Vec<NeededInode>,
}

/// Something that has to be in a source.
#[derive(Debug)]
pub struct NeededInode {
    /// Its absolute path in the container.
    pub path: Vec<u8>,
    /// What it has to be.
    pub kind: NeededKind,
    /// Its permission bits, if CRIU compares them.
    pub mode: Option<u32>,
    /// Its size in bytes, if CRIU compares it.
    pub size: Option<u64>,
    /// Whether premount creates it at the restore, if it is missing.
    pub by_premount: bool,
}

/// What something has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeededKind {
    /// A mountpoint, of this kind if that is known.
    Mountpoint(Option<MountpointKind>),
    /// Something that a task of the checkpoint has open.
    Open(OpenKind),
}

impl NeededSource<'_> {
    /// Whether CRIU may fail at something in it that premount doesn't create.
    pub fn is_open(&self) -> bool {
        self.inodes
            .iter()
            .any(|inode| !self.by_engine || !inode.by_premount)
    }
}

impl NeededKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mountpoint(Some(kind)) => kind.name(),
            Self::Mountpoint(None) | Self::Open(OpenKind::Unknown) => UNKNOWN,
            Self::Open(OpenKind::Directory | OpenKind::SocketDirectory) => "directory",
            Self::Open(OpenKind::Fifo) => "FIFO",
            Self::Open(OpenKind::EmptyFile | OpenKind::File) => "file",
            Self::Open(OpenKind::Log) => "log",
            Self::Open(OpenKind::Device) => "device",
            Self::Open(OpenKind::Deleted) => "deleted file",
            Self::Open(OpenKind::Socket) => "no file but a socket",
        }
    }
}

/// The sources that nobody has named, in the order of the mounts; empty if the checkpoint has a bundle.
pub fn needs(plan: &Plan) -> Vec<NeededSource<'_>> {
    let mut all: Vec<NeededSource> = Vec::new();
    let mut of_mount: Vec<Option<usize>> = vec![None; plan.mounts.len()];
    for (mount, number) in plan.mounts.iter().zip(&mut of_mount) {
        if let Content::Awaited {
            kind,
            by_engine,
            was,
        } = &mount.mount.content
        {
            *number = Some(all.len());
            all.push(NeededSource {
                mount,
                kind: *kind,
                by_engine: *by_engine,
                was: was.as_deref(),
                inodes: Vec::new(),
            });
        }
    }
    let number = |parent: Option<usize>| of_mount.get(parent?).copied().flatten();
    for mount in &plan.mounts {
        if let Some(source) = number(mount.parent).and_then(|number| all.get_mut(number)) {
            source.inodes.extend(of_mount_in(mount));
        }
    }
    for inner in &plan.missing_inner {
        if let Some(source) = number(inner.parent).and_then(|number| all.get_mut(number)) {
            let at = source.mount.resolved.as_ref();
            let at = at.map_or(RelRef::ROOT, RelPath::view);
            source.inodes.push(NeededInode {
                path: [b"/", at.join(inner.at.view()).as_bytes()].concat(),
                kind: NeededKind::Mountpoint(None),
                mode: None,
                size: None,
                by_premount: false,
            });
        }
    }
    // CRIU makes a deleted file itself.
    let is_needed = |file: &&PlannedFile| file.is_held && file.kind != OpenKind::Deleted;
    for file in plan.files.iter().filter(is_needed) {
        if let Some(source) = number(file.parent).and_then(|number| all.get_mut(number)) {
            source.inodes.push(of_file(file));
        }
    }
    for source in &mut all {
        let own = source.mount.resolved.as_ref().map(RelPath::as_bytes);
        let is_below = |inode: &NeededInode| inode.path.strip_prefix(b"/") != own;
        if source.inodes.iter().any(is_below) {
            source.kind = Some(MountpointKind::Directory);
        }
        source.inodes.sort_by(|a, b| a.path.cmp(&b.path));
        // A mountpoint that is open as well.
        source.inodes.dedup_by(|later, first| {
            let is_open = |inode: &NeededInode| matches!(inode.kind, NeededKind::Open(_));
            let is_same = later.path == first.path && is_open(later) != is_open(first);
            if is_same && is_open(later) {
                std::mem::swap(later, first);
            }
            is_same
        });
    }
    all
}

fn of_mount_in(mount: &PlannedMount) -> Option<NeededInode> {
    let kind = match mount.mount.content {
        Content::Awaited { kind, .. } => kind,
        _ => mount.kind,
    };
    Some(NeededInode {
        path: [b"/", mount.resolved.as_ref()?.as_bytes()].concat(),
        kind: NeededKind::Mountpoint(kind),
        mode: None,
        size: None,
        by_premount: !matches!(
            mount.status,
            Status::NotInspected(_) | Status::KindUnknown | Status::Failed(_)
        ),
    })
}

fn of_file(file: &PlannedFile) -> NeededInode {
    NeededInode {
        path: file.name(),
        kind: NeededKind::Open(file.kind),
        mode: file.mode.map(|mode| mode & 0o7777),
        size: file.size,
        // It creates no source, and a log only if asked to. Where a socket goes, nothing has to be.
        by_premount: match file.kind {
            _ if matches!(file.status, Status::NotInspected(Reason::Awaited)) => false,
            OpenKind::Socket => true,
            OpenKind::Log | OpenKind::Unknown => false,
            kind => kind.can_be_created() && !file.at.view().is_root(),
        },
    }
}
