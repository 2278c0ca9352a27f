// SPDX-License-Identifier: Apache-2.0
//! The user, group and capabilities with which this process creates inodes (credentials(7), capabilities(7)).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, getgroups, setfsgid, setfsuid, setgroups};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::retry;

/// The capabilities with which this process searches directories and creates inodes.
#[derive(Debug)]
pub struct Powers {
    full: CapabilitySets,
    /// Whether they are raised, or dropped; unknown after a change of IDs.
    is_full: Option<bool>,
    /// The file system user and group ID.
    ids: (u32, u32),
    /// The supplementary groups that are in force; none: the caller's own.
    groups: Option<Vec<u32>>,
    /// The caller's own, once they have been left.
    own_groups: Vec<Gid>,
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
        set_ids(uid, gid)?;
        let mut powers = Self {
            full,
            is_full: None,
            ids: (uid, gid),
            groups: None,
            own_groups: Vec::new(),
        };
        powers.set(true)?;
        Ok(powers)
    }

    /// From now on creates as another user, with these supplementary groups or with the caller's own.
    ///
    /// # Errors
    ///
    /// As [`Powers::create_as`]; and as setgroups(2).
    pub fn act_as(&mut self, uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<(), Errno> {
        if self.groups.as_deref() != groups {
            if self.groups.is_none() {
                self.own_groups = getgroups()?;
            }
            match groups {
                Some(groups) => {
                    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
                    setgroups(&groups)?;
                }
                None => setgroups(&self.own_groups)?,
            }
            self.groups = groups.map(<[u32]>::to_vec);
        }
        if self.ids != (uid, gid) {
            set_ids(uid, gid)?;
            self.ids = (uid, gid);
            self.is_full = None;
        }
        Ok(())
    }

    /// Raises or drops the capabilities over other users' files. Without them the kernel checks mode and ACL
    /// as for an unprivileged user.
    ///
    /// # Errors
    ///
    /// As capset(2).
    pub fn set(&mut self, full: bool) -> Result<(), Errno> {
        if self.is_full == Some(full) {
            return Ok(());
        }
        let over_others =
            CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH | CapabilitySet::FOWNER;
        let mut sets = self.full;
        if !full {
            sets.effective -= over_others;
        }
        set_capabilities(None, sets).map_err(|error| Errno::from_raw(error.raw_os_error()))?;
        self.is_full = Some(full);
        Ok(())
    }
}

fn set_ids(uid: u32, gid: u32) -> Result<(), Errno> {
    setfsgid(Gid::from_raw(gid));
    setfsuid(Uid::from_raw(uid));
    // Both calls return the previous ID and never an error: call them again to check.
    if setfsgid(Gid::from_raw(gid)).as_raw() != gid || setfsuid(Uid::from_raw(uid)).as_raw() != uid
    {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Whether this process is its user namespace's root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Drops all supplementary groups: a container's root is in none of the host's groups.
///
/// # Errors
///
/// As setgroups(2).
pub fn leave_groups() -> Result<(), Errno> {
    setgroups(&[])
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
