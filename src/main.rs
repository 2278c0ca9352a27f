// SPDX-License-Identifier: Apache-2.0
//! The program: takes the call from the command line, the environment and standard input, and turns
//! the verdict into an exit status.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, stdin};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use premount::action::{IMAGE_DIRECTORY_VARIABLE, STAGE_VARIABLE, is_before_restore};
use premount::cli::{Cli, Command, LogLevel};
use premount::error::Failure;
use premount::{Call, Task, Trigger, log, run, sys};
use tracing::field::Empty;
use tracing::{error, error_span, warn};

fn main() -> ExitCode {
    let stage = std::env::var_os(STAGE_VARIABLE);
    let images = std::env::var_os(IMAGE_DIRECTORY_VARIABLE);
    let bare = std::env::args_os().len() == 1;
    // CRIU calls at every stage, and only one is ours: be gone before anything is set up.
    if bare
        && stage
            .as_deref()
            .is_some_and(|stage| !is_before_restore(stage))
    {
        return ExitCode::SUCCESS;
    }
    let cli = command_line();
    let call = match call(cli.command.as_ref(), stage.as_deref(), images.as_ref()) {
        Ok(call) => call,
        Err(usage) => return usage,
    };
    // Before the log opens anything: what was inherited is not ours to keep.
    sys::close_inherited();
    let in_a_restore = matches!(call, Call::Prepare(Trigger::Hook | Trigger::Action { .. }));
    log::start(log::Choice {
        level: cli.log_level,
        default_level: if in_a_restore {
            LogLevel::Info
        } else {
            LogLevel::Warn
        },
        to: cli.log,
        journal_too: in_a_restore,
    });
    let about = error_span!(target: log::TARGET, "container", container = Empty, bundle = Empty);
    let _about = about.enter();
    match run(&call) {
        Ok(verdict) => {
            let about = |failure: &Failure, say: &dyn Fn()| {
                let path = failure.host_path.as_deref();
                log::about_mount("failed", &failure.mount, path, say);
            };
            for failure in &verdict.doubts {
                about(failure, &|| warn!(target: log::TARGET, "{failure}"));
            }
            for failure in &verdict.failures {
                about(failure, &|| error!(target: log::TARGET, "{failure}"));
            }
            if let Some(error) = &verdict.untold {
                error!(target: log::TARGET, "{error}");
            }
            ExitCode::from(verdict.status())
        }
        Err(error) => {
            error!(target: log::TARGET, "{error}");
            ExitCode::from(error.status())
        }
    }
}

/// The command line. Engines and CRIU call with one word or none, and then there is nothing to parse.
fn command_line() -> Cli {
    let mut arguments = std::env::args_os().skip(1);
    let command = match (arguments.next(), arguments.next()) {
        (None, _) => None,
        (Some(word), None) if word == "hook" => Some(Command::Hook),
        (Some(word), None) if word == "action" => Some(Command::Action),
        _ => return Cli::parse(),
    };
    Cli {
        command,
        ..Cli::default()
    }
}

/// What is asked, or the exit status where that can't be told.
fn call<'a>(
    command: Option<&'a Command>,
    stage: Option<&'a OsStr>,
    images: Option<&'a OsString>,
) -> Result<Call<'a>, ExitCode> {
    let images = images.map(Path::new);
    let (task, by_hand) = match (command, stage) {
        (Some(Command::Plan(by_hand)), _) => (Task::Plan, by_hand),
        (Some(Command::Apply(by_hand)), _) => (Task::Apply, by_hand),
        (Some(Command::Check(by_hand)), _) => (Task::Check, by_hand),
        (Some(Command::Install(options)), _) => return Ok(Call::Install(options)),
        (Some(Command::Uninstall(options)), _) => return Ok(Call::Uninstall(options)),
        (Some(Command::Status(options)), _) => return Ok(Call::Status(options)),
        (Some(Command::Action) | None, Some(stage)) => {
            return Ok(Call::Prepare(Trigger::Action { stage, images }));
        }
        (Some(Command::Action), None) => {
            return Err(usage(&format!(
                "{STAGE_VARIABLE} is not set: CRIU sets it for its scripts"
            )));
        }
        (None, None) if stdin().is_terminal() => {
            return Err(usage(
                "a state JSON is expected on standard input, or a command",
            ));
        }
        (Some(Command::Hook) | None, _) => return Ok(Call::Prepare(Trigger::Hook)),
    };
    let nowhere = by_hand.origin.bundle.is_none() && by_hand.origin.state.is_none();
    if nowhere && (task != Task::Plan || by_hand.checkpoint.is_none()) {
        return Err(usage(
            "--bundle or --state is needed to find the configuration",
        ));
    }
    Ok(Call::Prepare(Trigger::ByHand {
        task,
        options: by_hand,
    }))
}

/// Says how premount is used, on standard error.
fn usage(problem: &str) -> ExitCode {
    let mut command = Cli::command();
    let error = command.error(clap::error::ErrorKind::MissingSubcommand, problem);
    // Nobody is left to tell where standard error itself fails.
    let _ = error.print();
    ExitCode::from(2)
}
