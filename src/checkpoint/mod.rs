// SPDX-License-Identifier: Apache-2.0
//! The checkpoint's images, as far as premount reads them: the mounts of each mount namespace, whoever mounted
//! them; what tasks hold open by path; and the tasks' credentials.
//!
//! A checkpoint is untrusted input. [`Budget`] bounds what is read of it, and all that it yields is the names
//! of places, with modes and IDs.

pub mod archive;
mod budget;
mod dump;
mod files;
mod image;
mod machine;
mod mounts;
mod tasks;

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

pub use budget::Budget;
pub use dump::Dump;
pub use files::{OpenFile, OpenKind, Sockets};
pub use machine::{Lsm, Machine};
pub use mounts::{parse, read_image};
pub use tasks::{Holder, Tasks};

use crate::error::Error;
use crate::path::RelPath;
use crate::{input, sys};
use files::Files;
use image::{FilesImage, Image, MachineImage, TaskImage};
use tasks::TaskTable;

/// Maximum number of entries in an image directory. CRIU writes about six files per process.
const MAX_NAMES: usize = 1 << 20;
/// Maximum bytes of an image buffered at once.
const BUFFER: u64 = 64 << 10;

/// What premount reads of a checkpoint.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// The mount namespaces, the root process's first.
    pub namespaces: Vec<Namespace>,
    /// What CRIU opens by path, or why that is unknown.
    pub files: OpenFiles,
    /// Sockets, as far as they need something of the host.
    pub sockets: Sockets,
    /// Who holds it open, and the machine that they ran on.
    pub tasks: Tasks,
    /// What the engine exported beside the images.
    pub dump: Dump,
}

/// What CRIU opens by path.
#[derive(Debug, Default)]
pub enum OpenFiles {
    /// The checkpoint has no image of open files.
    #[default]
    None,
    /// All of it, in the order of the mounts and paths.
    Known(Vec<OpenFile>),
    /// The images can't be read, or are invalid.
    Unusable(Error),
}

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
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether what it shows was deleted: CRIU makes it anew.
    pub deleted: bool,
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

/// Reads an image directory. An unusable image of open files is no error: see [`OpenFiles`].
///
/// # Errors
///
/// A mountpoints image can't be read, is invalid, or exceeds a limit.
pub fn read(directory: ImageDirectory) -> Result<Checkpoint, Error> {
    let names = Names::of(&directory)?;
    let mut budget = Budget::default();
    let mut namespaces = Vec::new();
    for &number in &names.mounts {
        let image = Image::Mounts(number);
        let namespace = directory.open_image(image, |content, file| {
            read_image(content, file, &mut budget)
        })?;
        namespaces.push(namespace);
    }
    let files = read_files(&directory, &names.files, &mut budget);
    let unusable = |error| (OpenFiles::Unusable(error), Sockets::default());
    let (files, sockets) = files.unwrap_or_else(unusable);
    Ok(Checkpoint {
        namespaces,
        files,
        sockets,
        tasks: Tasks::InDirectory {
            directory,
            tasks: names.tasks,
            machine: names.machine,
        },
        dump: Dump::default(),
    })
}

/// Reads one image of open files or of a task by its file name, for tests: its open files.
///
/// # Errors
///
/// It is another image, is invalid, or exceeds a limit.
pub fn parse_named(name: &str, mut bytes: &[u8]) -> Result<Vec<OpenFile>, Error> {
    let file = Path::new(name);
    let mut files = Files::default();
    match Image::named(name) {
        Some(Image::Files(kind)) => {
            files.read(&mut bytes, kind, file, &mut Budget::default())?;
        }
        Some(Image::Task(kind, number)) => {
            TaskTable::default().read(&mut bytes, kind, number)?;
        }
        Some(Image::Machine(kind)) => Machine::default().read(&mut bytes, kind, file)?,
        Some(Image::Mounts(_)) | None => {
            return Err(Error::invalid(file, "", "no image of files or tasks"));
        }
    }
    Ok(files.finish().0)
}

fn read_files(
    directory: &ImageDirectory,
    images: &[FilesImage],
    budget: &mut Budget,
) -> Result<(OpenFiles, Sockets), Error> {
    if images.is_empty() {
        return Ok((OpenFiles::None, Sockets::default()));
    }
    let mut files = Files::default();
    for &kind in images {
        directory.open_image(Image::Files(kind), |content, file| {
            files.read(content, kind, file, budget)
        })?;
    }
    let (files, sockets) = files.finish();
    Ok((OpenFiles::Known(files), sockets))
}

impl ImageDirectory {
    fn open_image<T>(
        &self,
        image: Image,
        read: impl FnOnce(&mut dyn BufRead, &Path) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let name = image.name();
        let file = self.path.join(&name);
        let (content, size) = input::open_file_in(self.fd.as_fd(), &name, &file)?;
        // Stopping at the size from fstat(2) saves the read(2) that would find the end of the file.
        let buffer = usize::try_from(size.min(BUFFER)).unwrap_or_default();
        let mut content = BufReader::with_capacity(buffer, content.take(size));
        read(&mut content, &file)
    }
}

/// The images in a directory.
#[derive(Default)]
struct Names {
    /// The sorted numbers of the namespaces: CRIU numbers them as it finds them, starting with the root
    /// process's.
    mounts: Vec<u32>,
    files: Vec<FilesImage>,
    tasks: Vec<(TaskImage, u32)>,
    machine: Vec<MachineImage>,
}

impl Names {
    fn of(directory: &ImageDirectory) -> Result<Self, Error> {
        let mut names = Self::default();
        let mut count = 0;
        // Stop after one image too many: the budget reports it.
        let listed = sys::list(directory.as_fd(), |name| {
            count += 1;
            match Image::named(name) {
                Some(Image::Mounts(number)) => names.mounts.push(number),
                Some(Image::Files(image)) => names.files.push(image),
                Some(Image::Task(image, number)) if names.tasks.len() < tasks::MAX_IMAGES => {
                    names.tasks.push((image, number));
                }
                Some(Image::Machine(image)) => names.machine.push(image),
                Some(Image::Task(..)) | None => {}
            }
            if count > MAX_NAMES || names.mounts.len() > Budget::MAX_NAMESPACES {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        listed.map_err(|errno| Error::Unreadable {
            file: directory.path.clone(),
            operation: "getdents64",
            errno,
        })?;
        if count > MAX_NAMES {
            let reason = format!("more than {MAX_NAMES} entries: not a CRIU image directory");
            return Err(Error::invalid(&directory.path, "", reason));
        }
        names.mounts.sort_unstable();
        Ok(names)
    }
}
