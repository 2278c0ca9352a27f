// SPDX-License-Identifier: Apache-2.0
//! What is said of a plan and its outcomes: on standard output to who called by hand, on standard
//! error to who looks after a runtime.

mod json;
mod list;
mod node;
mod tree;

use std::fmt::{self, Display, Formatter};
use std::io::{self, BufWriter, IsTerminal, Write, stdout};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tracing::{info, warn};

use crate::Task;
use crate::budget::Lines;
use crate::cli::Format;
use crate::create::Outcome;
use crate::error::{Error, shown};
use crate::escape::{Escaped, Quoted};
use crate::findings::Finding;
use crate::images::Namespace;
use crate::log::{self, TARGET};
use crate::mount::MountpointKind;
use crate::path::component_ends;
use crate::plan::{Missing, Plan, PlannedMount, Status};
use crate::sys;

/// What there is to report.
#[derive(Debug)]
pub struct Report<'a> {
    /// The bundle.
    pub bundle: &'a Path,
    /// What was planned.
    pub plan: &'a Plan,
    /// What became of it.
    pub outcomes: &'a [Outcome],
    /// What a whole checkpoint was found to lack, where one was named.
    pub findings: Option<&'a [Finding]>,
}

/// Writes a report to standard output.
pub fn print(task: Task, format: Format, report: &Report) -> Result<(), Error> {
    write(|out| match (format, task) {
        (Format::Json, _) => json::report(task, report, out),
        (Format::Text, Task::Plan) => {
            tree::plan(report.plan, is_colourful(), out)?;
            findings(report, out)
        }
        (Format::Text, Task::Apply | Task::Check) => {
            list::report(task, report, out)?;
            findings(report, out)
        }
    })
}

/// Writes what a checkpoint has, and what a host has to offer for it.
pub fn print_checkpoint(
    format: Format,
    checkpoint: &Path,
    namespaces: &[Namespace],
) -> Result<(), Error> {
    write(|out| match format {
        Format::Json => json::checkpoint(checkpoint, namespaces, out),
        Format::Text => tree::checkpoint(checkpoint, namespaces, is_colourful(), out),
    })
}

/// Writes what is so on a node.
pub fn print_status(format: Format, status: &crate::node::status::Status) -> Result<(), Error> {
    write(|out| match format {
        Format::Json => node::json(status, out),
        Format::Text => out.write_all(node::text(status).as_bytes()),
    })
}

/// Writes a line.
pub fn print_line(line: &str) -> Result<(), Error> {
    write(|out| writeln!(out, "{line}"))
}

fn is_colourful() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// The findings as text, with what CRIU would say to each.
fn findings(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let Some(findings) = report.findings else {
        return Ok(());
    };
    writeln!(out)?;
    for finding in findings {
        let (mount, message) = (Escaped(&finding.mount), finding.kind.message());
        write!(out, "{mount}: {message}")?;
        if let Some(path) = &finding.host_path {
            write!(out, ": {}", shown(path))?;
        }
        writeln!(out)?;
        if let Some(criu) = &finding.criu {
            writeln!(out, "    CRIU: {criu}")?;
        }
    }
    let fatal = findings
        .iter()
        .filter(|finding| finding.criu.is_some())
        .count();
    match fatal {
        0 => writeln!(out, "This checkpoint can be restored here."),
        1 => writeln!(
            out,
            "This checkpoint can't be restored as it is, for one reason."
        ),
        more => writeln!(
            out,
            "This checkpoint can't be restored as it is, for {more} reasons."
        ),
    }
}

/// Writes a report while it is made: all of it at once could be much longer than what it is about.
fn write(report: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let mut out = BufWriter::with_capacity(64 << 10, stdout().lock());
    match report(&mut out)
        .and_then(|()| out.flush())
        .map_err(|e| sys::errno_of(&e))
    {
        // Who closes the pipe has read enough.
        Ok(()) | Err(Errno::EPIPE) => Ok(()),
        Err(errno) => Err(Error::Untold { errno, done: None }),
    }
}

/// Says what was not judged, and the sum of all, on standard error. What was created has been said
/// when it was, and what failed is said with the verdict.
pub fn log_all(plan: &Plan, outcomes: &[Outcome]) {
    for planned in &plan.mounts {
        let written = planned.mount.written.as_bytes();
        let (mount, path) = (Quoted(written), planned.host_path.as_deref());
        let about = |say: &dyn Fn()| log::about_mount("none", written, path, say);
        match &planned.status {
            Status::Unjudged(file_system) => about(&|| {
                let below = Quoted(file_system.as_bytes());
                info!(target: TARGET, "mountpoint not judged mount={mount} below={below}");
            }),
            Status::Undecided => about(&|| {
                let path = path.map(|path| path.as_os_str().as_bytes());
                let path = Quoted(path.unwrap_or_default());
                info!(
                    target: TARGET,
                    "mountpoint missing, and nothing tells whether it is a directory or a file \
                     mount={mount} path={path}"
                );
            }),
            _ => {}
        }
    }
    if let Some(most) = plan.too_many {
        log_too_many(most);
    }
    info!(target: TARGET, "{}", Summary::new(plan, outcomes, true));
}

/// Says that a checkpoint wants too much.
pub fn log_too_many(most: usize) {
    warn!(
        target: TARGET,
        "the checkpoint wants more than {most} inodes, or has more than {most} mounts, beyond the \
         configuration: none of them is made"
    );
}

/// An inode that is named in a report.
struct Named {
    path: PathBuf,
    kind: MountpointKind,
}

/// The inodes that a mountpoint lacks, or that were made for it, outermost first; as far as there is room
/// for them.
fn named<'a>(
    task: Task,
    plan: &'a Plan,
    planned: &'a PlannedMount,
    outcome: &'a Outcome,
    lines: &'a mut Lines,
) -> impl Iterator<Item = Named> + 'a {
    let missing = match &planned.status {
        Status::Missing(missing) => Some(missing),
        _ => None,
    };
    // But for those that an earlier mount lacks too.
    let lacking = missing.filter(|_| task != Task::Apply).map(|missing| {
        let Missing { path, from, .. } = missing;
        component_ends(path)
            .filter(|end| end > from)
            .map(|end| match planned.kind {
                Some(kind) if end == path.len() => (end, kind),
                _ => (end, MountpointKind::Directory),
            })
    });
    let created = outcome.created.iter().map(|made| (made.end, made.kind));
    let created = (task == Task::Apply).then_some(created);
    let all = lacking
        .into_iter()
        .flatten()
        .chain(created.into_iter().flatten());
    let mount = planned.mount.written.len();
    all.filter(move |&(end, _)| lines.take(end + mount))
        .filter_map(move |(end, kind)| {
            let Missing { host, path, .. } = missing?;
            let path = plan.hosts.path(*host, path.get(..end).unwrap_or_default());
            Some(Named { path, kind })
        })
}

/// The sum of all.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
struct Summary {
    /// What was missing has been made since, by this premount or by another at the same time.
    #[serde(skip)]
    made: bool,
    mounts: usize,
    present: usize,
    missing: usize,
    failed: usize,
    unjudged: usize,
    created_directories: usize,
    created_files: usize,
}

impl Summary {
    fn new(plan: &Plan, outcomes: &[Outcome], made: bool) -> Self {
        let mut sum = Self {
            made,
            mounts: plan.mounts.len(),
            ..Self::default()
        };
        for (planned, outcome) in plan.mounts.iter().zip(outcomes) {
            match (&planned.status, &outcome.failure) {
                (_, Some(_)) | (Status::Failed(_), None) => sum.failed += 1,
                (Status::Missing(_), None) => sum.missing += 1,
                (Status::Unjudged(_) | Status::Undecided, None) => sum.unjudged += 1,
                (Status::Present | Status::Restored | Status::Kernel | Status::Link, None) => {
                    sum.present += 1;
                }
            }
            for created in &outcome.created {
                match created.kind {
                    MountpointKind::Directory => sum.created_directories += 1,
                    MountpointKind::File => sum.created_files += 1,
                }
            }
        }
        sum
    }
}

impl Display for Summary {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let counted = |count: usize, one: &str, more: &str| {
            format!("{count} {}", if count == 1 { one } else { more })
        };
        let mut parts = Vec::new();
        let directories = counted(self.created_directories, "directory", "directories");
        let files = counted(self.created_files, "file", "files");
        if self.created_directories > 0 && self.created_files > 0 {
            parts.push(format!("created {directories} and {files}"));
        } else if self.created_directories > 0 {
            parts.push(format!("created {directories}"));
        } else if self.created_files > 0 {
            parts.push(format!("created {files}"));
        } else if self.missing > 0 && !self.made {
            parts.push(counted(
                self.missing,
                "mountpoint missing",
                "mountpoints missing",
            ));
        }
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        if self.unjudged > 0 {
            parts.push(format!("{} not judged", self.unjudged));
        }
        if parts.is_empty() {
            parts.push("nothing missing".to_owned());
        }
        write!(
            out,
            "{}: {}",
            counted(self.mounts, "mount", "mounts"),
            parts.join(", ")
        )
    }
}
