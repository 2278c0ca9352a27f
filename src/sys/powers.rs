// SPDX-License-Identifier: Apache-2.0
//! The user, group and capabilities with which this process creates inodes (credentials(7), capabilities(7)).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::retry;

/// The capabilities with which this process searches directories and creates inodes.
#[derive(Debug)]
pub struct Powers {
    full: CapabilitySets,
    is_full: bool,
}

impl Powers {
    /// Makes every inode that this process creates belong to `uid` and `gid` from the start. The process
    /// keeps its capabilities.
    ///
    /// Not chown(2) afterwards: between the two calls the container could replace the new directory with one
    /// that belongs to another user, and chown(2) would give it away. The kernel clears some effective
    /// capabilities when the file system UID changes (capabilities(7), "Effect of user ID changes on
    /// capabilities"); they are raised again, because the source may belong to yet another user.
    ///
    /// # Errors
    ///
    /// As capget(2) and capset(2); `EPERM` if the kernel doesn't change the file system UID or GID.
    pub fn create_as(uid: u32, gid: u32) -> Result<Self, Errno> {
        let full = capabilities(None).map_err(|error| Errno::from_raw(error.raw_os_error()))?;
        setfsgid(Gid::from_raw(gid));
        setfsuid(Uid::from_raw(uid));
        // Both calls return the previous ID and never an error: call them again to check.
        if setfsgid(Gid::from_raw(gid)).as_raw() != gid
            || setfsuid(Uid::from_raw(uid)).as_raw() != uid
        {
            return Err(Errno::EPERM);
        }
        let mut powers = Self {
            full,
            is_full: false,
        };
        powers.set(true)?;
        Ok(powers)
    }

    /// Raises or drops the capabilities over other users' files. Without them the kernel checks mode and ACL
    /// as for an unprivileged user.
    ///
    /// # Errors
    ///
    /// As capset(2).
    pub fn set(&mut self, full: bool) -> Result<(), Errno> {
        if self.is_full == full {
            return Ok(());
        }
        let over_others =
            CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH | CapabilitySet::FOWNER;
        let mut sets = self.full;
        if !full {
            sets.effective -= over_others;
        }
        set_capabilities(None, sets).map_err(|error| Errno::from_raw(error.raw_os_error()))?;
        self.is_full = full;
        Ok(())
    }
}

/// Drops all supplementary groups: a container's root is in none of the host's groups.
///
/// # Errors
///
/// As setgroups(2).
pub fn leave_groups() -> Result<(), Errno> {
    nix::unistd::setgroups(&[])
}

/// Checks whether this process may search an open directory with its current capabilities.
///
/// # Errors
///
/// `EACCES` if not; otherwise as openat(2).
pub fn search(directory: BorrowedFd) -> Result<(), Errno> {
    // Looking up `.` needs search permission, and no read permission.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    retry(|| openat(directory, ".", flags, Mode::empty())).map(drop)
}
