// SPDX-License-Identifier: Apache-2.0
//! The program: turns the command line and the environment into an invocation, and its outcome into an exit
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
    let has_no_arguments = std::env::args_os().len() == 1;
    // CRIU calls its script at every stage; exit immediately at every stage but one.
    if has_no_arguments
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
    // Without dropping the report: closing every descriptor and freeing every path would only delay the
    // restore.
    exit(outcome.status.into())
}

/// The command line. Engines and CRIU pass at most one argument, which needs no parser.
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

/// How premount was called, or the exit status of a usage error.
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
        (Some(Command::Explain(options)), _) => return Ok(Invocation::Explain(options)),
        (Some(Command::Action) | None, Some(stage)) => {
            return Ok(Invocation::CriuScript { stage, images });
        }
        (Some(Command::Action), None) => {
            return Err(usage(&format!(
                "{STAGE_VARIABLE} is not set; CRIU sets it for its action scripts"
            )));
        }
        (None, None) if stdin().is_terminal() => {
            return Err(usage(
                "expected a command, or a state JSON on standard input",
            ));
        }
        (Some(Command::Hook) | None, _) => return Ok(Invocation::Hook),
    };
    let has_no_bundle = options.origin.bundle.is_none() && options.origin.state.is_none();
    if has_no_bundle && (view == View::Created || options.checkpoint.is_none()) {
        return Err(usage(
            "--bundle or --state is needed to find the configuration",
        ));
    }
    Ok(Invocation::Manual(view, options))
}

/// Prints a usage error on standard error.
fn usage(problem: &str) -> ExitCode {
    let mut command = Cli::command();
    let error = command.error(clap::error::ErrorKind::MissingSubcommand, problem);
    // If standard error fails, there is nowhere to report it.
    let _ = error.print();
    ExitCode::from(2)
}
