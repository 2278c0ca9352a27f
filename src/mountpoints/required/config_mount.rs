// SPDX-License-Identifier: Apache-2.0
//! The mounts of the configuration as a checkpoint knows them: by mountpoint, by destination, by parent.

use std::collections::BTreeMap;

use crate::checkpoint::MountImage;
use crate::path::RelRef;

/// A mount of the configuration, as a checkpoint may know it.
#[derive(Clone, Copy, Debug)]
pub struct ConfigMount<'a> {
    /// Its mountpoint in the container's view, links resolved; none for a destination that is not a path.
    pub resolved: Option<RelRef<'a>>,
    /// Its destination, cleaned: the name that crun gives a mount whose mountpoint doesn't exist.
    pub destination: Option<RelRef<'a>>,
    /// It has a source on the host.
    pub is_bind: bool,
    /// What it is mounted in.
    pub parent: Parent,
}

/// What a mount of the configuration is mounted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// The rootfs.
    Rootfs,
    /// Another mount of the configuration, by its index.
    Mount(usize),
    /// It can't be mounted at all: its source is missing.
    Broken,
    /// Its destination can no longer be resolved, so only the checkpoint says where it is.
    Unplaced,
}

/// Whether a checkpoint has a mount of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InCheckpoint {
    /// No checkpoint was looked at.
    #[default]
    NotLooked,
    /// No: the workload unmounted it, or it is new.
    No,
    /// Yes, in the same mount, and the runtime gives CRIU its source.
    External,
    /// Yes, in the same mount, and CRIU mounts it anew.
    Own,
    /// Yes, but in another mount than the configuration has it in by now.
    Elsewhere,
}

/// The mounts of the configuration, by their names in a checkpoint.
pub(super) struct Index<'a> {
    known: &'a [ConfigMount<'a>],
    /// Of two at one place the later counts: CRIU asks for a source by the name alone, and takes the one
    /// that it was told of last.
    binds: BTreeMap<RelRef<'a>, usize>,
    binds_as_written: BTreeMap<RelRef<'a>, usize>,
    /// Several can be at one place, each upon the one before.
    mountpoints: BTreeMap<RelRef<'a>, Vec<usize>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(known: &'a [ConfigMount<'a>]) -> Self {
        let mut mountpoints: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, known) in known.iter().enumerate() {
            if let Some(resolved) = known.resolved {
                mountpoints.entry(resolved).or_default().push(index);
            }
        }
        let binds = || known.iter().enumerate().filter(|(_, known)| known.is_bind);
        Self {
            known,
            binds: binds()
                .filter_map(|(index, known)| Some((known.resolved?, index)))
                .collect(),
            binds_as_written: binds()
                .filter_map(|(index, known)| Some((known.destination?, index)))
                .collect(),
            mountpoints,
        }
    }

    /// The mounts of the configuration that one of the checkpoint's can be: the bind that it is by its
    /// name, and all that are at its mountpoint.
    pub(super) fn candidates(&self, mount: &MountImage) -> impl Iterator<Item = usize> {
        let there = self.mountpoints.get(mount.mountpoint.as_bytes());
        let there = there.into_iter().flatten().copied();
        self.of(mount).into_iter().chain(there)
    }

    /// Whether a mount of the configuration is mounted in what the checkpoint has a mount in.
    pub(super) fn is_in(&self, index: usize, parent: &MountImage) -> bool {
        let Some(known) = self.known.get(index) else {
            return false;
        };
        let mountpoint = match known.parent {
            Parent::Broken => return true,
            Parent::Unplaced => return false,
            Parent::Rootfs => Some(RelRef::ROOT),
            // Two mounts can have one mountpoint, and through a link more than one name: where the
            // checkpoint says which of them it is, that counts.
            Parent::Mount(of) => match self.of(parent) {
                Some(same) => return same == of,
                None => self.known.get(of).and_then(|known| known.resolved),
            },
        };
        mountpoint == Some(parent.mountpoint.view())
    }

    /// The bind of the configuration that a mount is.
    pub(super) fn of(&self, mount: &MountImage) -> Option<usize> {
        let key = mount.external.as_deref()?;
        let key = key.strip_prefix(b"/").unwrap_or(key);
        self.binds
            .get(key)
            .or_else(|| self.binds_as_written.get(key))
            .copied()
    }
}
