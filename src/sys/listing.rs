// SPDX-License-Identifier: Apache-2.0
//! Lists directories, and closes inherited descriptors, which are listed in one.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use rustix::fs::RawDir;

use super::retry;

/// Opens a directory for listing.
///
/// # Errors
///
/// As open(2).
pub fn open_to_list(directory: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    retry(|| open(directory, flags, Mode::empty()))
}

/// [`open_to_list`] for the directory `name` in an open one; not through a symlink.
///
/// # Errors
///
/// As openat(2); `ENOTDIR` if it is a symlink.
pub fn open_to_list_in(directory: BorrowedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    retry(|| openat(directory, name, flags, Mode::empty()))
}

/// Calls `visit` with each UTF-8 name in an open directory until it breaks. Stores none of the names, of
/// which there may be any number.
///
/// # Errors
///
/// As getdents64(2).
pub fn list(
    directory: BorrowedFd,
    mut visit: impl FnMut(&str) -> ControlFlow<()>,
) -> Result<(), Errno> {
    // Not std's ReadDir, which panics if closing the directory fails. The buffer holds about fifty names; not
    // an array, which would have to be initialised.
    let mut buffer = Vec::with_capacity(2 << 10);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| Errno::from_raw(error.raw_os_error()))?;
        if let Ok(name) = entry.file_name().to_str() {
            if visit(name).is_break() {
                break;
            }
        }
    }
    Ok(())
}

/// Closes inherited descriptors other than stdin, stdout and stderr, so that no path in the configuration
/// leads through /proc/self/fd to a file that the runtime has open (CVE-2024-21626).
pub fn close_inherited() {
    let Ok(directory) = open_to_list(Path::new("/proc/self/fd")) else {
        return;
    };
    let own = directory.as_raw_fd();
    let mut open: Vec<i32> = Vec::new();
    let _ = list(directory.as_fd(), |name| {
        open.extend(name.parse::<i32>());
        ControlFlow::Continue(())
    });
    for fd in open.into_iter().filter(|&fd| fd > 2 && fd != own) {
        let _ = nix::unistd::close(fd);
    }
}
