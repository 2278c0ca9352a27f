// SPDX-License-Identifier: Apache-2.0
//! Who creates: the container's root, with the powers that it would have.

use std::os::fd::BorrowedFd;

use crate::mountpoints::failure::Cause;
use crate::oci::owner::{Mapped, Owner};
use crate::sys::{self, Powers};

/// In whose name everything is created, and with what powers.
pub(super) struct Creator<'a> {
    /// The users and groups that the container's root has power over; none: all.
    mapped: Option<&'a Mapped>,
    powers: Option<Powers>,
}

impl<'a> Creator<'a> {
    pub(super) fn new(owner: &'a Owner) -> Result<Self, Cause> {
        let mapped = owner.mapped.as_ref();
        if mapped.is_none() && (owner.uid, owner.gid) == (0, 0) {
            return Ok(Self {
                mapped,
                powers: None,
            });
        }
        if mapped.is_some() {
            sys::leave_groups().map_err(Cause::system("setgroups"))?;
        }
        let powers = Powers::create_as(owner.uid, owner.gid).map_err(Cause::system("setfsuid"))?;
        Ok(Self {
            mapped,
            powers: Some(powers),
        })
    }

    /// Whether that is all the power there is: the container has no user namespace of its own.
    pub(super) fn has_all_power(&self) -> bool {
        self.mapped.is_none()
    }

    /// Whether the container's root has power over what is in a directory: if its user namespace has no number
    /// for the owner or the group of an inode, it has no powers but those of its user and group.
    pub(super) fn has_power(&self, directory: BorrowedFd) -> Result<bool, Cause> {
        let Some(mapped) = self.mapped else {
            return Ok(true);
        };
        let access = sys::access(directory).map_err(Cause::system("fstat"))?;
        Ok(mapped.has(access.uid, access.gid))
    }

    /// Takes the powers of the container's root, where it has power or has none.
    pub(super) fn face(&mut self, has_power: bool) -> Result<(), Cause> {
        match &mut self.powers {
            Some(powers) => powers.set(has_power).map_err(Cause::system("capset")),
            None => Ok(()),
        }
    }

    /// Takes the powers of the caller, to look.
    pub(super) fn look_around(&mut self) -> Result<(), Cause> {
        self.face(true)
    }
}
