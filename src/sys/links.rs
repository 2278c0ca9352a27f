// SPDX-License-Identifier: Apache-2.0
//! Reads the targets of symlinks.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;

use crate::path::Name;

/// The target of a symlink that the configuration names.
///
/// # Errors
///
/// As readlink(2).
pub fn text_of_link(path: &Path) -> Result<Vec<u8>, Errno> {
    nix::fcntl::readlink(path).map(OsStringExt::into_vec)
}

/// The target of the symlink `name` in an open directory.
///
/// # Errors
///
/// As readlinkat(2); `EINVAL` if it is not, or no longer, a symlink.
pub fn read_link_in(directory: BorrowedFd, name: Name) -> Result<Vec<u8>, Errno> {
    let name = OsStr::from_bytes(name.as_bytes());
    nix::fcntl::readlinkat(directory, name).map(OsStringExt::into_vec)
}

/// The target of a symlink opened by [`open_beneath`](super::open_beneath).
///
/// # Errors
///
/// As readlinkat(2).
pub fn read_link(link: BorrowedFd) -> Result<Vec<u8>, Errno> {
    nix::fcntl::readlinkat(link, "").map(OsStringExt::into_vec)
}
