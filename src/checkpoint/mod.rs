// SPDX-License-Identifier: Apache-2.0
//! The mounts of a checkpoint, from CRIU's images `mountpoints-*.img`: a file for each mount
//! namespace, with every mount in it, its mountpoint resolved, whoever made it (CRIU
//! images/mnt.proto; criu/include/magic.h).
//!
//! A checkpoint is untrusted input. What is read here is bounded, for all of its images together ([`Budget`]), and
//! can only name places.

pub mod archive;
mod budget;
mod parse;

use std::borrow::Cow;
use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

pub use budget::Budget;
pub use parse::{parse, read_image};

use crate::error::Error;
use crate::path::RelPath;
use crate::{input, sys};

/// Most names in a directory of images. CRIU has some six for each process.
const MAX_NAMES: usize = 1 << 20;
/// Most bytes of an image in memory at once.
const BUFFER: u64 = 64 << 10;

/// A mount of the checkpoint.
#[derive(Clone, Debug)]
pub struct MountImage {
    /// Its number in the namespace.
    pub id: u32,
    /// The number of the mount that it is mounted in.
    pub parent: u32,
    /// Its file system's device.
    pub device: u32,
    /// What of the file system it shows.
    pub root: RelPath,
    /// Where it is mounted, in the namespace's view.
    pub mountpoint: RelPath,
    /// Its file system's type.
    pub file_system: Cow<'static, str>,
    /// For a mount that the runtime gives CRIU on restore: its name between the two.
    pub external: Option<Vec<u8>>,
}

impl MountImage {
    /// Whether it is the empty directory that crun has below its state and binds over masked directories.
    pub fn is_empty_directory(&self) -> bool {
        let is_it = |path: &[u8]| path.split(|&byte| byte == b'/').next_back() == Some(EMPTY);
        is_it(self.root.as_bytes()) && self.external.as_deref().is_some_and(is_it)
    }
}

/// The name of crun's empty directory.
const EMPTY: &[u8] = b".empty-directory";

/// The mounts of one mount namespace.
#[derive(Debug, Default)]
pub struct Namespace {
    /// In the order of the image.
    pub mounts: Vec<MountImage>,
}

/// An image directory, open.
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

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for ImageDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads all mount namespaces in an image directory, that of the root process first.
///
/// # Errors
///
/// An image can't be read, is not one, or has more than premount takes.
pub fn read(directory: &ImageDirectory) -> Result<Vec<Namespace>, Error> {
    let mut budget = Budget::default();
    let image = |number| {
        let name = format!("mountpoints-{number}.img");
        let file = directory.path.join(&name);
        let (image, size) = input::open_file_in(directory.as_fd(), &name, &file)?;
        // Read up to the size it had when it was opened: that saves the read that would find the end.
        let buffer = usize::try_from(size.min(BUFFER)).unwrap_or_default();
        let image = BufReader::with_capacity(buffer, image.take(size));
        read_image(image, &file, &mut budget)
    };
    numbers(directory)?.into_iter().map(image).collect()
}

/// The numbers of the images in a directory, in order: CRIU numbers namespaces as it meets them, from the
/// root process on.
fn numbers(directory: &ImageDirectory) -> Result<Vec<u32>, Error> {
    let mut numbers = Vec::new();
    let mut names = 0;
    // One image more than there may be is one too many, for the budget to say.
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
        let reason = format!("more than {MAX_NAMES} names: not a directory of CRIU's images");
        return Err(Error::invalid(&directory.path, "", reason));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number of the namespace in the name of an image of mounts, written as CRIU writes it.
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
