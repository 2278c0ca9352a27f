// SPDX-License-Identifier: Apache-2.0
//! The bundle: a directory with the container's configuration (runtime-spec bundle.md).

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::config::{self, Config};
use super::json;
use crate::error::Error;
use crate::sys;
use crate::trust::{self, DirectoryId, Distrust, Trusted};

/// A bundle.
#[derive(Debug)]
pub struct Bundle {
    /// Its directory, absolute.
    pub directory: PathBuf,
    /// Its configuration.
    pub config: Config,
    /// The directory, if it was found to be one that can be trusted.
    pub trusted: Option<DirectoryId>,
}

/// Why a bundle that was found is not used.
#[derive(Debug)]
pub enum Refused {
    /// Somebody else may have put it there.
    Distrusted(Distrust),
    /// It can't be read.
    Unreadable(Error),
    /// Something in its configuration is wrong.
    Invalid {
        /// What.
        error: Error,
        /// It is an OCI configuration, by its `ociVersion`.
        is_oci: bool,
    },
}

impl Bundle {
    /// Takes the bundle in an open directory, if nobody else can have put it there; `name` is the
    /// directory's own. None if there is no configuration.
    ///
    /// # Errors
    ///
    /// There is one, and it can't be used.
    pub fn take(directory: BorrowedFd, name: &Path) -> Result<Option<Self>, Refused> {
        let file = trust::open(directory, config::FILE_NAME, name).map_err(Refused::Distrusted)?;
        let Some(Trusted {
            file,
            size,
            directory,
        }) = file
        else {
            return Ok(None);
        };
        let path = name.join(config::FILE_NAME);
        let text = json::read_open_file(file.into(), size, &path, config::MAX_SIZE);
        let text = text.map_err(|error| match error {
            error @ Error::Invalid { .. } => Refused::Invalid {
                error,
                is_oci: false,
            },
            error => Refused::Unreadable(error),
        })?;
        let config = Config::parse(&text, &path, name).map_err(|error| Refused::Invalid {
            error,
            is_oci: config::is_oci(&text),
        })?;
        Ok(Some(Self {
            directory: name.to_owned(),
            config,
            trusted: Some(directory),
        }))
    }

    /// [`Bundle::take`], for the bundle that a runtime names.
    ///
    /// # Errors
    ///
    /// It can't be used, or is not there ([`Refused::Unreadable`], `ENOENT`).
    pub fn take_by_name(directory: &Path) -> Result<Self, Refused> {
        let unreadable = |file: &Path, errno| {
            Refused::Unreadable(Error::Unreadable {
                file: file.to_owned(),
                operation: "open",
                errno,
            })
        };
        let open = sys::open_directory(directory).map_err(|errno| unreadable(directory, errno))?;
        Self::take(open.as_fd(), directory)?
            .ok_or_else(|| unreadable(&directory.join(config::FILE_NAME), Errno::ENOENT))
    }

    /// Reads the bundle in `directory`; a relative one lies in the current directory.
    ///
    /// # Errors
    ///
    /// The bundle or its configuration can't be read, or is invalid.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        if directory.as_os_str().is_empty() {
            let reason = "empty, where a path belongs";
            return Err(Error::invalid(Path::new("--bundle"), "", reason));
        }
        let directory = std::path::absolute(directory).map_err(|error| Error::Unreadable {
            file: directory.to_owned(),
            operation: "getcwd",
            errno: sys::errno_of(&error),
        })?;
        let file = directory.join(config::FILE_NAME);
        let text = match json::read_file(&file, config::MAX_SIZE) {
            Ok(text) => text,
            // If the whole bundle is missing, say that, not what it lacks.
            Err(error) => {
                return Err(match sys::open_directory(&directory) {
                    Err(errno) => Error::Unreadable {
                        file: directory,
                        operation: "open",
                        errno,
                    },
                    Ok(_) => error,
                });
            }
        };
        let config = Config::parse(&text, &file, &directory)?;
        Ok(Self {
            directory,
            config,
            trusted: None,
        })
    }
}
