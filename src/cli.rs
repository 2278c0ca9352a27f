// SPDX-License-Identifier: Apache-2.0
//! The command line.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Makes the mountpoints that a checkpointed container's nested mounts need, just before CRIU
/// restores it.
///
/// Without a command: the CRIU action script where CRTOOLS_SCRIPT_ACTION is set, otherwise the OCI
/// hook with the state on standard input.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub struct Cli {
    /// How much to say on standard error [default: info for hook and action, else warn]
    #[arg(long, global = true, value_name = "LEVEL", value_enum)]
    pub log_level: Option<LogLevel>,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const AFTER_HELP: &str = "\
Exit status: 0 done, or nothing to do; 1 a mountpoint is missing and could not be made
(check: is missing); 2 usage or unusable input.

Environment: PREMOUNT_LOG is the log level where --log-level is not given.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Act as an OCI hook: the container's state on standard input
    ///
    /// Acts if the annotation io.premount.restore is "true" in the state or, where the state has
    /// none, in the configuration.
    Hook,
    /// Act as CRIU's action script: CRTOOLS_SCRIPT_ACTION says at which stage
    ///
    /// Acts at pre-restore, unless the annotation io.premount.restore is "false". Where no OCI
    /// configuration is found there is nothing to do.
    Action,
    /// Show where each mountpoint lives, what is there and what is missing; touch nothing
    Plan(ByHand),
    /// Make what is missing
    Apply(ByHand),
    /// Say whether anything is missing; touch nothing
    Check(ByHand),
}

/// The options of the commands that people call.
#[derive(Args, Debug)]
pub struct ByHand {
    /// Where the configuration is.
    #[command(flatten)]
    pub origin: Origin,
    /// The checkpoint's image directory: also what its mounts need that the configuration doesn't know
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub images: Option<PathBuf>,
    /// The checkpoint: its image directory, or an archive (tar, tar.gz, tar.zst); also says whether it
    /// can be restored. plan shows it alone, without a bundle
    #[arg(long, value_name = "PATH", value_parser = path(), conflicts_with = "images")]
    pub checkpoint: Option<PathBuf>,
    /// How to report on standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// Where the configuration is.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct Origin {
    /// The bundle: the directory that config.json is in
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub bundle: Option<PathBuf>,
    /// A state JSON that names the bundle; "-" is standard input
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub state: Option<PathBuf>,
}

/// A path that may be empty: the error is better where it is known what it was for.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// How to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How much to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Nothing at all.
    Off,
    /// What failed.
    Error,
    /// And what is odd.
    Warn,
    /// And what was done.
    Info,
    /// And why.
    Debug,
    /// And how.
    Trace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
