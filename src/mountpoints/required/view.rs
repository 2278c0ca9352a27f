// SPDX-License-Identifier: Apache-2.0
//! Compares one mount namespace of a checkpoint with the configuration, mount by mount.

use std::collections::{BTreeMap, BTreeSet};

use super::config_mount::InCheckpoint;
use super::place::Places;
use super::{Inside, KindBy, RequiredMountpoint};
use crate::checkpoint::MountImage;
use crate::sys::MountpointKind;

/// A namespace, and what config.json names.
pub(super) struct View<'a> {
    pub(super) by_id: BTreeMap<u32, &'a MountImage>,
    /// Mounts that others are mounted in.
    pub(super) parents: BTreeSet<u32>,
    pub(super) places: Places<'a>,
}

impl View<'_> {
    /// What a mount needs beyond the configuration. Records in `has` which mount of the configuration it is.
    pub(super) fn compare(
        &self,
        mount: &MountImage,
        masked: &[String],
        has: &mut [InCheckpoint],
    ) -> Option<RequiredMountpoint> {
        let parent = self
            .by_id
            .get(&mount.parent)
            .filter(|parent| parent.id != mount.id);
        let own = self.places.known.of(mount);
        let mut is_there = false;
        for index in self.places.known.candidates(mount) {
            let in_place = parent.is_none_or(|parent| self.places.known.is_in(index, parent));
            is_there |= in_place;
            let found = match (in_place, own == Some(index)) {
                (true, true) => InCheckpoint::External,
                (true, false) => InCheckpoint::Own,
                (false, _) => InCheckpoint::Elsewhere,
            };
            if let Some(has) = has.get_mut(index) {
                if matches!(*has, InCheckpoint::No | InCheckpoint::Elsewhere) {
                    *has = found;
                }
            }
        }
        let parent = parent?;
        // CRIU goes by the checkpoint, whatever comes first in the configuration.
        if is_there {
            return None;
        }
        let path = mount
            .mountpoint
            .view()
            .strip_prefix(parent.mountpoint.view())
            .filter(|path| !path.is_root())?;
        let inside = self.places.inside(parent)?;
        Some(RequiredMountpoint {
            at: Inside {
                mount: inside.mount,
                path: inside.path.view().join(path),
            },
            kind: self.kind(mount, masked),
            is_of_runtime: own.is_some() || is_masked(mount, masked),
            read_only: parent.read_only,
            mountpoint: mount.mountpoint.clone(),
            file_system: mount.file_system.clone().into_owned(),
        })
    }

    /// What a mount of the workload's shows of the rootfs or a source: CRIU binds it from there.
    pub(super) fn shown(&self, mount: &MountImage) -> Option<Inside> {
        if mount.external.is_some() || mount.deleted || mount.root.view().is_root() {
            return None;
        }
        let inside = self.places.inside(mount)?;
        (!inside.path.view().is_root()).then_some(inside)
    }

    fn kind(&self, mount: &MountImage, masked: &[String]) -> KindBy {
        if let Some(index) = self.places.known.of(mount) {
            return KindBy::Configuration(index);
        }
        if mount.is_empty_directory() {
            return KindBy::Checkpoint(MountpointKind::Directory);
        }
        if let Some(key) = &mount.external {
            // A masked file is /dev/null to the container, a masked directory a tmpfs of its own.
            return if key == b"/dev/null" || is_masked(mount, masked) {
                KindBy::Checkpoint(MountpointKind::File)
            } else {
                KindBy::Nothing
            };
        }
        // The root of any file system is a directory, and so is what others are mounted in.
        if mount.root.view().is_root() || self.parents.contains(&mount.id) {
            return KindBy::Checkpoint(MountpointKind::Directory);
        }
        self.places
            .inside(mount)
            .map_or(KindBy::Nothing, KindBy::Source)
    }
}

/// Whether a mount is on a masked path of the configuration.
fn is_masked(mount: &MountImage, masked: &[String]) -> bool {
    let mountpoint = mount.mountpoint.as_bytes();
    let mut masked = masked.iter().filter_map(|path| path.strip_prefix('/'));
    masked.any(|path| path.as_bytes() == mountpoint)
}
