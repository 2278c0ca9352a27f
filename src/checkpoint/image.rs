// SPDX-License-Identifier: Apache-2.0
//! The images of a checkpoint: their names, and their format, which all of them share (CRIU
//! criu/image-desc.c, criu/protobuf.c): magic numbers, then entries, each after its length.

use std::io::{self, BufRead, ErrorKind};
use std::path::Path;

use prost::Message;

use crate::error::Error;
use crate::input;

/// `IMG_COMMON_MAGIC`, at the start of every image.
const COMMON_MAGIC: u32 = 0x5456_4319;

/// An image that premount reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// `mountpoints-N.img`: the mounts of a namespace.
    Mounts(u32),
    /// Open files.
    Files(FilesImage),
    /// A part of a task, by the number in the name.
    Task(TaskImage, u32),
    /// The machine.
    Machine(MachineImage),
}

/// An image about the machine that the checkpoint was made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineImage {
    /// `inventory.img`.
    Inventory,
    /// `cgroup.img`.
    Cgroups,
}

/// An image of open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesImage {
    /// `files.img`: all of them (CRIU 3.3 and later).
    All,
    /// `reg-files.img`: what has a path.
    Regular,
    /// `fifo.img`.
    Fifos,
    /// `unixsk.img`.
    Sockets,
    /// `inotify.img`.
    Inotify,
    /// `inotify-wd.img`: the watches, if they are not in [`FilesImage::Inotify`].
    InotifyWatches,
    /// `fanotify.img`.
    Fanotify,
    /// `fanotify-mark.img`: the marks, if they are not in [`FilesImage::Fanotify`].
    FanotifyMarks,
    /// `remap-fpath.img`: the files that were deleted while they were open.
    Remaps,
}

/// An image of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskImage {
    /// `core-PID.img`: its credentials.
    Core,
    /// `creds-PID.img`: its credentials, before CRIU 1.8.
    Credentials,
    /// `fs-PID.img`: its working directory and root.
    Directories,
    /// `ids-PID.img`: the ID of its table of file descriptors.
    Ids,
    /// `mm-PID.img`: its executable and mapped files.
    Memory,
    /// `fdinfo-ID.img`: a table of file descriptors.
    Descriptors,
}

impl Image {
    /// The image with this file name, exactly as CRIU writes it.
    pub fn named(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".img")?;
        let of_files = |image| Some(Self::Files(image));
        match stem {
            "inventory" => return Some(Self::Machine(MachineImage::Inventory)),
            "cgroup" => return Some(Self::Machine(MachineImage::Cgroups)),
            "files" => return of_files(FilesImage::All),
            "reg-files" => return of_files(FilesImage::Regular),
            "fifo" => return of_files(FilesImage::Fifos),
            "unixsk" => return of_files(FilesImage::Sockets),
            "inotify" => return of_files(FilesImage::Inotify),
            "inotify-wd" => return of_files(FilesImage::InotifyWatches),
            "fanotify" => return of_files(FilesImage::Fanotify),
            "fanotify-mark" => return of_files(FilesImage::FanotifyMarks),
            "remap-fpath" => return of_files(FilesImage::Remaps),
            _ => {}
        }
        let (kind, number) = stem.rsplit_once('-')?;
        let plain = number.bytes().all(|byte| byte.is_ascii_digit());
        let padded = number.len() > 1 && number.starts_with('0');
        let number = number.parse().ok().filter(|_| plain && !padded)?;
        let of_task = |image| Some(Self::Task(image, number));
        match kind {
            "mountpoints" => Some(Self::Mounts(number)),
            "core" => of_task(TaskImage::Core),
            "creds" => of_task(TaskImage::Credentials),
            "fs" => of_task(TaskImage::Directories),
            "ids" => of_task(TaskImage::Ids),
            "mm" => of_task(TaskImage::Memory),
            "fdinfo" => of_task(TaskImage::Descriptors),
            _ => None,
        }
    }

    /// Its file name.
    pub fn name(self) -> String {
        match self {
            Self::Mounts(number) => format!("mountpoints-{number}.img"),
            Self::Files(image) => format!("{}.img", image.stem()),
            Self::Task(image, number) => format!("{}-{number}.img", image.stem()),
            Self::Machine(MachineImage::Inventory) => "inventory.img".to_owned(),
            Self::Machine(MachineImage::Cgroups) => "cgroup.img".to_owned(),
        }
    }

    /// The magic number that follows [`COMMON_MAGIC`] (CRIU criu/include/magic.h).
    fn magic(self) -> u32 {
        match self {
            Self::Mounts(_) => 0x5556_3928,
            Self::Files(image) => match image {
                FilesImage::All => 0x5630_3138,
                FilesImage::Regular => 0x5036_3636,
                FilesImage::Fifos => 0x5836_4939,
                FilesImage::Sockets => 0x5437_3943,
                FilesImage::Inotify => 0x4842_4431,
                FilesImage::InotifyWatches => 0x5456_2009,
                FilesImage::Fanotify => 0x5509_6122,
                FilesImage::FanotifyMarks => 0x5650_6035,
                FilesImage::Remaps => 0x5913_3954,
            },
            Self::Machine(MachineImage::Inventory) => 0x5831_3116,
            Self::Machine(MachineImage::Cgroups) => 0x5938_3330,
            Self::Task(image, _) => match image {
                TaskImage::Core => 0x5505_3847,
                TaskImage::Credentials => 0x5402_3547,
                TaskImage::Directories => 0x5140_3912,
                TaskImage::Ids => 0x5443_2030,
                TaskImage::Memory => 0x5749_2820,
                TaskImage::Descriptors => 0x5621_3732,
            },
        }
    }
}

impl FilesImage {
    fn stem(self) -> &'static str {
        match self {
            Self::All => "files",
            Self::Regular => "reg-files",
            Self::Fifos => "fifo",
            Self::Sockets => "unixsk",
            Self::Inotify => "inotify",
            Self::InotifyWatches => "inotify-wd",
            Self::Fanotify => "fanotify",
            Self::FanotifyMarks => "fanotify-mark",
            Self::Remaps => "remap-fpath",
        }
    }
}

impl TaskImage {
    fn stem(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Credentials => "creds",
            Self::Directories => "fs",
            Self::Ids => "ids",
            Self::Memory => "mm",
            Self::Descriptors => "fdinfo",
        }
    }
}

/// An entry of an image.
pub trait Entry: Message {
    /// Forgets what it was; it may keep memory that the next entry will need.
    fn forget(&mut self) {
        self.clear();
    }
}

/// The entries of an image. Only one is in memory at a time.
pub struct Entries<'a> {
    image: &'a mut dyn BufRead,
    file: &'a Path,
    /// Maximum bytes of an entry.
    longest: usize,
    /// How many have been read.
    count: usize,
    bytes: Vec<u8>,
}

impl<'a> Entries<'a> {
    /// Reads the magic numbers. Errors name `file`.
    ///
    /// # Errors
    ///
    /// It can't be read, or is another image.
    pub fn new(
        image: &'a mut dyn BufRead,
        kind: Image,
        file: &'a Path,
        longest: usize,
    ) -> Result<Self, Error> {
        let failed = |error| input::failed(file, &error);
        let mut magic = read_word(image).map_err(failed)?;
        if magic == Word::Value(COMMON_MAGIC) {
            magic = read_word(image).map_err(failed)?;
        }
        if magic != Word::Value(kind.magic()) {
            let reason = match kind {
                Image::Mounts(_) => "not a mountpoints image: wrong magic number",
                _ => "not such an image: wrong magic number",
            };
            return Err(Error::invalid(file, "", reason));
        }
        Ok(Self {
            image,
            file,
            longest,
            count: 0,
            bytes: Vec::new(),
        })
    }

    /// Reads the next entry into `entry`, whose memory is used again. `allow` is asked with its size in bytes
    /// before. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The image can't be read or is invalid, or `allow` refuses.
    pub fn next<M: Entry>(
        &mut self,
        entry: &mut M,
        allow: impl FnOnce(usize) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let Some(size) = self.size()? else {
            return Ok(false);
        };
        allow(size)?;
        self.fill(size)?;
        entry.forget();
        let parsed = entry.merge(self.bytes.as_slice());
        parsed.map_err(|error| self.invalid(&error.to_string()))?;
        self.count += 1;
        Ok(true)
    }

    /// The size of the next entry; none at the end.
    fn size(&mut self) -> Result<Option<usize>, Error> {
        let read = read_word(self.image).map_err(|error| input::failed(self.file, &error))?;
        let size = match read {
            Word::Value(size) => usize::try_from(size).unwrap_or(usize::MAX),
            Word::Truncated => return Err(self.invalid("truncated")),
            Word::End => return Ok(None),
        };
        if size > self.longest {
            return Err(self.invalid("too long"));
        }
        Ok(Some(size))
    }

    fn fill(&mut self, size: usize) -> Result<(), Error> {
        self.bytes.resize(size, 0);
        let read = self.image.read_exact(&mut self.bytes);
        read.map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.invalid("truncated"),
            _ => input::failed(self.file, &error),
        })
    }

    fn invalid(&self, reason: &str) -> Error {
        Error::invalid(self.file, format!("entry {}", self.count), reason)
    }
}

/// A 32-bit number in an image.
#[derive(PartialEq)]
enum Word {
    Value(u32),
    /// The image ends in the middle of the number.
    Truncated,
    /// The image ends before the number.
    End,
}

fn read_word(image: &mut dyn BufRead) -> io::Result<Word> {
    let mut number = [0; 4];
    if is_at_end(image)? {
        return Ok(Word::End);
    }
    match image.read_exact(&mut number) {
        Ok(()) => Ok(Word::Value(u32::from_le_bytes(number))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Word::Truncated),
        Err(error) => Err(error),
    }
}

fn is_at_end(image: &mut dyn BufRead) -> io::Result<bool> {
    loop {
        match image.fill_buf() {
            Ok(rest) => return Ok(rest.is_empty()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_name() {
        for (name, is) in [
            ("mountpoints-0.img", Some(Image::Mounts(0))),
            ("mountpoints-12.img", Some(Image::Mounts(12))),
            ("mountpoints-4294967295.img", Some(Image::Mounts(u32::MAX))),
            ("mountpoints-4294967296.img", None),
            ("mountpoints-012.img", None),
            ("mountpoints-00.img", None),
            ("mountpoints-+1.img", None),
            ("mountpoints-.img", None),
            ("mountpoints-1.img.tmp", None),
            ("fs-1.img", Some(Image::Task(TaskImage::Directories, 1))),
            ("fs-.img", None),
            ("files.img", Some(Image::Files(FilesImage::All))),
            ("files-1.img", None),
            (
                "inotify-wd.img",
                Some(Image::Files(FilesImage::InotifyWatches)),
            ),
            ("pages-1.img", None),
        ] {
            let image = Image::named(name);
            assert_eq!(image, is, "{name}");
            if let Some(image) = image {
                assert_eq!(image.name(), name);
            }
        }
    }
}
