// SPDX-License-Identifier: Apache-2.0
//! What stops everything before anything is changed: input that can't be used (exit status 2), or a node that
//! can't be changed (1). What fails for one mount alone is a `mountpoints::failure::Cause`.

use std::fmt::{self, Display, Formatter};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::escape::Escaped;

/// Input that can't be used, or a node that can't be changed; no mountpoint was created, but for
/// [`Error::Untold`].
#[derive(Debug)]
pub enum Error {
    /// It can't be read.
    Unreadable {
        /// The file, or what stands for it (`standard input`).
        file: PathBuf,
        /// The system call.
        operation: &'static str,
        /// Its error.
        errno: Errno,
    },
    /// It can't be changed.
    Unchangeable {
        /// The file.
        file: PathBuf,
        /// The system call.
        operation: &'static str,
        /// Its error.
        errno: Errno,
    },
    /// Something else refers to the program, so it can't be removed.
    InUse {
        /// What names it.
        file: PathBuf,
        /// The program.
        program: PathBuf,
    },
    /// It exists, but its content is invalid.
    Invalid {
        /// The file, or what stands for it (`standard input`).
        file: PathBuf,
        /// The place in it, as `mounts[3].destination`; empty for the whole.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// The configuration is not that of the container that CRIU restores.
    OtherContainer {
        /// The bundle that it is in.
        bundle: PathBuf,
    },
    /// The report can't be written to standard output.
    Untold {
        /// The error of write(2).
        errno: Errno,
        /// What was done before, if anything.
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
            Self::Unreadable { .. }
            | Self::Invalid { .. }
            | Self::OtherContainer { .. }
            | Self::Untold { done: None, .. } => 2,
            Self::Unchangeable { .. } | Self::InUse { .. } | Self::Untold { .. } => 1,
        }
    }

    /// Adds what had been done by the time that the report failed.
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
            Self::OtherContainer { bundle } => write!(
                out,
                "the configuration in {} is not that of what CRIU restores, by its mounts",
                shown(bundle)
            ),
            Self::Untold { errno, done } => {
                write!(out, "standard output: write: {}", Errored(*errno))?;
                done.iter().try_for_each(|done| write!(out, "; {done}"))
            }
        }
    }
}

impl std::error::Error for Error {}

/// A host path, escaped.
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
