// SPDX-License-Identifier: Apache-2.0
//! The open directories of the sources, and the paths that don't exist: one cache for every lookup, with one
//! invalidation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};

use crate::mountpoints::failure::Cause;
use crate::mountpoints::host_place::{HostPlace, SourceId};
use crate::path::{RelPath, RelRef};
use crate::sys::{self, FileSystem};

/// How many directories a plan keeps open at once, the sources themselves among them: a configuration may
/// alternate between many, and each is opened once.
const WHILE_PLANNING: usize = 128;
/// How many stay open while something is created, or if the process may have no more descriptors.
const FEW: usize = 8;
/// How many missing paths are remembered at once.
const MAX_MISSING: usize = 256;

/// A directory's identity and file system.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Device and inode number.
    pub identity: (u64, u64),
    /// Its file system.
    pub file_system: FileSystem,
}

/// What is open, and what isn't there.
#[derive(Debug)]
pub(super) struct Cache {
    /// In order of use; the most recently used is last.
    open: VecDeque<Open>,
    /// How many may be open.
    limit: usize,
    /// Paths that don't exist; nothing below them exists either.
    missing: BTreeMap<SourceId, BTreeSet<RelPath>>,
    /// How many there are.
    missing_count: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            open: VecDeque::new(),
            limit: WHILE_PLANNING,
            missing: BTreeMap::new(),
            missing_count: 0,
        }
    }
}

/// An open directory, or a source that is a file.
#[derive(Debug)]
pub(super) struct Open {
    at: HostPlace,
    pub(super) fd: OwnedFd,
    /// Its device and inode number, once they are known.
    identity: Option<(u64, u64)>,
    pub(super) judged: Option<Judged>,
}

impl Open {
    /// Its device and inode number.
    pub(super) fn identity(&mut self) -> Result<(u64, u64), Cause> {
        if let Some(identity) = self.identity {
            return Ok(identity);
        }
        let inode = sys::inode(self.fd.as_fd()).map_err(Cause::system("fstat"))?;
        Ok(*self.identity.insert(inode.identity))
    }
}

impl Cache {
    /// Moves an open directory to the end. Returns whether it is open.
    pub(super) fn find(&mut self, source: SourceId, path: RelRef) -> bool {
        let is_it = |open: &Open| open.at.source == source && open.at.path.view() == path;
        // The most recent one is asked for most often.
        let Some(index) = self.open.iter().rposition(is_it) else {
            return false;
        };
        if index + 1 < self.open.len() {
            let used = self.open.remove(index);
            self.open.extend(used);
        }
        true
    }

    pub(super) fn add(&mut self, source: SourceId, path: RelRef, fd: OwnedFd) {
        if self.open.len() >= self.limit {
            self.open.pop_front();
        }
        self.open.push_back(Open {
            at: source.at(path),
            fd,
            identity: None,
            judged: None,
        });
    }

    pub(super) fn last(&mut self) -> Result<&mut Open, Cause> {
        self.open.back_mut().ok_or(Cause::Internal)
    }

    /// Frees descriptors, and keeps fewer from now on.
    pub(super) fn make_room(&mut self) {
        self.limit = FEW;
        let surplus = self.open.len().saturating_sub(self.limit);
        self.open.drain(..surplus);
    }

    /// Whether a path, or a directory above it, is known to be missing.
    pub(super) fn is_missing(&self, source: SourceId, path: RelRef) -> bool {
        let missing = self.missing.get(&source);
        missing.is_some_and(|all| path.prefixes().any(|path| all.contains(path.as_bytes())))
    }

    /// Remembers that a path is missing.
    pub(super) fn add_missing(&mut self, source: SourceId, path: RelRef) {
        if self.missing_count >= MAX_MISSING {
            self.forget_missing();
        }
        self.missing_count += 1;
        self.missing
            .entry(source)
            .or_default()
            .insert(path.to_owned());
    }

    /// Forgets all that was found in a source.
    pub(super) fn forget(&mut self, source: SourceId) {
        self.open.retain(|open| open.at.source != source);
        self.forget_missing();
    }

    fn forget_missing(&mut self) {
        self.missing.clear();
        self.missing_count = 0;
    }
}
