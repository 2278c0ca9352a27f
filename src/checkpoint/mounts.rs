// SPDX-License-Identifier: Apache-2.0
//! The mounts of a namespace, from a mountpoints image (CRIU images/mnt.proto).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use prost::Message;

use super::image::{Entries, Entry, Image};
use super::{Budget, MountImage, Namespace};
use crate::error::Error;
use crate::path::RelPath;

/// Maximum bytes in one entry: a path has at most `PATH_MAX`, the mount options at most a page.
const MAX_ENTRY: usize = 64 << 10;
/// Maximum bytes in a file system's name: the kernel's have at most about twenty.
const MAX_FILE_SYSTEM: usize = 255;
/// `MS_RDONLY` (mount(2)) in the flags of a mount.
const READ_ONLY: u32 = 1;

/// A mount as written by CRIU. Paths are bytes: CRIU doesn't check that its protobuf strings are UTF-8.
#[derive(Clone, PartialEq, Message)]
struct MountEntry {
    #[prost(uint32, required, tag = "1")]
    fstype: u32,
    #[prost(uint32, required, tag = "2")]
    mnt_id: u32,
    #[prost(uint32, required, tag = "3")]
    root_dev: u32,
    #[prost(uint32, required, tag = "4")]
    parent_mnt_id: u32,
    #[prost(uint32, required, tag = "5")]
    flags: u32,
    #[prost(bytes = "vec", required, tag = "6")]
    root: Vec<u8>,
    #[prost(bytes = "vec", required, tag = "7")]
    mountpoint: Vec<u8>,
    #[prost(bool, optional, tag = "16")]
    deleted: Option<bool>,
    #[prost(bytes = "vec", optional, tag = "14")]
    fsname: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "18")]
    ext_key: Option<Vec<u8>>,
}

impl Entry for MountEntry {}

/// Parses a mountpoints image, with its own budget.
///
/// # Errors
///
/// The image is invalid or exceeds a limit.
pub fn parse(bytes: &[u8], file: &Path) -> Result<Namespace, Error> {
    read_image(&mut &*bytes, file, &mut Budget::default())
}

/// Reads a mountpoints image to its end. Leaves out mounts with paths that no kernel would write. Errors name
/// `file`.
///
/// # Errors
///
/// The image can't be read, is invalid, or exceeds the budget.
pub fn read_image(
    image: &mut dyn BufRead,
    file: &Path,
    budget: &mut Budget,
) -> Result<Namespace, Error> {
    budget.namespace(file)?;
    let mut entries = Entries::new(image, Image::Mounts(0), file, MAX_ENTRY)?;
    let mut namespace = Namespace::default();
    let mut entry = MountEntry::default();
    while entries.next(&mut entry, |size| budget.mount(size, file))? {
        if let Some(mount) = mount(&entry) {
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

fn mount(entry: &MountEntry) -> Option<MountImage> {
    // In CRIU's memory, and so in old images, mountpoints start with a dot.
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
        read_only: entry.flags & READ_ONLY != 0,
        deleted: entry.deleted == Some(true),
    })
}

/// The file systems of CRIU's `enum fstype`, in its order.
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
    use std::io::{self, ErrorKind};

    use super::*;

    const COMMON_MAGIC: u32 = 0x5456_4319;
    const MOUNTS_MAGIC: u32 = 0x5556_3928;

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
            let read = read_image(&mut io::BufReader::new(odd), file, &mut Budget::default());
            let error = read.unwrap_err().to_string();
            assert_eq!(error, "mountpoints-1.img: read: I/O error (EIO)");
        }
    }
}
