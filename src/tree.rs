// SPDX-License-Identifier: Apache-2.0
//! The container's mount tree as the kernel would build it, one mount after the other.
//!
//! A mount is known by its parent mount and by its place in it; to look up a name is to cross into
//! whatever is mounted topmost there. Over-mounts, stacks and sources used twice need no rule of
//! their own. [`crate::walk`] goes through it; nothing is created here.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Cause;
use crate::followed::Followed;
use crate::hosts::{HostId, Hosts, Seen};
use crate::mount::MountpointKind;
use crate::names::{NameId, Names, components};
use crate::path::{self, component_ends};
use crate::sys;

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

impl Node {
    /// The mount that the way to `path` in a copy led through in what it is a copy of, and the rest of
    /// the way.
    fn copied_mount<'a>(&self, path: &'a [u8]) -> Option<(MountId, &'a [u8])> {
        if self.copied.is_empty() {
            return None;
        }
        let on_the_way = component_ends(path).filter_map(|end| {
            let (top, rest) = path.split_at_checked(end)?;
            let mount = *self.copied.get(top)?;
            Some((mount, rest.strip_prefix(b"/").unwrap_or(rest)))
        });
        // Each came over what was there before, below it too.
        on_the_way.max_by_key(|&(mount, _)| mount)
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

    /// Makes a new tmpfs a copy of what it covers. That is not looked at any more once it is covered, so
    /// the copy of another tmpfs takes over what that one knows: otherwise a look into a stack of copies
    /// would have to go down through all of them.
    fn copy_up(&mut self, node: &mut Node, covered: &Place) {
        node.covers = Some(covered.clone());
        let Some(below) = self.nodes.get_mut(covered.mount.0) else {
            return;
        };
        if !covered.path.is_empty() {
            return;
        }
        if let Backing::Tmpfs { copy_up } = below.backing {
            node.made = std::mem::take(&mut below.made);
            node.copied = std::mem::take(&mut below.copied);
            // One by one: there are few, and to append is to go through all that is there.
            node.copied.extend(std::mem::take(&mut below.children));
            node.covers = below.covers.take();
            if !copy_up {
                node.backing = Backing::Tmpfs { copy_up: false };
            }
        }
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

    /// What is to be made at a place that isn't there yet, by the mounts so far.
    pub(crate) fn planned_at(&mut self, place: &Place) -> Result<Option<MountpointKind>, Cause> {
        let Backing::Host(id, _) = *self.backing(place.mount) else {
            return Ok(None);
        };
        if self.planned.is_empty() {
            return Ok(None);
        }
        let (id, path) = self.hosts.real(id, &place.path);
        let ends: Vec<usize> = component_ends(&path).collect();
        for existing in ends.into_iter().rev().skip(1).chain([0]) {
            let base = path.get(..existing).unwrap_or_default();
            if let Seen::Directory = self.hosts.look(id, base)? {
                let directory = self.hosts.parent(id, base)?;
                let inode = sys::inode(directory).map_err(Cause::system("fstat"))?;
                let below = path.get(existing..).unwrap_or_default();
                let planned = self.planned.get(&inode.identity);
                return Ok(planned.and_then(|names| names.get(below)));
            }
        }
        Ok(None)
    }

    /// What stands at a place, the mounts upon it left out of account.
    pub(crate) fn look(&mut self, place: &Place) -> Result<Look, Cause> {
        let mut place = place.clone();
        let mut copied = false;
        loop {
            let Some(node) = self.nodes.get(place.mount.0) else {
                return Ok(Look::Unknown);
            };
            match &node.backing {
                Backing::Host(id, _) => {
                    let seen = self.hosts.look(*id, &place.path)?;
                    // A copy has what was made by then. Elsewhere that makes no difference: below
                    // what is only planned, all is missing.
                    if copied && matches!(seen, Seen::Missing | Seen::Blocked) {
                        return Ok(Look::Seen(match self.planned_at(&place)? {
                            Some(MountpointKind::Directory) => Seen::Directory,
                            Some(MountpointKind::File) => Seen::File,
                            None => Seen::Missing,
                        }));
                    }
                    return Ok(Look::Seen(seen));
                }
                Backing::Opaque => return Ok(Look::Unknown),
                Backing::Broken => return Err(Cause::Below),
                Backing::Tmpfs { copy_up } => match node.made.get(&place.path) {
                    Some(MountpointKind::Directory) => return Ok(Look::Seen(Seen::Directory)),
                    Some(MountpointKind::File) => return Ok(Look::Seen(Seen::File)),
                    None => match (node.copied_mount(&place.path), &node.covers) {
                        // What was mounted in what this is a copy of.
                        (Some((mount, rest)), _) => {
                            place = Place {
                                mount: self.root_of(mount).mount,
                                path: rest.to_owned(),
                            };
                            copied = true;
                        }
                        (None, Some(covered)) if *copy_up => {
                            place = self.below(covered, &place.path);
                            copied = true;
                        }
                        _ if place.path.is_empty() => return Ok(Look::Seen(Seen::Directory)),
                        _ => return Ok(Look::Seen(Seen::Missing)),
                    },
                },
            }
        }
    }

    /// The place of `path` below `start`, which itself is taken as it was before anything was
    /// mounted on it; every directory on the way is one.
    fn below(&self, start: &Place, path: &[u8]) -> Place {
        let mut at = start.clone();
        for name in path
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
        {
            at.path = path::join(&at.path, name);
            if let Some(&mount) = self
                .node(at.mount)
                .and_then(|node| node.children.get(&at.path))
            {
                at = self.root_of(mount);
            }
        }
        at
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

/// What stands at a place, as far as premount can tell.
#[derive(Debug)]
pub(crate) enum Look {
    Seen(Seen),
    Unknown,
}
