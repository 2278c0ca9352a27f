// SPDX-License-Identifier: Apache-2.0
//! Where the checkpoint's places are in what config.json names.

use std::collections::BTreeMap;

use super::config_mount::Index;
use super::{Anchors, Inside, root_of};
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

/// Finds open files in what config.json names, as CRIU opens them: by their paths, from the root of a namespace.
/// The mount that the checkpoint has for a file tells only which namespace: with overlayfs it can be another one
/// than the file is in (CRIU criu/mount.c, `lookup_overlayfs`).
///
/// A hostile checkpoint can have thousands of files in a mount that takes long to find: what is found is kept.
pub(super) struct OpenFilePlaces<'a> {
    places: Places<'a>,
    namespaces: Vec<NamespaceTree<'a>>,
    /// The index of the namespace that a mount is in, by the mount's ID.
    by_mount: BTreeMap<u32, usize>,
    /// Where what a mount shows is now, by the namespace and the mount's ID.
    inside: BTreeMap<(usize, u32), Option<Inside>>,
}

/// The mounts of a namespace, to go down from its root.
struct NamespaceTree<'a> {
    root: Option<&'a MountImage>,
    /// By the ID of the parent, and the mountpoint.
    children: BTreeMap<(u32, RelRef<'a>), &'a MountImage>,
    /// The topmost of the mounts on the root of a mount that has some, by its ID and mountpoint.
    tops: BTreeMap<(u32, RelRef<'a>), Option<&'a MountImage>>,
}

impl<'a> NamespaceTree<'a> {
    fn new(namespace: &'a Namespace) -> Self {
        let key = |mount: &'a MountImage| (mount.parent, mount.mountpoint.view());
        let mounts = namespace.mounts.iter();
        Self {
            root: root_of(namespace),
            children: mounts.map(|mount| (key(mount), mount)).collect(),
            tops: BTreeMap::new(),
        }
    }

    /// The mount that a path leads to.
    fn mount_of(&mut self, path: RelRef) -> Option<&'a MountImage> {
        let mut mount = self.top(self.root?)?;
        for prefix in path.prefixes() {
            if let Some(child) = self.child(mount, prefix) {
                mount = self.top(child)?;
            }
        }
        Some(mount)
    }

    fn child(&self, parent: &MountImage, at: RelRef) -> Option<&'a MountImage> {
        let child = *self.children.get(&(parent.id, at))?;
        (child.id != parent.id).then_some(child)
    }

    /// The topmost of the mounts on the root of a mount, or itself.
    fn top(&mut self, mount: &'a MountImage) -> Option<&'a MountImage> {
        let at = mount.mountpoint.view();
        if self.child(mount, at).is_none() {
            return Some(mount);
        }
        let mut on_the_way = Vec::new();
        let mut top = mount;
        let found = loop {
            // None while it is being looked for: a hostile checkpoint can have a circle.
            if let Some(&found) = self.tops.get(&(top.id, at)) {
                break found;
            }
            self.tops.insert((top.id, at), None);
            on_the_way.push(top.id);
            match self.child(top, at) {
                Some(above) => top = above,
                None => break Some(top),
            }
        };
        for id in on_the_way {
            self.tops.insert((id, at), found);
        }
        found
    }
}

impl<'a> OpenFilePlaces<'a> {
    pub(super) fn new(namespaces: &'a [Namespace], places: Places<'a>) -> Self {
        let mut by_mount = BTreeMap::new();
        for (index, namespace) in namespaces.iter().enumerate() {
            for mount in &namespace.mounts {
                by_mount.entry(mount.id).or_insert(index);
            }
        }
        Self {
            places,
            namespaces: namespaces.iter().map(NamespaceTree::new).collect(),
            by_mount,
            inside: BTreeMap::new(),
        }
    }

    /// Where each open file is; None if their paths have more than `bytes`.
    pub(super) fn find_all(
        &mut self,
        files: &[OpenFile],
        mut bytes: usize,
    ) -> Option<Vec<Option<OpenFilePlace>>> {
        let mut found = Vec::with_capacity(files.len());
        for open in files {
            let place = self.find(open);
            if let Some(place) = &place {
                bytes = bytes.checked_sub(place.at.path.view().size())?;
            }
            found.push(place);
        }
        Some(found)
    }

    /// Where an open file is; none where CRIU restores it, or nobody can tell.
    pub(super) fn find(&mut self, open: &OpenFile) -> Option<OpenFilePlace> {
        let path = open.path.view();
        let namespace = match open.mount {
            Some(id) => *self.by_mount.get(&id)?,
            None => 0,
        };
        let mount = self.namespaces.get_mut(namespace)?.mount_of(path)?;
        let below = path.strip_prefix(mount.mountpoint.view())?;
        let inside = self.inside.entry((namespace, mount.id));
        let inside = inside.or_insert_with(|| self.places.inside(mount));
        let inside = inside.as_ref()?;
        Some(OpenFilePlace {
            at: Inside {
                mount: inside.mount,
                path: inside.path.view().join(below),
            },
            read_only: mount.read_only,
        })
    }
}
