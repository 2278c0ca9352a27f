// SPDX-License-Identifier: Apache-2.0
//! The JSON of `plan`, `apply` and `check`. Its shape is documented in docs/json.md, and
//! only ever gains fields; `version` says when that changes.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use super::{Named, Report, Summary, named};
use crate::Task;
use crate::budget::Lines;
use crate::create::Outcome;
use crate::error::Failure;
use crate::escape::Escaped;
use crate::findings::Finding;
use crate::images::{MountImage, Namespace};
use crate::mount::MountpointKind;
use crate::plan::{Origin, Plan, PlannedMount, Status};

pub(super) const VERSION: u32 = 1;

#[derive(Serialize)]
struct Whole {
    version: u32,
    command: &'static str,
    bundle: String,
    rootfs: String,
    mounts: Vec<MountReport>,
    summary: Summary,
    /// How many inodes are not listed, since there are too many.
    #[serde(skip_serializing_if = "is_zero")]
    unlisted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<Vec<FindingReport>>,
}

#[derive(Serialize)]
struct FindingReport {
    kind: &'static str,
    mount: String,
    message: &'static str,
    host_path: Option<String>,
    criu: Option<String>,
}

#[derive(Serialize)]
struct CheckpointReport {
    version: u32,
    checkpoint: String,
    namespaces: Vec<Vec<CheckpointMount>>,
}

#[derive(Serialize)]
struct CheckpointMount {
    id: u32,
    parent: u32,
    mountpoint: String,
    r#type: String,
    external: Option<String>,
}

#[derive(Serialize)]
struct MountReport {
    index: usize,
    origin: &'static str,
    destination: String,
    resolved: String,
    r#type: String,
    source: Option<String>,
    parent: Option<usize>,
    host_path: Option<String>,
    kind: Option<&'static str>,
    status: &'static str,
    missing: Vec<InodeReport>,
    created: Vec<InodeReport>,
    error: Option<ErrorReport>,
}

#[derive(Serialize)]
struct InodeReport {
    path: String,
    kind: &'static str,
}

#[derive(Serialize)]
struct ErrorReport {
    message: String,
    host_path: Option<String>,
    operation: &'static str,
    errno: String,
}

// serde asks by reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

pub(super) fn text(task: Task, report: &Report) -> String {
    let Report {
        bundle,
        plan,
        outcomes,
        findings,
    } = *report;
    let mut lines = Lines::default();
    let mounts = plan
        .mounts
        .iter()
        .zip(outcomes)
        .enumerate()
        .map(|(index, (planned, outcome))| mount(plan, task, index, planned, outcome, &mut lines))
        .collect();
    let report = Whole {
        version: VERSION,
        command: match task {
            Task::Plan => "plan",
            Task::Apply => "apply",
            Task::Check => "check",
        },
        bundle: path(bundle),
        rootfs: path(&plan.rootfs),
        mounts,
        summary: Summary::new(plan, outcomes, task == Task::Apply),
        unlisted: lines.unsaid(),
        findings: findings.map(|all| all.iter().map(finding).collect()),
    };
    pretty(&report)
}

pub(super) fn checkpoint(checkpoint: &Path, namespaces: &[Namespace]) -> String {
    let mount = |mount: &MountImage| CheckpointMount {
        id: mount.id,
        parent: mount.parent,
        mountpoint: absolute(mount.mountpoint.as_bytes()),
        r#type: mount.file_system.clone(),
        external: mount.external.as_deref().map(bytes),
    };
    pretty(&CheckpointReport {
        version: VERSION,
        checkpoint: path(checkpoint),
        namespaces: namespaces
            .iter()
            .map(|namespace| namespace.mounts.iter().map(mount).collect())
            .collect(),
    })
}

pub(super) fn pretty(report: &impl Serialize) -> String {
    // Strings, numbers and lists: nothing here that JSON can't say.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

fn finding(finding: &Finding) -> FindingReport {
    FindingReport {
        kind: finding.kind.name(),
        mount: bytes(&finding.mount),
        message: finding.kind.message(),
        host_path: finding.host_path.as_deref().map(path),
        criu: finding.criu.clone(),
    }
}

fn absolute(relative: &[u8]) -> String {
    bytes(&[b"/", relative].concat())
}

fn mount(
    plan: &Plan,
    task: Task,
    index: usize,
    planned: &PlannedMount,
    outcome: &Outcome,
    lines: &mut Lines,
) -> MountReport {
    let inodes: Vec<InodeReport> = named(task, plan, planned, outcome, lines)
        .map(|Named { path: at, kind }| InodeReport {
            path: path(&at),
            kind: kind.name(),
        })
        .collect();
    let (missing, created) = match task {
        Task::Apply => (Vec::new(), inodes),
        Task::Plan | Task::Check => (inodes, Vec::new()),
    };
    MountReport {
        index,
        origin: match planned.origin {
            Origin::Configuration => "configuration",
            Origin::Checkpoint => "checkpoint",
        },
        destination: planned.mount.written.clone(),
        resolved: absolute(&planned.resolved),
        r#type: planned.mount.file_system.clone(),
        source: planned.mount.source().as_deref().map(path),
        parent: planned.parent,
        host_path: planned.host_path.as_deref().map(path),
        kind: planned.kind.map(MountpointKind::name),
        status: status(task, planned, outcome),
        missing,
        created,
        error: outcome.failure.as_ref().map(error),
    }
}

fn status(task: Task, planned: &PlannedMount, outcome: &Outcome) -> &'static str {
    match (&planned.status, &outcome.failure) {
        (_, Some(_)) | (Status::Failed(_), _) => "failed",
        (Status::Present, _) => "present",
        (Status::Missing(_), _) if task == Task::Apply => "created",
        (Status::Missing(_), _) => "missing",
        (Status::Restored, _) => "restored",
        (Status::Kernel, _) => "kernel",
        (Status::Link, _) => "link",
        (Status::Unjudged(_), _) => "unjudged",
        (Status::Undecided, _) => "undecided",
    }
}

fn error(failure: &Failure) -> ErrorReport {
    ErrorReport {
        message: failure.cause.to_string(),
        host_path: failure.host_path.as_deref().map(path),
        operation: failure.cause.operation(),
        errno: format!("{:?}", failure.cause.errno()),
    }
}

fn path(path: &Path) -> String {
    bytes(path.as_os_str().as_bytes())
}

/// UTF-8 as it is, JSON has its own escapes; any other bytes as premount prints them elsewhere.
fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => Escaped(bytes).to_string(),
    }
}
