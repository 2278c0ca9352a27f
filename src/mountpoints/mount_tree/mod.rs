// SPDX-License-Identifier: Apache-2.0
//! The container's mount tree as the kernel would build it, one mount after the other.
//!
//! A mount is identified by its parent mount and its place in that; looking up a name crosses into the topmost
//! mount there. Over-mounts, stacks and sources used twice need no special cases. `resolve.rs` walks it; nothing is
//! created here.

mod followed;
mod look;
mod place;

use std::cell::Cell;
use std::collections::BTreeMap;

use super::host_place::{HostPlace, SourceId};
use super::pending::{NodeId, PathTree, Pending};
use super::sources::Sources;
use crate::path::{RelPath, RelRef};
use crate::sys::MountpointKind;
pub use followed::{End, Followed, Following};
pub use look::Look;
pub use place::{MountId, Place};

/// What a mount of the tree shows.
#[derive(Debug)]
pub enum Backing {
    /// The rootfs, or a bind source.
    Source(SourceId, MountpointKind),
    /// A tmpfs of the container.
    Tmpfs {
        /// It starts as a copy of what it covers.
        copy_up: bool,
    },
    /// A file system that premount doesn't look into, such as the kernel's.
    Opaque,
    /// A bind whose source can't be opened.
    Broken,
}

#[derive(Debug)]
pub struct Node {
    backing: Backing,
    /// Where the stack it belongs to is mounted; none for the rootfs and mounts stacked on it.
    foot: Option<Place>,
    /// The mount stacked on its root, or itself. Sometimes a shortcut to a higher one, so that tall stacks are
    /// not climbed again and again.
    above: Cell<MountId>,
    /// Its own mountpoint in the container's view.
    resolved: RelPath,
    /// The topmost mount at each path in it.
    children: BTreeMap<RelPath, MountId>,
    /// In a tmpfs: what the runtime creates there for the mounts above it.
    made: PathTree<MountpointKind>,
    /// In a copy: the mounts in what it was copied from, by path.
    copied: BTreeMap<RelPath, MountId>,
    /// In a copy: the place that it was copied from.
    covers: Option<Place>,
}

impl Node {
    fn new(id: MountId, backing: Backing) -> Self {
        Self {
            backing,
            foot: None,
            above: Cell::new(id),
            resolved: RelPath::default(),
            children: BTreeMap::new(),
            made: PathTree::default(),
            copied: BTreeMap::new(),
            covers: None,
        }
    }
}

/// What a path resolved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// A directory, or something that is not one.
    Existing(MountpointKind),
    /// Nothing.
    Missing {
        /// How many components of the place's path exist, as directories.
        existing: usize,
    },
    /// premount cannot tell.
    Unknown,
}

/// Where a path leads.
#[derive(Debug)]
pub struct Found {
    /// The place.
    pub place: Place,
    /// What is there.
    pub there: There,
}

/// The mount tree. It owns the sources, which are looked into again and again.
#[derive(Debug)]
pub struct MountTree {
    nodes: Vec<Node>,
    /// The host directories and files that it shows.
    pub sources: Sources,
    /// What has to be created on the host for the mounts so far.
    pub pending: Pending,
    /// The symlinks that the runtime creates instead of mounts, with their targets.
    links: BTreeMap<Place, Vec<u8>>,
    pub followed: Followed,
}

impl MountTree {
    /// A tree of the rootfs alone. Without one nobody looks into it.
    pub fn new(sources: Sources, rootfs: Option<SourceId>) -> Self {
        // A runtime binds the rootfs on itself with all that is mounted below it.
        let backing = rootfs.map_or(Backing::Opaque, |rootfs| {
            Backing::Source(rootfs, MountpointKind::Directory)
        });
        let root = Node::new(MountId::ROOT, backing);
        Self {
            nodes: vec![root],
            sources,
            pending: Pending::default(),
            links: BTreeMap::new(),
            followed: Followed::default(),
        }
    }

    /// Mounts `backing` at the place that a walk found; `kind` is that of the mountpoint.
    pub fn attach(&mut self, found: &Found, backing: Backing, kind: MountpointKind) -> MountId {
        let id = MountId(self.nodes.len());
        // Only a directory can be copied up.
        let backing = match (backing, found.there) {
            (Backing::Tmpfs { .. }, There::Existing(MountpointKind::File)) => {
                Backing::Tmpfs { copy_up: false }
            }
            (backing, _) => backing,
        };
        let mut node = Node {
            resolved: self.resolved(&found.place),
            ..Node::new(id, backing)
        };
        let Place { mount, path } = found.place.clone();
        self.followed.changed(mount, path.view());
        if let Backing::Tmpfs { copy_up: true } = node.backing {
            self.copy_up(&mut node, &found.place);
        }
        if let Some(parent) = self.nodes.get_mut(mount.0) {
            node.foot = if path.view().is_root() {
                parent.above.set(id);
                parent.foot.clone()
            } else {
                Some(found.place.clone())
            };
            if let (Backing::Tmpfs { .. }, There::Missing { .. }) = (&parent.backing, found.there) {
                let mut at = NodeId::TOP;
                for name in path.view().names() {
                    at = parent.made.add(at, name);
                    parent.made.set(at, MountpointKind::Directory);
                }
                parent.made.set(at, kind);
            }
            parent.children.insert(path, id);
        }
        self.nodes.push(node);
        id
    }

    /// Records that the runtime creates a symlink at a place where nothing is.
    pub fn add_link(&mut self, place: &Place, text: Vec<u8>) {
        self.followed.changed(place.mount, place.view());
        self.links.insert(place.clone(), text);
    }

    /// The target of the symlink that the runtime creates at a place instead of a mount.
    pub fn link_to_be(&self, place: &Place) -> Option<&[u8]> {
        self.links.get(place).map(Vec::as_slice)
    }

    /// What a mount shows.
    pub fn backing(&self, mount: MountId) -> &Backing {
        self.node(mount)
            .map_or(&Backing::Opaque, |node| &node.backing)
    }

    /// A place as a path in the container's view.
    pub fn resolved(&self, place: &Place) -> RelPath {
        let mount = self.node(place.mount);
        let root = mount.map_or(RelRef::ROOT, |mount| mount.resolved.view());
        root.join(place.view())
    }

    /// The place on the host, if it is in a source.
    pub fn host_place(&self, place: &Place) -> Option<HostPlace> {
        match self.backing(place.mount) {
            Backing::Source(id, _) => Some(id.at(place.view())),
            _ => None,
        }
    }

    /// The root of `mount`, or of the topmost mount stacked on it.
    pub fn root_of(&self, mount: MountId) -> Place {
        let above = |mount| self.node(mount).map_or(mount, |node| node.above.get());
        let mut top = mount;
        while above(top) != top {
            top = above(top);
        }
        let mut at = mount;
        while let Some(node) = self.node(at).filter(|_| at != top) {
            at = node.above.replace(top);
        }
        top.root()
    }

    pub fn root_kind(&self, mount: MountId) -> There {
        match self.backing(mount) {
            Backing::Source(_, kind) => There::Existing(*kind),
            Backing::Tmpfs { .. } | Backing::Broken => There::Existing(MountpointKind::Directory),
            Backing::Opaque => There::Unknown,
        }
    }

    /// The first mount on the path from `at` along `rest`: the part of `rest` that leads to it, and the part after
    /// it. Places are free of symlinks, so if the names match, there is none in between.
    pub fn mount_on_the_way<'a>(
        &self,
        at: &Place,
        rest: RelRef<'a>,
    ) -> Option<(MountId, RelRef<'a>, RelRef<'a>)> {
        let node = self.node(at.mount)?;
        if node.children.is_empty() {
            return None;
        }
        let whole = at.view().join(rest);
        let prefixes = whole.view().prefixes().skip(at.view().depth());
        let (mount, depth) = prefixes.zip(1..).find_map(|(prefix, depth)| {
            let mount = node.children.get(prefix.as_bytes())?;
            Some((*mount, depth))
        })?;
        let way = rest.prefix(depth);
        Some((mount, way, rest.strip_prefix(way)?))
    }

    /// The mount at a place, if there is one; not what is stacked on its root.
    pub fn mounted_at(&self, place: &Place) -> Option<MountId> {
        self.node(place.mount)?.children.get(&place.path).copied()
    }

    /// Where a mount, or the bottom of its stack, is mounted; none for the rootfs.
    pub fn foot(&self, mount: MountId) -> Option<&Place> {
        self.node(mount)?.foot.as_ref()
    }

    fn node(&self, mount: MountId) -> Option<&Node> {
        self.nodes.get(mount.0)
    }
}
