// SPDX-License-Identifier: Apache-2.0
//! The report in the log. What was created has been logged when it was.

use std::os::unix::ffi::OsStrExt;

use tracing::{error, info, warn};

use super::Report;
use super::summary::Summary;
use crate::diagnosis::{FindingKind, of_mountpoint, of_open_file};
use crate::error::shown;
use crate::escape::{Escaped, Quoted};
use crate::log::{TARGET, about_file, about_mount};
use crate::mountpoints::budget::OPEN_FILE_PATHS;
use crate::mountpoints::plan::{Plan, PlannedFile, Reason, Status};
use crate::mountpoints::required::InCheckpoint;
use crate::oci::config::APPEND_ANNOTATION;
use crate::request::Failing;

/// Maximum number of open files, and of other findings, that are listed in a restore.
const MOST: usize = 20;

/// What failed, before any sum that counts it.
pub(super) fn failures(report: &Report) {
    let plan = &report.plan;
    for planned in &plan.mounts {
        let Some(text) = plan.failure_text(planned) else {
            continue;
        };
        let path = plan.failed_at(planned);
        let is_there = planned.in_checkpoint != InCheckpoint::No;
        let kind = of_mountpoint(planned).filter(|_| is_there);
        let text = with_code(report, kind, text);
        let mount = planned.mount.written.as_bytes();
        about_mount("failed", mount, path.as_deref(), || {
            if report.counts(planned) {
                error!(target: TARGET, "{text}");
            } else {
                warn!(target: TARGET, "{text}");
            }
        });
    }
    file_failures(report);
}

/// What failed with open files. CRIU fails at these itself, so in a restore they are no errors, and only the first are
/// listed.
fn file_failures(report: &Report) {
    let plan = &report.plan;
    let failures = plan.files.iter();
    let failures = failures.filter_map(|planned| Some((planned, plan.file_failure_text(planned)?)));
    let mut omitted = 0;
    for (number, (planned, text)) in failures.enumerate() {
        let is_error = report.file_counts(planned);
        if number >= MOST && !is_error {
            omitted += 1;
            continue;
        }
        let path = plan.file_failed_at(planned);
        let text = with_code(report, of_open_file(planned), text);
        about_file("failed", &planned.name(), path.as_deref(), || {
            if is_error {
                error!(target: TARGET, "{text}");
            } else {
                warn!(target: TARGET, "{text}");
            }
        });
    }
    not_listed(omitted);
}

/// In a restore each line has the code of the finding, which nobody else tells then.
fn with_code(report: &Report, kind: Option<FindingKind>, text: String) -> String {
    match kind {
        Some(kind) if report.failing == Failing::CriuFails => format!("{}: {text}", kind.name()),
        _ => text,
    }
}

/// The open files that were left alone: the first of them, since there may be thousands.
fn other_files(plan: &Plan) {
    let others = plan.files.iter();
    let others = others.filter_map(|planned| Some((planned, left_alone(planned)?)));
    let mut omitted = 0;
    for (number, (planned, text)) in others.enumerate() {
        if number >= MOST {
            omitted += 1;
            continue;
        }
        let name = planned.name();
        let path = plan.sources.host_path(&planned.at);
        let (file, at) = (Quoted(&name), Quoted(path.as_os_str().as_bytes()));
        about_file("none", &name, Some(&path), || {
            if let Status::NotInspected(_) = planned.status {
                info!(target: TARGET, "{text} file={file} path={at}");
            } else {
                warn!(target: TARGET, "{text} file={file} path={at}");
            }
        });
    }
    not_listed(omitted);
}

/// What CRIU will fail at, or may fail at, besides mounts and files.
fn of_host(report: &Report) {
    let (host, inner) = (&report.host, &report.plan.missing_inner);
    for found in host.iter().take(MOST) {
        let (code, message, detail) = (found.kind.name(), found.kind.message(), &found.detail);
        warn!(target: TARGET, "{code}: {message}: {detail}");
    }
    for inner in inner.iter().take(MOST.saturating_sub(host.len())) {
        let path = report.plan.sources.host_path(&inner.at);
        let (code, at) = (
            FindingKind::MissingSource.name(),
            inner.mountpoint.as_bytes(),
        );
        let (at, path) = (Escaped(at), shown(&path));
        warn!(
            target: TARGET,
            "{code}: the checkpoint has a mount at /{at} that shows {path}, which is missing"
        );
    }
    let omitted = (host.len() + inner.len()).saturating_sub(MOST);
    if omitted > 0 {
        warn!(target: TARGET, "{omitted} more findings that are not listed");
    }
}

fn not_listed(omitted: usize) {
    if omitted > 0 {
        warn!(target: TARGET, "{omitted} more open files that are not listed");
    }
}

/// What to say of an open file that was left alone, with the code of the finding where CRIU fails.
fn left_alone(planned: &PlannedFile) -> Option<String> {
    let code = of_open_file(planned).map_or("", FindingKind::name);
    Some(match &planned.status {
        Status::NotRequested => format!(
            "{code}: CRIU accepts an empty one; set the annotation {APPEND_ANNOTATION} to \"true\" to have it \
             created"
        ),
        Status::MissingContent => format!("{code}: a task has it open, and it is missing"),
        Status::Differs(difference) => format!("{code}: {difference}"),
        Status::KindUnknown => format!("{code}: it is missing, and nothing tells what it was"),
        Status::NotInspected(Reason::Link) => {
            format!("{code}: open file not inspected: a symbolic link is on the way")
        }
        Status::NotInspected(Reason::FileSystem(name)) => {
            format!("open file not inspected below={}", Quoted(name.as_bytes()))
        }
        Status::Present
        | Status::Missing(_)
        | Status::Created(_)
        | Status::NotCreated(..)
        | Status::Restored
        | Status::Kernel
        | Status::Link
        | Status::NotInspected(Reason::Awaited)
        | Status::Failed(_) => return None,
    })
}

/// What was left alone, and the sum.
pub(super) fn others(report: &Report) {
    let plan = &report.plan;
    for planned in &plan.mounts {
        let written = planned.mount.written.as_bytes();
        let mount = Quoted(written);
        match &planned.status {
            Status::NotInspected(reason) => {
                let path = plan.host_path(planned);
                about_mount("none", written, path.as_deref(), || match reason {
                    Reason::FileSystem(name) => {
                        let below = Quoted(name.as_bytes());
                        info!(target: TARGET, "mountpoint not inspected mount={mount} below={below}");
                    }
                    Reason::Link => info!(
                        target: TARGET,
                        "mountpoint not inspected: a symbolic link is on the way mount={mount}"
                    ),
                    // Only by hand, where the report lists it.
                    Reason::Awaited => {}
                });
            }
            Status::KindUnknown => {
                let path = plan.host_path(planned);
                about_mount("none", written, path.as_deref(), || {
                    let path = path.as_deref().map(|path| path.as_os_str().as_bytes());
                    let path = Quoted(path.unwrap_or_default());
                    info!(
                        target: TARGET,
                        "mountpoint missing, and nothing tells whether it is a directory or a file \
                         mount={mount} path={path}"
                    );
                });
            }
            _ => {}
        }
    }
    other_files(plan);
    of_host(report);
    over_limit(plan);
    info!(target: TARGET, "{}", Summary::new(plan));
}

/// The checkpoint needs too much.
pub(super) fn over_limit(plan: &Plan) {
    if let Some(limit) = plan.over_limit {
        warn!(
            target: TARGET,
            "the checkpoint needs more than {limit} inodes, or has more than {limit} mounts, beyond the \
             configuration: none of them is created"
        );
    }
    if let Some(limit) = plan.files_over_limit {
        warn!(
            target: TARGET,
            "the checkpoint's tasks hold more than {limit} directories, FIFOs and empty files open, need more \
             than {limit} inodes for them, or reach them by paths of more than {OPEN_FILE_PATHS} bytes: none of \
             them is created"
        );
    }
}
