// SPDX-License-Identifier: Apache-2.0
//! Inodes, by what would change if anybody changed them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// By path: mode, user, size, and the time of the last change.
pub type Inodes = BTreeMap<PathBuf, (u32, u32, u64, i64, i64)>;

/// What is at a path, and all below it.
pub fn inodes(path: &Path) -> Inodes {
    let mut all = Inodes::new();
    note(path, &mut all);
    all
}

fn note(path: &Path, all: &mut Inodes) {
    let found = fs::symlink_metadata(path).unwrap();
    let inode = (
        found.mode(),
        found.uid(),
        found.size(),
        found.ctime(),
        found.ctime_nsec(),
    );
    all.insert(path.to_owned(), inode);
    if found.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten() {
            note(&entry.unwrap().path(), all);
        }
    }
}
