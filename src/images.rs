// SPDX-License-Identifier: Apache-2.0
//! The mounts of a checkpoint, from CRIU's images `mountpoints-*.img`: a file for each mount
//! namespace, with every mount in it, its mountpoint resolved, whoever made it (CRIU
//! images/mnt.proto; criu/include/magic.h).
//!
//! A checkpoint is somebody else's input. What is read here is bounded, and names places at most.

use std::os::fd::AsFd;
use std::path::Path;

use prost::Message;

use crate::error::Error;
use crate::{input, sys};

/// Most bytes in one image: some 300,000 mounts.
pub const MAX_SIZE: usize = 64 << 20;
/// Most mount namespaces.
const MAX_NAMESPACES: usize = 1024;
/// Most bytes in one entry: its paths have `PATH_MAX` at most, and its options a page.
const MAX_ENTRY: usize = 64 << 10;
/// What every image begins with, `IMG_COMMON_MAGIC`.
const COMMON_MAGIC: u32 = 0x5456_4319;
/// What comes next in an image of mounts, `MNTS_MAGIC`.
const MOUNTS_MAGIC: u32 = 0x5556_3928;

/// A mount as CRIU wrote it. Paths are bytes: the protocol says strings, and CRIU doesn't care.
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
    pub root: CleanPath,
    /// Where it is mounted, in the namespace's view.
    pub mountpoint: CleanPath,
    /// Its file system's type.
    pub file_system: String,
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

/// An absolute path without its leading slash, of plain components only; empty for the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanPath(Vec<u8>);

impl CleanPath {
    /// None where the path is not absolute, or has a component that leads anywhere but down.
    pub fn new(path: &[u8]) -> Option<Self> {
        let path = path.strip_prefix(b"/")?;
        let plain = |name: &[u8]| {
            !matches!(name, b"" | b"." | b"..") && name.len() < 256 && !name.contains(&0)
        };
        let clean = path.is_empty() || path.split(|&byte| byte == b'/').all(plain);
        (clean && path.len() < crate::path::PATH_MAX).then(|| Self(path.to_owned()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// This path as seen from another that it lies below; empty for that path itself.
    pub fn below(&self, top: &Self) -> Option<&[u8]> {
        match self.0.strip_prefix(top.0.as_slice())? {
            rest if top.0.is_empty() || rest.is_empty() => Some(rest),
            rest => rest.strip_prefix(b"/"),
        }
    }
}

/// The mounts of one mount namespace.
#[derive(Debug, Default)]
pub struct Namespace {
    /// In the order of the image.
    pub mounts: Vec<MountImage>,
}

/// Reads all mount namespaces in an image directory, that of the root process first.
pub fn read(directory: &Path) -> Result<Vec<Namespace>, Error> {
    let unreadable = |operation| {
        move |errno| Error::Unreadable {
            file: directory.to_owned(),
            operation,
            errno,
        }
    };
    let open = sys::open_to_list(directory).map_err(unreadable("open"))?;
    let names = sys::list(open.as_fd()).map_err(unreadable("getdents64"))?;
    drop(open);
    // CRIU numbers namespaces as it meets them, from the root process on.
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    if numbers.len() > MAX_NAMESPACES {
        let reason = format!("more than {MAX_NAMESPACES} mount namespaces");
        return Err(Error::invalid(directory, "", reason));
    }
    let image = |number| {
        let file = directory.join(format!("mountpoints-{number}.img"));
        parse(&input::read_file(&file, MAX_SIZE)?, &file)
    };
    numbers.into_iter().map(image).collect()
}

/// The number of the namespace in the name of an image of mounts.
pub fn number(name: &str) -> Option<u32> {
    name.strip_prefix("mountpoints-")?
        .strip_suffix(".img")?
        .parse()
        .ok()
}

/// Parses an image of mounts. Mounts with paths that no kernel writes are left out: they are nowhere.
pub fn parse(bytes: &[u8], file: &Path) -> Result<Namespace, Error> {
    let mut rest = bytes;
    let mut magic = take_number(&mut rest);
    if magic == Some(COMMON_MAGIC) {
        magic = take_number(&mut rest);
    }
    if magic != Some(MOUNTS_MAGIC) {
        return Err(Error::invalid(
            file,
            "",
            "not an image of mounts by its magic number",
        ));
    }
    let mut namespace = Namespace::default();
    let mut index = 0;
    while !rest.is_empty() {
        let invalid =
            |reason: &str| Error::invalid(file, format!("entry {index}"), reason.to_owned());
        let length = take_number(&mut rest).ok_or_else(|| invalid("truncated"))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_ENTRY {
            return Err(invalid("too long"));
        }
        let (entry, after) = rest
            .split_at_checked(length)
            .ok_or_else(|| invalid("truncated"))?;
        rest = after;
        let entry = Entry::decode(entry).map_err(|error| invalid(&error.to_string()))?;
        namespace.mounts.extend(mount(entry));
        index += 1;
    }
    Ok(namespace)
}

fn mount(entry: Entry) -> Option<MountImage> {
    // mountinfo's mountpoints begin with a dot in CRIU's own memory, and in old images.
    let mountpoint = entry
        .mountpoint
        .strip_prefix(b".")
        .unwrap_or(&entry.mountpoint);
    let file_system = match FILE_SYSTEMS.get(usize::try_from(entry.fstype).ok()?) {
        Some(&name) if !name.is_empty() => name.to_owned(),
        _ => String::from_utf8_lossy(entry.fsname.as_deref().unwrap_or(b"other")).into_owned(),
    };
    Some(MountImage {
        id: entry.mnt_id,
        parent: entry.parent_mnt_id,
        device: entry.root_dev,
        root: CleanPath::new(&entry.root)?,
        mountpoint: CleanPath::new(mountpoint)?,
        file_system,
        external: entry.ext_key,
    })
}

fn take_number(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
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

    fn clean(path: &str) -> Option<CleanPath> {
        CleanPath::new(path.as_bytes())
    }

    #[test]
    fn only_paths_that_lead_down_are_taken() {
        for good in ["/", "/a", "/a/b c/d"] {
            assert!(clean(good).is_some(), "{good}");
        }
        for bad in ["", "a", "/a/../b", "/..", "/a//b", "/./a", "/a/", "/a\0b"] {
            assert!(clean(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_path_lies_below_another_by_whole_components() {
        let below = |path: &str, top: &str| {
            clean(path)
                .unwrap()
                .below(&clean(top).unwrap())
                .map(<[u8]>::to_vec)
        };
        assert_eq!(below("/a/b", "/a"), Some(b"b".to_vec()));
        assert_eq!(below("/a", "/a"), Some(Vec::new()));
        assert_eq!(below("/a", "/"), Some(b"a".to_vec()));
        assert_eq!(below("/ab", "/a"), None);
        assert_eq!(below("/", "/a"), None);
    }

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
}
