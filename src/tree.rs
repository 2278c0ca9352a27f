// SPDX-License-Identifier: Apache-2.0
//! The container's mount tree as the kernel would build it, one mount after the other.
//!
//! A mount is known by its parent mount and by its place in it; to look up a name is to cross into
//! whatever is mounted topmost there. Over-mounts, stacks and sources used twice need no rule of
//! their own. [`crate::walk`] goes through it; nothing is created here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Cause;
use crate::hosts::{HostId, Hosts, Seen};
use crate::mount::MountpointKind;
use crate::path::{self, component_ends};
use crate::sys;

/// A mount of the tree; the rootfs is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Where it is mounted; none for the rootfs.
    at: Option<Place>,
    /// Its own mountpoint in the container's view, without the leading slash.
    resolved: Vec<u8>,
    /// What is mounted in it, topmost, by the path in it.
    children: BTreeMap<Vec<u8>, MountId>,
    /// In a tmpfs: what the runtime makes there for the mounts above it.
    made: BTreeMap<Vec<u8>, MountpointKind>,
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
    /// What is to be made on the host for the mounts so far. One source can show up in several
    /// places, so this goes by where the host has it.
    pub(crate) planned: BTreeMap<Below, MountpointKind>,
}

/// A path that isn't there yet, by the directory that is.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Below {
    directory: (u64, u64),
    path: Vec<u8>,
}

impl Below {
    /// The first `end` bytes of `path`, of which the first `existing` lead to `directory`.
    pub(crate) fn new(directory: (u64, u64), path: &[u8], existing: usize, end: usize) -> Self {
        let below = path.get(existing..end).unwrap_or_default();
        Self {
            directory,
            path: below.strip_prefix(b"/").unwrap_or(below).to_owned(),
        }
    }
}

impl MountTree {
    /// A tree of the rootfs alone.
    pub fn new(hosts: Hosts, rootfs: HostId) -> Self {
        // A runtime binds the rootfs on itself with all that is mounted below it.
        let backing = Backing::Host(rootfs, MountpointKind::Directory);
        let root = Node {
            backing,
            at: None,
            resolved: Vec::new(),
            children: BTreeMap::new(),
            made: BTreeMap::new(),
        };
        Self {
            nodes: vec![root],
            hosts,
            planned: BTreeMap::new(),
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
        let resolved = self.resolved(&found.place);
        let Place { mount, path } = found.place.clone();
        if let Some(parent) = self.nodes.get_mut(mount.0) {
            if let (Backing::Tmpfs { .. }, There::Missing { existing }) =
                (&parent.backing, found.there)
            {
                for end in component_ends(&path).filter(|&end| end > existing) {
                    let kind = if end == path.len() {
                        kind
                    } else {
                        MountpointKind::Directory
                    };
                    parent
                        .made
                        .insert(path.get(..end).unwrap_or_default().to_owned(), kind);
                }
            }
            parent.children.insert(path, id);
        }
        self.nodes.push(Node {
            backing,
            at: Some(found.place.clone()),
            resolved,
            children: BTreeMap::new(),
            made: BTreeMap::new(),
        });
        id
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
        let ends: Vec<usize> = component_ends(&place.path).collect();
        for existing in ends.into_iter().rev().skip(1).chain([0]) {
            let base = place.path.get(..existing).unwrap_or_default();
            if let Seen::Directory = self.hosts.look(id, base)? {
                let directory = self.hosts.parent(id, base)?;
                let inode = sys::inode(directory).map_err(Cause::system("fstat"))?;
                let below = Below::new(inode.identity, &place.path, existing, place.path.len());
                return Ok(self.planned.get(&below).copied());
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
                    None => match &node.at {
                        Some(covered) if *copy_up => {
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
        let mut top = mount;
        while let Some(&above) = self
            .node(top)
            .and_then(|node| node.children.get(b"".as_slice()))
        {
            top = above;
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

    /// Where a mount is mounted; none for the rootfs.
    pub(crate) fn mountpoint(&self, mount: MountId) -> Option<&Place> {
        self.node(mount)?.at.as_ref()
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
