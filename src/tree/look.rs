// SPDX-License-Identifier: Apache-2.0
//! What stands at a place of the tree, the mounts upon it left out of account: on the host, on a tmpfs, or
//! in a copy of what that covers.

use super::{Backing, MountId, MountTree, Node, Place};
use crate::error::Cause;
use crate::hosts::Seen;
use crate::mount::MountpointKind;
use crate::path::{self, component_ends};
use crate::sys;

/// What stands at a place, as far as premount can tell.
#[derive(Debug)]
pub(crate) enum Look {
    Seen(Seen),
    Unknown,
}

impl MountTree {
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

    /// Makes a new tmpfs a copy of what it covers. That is not looked at any more once it is covered, so
    /// the copy of another tmpfs takes over what that one knows: otherwise a look into a stack of copies
    /// would have to go down through all of them.
    pub(super) fn copy_up(&mut self, node: &mut Node, covered: &Place) {
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
