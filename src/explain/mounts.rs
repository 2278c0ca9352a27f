// SPDX-License-Identifier: Apache-2.0
//! Where a path of CRIU's is in the container and on the host: by the mounts that the log lists, or by
//! config.json. Never looks at the host.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use memchr::memmem;

use crate::oci::bundle::Bundle;

/// Maximum number of mounts that are kept.
const MAX_MOUNTS: usize = 16_384;
/// Maximum size of their paths in bytes.
const MAX_PATHS: usize = 4 << 20;

/// A place, by its path in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its path in the container.
    pub container: Option<Vec<u8>>,
    /// Its path on the host.
    pub host: Option<Vec<u8>>,
    /// The bind source that is mounted there, if the place is a mountpoint.
    pub source: Option<Vec<u8>>,
}

/// A mount of the container.
#[derive(Debug, Default)]
struct Mount {
    /// Its mountpoint in the container.
    at: Vec<u8>,
    /// Its bind source on the host.
    source: Option<Vec<u8>>,
}

/// The mounts of a container.
#[derive(Debug, Default)]
pub struct Mounts {
    /// By CRIU's ID: as logged.
    logged: BTreeMap<u32, Mount>,
    /// By config.json.
    configured: Vec<Mount>,
    rootfs: Option<Vec<u8>>,
    size: usize,
}

impl Mounts {
    /// Takes what config.json says, for the mounts that the log doesn't list.
    pub fn add_bundle(&mut self, bundle: &Bundle) {
        let config = &bundle.config;
        let rootfs = config.rootfs.as_deref();
        self.rootfs = rootfs.map(|rootfs| rootfs.as_os_str().as_bytes().to_vec());
        for mount in &config.mounts {
            let Ok(destination) = &mount.destination else {
                continue;
            };
            let at = [b"/", destination.as_bytes()].concat();
            let source = mount.source();
            let source = source.map(|source| source.as_os_str().as_bytes().to_vec());
            self.configured.push(Mount { at, source });
        }
    }

    /// Takes a message of CRIU's about a mount (criu/mount.c, `get_mp_root` and `read_mnt_ns_img`):
    /// `Will mount 62 from /w/volume (E)`, where (E) is said of a mount that comes from the host, and
    /// `Read 62 mp @ /data`.
    pub fn read(&mut self, message: &[u8]) {
        let message = message.trim_ascii_start();
        let (text, separator) = if let Some(text) = message.strip_prefix(b"Will mount ") {
            (text, &b" from "[..])
        } else if let Some(text) = message.strip_prefix(b"Read ") {
            (text, &b" mp @ "[..])
        } else {
            return;
        };
        let Some(end) = memmem::find(text, separator) else {
            return;
        };
        let (id, path) = text.split_at(end);
        let (Some(id), Some(path)) = (number(id), path.get(separator.len()..)) else {
            return;
        };
        let is_new = !self.logged.contains_key(&id);
        if self.size + path.len() > MAX_PATHS || is_new && self.logged.len() >= MAX_MOUNTS {
            return;
        }
        self.size += path.len();
        let mount = self.logged.entry(id).or_default();
        if separator == b" mp @ " {
            mount.at = [b"/", relative(path)].concat();
        } else if let Some(source) = path.strip_suffix(b" (E)") {
            mount.source = source.starts_with(b"/").then(|| source.to_vec());
        }
    }

    /// A path in the container, absolute or relative to its root.
    pub fn in_container(&self, path: &[u8]) -> Place {
        let container = [b"/", relative(path)].concat();
        Place {
            host: self.host(&container, Of::Path),
            container: Some(container),
            source: None,
        }
    }

    /// A mountpoint in the container.
    pub fn mountpoint(&self, path: &[u8]) -> Place {
        let container = [b"/", relative(path)].concat();
        let mut all = self.all().filter(|mount| mount.at == container);
        Place {
            host: self.host(&container, Of::Mountpoint),
            source: all.find_map(|mount| mount.source.clone()),
            container: Some(container),
        }
    }

    /// A path on the host, or one of CRIU's temporary ones, `/tmp/.criu.mntns.XXXXXX/mnt-0000000062/cache`.
    pub fn of_criu(&self, path: &[u8]) -> Place {
        let Some((mount, below)) = staged(path) else {
            let mut all = self.all();
            let mount = all.find(|mount| mount.source.as_deref() == Some(path));
            return Place {
                container: mount.map(|mount| mount.at.clone()),
                host: Some(path.to_vec()),
                source: None,
            };
        };
        // mount.c stages whole trees, `13-0000000000`; mount-v2.c each mount for itself.
        let Some(id) = mount.strip_prefix(b"mnt-") else {
            return self.mountpoint(below);
        };
        let Some(mount) = number(id).and_then(|id| self.logged.get(&id)) else {
            return self.by_end(below);
        };
        if below.is_empty() {
            return Place {
                source: mount.source.clone(),
                ..self.mountpoint(&mount.at)
            };
        }
        self.mountpoint(&[relative(&mount.at), below].join(&b'/'))
    }

    /// Without CRIU's list, only the end of the path is known: the mount of config.json that has it, if it is only
    /// one.
    fn by_end(&self, below: &[u8]) -> Place {
        let end = [b"/", below].concat();
        let is_it = |mount: &&Mount| {
            let parent = mount.at.strip_suffix(&end[..]);
            parent.is_some_and(|parent| {
                parent.is_empty() || self.configured.iter().any(|mount| mount.at == parent)
            })
        };
        let mut fitting = self.configured.iter().filter(is_it);
        match (fitting.next(), fitting.next()) {
            (Some(mount), None) if !below.is_empty() => self.mountpoint(&mount.at),
            _ => Place::default(),
        }
    }

    /// Where a path of the container is on the host. None in a file system of the container's own.
    fn host(&self, container: &[u8], of: Of) -> Option<Vec<u8>> {
        let covering = self.all().filter_map(|mount| {
            let below = below(&mount.at, container)?;
            (of == Of::Path || !below.is_empty()).then_some((mount, below))
        });
        // From the last to the first: of two mounts in one place, the one that was logged counts.
        let top = covering.rev().max_by_key(|(mount, _)| mount.at.len());
        let (source, below) = match top {
            Some((mount, below)) if mount.at != b"/" => (mount.source.as_ref()?, below),
            _ => (self.rootfs.as_ref()?, relative(container)),
        };
        if below.is_empty() {
            return Some(source.clone());
        }
        // The configuration may end a source with a slash.
        let mut source = &source[..];
        while let Some(shorter) = source.strip_suffix(b"/") {
            source = shorter;
        }
        Some([source, below].join(&b'/'))
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &Mount> {
        self.logged.values().chain(&self.configured)
    }
}

/// What is looked for on the host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// What a path leads to.
    Path,
    /// A mountpoint: what is below the mount.
    Mountpoint,
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

/// A path without what stands for the root: `/data`, `./data` and `data`.
fn relative(path: &[u8]) -> &[u8] {
    let path = path
        .strip_prefix(b".")
        .map_or(path, |rest| match rest.first() {
            Some(b'/') | None => rest,
            Some(_) => path,
        });
    path.strip_prefix(b"/").unwrap_or(path)
}

/// What of a path is below a directory.
fn below<'a>(directory: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(directory)?;
    if directory == b"/" || rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix(b"/")
}

/// Splits a path below CRIU's temporary directory (criu/mount.c, `/tmp/.criu.mntns.XXXXXX`) into the directory of
/// a mount and the path in that.
fn staged(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let path = path.strip_prefix(b"/tmp/.criu.mntns.")?;
    let path = path.get(memchr::memchr(b'/', path)? + 1..)?;
    let end = memchr::memchr(b'/', path).unwrap_or(path.len());
    let (mount, below) = path.split_at(end);
    Some((mount, below.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> Mounts {
        let mut mounts = Mounts::default();
        for line in [
            "\t\tWill mount 77 from /w/nested (E)",
            "\t\tWill mount 77 @ /tmp/.criu.mntns.kTYoCR/mnt-0000000077 /data/nested",
            "\tRead 77 mp @ /data/nested",
            "\t\tWill mount 63 from /",
            "\tRead 63 mp @ /data/tmpfs",
            "\t\tWill mount 62 from /w/volume (E)",
            "\tRead 62 mp @ /data",
            "\t\tWill mount 59 from /w/bundle/rootfs",
            "\tRead 59 mp @ /",
        ] {
            mounts.read(line.as_bytes());
        }
        mounts
    }

    fn place(container: &str, host: Option<&str>, source: Option<&str>) -> Place {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Place {
            container: Some(bytes(container)),
            host: host.map(bytes),
            source: source.map(bytes),
        }
    }

    fn staged_at(path: &str) -> Place {
        mounts().of_criu(format!("/tmp/.criu.mntns.kTYoCR/{path}").as_bytes())
    }

    #[test]
    fn a_mountpoint_is_in_the_mount_below_it() {
        let nested = place("/data/nested", Some("/w/volume/nested"), Some("/w/nested"));
        assert_eq!(staged_at("mnt-0000000062/nested"), nested);
        assert_eq!(staged_at("mnt-0000000077"), nested);
        assert_eq!(staged_at("12-0000000000/data/nested"), nested);
    }

    #[test]
    fn a_path_is_in_the_innermost_mount() {
        let mounts = mounts();
        let nested = place("/data/nested/a", Some("/w/nested/a"), None);
        assert_eq!(mounts.in_container(b"data/nested/a"), nested);
        let beside = place("/data/nested2", Some("/w/volume/nested2"), None);
        assert_eq!(mounts.in_container(b"./data/nested2"), beside);
        let in_tmpfs = place("/data/tmpfs/a", None, None);
        assert_eq!(mounts.in_container(b"/data/tmpfs/a"), in_tmpfs);
        let in_rootfs = place("/etc/a", None, None);
        assert_eq!(mounts.in_container(b"etc/a"), in_rootfs);
    }

    #[test]
    fn a_path_of_the_hosts_is_its_own() {
        let source = place("/data", Some("/w/volume"), None);
        assert_eq!(mounts().of_criu(b"/w/volume"), source);
    }

    #[test]
    fn a_source_may_end_with_a_slash() {
        let mut mounts = Mounts::default();
        mounts.read(b"Will mount 1 from /w/volume/ (E)");
        mounts.read(b"Read 1 mp @ /data");
        let file = place("/data/a", Some("/w/volume/a"), None);
        assert_eq!(mounts.in_container(b"data/a"), file);
    }

    #[test]
    fn an_unknown_mount_is_no_place() {
        assert_eq!(staged_at("mnt-0000000099/a"), Place::default());
        assert_eq!(staged_at("mnt-x"), Place::default());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut mounts = Mounts::default();
        for id in 0..100_000 {
            mounts.read(format!("Read {id} mp @ /{}", "x".repeat(1000)).as_bytes());
        }
        assert!(mounts.size <= MAX_PATHS && mounts.logged.len() <= MAX_MOUNTS);
        let mut mounts = Mounts::default();
        for id in 0..100_000 {
            mounts.read(format!("Read {id} mp @ /").as_bytes());
        }
        assert_eq!(mounts.logged.len(), MAX_MOUNTS);
    }
}
