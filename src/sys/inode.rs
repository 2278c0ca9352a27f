// SPDX-License-Identifier: Apache-2.0
//! The kind and identity of an inode.

use std::fmt::{self, Display, Formatter};

use nix::sys::stat::{FileStat, SFlag};

/// What a mountpoint has to be: mount(2) mounts a directory on a directory, and anything else on anything
/// else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountpointKind {
    /// A directory.
    Directory,
    /// Anything but a directory; premount creates an empty regular file.
    File,
}

impl Display for MountpointKind {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl MountpointKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
        }
    }
}

/// The kind of an inode, as far as it matters for a mountpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InodeKind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else: to mount(2), and to CRIU, all of these are files.
    File,
}

/// An inode: where it is, and what.
#[derive(Clone, Copy, Debug)]
pub struct Inode {
    /// Device and inode number, which name a directory for as long as it exists.
    pub identity: (u64, u64),
    /// What it is.
    pub kind: InodeKind,
}

impl From<&FileStat> for Inode {
    fn from(found: &FileStat) -> Self {
        let kind = match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => InodeKind::Directory,
            SFlag::S_IFLNK => InodeKind::Link,
            _ => InodeKind::File,
        };
        Self {
            identity: (found.st_dev, found.st_ino),
            kind,
        }
    }
}
