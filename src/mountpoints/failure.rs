// SPDX-License-Identifier: Apache-2.0
//! What can go wrong with one mount's mountpoint, by what it means. The other mounts go on.

use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;

use super::host_place::HostPlace;
use crate::sys::MountpointKind;

/// Why a mountpoint isn't there and can't be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it failed; none for a place that isn't the host's.
    pub at: Option<HostPlace>,
    /// What failed.
    pub cause: Cause,
}

/// What failed, by what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The mount's own source is not there, or can't be opened.
    Source(Errno),
    /// The mount that it lies in has failed.
    Below,
    /// More than 40 symbolic links (path_resolution(7)).
    Loop,
    /// Something that is not a directory stands where the path goes on.
    NotADirectory,
    /// The mountpoint exists as the other kind; it is never replaced.
    WrongKind {
        /// What the mount needs.
        needed: MountpointKind,
    },
    /// The path in the container's view is longer than `PATH_MAX`.
    TooLong,
    /// The destination has a NUL.
    Nul,
    /// More is missing than one call creates.
    TooMany,
    /// The directory that was planned for is not the one that is there now.
    Changed,
    /// A system call failed.
    System {
        /// The call, as in its manual page.
        operation: &'static str,
        /// Its error.
        errno: Errno,
    },
    /// premount asked itself for something that doesn't exist: a bug.
    Internal,
}

impl Cause {
    /// A system call that failed.
    pub fn system(operation: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::System { operation, errno }
    }

    /// Whether a directory was to be opened, and a symlink or a file is there or in the way.
    pub fn is_not_a_directory(self) -> bool {
        let errno = self.errno();
        matches!(self, Self::System { .. }) && matches!(errno, Errno::ELOOP | Errno::ENOTDIR)
    }

    /// Whether nothing is there.
    pub fn is_missing(self) -> bool {
        matches!(
            self,
            Self::System {
                errno: Errno::ENOENT,
                ..
            }
        )
    }

    /// The errno that the kernel has for this cause.
    pub fn errno(self) -> Errno {
        match self {
            Self::Source(errno) | Self::System { errno, .. } => errno,
            Self::Below => Errno::ENOENT,
            Self::Loop => Errno::ELOOP,
            Self::NotADirectory
            | Self::WrongKind {
                needed: MountpointKind::Directory,
            } => Errno::ENOTDIR,
            Self::WrongKind {
                needed: MountpointKind::File,
            } => Errno::EISDIR,
            Self::TooLong => Errno::ENAMETOOLONG,
            Self::Nul => Errno::EINVAL,
            Self::TooMany => Errno::EDQUOT,
            Self::Changed => Errno::ESTALE,
            Self::Internal => Errno::ENOTRECOVERABLE,
        }
    }

    /// The system call that failed, or would fail.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Source(_) => "open",
            Self::System { operation, .. } => operation,
            Self::WrongKind { .. } | Self::Below => "mount",
            Self::TooMany => "mkdirat",
            Self::Loop
            | Self::NotADirectory
            | Self::TooLong
            | Self::Nul
            | Self::Changed
            | Self::Internal => "openat2",
        }
    }
}

impl Display for Cause {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Source(_) => "its source can't be opened",
            Self::Below => "the mount that it lies in has failed",
            Self::Loop => "more than 40 symbolic links",
            Self::NotADirectory => "something that is not a directory is in the way",
            Self::WrongKind {
                needed: MountpointKind::Directory,
            } => "it has to be a directory, and a file is there",
            Self::WrongKind {
                needed: MountpointKind::File,
            } => "it has to be a file, and a directory is there",
            Self::TooLong => "the path is too long",
            Self::TooMany => "more is missing than one call creates (see --max-inodes)",
            Self::Changed => "the directory was replaced in the meantime",
            Self::System { .. } | Self::Nul => "cannot create it",
            Self::Internal => "internal error",
        })
    }
}
