// SPDX-License-Identifier: Apache-2.0
//! The command line.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Makes the mountpoints that a checkpointed container's nested mounts need, just before CRIU
/// restores it.
///
/// Called by CRIU, by a container runtime, or by hand, it reads the container's OCI configuration and
/// the checkpoint's images, follows every mount to the place where its mountpoint lives, and makes the
/// directories and empty files that are missing there.
///
/// Without a command: the CRIU action script where CRTOOLS_SCRIPT_ACTION is set, otherwise the OCI
/// hook with the state on standard input.
#[derive(Debug, Default, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub struct Cli {
    /// How much to say on standard error [default: info for hook and action, else warn]
    #[arg(long, global = true, value_name = "LEVEL", value_enum)]
    pub log_level: Option<LogLevel>,
    /// Where to say it: on standard error, or to the journal where there is one [default: hook and
    /// action both, else standard error]
    #[arg(long, global = true, value_name = "WHERE", value_enum)]
    pub log: Option<LogTo>,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const AFTER_HELP: &str = "\
Exit status: 0 done, or nothing to do; 1 a mountpoint is missing and could not be made
(hook, action: and CRIU is sure to fail for it; check: is missing), a node could not be changed (status: something is broken), or what was
done could not be written to standard output; 2 usage or unusable input.

Environment: PREMOUNT_LOG is the log level where --log-level is not given.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Act as an OCI hook: the container's state on standard input
    ///
    /// Acts if the annotation io.premount.restore is "true" in the state or, where the state has
    /// none, in the configuration. Fails only where CRIU is sure to fail.
    Hook,
    /// Act as CRIU's action script: CRTOOLS_SCRIPT_ACTION says at which stage
    ///
    /// Acts at pre-restore, unless the annotation io.premount.restore is "false". Takes the
    /// configuration of the runtime that called CRIU, or the one beside the images if it fits them; and
    /// only if nobody but root, or who runs premount, can have written it. Where there is none there is
    /// nothing to do. Fails only where CRIU is sure to fail.
    Action,
    /// Show where each mountpoint lives, what is there and what is missing; touch nothing
    Plan(ByHand),
    /// Make what is missing
    Apply(ByHand),
    /// Say whether anything is missing; touch nothing
    Check(ByHand),
    /// Put this program on the node, and what has engines and CRIU call it
    ///
    /// Copies itself, then the hook for CRI-O and Podman, then adds the line "action-script" to CRIU's
    /// configuration: to runc.conf, and to crun.conf where there is one (crun reads runc.conf otherwise);
    /// to default.conf alone where the node's crun or CRIU is too old to read those. All else in these
    /// files stays. Interrupted, it leaves a node that restores; again, it goes on.
    Install(Install),
    /// Take it off the node: the lines first, the hook, and last the program
    Uninstall(Uninstall),
    /// Say what has premount called for which runtime, what is broken, and what to do; touch nothing
    ///
    /// Exit status 1 where something is broken.
    Status(Status),
}

/// The options of `install`.
#[derive(Args, Debug)]
pub struct Install {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub change: Changing,
    /// Stay until SIGTERM or SIGINT, and uninstall then: for a DaemonSet
    #[arg(long, conflicts_with = "dry_run")]
    pub stay: bool,
}

/// The options of `uninstall`.
#[derive(Args, Debug)]
pub struct Uninstall {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How.
    #[command(flatten)]
    pub change: Changing,
}

/// The options of `status`.
#[derive(Args, Debug)]
pub struct Status {
    /// Where.
    #[command(flatten)]
    pub place: Place,
    /// How to report on standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// A node, and where premount belongs on it.
#[derive(Args, Debug)]
pub struct Place {
    /// The root directory of the node, or of an image of one
    #[arg(long, value_name = "DIR", default_value = "/", value_parser = path())]
    pub root: PathBuf,
    /// The directory for the hook [default: /usr/share/containers/oci/hooks.d]
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub hooks_dir: Option<PathBuf>,
    /// Where the program belongs on the node
    #[arg(long, value_name = "PATH", default_value = crate::node::hooks::PROGRAM, value_parser = path())]
    pub program: PathBuf,
}

/// How to change a node.
#[derive(Args, Debug)]
pub struct Changing {
    /// Change the configuration of CRIU only: program and hook are a package manager's
    #[arg(long)]
    pub criu_only: bool,
    /// Only say what would be done, and what the system would refuse
    #[arg(long)]
    pub dry_run: bool,
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
    /// Most directories and files to make [default: 100000 for the mounts of the configuration, and
    /// 10000 for what only the checkpoint has]
    #[arg(long, value_name = "NUMBER")]
    pub max_inodes: Option<usize>,
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

/// Where to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogTo {
    /// Standard error.
    Stderr,
    /// The systemd journal, or standard error where there is none.
    Journald,
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
