// SPDX-License-Identifier: Apache-2.0
//! Installs premount on a node, inspects the installation and removes it; never runs during a restore.
//!
//! Nothing may refer to the program while it is missing: CRIU aborts every dump and every restore if its
//! action script is missing. CRI-O skips a hook whose program is missing when it reads the hook, and fails every
//! container that the hook applies to if the program is removed after that, until the hook changes. So the program is
//! installed first and removed last. Each file is replaced atomically, because CRI-O does not start with half a hook.

pub mod criu;
pub mod engines;
pub mod files;
pub mod hook_json;
mod hook_status;
pub mod hooks;
pub mod install;
pub mod overrides;
pub mod pattern;
pub mod place;
pub mod programs;
pub mod scripts;
pub mod status;

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{SigSet, Signal};

use crate::cli::{self, Changing, Place};
use crate::error::Error;
use crate::{output, sys};
use engines::Engine;
use files::Files;

/// premount's file name, wherever it is installed.
const NAME: &str = "premount";

/// Installs premount on a node; with `--stay`, uninstalls it on SIGTERM or SIGINT, unless another one stays
/// there, too: in an update of a DaemonSet, the new pod has installed before the old one ends.
///
/// # Errors
///
/// The node cannot be changed, or the changes cannot be reported on standard output.
pub fn install(options: &cli::Install) -> Result<(), Error> {
    let node = Node::new(&options.place)?;
    let signals = options.stay.then(block_signals).transpose()?;
    let mut held = None;
    let task = match &signals {
        Some(_) => Task::InstallAndHold(&mut held),
        None => Task::Install,
    };
    let installed = node.change(&options.change, task);
    let (Some(signals), Ok(()) | Err(Error::ReportFailed { .. })) = (signals, &installed) else {
        return installed;
    };
    signals.wait().map_err(|errno| Error::Unchangeable {
        file: "--stay".into(),
        operation: "sigwait",
        errno,
    })?;
    drop(held);
    match node.change(&options.change, Task::UninstallUnlessHeld) {
        Ok(()) | Err(Error::ReportFailed { .. }) if installed.is_err() => installed,
        uninstalled => uninstalled,
    }
}

/// Removes premount from a node.
///
/// # Errors
///
/// The same as [`install()`].
pub fn uninstall(options: &cli::Uninstall) -> Result<(), Error> {
    Node::new(&options.place)?.change(&options.change, Task::Uninstall)
}

/// Inspects premount's installation on a node.
///
/// # Errors
///
/// The node's files cannot be read.
pub fn status(options: &cli::Status) -> Result<status::NodeStatus, Error> {
    status::status(&Node::new(&options.place)?)
}

/// Blocks SIGTERM and SIGINT, so that an early one cannot leave a change half made.
fn block_signals() -> Result<SigSet, Error> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    let blocked = signals.thread_block();
    blocked
        .map(|()| signals)
        .map_err(|errno| Error::Unchangeable {
            file: "--stay".into(),
            operation: "sigprocmask",
            errno,
        })
}

/// What to do with a node.
enum Task<'a> {
    Install,
    /// Also mark the program as in use, as long as this file is open.
    InstallAndHold(&'a mut Option<File>),
    Uninstall,
    /// Uninstall, unless another process has marked the program as in use.
    UninstallUnlessHeld,
}

/// A node, and where premount belongs on it.
#[derive(Debug)]
pub struct Node {
    /// Its files.
    pub files: Files,
    /// The program's path.
    pub program: PathBuf,
    /// The directory to install the hook in.
    pub hooks_directory: PathBuf,
    /// Whether the command line names that directory.
    pub is_hooks_directory_given: bool,
}

impl Node {
    /// The node that the command line describes.
    ///
    /// # Errors
    ///
    /// A path is unusable, or the root directory cannot be read.
    pub fn new(place: &Place) -> Result<Self, Error> {
        let files = Files::new(&place.root)?;
        let program = match &place.program {
            Some(program) => program.clone(),
            None => place::program(&files)?,
        };
        if !criu::accepts_path(&program) {
            return Err(Error::invalid(
                &program,
                "",
                "not a path that CRIU's configuration files can hold: it must be absolute, normalized UTF-8 \
                 without whitespace, control characters, double quotes, # or \\",
            ));
        }
        if let Some(directory) = place.hooks_dir.as_ref().filter(|path| !path.is_absolute()) {
            return Err(Error::invalid(directory, "", "not an absolute path"));
        }
        let has_control = |directory: &PathBuf| {
            directory
                .as_os_str()
                .as_bytes()
                .iter()
                .any(u8::is_ascii_control)
        };
        if let Some(directory) = place.hooks_dir.as_ref().filter(|path| has_control(path)) {
            let reason =
                "contains a control character, so CRIU's configuration files cannot name it";
            return Err(Error::invalid(directory, "", reason));
        }
        let hooks_directory = match &place.hooks_dir {
            Some(directory) => directory.clone(),
            None => place::hooks_directory(&files, &program)?,
        };
        Ok(Self {
            files,
            program,
            hooks_directory,
            is_hooks_directory_given: place.hooks_dir.is_some(),
        })
    }

    /// The options that `premount uninstall` needs, on the node itself, to undo this installation.
    fn uninstall_options(&self, criu_only: bool) -> Vec<&OsStr> {
        let mut options = Vec::new();
        if self.program != Path::new(cli::PROGRAM) {
            options.extend([OsStr::new("--program"), self.program.as_os_str()]);
        }
        if criu_only {
            options.push(OsStr::new("--criu-only"));
            return options;
        }
        // An uninstall always searches these two. It also searches the engines' directories, but those may
        // have changed by then.
        let searched = [hooks::DIRECTORY, hooks::ADMIN_DIRECTORY].map(Path::new);
        if !searched.contains(&self.hooks_directory.as_path()) {
            options.extend([OsStr::new("--hooks-dir"), self.hooks_directory.as_os_str()]);
        }
        options
    }

    /// Installs or uninstalls, holding a lock, and reports each step. Carries on if a step cannot be
    /// reported: half an installation is useless.
    fn change(&self, how: &Changing, task: Task<'_>) -> Result<(), Error> {
        let install = matches!(task, Task::Install | Task::InstallAndHold(_));
        let steps = |made: &[PathBuf]| {
            if install {
                install::install_steps(self, how.criu_only, made)
            } else {
                install::uninstall_steps(self, how.criu_only)
            }
        };
        if how.dry_run {
            for step in steps(&[])? {
                install::check_step(self, &step)?;
                output::line(&format!("would {}", step.planned()))?;
            }
            return Ok(());
        }
        sys::reset_umask();
        // Two locks: in a container, the root may be the container's own directory, while the program's
        // directory is the node's.
        let _root_lock = self.files.lock(Path::new("/"))?;
        let directory = self.program.parent().unwrap_or(Path::new("/"));
        let mut made = Vec::new();
        if install {
            // Creating this directory is the first change. Compute the steps before it, to refuse what is
            // impossible while nothing has changed.
            made = install::missing_directories(self, &steps(&[])?)?;
            self.files.create_directory(directory)?;
        }
        let _program_lock = match self.files.find(directory)? {
            Some(found) if found.is_directory => Some(self.files.lock(directory)?),
            _ => None,
        };
        // Under the lock, so that no other premount installs and marks it between this look and the removal.
        if matches!(task, Task::UninstallUnlessHeld) && self.files.is_held(&self.program)? {
            return output::line("another premount stays on this node: nothing is removed");
        }
        let mut changed = false;
        let mut reported = Ok(());
        for step in steps(&made)? {
            if install::take_step(self, &step)? {
                changed = true;
                reported = reported.and(output::line(&step.done()));
            }
        }
        if let Task::InstallAndHold(held) = task {
            *held = self.files.hold(&self.program)?;
        }
        if !changed {
            reported = output::line("nothing to do");
        }
        let done = if changed {
            "the node was changed"
        } else {
            "there was nothing to do"
        };
        reported.map_err(|error| error.after(done))
    }

    /// The directories that may contain the hook: the one given, the standard ones, and those that engines
    /// read.
    pub fn hook_directories(&self, engines: &[Engine]) -> Vec<PathBuf> {
        let standard = [hooks::DIRECTORY, hooks::ADMIN_DIRECTORY].map(PathBuf::from);
        let engine_directories = engines.iter().flat_map(|it| it.hook_directories.iter());
        let mut all: Vec<PathBuf> = [&self.hooks_directory]
            .into_iter()
            .chain(engine_directories)
            .cloned()
            .collect();
        all.extend(standard);
        all.sort();
        all.dedup();
        all
    }

    /// Whether a program is premount: this node's, or any with premount's file name.
    pub fn is_premount(&self, program: &Path) -> bool {
        program == self.program || program.file_name().is_some_and(|name| name == NAME)
    }
}
