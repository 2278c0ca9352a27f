// SPDX-License-Identifier: Apache-2.0
//! A checkpoint in any form that users have: CRIU's image directory, the directory around it, or an archive
//! as exported by CRI-O and Podman (tar, tar.gz, tar.zst). Archives are read as a stream and never unpacked
//! to disk.

mod inflated;
mod members;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::checkpoint::dump::{Dump, DumpFile};
use crate::checkpoint::files::Files;
use crate::checkpoint::image::{Image, TaskImage};
use crate::checkpoint::machine::Machine;
use crate::checkpoint::tasks::TaskTable;
use crate::checkpoint::{self, Budget, Checkpoint, ImageDirectory, OpenFiles, Tasks};
use crate::error::Error;
use crate::{input, sys};
use members::Members;

/// The image directory in an archive and in an engine's storage.
const DIRECTORY: &str = "checkpoint";
/// The magic number of gzip (RFC 1952).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// The magic number of a Zstandard frame (RFC 8878).
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The end of the magic number of a skippable Zstandard frame; the first byte varies.
const SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
/// Bytes per read.
const BUFFER: usize = 64 << 10;

/// Reads a checkpoint.
///
/// # Errors
///
/// The checkpoint can't be read, is invalid, contains no mountpoints images, or exceeds a limit.
pub fn read(checkpoint: &Path) -> Result<Checkpoint, Error> {
    let unreadable = |operation| {
        move |errno| Error::Unreadable {
            file: checkpoint.to_owned(),
            operation,
            errno,
        }
    };
    // O_NONBLOCK: don't wait for a writer on a FIFO.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let fd = open(checkpoint, flags, Mode::empty()).map_err(unreadable("open"))?;
    let stat = fstat(&fd).map_err(unreadable("fstat"))?;
    let read = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => from_directory(checkpoint)?,
        SFlag::S_IFREG => from_archive(File::from(fd), checkpoint)?,
        _ => {
            return Err(Error::invalid(
                checkpoint,
                "",
                "neither a directory nor an archive",
            ));
        }
    };
    if read.namespaces.is_empty() {
        let reason = "contains no mountpoints-*.img: not a checkpoint";
        return Err(Error::invalid(checkpoint, "", reason));
    }
    Ok(read)
}

fn from_directory(directory: &Path) -> Result<Checkpoint, Error> {
    let mut found = checkpoint::read(ImageDirectory::open(directory)?)?;
    let below = directory.join(DIRECTORY);
    if found.namespaces.is_empty() && sys::open_root(&below).is_ok() {
        found = checkpoint::read(ImageDirectory::open(&below)?)?;
    }
    let opened = sys::open_directory(directory).map_err(|errno| Error::Unreadable {
        file: directory.to_owned(),
        operation: "open",
        errno,
    })?;
    for kind in DumpFile::ALL {
        let file = directory.join(kind.name());
        match sys::open_as_path(opened.as_fd(), kind.name()) {
            // Not through a link: whoever made the archive would choose where it leads.
            Ok(path) => match sys::reopen_regular(path.as_fd()) {
                Some(content) => found.dump.read(content, kind, &file),
                None => found
                    .dump
                    .unusable(kind, Error::invalid(&file, "", "not a regular file")),
            },
            Err(Errno::ENOENT) => {}
            Err(errno) => found.dump.unusable(
                kind,
                Error::Unreadable {
                    file,
                    operation: "openat",
                    errno,
                },
            ),
        }
    }
    Ok(found)
}

fn from_archive(mut file: File, name: &Path) -> Result<Checkpoint, Error> {
    let failed = |error| failed(name, &error);
    let mut magic = Vec::new();
    file.by_ref()
        .take(4)
        .read_to_end(&mut magic)
        .map_err(failed)?;
    file.rewind().map_err(failed)?;
    if magic.starts_with(GZIP) {
        from_stream(inflated::gzip(file), name)
    } else if magic == ZSTD || magic.ends_with(SKIPPABLE) {
        from_stream(inflated::zstandard(file).map_err(failed)?, name)
    } else {
        from_tar(
            BufReader::with_capacity(BUFFER, file),
            skip_by_seeking,
            name,
        )
    }
}

fn from_stream(stream: impl Read, name: &Path) -> Result<Checkpoint, Error> {
    from_tar(
        BufReader::with_capacity(BUFFER, stream),
        skip_by_reading,
        name,
    )
}

fn from_tar<S: BufRead>(
    stream: S,
    skip: fn(&mut S, u64) -> io::Result<()>,
    name: &Path,
) -> Result<Checkpoint, Error> {
    let failed = |error| failed(name, &error);
    let mut budget = Budget::default();
    let mut namespaces = BTreeMap::new();
    let mut files = Files::default();
    let mut unusable = None;
    let mut has_files = false;
    let mut tasks = TaskTable::default();
    let mut machine = Machine::default();
    let mut dump = Dump::default();
    let mut members = Members::new(stream, skip);
    while let Some(member) = members.next().map_err(failed)? {
        let path = Path::new(OsStr::from_bytes(&member.path));
        let (image, dumped) = (image(path), DumpFile::at(path));
        if image.is_none() && dumped.is_none() {
            continue;
        }
        let file = name.join(path);
        if member.is_sparse {
            let reason = "a sparse file: unpack the archive and pass the directory";
            let error = Error::invalid(&file, "", reason);
            let Some(kind) = dumped else {
                return Err(error);
            };
            dump.unusable(kind, error);
            continue;
        }
        if let Some(kind) = dumped {
            members.read(|content| {
                dump.read(content, kind, &file);
                Ok(())
            })?;
        }
        let Some(image) = image else { continue };
        members.read(|content| match image {
            Image::Mounts(number) => {
                let namespace = checkpoint::read_image(content, &file, &mut budget)?;
                // The last of several with the same name wins, as it does when an archive is unpacked.
                namespaces.insert(number, namespace);
                Ok(())
            }
            Image::Files(kind) => {
                has_files = true;
                if let Err(error) = files.read(content, kind, &file, &mut budget) {
                    unusable.get_or_insert(error);
                }
                Ok(())
            }
            Image::Machine(kind) => {
                machine.is_partial |= machine.read(content, kind, &file).is_err();
                Ok(())
            }
            Image::Task(kind, number) => {
                // CRIU will report what it can't read.
                let done = tasks.read(content, kind, number);
                machine.is_partial |= done.is_err() && kind == TaskImage::Core;
                Ok(())
            }
        })?;
    }
    members.finish().map_err(failed)?;
    let (files, sockets) = files.finish();
    Ok(Checkpoint {
        namespaces: namespaces.into_values().collect(),
        files: match unusable {
            Some(error) => OpenFiles::Unusable(error),
            None if has_files => OpenFiles::Known(files),
            None => OpenFiles::None,
        },
        sockets,
        tasks: Tasks::Read {
            table: Box::new(tasks),
            machine: Box::new(machine),
        },
        dump,
    })
}

/// Skips bytes of a file without reading them, except for the last one, which detects a truncated file.
fn skip_by_seeking(file: &mut BufReader<File>, size: u64) -> io::Result<()> {
    let before = i64::try_from(size - 1).map_err(io::Error::other)?;
    file.seek_relative(before)?;
    file.read_exact(&mut [0])
}

fn skip_by_reading(stream: &mut impl BufRead, mut size: u64) -> io::Result<()> {
    while size > 0 {
        let available = match stream.fill_buf() {
            Ok(buffered) => buffered.len(),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let skipped = available.min(usize::try_from(size).unwrap_or(usize::MAX));
        stream.consume(skipped);
        size -= skipped as u64;
    }
    Ok(())
}

/// Converts an error from reading an archive.
fn failed(name: &Path, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::invalid(name, "", "truncated"),
        _ => input::failed(name, error),
    }
}

/// The image with this path, if it is where engines put images.
fn image(path: &Path) -> Option<Image> {
    let mut parts = path.components().filter(|part| part.as_os_str() != ".");
    let mut name = parts.next()?.as_os_str();
    if name == DIRECTORY {
        name = parts.next()?.as_os_str();
    }
    if parts.next().is_some() {
        return None;
    }
    Image::named(name.to_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_where_engines_put_them() {
        for (path, found) in [
            ("checkpoint/mountpoints-12.img", Some(Image::Mounts(12))),
            ("./checkpoint/mountpoints-12.img", Some(Image::Mounts(12))),
            ("mountpoints-3.img", Some(Image::Mounts(3))),
            ("other/mountpoints-12.img", None),
            ("checkpoint/../mountpoints-12.img", None),
            ("checkpoint/deeper/mountpoints-12.img", None),
            ("checkpoint/mountpoints-.img", None),
            ("checkpoint", None),
        ] {
            assert_eq!(image(Path::new(path)), found, "{path}");
        }
    }
}
