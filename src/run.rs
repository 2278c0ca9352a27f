// SPDX-License-Identifier: Apache-2.0
//! The program without its command line: from an invocation to an exit status, top to bottom.

use std::ffi::OsStr;
use std::path::Path;

use tracing::field::Empty;
use tracing::{error, error_span, info, warn};

use crate::cli::{self, LogLevel};
use crate::error::Error;
use crate::log::{self, TARGET};
use crate::request::{Failing, Request, View};
use crate::trigger::{criu_script, hook, manual};
use crate::{Report, checkpoint, node, prepare, report, sys};

/// What the program is called for.
#[derive(Debug)]
pub enum Invocation<'a> {
    /// By an OCI runtime, with the state on standard input.
    Hook,
    /// By CRIU.
    CriuScript {
        /// `CRTOOLS_SCRIPT_ACTION`.
        stage: &'a OsStr,
        /// `CRTOOLS_IMAGE_DIR`.
        images: Option<&'a Path>,
    },
    /// By hand, for a report.
    Manual(View, &'a cli::Manual),
    /// To install premount on a node.
    Install(&'a cli::Install),
    /// To remove it.
    Uninstall(&'a cli::Uninstall),
    /// To show what it is worth there.
    Status(&'a cli::Status),
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The exit status: 0, 1 or 2.
    pub status: u8,
    /// What it was about. A process that exits leaves it to the kernel, which frees all of it at once.
    pub report: Option<Report>,
}

/// Does what the program is called for, and logs what failed. Closes what the caller left open beyond standard
/// error.
pub fn run(invocation: &Invocation, logging: &cli::Logging) -> Outcome {
    // Before the log opens anything: what was inherited is not ours to keep.
    sys::close_inherited();
    let in_a_restore = matches!(invocation, Invocation::Hook | Invocation::CriuScript { .. });
    log::start(log::Settings {
        level: logging.log_level,
        default_level: if in_a_restore {
            LogLevel::Info
        } else {
            LogLevel::Warn
        },
        to: logging.log,
        journal_too: in_a_restore,
    });
    let about = error_span!(target: TARGET, "container", container = Empty, bundle = Empty);
    let _about = about.enter();
    perform(invocation).unwrap_or_else(|error| {
        error!(target: TARGET, "{error}");
        Outcome {
            status: error.status(),
            report: None,
        }
    })
}

fn perform(invocation: &Invocation) -> Result<Outcome, Error> {
    let request = match *invocation {
        Invocation::Hook => hook::request()?,
        Invocation::CriuScript { stage, images } => criu_script::request(stage, images),
        Invocation::Manual(view, options) => {
            let request = manual::request(view, options)?;
            if let (None, Some(checkpoint)) = (&request, &options.checkpoint) {
                let namespaces = checkpoint::archive::read(checkpoint)?;
                report::show_checkpoint(options.format, checkpoint, &namespaces)?;
            }
            request
        }
        Invocation::Install(options) => {
            node::install(options)?;
            None
        }
        Invocation::Uninstall(options) => {
            node::uninstall(options)?;
            None
        }
        Invocation::Status(options) => {
            let status = node::status(options)?;
            report::show_node(options.format, &status)?;
            return Ok(Outcome {
                status: u8::from(!status.problems.is_empty()),
                report: None,
            });
        }
    };
    request.map_or(Ok(Outcome::default()), answer)
}

/// From a request to its report.
fn answer(request: Request) -> Result<Outcome, Error> {
    let (sink, failing) = (request.sink, request.failing);
    let report = match prepare(request) {
        Ok(report) => report,
        Err(error) if failing == Failing::CriuFails => {
            if let Error::OtherContainer { .. } = error {
                info!(target: TARGET, "{error}: nothing to do");
            } else {
                warn!(target: TARGET, "nothing done: {error}");
            }
            return Ok(Outcome::default());
        }
        Err(error) => return Err(error),
    };
    report.show(sink)?;
    Ok(Outcome {
        status: u8::from(report.failed()),
        report: Some(report),
    })
}
