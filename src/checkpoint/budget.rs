// SPDX-License-Identifier: Apache-2.0
//! What all images of one checkpoint may take together. Each limit is far beyond any container's; all of
//! them keep premount below 64 MiB, from the images to the report (tests/bounds.rs measures it).

use std::path::Path;

use super::MountImage;
use crate::error::Error;

/// Most mounts. The kernel has at most 100,000 in a namespace (`fs.mount-max`); a mount costs some 2 KB
/// until it is planned, made and reported.
const MOUNTS: usize = 1 << 14;
/// Most bytes of names. Each is kept some ten times until it is reported, then escaped.
const NAMES: usize = 1 << 20;
/// Most bytes of directories that may have to be made, each with its own path.
const DIRECTORIES: usize = 8 << 20;
/// What a directory takes beside its path.
const DIRECTORY: usize = 128;
/// Most bytes of images: what else CRIU writes of a mount is read, too, but not kept.
const BYTES: usize = 64 << 20;

/// What is left of it.
#[derive(Debug)]
pub struct Budget {
    namespaces: usize,
    mounts: usize,
    names: usize,
    directories: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            namespaces: Self::MAX_NAMESPACES,
            mounts: MOUNTS,
            names: NAMES,
            directories: DIRECTORIES,
            bytes: BYTES,
        }
    }
}

impl Budget {
    /// Most mount namespaces.
    pub(super) const MAX_NAMESPACES: usize = 1024;

    /// Takes an image, which is a mount namespace. `file` is what the error names.
    pub(super) fn namespace(&mut self, file: &Path) -> Result<(), Error> {
        let limit = Self::MAX_NAMESPACES;
        take(&mut self.namespaces, 1, file, limit, "mount namespaces")
    }

    /// Takes a mount of `size` bytes in its image.
    pub(super) fn mount(&mut self, size: usize, file: &Path) -> Result<(), Error> {
        take(&mut self.mounts, 1, file, MOUNTS, "mounts")?;
        take(&mut self.bytes, size, file, BYTES, "bytes of mounts")
    }

    /// Takes the names of a mount.
    pub(super) fn names(&mut self, mount: &MountImage, file: &Path) -> Result<(), Error> {
        let names = [
            mount.root.as_bytes().len(),
            mount.mountpoint.as_bytes().len(),
            mount.file_system.len(),
            mount.external.as_ref().map_or(0, Vec::len),
        ];
        self.take_names(names.iter().sum(), file)
    }

    /// Takes the directories on the way to a mountpoint: they lie below what the parent shows.
    pub(super) fn directories(
        &mut self,
        mount: &MountImage,
        parent: &MountImage,
        file: &Path,
    ) -> Result<(), Error> {
        let top = parent.root.as_bytes().len();
        self.take_names(top, file)?;
        let directories = mount.mountpoint.view().prefixes();
        let size = directories.map(|path| DIRECTORY + top + path.size()).sum();
        let (left, limit) = (&mut self.directories, DIRECTORIES);
        take(left, size, file, limit, "bytes of directories of mounts")
    }

    fn take_names(&mut self, size: usize, file: &Path) -> Result<(), Error> {
        let limit = NAMES;
        take(
            &mut self.names,
            size,
            file,
            limit,
            "bytes of names of mounts",
        )
    }
}

fn take(left: &mut usize, size: usize, file: &Path, limit: usize, what: &str) -> Result<(), Error> {
    *left = left.checked_sub(size).ok_or_else(|| {
        let reason = format!(
            "more than {limit} {what} in the images of one checkpoint, more than premount takes: without \
             the images it goes by the configuration alone"
        );
        Error::invalid(file, "", reason)
    })?;
    Ok(())
}
