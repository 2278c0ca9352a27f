// SPDX-License-Identifier: Apache-2.0
//! Creates inodes in an open directory: new ones only, and never through a symlink.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};

use super::retry;
use crate::path::Name;

/// Creates a directory. Of `mode`, permissions and the sticky bit count.
///
/// # Errors
///
/// As mkdirat(2); `EEXIST` if anything, even a symlink, has that name.
pub fn make_directory(parent: BorrowedFd, name: Name, mode: u32) -> Result<(), Errno> {
    let name = OsStr::from_bytes(name.as_bytes());
    retry(|| mkdirat(parent, name, Mode::from_bits_truncate(mode & 0o1777)))
}

/// Creates a FIFO. Of `mode`, only permissions count.
///
/// # Errors
///
/// As mknodat(2); `EEXIST` if anything, even a symlink, has that name.
pub fn make_fifo(parent: BorrowedFd, name: Name, mode: u32) -> Result<(), Errno> {
    let name = OsStr::from_bytes(name.as_bytes());
    let mode = Mode::from_bits_truncate(mode & 0o777);
    retry(|| mknodat(parent, name, SFlag::S_IFIFO, mode, 0))
}

/// Creates an empty file. Of `mode`, only permissions count.
///
/// # Errors
///
/// As openat(2); `EEXIST` if anything, even a symlink, has that name.
pub fn make_file(parent: BorrowedFd, name: Name, mode: u32) -> Result<(), Errno> {
    // O_EXCL: an existing file is neither opened nor truncated, and a dangling symlink is not followed.
    let flags =
        OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(mode & 0o777);
    let name = OsStr::from_bytes(name.as_bytes());
    retry(|| openat(parent, name, flags, mode)).map(drop)
}

/// Clears the caller's umask, so that new inodes get exactly the requested mode.
pub fn reset_umask() {
    nix::sys::stat::umask(Mode::empty());
}
