// SPDX-License-Identifier: Apache-2.0
//! Whether a checkpoint can be restored with a configuration on this host, and if not, why: each finding with
//! the error that CRIU would report for it.
//!
//! Takes values and returns values: the plan has looked at the host.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;

use nix::errno::Errno;

use super::failure::{Cause, Failure};
pub use super::finding_kind::FindingKind;
use super::pending::Need;
use super::plan::{Difference, Origin, Plan, PlannedFile, PlannedMount, Status};
use super::required::InCheckpoint;
use crate::checkpoint::{MountImage, Namespace, OpenKind};
use crate::error::shown;
use crate::escape::Escaped;
use crate::oci::config::Externals;
use crate::oci::mount::Content;
use crate::path::{RelPath, RelRef};
use crate::sys::NewKind;

/// Something that keeps a checkpoint from being restored, or is good to know before.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'a> {
    /// What it is.
    pub kind: FindingKind,
    plan: &'a Plan,
    about: About<'a>,
}

#[derive(Clone, Copy, Debug)]
enum About<'a> {
    Planned(&'a PlannedMount),
    File(&'a PlannedFile),
    Image(&'a MountImage),
}

impl Finding<'_> {
    /// What it is about, by its path in the container: the destination of a mount, or an open file.
    pub fn path(&self) -> Cow<'_, [u8]> {
        match self.about {
            About::Planned(planned) => planned.mount.written.as_bytes().into(),
            About::File(planned) => planned.name().into(),
            About::Image(mount) => [b"/", mount.mountpoint.as_bytes()].concat().into(),
        }
    }

    /// The place on the host.
    pub fn host_path(&self) -> Option<PathBuf> {
        let planned = match self.about {
            About::Planned(planned) => planned,
            About::File(planned) => {
                let failed_at = self.plan.file_failed_at(planned);
                return Some(failed_at.unwrap_or_else(|| self.plan.sources.host_path(&planned.at)));
            }
            About::Image(_) => return None,
        };
        match self.kind {
            FindingKind::NoMapping | FindingKind::NotInCheckpoint => None,
            FindingKind::MissingMountpoint | FindingKind::MountpointOfUnknownKind => {
                self.plan.host_path(planned)
            }
            _ => self.plan.failed_at(planned),
        }
    }

    /// What CRIU would report, without what differs from one run to the next; none if the restore succeeds all
    /// the same.
    pub fn criu(&self) -> Option<String> {
        if !self.kind.is_fatal() {
            return None;
        }
        let place = self.host_path();
        let place = place.as_deref().map(|place| shown(place).to_string());
        let place = place.unwrap_or_default();
        Some(match (self.kind, self.about) {
            (_, About::Image(mount)) => {
                let id = mount.id;
                format!("No mapping for {id}:{} mountpoint", mount.mountpoint.view())
            }
            (_, About::File(planned)) => {
                // As CRIU opens it: from the root of the namespace.
                let path = Escaped(planned.path.as_bytes());
                if let Status::Differs(difference) = planned.status {
                    return Some(differs(&path, difference));
                }
                match planned.kind {
                    OpenKind::Fifo => format!("Can't open fake fifo [{path}]"),
                    OpenKind::SocketDirectory => "Can't bind: No such file or directory".to_owned(),
                    _ => format!("Can't open file {path}"),
                }
            }
            (FindingKind::WrongKind, About::Planned(planned)) => wrong_kind(planned),
            (FindingKind::MissingSource, About::Planned(planned)) => {
                let errno = planned
                    .status
                    .failure()
                    .map(|failure| failure.cause.errno());
                let text = errno.map(Errno::desc).unwrap_or_default();
                format!("Failed to open_tree {place}: {text}")
            }
            _ => format!("Can't stat mountpoint {place}: No such file or directory"),
        })
    }
}

/// All findings, in the order of the configuration. `is_runc`: runc restores, and creates most mountpoints itself.
pub fn diagnose<'a>(
    plan: &'a Plan,
    namespaces: &'a [Namespace],
    externals: &Externals,
    is_runc: bool,
) -> Vec<Finding<'a>> {
    let by_runc = if is_runc {
        of_runc(plan)
    } else {
        BTreeSet::new()
    };
    let mut all = Vec::new();
    for (index, planned) in plan.mounts.iter().enumerate() {
        let about = About::Planned(planned);
        let is_there = planned.in_checkpoint != InCheckpoint::No;
        // CRIU doesn't ask for a mountpoint that no mount of the checkpoint is on. But the runtime opens the
        // source of every mount of the configuration.
        let of_runtime = |failure: &Failure| matches!(failure.cause, Cause::Source(_));
        if is_there || planned.status.failure().is_some_and(of_runtime) {
            let is_awaited = planned.at.as_ref().is_some_and(|at| plan.is_awaited(at));
            let kind = of_mountpoint(planned);
            let kind = kind.filter(|_| !by_runc.contains(&index) && !is_awaited);
            all.extend(kind.map(|kind| Finding { kind, plan, about }));
        }
        if !is_there {
            let kind = FindingKind::NotInCheckpoint;
            all.push(Finding { kind, plan, about });
        }
    }
    let is_held = |planned: &&PlannedFile| planned.is_held && !plan.is_awaited(&planned.at);
    for planned in plan.files.iter().filter(is_held) {
        let about = About::File(planned);
        let kind = of_open_file(planned).filter(|_| !is_of_mount(plan, planned, &by_runc));
        all.extend(kind.map(|kind| Finding { kind, plan, about }));
    }
    if plan.is_alone() {
        // Whoever restores it makes a configuration for it.
        return all;
    }
    let unmapped = unmapped(plan, namespaces, externals);
    all.extend(unmapped.into_iter().map(|mount| Finding {
        kind: FindingKind::NoMapping,
        plan,
        about: About::Image(mount),
    }));
    all
}

/// The mounts of the configuration whose missing mountpoints runc creates before it calls CRIU: all but those of
/// cgroups, and those below one of its tmpfs by name (runc libcontainer/criu_linux.go, `prepareCriuRestoreMounts`).
fn of_runc(plan: &Plan) -> BTreeSet<usize> {
    let destination = |planned: &PlannedMount| planned.mount.destination.as_ref().ok().cloned();
    let is_configured = |planned: &&PlannedMount| planned.origin == Origin::Configuration;
    let configured = || plan.mounts.iter().filter(is_configured);
    let tmpfs = configured().filter(|planned| planned.mount.file_system == "tmpfs");
    let tmpfs: BTreeSet<RelPath> = tmpfs.filter_map(destination).collect();
    let is_created = |planned: &PlannedMount| {
        let is_missing = matches!(planned.status, Status::Missing(_));
        let Some(at) = destination(planned).filter(|_| is_missing) else {
            return false;
        };
        let mut above = at.view().ancestors().skip(1);
        planned.mount.file_system != "cgroup" && !above.any(|path| tmpfs.contains(path.as_bytes()))
    };
    let configured = configured().enumerate();
    let created = configured.filter(|(_, planned)| is_created(planned));
    created.map(|(index, _)| index).collect()
}

/// Whether a missing directory is created with the mountpoint of one of these mounts, and with the recorded mode.
fn is_of_mount(plan: &Plan, planned: &PlannedFile, mounts: &BTreeSet<usize>) -> bool {
    let Status::Missing(missing) = &planned.status else {
        return false;
    };
    let inode = plan.pending.upwards(missing.inode).next();
    inode.is_some_and(|inode| {
        let is_needed = matches!(inode.need, Need::Mount(mount) if mounts.contains(&mount));
        is_needed && inode.kind == NewKind::Directory && inode.mode() == 0o755
    })
}

/// Whether CRIU is certain to fail because of this mount. Only a mount that the checkpoint has in that very place
/// can prevent its restore: the workload may have unmounted the others, and CRIU doesn't resolve the
/// configuration's paths.
pub fn is_fatal(planned: &PlannedMount) -> bool {
    let Some(failure) = planned.status.failure() else {
        return false;
    };
    match planned.in_checkpoint {
        InCheckpoint::NotLooked | InCheckpoint::No | InCheckpoint::Elsewhere => return false,
        InCheckpoint::External | InCheckpoint::Own => {}
    }
    match failure.cause {
        Cause::WrongKind { .. } => true,
        // The mountpoint is missing, and can't be created.
        Cause::System { errno, .. } => {
            errno == Errno::EROFS || matches!(planned.status, Status::NotCreated(..))
        }
        Cause::NotADirectory => planned.origin == Origin::Checkpoint,
        Cause::Source(errno) => {
            planned.in_checkpoint == InCheckpoint::External
                && matches!(errno, Errno::ENOENT | Errno::ENOTDIR)
        }
        Cause::Below
        | Cause::Loop
        | Cause::TooLong
        | Cause::Nul
        | Cause::TooMany
        | Cause::Changed
        | Cause::Internal => false,
    }
}

/// Whether a checkpoint can belong to the container of a configuration: it has external mounts, and the
/// configuration names all of them.
pub fn fits(plan: &Plan, namespaces: &[Namespace], externals: &Externals) -> bool {
    let is_external = |planned: &PlannedMount| planned.in_checkpoint == InCheckpoint::External;
    plan.mounts.iter().any(is_external) && unmapped(plan, namespaces, externals).is_empty()
}

/// What CRIU reports of something that it doesn't accept.
fn differs(path: &Escaped, difference: Difference) -> String {
    match difference {
        Difference::Size { here, recorded } => {
            format!("File {path} has bad size {here} (expect {recorded})")
        }
        Difference::Mode { here, recorded } => {
            format!("File {path} has bad mode 0{here:o} (expect 0{recorded:o})")
        }
        Difference::InUse => "Can't bind: Address already in use".to_owned(),
    }
}

/// What keeps CRIU from opening an open file, if anything does.
pub fn of_open_file(planned: &PlannedFile) -> Option<FindingKind> {
    match &planned.status {
        Status::Missing(_) => Some(FindingKind::MissingOpenFile),
        Status::NotRequested => Some(FindingKind::MissingLog),
        Status::MissingContent => Some(FindingKind::MissingContent),
        Status::Differs(Difference::Size { .. }) => Some(FindingKind::BadSize),
        Status::Differs(Difference::Mode { .. }) => Some(FindingKind::BadMode),
        Status::Differs(Difference::InUse) => Some(FindingKind::AddressInUse),
        Status::KindUnknown => Some(FindingKind::OpenFileOfUnknownKind),
        Status::Failed(_) | Status::NotCreated(..) => Some(FindingKind::OpenFileNotCreated),
        Status::Present
        | Status::Created(_)
        | Status::Restored
        | Status::Kernel
        | Status::Link
        | Status::NotInspected(_) => None,
    }
}

fn of_mountpoint(planned: &PlannedMount) -> Option<FindingKind> {
    match &planned.status {
        // Every runtime creates the configuration's mountpoints in the rootfs itself.
        Status::Missing(_)
            if planned.parent.is_none() && planned.origin == Origin::Configuration =>
        {
            None
        }
        Status::Missing(_) => Some(FindingKind::MissingMountpoint),
        Status::KindUnknown
        | Status::NotRequested
        | Status::MissingContent
        | Status::Differs(_) => Some(FindingKind::MountpointOfUnknownKind),
        // The finding about the mount that it lies in is enough.
        Status::Failed(Failure {
            cause: Cause::Below,
            ..
        })
        | Status::Present
        | Status::Created(_)
        | Status::Restored
        | Status::Kernel
        | Status::Link
        | Status::NotInspected(_) => None,
        Status::Failed(failure) | Status::NotCreated(_, failure) => Some(match failure.cause {
            Cause::WrongKind { .. } => FindingKind::WrongKind,
            Cause::Source(_) => FindingKind::MissingSource,
            cause if cause.errno() == Errno::EROFS => FindingKind::ReadOnly,
            _ => FindingKind::Unreachable,
        }),
    }
}

/// mount(2) and `move_mount(2)` report both directions as ENOTDIR.
fn wrong_kind(planned: &PlannedMount) -> String {
    match &planned.mount.content {
        Content::Bind { source, .. } => {
            format!(
                "Failed to move_mount from {}: Not a directory",
                shown(source)
            )
        }
        _ => "Can't mount at: Not a directory".to_owned(),
    }
}

/// External mounts of the checkpoint that no runtime would pass to CRIU.
fn unmapped<'a>(
    plan: &Plan,
    namespaces: &'a [Namespace],
    externals: &Externals,
) -> Vec<&'a MountImage> {
    let configured = || {
        plan.mounts
            .iter()
            .filter(|mount| mount.origin == Origin::Configuration)
    };
    let binds = configured().filter(|mount| mount.mount.is_bind());
    let names = binds.flat_map(|mount| {
        [
            mount.resolved.as_ref(),
            mount.mount.destination.as_ref().ok(),
        ]
    });
    let mut keys: BTreeSet<&[u8]> = names.flatten().map(RelPath::as_bytes).collect();
    if !externals.masked.is_empty() {
        keys.insert(b"dev/null");
    }
    let others = externals.masked.iter().chain(&externals.devices);
    keys.extend(others.map(|path| path.strip_prefix('/').unwrap_or(path).as_bytes()));
    // For a cgroup v1 mount runc passes each of its hierarchies.
    let is_cgroup = |mount: &&PlannedMount| mount.mount.file_system == "cgroup";
    let cgroups = configured().filter(is_cgroup);
    let cgroups: Vec<RelRef> = cgroups
        .filter_map(|mount| Some(mount.resolved.as_ref()?.view()))
        .collect();
    let is_unmapped = |mount: &&MountImage| {
        let Some(key) = mount
            .external
            .as_deref()
            .filter(|_| !mount.is_empty_directory())
        else {
            return false;
        };
        let key = key.strip_prefix(b"/").unwrap_or(key);
        let path = RelRef::new(key);
        let below = |top: RelRef| path.is_some_and(|path| path != top && path.is_in(top));
        !keys.contains(key) && !cgroups.iter().any(|&top| below(top))
    };
    let all = namespaces.iter().flat_map(|namespace| &namespace.mounts);
    all.filter(is_unmapped).collect()
}
