// SPDX-License-Identifier: Apache-2.0
//! The JSON of `plan`, `apply` and `check`. Its shape is documented in docs/json.md, and
//! only ever gains fields; `version` says when that changes.

use std::cell::RefCell;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Serialize, Serializer};

use super::Report;
use super::inodes::{Named, named};
use super::summary::Summary;
use crate::checkpoint::{MountImage, Namespace, OpenKind};
use crate::escape::Escaped;
use crate::mountpoints::budget::Lines;
use crate::mountpoints::diagnosis::Finding;
use crate::mountpoints::pending::Need;
use crate::mountpoints::plan::{Origin, Plan, PlannedFile, PlannedMount, Status};
use crate::path::RelPath;
use crate::request::View;
use crate::sys::{MountpointKind, NewKind};

pub(super) const VERSION: u32 = 1;

/// A list that is generated while it is written.
struct Each<F>(F);

impl<I: IntoIterator<Item: Serialize>, F: Fn() -> I> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

#[derive(Serialize)]
struct Whole<'a, M, O, F> {
    version: u32,
    command: &'static str,
    bundle: String,
    rootfs: String,
    mounts: M,
    open_files: O,
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
struct FileReport {
    path: String,
    host_path: String,
    parent: Option<usize>,
    kind: &'static str,
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

/// How many inodes didn't fit, known after the others are written.
struct Unlisted<'a>(&'a RefCell<Lines>);

impl Unlisted<'_> {
    fn is_none(&self) -> bool {
        self.0.borrow().omitted() == 0
    }
}

impl Serialize for Unlisted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.borrow().omitted().serialize(serializer)
    }
}

pub(super) fn report(
    view: View,
    report: &Report,
    findings: Option<&[Finding]>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let plan = &report.plan;
    let lines = RefCell::default();
    let mounts = || {
        let all = plan.mounts.iter().enumerate();
        all.map(|(index, planned)| mount(plan, view, index, planned, &mut lines.borrow_mut()))
    };
    let files = || {
        let all = plan.files.iter().enumerate();
        all.map(|(index, planned)| file(plan, view, index, planned, &mut lines.borrow_mut()))
    };
    let report = Whole {
        version: VERSION,
        command: match view {
            View::Plan => "plan",
            View::Created => "apply",
            View::Missing => "check",
        },
        bundle: path(&report.bundle),
        rootfs: path(&plan.rootfs),
        mounts: Each(mounts),
        open_files: Each(files),
        summary: Summary::new(plan),
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
        mount: bytes(&finding.path()),
        message: finding.kind.message(),
        host_path: finding.host_path().as_deref().map(path),
        criu: finding.criu(),
    }
}

fn absolute(relative: &[u8]) -> String {
    bytes(&[b"/", relative].concat())
}

fn mount(
    plan: &Plan,
    view: View,
    index: usize,
    planned: &PlannedMount,
    lines: &mut Lines,
) -> MountReport {
    let (missing, created) = inodes(plan, view, Need::Mount(index), lines);
    let written = &planned.mount.written;
    let resolved = planned.resolved.as_ref().map(RelPath::as_bytes);
    MountReport {
        index,
        origin: match planned.origin {
            Origin::Configuration => "configuration",
            Origin::Checkpoint => "checkpoint",
        },
        destination: written.clone(),
        // A destination that is not a path is shown as written.
        resolved: absolute(resolved.unwrap_or(written.trim_start_matches('/').as_bytes())),
        r#type: planned.mount.file_system.clone(),
        source: planned.mount.source().map(path),
        parent: planned.parent,
        host_path: plan.host_path(planned).as_deref().map(path),
        kind: planned.kind.map(MountpointKind::name),
        status: status(&planned.status),
        missing,
        created,
        error: error(&planned.status, plan.failed_at(planned).as_deref()),
    }
}

fn file(
    plan: &Plan,
    view: View,
    index: usize,
    planned: &PlannedFile,
    lines: &mut Lines,
) -> FileReport {
    let (missing, created) = inodes(plan, view, Need::File(index), lines);
    FileReport {
        path: absolute(planned.path.as_bytes()),
        host_path: path(&plan.sources.host_path(&planned.at)),
        parent: planned.parent,
        kind: match planned.kind {
            OpenKind::Directory | OpenKind::SocketDirectory => "directory",
            OpenKind::Fifo => "fifo",
            OpenKind::EmptyFile | OpenKind::File => "file",
            OpenKind::Device => "device",
            OpenKind::Socket => "socket",
            OpenKind::Log => "log",
            OpenKind::Unknown => "unknown",
        },
        status: status(&planned.status),
        missing,
        created,
        error: error(&planned.status, plan.file_failed_at(planned).as_deref()),
    }
}

/// What is missing, and what was created.
fn inodes(
    plan: &Plan,
    view: View,
    need: Need,
    lines: &mut Lines,
) -> (Vec<InodeReport>, Vec<InodeReport>) {
    let all = named(view, plan, need, lines).map(|Named { path: at, kind }| InodeReport {
        path: path(&at),
        kind: match kind {
            NewKind::Directory => "directory",
            NewKind::File => "file",
            NewKind::Fifo => "fifo",
        },
    });
    let all = all.collect();
    match view {
        View::Created => (Vec::new(), all),
        View::Plan | View::Missing => (all, Vec::new()),
    }
}

fn status(status: &Status) -> &'static str {
    match status {
        Status::Present => "present",
        Status::Missing(_) => "missing",
        Status::Created(_) => "created",
        Status::Failed(_) | Status::NotCreated(..) => "failed",
        Status::Restored => "restored",
        Status::Kernel => "kernel",
        Status::Link => "link",
        Status::NotInspected(_) => "not-inspected",
        Status::KindUnknown => "kind-unknown",
        Status::NotRequested => "not-requested",
        Status::MissingContent => "missing-content",
        Status::Differs(_) => "differs",
    }
}

fn error(status: &Status, at: Option<&Path>) -> Option<ErrorReport> {
    let cause = status.failure()?.cause;
    Some(ErrorReport {
        message: cause.to_string(),
        host_path: at.map(path),
        operation: cause.operation(),
        errno: format!("{:?}", cause.errno()),
    })
}

fn path(path: &Path) -> String {
    bytes(path.as_os_str().as_bytes())
}

/// UTF-8 as it is, JSON has its own escapes; any other bytes as premount prints them elsewhere.
pub(super) fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => Escaped(bytes).to_string(),
    }
}
