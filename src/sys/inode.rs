// SPDX-License-Identifier: Apache-2.0
//! The kind and identity of an inode.

use std::fmt::{self, Display, Formatter};

use nix::sys::stat::{FileStat, SFlag};

/// The kind of inode that a mountpoint has to be: mount(2) mounts directories on directories, and anything
/// else on anything but a directory.
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
    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
        }
    }
}

/// The kind of inode that premount creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewKind {
    /// A directory.
    Directory,
    /// An empty regular file.
    File,
    /// A FIFO.
    Fifo,
}

impl NewKind {
    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Fifo => "FIFO",
        }
    }

    /// What it is as a mountpoint.
    pub fn as_mountpoint(self) -> MountpointKind {
        match self {
            Self::Directory => MountpointKind::Directory,
            Self::File | Self::Fifo => MountpointKind::File,
        }
    }
}

impl Display for NewKind {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl From<MountpointKind> for NewKind {
    fn from(kind: MountpointKind) -> Self {
        match kind {
            MountpointKind::Directory => Self::Directory,
            MountpointKind::File => Self::File,
        }
    }
}

/// The kind of an inode, as far as mountpoints are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InodeKind {
    /// A directory.
    Directory,
    /// A symlink.
    Link,
    /// Anything else: mount(2) and CRIU treat all of these as files.
    File,
}

impl From<MountpointKind> for InodeKind {
    fn from(kind: MountpointKind) -> Self {
        match kind {
            MountpointKind::Directory => Self::Directory,
            MountpointKind::File => Self::File,
        }
    }
}

/// The identity and kind of an inode.
#[derive(Clone, Copy, Debug)]
pub struct Inode {
    /// Device and inode number, which identify a directory for as long as it exists.
    pub identity: (u64, u64),
    /// The kind.
    pub kind: InodeKind,
    /// Mode with kind (`st_mode`, inode(7)).
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
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
            mode: found.st_mode,
            size: u64::try_from(found.st_size).unwrap_or(0),
        }
    }
}
