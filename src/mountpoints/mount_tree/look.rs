// SPDX-License-Identifier: Apache-2.0
//! Looks at a place of the tree without the mounts on it: on the host, on a tmpfs, or in a tmpfs that is a copy of
//! what it covers.

use super::{Backing, MountId, MountTree, Node, Place};
use crate::mountpoints::failure::Cause;
use crate::mountpoints::sources::Seen;
use crate::path::RelRef;
use crate::sys::MountpointKind;

/// What is at a place, if premount can tell.
#[derive(Debug)]
pub enum Look {
    Seen(Seen),
    Unknown,
}

impl MountTree {
    /// What the mounts so far will create at a place that doesn't exist yet.
    pub fn pending_at(&mut self, place: &Place) -> Result<Option<MountpointKind>, Cause> {
        let Backing::Source(source, _) = *self.backing(place.mount) else {
            return Ok(None);
        };
        if self.pending.is_empty() {
            return Ok(None);
        }
        let real = self.sources.real(source, place.view());
        let real = real.unwrap_or_else(|| source.at(place.view()));
        for base in real.view().ancestors().skip(1) {
            if let Seen::Directory = self.sources.look(real.source, base, true)? {
                let identity = self.sources.identity_at(real.source, base)?;
                let below = real.view().strip_prefix(base).ok_or(Cause::Internal)?;
                let pending = self.pending.below(identity);
                let inode = pending.and_then(|inodes| inodes.get(below));
                return Ok(inode.map(|inode| inode.kind.as_mountpoint()));
            }
        }
        Ok(None)
    }

    /// What is at a place, without the mounts on it. `goes_on`: see [`Sources::look`].
    ///
    /// [`Sources::look`]: crate::mountpoints::sources::Sources::look
    pub fn look(&mut self, place: &Place, goes_on: bool) -> Result<Look, Cause> {
        let mut place = place.clone();
        let mut copied = false;
        loop {
            let Some(node) = self.nodes.get(place.mount.0) else {
                return Ok(Look::Unknown);
            };
            match &node.backing {
                Backing::Source(id, _) => {
                    let seen = self.sources.look(*id, place.view(), goes_on)?;
                    // A copy has what was made by then. Elsewhere that makes no difference: below
                    // what is only planned, all is missing.
                    if copied && matches!(seen, Seen::Missing | Seen::Blocked) {
                        return Ok(Look::Seen(match self.pending_at(&place)? {
                            Some(MountpointKind::Directory) => Seen::Directory,
                            Some(MountpointKind::File) => Seen::File,
                            None => Seen::Missing,
                        }));
                    }
                    return Ok(Look::Seen(seen));
                }
                Backing::Opaque => return Ok(Look::Unknown),
                Backing::Broken => return Err(Cause::Below),
                Backing::Tmpfs { .. } => match node.made.get(place.view()).copied() {
                    Some(MountpointKind::Directory) => return Ok(Look::Seen(Seen::Directory)),
                    Some(MountpointKind::File) => return Ok(Look::Seen(Seen::File)),
                    None => match (node.copied_mount(place.view()), &node.covers) {
                        // What was mounted in what this is a copy of.
                        (Some((mount, rest)), _) => {
                            place = Place {
                                mount: self.root_of(mount).mount,
                                path: rest.to_owned(),
                            };
                            copied = true;
                        }
                        (None, Some(covered)) => {
                            place = self.below(covered, place.view());
                            copied = true;
                        }
                        _ if place.view().is_root() => return Ok(Look::Seen(Seen::Directory)),
                        _ => return Ok(Look::Seen(Seen::Missing)),
                    },
                },
            }
        }
    }

    /// The place of `path` below `start`, where `start` is taken as it was before anything was mounted on it. All
    /// components are directories.
    fn below(&self, start: &Place, path: RelRef) -> Place {
        let mut at = start.clone();
        for name in path.names() {
            at.path.push(name);
            let mounted = self
                .node(at.mount)
                .and_then(|node| node.children.get(&at.path));
            if let Some(&mount) = mounted {
                at = self.root_of(mount);
            }
        }
        at
    }

    /// Makes a new tmpfs a copy of what it covers. Nobody looks at a covered tmpfs any more, so its copy takes over
    /// what it knows: otherwise a look into a stack of copies would have to go down through all of them.
    pub fn copy_up(&mut self, node: &mut Node, covered: &Place) {
        node.covers = Some(covered.clone());
        let Some(below) = self.nodes.get_mut(covered.mount.0) else {
            return;
        };
        if !covered.view().is_root() {
            return;
        }
        if let Backing::Tmpfs { .. } = below.backing {
            node.made = std::mem::take(&mut below.made);
            node.copied = std::mem::take(&mut below.copied);
            // One by one: there are few, and to append is to go through all that is there.
            node.copied.extend(std::mem::take(&mut below.children));
            node.covers = below.covers.take();
        }
    }
}

impl Node {
    /// The mount that `path` led through in what this is a copy of, and the rest of the path.
    fn copied_mount<'a>(&self, path: RelRef<'a>) -> Option<(MountId, RelRef<'a>)> {
        if self.copied.is_empty() {
            return None;
        }
        let on_the_way = path.prefixes().filter_map(|top| {
            let mount = *self.copied.get(top.as_bytes())?;
            Some((mount, path.strip_prefix(top)?))
        });
        // Each came over what was there before, below it too.
        on_the_way.max_by_key(|&(mount, _)| mount)
    }
}
