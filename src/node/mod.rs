// SPDX-License-Identifier: Apache-2.0
//! The node that premount is put on, looked at, and taken off again: never in the path of a restore.
//!
//! What refers to the program must never be there without it: CRIU aborts every dump and every restore
//! whose action script is missing, and a CRI-O that runs fails every container that a hook counts for whose
//! program is. So it comes first and goes last, and each file changes as a whole: CRI-O doesn't start with
//! half a hook.

pub mod criu;
pub mod engines;
pub mod files;
pub mod hook_json;
mod hook_status;
pub mod hooks;
pub mod install;
pub mod overrides;
pub mod pattern;
pub mod programs;
pub mod scripts;
pub mod status;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{SigSet, Signal};

use crate::cli::{self, Changing, Place};
use crate::error::Error;
use crate::{output, sys};
use engines::Engine;
use files::Files;

/// The name by which premount is known wherever it lies.
const NAME: &str = "premount";

/// Installs premount on a node; with `--stay` uninstalls it when a signal asks for the end.
///
/// # Errors
///
/// The node can't be changed, or what was done can't be written to standard output.
pub fn install(options: &cli::Install) -> Result<(), Error> {
    let node = Node::of(&options.place)?;
    let end = options.stay.then(hold_signals).transpose()?;
    let installed = node.change(&options.change, true);
    let (Some(end), Ok(()) | Err(Error::Untold { .. })) = (end, &installed) else {
        return installed;
    };
    end.wait().map_err(|errno| Error::Unchangeable {
        file: "--stay".into(),
        operation: "sigwait",
        errno,
    })?;
    match node.change(&options.change, false) {
        Ok(()) | Err(Error::Untold { .. }) if installed.is_err() => installed,
        uninstalled => uninstalled,
    }
}

/// Removes premount from a node.
///
/// # Errors
///
/// As [`install`].
pub fn uninstall(options: &cli::Uninstall) -> Result<(), Error> {
    Node::of(&options.place)?.change(&options.change, false)
}

/// Finds out what premount is worth on a node.
///
/// # Errors
///
/// The node's files can't be read.
pub fn status(options: &cli::Status) -> Result<status::Status, Error> {
    status::status(&Node::of(&options.place)?)
}

/// Blocks the signals that ask for the end: one that comes early must not leave half of a change.
fn hold_signals() -> Result<SigSet, Error> {
    let end = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    let held = end.thread_block();
    held.map(|()| end).map_err(|errno| Error::Unchangeable {
        file: "--stay".into(),
        operation: "sigprocmask",
        errno,
    })
}

/// A node, and where premount belongs on it.
#[derive(Debug)]
pub struct Node {
    /// Its files.
    pub files: Files,
    /// The program.
    pub program: PathBuf,
    /// The directory that the hook is put into; none: the packages'.
    pub hooks_directory: Option<PathBuf>,
}

impl Node {
    /// The node that a command line means.
    pub fn of(place: &Place) -> Result<Self, Error> {
        let program = place.program.clone();
        if !criu::can_hold(&program) {
            return Err(Error::invalid(
                &program,
                "",
                "not a plain absolute path that CRIU's configuration files can hold: UTF-8, without .., blanks, \
                 quotes, # and \\",
            ));
        }
        if let Some(directory) = place.hooks_dir.as_ref().filter(|path| !path.is_absolute()) {
            return Err(Error::invalid(directory, "", "not an absolute path"));
        }
        let is_control = |directory: &PathBuf| {
            directory
                .as_os_str()
                .as_bytes()
                .iter()
                .any(u8::is_ascii_control)
        };
        if let Some(directory) = place.hooks_dir.as_ref().filter(|path| is_control(path)) {
            let reason = "a control character, and CRIU's configuration files are to name it";
            return Err(Error::invalid(directory, "", reason));
        }
        Ok(Self {
            files: Files::of(&place.root)?,
            program,
            hooks_directory: place.hooks_dir.clone(),
        })
    }

    /// The options with which an uninstall on the node itself takes off what was installed there.
    fn options_out(&self, criu_only: bool) -> Vec<&OsStr> {
        let mut options = Vec::new();
        if self.program != Path::new(cli::PROGRAM) {
            options.extend([OsStr::new("--program"), self.program.as_os_str()]);
        }
        if criu_only {
            options.push(OsStr::new("--criu-only"));
            return options;
        }
        // An engine's own directories may be others by then.
        let found = [hooks::DIRECTORY, hooks::OF_ADMINISTRATOR].map(Path::new);
        let elsewhere = self
            .hooks_directory
            .as_deref()
            .filter(|it| !found.contains(it));
        if let Some(directory) = elsewhere {
            options.extend([OsStr::new("--hooks-dir"), directory.as_os_str()]);
        }
        options
    }

    /// Takes the steps to install or to uninstall, one premount at a time, and says each when it is taken.
    /// Where that can't be said they are taken to the end all the same: half of them are no use to anybody.
    fn change(&self, how: &Changing, install: bool) -> Result<(), Error> {
        let steps = if install {
            install::steps_in
        } else {
            install::steps_out
        };
        if how.dry_run {
            for step in steps(self, how.criu_only)? {
                install::foresee(self, &step)?;
                output::line(&format!("would {}", step.intent()))?;
            }
            return Ok(());
        }
        sys::reset_umask();
        // In a container the root is another one than the node's own, and the program's directory is not.
        let _alone = self.files.lock(Path::new("/"))?;
        let directory = self.program.parent().unwrap_or(Path::new("/"));
        if install {
            // What can't be is refused before the first change, and that is this directory.
            steps(self, how.criu_only)?;
            self.files.make_directory(directory)?;
        }
        let _here = match self.files.find(directory)? {
            Some(found) if found.is_directory => Some(self.files.lock(directory)?),
            _ => None,
        };
        let mut changed = false;
        let mut told = Ok(());
        for step in steps(self, how.criu_only)? {
            if install::take(self, &step)? {
                changed = true;
                told = told.and(output::line(&step.deed()));
            }
        }
        if !changed {
            told = output::line("nothing to do");
        }
        let done = if changed {
            "the node was changed"
        } else {
            "there was nothing to do"
        };
        told.map_err(|error| error.after(done))
    }

    /// The directories in which the hook may be: the usual ones, and those that engines read.
    pub fn hooks_directories(&self, engines: &[Engine]) -> Vec<PathBuf> {
        let usual = [hooks::DIRECTORY, hooks::OF_ADMINISTRATOR].map(PathBuf::from);
        let of_engines = engines.iter().flat_map(|it| it.hook_directories.iter());
        let mut all: Vec<PathBuf> = self
            .hooks_directory
            .iter()
            .chain(of_engines)
            .cloned()
            .collect();
        all.extend(usual);
        all.sort();
        all.dedup();
        all
    }

    /// Whether a program is premount: the one of this node, or by its name.
    pub fn is_premount(&self, program: &Path) -> bool {
        program == self.program || program.file_name().is_some_and(|name| name == NAME)
    }
}
