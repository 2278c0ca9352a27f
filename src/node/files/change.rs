// SPDX-License-Identifier: Apache-2.0
//! Changes a node's files: creates directories, replaces files atomically and removes them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::{AccessFlags, faccessat};
use rustix::fs::{FlockOperation, flock};

use super::{Files, not_regular, unless_missing};
use crate::error::Error;
use crate::sys::errno_of;

/// The name of a file until it is complete. No engine takes it for a hook, and the next premount replaces one
/// that an interrupted premount left behind.
const TEMPORARY: &str = ".premount.new";

impl Files {
    /// Creates a directory and its parents, with mode 0755, where they are missing.
    ///
    /// # Errors
    ///
    /// One of them cannot be created.
    pub fn create_directory(&self, path: &Path) -> Result<(), Error> {
        create_directory(&self.host_path(path)?)
    }

    /// Checks whether [`Files::replace`] could write a file and create its parents. It cannot predict a full
    /// disk or a denial by a security module.
    ///
    /// # Errors
    ///
    /// The error that [`Files::replace`] would return.
    pub fn check_replace(&self, path: &Path) -> Result<(), Error> {
        let host = self.host_path(path)?;
        let directory = host.parent().unwrap_or(Path::new("/"));
        for above in directory.ancestors() {
            let found = unless_missing(fs::metadata(above));
            match found.map_err(|error| unchangeable(above, "stat", &error))? {
                Some(found) if found.is_dir() => return check_writable(above),
                Some(_) => {
                    let is_it = above == directory;
                    let errno = if is_it { Errno::EEXIST } else { Errno::ENOTDIR };
                    return Err(unchangeable(directory, "mkdir", &errno.into()));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Whether a file cannot be written because the file system is read-only.
    ///
    /// # Errors
    ///
    /// The path cannot be resolved.
    pub fn is_read_only(&self, path: &Path) -> Result<bool, Error> {
        let read_only = |error: &Error| {
            let Error::Unchangeable { errno, .. } = error else {
                return false;
            };
            *errno == Errno::EROFS
        };
        self.host_path(path)?;
        Ok(self.check_replace(path).is_err_and(|it| read_only(&it)))
    }

    /// Checks whether [`Files::remove`] could remove a file.
    ///
    /// # Errors
    ///
    /// The error that [`Files::remove`] would return.
    pub fn check_remove(&self, path: &Path) -> Result<(), Error> {
        let host = self.host_path(path.parent().unwrap_or(path))?;
        unless_missing(fs::metadata(&host))
            .map_err(|error| unchangeable(&host, "stat", &error))?
            .map_or(Ok(()), |_| check_writable(&host))
    }

    /// Locks a directory against every other premount until the returned file is closed, and waits for one
    /// that holds the lock. Without it, two of them would overwrite each other's changes and temporary files.
    /// The kernel drops the lock if premount is killed, and no lock file is left behind.
    ///
    /// # Errors
    ///
    /// The directory cannot be opened or locked.
    pub fn lock(&self, directory: &Path) -> Result<File, Error> {
        let host = self.host_path(directory)?;
        let file = open_directory(&host).map_err(|error| unchangeable(&host, "open", &error))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|errno| unchangeable(&host, "flock", &errno.into()))?;
        Ok(file)
    }

    /// Marks a file as in use by this process, until the returned file is closed. `None` if it is missing, or if
    /// somebody keeps others from marking it: waiting for them would never end.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or locked.
    pub fn hold(&self, path: &Path) -> Result<Option<File>, Error> {
        self.lock_file(path, FlockOperation::NonBlockingLockShared)
    }

    /// Whether another process has marked a file as in use.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or locked.
    pub fn is_held(&self, path: &Path) -> Result<bool, Error> {
        if self.find(path)?.is_none_or(|found| !found.is_file) {
            return Ok(false);
        }
        let alone = self.lock_file(path, FlockOperation::NonBlockingLockExclusive)?;
        Ok(alone.is_none())
    }

    fn lock_file(&self, path: &Path, how: FlockOperation) -> Result<Option<File>, Error> {
        if self.find(path)?.is_none_or(|found| !found.is_file) {
            return Ok(None);
        }
        let host = self.host_path(path)?;
        let file = File::open(&host).map_err(|error| unchangeable(&host, "open", &error))?;
        match flock(&file, how) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(unchangeable(&host, "flock", &errno.into())),
        }
    }

    /// Replaces a file atomically and durably, and creates its parents: every reader finds either the old
    /// content or the new, even after a crash. The owner is kept. The mode becomes `mode`; if that is `None`,
    /// it is kept, and a new file gets 0644.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or something other than a regular file is there.
    pub fn replace(&self, path: &Path, content: &[u8], mode: Option<u32>) -> Result<(), Error> {
        let host = self.host_path(path)?;
        let directory = host.parent().unwrap_or(Path::new("/"));
        let temporary = directory.join(TEMPORARY);
        let failed = |operation| {
            let temporary = temporary.clone();
            move |error| unchangeable(&temporary, operation, &error)
        };
        let old =
            unless_missing(fs::metadata(&host)).map_err(|e| unchangeable(&host, "stat", &e))?;
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            return Err(not_regular(path, &host));
        }
        // The target of a symlink may be in a directory that does not exist yet.
        create_directory(directory)?;
        unless_missing(fs::remove_file(&temporary)).map_err(failed("unlink"))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed("open"))?;
        file.write_all(content).map_err(failed("write"))?;
        let kept = old.as_ref().map(|old| old.permissions().mode() & 0o7777);
        if let Some(old) = &old {
            fchown(&file, Some(old.uid()), Some(old.gid())).map_err(failed("fchown"))?;
        }
        let mode = mode.or(kept).unwrap_or(0o644);
        file.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(failed("fchmod"))?;
        file.sync_all().map_err(failed("fsync"))?;
        fs::rename(&temporary, &host).map_err(|error| unchangeable(&host, "rename", &error))?;
        sync(directory)
    }

    /// Removes a file if it exists; if it is a symlink, only the symlink.
    ///
    /// # Errors
    ///
    /// The file cannot be removed.
    pub fn remove(&self, path: &Path) -> Result<(), Error> {
        let directory = self.host_path(path.parent().unwrap_or(path))?;
        let host = directory.join(path.file_name().unwrap_or_default());
        let directory = directory.as_path();
        unless_missing(fs::remove_file(&host))
            .map_err(|error| unchangeable(&host, "unlink", &error))?;
        // An interrupted premount may have left its temporary file.
        unless_missing(fs::remove_file(directory.join(TEMPORARY)))
            .map_err(|error| unchangeable(directory, "unlink", &error))?;
        sync(directory)
    }

    /// Removes a directory if it is empty and not a symlink; returns whether it did.
    ///
    /// # Errors
    ///
    /// The removal fails for a reason that does not just mean that the directory is in use or read-only.
    pub fn remove_empty(&self, path: &Path) -> Result<bool, Error> {
        if self.is_link(path)? {
            return Ok(false);
        }
        let host = self.host_path(path)?;
        let removed = fs::remove_dir(&host).map_err(|error| (errno_of(&error), error));
        match removed {
            Ok(()) => Ok(true),
            // Missing, not empty, a mountpoint, or not ours to write: it stays.
            Err((
                Errno::ENOENT
                | Errno::ENOTEMPTY
                | Errno::EEXIST
                | Errno::EBUSY
                | Errno::EROFS
                | Errno::EACCES
                | Errno::EPERM,
                _,
            )) => Ok(false),
            Err((_, error)) => Err(unchangeable(&host, "rmdir", &error)),
        }
    }
}

/// Opens a directory; fails, rather than blocks, on a FIFO.
fn open_directory(directory: &Path) -> std::io::Result<File> {
    let flags = OFlag::O_DIRECTORY.bits();
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(directory)
}

/// Checks whether names can be added to a directory and removed from it. Uses access(2) with the effective
/// IDs: it also detects a read-only file system, and a directory that even root cannot change (chattr(1)).
fn check_writable(directory: &Path) -> Result<(), Error> {
    let rights = AccessFlags::W_OK | AccessFlags::X_OK;
    faccessat(AT_FDCWD, directory, rights, AtFlags::AT_EACCESS)
        .map_err(|errno| unchangeable(directory, "access", &errno.into()))
}

fn create_directory(host: &Path) -> Result<(), Error> {
    let created = DirBuilder::new().recursive(true).mode(0o755).create(host);
    created.map_err(|error| unchangeable(host, "mkdir", &error))
}

/// Syncs a directory to disk, so that a file is there before anything that refers to it.
fn sync(directory: &Path) -> Result<(), Error> {
    let synced = match unless_missing(open_directory(directory)) {
        Ok(Some(open)) => open.sync_all(),
        other => other.map(drop),
    };
    match synced {
        // Not every file system supports it.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        other => other.map_err(|error| unchangeable(directory, "fsync", &error)),
    }
}

fn unchangeable(file: &Path, operation: &'static str, error: &std::io::Error) -> Error {
    Error::Unchangeable {
        file: file.to_owned(),
        operation,
        errno: errno_of(error),
    }
}
