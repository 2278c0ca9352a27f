// SPDX-License-Identifier: Apache-2.0
//! The walk of a path through the mount tree, in the container's view: through mounts, links, and
//! what is still missing, as the kernel would go once it is there.

use crate::error::Cause;
use crate::followed::{End, Following};
use crate::hosts::Seen;
use crate::mount::MountpointKind;
use crate::path::{self, ContainerPath, PATH_MAX, component_ends};
use crate::tree::{Backing, Found, Look, MountId, MountTree, Place, There};

/// Most links that one walk follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Why a walk came to no end, and where.
#[derive(Debug)]
pub struct Stopped {
    /// The place.
    pub place: Place,
    /// What was wrong there.
    pub cause: Cause,
}

impl MountTree {
    /// Follows `path` from the container's root to where it leads, through mounts and links, and
    /// through what is still missing. A link in its very last place is followed if `follow` says so.
    pub fn walk(&mut self, path: &ContainerPath, follow: bool) -> Result<Found, Stopped> {
        let mut walk = Walk {
            follow,
            at: self.root_of(MountId::ROOT),
            there: There::Existing(MountpointKind::Directory),
            rest: path.relative().to_vec(),
            clear: false,
            links: 0,
            following: None,
        };
        walk.there = self.root_kind(walk.at.mount);
        match self.go(&mut walk) {
            Ok(()) => Ok(Found {
                place: walk.at,
                there: walk.there,
            }),
            Err(cause) => Err(Stopped {
                place: walk.at,
                cause,
            }),
        }
    }

    fn go(&mut self, walk: &mut Walk) -> Result<(), Cause> {
        let mut whole = true;
        loop {
            self.note_end(walk);
            if whole && !walk.rest.is_empty() && walk.is_plain() {
                if let Some((mount, used)) = self.mount_on_the_way(&walk.at, &walk.rest) {
                    walk.pass_to(used);
                    // All of this path was walked when the mount came here: nothing to look at.
                    walk.rest
                        .drain(..used.saturating_add(1).min(walk.rest.len()));
                    self.enter(walk, mount);
                    continue;
                }
                if self.look_at_the_whole(walk) {
                    return Ok(());
                }
                whole = false;
                walk.clear = true;
            }
            let Some(name) = walk.next_name() else {
                return Ok(());
            };
            if name == b".." {
                self.go_up(walk)?;
            } else if self.go_down(walk, &name)? {
                whole = true;
                walk.clear = false;
            }
        }
    }

    /// One lookup for all that is left, where no mount lies in between: most destinations exist.
    /// Says whether that was all.
    fn look_at_the_whole(&mut self, walk: &mut Walk) -> bool {
        let (Backing::Host(id, _), There::Existing(MountpointKind::Directory)) =
            (self.backing(walk.at.mount), walk.there)
        else {
            return false;
        };
        let id = *id;
        let end = path::join(&walk.at.path, &walk.rest);
        // What stands in the place of a link of the runtime's is not for the host to say.
        if end.len() >= PATH_MAX || self.has_links_to_be() {
            return false;
        }
        let kind = match self.hosts.look(id, &end) {
            Ok(Seen::Directory) => MountpointKind::Directory,
            Ok(Seen::File) => MountpointKind::File,
            // An error that lasts comes again, with the component that has it.
            Ok(Seen::Link(_) | Seen::Missing | Seen::Blocked) | Err(_) => return false,
        };
        walk.at.path = end;
        walk.there = There::Existing(kind);
        walk.rest.clear();
        true
    }

    /// Goes to the child `name`. Says whether that led to another mount, or through a link.
    fn go_down(&mut self, walk: &mut Walk, name: &[u8]) -> Result<bool, Cause> {
        if walk.there == There::Existing(MountpointKind::File) {
            return Err(Cause::NotADirectory);
        }
        let directory = walk.at.path.len();
        walk.at.path = path::join(&walk.at.path, name);
        if walk.at.path.len() >= PATH_MAX {
            return Err(Cause::TooLong);
        }
        walk.pass();
        if !walk.clear {
            if let Some(mount) = self.mounted_at(&walk.at) {
                self.enter(walk, mount);
                return Ok(true);
            }
        }
        let is_last = walk.rest.iter().all(|&byte| byte == b'/');
        let follow = walk.follow || !is_last;
        let link = self.link_to_be(&walk.at);
        let seen = match link {
            Some(link) => Look::Seen(Seen::Link(link)),
            None if matches!(walk.there, There::Missing { .. }) => return Ok(false),
            None => self.look(&walk.at)?,
        };
        match seen {
            Look::Seen(Seen::Directory) => {
                walk.there = There::Existing(MountpointKind::Directory);
            }
            Look::Seen(Seen::Link(_)) if !follow => {
                walk.there = There::Existing(MountpointKind::File);
            }
            Look::Seen(Seen::File) => walk.there = There::Existing(MountpointKind::File),
            Look::Seen(Seen::Missing) => {
                walk.there = There::Missing {
                    existing: directory,
                }
            }
            // The path so far was no link a moment ago.
            Look::Seen(Seen::Blocked) => return Err(Cause::Changed),
            Look::Unknown => walk.there = There::Unknown,
            Look::Seen(Seen::Link(text)) => {
                if let Some(end) = self.followed.end_of(&walk.at).filter(|_| walk.links == 0) {
                    walk.links = end.links;
                    walk.at = end.place;
                    walk.there = There::Existing(MountpointKind::Directory);
                    return Ok(true);
                }
                walk.links += 1;
                if walk.links > MAX_LINKS {
                    return Err(Cause::Loop);
                }
                if walk.links == 1 {
                    walk.following = Some(Following::new(&walk.at, walk.rest.len()));
                }
                if walk.rest.len() + text.len() >= 2 * PATH_MAX {
                    return Err(Cause::TooLong);
                }
                walk.at.path.truncate(directory);
                let is_absolute = text.first() == Some(&b'/');
                let first = text.iter().position(|&byte| byte != b'/');
                let relative = text.get(first.unwrap_or(text.len())..).unwrap_or_default();
                walk.rest = path::join(relative, &walk.rest);
                if is_absolute {
                    // In the container's view, so from the container's root.
                    self.enter(walk, MountId::ROOT);
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes to the parent directory, through the mounts that one stands at the root of.
    fn go_up(&mut self, walk: &mut Walk) -> Result<(), Cause> {
        if walk.there == There::Existing(MountpointKind::File) {
            return Err(Cause::NotADirectory);
        }
        if matches!(walk.there, There::Missing { .. })
            && self.planned_at(&walk.at)? == Some(MountpointKind::File)
        {
            return Err(Cause::NotADirectory);
        }
        // The parent of the container's root is the root itself.
        if walk.at.path.is_empty() {
            if let Some(up) = self.foot(walk.at.mount) {
                walk.at = up.clone();
            }
        }
        let parent = walk
            .at
            .path
            .iter()
            .rposition(|&byte| byte == b'/')
            .unwrap_or(0);
        walk.at.path.truncate(parent);
        if walk.at.path.is_empty() {
            // Into what is stacked on it, too: above the container's root is the topmost root.
            self.enter(walk, walk.at.mount);
            return Ok(());
        }
        // What is there can be missing still: the place that a mount stands at is planned too.
        let ends: Vec<usize> = component_ends(&walk.at.path).collect();
        for end in ends.into_iter().rev() {
            let path = walk.at.path.get(..end).unwrap_or_default().to_owned();
            match self.look(&Place {
                mount: walk.at.mount,
                path,
            })? {
                Look::Unknown => {
                    walk.there = There::Unknown;
                    return Ok(());
                }
                Look::Seen(Seen::Missing) => {}
                Look::Seen(_) => {
                    walk.there = walk.missing_from(end);
                    return Ok(());
                }
            }
        }
        walk.there = walk.missing_from(0);
        Ok(())
    }

    fn enter(&self, walk: &mut Walk, mount: MountId) {
        walk.at = self.root_of(mount);
        walk.there = self.root_kind(walk.at.mount);
        walk.pass();
    }

    /// Remembers where the first link of a walk has led, once that is known; but for ways through what is
    /// still missing, which may become something.
    fn note_end(&mut self, walk: &mut Walk) {
        let Some(way) = &walk.following else {
            return;
        };
        if walk.rest.len() > way.behind && walk.there == There::Existing(MountpointKind::Directory)
        {
            return;
        }
        let is_end = walk.rest.len() == way.behind
            && walk.there == There::Existing(MountpointKind::Directory);
        if let Some(way) = walk.following.take().filter(|_| is_end) {
            let (place, links) = (walk.at.clone(), walk.links);
            self.followed.remember(way, End { place, links });
        }
    }
}

/// A walk under way.
struct Walk {
    at: Place,
    there: There,
    /// What is still to be walked, from `at`.
    rest: Vec<u8>,
    /// No mount lies on the way of it, unless a link leads elsewhere.
    clear: bool,
    /// Whether a link in the last place is followed.
    follow: bool,
    links: usize,
    /// The first link that is being followed.
    following: Option<Following>,
}

impl Walk {
    /// Notes where the walk is now, if a link is being followed.
    fn pass(&mut self) {
        if let Some(way) = &mut self.following {
            way.pass(self.at.mount, &self.at.path);
        }
    }

    /// Notes all places from here to where the first `used` bytes of the rest lead.
    fn pass_to(&mut self, used: usize) {
        if let Some(way) = &mut self.following {
            let rest = self.rest.get(..used).unwrap_or_default();
            for end in component_ends(rest) {
                let rest = rest.get(..end).unwrap_or_default();
                way.pass(self.at.mount, &path::join(&self.at.path, rest));
            }
        }
    }

    fn next_name(&mut self) -> Option<Vec<u8>> {
        loop {
            let end = self.rest.iter().position(|&byte| byte == b'/');
            let name: Vec<u8> = match end {
                Some(end) => {
                    let name = self.rest.drain(..end).collect();
                    self.rest.drain(..1);
                    name
                }
                None if self.rest.is_empty() => return None,
                None => std::mem::take(&mut self.rest),
            };
            if !name.is_empty() && name != b"." {
                return Some(name);
            }
        }
    }

    /// Whether the rest is clean, as a link's text need not be.
    fn is_plain(&self) -> bool {
        self.rest
            .split(|&byte| byte == b'/')
            .all(|name| !matches!(name, b"" | b"." | b".."))
    }

    /// The state of a place of whose path the first `end` bytes exist.
    fn missing_from(&self, end: usize) -> There {
        if end == self.at.path.len() {
            There::Existing(MountpointKind::Directory)
        } else {
            There::Missing { existing: end }
        }
    }
}
