// SPDX-License-Identifier: Apache-2.0
//! Resolves a path in the mount tree, in the container's view: through mounts, symlinks and what is still
//! missing, as the kernel will once it is there.

use super::failure::Cause;
use super::mount_tree::{Backing, End, Following, Found, Look, MountId, MountTree, Place, There};
use super::sources::Seen;
use crate::path::{Name, PATH_MAX, RelPath, RelRef};
use crate::sys::MountpointKind;

/// Maximum number of symlinks in one resolution (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Where resolution stopped, and why.
#[derive(Debug)]
pub struct Stopped {
    /// The place.
    pub place: Place,
    /// What went wrong there.
    pub cause: Cause,
}

impl MountTree {
    /// Follows `path` from the container's root to where it leads, through mounts and links, and through what
    /// is still missing. A link in its very last place is followed if `follow` says so.
    ///
    /// # Errors
    ///
    /// The path leads nowhere; the error has the place that it failed at.
    pub fn resolve(&mut self, path: RelRef, follow: bool) -> Result<Found, Stopped> {
        let mut walk = Walk {
            follow,
            at: self.root_of(MountId::ROOT),
            there: There::Existing(MountpointKind::Directory),
            rest: Rest::Clean(path.to_owned()),
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
            if let Some(rest) = walk.rest.clean().filter(|_| whole) {
                if let Some((mount, way, after)) = self.mount_on_the_way(&walk.at, rest) {
                    // All of this path was walked when the mount came here: nothing to look at.
                    if let Some(following) = &mut walk.following {
                        for way in way.prefixes() {
                            let place = walk.at.view().join(way);
                            following.pass(walk.at.mount, place.view());
                        }
                    }
                    walk.rest = Rest::Clean(after.to_owned());
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
            let led_elsewhere = match Name::new(&name) {
                Some(name) => self.go_down(walk, name)?,
                // `..`: next_name skips everything else that is not a Name.
                None => self.go_up(walk).map(|()| false)?,
            };
            if led_elsewhere {
                whole = true;
                walk.clear = false;
            }
        }
    }

    /// Looks up the whole rest at once if no mount lies in between, since most destinations exist. Returns
    /// whether it succeeded.
    fn look_at_the_whole(&mut self, walk: &mut Walk) -> bool {
        let (Backing::Source(id, _), There::Existing(MountpointKind::Directory)) =
            (self.backing(walk.at.mount), walk.there)
        else {
            return false;
        };
        let id = *id;
        let Some(rest) = walk.rest.clean() else {
            return false;
        };
        let end = walk.at.view().join(rest);
        if end.view().size() >= PATH_MAX {
            return false;
        }
        let kind = match self.sources.look(id, end.view(), false) {
            Ok(Seen::Directory) => MountpointKind::Directory,
            Ok(Seen::File) => MountpointKind::File,
            // A lasting error will come back with the component that causes it.
            Ok(Seen::Link(_) | Seen::Missing | Seen::Blocked) | Err(_) => return false,
        };
        walk.at.path = end;
        walk.there = There::Existing(kind);
        walk.rest = Rest::Clean(RelPath::default());
        true
    }

    /// Descends to the child `name`. Returns whether that entered another mount or followed a symlink.
    fn go_down(&mut self, walk: &mut Walk, name: Name) -> Result<bool, Cause> {
        if walk.there == There::Existing(MountpointKind::File) {
            return Err(Cause::NotADirectory);
        }
        let directory = walk.at.view().depth();
        walk.at.path.push(name);
        if walk.at.view().size() >= PATH_MAX {
            return Err(Cause::TooLong);
        }
        walk.pass();
        if !walk.clear {
            if let Some(mount) = self.mounted_at(&walk.at) {
                self.enter(walk, mount);
                return Ok(true);
            }
        }
        let is_last = walk.rest.as_bytes().iter().all(|&byte| byte == b'/');
        let follow = walk.follow || !is_last;
        let seen = match self.link_to_be(&walk.at) {
            Some(link) => Look::Seen(Seen::Link(link.to_vec())),
            None if matches!(walk.there, There::Missing { .. }) => return Ok(false),
            None => self.look(&walk.at, !is_last)?,
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
            // The path up to here had no symlink a moment ago.
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
                    walk.following = Some(Following::new(&walk.at, walk.rest.as_bytes().len()));
                }
                if walk.rest.as_bytes().len() + text.len() >= 2 * PATH_MAX {
                    return Err(Cause::TooLong);
                }
                walk.at.path.pop();
                walk.rest = walk.rest.behind(&text);
                if text.starts_with(b"/") {
                    // Absolute in the container's view.
                    self.enter(walk, MountId::ROOT);
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes to the parent directory, out of any mounts that the walk is at the root of.
    fn go_up(&mut self, walk: &mut Walk) -> Result<(), Cause> {
        if walk.there == There::Existing(MountpointKind::File) {
            return Err(Cause::NotADirectory);
        }
        if matches!(walk.there, There::Missing { .. })
            && self.pending_at(&walk.at)? == Some(MountpointKind::File)
        {
            return Err(Cause::NotADirectory);
        }
        // The parent of the container's root is the root itself.
        if walk.at.view().is_root() {
            if let Some(up) = self.foot(walk.at.mount) {
                walk.at = up.clone();
            }
        }
        walk.at.path.pop();
        if walk.at.view().is_root() {
            // Into what is stacked on it, too: above the container's root is the topmost root.
            self.enter(walk, walk.at.mount);
            return Ok(());
        }
        // The parent may still be missing: a mountpoint can be pending itself.
        let mut at = walk.at.clone();
        loop {
            let existing = at.view().depth();
            if existing == 0 {
                walk.there = walk.missing_from(0);
                return Ok(());
            }
            match self.look(&at, false)? {
                Look::Unknown => {
                    walk.there = There::Unknown;
                    return Ok(());
                }
                Look::Seen(Seen::Missing) => {
                    at.path.pop();
                }
                Look::Seen(_) => {
                    walk.there = walk.missing_from(existing);
                    return Ok(());
                }
            }
        }
    }

    fn enter(&self, walk: &mut Walk, mount: MountId) {
        walk.at = self.root_of(mount);
        walk.there = self.root_kind(walk.at.mount);
        walk.pass();
    }

    /// Remembers where the first symlink of a walk led, once that is known. Not if it led through something
    /// missing, which may still change.
    fn note_end(&mut self, walk: &mut Walk) {
        let Some(way) = &walk.following else {
            return;
        };
        let left = walk.rest.as_bytes().len();
        if left > way.behind && walk.there == There::Existing(MountpointKind::Directory) {
            return;
        }
        let is_end = left == way.behind && walk.there == There::Existing(MountpointKind::Directory);
        if let Some(way) = walk.following.take().filter(|_| is_end) {
            let (place, links) = (walk.at.clone(), walk.links);
            self.followed.remember(way, End { place, links });
        }
    }
}

/// A resolution in progress.
struct Walk {
    at: Place,
    there: There,
    /// What is still to be walked, from `at`.
    rest: Rest,
    /// No mount lies on the rest of the path, unless a symlink leads elsewhere.
    clear: bool,
    /// Whether a link in the last place is followed.
    follow: bool,
    links: usize,
    /// The first symlink being followed.
    following: Option<Following>,
}

/// What is still to be walked.
enum Rest {
    /// A clean path.
    Clean(RelPath),
    /// Begins with the target of a symlink, which need not be clean.
    Raw(Vec<u8>),
}

impl Rest {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Clean(path) => path.as_bytes(),
            Self::Raw(text) => text,
        }
    }

    /// The rest, if it is clean and not empty.
    fn clean(&self) -> Option<RelRef<'_>> {
        match self {
            Self::Clean(path) if !path.view().is_root() => Some(path.view()),
            Self::Clean(_) | Self::Raw(_) => None,
        }
    }

    /// A symlink's target followed by this rest.
    fn behind(&self, text: &[u8]) -> Self {
        let first = text.iter().position(|&byte| byte != b'/');
        let mut rest = text.split_at(first.unwrap_or(text.len())).1.to_vec();
        let behind = self.as_bytes();
        if !rest.is_empty() && !behind.is_empty() {
            rest.push(b'/');
        }
        rest.extend_from_slice(behind);
        match RelRef::new(&rest) {
            Some(path) => Self::Clean(path.to_owned()),
            None => Self::Raw(rest),
        }
    }

    /// Removes what comes before the first slash, which may be empty; none at the end.
    fn take_name(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Clean(path) => {
                let (name, rest) = path.view().split_first()?;
                let name = name.as_bytes().to_vec();
                *path = rest.to_owned();
                Some(name)
            }
            Self::Raw(text) if text.is_empty() => None,
            Self::Raw(text) => {
                let end = text.iter().position(|&byte| byte == b'/');
                let name = text.drain(..end.unwrap_or(text.len())).collect();
                if end.is_some() {
                    text.drain(..1);
                }
                Some(name)
            }
        }
    }
}

impl Walk {
    /// Records the current place, if a symlink is being followed.
    fn pass(&mut self) {
        if let Some(way) = &mut self.following {
            way.pass(self.at.mount, self.at.view());
        }
    }

    /// Removes the next name from the rest; `..` counts as one.
    fn next_name(&mut self) -> Option<Vec<u8>> {
        loop {
            let name = self.rest.take_name()?;
            if !name.is_empty() && name != b"." {
                return Some(name);
            }
        }
    }

    /// The state of the current place if the first `existing` components of its path exist.
    fn missing_from(&self, existing: usize) -> There {
        if existing == self.at.view().depth() {
            There::Existing(MountpointKind::Directory)
        } else {
            There::Missing { existing }
        }
    }
}
