// SPDX-License-Identifier: Apache-2.0
//! What can go wrong, by what it means: [`Error`] stops everything before the first act (exit status
//! 2), a [`Failure`] is one mount's and lets the others go on (exit status 1).

use std::fmt::{self, Display, Formatter};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::escape::Escaped;
use crate::mount::MountpointKind;

/// Input that can't be used, or a node that can't be changed; no mountpoint was created, but for
/// [`Error::Untold`].
#[derive(Debug)]
pub enum Error {
    /// The system would not let us have it.
    Unreadable {
        /// The file, or what stands for it (`standard input`).
        file: PathBuf,
        /// The system call.
        operation: &'static str,
        /// Its error.
        errno: Errno,
    },
    /// The system would not let us change it.
    Unchangeable {
        /// The file.
        file: PathBuf,
        /// The system call.
        operation: &'static str,
        /// Its error.
        errno: Errno,
    },
    /// Something else names the program, which therefore stays.
    InUse {
        /// What names it.
        file: PathBuf,
        /// The program.
        program: PathBuf,
    },
    /// It is there, but isn't what it has to be.
    Invalid {
        /// The file, or what stands for it (`standard input`).
        file: PathBuf,
        /// The place in it, as `mounts[3].destination`; empty for the whole.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// Standard output does not take what there is to say.
    Untold {
        /// The error of write(2).
        errno: Errno,
        /// What was done all the same; none: nothing was to be.
        done: Option<&'static str>,
    },
}

impl Error {
    /// An [`Error::Invalid`].
    pub fn invalid(file: &Path, place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            file: file.to_owned(),
            place: place.into(),
            reason: reason.into(),
        }
    }

    /// The exit status for it.
    pub fn status(&self) -> u8 {
        match self {
            Self::Unreadable { .. } | Self::Invalid { .. } | Self::Untold { done: None, .. } => 2,
            Self::Unchangeable { .. } | Self::InUse { .. } | Self::Untold { .. } => 1,
        }
    }

    /// The error where something was done before it could not be told.
    #[must_use]
    pub fn after(self, done: &'static str) -> Self {
        match self {
            Self::Untold { errno, .. } => Self::Untold {
                errno,
                done: Some(done),
            },
            other => other,
        }
    }
}

impl Display for Error {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable {
                file,
                operation,
                errno,
            }
            | Self::Unchangeable {
                file,
                operation,
                errno,
            } => {
                write!(out, "{}: {operation}: {}", shown(file), Errored(*errno))
            }
            Self::InUse { file, program } => {
                let (file, program) = (shown(file), shown(program));
                write!(
                    out,
                    "{file}: it names {program}, and premount didn't write it: take that out first; \
                     nothing was changed"
                )
            }
            Self::Invalid {
                file,
                place,
                reason,
            } if place.is_empty() => {
                write!(out, "{}: {}", shown(file), Escaped(reason.as_bytes()))
            }
            Self::Invalid {
                file,
                place,
                reason,
            } => {
                write!(
                    out,
                    "{}: {place}: {}",
                    shown(file),
                    Escaped(reason.as_bytes())
                )
            }
            Self::Untold { errno, done } => {
                write!(out, "standard output: write: {}", Errored(*errno))?;
                done.iter().try_for_each(|done| write!(out, "; {done}"))
            }
        }
    }
}

impl std::error::Error for Error {}

/// Why one mount's mountpoint isn't there and couldn't be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The mount: its destination, as the configuration has it.
    pub mount: Vec<u8>,
    /// The host path that it failed at; none for a place that isn't the host's.
    pub host_path: Option<PathBuf>,
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
    /// More is missing than one call makes.
    TooMany,
    /// The directory that was looked at is not the one that is there now.
    Changed,
    /// A system call.
    System {
        /// The call, as in its manual page.
        operation: &'static str,
        /// Its error.
        errno: Errno,
    },
}

impl Cause {
    /// A failing system call.
    pub fn system(operation: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::System { operation, errno }
    }

    /// The errno that the kernel has for this cause, for those who act on it.
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
            Self::TooMany => Errno::EDQUOT,
            Self::Changed => Errno::ESTALE,
        }
    }

    /// The system call that failed, or would fail.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Source(_) => "open",
            Self::System { operation, .. } => operation,
            Self::WrongKind { .. } | Self::Below => "mount",
            Self::TooMany => "mkdirat",
            Self::Loop | Self::NotADirectory | Self::TooLong | Self::Changed => "openat2",
        }
    }
}

impl Display for Cause {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(_) => out.write_str("its source can't be opened"),
            Self::Below => out.write_str("the mount that it lies in has failed"),
            Self::Loop => out.write_str("more than 40 symbolic links"),
            Self::NotADirectory => out.write_str("something that is not a directory is in the way"),
            Self::WrongKind {
                needed: MountpointKind::Directory,
            } => out.write_str("the mountpoint has to be a directory, and a file is there"),
            Self::WrongKind {
                needed: MountpointKind::File,
            } => out.write_str("the mountpoint has to be a file, and a directory is there"),
            Self::TooLong => out.write_str("the path is too long"),
            Self::TooMany => {
                out.write_str("more is missing than one call makes (see --max-inodes)")
            }
            Self::Changed => out.write_str("the directory was exchanged meanwhile"),
            Self::System { .. } => out.write_str("the mountpoint can't be had"),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "mount {}: {}", Escaped(&self.mount), self.cause)?;
        if let Some(path) = &self.host_path {
            write!(out, ": {}", shown(path))?;
        }
        write!(
            out,
            ": {}: {}",
            self.cause.operation(),
            Errored(self.cause.errno())
        )
    }
}

/// A path of the host's, escaped.
pub fn shown(path: &Path) -> Escaped<'_> {
    Escaped(path.as_os_str().as_bytes())
}

/// An errno as people and scripts look for it: `No such file or directory (ENOENT)`.
pub(crate) struct Errored(pub(crate) Errno);

impl Display for Errored {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({:?})", self.0.desc(), self.0)
    }
}
