// SPDX-License-Identifier: Apache-2.0
//! The report in the log. What was created has been logged when it was.

use std::os::unix::ffi::OsStrExt;

use tracing::{error, info, warn};

use super::Report;
use super::summary::Summary;
use crate::escape::Quoted;
use crate::log::{TARGET, about_mount};
use crate::mountpoints::plan::{Reason, Status};

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
    if let Some(limit) = plan.over_limit {
        over_limit(limit);
    }
    info!(target: TARGET, "{}", Summary::new(plan));
}

/// The checkpoint needs too much.
pub(super) fn over_limit(limit: usize) {
    warn!(
        target: TARGET,
        "the checkpoint needs more than {limit} inodes, or has more than {limit} mounts, beyond the \
         configuration: none of them is created"
    );
}
