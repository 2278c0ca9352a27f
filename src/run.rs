// SPDX-License-Identifier: Apache-2.0
//! The program, apart from its command line: from invocation to exit status, top to bottom.

use std::ffi::OsStr;
use std::path::Path;

use tracing::field::Empty;
use tracing::{error, error_span, info, warn};

use crate::cli::{self, LogLevel};
use crate::error::Error;
use crate::log::{self, TARGET};
use crate::request::{Failing, Request, View};
use crate::trigger::{criu_script, hook, manual};
use crate::{Report, explain, node, prepare, report, sys};

/// How the program was called.
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
    /// On the command line, for a report.
    Manual(View, &'a cli::Manual),
    /// To install premount on a node.
    Install(&'a cli::Install),
    /// To remove premount from a node.
    Uninstall(&'a cli::Uninstall),
    /// To show whether premount works on a node.
    Status(&'a cli::Status),
    /// To explain CRIU's log.
    Explain(&'a cli::Explain),
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The exit status: 0, 1 or 2.
    pub status: u8,
    /// The report, if there is one. A process about to exit needn't drop it: the kernel frees everything at
    /// once.
    pub report: Option<Report>,
}

/// Runs premount, and logs the error if it fails. Closes inherited descriptors other than stdin, stdout and
/// stderr.
pub fn run(invocation: &Invocation, logging: &cli::Logging) -> Outcome {
    // First, so that no descriptor of the log is closed.
    sys::close_inherited();
    let during_restore = matches!(invocation, Invocation::Hook | Invocation::CriuScript { .. });
    log::start(log::Settings {
        level: logging.log_level,
        default_level: if during_restore {
            LogLevel::Info
        } else {
            LogLevel::Warn
        },
        to: logging.log,
        journal_too: during_restore,
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
        Invocation::Manual(view, options) => Some(manual::request(view, options)?),
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
        Invocation::Explain(options) => {
            let verdict = explain::explain(options)?;
            report::show_verdict(options.format, &verdict)?;
            return Ok(Outcome {
                status: verdict.status(),
                report: None,
            });
        }
    };
    request.map_or(Ok(Outcome::default()), prepare_and_report)
}

/// Handles a request, from preparing the host to showing the report.
fn prepare_and_report(request: Request) -> Result<Outcome, Error> {
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
