// SPDX-License-Identifier: Apache-2.0
//! The text of `plan`: the container's mounts as a tree, each with the host path and the status of its
//! mountpoint, and the open files that are not there.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::layout::{DIM, GREEN, PLAIN, RED, Row, Style, Tree, YELLOW, lay_out};
use super::summary::Summary;
use crate::checkpoint::{MountImage, Namespace, OpenKind};
use crate::error::shown;
use crate::escape::Escaped;
use crate::mountpoints::failure::Failure;
use crate::mountpoints::plan::{Plan, PlannedFile, PlannedMount, Status};
use crate::mountpoints::required::root_of;

pub(super) fn plan(plan: &Plan, colour: bool, out: &mut dyn Write) -> io::Result<()> {
    let root = plan.rootfs.as_deref().unwrap_or(Path::new("/"));
    let root = Row::rootfs(shown(root).to_string());
    // What is there needs no line: a task holds dozens of files.
    let is_there = |status: &Status| matches!(status, Status::Present | Status::Restored);
    let files = plan.files.iter();
    let files = files.filter(|planned| !is_there(&planned.status));
    let files: Vec<&PlannedFile> = files.collect();
    let of_mounts = plan.mounts.iter().map(|planned| planned.parent);
    let parents: Vec<_> = of_mounts
        .chain(files.iter().map(|planned| planned.parent))
        .collect();
    let tree = Tree::new(parents.into_iter());
    let row = |index: usize| match index.checked_sub(plan.mounts.len()) {
        None => plan.mounts.get(index).map(|planned| row(plan, planned)),
        Some(index) => files.get(index).map(|planned| row_of_file(plan, planned)),
    };
    lay_out(&tree, &root, row, colour, out)?;
    writeln!(out, "\n{}", Summary::new(plan))
}

/// The mounts of a checkpoint, each with what a host has to provide for it.
pub(super) fn checkpoint(
    name: &Path,
    namespaces: &[Namespace],
    colour: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (number, namespace) in namespaces.iter().enumerate() {
        match namespaces {
            [_] => writeln!(out, "{}", shown(name))?,
            _ => writeln!(out, "{}, mount namespace {}", shown(name), number + 1)?,
        }
        let root = root_of(namespace).map(|root| root.id);
        let mut mounts: Vec<&MountImage> = namespace
            .mounts
            .iter()
            .filter(|mount| Some(mount.id) != root)
            .collect();
        // By their paths, so that parents come first: the image has its own order.
        mounts.sort_by_key(|mount| mount.mountpoint.as_bytes());
        let places = mounts
            .iter()
            .enumerate()
            .map(|(place, mount)| (mount.id, place));
        let places: BTreeMap<u32, usize> = places.collect();
        // Anything but a parent that came before is no tree.
        let parent = |(place, mount): (usize, &&MountImage)| {
            let parent = places.get(&mount.parent).copied();
            parent.filter(|&parent| parent < place)
        };
        let parents: Vec<Option<usize>> = mounts.iter().enumerate().map(parent).collect();
        let row = |place: usize| {
            let parent = parents.get(place).copied().flatten();
            let below = parent.and_then(|parent| mounts.get(parent)).copied();
            Some(of_checkpoint(mounts.get(place)?, below))
        };
        let tree = Tree::new(parents.iter().copied());
        let top = Row::rootfs("from the host, root.path".to_owned());
        lay_out(&tree, &top, row, colour, out)?;
    }
    Ok(())
}

fn of_checkpoint(mount: &MountImage, below: Option<&MountImage>) -> Row {
    let at = [b"/", mount.mountpoint.as_bytes()].concat();
    let bind =
        |mount: &MountImage| mount.external.is_some() && !mount.file_system.starts_with("cgroup");
    let note = match (&mount.external, below.filter(|below| bind(below))) {
        (Some(key), _) if key == b"/dev/null" => ("from the host, masked".to_owned(), PLAIN),
        (Some(_), _) if bind(mount) => ("from the host, by config.json".to_owned(), PLAIN),
        (Some(_), _) => ("from the host, its cgroup".to_owned(), PLAIN),
        (None, Some(below)) => {
            let below = [b"/", below.mountpoint.as_bytes()].concat();
            let note = format!("from the checkpoint, on the source of {}", Escaped(&below));
            (note, PLAIN)
        }
        (None, None) => ("from the checkpoint".to_owned(), DIM),
    };
    Row {
        branch: String::new(),
        below: String::new(),
        name: Escaped(&at).to_string(),
        file_system: Escaped(mount.file_system.as_bytes()).to_string(),
        status: "",
        style: PLAIN,
        notes: vec![note],
    }
}

fn status_and_style(status: &Status) -> (&'static str, Style) {
    match status {
        Status::Present => ("there", GREEN),
        Status::Created(_) => ("created", GREEN),
        Status::Missing(_) | Status::NotRequested | Status::MissingContent => ("MISSING", YELLOW),
        Status::Differs(_) => ("DIFFERS", RED),
        Status::Restored => ("by CRIU", DIM),
        Status::Kernel => ("by kernel", DIM),
        Status::Link => ("a link", DIM),
        Status::NotInspected(_) => ("unknown", DIM),
        Status::KindUnknown => ("MISSING?", YELLOW),
        Status::Failed(_) | Status::NotCreated(..) => ("FAILED", RED),
    }
}

fn row_of_file(plan: &Plan, planned: &PlannedFile) -> Row {
    let (status, style) = status_and_style(&planned.status);
    let at = plan.sources.host_path(&planned.at);
    let mut notes = vec![(shown(&at).to_string(), PLAIN)];
    if let Some(failure) = planned.status.failure() {
        notes.push(failure_note(
            failure,
            plan.file_failed_at(planned),
            Some(&at),
        ));
    }
    if let Status::Differs(difference) = planned.status {
        notes.push((difference.to_string(), RED));
    }
    if planned.status == Status::MissingContent {
        notes.push(("with content".to_owned(), PLAIN));
    }
    if planned.status == Status::NotRequested {
        notes.push(("a log; see --append".to_owned(), PLAIN));
    }
    let kind = match planned.kind {
        OpenKind::Directory | OpenKind::SocketDirectory => "directory",
        OpenKind::Fifo => "FIFO",
        OpenKind::EmptyFile | OpenKind::File | OpenKind::Log => "file",
        OpenKind::Device => "device",
        OpenKind::Deleted => "deleted",
        OpenKind::Socket => "socket",
        OpenKind::Unknown => "?",
    };
    Row {
        branch: String::new(),
        below: String::new(),
        name: Escaped(&planned.name()).to_string(),
        file_system: kind.to_owned(),
        status,
        style,
        notes,
    }
}

fn failure_note(
    failure: &Failure,
    failed_at: Option<PathBuf>,
    at: Option<&PathBuf>,
) -> (String, Style) {
    let about = failed_at.filter(|path| at != Some(path));
    let about = about.map_or(String::new(), |path| format!(": {}", shown(&path)));
    let (cause, errno) = (failure.cause, failure.cause.errno());
    (format!("{cause}{about} ({errno:?})"), RED)
}

fn row(plan: &Plan, planned: &PlannedMount) -> Row {
    let (status, style) = status_and_style(&planned.status);
    let mut notes = Vec::new();
    let at = plan.host_path(planned);
    if let Some(path) = &at {
        notes.push((shown(path).to_string(), PLAIN));
    }
    if let Some(failure) = planned.status.failure() {
        notes.push(failure_note(failure, plan.failed_at(planned), at.as_ref()));
    }
    let name = match &planned.mount.destination {
        Ok(destination) => destination.view().to_string(),
        Err(_) => Escaped(planned.mount.written.as_bytes()).to_string(),
    };
    Row {
        branch: String::new(),
        below: String::new(),
        name,
        file_system: Escaped(planned.mount.file_system.as_bytes()).to_string(),
        status,
        style,
        notes,
    }
}
