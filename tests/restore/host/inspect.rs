// SPDX-License-Identifier: Apache-2.0
//! What is on the host and in the container: the inodes of a source, the mountpoints that a process sees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::tool;

/// The mountpoints that a process sees.
pub fn mountpoints_of(pid: &str) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let mountpoint = |line: &str| unescaped(line.split(' ').nth(4).unwrap());
    let mut mountpoints: Vec<String> = table.lines().map(mountpoint).collect();
    mountpoints.sort();
    mountpoints
}

/// mountinfo writes blanks, tabs, newlines and backslashes as three octal digits.
pub fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(3);
        plain.push(char::from(u8::from_str_radix(digits, 8).unwrap()));
        plain.push_str(rest);
    }
    plain
}

/// An inode, as far as a test compares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InodeSnapshot {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// The content of a file.
    pub content: Option<Vec<u8>>,
    /// The time of its last change; none for a directory, which changes with what is made in it.
    pub changed: Option<(i64, i64)>,
}

/// All that is in a source, without what is mounted on it.
pub fn snapshot(source: &Path) -> BTreeMap<PathBuf, InodeSnapshot> {
    let mut inodes = BTreeMap::new();
    if source.is_file() {
        return inodes;
    }
    let view = Path::new("/w/view");
    fs::create_dir_all(view).unwrap();
    tool(
        "mount",
        &["--bind", source.to_str().unwrap(), view.to_str().unwrap()],
    );
    collect(view, view, &mut inodes);
    tool("umount", &[view.to_str().unwrap()]);
    inodes
}

fn collect(top: &Path, directory: &Path, inodes: &mut BTreeMap<PathBuf, InodeSnapshot>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let is_file = metadata.is_file();
        let inode = InodeSnapshot {
            mode: metadata.permissions().mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            content: is_file.then(|| fs::read(&path).unwrap()),
            changed: is_file.then(|| (metadata.ctime(), metadata.ctime_nsec())),
        };
        inodes.insert(path.strip_prefix(top).unwrap().to_owned(), inode);
        if metadata.is_dir() {
            collect(top, &path, inodes);
        }
    }
}
