// SPDX-License-Identifier: Apache-2.0
//! What people and scripts call: `plan`, `apply` and `check`. Who calls answers for the bundle that is
//! named, and gets all of it on standard output.

use crate::budget::Budget;
use crate::bundle::{Bundle, State};
use crate::cli::ByHand;
use crate::create::{Outcome, create, outcomes_of};
use crate::error::Error;
use crate::findings::{findings, is_fatal};
use crate::images::Namespace;
use crate::plan::{Plan, PlannedMount, Status};
use crate::report::{self, Report};
use crate::{Task, Verdict, archive, images};

/// Does what is asked, from the bundle to the report.
pub fn run(task: Task, options: &ByHand) -> Result<Verdict, Error> {
    let Some(bundle) = bundle_of(options)? else {
        if let Some(checkpoint) = &options.checkpoint {
            report::print_checkpoint(options.format, checkpoint, &archive::read(checkpoint)?)?;
        }
        return Ok(Verdict::default());
    };
    let (bundle, config) = bundle.config()?;
    let owner = config.owner.clone();
    let externals = config.externals.clone();
    let namespaces = namespaces_of(options)?;
    let mut plan = Plan::new(config, &namespaces, Budget::of(options.max_inodes))?;
    let outcomes = match task {
        Task::Plan | Task::Check => outcomes_of(&plan),
        Task::Apply => create(&mut plan, &owner),
    };
    if let Some(most) = plan.too_many {
        report::log_too_many(most);
    }
    let checkpoint = options.checkpoint.as_ref();
    let made = (task == Task::Apply).then_some(outcomes.as_slice());
    let findings = checkpoint.map(|_| findings(&plan, made, &namespaces, &externals));
    let report = Report {
        bundle: &bundle,
        plan: &plan,
        outcomes: &outcomes,
        findings: findings.as_deref(),
    };
    let told = report::print(task, options.format, &report);
    let untold = match task {
        Task::Plan | Task::Check => {
            told?;
            None
        }
        // What is made is made, whoever hears of it.
        Task::Apply => told.err().map(|error| error.after(done(&plan, &outcomes))),
    };
    let is_missing = plan.mounts.iter().any(|planned: &PlannedMount| {
        matches!(planned.status, Status::Missing(_) | Status::Undecided)
    });
    // A whole checkpoint tells better than its mountpoints alone.
    let fails = findings.map(|all| all.iter().any(|finding| finding.criu.is_some()));
    let mut verdict = Verdict {
        // What wasn't looked at counts as missing.
        missing: plan.too_many.is_some() || task == Task::Check && fails.unwrap_or(is_missing),
        untold,
        ..Verdict::default()
    };
    for (planned, outcome) in plan.mounts.iter().zip(outcomes) {
        let Some(failure) = outcome.failure else {
            continue;
        };
        // What the checkpoint doesn't mount needs no mountpoint.
        if fails.is_some() && !is_fatal(planned, &failure) {
            verdict.doubts.push(failure);
        } else {
            verdict.failures.push(failure);
        }
    }
    Ok(verdict)
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

/// The bundle; none where there is only a checkpoint to show.
fn bundle_of(options: &ByHand) -> Result<Option<Bundle>, Error> {
    let origin = &options.origin;
    Ok(match (&origin.bundle, &origin.state) {
        (Some(bundle), _) => Some(Bundle::open(bundle)?),
        (None, Some(state)) => Some(Bundle::open(&State::read(state)?.bundle)?),
        (None, None) => None,
    })
}

/// The mount namespaces of the checkpoint.
fn namespaces_of(options: &ByHand) -> Result<Vec<Namespace>, Error> {
    if let Some(checkpoint) = &options.checkpoint {
        return archive::read(checkpoint);
    }
    let Some(directory) = &options.images else {
        return Ok(Vec::new());
    };
    let namespaces = images::read(directory)?;
    if namespaces.is_empty() {
        let reason = "no mountpoints-*.img: not a checkpoint's image directory";
        return Err(Error::invalid(directory, "", reason));
    }
    Ok(namespaces)
}
