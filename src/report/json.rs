// SPDX-License-Identifier: Apache-2.0
//! The JSON of `plan`, `apply` and `check`. Its shape is documented in docs/json.md, and
//! only ever gains fields; `version` says when that changes.

use std::cell::RefCell;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Serialize, Serializer};

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

/// A list that is made while it is written.
struct Each<F>(F);

impl<I: IntoIterator<Item: Serialize>, F: Fn() -> I> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

#[derive(Serialize)]
struct Whole<'a, M, F> {
    version: u32,
    command: &'static str,
    bundle: String,
    rootfs: String,
    mounts: M,
    summary: Summary,
    /// How many inodes are not listed, since there are too many.
    #[serde(skip_serializing_if = "Unlisted::is_none")]
    unlisted: Unlisted<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<F>,
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
struct CheckpointReport<N> {
    version: u32,
    checkpoint: String,
    namespaces: N,
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

/// How many inodes had no room, once all are written that had.
struct Unlisted<'a>(&'a RefCell<Lines>);

impl Unlisted<'_> {
    fn is_none(&self) -> bool {
        self.0.borrow().unsaid() == 0
    }
}

impl Serialize for Unlisted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.borrow().unsaid().serialize(serializer)
    }
}

pub(super) fn report(task: Task, report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let Report {
        bundle,
        plan,
        outcomes,
        findings,
    } = *report;
    let lines = RefCell::default();
    let mounts = || {
        let all = plan.mounts.iter().zip(outcomes).enumerate();
        all.map(|(index, (planned, outcome))| {
            mount(plan, task, index, planned, outcome, &mut lines.borrow_mut())
        })
    };
    let report = Whole {
        version: VERSION,
        command: match task {
            Task::Plan => "plan",
            Task::Apply => "apply",
            Task::Check => "check",
        },
        bundle: path(bundle),
        rootfs: path(&plan.rootfs),
        mounts: Each(mounts),
        summary: Summary::new(plan, outcomes, task == Task::Apply),
        unlisted: Unlisted(&lines),
        findings: findings.map(|all| Each(move || all.iter().map(finding))),
    };
    write_pretty(&report, out)
}

pub(super) fn checkpoint(
    checkpoint: &Path,
    namespaces: &[Namespace],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mount = |mount: &MountImage| CheckpointMount {
        id: mount.id,
        parent: mount.parent,
        mountpoint: absolute(mount.mountpoint.as_bytes()),
        r#type: mount.file_system.clone().into_owned(),
        external: mount.external.as_deref().map(bytes),
    };
    let report = CheckpointReport {
        version: VERSION,
        checkpoint: path(checkpoint),
        namespaces: Each(|| {
            let all = namespaces.iter();
            all.map(|namespace| Each(move || namespace.mounts.iter().map(mount)))
        }),
    };
    write_pretty(&report, out)
}

pub(super) fn write_pretty(report: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
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
