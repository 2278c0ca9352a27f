// SPDX-License-Identifier: Apache-2.0
//! premount prepares a host for a container restore: it makes the mountpoints that the container's
//! nested mounts need inside bind sources of the host's, which CRIU expects to be there
//! (opencontainers/runc issue 2748).
//!
//! It makes only what the container, or its runtime at first start, could have made itself.
//!
//! Data goes one way: the call leads to a [`bundle`], its [`config`] has the mounts, [`planner`]
//! follows each ([`walk`]) through the [`tree`] to its mountpoint in one of the [`hosts`], and adds what
//! the [`checkpoint`] needs beyond that (from its [`images`]), [`mod@create`] makes
//! what is missing, [`report`] says it.

pub mod action;
pub mod archive;
pub mod bundle;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod create;
pub mod error;
pub mod escape;
pub mod findings;
pub mod hosts;
pub mod images;
pub mod input;
pub mod json;
pub mod kernel_fs;
pub mod log;
pub mod mount;
pub mod node;
pub mod path;
pub mod plan;
pub mod planner;
pub mod procfs;
pub mod report;
pub mod sys;
pub mod tree;
pub mod walk;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bundle::{Bundle, State};
use cli::ByHand;
use create::{Outcome, create, outcomes_of};
use error::{Error, Failure};
use findings::findings;
use images::Namespace;
use log::TARGET;
use plan::{Plan, PlannedMount, Status};
use report::Report;
use tracing::{debug, info, warn};

/// What premount is asked to do.
#[derive(Debug)]
pub enum Call<'a> {
    /// To prepare the host for a restore.
    Prepare(Trigger<'a>),
    /// To put premount on a node.
    Install(&'a cli::Install),
    /// To take it off.
    Uninstall(&'a cli::Uninstall),
    /// To say what it is worth there.
    Status(&'a cli::Status),
}

/// How premount is called for a restore.
#[derive(Debug)]
pub enum Trigger<'a> {
    /// As an OCI hook, the state on standard input.
    Hook,
    /// As CRIU's action script.
    Action {
        /// `CRTOOLS_SCRIPT_ACTION`.
        stage: &'a OsStr,
        /// `CRTOOLS_IMAGE_DIR`.
        images: Option<&'a Path>,
    },
    /// By a person or a script.
    ByHand {
        /// What to do.
        task: Task,
        /// Where the configuration is, and how to report.
        options: &'a ByHand,
    },
}

/// What to do by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Show everything.
    Plan,
    /// Make what is missing.
    Apply,
    /// Say what is missing.
    Check,
}

/// How it ended.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What failed, mount by mount.
    pub failures: Vec<Failure>,
    /// Something is missing that was only looked for.
    pub missing: bool,
    /// All of it was done, and could not be told.
    pub untold: Option<Error>,
}

impl Verdict {
    /// The exit status: 0 or 1.
    pub fn status(&self) -> u8 {
        u8::from(self.missing || self.untold.is_some() || !self.failures.is_empty())
    }
}

/// Does what is asked, from the call to the report. Descriptors that it inherited are the caller's to
/// close ([`sys::close_inherited`]).
pub fn run(call: &Call) -> Result<Verdict, Error> {
    match call {
        Call::Prepare(trigger) => prepare(trigger),
        Call::Install(options) => node::install(options),
        Call::Uninstall(options) => node::uninstall(options),
        Call::Status(options) => node::status(options),
    }
}

/// Prepares the host for a restore, from the trigger to the report.
fn prepare(trigger: &Trigger) -> Result<Verdict, Error> {
    if let Trigger::ByHand { options, .. } = trigger {
        if let (None, None, Some(checkpoint)) = (
            &options.origin.bundle,
            &options.origin.state,
            &options.checkpoint,
        ) {
            report::print_checkpoint(options.format, checkpoint, &archive::read(checkpoint)?)?;
            return Ok(Verdict::default());
        }
    }
    let Some(Subject {
        bundle,
        first_start,
        images,
    }) = subject_of(trigger)?
    else {
        return Ok(Verdict::default());
    };
    log::note("bundle", bundle.directory.as_os_str().as_bytes());
    let (bundle, config) = bundle.config()?;
    let owner = config.owner;
    let externals = config.externals.clone();
    let namespaces = namespaces_of(trigger, images.as_deref())?;
    let mut plan = Plan::new(config, &namespaces)?;
    let outcomes = match trigger {
        Trigger::ByHand {
            task: Task::Plan | Task::Check,
            ..
        } => outcomes_of(&plan),
        _ => create(&mut plan, owner),
    };
    let mut fails = None;
    let mut untold = None;
    match trigger {
        Trigger::ByHand { task, options } => {
            let checkpoint = options.checkpoint.as_ref();
            let made = (*task == Task::Apply).then_some(outcomes.as_slice());
            let findings = checkpoint.map(|_| findings(&plan, made, &namespaces, &externals));
            let report = Report {
                bundle: &bundle,
                plan: &plan,
                outcomes: &outcomes,
                findings: findings.as_deref(),
            };
            let told = report::print(*task, options.format, &report);
            match task {
                Task::Plan | Task::Check => told?,
                // What is made is made, whoever hears of it.
                Task::Apply => untold = told.err().map(|error| error.after(done(&plan, &outcomes))),
            }
            fails = findings.map(|all| all.iter().any(|finding| finding.criu.is_some()));
        }
        Trigger::Hook | Trigger::Action { .. } => report::log_all(&plan, &outcomes),
    }
    let is_missing = plan.mounts.iter().any(|planned: &PlannedMount| {
        matches!(planned.status, Status::Missing(_) | Status::Undecided)
    });
    // The process is about to end, and the kernel frees all of it at once: closing each descriptor and
    // freeing each path before would cost a restore more than it gives.
    std::mem::forget(plan);
    if first_start {
        // The runtime is about to judge all of this itself, and no CRIU is waiting for it.
        return Ok(Verdict::default());
    }
    let only_looked_for = matches!(
        trigger,
        Trigger::ByHand {
            task: Task::Check,
            ..
        }
    );
    Ok(Verdict {
        // A whole checkpoint tells better than its mountpoints alone.
        missing: only_looked_for && fails.unwrap_or(is_missing),
        failures: outcomes
            .into_iter()
            .filter_map(|outcome| outcome.failure)
            .collect(),
        untold,
    })
}

/// What an apply has done.
fn done(plan: &Plan, outcomes: &[Outcome]) -> &'static str {
    let undecided = |planned: &PlannedMount| matches!(planned.status, Status::Undecided);
    let failed = |outcome: &Outcome| outcome.failure.is_some();
    if plan.mounts.iter().any(undecided) || outcomes.iter().any(failed) {
        "what could be made has been made"
    } else {
        "what was missing has been made"
    }
}

/// What there is to do something about.
struct Subject {
    bundle: Bundle,
    /// The container is only being created.
    first_start: bool,
    /// The checkpoint's image directory.
    images: Option<PathBuf>,
}

/// What the call is about; none where there is nothing to do.
fn subject_of(trigger: &Trigger) -> Result<Option<Subject>, Error> {
    match trigger {
        Trigger::ByHand { options, .. } => {
            let origin = &options.origin;
            let bundle = match (&origin.bundle, &origin.state) {
                (Some(bundle), _) => Bundle::open(bundle)?,
                (None, Some(state)) => Bundle::open(&State::read(state)?.bundle)?,
                (None, None) => return Ok(None),
            };
            let images = options.images.clone();
            Ok(Some(Subject {
                bundle,
                first_start: false,
                images,
            }))
        }
        Trigger::Hook => {
            let state = State::from_stream(std::io::stdin().lock())?;
            let first_start = state.is_first_start();
            if let Some(id) = &state.id {
                log::note("container", id.as_bytes());
            }
            if state.restore.as_deref().is_some_and(|word| word != "true") {
                debug!(target: TARGET,
                    "the annotation {} is not \"true\"",
                    config::RESTORE_ANNOTATION
                );
                return Ok(None);
            }
            let bundle = Bundle::open(&state.bundle)?;
            if state.restore.is_none() && bundle.restore()?.as_deref() != Some("true") {
                debug!(target: TARGET, "no annotation {} says \"true\"", config::RESTORE_ANNOTATION);
                return Ok(None);
            }
            let images = if first_start {
                None
            } else {
                action::images_of_hook(&bundle.directory)
            };
            Ok(Some(Subject {
                bundle,
                first_start,
                images,
            }))
        }
        Trigger::Action { stage, images } => {
            if !action::is_before_restore(stage) {
                return Ok(None);
            }
            if log::names_container() {
                let id = action::container_of(*images);
                log::note("container", &id.unwrap_or_default());
            }
            let Some(bundle) = action::find_bundle(*images)? else {
                info!(target: TARGET, "no OCI configuration found for what CRIU restores: nothing to do");
                return Ok(None);
            };
            if bundle.restore()?.as_deref() == Some("false") {
                info!(target: TARGET,
                    "the annotation {} is \"false\": nothing done",
                    config::RESTORE_ANNOTATION
                );
                return Ok(None);
            }
            let images = images.map(Path::to_owned);
            Ok(Some(Subject {
                bundle,
                first_start: false,
                images,
            }))
        }
    }
}

/// The mount namespaces of the checkpoint. In the path of a restore, images that can't be read are
/// CRIU's to complain of: what the configuration says is done all the same.
fn namespaces_of(trigger: &Trigger, images: Option<&Path>) -> Result<Vec<Namespace>, Error> {
    if let Trigger::ByHand { options, .. } = trigger {
        if let Some(checkpoint) = &options.checkpoint {
            return archive::read(checkpoint);
        }
    }
    let Some(images) = images else {
        return Ok(Vec::new());
    };
    match (trigger, images::read(images)) {
        (Trigger::ByHand { .. }, Ok(namespaces)) if namespaces.is_empty() => Err(Error::invalid(
            images,
            "",
            "no mountpoints-*.img: not a checkpoint's image directory",
        )),
        (Trigger::ByHand { .. }, namespaces) => namespaces,
        (Trigger::Hook | Trigger::Action { .. }, namespaces) => {
            Ok(namespaces.unwrap_or_else(|error| {
                warn!(target: TARGET, "the checkpoint's mounts are not looked at: {error}");
                Vec::new()
            }))
        }
    }
}
