// SPDX-License-Identifier: Apache-2.0
//! The report in the log. What was created has been logged when it was.

use std::os::unix::ffi::OsStrExt;

use tracing::{error, info, warn};

use super::Report;
use super::summary::Summary;
use crate::escape::Quoted;
use crate::log::{TARGET, about_file, about_mount};
use crate::mountpoints::plan::{Plan, Reason, Status};
use crate::oci::config::APPEND_ANNOTATION;

/// What failed, before any sum that counts it.
pub(super) fn failures(report: &Report) {
    let plan = &report.plan;
    for planned in &plan.mounts {
        let Some(text) = plan.failure_text(planned) else {
            continue;
        };
        let path = plan.failed_at(planned);
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

/// What failed with open files. CRIU fails at these itself, so they are no errors in a restore.
fn file_failures(report: &Report) {
    let plan = &report.plan;
    for planned in &plan.files {
        let Some(text) = plan.file_failure_text(planned) else {
            continue;
        };
        let path = plan.file_failed_at(planned);
        about_file("failed", &planned.name(), path.as_deref(), || {
            if report.file_counts(planned) {
                error!(target: TARGET, "{text}");
            } else {
                warn!(target: TARGET, "{text}");
            }
        });
    }
}

/// The open files that were left alone.
fn other_files(plan: &Plan) {
    for planned in &plan.files {
        let name = planned.name();
        let file = Quoted(&name);
        let path = plan.sources.host_path(&planned.at);
        let at = Quoted(path.as_os_str().as_bytes());
        about_file("none", &name, Some(&path), || match planned.status {
            Status::NotRequested => warn!(
                target: TARGET,
                "log missing: CRIU accepts an empty one; set the annotation {APPEND_ANNOTATION} to \"true\" \
                 to have it created file={file} path={at}"
            ),
            Status::KindUnknown => warn!(
                target: TARGET,
                "missing, and nothing tells whether it is a directory or a file file={file} path={at}"
            ),
            Status::NotInspected(Reason::Link) => info!(
                target: TARGET,
                "open file not inspected: a symbolic link is on the way file={file}"
            ),
            Status::NotInspected(Reason::FileSystem(ref name)) => {
                let below = Quoted(name.as_bytes());
                info!(target: TARGET, "open file not inspected file={file} below={below}");
            }
            _ => {}
        });
    }
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
            "the checkpoint's tasks hold more than {limit} directories, FIFOs and empty files open, or need \
             more than {limit} inodes for them: none of them is created"
        );
    }
}
