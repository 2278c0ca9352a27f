// SPDX-License-Identifier: Apache-2.0
//! What the tasks of a checkpoint hold open by path: from `files.img`, or from the images that CRIU had for
//! each kind before (CRIU images/fdinfo.proto, regfile.proto, fifo.proto, sk-unix.proto, fsnotify.proto).

mod messages;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::Path;

use nix::libc::{
    O_ACCMODE, O_APPEND, O_DIRECTORY, O_WRONLY, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG,
};

use super::Budget;
use super::image::{Entries, Entry, FilesImage, Image};
use crate::error::Error;
use crate::path::RelPath;
use messages::{
    FanotifyFile, FanotifyMark, Fifo, File, Handle, InotifyFile, InotifyWatch, Regular, Remap,
    Socket,
};
pub use sockets::Sockets;

/// Maximum bytes in one entry: a path has at most `PATH_MAX`, but one inotify file can have thousands of
/// watches, each with a path.
const MAX_ENTRY: usize = 4 << 20;
/// Maximum words of a build ID (CRIU criu/files-reg.c, `BUILD_ID_MAP_SIZE` and its limit of 512 bytes).
const MAX_BUILD_ID: usize = 128;
/// `SOCK_DGRAM` (socket(2)).
const DATAGRAM: u32 = 2;
/// `TCP_ESTABLISHED`, which CRIU also has for Unix sockets.
const ESTABLISHED: u32 = 1;
/// `USK_EXTERN`: the other end of a connection that left the container.
const EXTERNAL: u32 = 1;
/// The events of a watch that only a directory has (inotify(7)): something in it is created, deleted or
/// moved.
const DIRECTORY_EVENTS: u32 = 0x40 | 0x80 | 0x100 | 0x200;
/// `FAN_ONDIR` and `FAN_EVENT_ON_CHILD` (`fanotify_mark(2)`).
const FANOTIFY_DIRECTORY: u32 = 0x4000_0000 | 0x0800_0000;

/// Something that CRIU opens by its path when it restores a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFile {
    /// CRIU's ID, by which tasks refer to it.
    pub id: u32,
    /// The mount that it is in, by its ID; none if the checkpoint doesn't tell.
    pub mount: Option<u32>,
    /// Its path in the mount namespace.
    pub path: RelPath,
    /// What has to be there.
    pub kind: OpenKind,
    /// Its mode with the kind (`st_mode`, inode(7)), if the checkpoint has it.
    pub mode: Option<u32>,
    /// Its size in bytes, if CRIU compares it.
    pub size: Option<u64>,
    /// The build ID of a program or library, padded to a multiple of four bytes.
    pub build_id: Option<Box<[u8]>>,
}

/// What has to be at the path of an [`OpenFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpenKind {
    /// A directory: a working directory, a root, an open one, or one with a watch.
    Directory,
    /// The directory that a socket's name is in. CRIU creates the name.
    SocketDirectory,
    /// A FIFO.
    Fifo,
    /// A regular file that was empty.
    EmptyFile,
    /// A regular file with content, or which may have some.
    File,
    /// A regular file opened for appending alone, whose size CRIU ignores (a log).
    Log,
    /// A device.
    Device,
    /// The name of a socket, where nothing else may be: CRIU creates it.
    Socket,
    /// A file that was deleted while it was open: CRIU creates it for a moment.
    Deleted,
    /// The checkpoint doesn't tell.
    Unknown,
}

impl OpenKind {
    /// Whether premount may create it.
    pub fn can_be_created(self) -> bool {
        !matches!(
            self,
            Self::File | Self::Device | Self::Socket | Self::Deleted
        )
    }

    /// Whether something else may have the same path: what CRIU creates is no file yet.
    pub fn is_to_be(self) -> bool {
        matches!(self, Self::Socket | Self::Deleted)
    }
}

/// Collects open files from all images that have some.
#[derive(Debug, Default)]
pub struct Files {
    all: Vec<OpenFile>,
    /// The IDs of FIFOs, by the IDs of the files that have their paths.
    fifos: BTreeMap<u32, u32>,
    sockets: Sockets,
    /// The IDs of files that were deleted while they were open. CRIU brings them back itself.
    deleted: BTreeSet<u32>,
}

impl Files {
    /// Reads an image to its end. Leaves out paths that no kernel would write. Errors name `file`.
    ///
    /// # Errors
    ///
    /// The image can't be read, is invalid, or exceeds the budget.
    pub fn read(
        &mut self,
        image: &mut dyn BufRead,
        kind: FilesImage,
        file: &Path,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        match kind {
            FilesImage::All => self.entries(image, kind, file, budget, Self::add),
            FilesImage::Regular => self.entries(image, kind, file, budget, Self::add_regular),
            FilesImage::Fifos => self.entries(image, kind, file, budget, Self::add_fifo),
            FilesImage::Sockets => self.entries(image, kind, file, budget, Self::add_socket),
            FilesImage::Inotify => self.entries(image, kind, file, budget, Self::add_inotify),
            FilesImage::InotifyWatches => {
                self.entries(image, kind, file, budget, |files, watch: &InotifyWatch| {
                    files.add_inotify_watch(watch.id, watch);
                })
            }
            FilesImage::Fanotify => self.entries(image, kind, file, budget, Self::add_fanotify),
            FilesImage::FanotifyMarks => {
                self.entries(image, kind, file, budget, |files, mark: &FanotifyMark| {
                    files.add_fanotify_mark(mark.id, mark);
                })
            }
            FilesImage::Remaps => {
                self.entries(image, kind, file, budget, |files, remap: &Remap| {
                    files.deleted.insert(remap.orig_id);
                })
            }
        }
    }

    fn entries<M: Entry + Default>(
        &mut self,
        image: &mut dyn BufRead,
        kind: FilesImage,
        file: &Path,
        budget: &mut Budget,
        add: impl Fn(&mut Self, &M),
    ) -> Result<(), Error> {
        let mut entries = Entries::new(image, Image::Files(kind), file, MAX_ENTRY)?;
        let mut entry = M::default();
        let mut ids = self.ids();
        while entries.next(&mut entry, |size| budget.open_file(size, file))? {
            let before = self.all.len();
            add(self, &entry);
            for open in self.all.iter().skip(before) {
                budget.open_file_kept(open, file)?;
            }
            if self.ids() > ids {
                ids = self.ids();
                budget.id_of_open_file(file)?;
            }
        }
        Ok(())
    }

    /// How many IDs are kept besides those of the open files.
    fn ids(&self) -> usize {
        self.fifos.len() + self.deleted.len()
    }

    /// All that CRIU opens where the tasks had it open, each path once.
    pub fn finish(self) -> (Vec<OpenFile>, Sockets) {
        let mut all = self.all;
        for open in &mut all {
            if self.deleted.contains(&open.id) {
                *open = OpenFile {
                    mount: open.mount,
                    path: std::mem::take(&mut open.path),
                    ..Self::open(open.id, None, OpenKind::Deleted)
                };
            }
            // Tasks refer to the FIFO, not to the file with its path.
            if let Some(&fifo) = self.fifos.get(&open.id) {
                open.id = fifo;
                if open.kind == OpenKind::Unknown {
                    open.kind = OpenKind::Fifo;
                }
            }
        }
        // What tells more comes first.
        all.sort_by(|a, b| {
            let key = |open: &OpenFile| (open.mode.is_none(), open.kind, open.id);
            (a.mount, &a.path)
                .cmp(&(b.mount, &b.path))
                .then_with(|| key(a).cmp(&key(b)))
        });
        // A file can be open more than once; CRIU compares it each time.
        all.dedup_by(|later, first| {
            let to_be = |open: &OpenFile| open.kind.is_to_be().then_some(open.kind);
            let is_same = (later.mount, &later.path) == (first.mount, &first.path)
                && to_be(later) == to_be(first);
            if is_same {
                first.size = first.size.or(later.size);
                if first.build_id.is_none() {
                    first.build_id = later.build_id.take();
                }
                if (first.kind, later.kind) == (OpenKind::Log, OpenKind::File)
                    || first.kind == OpenKind::Log && first.size.is_some_and(|size| size > 0)
                {
                    first.kind = OpenKind::File;
                }
            }
            is_same
        });
        (all, self.sockets)
    }

    fn add(&mut self, file: &File) {
        if let Some(regular) = &file.reg {
            self.add_regular(regular);
        }
        if let Some(fifo) = &file.fifo {
            self.add_fifo(fifo);
        }
        if let Some(socket) = &file.usk {
            self.add_socket(socket);
        }
        if let Some(socket) = &file.isk {
            self.sockets.add(socket);
        }
        if let Some(inotify) = &file.ify {
            self.add_inotify(inotify);
        }
        if let Some(fanotify) = &file.ffy {
            self.add_fanotify(fanotify);
        }
    }

    fn add_regular(&mut self, file: &Regular) {
        // No file at all, but what is left of the entry before.
        if file.name.is_empty() {
            return;
        }
        // A file of the runtime's own, which it passes to CRIU.
        if file.ext == Some(true) {
            return;
        }
        // Signed for open(2), unsigned in the image.
        let flags = i32::from_ne_bytes(file.flags.to_ne_bytes());
        let is_empty = file.size == Some(0);
        let has_content = file.size.is_some_and(|size| size > 0);
        let is_log = flags & O_ACCMODE == O_WRONLY && flags & O_APPEND != 0;
        let kind = match file.mode.map(|mode| mode & S_IFMT) {
            Some(S_IFDIR) => OpenKind::Directory,
            Some(S_IFIFO) => OpenKind::Fifo,
            Some(S_IFREG) if is_empty => OpenKind::EmptyFile,
            Some(S_IFREG) if file.size.is_none() && is_log => OpenKind::Log,
            Some(S_IFREG) => OpenKind::File,
            Some(S_IFCHR | S_IFBLK) => OpenKind::Device,
            Some(_) => return,
            None if has_content => OpenKind::File,
            None if is_empty => OpenKind::EmptyFile,
            None if flags & O_DIRECTORY != 0 => OpenKind::Directory,
            None => OpenKind::Unknown,
        };
        self.push(
            OpenFile {
                mode: file.mode,
                size: file.size,
                build_id: build_id(&file.build_id),
                ..Self::open(file.id, file.mnt_id, kind)
            },
            &file.name,
        );
    }

    fn add_fifo(&mut self, fifo: &Fifo) {
        self.fifos.insert(fifo.regf_id.unwrap_or(fifo.id), fifo.id);
    }

    fn add_socket(&mut self, socket: &Socket) {
        // Somebody else has bound it, by a name of another view.
        if socket.uflags.is_some_and(|flags| flags & EXTERNAL != 0) {
            self.sockets.add_external(&socket.name);
            return;
        }
        // A connection has the name of the socket that accepted it, and doesn't bind it.
        let is_bound = socket.r#type == DATAGRAM || socket.state != ESTABLISHED;
        if !is_bound || socket.deleted == Some(true) {
            return;
        }
        let end = socket.name.iter().position(|&byte| byte == 0);
        let (name, _) = socket.name.split_at(end.unwrap_or(socket.name.len()));
        // Abstract, or none.
        if name.is_empty() {
            return;
        }
        let path = if name.starts_with(b"/") {
            name.to_vec()
        } else {
            let Some(directory) = &socket.name_dir else {
                return;
            };
            [directory.as_slice(), b"/", name].concat()
        };
        let Some(last) = path.iter().rposition(|&byte| byte == b'/') else {
            return;
        };
        let (directory, _) = path.split_at(last.max(1));
        let open = |kind| Self::open(socket.id, socket.mnt_id, kind);
        self.push(open(OpenKind::SocketDirectory), directory);
        self.push(open(OpenKind::Socket), &path);
    }

    fn add_inotify(&mut self, file: &InotifyFile) {
        for watch in &file.wd {
            self.add_inotify_watch(file.id, watch);
        }
    }

    fn add_inotify_watch(&mut self, id: u32, watch: &InotifyWatch) {
        let is_directory = watch.mask & DIRECTORY_EVENTS != 0;
        self.add_watched(id, watch.f_handle.as_ref(), is_directory);
    }

    fn add_fanotify(&mut self, file: &FanotifyFile) {
        for mark in &file.mark {
            self.add_fanotify_mark(file.id, mark);
        }
    }

    fn add_fanotify_mark(&mut self, id: u32, mark: &FanotifyMark) {
        let is_directory = (mark.mask | mark.ignored_mask) & FANOTIFY_DIRECTORY != 0;
        if let Some(inode) = &mark.ie {
            self.add_watched(id, inode.f_handle.as_ref(), is_directory);
        }
    }

    fn add_watched(&mut self, id: u32, handle: Option<&Handle>, is_directory: bool) {
        let Some((path, mount)) = handle.and_then(|handle| Some((handle.path.as_ref()?, handle)))
        else {
            return;
        };
        let mount = mount.mnt_id.and_then(|id| i32::try_from(id).ok());
        let kind = if is_directory {
            OpenKind::Directory
        } else {
            OpenKind::Unknown
        };
        self.push(Self::open(id, mount, kind), path);
    }

    /// An open file that has no path yet.
    fn open(id: u32, mount: Option<i32>, kind: OpenKind) -> OpenFile {
        OpenFile {
            id,
            // -1: unknown.
            mount: mount.and_then(|id| u32::try_from(id).ok()),
            path: RelPath::default(),
            kind,
            mode: None,
            size: None,
            build_id: None,
        }
    }

    fn push(&mut self, mut open: OpenFile, path: &[u8]) {
        let Some(path) = RelPath::from_absolute(path) else {
            return;
        };
        // The root of a namespace is there.
        if !path.view().is_root() {
            open.path = path;
            self.all.push(open);
        }
    }
}

/// A build ID from the words of an image.
fn build_id(words: &[u32]) -> Option<Box<[u8]>> {
    let is_one = (1..=MAX_BUILD_ID).contains(&words.len());
    is_one.then(|| words.iter().flat_map(|word| word.to_le_bytes()).collect())
}
