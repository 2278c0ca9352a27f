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
use crate::checkpoint::{MountImage, OpenKind};
use crate::diagnosis::Finding;
use crate::escape::Escaped;
use crate::mountpoints::budget::Lines;
use crate::mountpoints::needs::{NeededInode, NeededSource};
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
struct Whole<'a, M, O, F, N> {
    version: u32,
    command: &'static str,
    /// The checkpoint, if it stands alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    bundle: Option<String>,
    rootfs: Option<String>,
    mounts: M,
    open_files: O,
    summary: Summary,
    /// How many inodes are not listed, since there are too many.
    #[serde(skip_serializing_if = "Unlisted::is_none")]
    unlisted: Unlisted<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<F>,
    /// If the checkpoint stands alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<N>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_of_host: Option<Vec<HostNeed<'a>>>,
}

#[derive(Serialize)]
struct HostNeed<'a> {
    what: &'static str,
    which: &'a str,
}

#[derive(Serialize)]
struct SourceReport<I> {
    destination: String,
    kind: Option<&'static str>,
    by_engine: bool,
    was: Option<String>,
    inodes: I,
}

#[derive(Serialize)]
struct NeededReport {
    path: String,
    kind: &'static str,
    mode: Option<String>,
    size: Option<u64>,
    by_premount: bool,
}

#[derive(Serialize)]
struct FindingReport {
    kind: &'static str,
    severity: &'static str,
    mount: Option<String>,
    detail: Option<String>,
    message: &'static str,
    host_path: Option<String>,
    criu: Option<String>,
}

#[derive(Serialize)]
struct CheckpointReport<'a, M, N> {
    version: u32,
    checkpoint: String,
    namespaces: M,
    needs: N,
    needs_of_host: Vec<HostNeed<'a>>,
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
    host_path: Option<String>,
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
    needs: &[NeededSource],
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
        checkpoint: plan.is_alone().then(|| path(&report.bundle)),
        bundle: (!plan.is_alone()).then(|| path(&report.bundle)),
        rootfs: plan.rootfs.as_deref().map(path),
        mounts: Each(mounts),
        open_files: Each(files),
        summary: Summary::new(plan),
        unlisted: Unlisted(&lines),
        findings: findings.map(|all| Each(move || all.iter().map(finding))),
        needs: plan.is_alone().then_some(Each(|| needs.iter().map(source))),
        needs_of_host: plan.is_alone().then(|| needs_of_host(report)),
    };
    write_pretty(&report, out)
}

pub(super) fn checkpoint(
    report: &Report,
    needs: &[NeededSource],
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
        checkpoint: path(&report.bundle),
        namespaces: Each(|| {
            let all = report.namespaces.iter();
            all.map(|namespace| Each(move || namespace.mounts.iter().map(mount)))
        }),
        needs: Each(|| needs.iter().map(source)),
        needs_of_host: needs_of_host(report),
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
        severity: finding.kind.severity().name(),
        mount: finding.path().map(|path| bytes(&path)),
        detail: finding.detail().map(str::to_owned),
        message: finding.kind.message(),
        host_path: finding.host_path().as_deref().map(path),
        criu: finding.criu(),
    }
}

fn needs_of_host(report: &Report) -> Vec<HostNeed<'_>> {
    let all = report.needs_of_host.iter();
    all.map(|(what, which)| HostNeed { what, which }).collect()
}

fn source<'a>(needed: &'a NeededSource) -> impl Serialize + use<'a> {
    let inode = |inode: &NeededInode| NeededReport {
        path: bytes(&inode.path),
        kind: inode.kind.name(),
        mode: inode.mode.map(|mode| format!("{mode:04o}")),
        size: inode.size,
        by_premount: inode.by_premount,
    };
    SourceReport {
        destination: needed.mount.mount.written.clone(),
        kind: needed.kind.map(MountpointKind::name),
        by_engine: needed.by_engine,
        was: needed.was.map(path),
        inodes: Each(move || needed.inodes.iter().map(inode)),
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
        host_path: plan.file_host_path(planned).as_deref().map(path),
        parent: planned.parent,
        kind: match planned.kind {
            OpenKind::Directory | OpenKind::SocketDirectory => "directory",
            OpenKind::Fifo => "fifo",
            OpenKind::EmptyFile | OpenKind::File => "file",
            OpenKind::Device => "device",
            OpenKind::Deleted => "deleted",
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
