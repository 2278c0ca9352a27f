// SPDX-License-Identifier: Apache-2.0
//! For each mount: where its mountpoint lives, what is there, what is missing; and later what became of that.
//! [`planner`](super::planner) works it out, [`create`](super::create) carries it out.

use std::path::{Path, PathBuf};

use super::failure::{Cause, Failure};
use super::host_place::HostPlace;
use super::pending::{Made, Pending, PendingId};
use super::required::InCheckpoint;
use super::sources::Sources;
use crate::error::{Errored, shown};
use crate::escape::Escaped;
use crate::oci::mount::Mount;
use crate::path::{RelPath, RelRef};
use crate::sys::MountpointKind;

/// What to create, worked out without changing the host.
#[derive(Debug)]
pub struct Plan {
    /// The rootfs.
    pub rootfs: PathBuf,
    /// The mounts, in the order of the configuration; then those that only the checkpoint has.
    pub mounts: Vec<PlannedMount>,
    /// The host's directories and files behind them.
    pub sources: Sources,
    /// What isn't there yet.
    pub pending: Pending,
    /// The checkpoint needs more inodes, or has more mounts, beyond the configuration than this limit: none
    /// of them is planned.
    pub over_limit: Option<usize>,
}

/// A mount, and its mountpoint.
#[derive(Debug)]
pub struct PlannedMount {
    /// The mount.
    pub mount: Mount,
    /// The mount that its mountpoint lies in, by its index in [`Plan::mounts`]; none for the rootfs.
    pub parent: Option<usize>,
    /// The mountpoint in the container's view, links resolved; none for a destination that is not a path.
    pub resolved: Option<RelPath>,
    /// The mountpoint on the host, if it is the host's.
    pub at: Option<HostPlace>,
    /// What the mountpoint has to be; unknown for a bind without a usable source.
    pub kind: Option<MountpointKind>,
    /// The state of the mountpoint: the one answer for the log, the reports and the exit status.
    pub status: Status,
    /// Who has the mount.
    pub origin: Origin,
    /// Whether the checkpoint has it.
    pub in_checkpoint: InCheckpoint,
}

/// Who has a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration.
    Configuration,
    /// The checkpoint alone; or the configuration too, but in another mount.
    Checkpoint,
}

/// The state of a mountpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is there, and of the right kind.
    Present,
    /// It isn't there, and has to be created.
    Missing(Missing),
    /// It wasn't there, and has been created.
    Created(Missing),
    /// It wasn't there, and creating it failed.
    NotCreated(Missing, Failure),
    /// It lies on a tmpfs of the container's: CRIU restores it.
    Restored,
    /// It is a kernel file system's mountpoint in another one: the kernel creates it.
    Kernel,
    /// premount doesn't look into what it lies in.
    NotInspected(Reason),
    /// It is no mount: crun creates a link in its place (`copy-symlink`), and nothing is mounted.
    Link,
    /// It isn't there, and nothing tells whether it has to be a directory or a file: the wrong one would be
    /// worse than none.
    KindUnknown,
    /// The plan leads nowhere.
    Failed(Failure),
}

/// Why a mountpoint is not inspected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It lies in a file system of this type.
    FileSystem(String),
    /// A symbolic link is on the way, which CRIU would follow wherever it leads.
    Link,
}

/// A mountpoint that isn't there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Where it has to be.
    pub at: HostPlace,
    /// How many components of its path exist.
    pub existing: usize,
    /// The inode that is to be created.
    pub inode: PendingId,
}

impl Missing {
    /// The directory that exists, as this mount's source leads to it.
    pub fn base(&self) -> HostPlace {
        self.at.source.at(self.at.view().prefix(self.existing))
    }
}

impl Status {
    /// What failed, if anything did.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) | Self::NotCreated(_, failure) => Some(failure),
            _ => None,
        }
    }

    /// What is or was missing.
    pub fn missing(&self) -> Option<&Missing> {
        match self {
            Self::Missing(missing) | Self::Created(missing) | Self::NotCreated(missing, _) => {
                Some(missing)
            }
            _ => None,
        }
    }
}

/// An inode that a mount lacks, or lacked.
#[derive(Clone, Copy, Debug)]
pub struct LackingInode<'a> {
    /// Its path in the source.
    pub path: RelRef<'a>,
    /// What it has to be.
    pub kind: MountpointKind,
    /// What became of it.
    pub made: Made,
}

impl Plan {
    /// The host path of a mountpoint, if it is the host's.
    pub fn host_path(&self, planned: &PlannedMount) -> Option<PathBuf> {
        planned.at.as_ref().map(|at| self.sources.host_path(at))
    }

    /// The host path at which a mount failed, if it did and that is the host's.
    pub fn failed_at(&self, planned: &PlannedMount) -> Option<PathBuf> {
        let failure = planned.status.failure()?;
        match (&failure.at, failure.cause) {
            (_, Cause::Source(_)) => planned.mount.source().map(Path::to_owned),
            (at, _) => at.as_ref().map(|at| self.sources.host_path(at)),
        }
    }

    /// What failed with a mount, on one line.
    pub fn failure_text(&self, planned: &PlannedMount) -> Option<String> {
        let cause = planned.status.failure()?.cause;
        let mount = Escaped(planned.mount.written.as_bytes());
        let path = self.failed_at(planned);
        let path = path.map_or(String::new(), |path| format!(": {}", shown(&path)));
        let (operation, errno) = (cause.operation(), Errored(cause.errno()));
        Some(format!(
            "mount {mount}: {cause}{path}: {operation}: {errno}"
        ))
    }

    /// The inodes that the mount with this index lacks, or lacked, outermost first; without those that an
    /// earlier mount lacks too.
    pub fn lacking(&self, index: usize) -> impl Iterator<Item = LackingInode<'_>> {
        let planned = self.mounts.get(index);
        let missing = planned.and_then(|planned| planned.status.missing());
        missing.into_iter().flat_map(move |missing| {
            let inodes = self.pending.upwards(missing.inode);
            let own: Vec<_> = inodes.take_while(|inode| inode.mount == index).collect();
            let paths: Vec<RelRef> = missing.at.view().ancestors().take(own.len()).collect();
            let both = paths.into_iter().zip(own).rev();
            both.map(|(path, inode)| LackingInode {
                path,
                kind: inode.kind,
                made: inode.made,
            })
        })
    }
}
