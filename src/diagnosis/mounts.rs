// SPDX-License-Identifier: Apache-2.0
//! What keeps CRIU from mounting what a checkpoint has.

use std::collections::BTreeSet;

use nix::errno::Errno;

use super::FindingKind;
use crate::checkpoint::{MountImage, Namespace};
use crate::error::shown;
use crate::mountpoints::failure::Cause;
use crate::mountpoints::plan::{Origin, Plan, PlannedMount, Reason, Status};
use crate::mountpoints::required::InCheckpoint;
use crate::oci::config::Externals;
use crate::oci::mount::Content;
use crate::path::{RelPath, RelRef};
use crate::sys::kernel_fs::is_kernel_fs;

/// The mounts of the configuration whose missing mountpoints runc creates before it calls CRIU: all but those of
/// cgroups, and those below one of its tmpfs by name (runc libcontainer/criu_linux.go, `prepareCriuRestoreMounts`).
pub(super) fn of_runc(plan: &Plan) -> BTreeSet<usize> {
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

/// What keeps CRIU from mounting a mount, if anything does.
pub fn of_mountpoint(planned: &PlannedMount) -> Option<FindingKind> {
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
        Status::Failed(failure) if failure.cause == Cause::Below => None,
        Status::Failed(failure) | Status::NotCreated(_, failure) => Some(match failure.cause {
            Cause::WrongKind { .. } => FindingKind::WrongKind,
            Cause::Source(_) => FindingKind::MissingSource,
            cause if cause.errno() == Errno::EROFS => FindingKind::ReadOnly,
            _ => FindingKind::Unreachable,
        }),
        Status::NotInspected(Reason::Link) => Some(FindingKind::SymbolicLink),
        // What is mounted on a kernel file system was there before, and an engine brings a rootfs that isn't here.
        Status::NotInspected(Reason::FileSystem(name))
            if planned.parent.is_some() && !is_kernel_fs(name) =>
        {
            Some(FindingKind::NotInspected)
        }
        Status::Present
        | Status::Created(_)
        | Status::Restored
        | Status::Kernel
        | Status::Link
        | Status::NotInspected(_) => None,
    }
}

/// mount(2) reports both directions as ENOTDIR, and `move_mount(2)` as EINVAL.
pub(super) fn wrong_kind(planned: &PlannedMount) -> String {
    match &planned.mount.content {
        Content::Bind { source, .. } => {
            format!(
                "Failed to move_mount from {}: Invalid argument",
                shown(source)
            )
        }
        _ => "Can't mount at: Not a directory".to_owned(),
    }
}

/// External mounts of the checkpoint that no runtime would pass to CRIU.
pub(super) fn unmapped<'a>(
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
