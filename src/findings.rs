// SPDX-License-Identifier: Apache-2.0
//! Whether a checkpoint can be restored with a configuration on this host, and if not, why: each
//! finding with the error of CRIU's that it would become.
//!
//! Takes values and returns values: the plan has looked at the host.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::checkpoint::InCheckpoint;
use crate::config::Externals;
use crate::create::Outcome;
use crate::error::{Cause, Failure, shown};
use crate::escape::Escaped;
use crate::images::Namespace;
use crate::mount::Content;
use crate::plan::{Origin, Plan, PlannedMount, Status};

/// Something that keeps a checkpoint from being restored, or is worth knowing before.
#[derive(Debug)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// The mount: its destination.
    pub mount: Vec<u8>,
    /// The place on the host.
    pub host_path: Option<PathBuf>,
    /// What CRIU would say, without what differs from one run to the next; none where the restore
    /// succeeds all the same.
    pub criu: Option<String>,
}

/// What a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// The mountpoint isn't there; `apply`, the hook or the action script makes it.
    MissingMountpoint,
    /// The mountpoint isn't there, and nothing tells whether it is to be a directory or a file.
    UndecidedMountpoint,
    /// The mountpoint, or the source, is a file instead of a directory or the other way round.
    WrongKind,
    /// The mountpoint isn't there, and its file system is read-only.
    ReadOnly,
    /// The bind source isn't there.
    MissingSource,
    /// The mountpoint can't be had for another reason.
    Unreachable,
    /// The configuration no longer has a mount that the checkpoint gets from outside.
    NoMapping,
    /// The configuration has a mount that the checkpoint doesn't know: it will not be there.
    NotInCheckpoint,
}

impl FindingKind {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingMountpoint => "missing-mountpoint",
            Self::UndecidedMountpoint => "undecided-mountpoint",
            Self::WrongKind => "wrong-kind",
            Self::ReadOnly => "read-only",
            Self::MissingSource => "missing-source",
            Self::Unreachable => "unreachable",
            Self::NoMapping => "no-mapping",
            Self::NotInCheckpoint => "not-in-checkpoint",
        }
    }

    /// What it means.
    pub fn message(self) -> &'static str {
        match self {
            Self::MissingMountpoint => "the mountpoint is missing (premount apply makes it)",
            Self::UndecidedMountpoint => {
                "the mountpoint is missing, and nothing tells whether it is a directory or a file"
            }
            Self::WrongKind => "a file is where a directory has to be, or the other way round",
            Self::ReadOnly => "the mountpoint is missing, on a read-only file system",
            Self::MissingSource => "the source can't be opened",
            Self::Unreachable => "the mountpoint can't be had",
            Self::NoMapping => "the checkpoint needs this mount, and the configuration has none",
            Self::NotInCheckpoint => "the checkpoint doesn't know this mount: it won't be there",
        }
    }
}

/// All findings, in the order of the configuration. What is missing in the plan has been made by now if
/// there are `outcomes` of making it.
pub fn findings(
    plan: &Plan,
    outcomes: Option<&[Outcome]>,
    namespaces: &[Namespace],
    externals: &Externals,
) -> Vec<Finding> {
    let is_there = |planned: &PlannedMount| planned.in_checkpoint != InCheckpoint::No;
    let mut all = Vec::new();
    for (index, planned) in plan.mounts.iter().enumerate() {
        let made = outcomes.and_then(|outcomes| outcomes.get(index));
        let status = match (&planned.status, made) {
            (Status::Missing(_), Some(made)) => match &made.failure {
                Some(failure) => &Status::Failed(failure.clone()),
                None => &Status::Present,
            },
            (status, _) => status,
        };
        // CRIU doesn't ask for a mountpoint that no mount of the checkpoint's is on. But the runtime
        // opens the source of every mount of the configuration.
        let of_runtime = |failure: &Failure| matches!(failure.cause, Cause::Source(_));
        if is_there(planned) || status.failure().is_some_and(of_runtime) {
            all.extend(of_mountpoint(planned, status));
        }
        if !is_there(planned) {
            all.push(Finding {
                kind: FindingKind::NotInCheckpoint,
                mount: planned.mount.written.clone().into_bytes(),
                host_path: None,
                criu: None,
            });
        }
    }
    all.extend(unmapped(plan, namespaces, externals));
    all
}

/// Whether CRIU is sure to fail for what failed with a mount: only what the checkpoint has in that very
/// place can keep it from being restored. The workload may have unmounted the rest, and a way of the
/// configuration's that leads nowhere is not the one that CRIU takes.
pub fn is_fatal(planned: &PlannedMount, failure: &Failure) -> bool {
    match planned.in_checkpoint {
        InCheckpoint::NotLooked | InCheckpoint::No | InCheckpoint::Elsewhere => return false,
        InCheckpoint::External | InCheckpoint::Own => {}
    }
    match failure.cause {
        Cause::WrongKind { .. } => true,
        // The mountpoint is missing, and can't be made.
        Cause::System { errno, .. } => {
            errno == Errno::EROFS || matches!(planned.status, Status::Missing(_))
        }
        Cause::NotADirectory => planned.origin == Origin::Checkpoint,
        Cause::Source(errno) => {
            planned.in_checkpoint == InCheckpoint::External
                && matches!(errno, Errno::ENOENT | Errno::ENOTDIR)
        }
        Cause::Below | Cause::Loop | Cause::TooLong | Cause::TooMany | Cause::Changed => false,
    }
}

/// Whether a checkpoint can be one of the container of a configuration: all that it gets from outside is
/// named there, and there is something.
pub fn fits(plan: &Plan, namespaces: &[Namespace], externals: &Externals) -> bool {
    let is_external = |planned: &PlannedMount| planned.in_checkpoint == InCheckpoint::External;
    plan.mounts.iter().any(is_external) && unmapped(plan, namespaces, externals).is_empty()
}

fn of_mountpoint(planned: &PlannedMount, status: &Status) -> Option<Finding> {
    let place = planned.host_path.clone();
    let stat = |place: &Option<PathBuf>| {
        let place = place.as_deref().map(|place| shown(place).to_string());
        format!(
            "Can't stat mountpoint {}: No such file or directory",
            place.unwrap_or_default()
        )
    };
    let (kind, host_path, criu) = match status {
        // What the configuration needs in the rootfs every runtime makes itself.
        Status::Missing(_)
            if planned.parent.is_none() && planned.origin == Origin::Configuration =>
        {
            return None;
        }
        Status::Missing(_) => (FindingKind::MissingMountpoint, place.clone(), stat(&place)),
        Status::Undecided => (
            FindingKind::UndecidedMountpoint,
            place.clone(),
            stat(&place),
        ),
        Status::Failed(failure) => {
            let at = failure.host_path.clone();
            match failure.cause {
                Cause::WrongKind { .. } => (FindingKind::WrongKind, at, wrong_kind(planned)),
                Cause::Source(errno) => {
                    let source = at.as_deref().map(|source| shown(source).to_string());
                    let source = source.unwrap_or_default();
                    let criu = format!("Failed to open_tree {source}: {}", errno.desc());
                    (FindingKind::MissingSource, at, criu)
                }
                Cause::System {
                    errno: Errno::EROFS,
                    ..
                } => (FindingKind::ReadOnly, at.clone(), stat(&at)),
                _ => (FindingKind::Unreachable, at.clone(), stat(&at)),
            }
        }
        Status::Present
        | Status::Restored
        | Status::Kernel
        | Status::Link
        | Status::Unjudged(_) => return None,
    };
    let mount = planned.mount.written.clone().into_bytes();
    Some(Finding {
        kind,
        mount,
        host_path,
        criu: Some(criu),
    })
}

/// mount(2) and `move_mount(2)` know one errno for both directions.
fn wrong_kind(planned: &PlannedMount) -> String {
    match &planned.mount.content {
        Content::Bind { source, .. } => {
            format!(
                "Failed to move_mount from {}: Not a directory",
                shown(source)
            )
        }
        Content::Tmpfs { .. } | Content::Kernel | Content::Other => {
            "Can't mount at: Not a directory".to_owned()
        }
    }
}

/// Mounts that the checkpoint gets from outside, and that no runtime would name to CRIU.
fn unmapped(plan: &Plan, namespaces: &[Namespace], externals: &Externals) -> Vec<Finding> {
    let configured = || {
        plan.mounts
            .iter()
            .filter(|mount| mount.origin == Origin::Configuration)
    };
    let binds = configured().filter(|mount| matches!(mount.mount.content, Content::Bind { .. }));
    let mut keys: BTreeSet<&[u8]> = binds
        .flat_map(|mount| {
            [
                mount.resolved.as_slice(),
                mount.mount.destination.relative(),
            ]
        })
        .collect();
    let clean = |path: &'static [u8]| path.strip_prefix(b"/").unwrap_or(path);
    if !externals.masked.is_empty() {
        keys.insert(clean(b"/dev/null"));
    }
    let named = externals.masked.iter().chain(&externals.devices);
    keys.extend(named.map(|path| path.strip_prefix('/').unwrap_or(path).as_bytes()));
    // For a cgroup mount of version 1 runc names each of its hierarchies.
    let is_cgroup = |mount: &&PlannedMount| mount.mount.file_system == "cgroup";
    let cgroups: Vec<&[u8]> = configured()
        .filter(is_cgroup)
        .map(|mount| mount.resolved.as_slice())
        .collect();
    let mut all = Vec::new();
    for mount in namespaces.iter().flat_map(|namespace| &namespace.mounts) {
        let Some(key) = mount
            .external
            .as_deref()
            .filter(|_| !mount.is_empty_directory())
        else {
            continue;
        };
        let key = key.strip_prefix(b"/").unwrap_or(key);
        let in_cgroups = cgroups.iter().any(|top| {
            key.strip_prefix(*top)
                .is_some_and(|rest| rest.starts_with(b"/"))
        });
        if keys.contains(key) || in_cgroups {
            continue;
        }
        let at = [b"/", mount.mountpoint.as_bytes()].concat();
        let criu = format!("No mapping for {}:{} mountpoint", mount.id, Escaped(&at));
        all.push(Finding {
            kind: FindingKind::NoMapping,
            mount: at,
            host_path: None,
            criu: Some(criu),
        });
    }
    all
}
