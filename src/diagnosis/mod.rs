// SPDX-License-Identifier: Apache-2.0
//! Whether a checkpoint can be restored with a configuration on this host, and if not, why: each finding with
//! the error that CRIU would report for it.
//!
//! Takes values and returns values: the plan has looked at the host's directories, and [`of_host`] asks
//! [`host`](crate::host) for the rest.

mod files;
mod host;
mod kind;
mod mounts;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::checkpoint::{MountImage, Namespace};
use crate::error::shown;
use crate::mountpoints::failure::{Cause, Failure};
use crate::mountpoints::plan::{InnerSource, Plan, PlannedFile, PlannedMount};
use crate::mountpoints::required::InCheckpoint;
use crate::oci::config::Externals;
pub use files::of_open_file;
pub use host::{HostFinding, OfHost, needs_of_host, of_host};
pub use kind::{FindingKind, Severity};
pub use mounts::{fits, is_fatal, of_mountpoint};

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
    Inner(&'a InnerSource),
    Rootfs,
    Host(&'a HostFinding),
}

impl Finding<'_> {
    /// What it is about, by its path in the container: the destination of a mount, or an open file. None if it is
    /// about the host.
    pub fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(match self.about {
            About::Planned(planned) => planned.mount.written.as_bytes().into(),
            About::File(planned) => planned.name().into(),
            About::Image(mount) => [b"/", mount.mountpoint.as_bytes()].concat().into(),
            About::Inner(inner) => [b"/", inner.mountpoint.as_bytes()].concat().into(),
            About::Rootfs => b"/tmp".into(),
            About::Host(_) => return None,
        })
    }

    /// The place on the host.
    pub fn host_path(&self) -> Option<PathBuf> {
        let planned = match self.about {
            About::Planned(planned) => planned,
            About::File(planned) => {
                let failed_at = self.plan.file_failed_at(planned);
                return failed_at.or_else(|| self.plan.file_host_path(planned));
            }
            About::Inner(inner) => return Some(self.plan.sources.host_path(&inner.at)),
            About::Rootfs => return self.plan.rootfs.clone(),
            About::Image(_) | About::Host(_) => return None,
        };
        match self.kind {
            FindingKind::NoMapping | FindingKind::NotInCheckpoint | FindingKind::OldContent => None,
            FindingKind::MissingMountpoint
            | FindingKind::MountpointOfUnknownKind
            | FindingKind::SymbolicLink
            | FindingKind::NotInspected => self.plan.host_path(planned),
            _ => self.plan.failed_at(planned),
        }
    }

    /// What the finding is about, where that is no path: a profile, an address.
    pub fn detail(&self) -> Option<&str> {
        match self.about {
            About::Host(found) => Some(&found.detail),
            _ => None,
        }
    }

    /// What CRIU would report, without what differs from one run to the next; none if the restore succeeds all
    /// the same.
    pub fn criu(&self) -> Option<String> {
        if self.kind.severity() == Severity::Warns {
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
            (_, About::Host(found)) => found.criu.clone(),
            (_, About::File(planned)) => files::criu(planned),
            (_, About::Rootfs) => "Can't create a temporary directory".to_owned(),
            (_, About::Inner(_)) => {
                format!("Failed to open_tree {place}: No such file or directory")
            }
            (FindingKind::WrongKind, About::Planned(planned)) => mounts::wrong_kind(planned),
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

/// All findings, in the order of the configuration, those about the host first. `is_runc`: runc restores, and
/// creates most mountpoints itself.
pub fn diagnose<'a>(
    plan: &'a Plan,
    namespaces: &'a [Namespace],
    externals: &Externals,
    host: &'a [HostFinding],
    is_runc: bool,
) -> Vec<Finding<'a>> {
    let by_runc = if is_runc {
        mounts::of_runc(plan)
    } else {
        BTreeSet::new()
    };
    let mut all = Vec::new();
    let mut add = |kind, about| all.push(Finding { kind, plan, about });
    for found in host {
        add(found.kind, About::Host(found));
    }
    if plan.has_no_tmp {
        add(FindingKind::NoTmp, About::Rootfs);
    }
    for (index, planned) in plan.mounts.iter().enumerate() {
        let about = About::Planned(planned);
        let is_there = planned.in_checkpoint != InCheckpoint::No;
        // CRIU doesn't ask for a mountpoint that no mount of the checkpoint is on. But the runtime opens the
        // source of every mount of the configuration.
        let of_runtime = |failure: &Failure| matches!(failure.cause, Cause::Source(_));
        if is_there || planned.status.failure().is_some_and(of_runtime) {
            let is_awaited = planned.at.as_ref().is_some_and(|at| plan.is_awaited(at));
            if let Some(kind) = mounts::of_mountpoint(planned) {
                if !by_runc.contains(&index) && !is_awaited {
                    add(kind, about);
                }
            }
        }
        if planned.mount.is_bind() && planned.in_checkpoint == InCheckpoint::Own {
            add(FindingKind::OldContent, about);
        }
        if !is_there {
            add(FindingKind::NotInCheckpoint, about);
        }
    }
    for inner in plan
        .missing_inner
        .iter()
        .filter(|inner| !plan.is_awaited(&inner.at))
    {
        add(FindingKind::MissingSource, About::Inner(inner));
    }
    let is_held = |planned: &&PlannedFile| planned.is_held && !plan.is_awaited(&planned.at);
    for planned in plan.files.iter().filter(is_held) {
        if let Some(kind) = of_open_file(planned) {
            if !files::is_of_mount(plan, planned, &by_runc) {
                add(kind, About::File(planned));
            }
        }
    }
    // Whoever restores a checkpoint that stands alone makes a configuration for it.
    if !plan.is_alone() {
        for mount in mounts::unmapped(plan, namespaces, externals) {
            add(FindingKind::NoMapping, About::Image(mount));
        }
    }
    all
}
