// SPDX-License-Identifier: Apache-2.0
//! Decides whether to trust a file: the file, its directory and all directories above must belong to root or
//! to the calling user, and no other user may be able to write or rename there.
//!
//! A configuration names the bind sources, which can be anywhere on the host. If another user could put one
//! where premount looks, root would create inodes wherever that user likes.

use std::fmt::{self, Display, Formatter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::Errored;
use crate::escape::Escaped;
use crate::sys::{self, Access};

/// Maximum number of directories above one: a path has no more components (`PATH_MAX`, limits.h).
const MAX_DEPTH: usize = 2048;
/// The sticky bit: users can't rename or remove files of other users (inode(7)).
const STICKY: u32 = 0o1000;
/// Write permission for the group and for others. With an ACL, its mask is in the group's bits (acl(5)).
const WRITABLE: u32 = 0o022;
/// The user ID shown for an owner that the user namespace doesn't map (user_namespaces(7)).
const OVERFLOW: u32 = 65534;

/// Why a file is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust {
    /// The file or directory that is not trusted.
    what: PathBuf,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It belongs to this user.
    Owner(u32),
    /// Others can write to it.
    Writable,
    /// It is a symlink.
    Link,
    /// It is not a regular file.
    NotAFile,
    /// It can't be inspected.
    Unreadable(&'static str, Errno),
}

impl Display for Distrust {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let what = Escaped(self.what.as_os_str().as_bytes());
        match self.reason {
            Reason::Owner(uid) => write!(out, "{what} belongs to user {uid}"),
            Reason::Writable => write!(out, "others can write to {what}"),
            Reason::Link => write!(out, "{what} is a symbolic link ({:?})", Errno::ELOOP),
            Reason::NotAFile => write!(out, "{what} is not a regular file"),
            Reason::Unreadable(operation, errno) => {
                write!(out, "{what}: {operation}: {}", Errored(errno))
            }
        }
    }
}

/// A trusted file.
#[derive(Debug)]
pub struct Trusted {
    /// The file, open for reading.
    pub file: OwnedFd,
    /// The size in bytes.
    pub size: u64,
    /// The directory of the file.
    pub directory: TrustedDirectory,
}

/// An open directory that is trusted, with all directories above it.
#[derive(Debug)]
pub struct TrustedDirectory {
    fd: OwnedFd,
    /// Device and inode number.
    identity: (u64, u64),
}

impl AsFd for TrustedDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens the file `name` in a directory for reading, if the file, the directory and all directories above are
/// trusted. None if there is no such file. Errors call the directory `shown`.
///
/// # Errors
///
/// The first file or directory that is not trusted, and why.
pub fn open(directory: OwnedFd, name: &str, shown: &Path) -> Result<Option<Trusted>, Distrust> {
    let what = shown.join(name);
    let distrust = |reason| Distrust {
        what: what.clone(),
        reason,
    };
    let file = match sys::open_to_read(directory.as_fd(), name) {
        Ok(file) => file,
        Err(Errno::ENOENT) => return Ok(None),
        // The target would have to be trusted as well, and every symlink on the way to it.
        Err(Errno::ELOOP) => return Err(distrust(Reason::Link)),
        Err(Errno::ENXIO) => return Err(distrust(Reason::NotAFile)),
        Err(errno) => return Err(distrust(Reason::Unreadable("openat", errno))),
    };
    let access =
        sys::access(&file).map_err(|errno| distrust(Reason::Unreadable("fstat", errno)))?;
    if !access.is_file {
        return Err(distrust(Reason::NotAFile));
    }
    if !is_trusted_user(access.uid) {
        return Err(distrust(Reason::Owner(access.uid)));
    }
    if access.mode & WRITABLE != 0 {
        return Err(distrust(Reason::Writable));
    }
    let identity = self::directory(directory.as_fd(), shown, None)?;
    Ok(Some(Trusted {
        file,
        size: access.size,
        directory: TrustedDirectory {
            fd: directory,
            identity,
        },
    }))
}

/// Checks that a directory and all directories above are trusted, up to one that is `known` to be. Errors
/// call the directory `shown`. Returns its device and inode number.
///
/// Walks up by `..` from the open directory, not down its path: components of a path can be replaced, but
/// only a user who can write to a parent of the open directory can move the directory elsewhere.
///
/// # Errors
///
/// The first directory that is not trusted, and why.
pub fn directory(
    directory: BorrowedFd,
    shown: &Path,
    known: Option<&TrustedDirectory>,
) -> Result<(u64, u64), Distrust> {
    let identity = inner(directory, shown)?;
    let mut up = String::from("..");
    let mut below = identity;
    let mut named = shown.parent();
    for _ in 0..MAX_DEPTH {
        let distrust = |reason| Distrust {
            what: named.map_or_else(|| shown.join(&up), Path::to_owned),
            reason,
        };
        let access = sys::access_at(directory, &up)
            .map_err(|errno| distrust(Reason::Unreadable("newfstatat", errno)))?;
        let is_known = known.is_some_and(|known| known.identity == access.identity);
        // The root directory is its own parent.
        if below == access.identity || is_known {
            return Ok(identity);
        }
        if !is_trusted_user(access.uid) && !has_unmapped_owner(access) {
            return Err(distrust(Reason::Owner(access.uid)));
        }
        // In a sticky directory others can't replace the directory below, which has been checked already.
        if access.mode & WRITABLE != 0 && access.mode & STICKY == 0 {
            return Err(distrust(Reason::Writable));
        }
        below = access.identity;
        up += "/..";
        named = named.and_then(Path::parent);
    }
    Err(Distrust {
        what: shown.to_owned(),
        reason: Reason::Unreadable("newfstatat", Errno::ENAMETOOLONG),
    })
}

/// Checks that a directory is trusted if all directories above are. Errors call it `shown`. Returns its device
/// and inode number.
///
/// # Errors
///
/// Why it is not trusted.
pub fn inner(directory: BorrowedFd, shown: &Path) -> Result<(u64, u64), Distrust> {
    let distrust = |reason| Distrust {
        what: shown.to_owned(),
        reason,
    };
    let access =
        sys::access(directory).map_err(|errno| distrust(Reason::Unreadable("fstat", errno)))?;
    if !is_trusted_user(access.uid) {
        return Err(distrust(Reason::Owner(access.uid)));
    }
    if access.mode & WRITABLE != 0 {
        return Err(distrust(Reason::Writable));
    }
    Ok(access.identity)
}

fn is_trusted_user(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

/// Whether this user namespace doesn't map the owner of a directory, such as the host's root in a rootless
/// engine. Acceptable only for directories above: this owner can replace the directory below, but the
/// replacement would not belong to a trusted user.
fn has_unmapped_owner(access: Access) -> bool {
    access.uid == OVERFLOW && !sys::is_initial_user_namespace()
}
