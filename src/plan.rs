// SPDX-License-Identifier: Apache-2.0
//! For each mount: where its mountpoint lives, what is there, what is missing. [`crate::planner`] finds
//! it out, [`mod@crate::create`] does what is to be done about it.

use std::path::PathBuf;

use crate::checkpoint::InCheckpoint;
use crate::error::Failure;
use crate::hosts::{HostId, Hosts};
use crate::mount::{Mount, MountpointKind};

/// What is to be known before anything is created.
#[derive(Debug)]
pub struct Plan {
    /// The rootfs.
    pub rootfs: PathBuf,
    /// The mounts, in the order of the configuration.
    pub mounts: Vec<PlannedMount>,
    /// The host's directories and files behind them.
    pub hosts: Hosts,
    /// The checkpoint wants more inodes, or has more mounts, beyond the configuration than these: none of
    /// them is planned.
    pub too_many: Option<usize>,
}

/// A mount of the configuration, and its mountpoint.
#[derive(Debug)]
pub struct PlannedMount {
    /// The mount.
    pub mount: Mount,
    /// The mount that its mountpoint lies in, by its index in [`Plan::mounts`]; none for the rootfs.
    pub parent: Option<usize>,
    /// The mountpoint in the container's view, links resolved, without the leading slash.
    pub resolved: Vec<u8>,
    /// The mountpoint on the host, where it is the host's.
    pub host_path: Option<PathBuf>,
    /// What the mountpoint has to be; unknown for a bind without a usable source.
    pub kind: Option<MountpointKind>,
    /// How it stands with it.
    pub status: Status,
    /// Who knows of the mount.
    pub origin: Origin,
    /// Whether the checkpoint has it.
    pub in_checkpoint: InCheckpoint,
}

/// Who knows of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration.
    Configuration,
    /// The checkpoint alone; or the configuration too, which has it in another mount.
    Checkpoint,
}

/// How it stands with a mountpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is there, and of the right kind.
    Present,
    /// It isn't there, and has to be made.
    Missing(Missing),
    /// It lies on a tmpfs of the container's: CRIU restores it.
    Restored,
    /// It is a kernel file system's mountpoint in another one: the kernel makes it.
    Kernel,
    /// It lies in something that premount doesn't look into, named here by its file system.
    Unjudged(String),
    /// It is no mount: crun makes a link in its place (`copy-symlink`), and nothing is mounted.
    Link,
    /// It isn't there, and nothing tells whether it has to be a directory or a file: the wrong one
    /// would be worse than none.
    Undecided,
    /// It isn't there, and can't be made.
    Failed(Failure),
}

/// A mountpoint that has to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What of the host's it lies in.
    pub host: HostId,
    /// Its path there.
    pub path: Vec<u8>,
    /// How many bytes of the path exist.
    pub existing: usize,
    /// The identity of the directory that they lead to.
    pub identity: (u64, u64),
    /// From which byte of the path on it is this mount's to make: what comes before is another's
    /// that stands earlier in the configuration.
    pub from: usize,
}

impl Status {
    /// The failure, where there is one.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}
