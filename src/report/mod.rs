// SPDX-License-Identifier: Apache-2.0
//! What became of a request: an exporter for each format, and all of them read the one status of each mount.

mod explanation;
mod findings;
mod inodes;
mod json;
mod layout;
mod list;
mod log;
mod needs;
mod node;
mod summary;
mod tree;

use std::path::PathBuf;

use crate::checkpoint::Namespace;
use crate::cli::{Format, Runtime};
use crate::diagnosis::{Finding, HostFinding, Severity, diagnose, is_fatal};
use crate::error::Error;
use crate::explain::Verdict;
use crate::mountpoints::needs::{NeededSource, needs};
use crate::mountpoints::plan::{Plan, PlannedFile, PlannedMount, Status};
use crate::node::status::NodeStatus;
use crate::oci::config::Externals;
use crate::output;
use crate::request::{Failing, Sink, View};

/// What became of a request.
#[derive(Debug)]
pub struct Report {
    /// The bundle; or the checkpoint, if it stands alone.
    pub(crate) bundle: PathBuf,
    /// Each mount, and what became of its mountpoint.
    pub(crate) plan: Plan,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) externals: Externals,
    pub(crate) failing: Failing,
    /// What is about the host itself.
    pub(crate) host: Vec<HostFinding>,
    /// What a checkpoint that stands alone needs of any host: what, and which.
    pub(crate) needs_of_host: Vec<(&'static str, String)>,
    pub(crate) diagnosed: bool,
    pub(crate) runtime: Option<Runtime>,
    /// Whether images of open files, of tasks or of the machine can't be used.
    pub(crate) ignores_images: bool,
}

/// Why nobody can tell whether CRIU restores a checkpoint.
enum Doubt {
    /// A part of it can't be read, or is too large.
    NotConsidered,
    /// These destinations need something, and nobody has named their sources.
    Unnamed(Vec<String>),
}

impl Report {
    /// Whether the request failed, by its own measure: the exit status is 1.
    pub fn failed(&self) -> bool {
        let plan = &self.plan;
        if plan.mounts.iter().any(|planned| self.counts(planned))
            || plan.files.iter().any(|planned| self.file_counts(planned))
        {
            return true;
        }
        let is_over = self.is_over();
        match self.failing {
            Failing::CriuFails => false,
            Failing::NotCreated => is_over,
            // A whole checkpoint tells more than its mountpoints alone.
            Failing::Missing if self.diagnosed => {
                self.doubt(&needs(plan)).is_some()
                    || self
                        .findings()
                        .iter()
                        .any(|finding| finding.kind.severity() != Severity::Warns)
            }
            Failing::Missing => {
                let is_missing = |status: &Status| {
                    matches!(
                        status,
                        Status::Missing(_)
                            | Status::KindUnknown
                            | Status::NotRequested
                            | Status::MissingContent
                            | Status::Differs(_)
                    )
                };
                let mut statuses = plan.needs().filter_map(|need| plan.status(need));
                is_over || statuses.any(is_missing)
            }
        }
    }

    /// Whether the checkpoint needs more than may be created.
    fn is_over(&self) -> bool {
        self.plan.over_limit.is_some() || self.plan.files_over_limit.is_some()
    }

    /// Whether a part of the checkpoint is not considered: then nobody knows if CRIU restores it.
    fn is_partial(&self) -> bool {
        self.is_over() || self.ignores_images
    }

    /// Why nobody can tell whether CRIU restores the checkpoint, if so.
    fn doubt(&self, needs: &[NeededSource]) -> Option<Doubt> {
        if self.is_partial() {
            return Some(Doubt::NotConsidered);
        }
        let open = needs.iter().filter(|source| source.is_open());
        let open: Vec<String> = open
            .map(|source| source.mount.mount.written.clone())
            .collect();
        (!open.is_empty()).then_some(Doubt::Unnamed(open))
    }

    /// Whether a mount has failed, and the request with it. What the checkpoint doesn't mount needs no
    /// mountpoint.
    fn counts(&self, planned: &PlannedMount) -> bool {
        let only_fatal = self.diagnosed || self.failing == Failing::CriuFails;
        planned.status.failure().is_some() && (!only_fatal || is_fatal(planned))
    }

    /// Whether an open file has failed, and the request with it. CRIU fails at these itself, and a restore that works
    /// without premount works with it.
    fn file_counts(&self, planned: &PlannedFile) -> bool {
        planned.status.failure().is_some() && self.failing != Failing::CriuFails
    }

    /// What keeps the checkpoint from being restored here, and what is good to know.
    fn findings(&self) -> Vec<Finding<'_>> {
        let is_runc = self.runtime == Some(Runtime::Runc);
        diagnose(
            &self.plan,
            &self.namespaces,
            &self.externals,
            &self.host,
            is_runc,
        )
    }

    /// Writes the report: the failures to the log in any case, the rest to `sink`.
    ///
    /// # Errors
    ///
    /// Standard output doesn't take it. What was done is done.
    pub fn show(&self, sink: Sink) -> Result<(), Error> {
        log::failures(self);
        let Sink::Stdout(view, format) = sink else {
            log::others(self);
            return Ok(());
        };
        log::over_limit(&self.plan);
        let is_alone = self.plan.is_alone();
        let needs = needs(&self.plan);
        // A plan of a checkpoint alone is about any host.
        let findings =
            (self.diagnosed && !(is_alone && view == View::Plan)).then(|| self.findings());
        let findings = findings.as_deref();
        let told = output::write(|out| {
            match (format, view, is_alone) {
                (Format::Json, View::Plan, true) => return json::checkpoint(self, &needs, out),
                (Format::Json, ..) => return json::report(view, self, findings, &needs, out),
                (Format::Text, View::Plan, true) => {
                    let (name, colour) = (&self.bundle, output::is_colourful());
                    tree::checkpoint(name, &self.namespaces, colour, out)?;
                }
                (Format::Text, View::Plan, false) => {
                    tree::plan(&self.plan, output::is_colourful(), out)?;
                }
                (Format::Text, View::Created | View::Missing, _) => list::report(view, self, out)?,
            }
            needs::text(&needs, &self.needs_of_host, out)?;
            findings.map_or(Ok(()), |findings| {
                findings::text(findings, self.doubt(&needs).as_ref(), out)
            })
        });
        told.map_err(|error| match view {
            View::Plan | View::Missing => error,
            // What is created is created, whoever hears of it.
            View::Created => error.after(self.done()),
        })
    }

    /// What has been done, by the time that it is to be told.
    fn done(&self) -> &'static str {
        let is_left = |status: &Status| {
            matches!(status, Status::KindUnknown | Status::NotRequested)
                || status.failure().is_some()
        };
        let plan = &self.plan;
        let mut statuses = plan.needs().filter_map(|need| plan.status(need));
        if statuses.any(is_left) {
            "what could be created has been created"
        } else {
            "what was missing has been created"
        }
    }
}

/// Writes the state of a node.
///
/// # Errors
///
/// Standard output doesn't take it.
pub fn show_node(format: Format, status: &NodeStatus) -> Result<(), Error> {
    output::write(|out| match format {
        Format::Json => node::json(status, out),
        Format::Text => out.write_all(node::text(status).as_bytes()),
    })
}

/// What a log says, as text.
pub fn verdict_text(verdict: &Verdict) -> Vec<u8> {
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = explanation::text(verdict, &mut text);
    text
}

/// Writes what a log says.
///
/// # Errors
///
/// Standard output doesn't take it.
pub fn show_verdict(format: Format, verdict: &Verdict) -> Result<(), Error> {
    output::write(|out| match format {
        Format::Json => explanation::json(verdict, out),
        Format::Text => explanation::text(verdict, out),
    })
}
