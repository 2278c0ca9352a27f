// SPDX-License-Identifier: Apache-2.0
//! As whom, and with what powers, this process creates (credentials(7), capabilities(7)).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::retry;

/// The powers with which this process goes through directories and creates in them.
#[derive(Debug)]
pub struct Powers {
    full: CapabilitySets,
    is_full: bool,
}

impl Powers {
    /// Lets every inode that this process creates belong to `uid` and `gid` from its birth. The powers of
    /// the caller stay.
    ///
    /// Not chown(2) afterwards: between the two calls the container could put a directory of somebody
    /// else's in the place of the new one, and have it given away. The capabilities that the kernel
    /// takes away with a new file system uid (capabilities(7), "Effect of user ID changes on
    /// capabilities") are raised again, since the source may belong to yet another user.
    pub fn create_as(uid: u32, gid: u32) -> Result<Self, Errno> {
        let full = capabilities(None).map_err(|error| Errno::from_raw(error.raw_os_error()))?;
        setfsgid(Gid::from_raw(gid));
        setfsuid(Uid::from_raw(uid));
        // Both calls answer with the value before and never with an error: ask again.
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

    /// Takes the powers over other users' files, or lays them down: then the kernel asks the mode and the
    /// access list, as it would ask that user.
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
pub fn leave_groups() -> Result<(), Errno> {
    nix::unistd::setgroups(&[])
}

/// Whether this process may go through an open directory with the powers that it has right now: `EACCES`
/// if not.
pub fn search(directory: BorrowedFd) -> Result<(), Errno> {
    // `.` is a name like any other to look up, and needs no right to read.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    retry(|| openat(directory, ".", flags, Mode::empty())).map(drop)
}
