// SPDX-License-Identifier: Apache-2.0
//! The container's mount tree as the kernel would build it, one mount after the other.
//!
//! A mount is known by its parent mount and by its place in it; to look up a name is to cross into
//! whatever is mounted topmost there. Over-mounts, stacks and sources used twice need no rule of
//! their own. [`crate::walk`] goes through it; nothing is created here.

mod look;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::followed::Followed;
use crate::hosts::{HostId, Hosts};
use crate::mount::MountpointKind;
use crate::names::{NameId, Names, components};
use crate::path::{self, component_ends};
pub(crate) use look::Look;

/// A mount of the tree; the rootfs is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountId(usize);

impl MountId {
    /// The rootfs.
    pub const ROOT: Self = Self(0);
}

/// A place in a mount: where it is from the mount's own root, all links resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The mount.
    pub mount: MountId,
    /// The path in it; empty for its root.
    pub path: Vec<u8>,
}

/// What lies behind a mount of the tree.
#[derive(Debug)]
pub enum Backing {
    /// The rootfs, or a bind source.
    Host(HostId, MountpointKind),
    /// A tmpfs of the container's.
    Tmpfs {
        /// It starts as a copy of what it covers.
        copy_up: bool,
    },
    /// Something that premount doesn't look into: the kernel's, or another file system.
    Opaque,
    /// A bind whose source can't be opened.
    Broken,
}

#[derive(Debug)]
struct Node {
    backing: Backing,
    /// Where the stack that it is in stands; none for the rootfs and what is stacked on that.
    foot: Option<Place>,
    /// What is stacked on its root; itself where nothing is. A shortcut at times, so as not to climb high
    /// stacks again and again.
    above: Cell<MountId>,
    /// Its own mountpoint in the container's view, without the leading slash.
    resolved: Vec<u8>,
    /// What is mounted in it, topmost, by the path in it.
    children: BTreeMap<Vec<u8>, MountId>,
    /// In a tmpfs: what the runtime makes there for the mounts above it.
    made: Names,
    /// In a copy: what was mounted in what it is a copy of, by the path in it.
    copied: BTreeMap<Vec<u8>, MountId>,
    /// In a copy: what it is a copy of.
    covers: Option<Place>,
}

impl Node {
    fn new(id: MountId, backing: Backing) -> Self {
        Self {
            backing,
            foot: None,
            above: Cell::new(id),
            resolved: Vec::new(),
            children: BTreeMap::new(),
            made: Names::default(),
            copied: BTreeMap::new(),
            covers: None,
        }
    }
}

/// What the walk found at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// A directory, or something that is not one.
    Existing(MountpointKind),
    /// Nothing.
    Missing {
        /// How many bytes of the place's path exist, as directories.
        existing: usize,
    },
    /// Premount can't tell.
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

/// The mount tree. It owns the host directories, since they are opened again and again.
#[derive(Debug)]
pub struct MountTree {
    nodes: Vec<Node>,
    /// The host's directories and files behind it.
    pub hosts: Hosts,
    /// What is to be made on the host for the mounts so far, by the directory that is there already. One
    /// source can show up in several places, so this goes by where the host has it.
    pub(crate) planned: BTreeMap<(u64, u64), Names>,
    /// The links that the runtime makes in the place of mounts, by mount and path, with their texts.
    links: BTreeMap<(MountId, Vec<u8>), Vec<u8>>,
    pub(crate) followed: Followed,
}

impl MountTree {
    /// A tree of the rootfs alone.
    pub fn new(hosts: Hosts, rootfs: HostId) -> Self {
        // A runtime binds the rootfs on itself with all that is mounted below it.
        let backing = Backing::Host(rootfs, MountpointKind::Directory);
        let root = Node::new(MountId::ROOT, backing);
        Self {
            nodes: vec![root],
            hosts,
            planned: BTreeMap::new(),
            links: BTreeMap::new(),
            followed: Followed::default(),
        }
    }

    /// Mounts `backing` at the place that a walk found; `kind` is that of the mountpoint.
    pub fn attach(&mut self, found: &Found, backing: Backing, kind: MountpointKind) -> MountId {
        let id = MountId(self.nodes.len());
        // There is nothing to copy from what is no directory.
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
        self.followed.changed(mount, &path);
        if let Backing::Tmpfs { copy_up: true } = node.backing {
            self.copy_up(&mut node, &found.place);
        }
        if let Some(parent) = self.nodes.get_mut(mount.0) {
            node.foot = if path.is_empty() {
                parent.above.set(id);
                parent.foot.clone()
            } else {
                Some(found.place.clone())
            };
            if let (Backing::Tmpfs { .. }, There::Missing { existing }) =
                (&parent.backing, found.there)
            {
                let mut at = NameId::TOP;
                let mut end = 0;
                for name in components(&path) {
                    at = parent.made.add(at, name);
                    end += name.len() + usize::from(end > 0);
                    if end == path.len() {
                        parent.made.set(at, kind);
                    } else if end > existing {
                        parent.made.set(at, MountpointKind::Directory);
                    }
                }
            }
            parent.children.insert(path, id);
        }
        self.nodes.push(node);
        id
    }

    /// Has the runtime make a link at a place where nothing is.
    pub(crate) fn add_link(&mut self, place: &Place, text: Vec<u8>) {
        self.followed.changed(place.mount, &place.path);
        self.links.insert((place.mount, place.path.clone()), text);
    }

    /// The text of the link that the runtime makes at a place, in the place of a mount.
    pub(crate) fn link_to_be(&self, place: &Place) -> Option<Vec<u8>> {
        if self.links.is_empty() {
            return None;
        }
        let place = (place.mount, place.path.clone());
        self.links.get(&place).cloned()
    }

    /// Whether the runtime makes links.
    pub(crate) fn has_links_to_be(&self) -> bool {
        !self.links.is_empty()
    }

    /// What lies behind a mount.
    pub fn backing(&self, mount: MountId) -> &Backing {
        self.node(mount)
            .map_or(&Backing::Opaque, |node| &node.backing)
    }

    /// A place as a path in the container's view, without the leading slash.
    pub fn resolved(&self, place: &Place) -> Vec<u8> {
        path::join(
            self.node(place.mount).map_or(b"", |node| &node.resolved),
            &place.path,
        )
    }

    /// A place as a path of the host's, where it is one.
    pub fn host_path(&self, place: &Place) -> Option<PathBuf> {
        match self.backing(place.mount) {
            Backing::Host(id, _) => Some(self.hosts.path(*id, &place.path)),
            _ => None,
        }
    }

    /// The root of `mount`, or of what is stacked upon it.
    pub(crate) fn root_of(&self, mount: MountId) -> Place {
        let above = |mount| self.node(mount).map_or(mount, |node| node.above.get());
        let mut top = mount;
        while above(top) != top {
            top = above(top);
        }
        let mut at = mount;
        while let Some(node) = self.node(at).filter(|_| at != top) {
            at = node.above.replace(top);
        }
        Place {
            mount: top,
            path: Vec::new(),
        }
    }

    pub(crate) fn root_kind(&self, mount: MountId) -> There {
        match self.backing(mount) {
            Backing::Host(_, kind) => There::Existing(*kind),
            Backing::Tmpfs { .. } | Backing::Broken => There::Existing(MountpointKind::Directory),
            Backing::Opaque => There::Unknown,
        }
    }

    /// The first mount that the way from `at` along `rest` enters, and how many bytes of `rest`
    /// lead to it. Places are known without links: where the letters agree, none is in between.
    pub(crate) fn mount_on_the_way(&self, at: &Place, rest: &[u8]) -> Option<(MountId, usize)> {
        let node = self
            .node(at.mount)
            .filter(|node| !node.children.is_empty())?;
        let whole = path::join(&at.path, rest);
        let skipped = whole.len() - rest.len();
        component_ends(&whole)
            .filter(|&end| end > skipped)
            .find_map(|end| {
                node.children
                    .get(whole.get(..end)?)
                    .map(|&mount| (mount, end - skipped))
            })
    }

    /// The mount at a place, if there is one: the topmost but for what is stacked on its root.
    pub(crate) fn mounted_at(&self, place: &Place) -> Option<MountId> {
        self.node(place.mount)?.children.get(&place.path).copied()
    }

    /// Where a mount is mounted, or the lowest of the stack that it is in; none for the rootfs.
    pub(crate) fn foot(&self, mount: MountId) -> Option<&Place> {
        self.node(mount)?.foot.as_ref()
    }

    fn node(&self, mount: MountId) -> Option<&Node> {
        self.nodes.get(mount.0)
    }
}
