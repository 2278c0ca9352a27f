// SPDX-License-Identifier: Apache-2.0
//! The files below a node's root: resolves paths and reads files here, and changes them in `change`. Symlinks
//! resolve as they would on that node and never lead out of the root. Changes are made only in directories
//! that belong to the administrator, so the only process to race against is another premount.

mod change;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use crate::error::Error;
use crate::input;
use crate::sys::errno_of;

/// Maximum number of symlinks in a path (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A node's file system, from its root down.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
}

/// What premount needs to know about a file.
#[derive(Debug)]
pub struct FileInfo {
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Whether it is a regular file whose mode allows anyone to execute it.
    pub is_executable: bool,
    /// Its size in bytes.
    pub size: u64,
}

impl Files {
    /// The files below a root directory.
    ///
    /// # Errors
    ///
    /// The root is not a directory, or cannot be read.
    pub fn new(root: &Path) -> Result<Self, Error> {
        let failed = |operation| move |error| failure(root, operation, &error);
        let found = fs::metadata(root).map_err(failed("stat"))?;
        if !found.is_dir() {
            return Err(Error::invalid(root, "", "not a directory"));
        }
        let root = std::path::absolute(root).map_err(failed("getcwd"))?;
        Ok(Self { root })
    }

    /// Whether these files belong to the running system, rather than to one below another root.
    pub fn are_running_system(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The host path of a path on the node, with symlinks resolved as on the node. Components that do not
    /// exist yet are kept as they are.
    ///
    /// # Errors
    ///
    /// A symlink cannot be read, or there are too many of them.
    pub fn host_path(&self, path: &Path) -> Result<PathBuf, Error> {
        let mut waiting: Vec<OsString> = Vec::new();
        push(&mut waiting, path);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if name == OsStr::new("..") {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            match fs::read_link(self.below(&next)) {
                Ok(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        let error = std::io::Error::from(Errno::ELOOP);
                        return Err(failure(&self.below(path), "readlink", &error));
                    }
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    push(&mut waiting, &target);
                }
                Err(error) => match errno_of(&error) {
                    // Not a symlink, or missing.
                    Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR => at = next,
                    _ => return Err(failure(&self.below(&next), "readlink", &error)),
                },
            }
        }
        Ok(self.below(&at))
    }

    fn below(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Looks up a path; returns `None` if nothing is there.
    ///
    /// # Errors
    ///
    /// The path cannot be resolved or looked up.
    pub fn find(&self, path: &Path) -> Result<Option<FileInfo>, Error> {
        let host = self.host_path(path)?;
        let found = unless_missing(fs::metadata(&host)).map_err(|e| failure(&host, "stat", &e))?;
        Ok(found.map(|found| FileInfo {
            is_file: found.is_file(),
            is_directory: found.is_dir(),
            is_executable: found.is_file() && found.permissions().mode() & 0o111 != 0,
            size: found.len(),
        }))
    }

    /// Reads a file of at most `limit` bytes; returns `None` if it is missing or not a regular file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is too long.
    pub fn read(&self, path: &Path, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        if self.find(path)?.is_none_or(|found| !found.is_file) {
            return Ok(None);
        }
        match input::read_file(&self.host_path(path)?, limit) {
            Ok(content) => Ok(Some(content)),
            Err(Error::Unreadable {
                errno: Errno::ENOENT | Errno::ENOTDIR,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a file before it is replaced; returns `None` if it is missing. Anything but a regular file is an
    /// error and must stay: an administrator disables a file by linking it to /dev/null.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is too long, or is not a regular file.
    pub fn read_to_replace(&self, path: &Path, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        if self.find(path)?.is_some_and(|found| !found.is_file) {
            return Err(not_regular(path, &self.host_path(path)?));
        }
        self.read(path, limit)
    }

    /// The paths of a directory's entries, sorted by name; empty if the directory is missing.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn list(&self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        let host = self.host_path(directory)?;
        let failed = |error| failure(&host, "readdir", &error);
        let mut found = Vec::new();
        for entry in unless_missing(fs::read_dir(&host))
            .map_err(failed)?
            .into_iter()
            .flatten()
        {
            found.push(directory.join(entry.map_err(failed)?.file_name()));
        }
        found.sort();
        Ok(found)
    }

    /// Whether a path is a symlink.
    ///
    /// # Errors
    ///
    /// The directory above cannot be resolved.
    pub fn is_link(&self, path: &Path) -> Result<bool, Error> {
        let directory = self.host_path(path.parent().unwrap_or(path))?;
        let name = path.file_name().unwrap_or_default();
        Ok(fs::read_link(directory.join(name)).is_ok())
    }
}

/// Pushes the components of a path, the next one to resolve last.
fn push(waiting: &mut Vec<OsString>, path: &Path) {
    let names = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        _ => None,
    });
    waiting.extend(names.map(OsStr::to_owned));
}

fn not_regular(path: &Path, host: &Path) -> Error {
    let reason = format!("not a regular file: {}", host.display());
    Error::invalid(path, "", reason)
}

fn unless_missing<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(errno_of(&error), Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

fn failure(file: &Path, operation: &'static str, error: &std::io::Error) -> Error {
    Error::Unreadable {
        file: file.to_owned(),
        operation,
        errno: errno_of(error),
    }
}
