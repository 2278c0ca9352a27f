// SPDX-License-Identifier: Apache-2.0
//! A checkpoint without a bundle: what it is to be restored with is made up from the checkpoint itself.
//!
//! The mounts are those that the runtime gave CRIU as external, where the images have them: their mountpoints
//! are free of links. Their sources are what the caller names. Those in `spec.dump` are paths of another host,
//! and a checkpoint may not choose what premount looks at: they are shown, and not opened. The container's other
//! mounts are told from the workload's by `spec.dump`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, MountImage};
use crate::cli::Volume;
use crate::error::Error;
use crate::mountpoints::required::root_of;
use crate::oci::bundle::Bundle;
use crate::oci::config::{Config, Network};
use crate::oci::mount::{Content, LinkSource, Mount};
use crate::path::{RelPath, RelRef};
use crate::sys::MountpointKind;

/// What engines provide themselves, by its mountpoint: Podman, CRI-O and Docker make these for each container, and
/// a kubelet the log.
const OF_ENGINES: [(&str, MountpointKind); 8] = [
    ("etc/hosts", MountpointKind::File),
    ("etc/hostname", MountpointKind::File),
    ("etc/resolv.conf", MountpointKind::File),
    ("run/.containerenv", MountpointKind::File),
    ("dev/termination-log", MountpointKind::File),
    ("dev/shm", MountpointKind::Directory),
    ("run/secrets", MountpointKind::Directory),
    ("var/run/secrets", MountpointKind::Directory),
];
/// How many mounts of one name are considered for one of the checkpoint's: no container has as many.
const MOST_OF_A_NAME: usize = 64;

/// The bundle that the checkpoint `name` would be restored with, where `volumes` are.
///
/// # Errors
///
/// Its spec.dump is invalid or can't be read, or a volume is none of its mounts.
pub(super) fn bundle(
    checkpoint: &mut Checkpoint,
    name: &Path,
    volumes: &[Volume],
) -> Result<Bundle, Error> {
    let mut config = match checkpoint.dump.spec.take().transpose()? {
        Some((file, text)) => Config::parse(&text, &file, Path::new("/"))?,
        // An engine makes the network, and nothing says which.
        None => Config {
            network: Network::Given,
            ..Config::default()
        },
    };
    let checkpoint = &*checkpoint;
    config.rootfs = None;
    let volumes = named(volumes)?;
    let mut used = BTreeSet::new();
    let mut mounts = Vec::new();
    let spec = Spec::new(&config.mounts);
    for image in configured(checkpoint, &config, &spec) {
        if image.external.is_none() {
            mounts.push(spec.own(image));
            continue;
        }
        let spec = spec.mount_of(image);
        let key = image.external.as_deref().unwrap_or_default();
        let destinations = [
            Some(image.mountpoint.as_bytes()),
            key.strip_prefix(b"/"),
            spec.and_then(|mount| Some(mount.destination.as_ref().ok()?.as_bytes())),
        ];
        let is_it = |at: &RelPath| destinations.contains(&Some(at.as_bytes()));
        let volume = volumes.iter().position(|(at, _)| is_it(at));
        used.extend(volume);
        let content = match volume.and_then(|index| volumes.get(index)) {
            Some((_, host)) => Content::Bind {
                source: host.clone(),
                recursive: true,
                link: LinkSource::Followed,
            },
            None => awaited(image, spec, checkpoint),
        };
        let mount = Mount::of_checkpoint(
            &image.mountpoint,
            "bind".to_owned(),
            content,
            image.read_only,
        );
        mounts.push(Mount {
            // crun's has the links in it.
            key: RelRef::new(key.strip_prefix(b"/").unwrap_or(key)).map(RelRef::to_owned),
            ..mount
        });
    }
    if let Some((at, _)) = unused(&volumes, &used) {
        let reason = format!("the checkpoint has no mount of the host's at {}", at.view());
        return Err(Error::invalid(Path::new("--volume"), "", reason));
    }
    config.mounts = mounts;
    Ok(Bundle {
        directory: name.to_owned(),
        config,
        trusted: None,
    })
}

fn unused<'a>(
    volumes: &'a [(RelPath, PathBuf)],
    used: &BTreeSet<usize>,
) -> Option<&'a (RelPath, PathBuf)> {
    let mut all = volumes.iter().enumerate();
    let (_, unused) = all.find(|(index, _)| !used.contains(index))?;
    Some(unused)
}

/// The volumes with their cleaned destinations.
fn named(volumes: &[Volume]) -> Result<Vec<(RelPath, PathBuf)>, Error> {
    let mut all: Vec<(RelPath, PathBuf)> = Vec::new();
    for volume in volumes {
        let invalid = |reason: &str| Error::invalid(Path::new("--volume"), &volume.at, reason);
        let at = RelPath::from_destination(&volume.at);
        let at = at.map_err(|_| invalid("the destination is not a path"))?;
        if all.iter().any(|(other, _)| *other == at) {
            return Err(invalid("given twice"));
        }
        let host = std::path::absolute(&volume.host);
        let host = host.map_err(|_| invalid("the host directory is not a path"))?;
        all.push((at, host));
    }
    Ok(all)
}

/// The mounts of the configuration that the checkpoint was made with, parents first: the binds that the runtime gave
/// CRIU as external, and the container's own mounts.
fn configured<'a>(checkpoint: &'a Checkpoint, config: &Config, spec: &Spec) -> Vec<&'a MountImage> {
    let Some(namespace) = checkpoint.namespaces.first() else {
        return Vec::new();
    };
    let root = root_of(namespace).map(|root| root.id);
    let others: BTreeSet<&[u8]> = config
        .externals
        .masked
        .iter()
        .chain(&config.externals.devices)
        .map(String::as_bytes)
        .chain([&b"/dev/null"[..]])
        .collect();
    let in_bind: BTreeSet<u32> = namespace
        .mounts
        .iter()
        .filter(|mount| mount.external.is_some() && Some(mount.id) != root)
        .map(|mount| mount.id)
        .collect();
    let is_configured = |mount: &&MountImage| {
        let Some(key) = &mount.external else {
            return Some(mount.id) != root && spec.has_own(mount, in_bind.contains(&mount.parent));
        };
        let is_other = others.contains(&key[..])
            || mount.is_empty_directory()
            || mount.file_system.starts_with("cgroup")
            || mount.file_system == "devtmpfs";
        Some(mount.id) != root && !is_other && !mount.mountpoint.view().is_root()
    };
    let mut all: Vec<&MountImage> = namespace.mounts.iter().filter(is_configured).collect();
    all.sort_by_key(|mount| mount.mountpoint.view().depth());
    all
}

/// The mounts of a spec.dump.
struct Spec<'a> {
    mounts: &'a [Mount],
    /// The binds, by the last components of their destinations.
    by_name: BTreeMap<&'a [u8], Vec<usize>>,
    /// The others, by their destinations.
    own: BTreeMap<&'a [u8], &'a Mount>,
}

impl<'a> Spec<'a> {
    fn new(mounts: &'a [Mount]) -> Self {
        let mut by_name: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, mount) in mounts
            .iter()
            .enumerate()
            .filter(|(_, mount)| mount.is_bind())
        {
            let destination = mount.destination.as_ref().ok();
            if let Some((_, name)) = destination.and_then(|at| at.view().split_last()) {
                let of_name = by_name.entry(name.as_bytes()).or_default();
                if of_name.len() < MOST_OF_A_NAME {
                    of_name.push(index);
                }
            }
        }
        let own = mounts.iter().filter(|mount| !mount.is_bind());
        let own =
            own.filter_map(|mount| Some((mount.destination.as_ref().ok()?.as_bytes(), mount)));
        Self {
            mounts,
            by_name,
            own: own.collect(),
        }
    }

    /// Whether a mount that is not external is the configuration's. Without a spec.dump nothing tells it from one of
    /// the workload's, and a tmpfs is taken for the configuration's unless it is in a bind: there, a mountpoint
    /// that nobody creates would be missed.
    fn has_own(&self, image: &MountImage, is_in_bind: bool) -> bool {
        if self.mounts.is_empty() {
            return image.file_system == "tmpfs" && !is_in_bind;
        }
        self.own.contains_key(image.mountpoint.as_bytes())
    }

    /// The container's own mount that this is.
    fn own(&self, image: &MountImage) -> Mount {
        let own = self.own.get(image.mountpoint.as_bytes());
        let (file_system, content) = own.map_or_else(
            || {
                let content = Content::Tmpfs { copy_up: false };
                (image.file_system.clone().into_owned(), content)
            },
            |mount| (mount.file_system.clone(), mount.content.clone()),
        );
        Mount::of_checkpoint(&image.mountpoint, file_system, content, image.read_only)
    }

    /// The mount that an external mount was: with its destination; or, since CRIU may have it with its links resolved
    /// (`/run/secrets` for `/var/run/secrets`), with the most components in common at the end.
    fn mount_of(&self, image: &MountImage) -> Option<&'a Mount> {
        let key = image.external.as_deref()?;
        let key = RelRef::new(key.strip_prefix(b"/").unwrap_or(key))?;
        let (_, name) = key.split_last()?;
        let of_name = self.by_name.get(name.as_bytes())?.iter();
        let of_name = of_name.filter_map(|&index| self.mounts.get(index));
        of_name.max_by_key(|mount| {
            let at = mount.destination.as_ref().ok().map(RelPath::view);
            (at == Some(key), at.map_or(0, |at| in_common(at, key)))
        })
    }
}

/// How many components two paths have in common at the end.
fn in_common(mut one: RelRef, mut other: RelRef) -> usize {
    let mut count = 0;
    while let (Some((up, name)), Some((other_up, other_name))) =
        (one.split_last(), other.split_last())
    {
        if name != other_name {
            break;
        }
        (one, other) = (up, other_up);
        count += 1;
    }
    count
}

fn awaited(image: &MountImage, spec: Option<&Mount>, checkpoint: &Checkpoint) -> Content {
    let at = image.mountpoint.as_bytes();
    let of_engine = OF_ENGINES.iter().find(|(path, _)| at == path.as_bytes());
    // What Podman and a kubelet mount there.
    let is_secret = at.starts_with(b"run/secrets/");
    let recorded = spec.and_then(|mount| checkpoint.dump.kind_of(&mount.written));
    Content::Awaited {
        kind: recorded.or(of_engine.map(|&(_, kind)| kind)),
        by_engine: of_engine.is_some() || is_secret,
        was: spec.and_then(Mount::source).map(Path::to_owned),
    }
}
