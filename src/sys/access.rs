// SPDX-License-Identifier: Apache-2.0
//! Whose files and directories are, and who may write to them: asked, and never changed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::retry;

/// Whose an inode is, and who may do what with it (inode(7)).
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Device and inode number.
    pub identity: (u64, u64),
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits, with set-user-ID, set-group-ID and sticky.
    pub mode: u32,
    /// It is a regular file.
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

/// Whose an open file or directory is.
pub fn access(fd: impl AsFd) -> Result<Access, Errno> {
    fstat(fd).map(|found| Access::from(&found))
}

/// Whose a directory above an open one is: `path` is `.`, `..`, or `../..` and so on.
pub fn access_at(directory: BorrowedFd, path: &str) -> Result<Access, Errno> {
    retry(|| fstatat(directory, path, AtFlags::AT_SYMLINK_NOFOLLOW))
        .map(|found| Access::from(&found))
}

/// Whether the users of this process are those of the host, by number (user_namespaces(7)). Where that
/// can't be told they count as such.
pub fn is_initial_user_namespace() -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else {
        return true;
    };
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// Opens the file `name` in an open directory to read it: never a link (`ELOOP`), and without waiting for
/// the other end of a FIFO.
pub fn open_to_read(directory: BorrowedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY
        | OFlag::O_CLOEXEC;
    retry(|| openat(directory, name, flags, Mode::empty()))
}
