// SPDX-License-Identifier: Apache-2.0
//! Remembers where symlinks led: many mounts go through the same ones, and a path through forty of them can be
//! tens of thousands of names long.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::place::{MountId, Place};
use crate::path::RelRef;

/// Maximum number of places remembered on the paths of symlinks, 8 bytes each.
const MOST_PASSED: usize = 1 << 20;

/// Where symlinks led, and the places on the way.
#[derive(Debug, Default)]
pub struct Followed {
    ends: BTreeMap<Place, End>,
    /// Places where a new mount or symlink would change one of these paths. Hashes, so a collision now and then
    /// causes an unnecessary walk.
    passed: BTreeSet<u64>,
}

/// Where a link leads: to a directory, and through how many links in all.
#[derive(Clone, Debug)]
pub struct End {
    pub place: Place,
    pub links: usize,
}

/// A symlink being followed.
#[derive(Debug)]
pub struct Following {
    start: Place,
    /// How many bytes of the path come after the symlink.
    pub behind: usize,
    passed: Vec<u64>,
}

impl Followed {
    /// Where a link led.
    pub fn end_of(&self, link: &Place) -> Option<End> {
        self.ends.get(link).cloned()
    }

    /// Remembers where a link has led.
    pub fn remember(&mut self, way: Following, end: End) {
        if self.passed.len() + way.passed.len() > MOST_PASSED {
            self.forget();
        }
        self.passed.extend(way.passed);
        self.ends.insert(way.start, end);
    }

    /// Something was mounted or created at a place: symlinks that led through it may lead elsewhere now.
    pub fn changed(&mut self, mount: MountId, path: RelRef) {
        if !self.ends.is_empty() && self.passed.contains(&hash(mount, path)) {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.ends.clear();
        self.passed.clear();
    }
}

impl Following {
    pub fn new(link: &Place, behind: usize) -> Self {
        Self {
            start: link.clone(),
            behind,
            passed: vec![hash(link.mount, link.view())],
        }
    }

    /// Records a place on the way.
    pub fn pass(&mut self, mount: MountId, path: RelRef) {
        self.passed.push(hash(mount, path));
    }
}

fn hash(mount: MountId, path: RelRef) -> u64 {
    let mut hasher = DefaultHasher::new();
    (mount, path).hash(&mut hasher);
    hasher.finish()
}
