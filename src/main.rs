// SPDX-License-Identifier: Apache-2.0
//! The program: what the command line and the environment say becomes an invocation, and its outcome an exit
//! status.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, stdin};
use std::path::Path;
use std::process::{ExitCode, exit};

use clap::{CommandFactory, Parser};
use premount::cli::{Cli, Command};
use premount::{
    IMAGE_DIRECTORY_VARIABLE, Invocation, STAGE_VARIABLE, View, is_before_restore, run,
};

fn main() -> ExitCode {
    let stage = std::env::var_os(STAGE_VARIABLE);
    let images = std::env::var_os(IMAGE_DIRECTORY_VARIABLE);
    let bare = std::env::args_os().len() == 1;
    // CRIU calls at every stage, and only one is ours: exit before anything is set up.
    if bare
        && stage
            .as_deref()
            .is_some_and(|stage| !is_before_restore(stage))
    {
        return ExitCode::SUCCESS;
    }
    let cli = command_line();
    let invocation = match invocation(cli.command.as_ref(), stage.as_deref(), images.as_ref()) {
        Ok(invocation) => invocation,
        Err(usage) => return usage,
    };
    let outcome = run(&invocation, &cli.logging);
    // With the report still there: closing each descriptor and freeing each path would cost a restore more
    // than it gives.
    exit(outcome.status.into())
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

/// What premount is called for, or the exit status if nothing tells.
fn invocation<'a>(
    command: Option<&'a Command>,
    stage: Option<&'a OsStr>,
    images: Option<&'a OsString>,
) -> Result<Invocation<'a>, ExitCode> {
    let images = images.map(Path::new);
    let (view, options) = match (command, stage) {
        (Some(Command::Plan(options)), _) => (View::Plan, options),
        (Some(Command::Apply(options)), _) => (View::Created, options),
        (Some(Command::Check(options)), _) => (View::Missing, options),
        (Some(Command::Install(options)), _) => return Ok(Invocation::Install(options)),
        (Some(Command::Uninstall(options)), _) => return Ok(Invocation::Uninstall(options)),
        (Some(Command::Status(options)), _) => return Ok(Invocation::Status(options)),
        (Some(Command::Action) | None, Some(stage)) => {
            return Ok(Invocation::CriuScript { stage, images });
        }
        (Some(Command::Action), None) => {
            return Err(usage(&format!(
                "{STAGE_VARIABLE} is not set: CRIU sets it for its scripts"
            )));
        }
        (None, None) if stdin().is_terminal() => {
            return Err(usage(
                "expected a command, or a state JSON on standard input",
            ));
        }
        (Some(Command::Hook) | None, _) => return Ok(Invocation::Hook),
    };
    let nowhere = options.origin.bundle.is_none() && options.origin.state.is_none();
    if nowhere && (view != View::Plan || options.checkpoint.is_none()) {
        return Err(usage(
            "--bundle or --state is needed to find the configuration",
        ));
    }
    Ok(Invocation::Manual(view, options))
}

/// Prints how premount is used, on standard error.
fn usage(problem: &str) -> ExitCode {
    let mut command = Cli::command();
    let error = command.error(clap::error::ErrorKind::MissingSubcommand, problem);
    // Nobody is left to tell if standard error itself fails.
    let _ = error.print();
    ExitCode::from(2)
}
