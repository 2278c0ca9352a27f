// SPDX-License-Identifier: Apache-2.0
//! Reads who owns files and directories and who may write to them, and opens them to read. Changes nothing.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::retry;

/// The owner and permissions of an inode (inode(7)).
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Device and inode number.
    pub identity: (u64, u64),
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits, including set-user-ID, set-group-ID and sticky.
    pub mode: u32,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Its size in bytes.
    pub size: u64,
}

impl From<&FileStat> for Access {
    fn from(found: &FileStat) -> Self {
        Self {
            identity: (found.st_dev, found.st_ino),
            uid: found.st_uid,
            gid: found.st_gid,
            mode: found.st_mode & 0o7777,
            is_file: found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits(),
            size: u64::try_from(found.st_size).unwrap_or(0),
        }
    }
}

/// The owner and permissions of an open file or directory.
///
/// # Errors
///
/// As fstat(2).
pub fn access(fd: impl AsFd) -> Result<Access, Errno> {
    fstat(fd).map(|found| Access::from(&found))
}

/// The owner and permissions of an open directory or of one above it: `path` is `.`, `..`, `../..` and so on.
///
/// # Errors
///
/// As fstatat(2).
pub fn access_at(directory: BorrowedFd, path: &str) -> Result<Access, Errno> {
    retry(|| fstatat(directory, path, AtFlags::AT_SYMLINK_NOFOLLOW))
        .map(|found| Access::from(&found))
}

/// Whether this process's user namespace maps every ID to itself (user_namespaces(7)). True if its map can't
/// be read.
pub fn is_initial_user_namespace() -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else {
        return true;
    };
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// Opens a regular file for reading that is open as a path alone. None for anything else: to open a device does
/// something to it, and a FIFO waits.
pub fn reopen_regular(path: BorrowedFd) -> Option<File> {
    let stat = fstat(path).ok()?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return None;
    }
    let link = format!("/proc/self/fd/{}", path.as_raw_fd());
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let opened = retry(|| open(link.as_str(), flags, Mode::empty()));
    opened.ok().map(File::from)
}

/// Opens what `name` is in an open directory as a path alone: a symlink itself, not what it leads to.
///
/// # Errors
///
/// As openat(2).
pub fn open_as_path(directory: BorrowedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    retry(|| openat(directory, name, flags, Mode::empty()))
}

/// Opens the file `name` in an open directory for reading. Doesn't follow symlinks (`ELOOP`) or wait for the
/// other end of a FIFO.
///
/// # Errors
///
/// As openat(2).
pub fn open_to_read(directory: BorrowedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY
        | OFlag::O_CLOEXEC;
    retry(|| openat(directory, name, flags, Mode::empty()))
}
