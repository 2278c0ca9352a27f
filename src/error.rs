// SPDX-License-Identifier: Apache-2.0
//! Errors that end a run: unusable input (exit status 2), a node that can't be changed or a report of changes
//! that can't be written (1). The failure of a single mount is a `mountpoints::failure::Cause`.

use std::fmt::{self, Display, Formatter};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::escape::Escaped;

/// An error that ends a run. No mountpoint has been created, except possibly before [`Error::ReportFailed`].
#[derive(Debug)]
pub enum Error {
    /// A file can't be read.
    Unreadable {
        /// The file, or `standard input`.
        file: PathBuf,
        /// The system call.
        operation: &'static str,
        /// The system call's error.
        errno: Errno,
    },
    /// A file can't be changed.
    Unchangeable {
        /// The file.
        file: PathBuf,
        /// The system call.
        operation: &'static str,
        /// The system call's error.
        errno: Errno,
    },
    /// The program can't be removed, because a file still refers to it.
    InUse {
        /// The file that refers to it.
        file: PathBuf,
        /// The program.
        program: PathBuf,
    },
    /// The content of a file is invalid.
    Invalid {
        /// The file, or `standard input`.
        file: PathBuf,
        /// The place in the file, such as `mounts[3].destination`; empty for the whole file.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// The configuration belongs to a container other than the one that CRIU restores.
    OtherContainer {
        /// The configuration's bundle.
        bundle: PathBuf,
    },
    /// The report can't be written to standard output.
    ReportFailed {
        /// The error of write(2).
        errno: Errno,
        /// What had been done before, if the command changes anything.
        done: Option<&'static str>,
    },
}

impl Error {
    /// Creates an [`Error::Invalid`].
    pub fn invalid(file: &Path, place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            file: file.to_owned(),
            place: place.into(),
            reason: reason.into(),
        }
    }

    /// The exit status for the error.
    pub fn status(&self) -> u8 {
        match self {
            Self::Unreadable { .. }
            | Self::Invalid { .. }
            | Self::OtherContainer { .. }
            | Self::ReportFailed { done: None, .. } => 2,
            Self::Unchangeable { .. } | Self::InUse { .. } | Self::ReportFailed { .. } => 1,
        }
    }

    /// Adds to [`Error::ReportFailed`] what had been done before the report failed.
    #[must_use]
    pub fn after(self, done: &'static str) -> Self {
        match self {
            Self::ReportFailed { errno, .. } => Self::ReportFailed {
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
                    "{file}: refers to {program}, but was not written by premount: remove the reference \
                     first; nothing was changed"
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
                "the configuration in {} belongs to another container: its mounts don't match the checkpoint's",
                shown(bundle)
            ),
            Self::ReportFailed { errno, done } => {
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

/// An errno as text and symbol: `No such file or directory (ENOENT)`.
pub(crate) struct Errored(pub(crate) Errno);

impl Display for Errored {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({:?})", self.0.desc(), self.0)
    }
}
