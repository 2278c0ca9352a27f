// SPDX-License-Identifier: Apache-2.0
//! Limits on the images of one checkpoint, all counted together. Each is far above what any container needs;
//! together they keep premount's memory below 64 MiB, from the images to the report (tests/slow/bounds).

use std::path::Path;

use super::{MountImage, OpenFile};
use crate::error::Error;

/// Maximum number of mounts. The kernel allows 100,000 in a namespace (`fs.mount-max`); planning, creating
/// and reporting one takes about 2 KB.
const MOUNTS: usize = 1 << 14;
/// Maximum bytes of names. About ten copies of each exist by the time it is reported, escaped.
const NAMES: usize = 1 << 20;
/// Maximum bytes of directories to create, each with its own path.
const DIRECTORIES: usize = 8 << 20;
/// Memory for a directory besides its path.
const DIRECTORY: usize = 128;
/// Maximum number of open files in the images, and of their paths' bytes that are kept.
const OPEN_FILES: usize = 1 << 20;
const OPEN_FILE_NAMES: usize = 4 << 20;
/// Memory for an open file besides its path.
const OPEN_FILE: usize = 128;
/// Memory for the ID of a FIFO, or of a deleted file.
const OPEN_FILE_ID: usize = 32;
/// Maximum bytes of mount entries: premount reads all of an entry, but keeps only what it needs.
const BYTES: usize = 64 << 20;

/// What is left of the limits.
#[derive(Debug)]
pub struct Budget {
    namespaces: usize,
    mounts: usize,
    names: usize,
    directories: usize,
    bytes: usize,
    open_files: usize,
    open_file_names: usize,
    open_file_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            namespaces: Self::MAX_NAMESPACES,
            mounts: MOUNTS,
            names: NAMES,
            directories: DIRECTORIES,
            bytes: BYTES,
            open_files: OPEN_FILES,
            open_file_names: OPEN_FILE_NAMES,
            open_file_bytes: BYTES,
        }
    }
}

impl Budget {
    /// Maximum number of mount namespaces.
    pub(super) const MAX_NAMESPACES: usize = 1024;

    /// Counts an image, which holds one mount namespace. The error names `file`.
    pub(super) fn namespace(&mut self, file: &Path) -> Result<(), Error> {
        let limit = Self::MAX_NAMESPACES;
        take(&mut self.namespaces, 1, file, limit, "mount namespaces")
    }

    /// Counts a mount that has `size` bytes in its image.
    pub(super) fn mount(&mut self, size: usize, file: &Path) -> Result<(), Error> {
        take(&mut self.mounts, 1, file, MOUNTS, "mounts")?;
        take(&mut self.bytes, size, file, BYTES, "bytes of mount entries")
    }

    /// Counts the names of a mount.
    pub(super) fn names(&mut self, mount: &MountImage, file: &Path) -> Result<(), Error> {
        let names = [
            mount.root.as_bytes().len(),
            mount.mountpoint.as_bytes().len(),
            mount.file_system.len(),
            mount.external.as_ref().map_or(0, Vec::len),
        ];
        self.take_names(names.iter().sum(), file)
    }

    /// Counts the directories on the path to a mountpoint, which lie below the root of the parent mount.
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
        take(left, size, file, limit, "bytes of mountpoint directories")
    }

    /// Counts an open file that has `size` bytes in its image.
    pub(super) fn open_file(&mut self, size: usize, file: &Path) -> Result<(), Error> {
        take(&mut self.open_files, 1, file, OPEN_FILES, "open files")?;
        let left = &mut self.open_file_bytes;
        take(left, size, file, BYTES, "bytes of open files")
    }

    /// Counts an open file that is kept.
    pub(super) fn open_file_kept(&mut self, open: &OpenFile, file: &Path) -> Result<(), Error> {
        let build_id = open.build_id.as_ref().map_or(0, |id| id.len());
        let size = OPEN_FILE + open.path.as_bytes().len() + build_id;
        self.take_open_file_names(size, file)
    }

    /// Counts a FIFO or a deleted file, of which only the ID is kept.
    pub(super) fn id_of_open_file(&mut self, file: &Path) -> Result<(), Error> {
        self.take_open_file_names(OPEN_FILE_ID, file)
    }

    fn take_open_file_names(&mut self, size: usize, file: &Path) -> Result<(), Error> {
        let (left, limit) = (&mut self.open_file_names, OPEN_FILE_NAMES);
        take(left, size, file, limit, "bytes of names of open files")
    }

    fn take_names(&mut self, size: usize, file: &Path) -> Result<(), Error> {
        let limit = NAMES;
        take(&mut self.names, size, file, limit, "bytes of mount names")
    }
}

fn take(left: &mut usize, size: usize, file: &Path, limit: usize, what: &str) -> Result<(), Error> {
    *left = left.checked_sub(size).ok_or_else(|| {
        let reason = format!(
            "more than {limit} {what} in the checkpoint's images, which is premount's limit"
        );
        Error::invalid(file, "", reason)
    })?;
    Ok(())
}
