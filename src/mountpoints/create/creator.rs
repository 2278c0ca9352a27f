// SPDX-License-Identifier: Apache-2.0
//! Who creates: the container's root, or the user of one of its tasks, each with the powers that it would
//! have.

use std::os::fd::BorrowedFd;

use crate::mountpoints::failure::Cause;
use crate::mountpoints::pending::{Maker, MakerId};
use crate::oci::owner::Owner;
use crate::oci::process::User;
use crate::sys::{self, Powers};

/// In whose name something is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    /// The maker itself.
    Maker(MakerId),
    /// In place of a task: the container's user, which is root.
    RootOf(MakerId),
}

impl Face {
    /// The container's root, for the runtime.
    pub(super) const RUNTIME: Self = Self::Maker(MakerId::RUNTIME);
}

/// In whose name everything is created, and with what powers.
pub(super) struct Creator<'a> {
    owner: &'a Owner,
    makers: &'a [Maker],
    /// Whether tasks that are root may have `CAP_DAC_OVERRIDE`.
    may_override: bool,
    /// None if everything is created in the name of the host's root.
    powers: Option<Powers>,
}

impl<'a> Creator<'a> {
    pub(super) fn new(
        owner: &'a Owner,
        makers: &'a [Maker],
        may_override: bool,
    ) -> Result<Self, Cause> {
        let is_host_root = owner.mapped.is_none() && (owner.uid, owner.gid) == (0, 0);
        // Who isn't root can't become anybody else, and has no powers to drop.
        let is_itself = makers.len() <= 1 || !sys::is_root();
        let powers = if is_itself && is_host_root {
            None
        } else {
            if owner.mapped.is_some() {
                sys::leave_groups().map_err(Cause::system("setgroups"))?;
            }
            let powers = Powers::create_as(owner.uid, owner.gid);
            Some(powers.map_err(Cause::system("setfsuid"))?)
        };
        Ok(Self {
            owner,
            makers,
            may_override,
            powers,
        })
    }

    /// In whose name to try it again if this one isn't allowed to.
    pub(super) fn instead_of(&self, face: Face) -> Option<Face> {
        let Face::Maker(id) = face else {
            return None;
        };
        match self.makers.get(id.0)? {
            Maker::Task { root: Some(_), .. } => Some(Face::RootOf(id)),
            Maker::Task { root: None, .. } | Maker::Runtime => None,
        }
    }

    /// Whether that is all the power there is: no directory is out of its reach.
    pub(super) fn has_all_power(&self, face: Face) -> bool {
        face == Face::RUNTIME && self.owner.mapped.is_none()
    }

    /// Whether this one has power over what is in a directory: only root has, and if its user namespace has no
    /// number for the owner or the group of an inode, it has no powers but those of its user and group.
    pub(super) fn has_power(&self, face: Face, directory: BorrowedFd) -> Result<bool, Cause> {
        let is_root = match self.user(face) {
            None => true,
            Some(user) => user.uid == self.owner.uid && self.may_override,
        };
        if !is_root {
            return Ok(false);
        }
        let Some(mapped) = &self.owner.mapped else {
            return Ok(true);
        };
        let access = sys::access(directory).map_err(Cause::system("fstat"))?;
        Ok(mapped.has(access.uid, access.gid))
    }

    /// Becomes this one, with its powers or without.
    pub(super) fn take(&mut self, face: Face, has_power: bool) -> Result<(), Cause> {
        let user = self.user(face).cloned();
        let owner = (self.owner.uid, self.owner.gid);
        let Some(powers) = &mut self.powers else {
            return Ok(());
        };
        match &user {
            None => powers.act_as(owner.0, owner.1, None),
            Some(user) => powers.act_as(user.uid, user.gid, Some(&user.groups)),
        }
        .map_err(Cause::system("setfsuid"))?;
        powers.set(has_power).map_err(Cause::system("capset"))
    }

    /// Takes the powers of the caller, to look.
    pub(super) fn look_around(&mut self) -> Result<(), Cause> {
        match &mut self.powers {
            Some(powers) => powers.set(true).map_err(Cause::system("capset")),
            None => Ok(()),
        }
    }

    /// The user of a task; none for the container's root.
    fn user(&self, face: Face) -> Option<&User> {
        let (Face::Maker(id) | Face::RootOf(id)) = face;
        match (face, self.makers.get(id.0)?) {
            (Face::Maker(_), Maker::Task { user, .. }) => Some(user),
            (Face::RootOf(_), Maker::Task { root, .. }) => root.as_ref(),
            (_, Maker::Runtime) => None,
        }
    }
}
