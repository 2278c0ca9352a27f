// SPDX-License-Identifier: Apache-2.0
//! The mounts of a checkpoint, from CRIU's `mountpoints-*.img` images: one file per mount namespace, with
//! every mount in it, whoever mounted it, and its resolved mountpoint (CRIU images/mnt.proto;
//! criu/include/magic.h).
//!
//! A checkpoint is untrusted input. [`Budget`] bounds all of its images together, and all they yield is the
//! names of places.

pub mod archive;
mod budget;
mod parse;

use std::borrow::Cow;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

pub use budget::Budget;
pub use parse::{parse, read_image};

use crate::error::Error;
use crate::path::RelPath;
use crate::{input, sys};

/// Maximum number of entries in an image directory. CRIU writes about six files per process.
const MAX_NAMES: usize = 1 << 20;
/// Maximum bytes of an image buffered at once.
const BUFFER: u64 = 64 << 10;

/// A mount of the checkpoint.
#[derive(Clone, Debug)]
pub struct MountImage {
    /// The mount's ID.
    pub id: u32,
    /// The ID of the parent mount.
    pub parent: u32,
    /// The file system's device number.
    pub device: u32,
    /// The root of the mount within the file system.
    pub root: RelPath,
    /// The mountpoint as seen in the namespace.
    pub mountpoint: RelPath,
    /// The file system's type.
    pub file_system: Cow<'static, str>,
    /// The key of an external mount, which the runtime passes to CRIU on restore.
    pub external: Option<Vec<u8>>,
}

impl MountImage {
    /// Whether this is crun's empty directory, which crun keeps in its state and binds over masked
    /// directories.
    pub fn is_empty_directory(&self) -> bool {
        let has_name = |path: &[u8]| path.split(|&byte| byte == b'/').next_back() == Some(EMPTY);
        has_name(self.root.as_bytes()) && self.external.as_deref().is_some_and(has_name)
    }
}

/// The name of crun's empty directory.
const EMPTY: &[u8] = b".empty-directory";

/// The mounts of one mount namespace.
#[derive(Debug, Default)]
pub struct Namespace {
    /// In the image's order.
    pub mounts: Vec<MountImage>,
}

/// An open image directory.
#[derive(Debug)]
pub struct ImageDirectory {
    fd: OwnedFd,
    path: PathBuf,
}

impl ImageDirectory {
    /// Opens an image directory.
    ///
    /// # Errors
    ///
    /// It can't be opened, or is not a directory.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fd = sys::open_to_list(path).map_err(|errno| Error::Unreadable {
            file: path.to_owned(),
            operation: "open",
            errno,
        })?;
        let path = path.to_owned();
        Ok(Self { fd, path })
    }

    /// Opens the image directory `name` in an open directory, unless it is a symlink. Its path is `path`.
    ///
    /// # Errors
    ///
    /// As openat(2).
    pub fn open_in(directory: impl AsFd, name: &str, path: &Path) -> Result<Self, Errno> {
        let fd = sys::open_to_list_in(directory.as_fd(), name)?;
        let path = path.to_owned();
        Ok(Self { fd, path })
    }
}

impl AsFd for ImageDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads all mount namespaces in an image directory, the root process's first.
///
/// # Errors
///
/// An image can't be read, is invalid, or exceeds a limit.
pub fn read(directory: &ImageDirectory) -> Result<Vec<Namespace>, Error> {
    let mut budget = Budget::default();
    let image = |number| {
        let name = format!("mountpoints-{number}.img");
        let file = directory.path.join(&name);
        let (image, size) = input::open_file_in(directory.as_fd(), &name, &file)?;
        // Stopping at the size from fstat(2) saves the read(2) that would find the end of the file.
        let buffer = usize::try_from(size.min(BUFFER)).unwrap_or_default();
        let image = BufReader::with_capacity(buffer, image.take(size));
        read_image(image, &file, &mut budget)
    };
    numbers(directory)?.into_iter().map(image).collect()
}

/// The sorted numbers of the images in a directory: CRIU numbers namespaces as it finds them, starting with
/// the root process's.
fn numbers(directory: &ImageDirectory) -> Result<Vec<u32>, Error> {
    let mut numbers = Vec::new();
    let mut names = 0;
    // Stop after one image too many: the budget reports it.
    let listed = sys::list(directory.as_fd(), |name| {
        names += 1;
        numbers.extend(number(name));
        if names > MAX_NAMES || numbers.len() > Budget::MAX_NAMESPACES {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    listed.map_err(|errno| Error::Unreadable {
        file: directory.path.clone(),
        operation: "getdents64",
        errno,
    })?;
    if names > MAX_NAMES {
        let reason = format!("more than {MAX_NAMES} entries: not a CRIU image directory");
        return Err(Error::invalid(&directory.path, "", reason));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The namespace number in the name of a mountpoints image, exactly as CRIU writes it.
pub fn number(name: &str) -> Option<u32> {
    let number = name.strip_prefix("mountpoints-")?.strip_suffix(".img")?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    let padded = number.len() > 1 && number.starts_with('0');
    number.parse().ok().filter(|_| plain && !padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_mounts_is_known_by_its_name() {
        for (name, is) in [
            ("mountpoints-0.img", Some(0)),
            ("mountpoints-7.img", Some(7)),
            ("mountpoints-12.img", Some(12)),
            ("mountpoints-4294967295.img", Some(u32::MAX)),
            ("mountpoints-4294967296.img", None),
            ("mountpoints-012.img", None),
            ("mountpoints-00.img", None),
            ("mountpoints-+1.img", None),
            ("mountpoints-.img", None),
            ("mountpoints-1.img.tmp", None),
            ("fs-1.img", None),
        ] {
            assert_eq!(number(name), is, "{name}");
        }
    }
}
