// SPDX-License-Identifier: Apache-2.0
//! The command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Create what CRIU needs in the volumes of a checkpointed container, just before it restores it:
/// mountpoints, working directories and the like.
///
/// premount reads the container's OCI configuration and the checkpoint's images, follows every mount
/// and open file to the place where it lives on the host, and creates the directories, FIFOs and empty
/// files that are missing there. CRIU, a container runtime or a person calls it.
///
/// Without a command it acts as CRIU's action script if CRTOOLS_SCRIPT_ACTION is set, and otherwise as
/// an OCI hook with the state on standard input.
#[derive(Debug, Default, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub struct Cli {
    /// The log.
    #[command(flatten)]
    pub logging: Logging,
    /// The command.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const AFTER_HELP: &str = "\
Exit status:
  0  done, or nothing to do
  1  apply: something could not be created; check: something is missing, or the checkpoint cannot
     be restored; hook, action: CRIU is sure to fail; install, uninstall: the node could not
     be changed; status: something is broken; explain: the error is unknown; all: the report
     could not be written
  2  usage error, or input that cannot be used

Environment: PREMOUNT_LOG sets the log level if --log-level is not given.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run as an OCI hook, with the container's state on standard input
    ///
    /// Acts if the annotation io.premount.restore is "true" in the state or, if the state doesn't have
    /// it, in the configuration. Fails only if CRIU is sure to fail.
    Hook,
    /// Run as CRIU's action script, at the stage in CRTOOLS_SCRIPT_ACTION
    ///
    /// Acts at pre-restore, unless the annotation io.premount.restore is "false". Uses the configuration
    /// of the runtime that called CRIU, or one beside the images whose mounts match the images; and only
    /// if nobody but root and the calling user can have written it. Without a configuration it does
    /// nothing. Fails only if CRIU is sure to fail.
    Action,
    /// Show where each mountpoint lives and what is missing, without changing anything
    Plan(Manual),
    /// Create what is missing
    Apply(Manual),
    /// Check whether anything is missing, without changing anything
    Check(Manual),
    /// Install premount on the node, and configure engines and CRIU to call it
    ///
    /// Copies the program, then the hook for CRI-O and Podman, then adds an "action-script" line to
    /// CRIU's configuration: to runc.conf, and to crun.conf if there is one (otherwise crun reads
    /// runc.conf); or to default.conf alone if the node's crun or CRIU is too old to read those. Other
    /// lines in these files are kept. Where /usr is read-only, it uses other directories, and makes CRI-O
    /// read hooks from there: restart CRI-O then. If it is interrupted, the node still restores, and running it again
    /// completes the installation.
    Install(Install),
    /// Remove premount from the node: CRIU's lines first, then the hook, then the program
    Uninstall(Uninstall),
    /// Show how each runtime triggers premount, what is broken and how to fix it
    ///
    /// Exits with status 1 if something is broken.
    Status(Status),
    /// Explain why a restore failed, by CRIU's restore.log
    ///
    /// Finds the error that ended the restore among all that CRIU logs, and says in plain words what it
    /// means, where that is in the container and on the host, and what to do. Takes a checkpoint's dump.log
    /// as well, and an error as a runtime or an engine prints it. Looks at nothing else: no path in the log
    /// is opened. Exits with status 0 if the error is known or there is none, and with 1 if it is unknown.
    Explain(Explain),
}

/// The options of the log.
#[derive(Args, Debug, Default)]
pub struct Logging {
    /// Log level [default: info for hook and action, otherwise warn]
    #[arg(long, global = true, value_name = "LEVEL", value_enum)]
    pub log_level: Option<LogLevel>,
    /// Where to log: standard error, or the systemd journal if there is one [default: both for hook and
    /// action, otherwise standard error]
    #[arg(long, global = true, value_name = "WHERE", value_enum)]
    pub log: Option<LogTo>,
}

/// Where the program is on a node, unless the command line says otherwise.
pub const PROGRAM: &str = "/usr/libexec/oci/hooks.d/premount";

/// The options of `install`.
#[derive(Args, Debug)]
pub struct Install {
    /// The node.
    #[command(flatten)]
    pub place: Place,
    /// What to change there.
    #[command(flatten)]
    pub change: Changing,
    /// Wait for SIGTERM or SIGINT, then uninstall, unless another premount stays there, too; for a DaemonSet
    #[arg(long, conflicts_with = "dry_run")]
    pub stay: bool,
}

/// The options of `uninstall`.
#[derive(Args, Debug)]
pub struct Uninstall {
    /// The node.
    #[command(flatten)]
    pub place: Place,
    /// What to change there.
    #[command(flatten)]
    pub change: Changing,
}

/// The options of `status`.
#[derive(Args, Debug)]
pub struct Status {
    /// The node.
    #[command(flatten)]
    pub place: Place,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// The options of `explain`.
#[derive(Args, Debug)]
pub struct Explain {
    /// CRIU's log, or an engine's error; "-" for standard input
    #[arg(value_name = "FILE", value_parser = path())]
    pub file: PathBuf,
    /// The bundle of the container, for host paths that the log doesn't have
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub bundle: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// A node, and where premount is installed on it.
#[derive(Args, Debug)]
pub struct Place {
    /// Root directory of the node, or of a node image
    #[arg(long, value_name = "DIR", default_value = "/", value_parser = path())]
    pub root: PathBuf,
    /// Directory for the hook [default: /usr/share/containers/oci/hooks.d or, where that is read-only,
    /// /etc/containers/oci/hooks.d]
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub hooks_dir: Option<PathBuf>,
    /// Path of the program on the node [default: /usr/libexec/oci/hooks.d/premount or, where that is
    /// read-only, /opt/premount/bin/premount, or else /var/lib/premount/bin/premount]
    #[arg(long, value_name = "PATH", value_parser = path())]
    pub program: Option<PathBuf>,
}

/// What to change on a node.
#[derive(Args, Debug)]
pub struct Changing {
    /// Change only CRIU's configuration; a package manager installs the program and the hook
    #[arg(long)]
    pub criu_only: bool,
    /// Show what would be done, and what the system would refuse, without changing anything
    #[arg(long)]
    pub dry_run: bool,
}

/// The options of the commands that people call.
#[derive(Args, Debug)]
pub struct Manual {
    /// Where the configuration is.
    #[command(flatten)]
    pub origin: Origin,
    /// Image directory of the checkpoint: include what only its mounts and its open files need
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub images: Option<PathBuf>,
    /// The checkpoint, as an image directory or an archive (tar, tar.gz, tar.zst): also report whether
    /// it can be restored here. With plan and check it may stand alone, without a bundle
    #[arg(long, value_name = "PATH", value_parser = path(), conflicts_with = "images")]
    pub checkpoint: Option<PathBuf>,
    /// Where a volume will be, as DESTINATION=HOSTDIR: for a checkpoint without a bundle. Repeatable
    #[arg(
        long = "volume",
        value_name = "DESTINATION=HOSTDIR",
        requires = "checkpoint",
        conflicts_with_all = ["bundle", "state"],
        value_parser = OsStringValueParser::new().try_map(Volume::parse)
    )]
    pub volumes: Vec<Volume>,
    /// The runtime that will restore, if the checkpoint doesn't tell: with --checkpoint, what it creates itself is no reason to fail
    #[arg(long, value_enum, value_name = "NAME")]
    pub runtime: Option<Runtime>,
    /// Also create logs: files that were opened for appending alone, whose size CRIU ignores. They may
    /// not have been empty
    #[arg(long)]
    pub append: bool,
    /// Maximum number of inodes to create [default: 100000 for the mounts of the configuration, and
    /// 10000 for what only the checkpoint has]
    #[arg(long, value_name = "NUMBER")]
    pub max_inodes: Option<usize>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// A container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// Before it calls CRIU, it creates the mountpoints of the configuration that are not below one of its tmpfs.
    Runc,
    /// It creates mountpoints in the rootfs alone.
    Crun,
}

/// Where a volume will be.
#[derive(Clone, Debug)]
pub struct Volume {
    /// The destination in the container.
    pub at: String,
    /// The directory or file on this host.
    pub host: PathBuf,
}

impl Volume {
    fn parse(text: OsString) -> Result<Self, &'static str> {
        let usage = "expected DESTINATION=HOSTDIR, with a destination in the container";
        let text = text.into_encoded_bytes();
        let equals = text.iter().position(|&byte| byte == b'=').ok_or(usage)?;
        let (at, host) = text.split_at(equals);
        let at = String::from_utf8(at.to_vec()).map_err(|_| usage)?;
        let host = host.get(1..).unwrap_or_default();
        if !at.starts_with('/') || host.is_empty() {
            return Err(usage);
        }
        let host = PathBuf::from(OsStr::from_bytes(host));
        Ok(Self { at, host })
    }
}

/// Where the configuration is.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct Origin {
    /// The bundle: the directory with config.json
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub bundle: Option<PathBuf>,
    /// A state JSON that names the bundle; "-" for standard input
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub state: Option<PathBuf>,
}

/// A path that may be empty: where it is used the error can say what it was for.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogTo {
    /// Standard error.
    Stderr,
    /// The systemd journal, or standard error where there is none.
    Journald,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Failures.
    Error,
    /// Also what is unexpected.
    Warn,
    /// Also what was done.
    Info,
    /// Also why.
    Debug,
    /// Also how.
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
