// SPDX-License-Identifier: Apache-2.0
//! Whether a file may tell root what to do: it, the directory that it is in and all directories above
//! belong to root or to who runs premount, and nobody else can write or rename there.
//!
//! A configuration names the sources, and so any place on the host. One that somebody else could have
//! put where premount looks would have root make inodes wherever that user likes.

use std::fmt::{self, Display, Formatter};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::Errored;
use crate::escape::Escaped;
use crate::sys::{self, Access};

/// Most directories above one: a path has no more components (`PATH_MAX`, limits.h).
const MOST_ABOVE: usize = 2048;
/// The sticky bit: others can't rename or remove what isn't theirs (inode(7)).
const STICKY: u32 = 0o1000;
/// Write permission for the group and for others. An access list's mask is where the group's are (acl(5)).
const WRITABLE: u32 = 0o022;
/// What an owner looks like that the user namespace has no number for (user_namespaces(7)).
const OVERFLOW: u32 = 65534;

/// Why a file is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust {
    /// The file or directory that can't be trusted.
    what: PathBuf,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It belongs to this user.
    Owner(u32),
    /// Others can write there.
    Writable,
    /// It is a link.
    Link,
    /// It is no regular file.
    NoFile,
    /// It can't be looked at.
    Unreadable(&'static str, Errno),
}

impl Display for Distrust {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let what = Escaped(self.what.as_os_str().as_bytes());
        match self.reason {
            Reason::Owner(uid) => write!(out, "{what} belongs to user {uid}"),
            Reason::Writable => write!(out, "others can write to {what}"),
            Reason::Link => write!(out, "{what} is a symbolic link ({:?})", Errno::ELOOP),
            Reason::NoFile => write!(out, "{what} is not a regular file"),
            Reason::Unreadable(operation, errno) => {
                write!(out, "{what}: {operation}: {}", Errored(errno))
            }
        }
    }
}

/// A file that can be trusted.
#[derive(Debug)]
pub struct Trusted {
    /// The file, open to be read.
    pub file: OwnedFd,
    /// Its size in bytes.
    pub size: u64,
    /// The directory that it is in.
    pub directory: DirectoryId,
}

/// Device and inode number of a directory that can be trusted, and all above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryId((u64, u64));

/// Opens the file `name` in a directory to read it, if both, and all directories above, can be trusted. None
/// if there is no such file. `shown` is the directory's name in errors.
///
/// # Errors
///
/// What can't be trusted, and why.
pub fn open(directory: BorrowedFd, name: &str, shown: &Path) -> Result<Option<Trusted>, Distrust> {
    let what = shown.join(name);
    let distrust = |reason| Distrust {
        what: what.clone(),
        reason,
    };
    let file = match sys::open_to_read(directory, name) {
        Ok(file) => file,
        Err(Errno::ENOENT) => return Ok(None),
        // Where it leads would have to be trusted as well, and each link on the way.
        Err(Errno::ELOOP) => return Err(distrust(Reason::Link)),
        Err(Errno::ENXIO) => return Err(distrust(Reason::NoFile)),
        Err(errno) => return Err(distrust(Reason::Unreadable("openat", errno))),
    };
    let access =
        sys::access(&file).map_err(|errno| distrust(Reason::Unreadable("fstat", errno)))?;
    if !access.is_file {
        return Err(distrust(Reason::NoFile));
    }
    if !is_ours(access.uid) {
        return Err(distrust(Reason::Owner(access.uid)));
    }
    if access.mode & WRITABLE != 0 {
        return Err(distrust(Reason::Writable));
    }
    Ok(Some(Trusted {
        file,
        size: access.size,
        directory: self::directory(directory, shown, None)?,
    }))
}

/// Checks that a directory and all above can be trusted, up to one that is `known` to be. `shown` is its name
/// in errors.
///
/// Upwards by `..` from where it is, not downwards by its name: a name can be exchanged, and what an open
/// directory lies in can't be by anybody who may not write there.
///
/// # Errors
///
/// What can't be trusted, and why.
pub fn directory(
    directory: BorrowedFd,
    shown: &Path,
    known: Option<DirectoryId>,
) -> Result<DirectoryId, Distrust> {
    let mut up = String::from(".");
    let mut first = None;
    let mut below: Option<(u64, u64)> = None;
    let mut named = Some(shown);
    for depth in 0..MOST_ABOVE {
        let distrust = |reason| Distrust {
            what: named.map_or_else(|| shown.join(&up), Path::to_owned),
            reason,
        };
        let access = sys::access_at(directory, &up)
            .map_err(|errno| distrust(Reason::Unreadable("newfstatat", errno)))?;
        let here = DirectoryId(access.identity);
        let first = *first.get_or_insert(here);
        // The root directory is its own parent.
        if below == Some(access.identity) || known == Some(here) {
            return Ok(first);
        }
        if !(is_ours(access.uid) || depth > 0 && is_nobodys(access)) {
            return Err(distrust(Reason::Owner(access.uid)));
        }
        // In a sticky directory others can't exchange what is there, and what is there has been looked
        // at: it is what leads here.
        if access.mode & WRITABLE != 0 && (access.mode & STICKY == 0 || depth == 0) {
            return Err(distrust(Reason::Writable));
        }
        below = Some(access.identity);
        up = if depth == 0 {
            "..".to_owned()
        } else {
            up + "/.."
        };
        named = named.and_then(Path::parent);
    }
    Err(Distrust {
        what: shown.to_owned(),
        reason: Reason::Unreadable("newfstatat", Errno::ENAMETOOLONG),
    })
}

fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

/// Whether a directory belongs to somebody that this user namespace has no number for: to the host's root,
/// seen by a rootless engine. For directories above alone, and those that nobody else can write to: whoever
/// that owner is can exchange the directory below for another, but that isn't ours then.
fn is_nobodys(access: Access) -> bool {
    access.uid == OVERFLOW && !sys::is_initial_user_namespace()
}
