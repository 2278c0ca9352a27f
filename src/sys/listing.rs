// SPDX-License-Identifier: Apache-2.0
//! The names in a directory; and with them, the descriptors that premount inherited.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use rustix::fs::RawDir;

use super::retry;

/// Opens a directory to list it.
pub fn open_to_list(directory: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    retry(|| open(directory, flags, Mode::empty()))
}

/// Says each name in an open directory, of those that are UTF-8, until told to stop. It may have any
/// number of them, and none is kept.
pub fn list(
    directory: BorrowedFd,
    mut name: impl FnMut(&str) -> ControlFlow<()>,
) -> Result<(), Errno> {
    // Not std's ReadDir, which panics if closing it fails. About fifty names at a time. Not an array, which the
    // compiler would initialise byte by byte.
    let mut buffer = Vec::with_capacity(2 << 10);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| Errno::from_raw(error.raw_os_error()))?;
        if let Ok(found) = entry.file_name().to_str() {
            if name(found).is_break() {
                break;
            }
        }
    }
    Ok(())
}

/// Closes what the caller left open beyond stdin, stdout and stderr, so that no path of the
/// configuration leads through /proc/self/fd to something of the runtime's (CVE-2024-21626).
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
