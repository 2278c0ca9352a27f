// SPDX-License-Identifier: Apache-2.0
//! What a checkpoint needs beyond the configuration: mountpoints of mounts that the workload made itself in a
//! bind mount, of masked paths in a volume, and of other mount namespaces; mounts that are now in another mount
//! than the configuration has them in (Podman reorders an imported one); and the files that its tasks hold open.
//!
//! A pure function. The checkpoint names places inside what config.json names, and nothing else: a hostile one
//! can at most cause empty directories, files and FIFOs where the container could have created them itself.

mod config_mount;
mod place;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use super::budget::OPEN_FILE_PATHS;
use crate::checkpoint::{MountImage, Namespace, OpenFile};
use crate::path::{RelPath, RelRef};
use crate::sys::MountpointKind;
use config_mount::Index;
pub use config_mount::{ConfigMount, InCheckpoint, Parent};
pub use place::OpenFilePlace;
use place::{OpenFilePlaces, Places};
use view::View;

/// A place in what config.json names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inside {
    /// The mount of the configuration whose source it is in, by its index; none for the rootfs.
    pub mount: Option<usize>,
    /// The path there.
    pub path: RelPath,
}

/// Where the kind of a mountpoint comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindBy {
    /// The checkpoint has it.
    Checkpoint(MountpointKind),
    /// It is the kind of what the mount shows, which is here.
    Source(Inside),
    /// It is the kind of this mount of the configuration.
    Configuration(usize),
    /// It is unknown.
    Nothing,
}

/// A mountpoint that a checkpoint needs, and that doesn't follow from the configuration.
#[derive(Clone, Debug)]
pub struct RequiredMountpoint {
    /// Where it has to be.
    pub at: Inside,
    /// What it has to be.
    pub kind: KindBy,
    /// Whether the runtime mounts there; else a task of the container did.
    pub is_of_runtime: bool,
    /// Whether the mount that it lies in was read-only for the tasks.
    pub read_only: bool,
    /// Its path in its namespace's view.
    pub mountpoint: RelPath,
    /// The file system's type that is mounted there.
    pub file_system: String,
}

/// What a checkpoint has in relation to a configuration.
#[derive(Debug)]
pub struct Compared {
    /// What it needs beyond the configuration, outermost first; None if that exceeds the limit.
    pub required: Option<Vec<RequiredMountpoint>>,
    /// For each mount of the configuration whether the checkpoint has it.
    pub has: Vec<InCheckpoint>,
    /// Where each open file is, none where CRIU restores it, or nobody can tell; None if that exceeds the limit.
    pub files: Option<Vec<Option<OpenFilePlace>>>,
    /// Where the working directory is.
    pub cwd: Option<OpenFilePlace>,
    /// What mounts of the workload's show of the rootfs or a source, below its root: the mountpoint of each, and the
    /// place.
    pub inner: Vec<(RelPath, Inside)>,
}

/// Compares all mount namespaces of a checkpoint, what its tasks hold open, and the working directory with the
/// configuration. `masked` are `linux.maskedPaths`; more than `most` mountpoints beyond it are too much.
pub fn compare(
    namespaces: &[Namespace],
    files: &[OpenFile],
    cwd: Option<&OpenFile>,
    known: &[ConfigMount],
    masked: &[String],
    most: usize,
) -> Compared {
    let index = Index::new(known);
    let anchors = anchors(namespaces, &index);
    let places = Places {
        known: &index,
        anchors: &anchors,
    };
    let mut seen = BTreeSet::new();
    let mut required = Vec::new();
    let mut inner = Vec::new();
    let mut has = vec![InCheckpoint::No; known.len()];
    for namespace in namespaces {
        let view = View {
            by_id: namespace
                .mounts
                .iter()
                .map(|mount| (mount.id, mount))
                .collect(),
            parents: namespace.mounts.iter().map(|mount| mount.parent).collect(),
            places,
        };
        for mount in &namespace.mounts {
            inner.extend(view.shown(mount).map(|at| (mount.mountpoint.clone(), at)));
            let Some(found) = view.compare(mount, masked, &mut has) else {
                continue;
            };
            if required.len() <= most && seen.insert(found.at.clone()) {
                required.push(found);
            }
        }
    }
    // As they would have been made.
    required.sort_by(|a, b| a.at.cmp(&b.at));
    let required = (required.len() <= most).then_some(required);
    let mut compared = Compared {
        required,
        has,
        files: Some(Vec::new()),
        cwd: None,
        inner,
    };
    if files.is_empty() && cwd.is_none() {
        return compared;
    }
    let mut places = OpenFilePlaces::new(namespaces, places);
    compared.cwd = cwd.and_then(|cwd| places.find(cwd));
    compared.files = places.find_all(files, OPEN_FILE_PATHS);
    compared
}

/// The rootfs and the sources as the checkpoint has them, by device and root within the device, and what they
/// are now.
type Anchors<'a> = BTreeMap<(u32, RelRef<'a>), Option<usize>>;

/// One anchor each, however often a hostile image has it. Outside the root process's namespace CRIU marks no
/// mount as external, so only the device and the root within it identify a mount there.
fn anchors<'a>(namespaces: &'a [Namespace], known: &Index) -> Anchors<'a> {
    let key = |mount: &'a MountImage| (mount.device, mount.root.view());
    let main = namespaces.first().and_then(root_of);
    let mut anchors: Anchors = main.map(|root| (key(root), None)).into_iter().collect();
    let mut anchored = BTreeSet::new();
    for mount in namespaces.iter().flat_map(|namespace| &namespace.mounts) {
        if let Some(index) = known.of(mount) {
            if anchored.insert(index) {
                anchors.entry(key(mount)).or_insert(Some(index));
            }
        }
    }
    anchors
}

/// The root mount of a namespace.
pub fn root_of(namespace: &Namespace) -> Option<&MountImage> {
    let ids: BTreeSet<u32> = namespace.mounts.iter().map(|mount| mount.id).collect();
    let is_root =
        |mount: &&MountImage| mount.mountpoint.view().is_root() && !ids.contains(&mount.parent);
    namespace.mounts.iter().find(is_root)
}

#[cfg(test)]
mod tests;
