// SPDX-License-Identifier: Apache-2.0
//! The bundle: a directory with the container's configuration (runtime-spec bundle.md).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::config::{self, Config};
use super::json;
use crate::error::Error;
use crate::sys;
use crate::trust::{self, Distrust, Trusted, TrustedDirectory};

/// A bundle.
#[derive(Debug)]
pub struct Bundle {
    /// The directory, absolute.
    pub directory: PathBuf,
    /// The configuration.
    pub config: Config,
    /// The open directory, if it was found to be trusted.
    pub trusted: Option<TrustedDirectory>,
}

/// Why an existing bundle is not used.
#[derive(Debug)]
pub enum Refused {
    /// Another user may have put it there.
    Distrusted(Distrust),
    /// It can't be read.
    Unreadable(Error),
    /// Its configuration is invalid.
    Invalid {
        /// What is invalid.
        error: Error,
        /// Whether it has an `ociVersion`, as every OCI configuration does.
        is_oci: bool,
    },
}

impl Bundle {
    /// Reads the bundle in an open directory, if no other user can have put it there. `name` is the
    /// directory's path. None if there is no configuration.
    ///
    /// # Errors
    ///
    /// The configuration is not trusted, can't be read, or is invalid.
    pub fn open_trusted(directory: OwnedFd, name: &Path) -> Result<Option<Self>, Refused> {
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

    /// [`Bundle::open_trusted`] for a bundle that a runtime names.
    ///
    /// # Errors
    ///
    /// As [`Bundle::open_trusted`]; [`Refused::Unreadable`] with `ENOENT` if it does not exist.
    pub fn open_trusted_path(directory: &Path) -> Result<Self, Refused> {
        let unreadable = |file: &Path, errno| {
            Refused::Unreadable(Error::Unreadable {
                file: file.to_owned(),
                operation: "open",
                errno,
            })
        };
        let open = sys::open_directory(directory).map_err(|errno| unreadable(directory, errno))?;
        Self::open_trusted(open, directory)?
            .ok_or_else(|| unreadable(&directory.join(config::FILE_NAME), Errno::ENOENT))
    }

    /// Reads the bundle in `directory`, relative to the current directory.
    ///
    /// # Errors
    ///
    /// The bundle or its configuration can't be read, or is invalid.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        if directory.as_os_str().is_empty() {
            let reason = "empty, expected a path";
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
            // If the whole bundle is missing, report that instead of the missing configuration.
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
