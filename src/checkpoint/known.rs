// SPDX-License-Identifier: Apache-2.0
//! The mounts of the configuration as a checkpoint knows them: by mountpoint, by destination, by parent.

use std::collections::BTreeMap;

use crate::images::MountImage;

/// A mount of the configuration, as a checkpoint may know it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its mountpoint in the container's view, links resolved, without the leading slash.
    pub resolved: &'a [u8],
    /// Its destination, clean: crun names a mount so where the mountpoint isn't there.
    pub destination: &'a [u8],
    /// It has a source on the host.
    pub is_bind: bool,
    /// The mountpoint, likewise, of the mount that it is mounted in; none if it can't be mounted at all.
    pub parent: Option<&'a [u8]>,
}

/// The mounts of the configuration, by their names in a checkpoint.
pub(super) struct Index<'a> {
    /// Of two at one place the later is on top.
    binds: BTreeMap<&'a [u8], usize>,
    binds_as_written: BTreeMap<&'a [u8], usize>,
    /// Several can be at one place, each upon the one before.
    mountpoints: BTreeMap<&'a [u8], Vec<usize>>,
    parents: Vec<Option<&'a [u8]>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(known: &[Known<'a>]) -> Self {
        let mut mountpoints: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, known) in known.iter().enumerate() {
            mountpoints.entry(known.resolved).or_default().push(index);
        }
        let binds = || known.iter().enumerate().filter(|(_, known)| known.is_bind);
        Self {
            binds: binds()
                .map(|(index, known)| (known.resolved, index))
                .collect(),
            binds_as_written: binds()
                .map(|(index, known)| (known.destination, index))
                .collect(),
            mountpoints,
            parents: known.iter().map(|known| known.parent).collect(),
        }
    }

    /// Whether the configuration has a mount there too, in the same parent; or one that can't be mounted
    /// at all.
    pub(super) fn has(&self, mount: &MountImage, parent: &MountImage) -> bool {
        let there = self.mountpoints.get(mount.mountpoint.as_bytes());
        let mut all = self
            .of(mount)
            .into_iter()
            .chain(there.into_iter().flatten().copied());
        all.any(|index| {
            let known = self.parents.get(index).copied().flatten();
            known.is_none_or(|known| known == parent.mountpoint.as_bytes())
        })
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
