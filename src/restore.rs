// SPDX-License-Identifier: Apache-2.0
//! What runtimes and CRIU call, in the path of a restore: the hook and the action script.
//!
//! A restore that works without premount works with it: whatever premount can't read, doesn't trust or
//! doesn't understand is a line on standard error and no failure. It fails a restore only where CRIU is
//! sure to fail ([`is_fatal`]).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use tracing::{debug, info, warn};

use crate::action::{self, Found, Untaken};
use crate::budget::Budget;
use crate::bundle::{Bundle, Refused, State};
use crate::create::{Outcome, create};
use crate::error::{Error, shown};
use crate::findings::{fits, is_fatal};
use crate::images::{self, Namespace};
use crate::log::{self, TARGET};
use crate::plan::Plan;
use crate::trust::Distrust;
use crate::{Verdict, config, report};

/// What there is to do something about.
struct Subject {
    bundle: Bundle,
    /// The checkpoint's image directory.
    images: Option<PathBuf>,
    /// Only the checkpoint's mounts can tell whether it is the bundle's container.
    has_to_fit: bool,
}

/// Acts as an OCI hook, the state on standard input.
pub fn as_hook() -> Result<Verdict, Error> {
    let state = State::from_stream(std::io::stdin().lock())?;
    if let Some(id) = &state.id {
        log::note("container", id.as_bytes());
    }
    let first_start = state.is_first_start();
    let Some(subject) = subject_of_hook(&state)? else {
        return Ok(Verdict::default());
    };
    let verdict = prepare(subject);
    if first_start {
        // The runtime is about to judge all of this itself, and no CRIU is waiting for it.
        return Ok(Verdict {
            failures: Vec::new(),
            ..verdict
        });
    }
    Ok(verdict)
}

/// Acts as CRIU's action script.
pub fn as_action(stage: &OsStr, images: Option<&Path>) -> Verdict {
    if !action::is_before_restore(stage) {
        return Verdict::default();
    }
    if log::names_container() {
        let id = action::container_of(images);
        log::note("container", &id.unwrap_or_default());
    }
    subject_of_action(images).map(prepare).unwrap_or_default()
}

fn subject_of_hook(state: &State) -> Result<Option<Subject>, Error> {
    if state.restore.as_deref().is_some_and(|word| word != "true") {
        debug!(target: TARGET, "the annotation {} is not \"true\"", config::RESTORE_ANNOTATION);
        return Ok(None);
    }
    let bundle = match Bundle::take_by_name(&state.bundle) {
        Ok(bundle) => bundle,
        Err(Refused::Distrusted(why)) => {
            say_distrusted(&why);
            return Ok(None);
        }
        Err(Refused::Unusable(error)) => {
            let is_missing = |errno| matches!(errno, Errno::ENOENT | Errno::ENOTDIR);
            if matches!(error, Error::Unreadable { errno, .. } if is_missing(errno)) {
                // The state is wrong, and no runtime's.
                return Err(error);
            }
            say_nothing_done(&error);
            return Ok(None);
        }
    };
    if state.restore.is_none() && restore_of(&bundle).as_deref() != Some("true") {
        debug!(target: TARGET, "no annotation {} says \"true\"", config::RESTORE_ANNOTATION);
        return Ok(None);
    }
    let images = if state.is_first_start() {
        None
    } else {
        action::images_of_hook(&bundle.directory).unwrap_or_else(|why| {
            warn!(target: TARGET, "the checkpoint's mounts are not looked at: {why}");
            None
        })
    };
    Ok(Some(Subject {
        bundle,
        images,
        has_to_fit: false,
    }))
}

fn subject_of_action(images: Option<&Path>) -> Option<Subject> {
    let (bundle, has_to_fit) = match action::find_bundle(images) {
        Ok(Found::OfRuntime(bundle)) => (bundle, false),
        Ok(Found::BesideImages(bundle)) => (bundle, true),
        Err(Untaken::None) => {
            info!(target: TARGET, "no OCI configuration found for what CRIU restores: nothing to do");
            return None;
        }
        Err(Untaken::Distrusted(why)) => {
            say_distrusted(&why);
            return None;
        }
        Err(Untaken::Unreadable(error)) => {
            say_nothing_done(&error);
            return None;
        }
    };
    if restore_of(&bundle).as_deref() == Some("false") {
        info!(
            target: TARGET,
            "the annotation {} is \"false\": nothing done",
            config::RESTORE_ANNOTATION
        );
        return None;
    }
    Some(Subject {
        bundle,
        images: images.map(Path::to_owned),
        has_to_fit,
    })
}

/// The runtime has read the configuration, and CRIU doesn't: what premount can't make of it is no reason
/// for either to fail.
fn say_nothing_done(error: &Error) {
    warn!(target: TARGET, "nothing done: {error}");
}

fn say_distrusted(why: &Distrust) {
    warn!(target: TARGET, "nothing done: the configuration can't be trusted: {why}");
}

/// The annotation; none where the configuration is too far from one to have any.
fn restore_of(bundle: &Bundle) -> Option<String> {
    bundle.restore().unwrap_or_else(|error| {
        warn!(target: TARGET, "{error}");
        None
    })
}

/// Makes what is missing, and says so.
fn prepare(subject: Subject) -> Verdict {
    let Subject {
        bundle,
        images,
        has_to_fit,
    } = subject;
    log::note("bundle", bundle.directory.as_os_str().as_encoded_bytes());
    let namespaces = images.as_deref().map(namespaces_in).unwrap_or_default();
    let planned = bundle.config().and_then(|(directory, config)| {
        let (owner, externals) = (config.owner.clone(), config.externals.clone());
        let plan = Plan::new(config, &namespaces, Budget::default())?;
        Ok((directory, owner, externals, plan))
    });
    let (directory, owner, externals, mut plan) = match planned {
        Ok(planned) => planned,
        Err(error) => {
            say_nothing_done(&error);
            return Verdict::default();
        }
    };
    if has_to_fit && !fits(&plan, &namespaces, &externals) {
        info!(
            target: TARGET,
            "the configuration in {} is not that of what CRIU restores, by its mounts: nothing to do",
            shown(&directory)
        );
        return Verdict::default();
    }
    let outcomes = create(&mut plan, &owner);
    report::log_all(&plan, &outcomes);
    let verdict = verdict_of(&plan, outcomes);
    // The process is about to end, and the kernel frees all of it at once: closing each descriptor and
    // freeing each path before would cost a restore more than it gives.
    std::mem::forget(plan);
    verdict
}

fn verdict_of(plan: &Plan, outcomes: Vec<Outcome>) -> Verdict {
    let mut verdict = Verdict::default();
    for (planned, outcome) in plan.mounts.iter().zip(outcomes) {
        let Some(failure) = outcome.failure else {
            continue;
        };
        if is_fatal(planned, &failure) {
            verdict.failures.push(failure);
        } else {
            verdict.doubts.push(failure);
        }
    }
    verdict
}

/// The mount namespaces of the checkpoint. Images that can't be read are CRIU's to complain of: what the
/// configuration says is done all the same.
fn namespaces_in(images: &Path) -> Vec<Namespace> {
    images::read(images).unwrap_or_else(|error| {
        warn!(target: TARGET, "the checkpoint's mounts are not looked at: {error}");
        Vec::new()
    })
}
