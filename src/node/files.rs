// SPDX-License-Identifier: Apache-2.0
//! The files of a node, below its root: read, replaced whole, removed. Only directories that belong to
//! the administrator are worked in, so there is nobody to race against but another premount; links lead
//! where they would on that node, never out of it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::{AccessFlags, faccessat};
use rustix::fs::{FlockOperation, flock};

use crate::error::Error;
use crate::input;
use crate::sys::errno_of;

/// Most links in a path (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// The name of a file until it is whole. No engine takes it for a hook, and the next premount replaces
/// what an interrupted one left.
const UNFINISHED: &str = ".premount.new";

/// A node's file system, from its root down.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
}

/// What premount wants to know of a file.
#[derive(Debug)]
pub struct Found {
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Whether it may be executed, by its mode.
    pub is_executable: bool,
    /// Its size in bytes.
    pub size: u64,
}

impl Files {
    /// The files below a root.
    pub fn of(root: &Path) -> Result<Self, Error> {
        let failed = |operation| move |error| failure(root, operation, &error);
        let found = fs::metadata(root).map_err(failed("stat"))?;
        if !found.is_dir() {
            return Err(Error::invalid(root, "", "not a directory"));
        }
        let root = std::path::absolute(root).map_err(failed("getcwd"))?;
        Ok(Self { root })
    }

    /// Whether these are the files of the system that premount runs on.
    pub fn are_here(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a path of the node's is from here, its links resolved as on the node. What isn't there yet
    /// has no links.
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
                    // No link, or not there.
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

    /// What is at a path; none if nothing is.
    pub fn find(&self, path: &Path) -> Result<Option<Found>, Error> {
        let host = self.host_path(path)?;
        let found = unless_missing(fs::metadata(&host)).map_err(|e| failure(&host, "stat", &e))?;
        Ok(found.map(|found| Found {
            is_file: found.is_file(),
            is_directory: found.is_dir(),
            is_executable: found.is_file() && found.permissions().mode() & 0o111 != 0,
            size: found.len(),
        }))
    }

    /// The content of a file of at most `limit` bytes; none if it isn't there, or is no regular file.
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

    /// The content of a file that is to be replaced; none if it isn't there. What is no regular file is an
    /// error, and stays: a link to /dev/null is how an administrator switches a file off.
    pub fn read_to_replace(&self, path: &Path, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        if self.find(path)?.is_some_and(|found| !found.is_file) {
            return Err(no_file(path, &self.host_path(path)?));
        }
        self.read(path, limit)
    }

    /// The paths of what is in a directory, by name; none if it isn't there.
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

    /// Whether a path is a link.
    pub fn is_link(&self, path: &Path) -> Result<bool, Error> {
        let directory = self.host_path(path.parent().unwrap_or(path))?;
        let name = path.file_name().unwrap_or_default();
        Ok(fs::read_link(directory.join(name)).is_ok())
    }

    /// Makes a directory and those above it, 0755, where they are missing.
    pub fn make_directory(&self, path: &Path) -> Result<(), Error> {
        make_directory(&self.host_path(path)?)
    }

    /// What would keep [`Files::replace`] from putting a file in place, and the directories above it, as far
    /// as it can be foreseen: neither a full disk nor a security module's word can.
    pub fn may_replace(&self, path: &Path) -> Result<(), Error> {
        let host = self.host_path(path)?;
        let directory = host.parent().unwrap_or(Path::new("/"));
        for above in directory.ancestors() {
            let found = unless_missing(fs::metadata(above));
            match found.map_err(|error| unchangeable(above, "stat", &error))? {
                Some(found) if found.is_dir() => return may_write(above),
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

    /// What would keep [`Files::remove`] from removing a file.
    pub fn may_remove(&self, path: &Path) -> Result<(), Error> {
        let host = self.host_path(path.parent().unwrap_or(path))?;
        unless_missing(fs::metadata(&host))
            .map_err(|error| unchangeable(&host, "stat", &error))?
            .map_or(Ok(()), |_| may_write(&host))
    }

    /// Keeps every other premount from changing this node until the file is closed, and waits for one that
    /// does: what it reads, changes and puts back is its own until then, and so is the unfinished file. The
    /// lock is the kernel's, on a directory that is there anyway: nothing is left of it by one that is killed.
    pub fn lock(&self, directory: &Path) -> Result<File, Error> {
        let host = self.host_path(directory)?;
        let file = open_directory(&host).map_err(|error| unchangeable(&host, "open", &error))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|errno| unchangeable(&host, "flock", &errno.into()))?;
        Ok(file)
    }

    /// Puts a file in place, and the directories above it, whole, and on the disk: whoever opens it finds the
    /// old content or the new, after a crash too. Whose file it is and its mode stay; a new one gets `mode`.
    pub fn replace(&self, path: &Path, content: &[u8], mode: Option<u32>) -> Result<(), Error> {
        let host = self.host_path(path)?;
        let directory = host.parent().unwrap_or(Path::new("/"));
        let unfinished = directory.join(UNFINISHED);
        let failed = |operation| {
            let unfinished = unfinished.clone();
            move |error| unchangeable(&unfinished, operation, &error)
        };
        let old =
            unless_missing(fs::metadata(&host)).map_err(|e| unchangeable(&host, "stat", &e))?;
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            return Err(no_file(path, &host));
        }
        // Where a link leads there may be none yet.
        make_directory(directory)?;
        unless_missing(fs::remove_file(&unfinished)).map_err(failed("unlink"))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
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
        fs::rename(&unfinished, &host).map_err(|error| unchangeable(&host, "rename", &error))?;
        sync(directory)
    }

    /// Removes a file, if it is there; of a link only the link.
    pub fn remove(&self, path: &Path) -> Result<(), Error> {
        let directory = self.host_path(path.parent().unwrap_or(path))?;
        let host = directory.join(path.file_name().unwrap_or_default());
        let directory = directory.as_path();
        unless_missing(fs::remove_file(&host))
            .map_err(|error| unchangeable(&host, "unlink", &error))?;
        // What an interrupted premount has left.
        unless_missing(fs::remove_file(directory.join(UNFINISHED)))
            .map_err(|error| unchangeable(directory, "unlink", &error))?;
        sync(directory)
    }

    /// Removes a directory if it is empty, and no link; says whether it did.
    pub fn remove_empty(&self, path: &Path) -> Result<bool, Error> {
        if self.is_link(path)? {
            return Ok(false);
        }
        let host = self.host_path(path)?;
        let removed = fs::remove_dir(&host).map_err(|error| (errno_of(&error), error));
        match removed {
            Ok(()) => Ok(true),
            // Not there; not empty; a mount of a container's, or one in what isn't to be written.
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

/// The components of a path, the next one last.
fn push(waiting: &mut Vec<OsString>, path: &Path) {
    let names = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        _ => None,
    });
    waiting.extend(names.map(OsStr::to_owned));
}

/// A FIFO of that name is an error, and nothing to wait for.
fn open_directory(directory: &Path) -> std::io::Result<File> {
    let flags = OFlag::O_DIRECTORY.bits();
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(directory)
}

fn no_file(path: &Path, host: &Path) -> Error {
    let reason = format!("not a regular file: {}", host.display());
    Error::invalid(path, "", reason)
}

/// Whether names may come to a directory and go. By access(2) with the rights that count for all else: it
/// tells of a read-only file system too, and of a directory that root itself may not change (chattr(1)).
fn may_write(directory: &Path) -> Result<(), Error> {
    let rights = AccessFlags::W_OK | AccessFlags::X_OK;
    faccessat(AT_FDCWD, directory, rights, AtFlags::AT_EACCESS)
        .map_err(|errno| unchangeable(directory, "access", &errno.into()))
}

fn make_directory(host: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(host);
    made.map_err(|error| unchangeable(host, "mkdir", &error))
}

/// Has a directory's names on the disk: what refers to a file must not be there before it.
fn sync(directory: &Path) -> Result<(), Error> {
    let synced = match unless_missing(open_directory(directory)) {
        Ok(Some(open)) => open.sync_all(),
        other => other.map(drop),
    };
    match synced {
        // Not every file system can.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        other => other.map_err(|error| unchangeable(directory, "fsync", &error)),
    }
}

fn unless_missing<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(errno_of(&error), Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

fn unchangeable(file: &Path, operation: &'static str, error: &std::io::Error) -> Error {
    Error::Unchangeable {
        file: file.to_owned(),
        operation,
        errno: errno_of(error),
    }
}

fn failure(file: &Path, operation: &'static str, error: &std::io::Error) -> Error {
    Error::Unreadable {
        file: file.to_owned(),
        operation,
        errno: errno_of(error),
    }
}
