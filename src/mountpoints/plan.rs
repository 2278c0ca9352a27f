// SPDX-License-Identifier: Apache-2.0
//! For each mount: where its mountpoint lives, what is there, what is missing; and later what became of that.
//! [`planner`](super::planner) works it out, [`create`](super::create) carries it out.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use super::budget::Budget;
use super::failure::{Cause, Failure};
use super::host_place::HostPlace;
use super::pending::{Made, Maker, Need, Pending, PendingId};
use super::required::InCheckpoint;
use super::sources::Sources;
use crate::checkpoint::OpenKind;
use crate::error::{Errored, shown};
use crate::escape::Escaped;
use crate::oci::mount::Mount;
use crate::path::{RelPath, RelRef};
use crate::sys::{MountpointKind, NewKind};

/// What to plan, besides the mounts.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanOptions {
    /// Create logs, which may not have been empty.
    pub append: bool,
    /// How open files are compared.
    pub comparison: Comparison,
    /// The limit on created inodes.
    pub budget: Budget,
}

/// How open files are compared with what is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Comparison {
    /// Those with content in the rootfs too, and not in the sources alone: a container has hundreds.
    pub of_rootfs: bool,
    /// Their build IDs too, for which they have to be read.
    pub of_build_ids: bool,
    /// Without their permissions, as CRIU does if it is told to.
    pub skips_permissions: bool,
}

/// What to create, worked out without changing the host.
#[derive(Debug)]
pub struct Plan {
    /// The rootfs; none if the engine provides it at the restore.
    pub rootfs: Option<PathBuf>,
    /// The mounts, in the order of the configuration; then those that only the checkpoint has.
    pub mounts: Vec<PlannedMount>,
    /// What mounts of the workload's show, and isn't there.
    pub missing_inner: Vec<InnerSource>,
    /// Where CRIU makes a directory in a rootfs without /tmp, if the rootfs is read-only.
    pub has_no_tmp: bool,
    /// What CRIU opens by path, or the runtime creates: working directories, open files and more.
    pub files: Vec<PlannedFile>,
    /// Who creates, by `MakerId`.
    pub makers: Vec<Maker>,
    /// Whether root in the container may have `CAP_DAC_OVERRIDE`.
    pub may_override: bool,
    /// The host's directories and files behind them.
    pub sources: Sources,
    /// What isn't there yet.
    pub pending: Pending,
    /// The checkpoint needs more inodes, or has more mounts, beyond the configuration than this limit: none
    /// of them is planned.
    pub over_limit: Option<usize>,
    /// The checkpoint's tasks hold more files, or need more inodes for them, than this limit, or have paths longer
    /// than `OPEN_FILE_PATHS`: none of them is planned.
    pub files_over_limit: Option<usize>,
}

/// What a mount of the workload's shows: something in the rootfs or in a source.
#[derive(Debug)]
pub struct InnerSource {
    /// The mountpoint in the container.
    pub mountpoint: RelPath,
    /// The mount that it is in, by its index in [`Plan::mounts`]; none for the rootfs.
    pub parent: Option<usize>,
    /// Where it is on the host.
    pub at: HostPlace,
}

/// Something that CRIU opens by its path.
#[derive(Debug)]
pub struct PlannedFile {
    /// Its path in the container.
    pub path: RelPath,
    /// What it has to be.
    pub kind: OpenKind,
    /// The mode that CRIU compares, with the kind (`st_mode`, inode(7)).
    pub mode: Option<u32>,
    /// The size in bytes that CRIU compares.
    pub size: Option<u64>,
    /// Whether a task of the checkpoint holds it, so that CRIU fails without it. The working directory of the
    /// configuration need not be held.
    pub is_held: bool,
    /// The mount that it is in, by its index in [`Plan::mounts`]; none for the rootfs.
    pub parent: Option<usize>,
    /// Where it is on the host.
    pub at: HostPlace,
    /// How it stands with it.
    pub status: Status,
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

/// The state of a mountpoint, or of something that CRIU opens.
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
    /// It isn't there, it may have had content, and CRIU accepts an empty one: a log. Created if asked for.
    NotRequested,
    /// It isn't there, and it had content, or is a device: premount creates no such thing.
    MissingContent,
    /// It is there, and CRIU doesn't accept it.
    Differs(Difference),
    /// The plan leads nowhere.
    Failed(Failure),
}

/// Why CRIU doesn't accept what is there (CRIU criu/files-reg.c, `open_path`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It has another size, in bytes.
    Size {
        /// The size here.
        here: u64,
        /// The size in the checkpoint.
        recorded: u64,
    },
    /// It has another mode, or is of another kind (`st_mode`).
    Mode {
        /// The mode here.
        here: u32,
        /// The mode in the checkpoint.
        recorded: u32,
    },
    /// It is another build of a program or library.
    BuildId,
    /// It was deleted, and CRIU can't make it anew: the file system here, or its mount, is read-only.
    ReadOnly,
    /// CRIU binds a socket here, and something that is no socket has the name.
    InUse,
}

impl Display for Difference {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { here, recorded } => write!(out, "size {here} here, {recorded} recorded"),
            Self::Mode { here, recorded } => {
                write!(out, "mode 0{here:o} here, 0{recorded:o} recorded")
            }
            Self::BuildId => out.write_str("another build ID here than recorded"),
            Self::ReadOnly => out.write_str("deleted, and read-only here"),
            Self::InUse => out.write_str("the name of a socket, and in use by something else"),
        }
    }
}

/// Why a mountpoint is not inspected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It lies in a file system of this type.
    FileSystem(String),
    /// A symbolic link is on the way, which CRIU would follow wherever it leads.
    Link,
    /// Nobody has named the source that it lies in.
    Awaited,
}

/// A mountpoint or an open file that isn't there.
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

/// An inode that a mount or an open file lacks, or lacked.
#[derive(Clone, Copy, Debug)]
pub struct LackingInode<'a> {
    /// Its path in the source.
    pub path: RelRef<'a>,
    /// What it has to be.
    pub kind: NewKind,
    /// What became of it.
    pub made: Made,
}

impl PlannedFile {
    /// Its absolute path in the container.
    pub fn name(&self) -> Vec<u8> {
        [b"/", self.path.as_bytes()].concat()
    }
}

impl Plan {
    /// Whether the checkpoint stands alone: it has no bundle, and the engine provides the rootfs.
    pub fn is_alone(&self) -> bool {
        self.rootfs.is_none()
    }

    /// Whether a place is in a source that nobody has named.
    pub fn is_awaited(&self, at: &HostPlace) -> bool {
        self.sources.is_awaited(at.source)
    }

    /// The host path of a mountpoint, if it is the host's.
    pub fn host_path(&self, planned: &PlannedMount) -> Option<PathBuf> {
        let at = planned.at.as_ref().filter(|at| !self.is_awaited(at));
        at.map(|at| self.sources.host_path(at))
    }

    /// The host path of an open file.
    pub fn file_host_path(&self, planned: &PlannedFile) -> Option<PathBuf> {
        let at = Some(&planned.at).filter(|at| !self.is_awaited(at));
        at.map(|at| self.sources.host_path(at))
    }

    /// The host path at which a mount failed, if it did and that is the host's.
    pub fn failed_at(&self, planned: &PlannedMount) -> Option<PathBuf> {
        let failure = planned.status.failure()?;
        match (&failure.at, failure.cause) {
            (_, Cause::Source(_)) => planned.mount.source().map(Path::to_owned),
            (at, _) => at.as_ref().map(|at| self.sources.host_path(at)),
        }
    }

    /// The host path at which an open file failed, if it did.
    pub fn file_failed_at(&self, planned: &PlannedFile) -> Option<PathBuf> {
        let at = planned.status.failure()?.at.as_ref();
        Some(self.sources.host_path(at.unwrap_or(&planned.at)))
    }

    /// What failed with an open file, on one line.
    pub fn file_failure_text(&self, planned: &PlannedFile) -> Option<String> {
        let cause = planned.status.failure()?.cause;
        let (name, path) = (planned.name(), self.file_failed_at(planned)?);
        let (operation, errno) = (cause.operation(), Errored(cause.errno()));
        Some(format!(
            "open file {}: {cause}: {}: {operation}: {errno}",
            Escaped(&name),
            shown(&path)
        ))
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

    /// The status of a mount or an open file.
    pub fn status(&self, need: Need) -> Option<&Status> {
        match need {
            Need::Mount(index) => self.mounts.get(index).map(|planned| &planned.status),
            Need::File(index) => self.files.get(index).map(|planned| &planned.status),
        }
    }

    /// Changes the status of a mount or an open file.
    pub fn set_status(&mut self, need: Need, status: Status) {
        let of = match need {
            Need::Mount(index) => self
                .mounts
                .get_mut(index)
                .map(|planned| &mut planned.status),
            Need::File(index) => self.files.get_mut(index).map(|planned| &mut planned.status),
        };
        if let Some(of) = of {
            *of = status;
        }
    }

    /// Everything that has a status, in order.
    pub fn needs(&self) -> impl Iterator<Item = Need> + use<> {
        let mounts = (0..self.mounts.len()).map(Need::Mount);
        mounts.chain((0..self.files.len()).map(Need::File))
    }

    /// What needs an inode, by its path in the container.
    pub fn name_of(&self, need: Need) -> Cow<'_, [u8]> {
        match need {
            Need::Mount(index) => {
                let planned = self.mounts.get(index);
                planned.map_or(Cow::default(), |planned| {
                    planned.mount.written.as_bytes().into()
                })
            }
            Need::File(index) => {
                let planned = self.files.get(index);
                planned.map_or(Cow::default(), |planned| planned.name().into())
            }
        }
    }

    /// The inodes that a mount or an open file lacks, or lacked, outermost first; without those that an earlier
    /// one lacks too.
    pub fn lacking(&self, need: Need) -> impl Iterator<Item = LackingInode<'_>> {
        let missing = self.status(need).and_then(Status::missing);
        missing.into_iter().flat_map(move |missing| {
            let inodes = self.pending.upwards(missing.inode);
            let own: Vec<_> = inodes.take_while(|inode| inode.need == need).collect();
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
