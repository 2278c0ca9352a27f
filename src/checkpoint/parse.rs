// SPDX-License-Identifier: Apache-2.0
//! An image of mounts, read entry by entry: of what an image has besides its mounts nothing is kept, and
//! no more of it is in memory at once than an entry.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufRead, ErrorKind};
use std::path::Path;

use prost::Message;

use super::{Budget, MountImage, Namespace};
use crate::error::Error;
use crate::input;
use crate::path::RelPath;

/// Most bytes in one entry: its paths have `PATH_MAX` at most, and its options a page.
const MAX_ENTRY: usize = 64 << 10;
/// Most bytes in the name of a file system: the kernel's have some twenty.
const MAX_FILE_SYSTEM: usize = 255;
/// What every image begins with, `IMG_COMMON_MAGIC`.
const COMMON_MAGIC: u32 = 0x5456_4319;
/// What comes next in an image of mounts, `MNTS_MAGIC`.
const MOUNTS_MAGIC: u32 = 0x5556_3928;

/// A mount as CRIU wrote it. Paths are bytes: CRIU doesn't check that its protobuf strings are UTF-8.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(uint32, required, tag = "1")]
    fstype: u32,
    #[prost(uint32, required, tag = "2")]
    mnt_id: u32,
    #[prost(uint32, required, tag = "3")]
    root_dev: u32,
    #[prost(uint32, required, tag = "4")]
    parent_mnt_id: u32,
    #[prost(bytes = "vec", required, tag = "6")]
    root: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "7")]
    mountpoint: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "14")]
    fsname: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "18")]
    ext_key: Option<Vec<u8>>,
}

/// Parses an image of mounts, with a budget of its own.
pub fn parse(bytes: &[u8], file: &Path) -> Result<Namespace, Error> {
    read_image(bytes, file, &mut Budget::default())
}

/// Reads an image of mounts to its end. Mounts with paths that no kernel writes are left out: they are
/// nowhere. `file` is what errors call it.
pub fn read_image(
    mut image: impl BufRead,
    file: &Path,
    budget: &mut Budget,
) -> Result<Namespace, Error> {
    budget.namespace(file)?;
    let failed = |error| input::failed(file, &error);
    let mut magic = take_number(&mut image).map_err(failed)?;
    if magic == Number::Is(COMMON_MAGIC) {
        magic = take_number(&mut image).map_err(failed)?;
    }
    if magic != Number::Is(MOUNTS_MAGIC) {
        return Err(Error::invalid(
            file,
            "",
            "not an image of mounts by its magic number",
        ));
    }
    let mut namespace = Namespace::default();
    let mut entry = Vec::new();
    let mut written = Entry::default();
    for index in 0.. {
        let invalid =
            |reason: &str| Error::invalid(file, format!("entry {index}"), reason.to_owned());
        let length = match take_number(&mut image).map_err(failed)? {
            Number::Is(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Number::Cut => return Err(invalid("truncated")),
            Number::End => break,
        };
        if length > MAX_ENTRY {
            return Err(invalid("too long"));
        }
        budget.mount(length, file)?;
        entry.resize(length, 0);
        image
            .read_exact(&mut entry)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => invalid("truncated"),
                _ => failed(error),
            })?;
        // Into the one before: its paths' memory is used again.
        written.clear();
        let parsed = written.merge(entry.as_slice());
        parsed.map_err(|error| invalid(&error.to_string()))?;
        if let Some(mount) = mount(&written) {
            budget.names(&mount, file)?;
            namespace.mounts.push(mount);
        }
    }
    let by_id: BTreeMap<u32, &MountImage> = namespace
        .mounts
        .iter()
        .map(|mount| (mount.id, mount))
        .collect();
    for mount in &namespace.mounts {
        if let Some(parent) = by_id.get(&mount.parent) {
            budget.directories(mount, parent, file)?;
        }
    }
    Ok(namespace)
}

fn mount(entry: &Entry) -> Option<MountImage> {
    // mountinfo's mountpoints begin with a dot in CRIU's own memory, and in old images.
    let mountpoint = entry
        .mountpoint
        .strip_prefix(b".")
        .unwrap_or(&entry.mountpoint);
    let file_system = match FILE_SYSTEMS.get(usize::try_from(entry.fstype).ok()?) {
        Some(&name) if !name.is_empty() => Cow::Borrowed(name),
        _ => match entry.fsname.as_deref() {
            Some(name) if name.len() <= MAX_FILE_SYSTEM => {
                String::from_utf8_lossy(name).into_owned().into()
            }
            _ => "other".into(),
        },
    };
    Some(MountImage {
        id: entry.mnt_id,
        parent: entry.parent_mnt_id,
        device: entry.root_dev,
        root: RelPath::from_absolute(&entry.root)?,
        mountpoint: RelPath::from_absolute(mountpoint)?,
        file_system,
        external: entry.ext_key.clone(),
    })
}

/// A number of an image.
#[derive(PartialEq)]
enum Number {
    Is(u32),
    /// The image ends in the middle of it.
    Cut,
    /// The image ended before it.
    End,
}

fn take_number(image: &mut impl BufRead) -> io::Result<Number> {
    let mut number = [0; 4];
    if is_at_end(image)? {
        return Ok(Number::End);
    }
    match image.read_exact(&mut number) {
        Ok(()) => Ok(Number::Is(u32::from_le_bytes(number))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Number::Cut),
        Err(error) => Err(error),
    }
}

fn is_at_end(image: &mut impl BufRead) -> io::Result<bool> {
    loop {
        match image.fill_buf() {
            Ok(rest) => return Ok(rest.is_empty()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The names of CRIU's `enum fstype`, by number.
const FILE_SYSTEMS: [&str; 24] = [
    "",
    "proc",
    "sysfs",
    "devtmpfs",
    "binfmt_misc",
    "tmpfs",
    "devpts",
    "simfs",
    "pstore",
    "securityfs",
    "fusectl",
    "debugfs",
    "cgroup",
    "aufs",
    "mqueue",
    "fuse",
    "",
    "overlay",
    "autofs",
    "tracefs",
    "",
    "",
    "",
    "cgroup2",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_of_mounts_is_refused() {
        let file = Path::new("mountpoints-1.img");
        let magic = [COMMON_MAGIC.to_le_bytes(), MOUNTS_MAGIC.to_le_bytes()].concat();
        assert!(parse(&magic, file).unwrap().mounts.is_empty());
        for (tail, reason) in [
            (&[1][..], "entry 0: truncated"),
            (&[9, 0, 0, 0, 1], "entry 0: truncated"),
            (&[255, 255, 255, 255], "entry 0: too long"),
            (&[1, 0, 0, 0, 255], "entry 0: "),
        ] {
            let error = parse(&[&magic[..], tail].concat(), file)
                .unwrap_err()
                .to_string();
            assert!(error.contains(reason), "{error}");
        }
        for bytes in [&b""[..], b"abc", b"abcdefgh", &magic[..4]] {
            let error = parse(bytes, file).unwrap_err().to_string();
            assert!(error.contains("magic number"), "{error}");
        }
    }
    /// Gives its bytes after an interruption, and then an I/O error.
    struct Odd<'a> {
        bytes: &'a [u8],
        interrupted: bool,
    }

    impl io::Read for Odd<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if !std::mem::replace(&mut self.interrupted, true) {
                return Err(ErrorKind::Interrupted.into());
            }
            if self.bytes.is_empty() {
                return Err(io::Error::from_raw_os_error(5));
            }
            self.bytes.read(out)
        }
    }

    #[test]
    fn an_image_that_can_not_be_read_is_none_that_ends() {
        let magic = [COMMON_MAGIC.to_le_bytes(), MOUNTS_MAGIC.to_le_bytes()].concat();
        // Behind the magic numbers, in the length of an entry, and in the entry.
        for tail in [&[][..], &[1], &[9, 0, 0, 0, 1]] {
            let image = [&magic[..], tail].concat();
            let odd = Odd {
                bytes: &image,
                interrupted: false,
            };
            let file = Path::new("mountpoints-1.img");
            let read = read_image(io::BufReader::new(odd), file, &mut Budget::default());
            let error = read.unwrap_err().to_string();
            assert_eq!(error, "mountpoints-1.img: read: I/O error (EIO)");
        }
    }
}
