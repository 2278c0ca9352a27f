// SPDX-License-Identifier: Apache-2.0
//! Where the checkpoint's places are in what config.json names.

use std::collections::BTreeMap;

use super::config_mount::Index;
use super::{Anchors, Inside};
use crate::checkpoint::{MountImage, Namespace, OpenFile};
use crate::path::{RelPath, RelRef};

/// What is needed to find a mount of the checkpoint in what config.json names.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) known: &'a Index<'a>,
    pub(super) anchors: &'a Anchors<'a>,
}

impl Places<'_> {
    /// Where what a mount shows is now; none where CRIU restores its content, or nobody can tell.
    pub(super) fn inside(&self, mount: &MountImage) -> Option<Inside> {
        if let Some(index) = self.known.of(mount) {
            return Some(Inside {
                mount: Some(index),
                path: RelPath::default(),
            });
        }
        if mount.external.is_some() {
            return None;
        }
        // The nearest of the anchors on its device that it shows something of.
        let root = mount.root.view();
        root.ancestors().find_map(|top| {
            let mount = *self.anchors.get(&(mount.device, top))?;
            let path = root.strip_prefix(top)?.to_owned();
            Some(Inside { mount, path })
        })
    }
}

/// Where an open file is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFilePlace {
    /// The place.
    pub at: Inside,
    /// Whether its mount was read-only for the tasks.
    pub read_only: bool,
}

/// Finds open files in what config.json names.
pub(super) struct OpenFilePlaces<'a> {
    places: Places<'a>,
    by_id: BTreeMap<u32, &'a MountImage>,
    /// The mounts of the root process's namespace: the topmost at each mountpoint.
    by_mountpoint: BTreeMap<RelRef<'a>, &'a MountImage>,
}

impl<'a> OpenFilePlaces<'a> {
    pub(super) fn new(namespaces: &'a [Namespace], places: Places<'a>) -> Self {
        let all = namespaces.iter().flat_map(|namespace| &namespace.mounts);
        let of_root = namespaces.first().into_iter();
        let of_root = of_root.flat_map(|namespace| &namespace.mounts);
        Self {
            places,
            by_id: all.map(|mount| (mount.id, mount)).collect(),
            by_mountpoint: of_root
                .map(|mount| (mount.mountpoint.view(), mount))
                .collect(),
        }
    }

    /// Where an open file is; none where CRIU restores it, or nobody can tell.
    pub(super) fn find(&self, open: &OpenFile) -> Option<OpenFilePlace> {
        let path = open.path.view();
        let mount = match open.mount {
            Some(id) => *self.by_id.get(&id)?,
            None => path
                .ancestors()
                .find_map(|top| self.by_mountpoint.get(&top).copied())?,
        };
        let below = path.strip_prefix(mount.mountpoint.view())?;
        let inside = self.places.inside(mount)?;
        Some(OpenFilePlace {
            at: Inside {
                mount: inside.mount,
                path: inside.path.view().join(below),
            },
            read_only: mount.read_only,
        })
    }
}
