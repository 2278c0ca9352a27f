// SPDX-License-Identifier: Apache-2.0
//! A checkpoint as people have it: CRIU's image directory, the directory that it is in, or an archive
//! as CRI-O and Podman export one (tar, tar.gz, tar.zst). An archive is read as a stream, and nothing
//! of it is put on a disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::error::Error;
use crate::images::{self, Namespace};
use crate::{input, sys};

/// The directory of the images in an archive and in an engine's storage.
const DIRECTORY: &str = "checkpoint";
/// What a gzip file begins with (RFC 1952).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// What a Zstandard frame begins with (RFC 8878).
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Reads the mount namespaces of a checkpoint.
pub fn read(checkpoint: &Path) -> Result<Vec<Namespace>, Error> {
    let unreadable = |operation| {
        move |errno| Error::Unreadable {
            file: checkpoint.to_owned(),
            operation,
            errno,
        }
    };
    // O_NONBLOCK: a FIFO is an error, and nothing to wait for.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let fd = open(checkpoint, flags, Mode::empty()).map_err(unreadable("open"))?;
    let stat = fstat(&fd).map_err(unreadable("fstat"))?;
    let namespaces = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
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
    if namespaces.is_empty() {
        let reason = "no mountpoints-*.img in it: not a checkpoint";
        return Err(Error::invalid(checkpoint, "", reason));
    }
    Ok(namespaces)
}

fn from_directory(directory: &Path) -> Result<Vec<Namespace>, Error> {
    let here = images::read(directory)?;
    let below = directory.join(DIRECTORY);
    if here.is_empty() && sys::open_root(&below).is_ok() {
        return images::read(&below);
    }
    Ok(here)
}

fn from_archive(mut file: File, name: &Path) -> Result<Vec<Namespace>, Error> {
    let damaged = |error: std::io::Error| Error::invalid(name, "", error.to_string());
    let mut magic = Vec::new();
    file.by_ref()
        .take(4)
        .read_to_end(&mut magic)
        .map_err(damaged)?;
    file.rewind().map_err(damaged)?;
    let file = BufReader::with_capacity(1 << 16, file);
    if magic.starts_with(GZIP) {
        from_tar(flate2::bufread::MultiGzDecoder::new(file), name)
    } else if magic == ZSTD {
        let stream = ruzstd::decoding::StreamingDecoder::new(file);
        let stream = stream.map_err(|error| Error::invalid(name, "", error.to_string()))?;
        from_tar(stream, name)
    } else {
        from_tar(file, name)
    }
}

fn from_tar(stream: impl Read, name: &Path) -> Result<Vec<Namespace>, Error> {
    let damaged = |error: std::io::Error| Error::invalid(name, "", error.to_string());
    let mut images = BTreeMap::new();
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = PathBuf::from(entry.path().map_err(damaged)?);
        let Some(number) = number(&path) else {
            continue;
        };
        let file = name.join(&path);
        let bytes = input::read_stream(&mut entry, &file, images::MAX_SIZE)?;
        // Of two with one name the later counts, as it would when unpacked.
        images.insert(number, images::parse(&bytes, &file)?);
    }
    Ok(images.into_values().collect())
}

/// The number of an image of mounts, at the place where images are.
fn number(path: &Path) -> Option<u32> {
    let mut parts = path.components().filter(|part| part.as_os_str() != ".");
    let mut name = parts.next()?.as_os_str();
    if name == DIRECTORY {
        name = parts.next()?.as_os_str();
    }
    if parts.next().is_some() {
        return None;
    }
    images::number(name.to_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_where_engines_put_them() {
        for (path, found) in [
            ("checkpoint/mountpoints-12.img", Some(12)),
            ("./checkpoint/mountpoints-12.img", Some(12)),
            ("mountpoints-3.img", Some(3)),
            ("other/mountpoints-12.img", None),
            ("checkpoint/../mountpoints-12.img", None),
            ("checkpoint/deeper/mountpoints-12.img", None),
            ("checkpoint/mountpoints-.img", None),
            ("checkpoint", None),
        ] {
            assert_eq!(number(Path::new(path)), found, "{path}");
        }
    }
}
