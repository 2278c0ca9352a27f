// SPDX-License-Identifier: Apache-2.0
//! The steps that install premount on a node, or remove it: first computed, then taken. After an interruption
//! at any step the node can still restore, and running the command again finishes the job.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, shown};
use crate::input;
use crate::node::engines::Engine;
use crate::node::files::FileInfo;
use crate::node::programs::{self, Runtime};
use crate::node::{Node, criu, engines, hooks, overrides, place, scripts};

/// Maximum size of the program, in bytes.
const MAX_PROGRAM_SIZE: usize = 64 << 20;

/// The files of CRIU's that premount writes.
const CRIU_FILES: [&str; 3] = [criu::DEFAULT, criu::RUNC, criu::CRUN];

/// One change to a node's files.
#[derive(Debug)]
pub enum Step {
    /// Write a file, and create its parent directories.
    Write {
        /// The file.
        path: PathBuf,
        /// Its new content.
        content: Vec<u8>,
        /// Its mode; `None` keeps the mode, or sets 0644 for a new file.
        mode: Option<u32>,
        /// What changes in it.
        change: Change,
    },
    /// Remove a file.
    Remove(PathBuf),
    /// Remove a directory if it is empty.
    RemoveEmpty(PathBuf),
}

/// What changes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Everything: the file is premount's.
    Content,
    /// The action script's line is added.
    LineAdded,
    /// The comment above that line gets another command.
    Comment,
    /// The action script's line is removed.
    LineRemoved,
}

/// How a step is reported.
impl Step {
    /// What it would do, in a dry run.
    pub fn planned(&self) -> String {
        let planned = self.described([
            "write",
            "add the action script to",
            "update the comment in",
            "remove the action script from",
            "remove",
        ]);
        match self {
            Self::RemoveEmpty(_) => planned + " if nothing else is in it",
            _ => planned,
        }
    }

    /// What it did.
    pub fn done(&self) -> String {
        self.described([
            "wrote",
            "added the action script to",
            "updated the comment in",
            "removed the action script from",
            "removed",
        ])
    }

    fn described(&self, [write, add, update, remove_line, remove]: [&str; 5]) -> String {
        let (verb, path) = match self {
            Self::Write { path, change, .. } => match change {
                Change::Content => (write, path),
                Change::LineAdded => (add, path),
                Change::Comment => (update, path),
                Change::LineRemoved => (remove_line, path),
            },
            Self::Remove(path) | Self::RemoveEmpty(path) => (remove, path),
        };
        let is_cri_o = path == Path::new(place::CRI_O_DROP_IN);
        let then = if is_cri_o { ": restart CRI-O" } else { "" };
        format!("{verb} {}{then}", shown(path))
    }
}

/// The steps that install premount. With `criu_only`, a package manager installs the program and the hook.
/// `made` are the directories that these steps make: they are recorded beside CRIU's line, so that an uninstall
/// removes them, and no others.
///
/// # Errors
///
/// The node's files cannot be read, or something is in the way.
pub fn install_steps(node: &Node, criu_only: bool, made: &[PathBuf]) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    if criu_only {
        if !node
            .files
            .find(&node.program)?
            .is_some_and(|it| it.is_executable)
        {
            return Err(Error::invalid(
                &node.program,
                "",
                "no executable there: install the program before CRIU's configuration names it",
            ));
        }
    } else {
        let this_program = input::read_file(Path::new("/proc/self/exe"), MAX_PROGRAM_SIZE)?;
        let hook = hooks::json_for(&node.program).into_bytes();
        // CRI-O skips a hook whose program is missing, until the hook's file is written again.
        let mut is_skipped = false;
        for (path, content, mode) in [
            (node.program.clone(), this_program, 0o755),
            (node.hooks_directory.join(hooks::FILE_NAME), hook, 0o644),
        ] {
            let is_there = is_installed(node, &path, &content, mode)?;
            if is_skipped || !is_there {
                is_skipped = node.files.find(&node.program)?.is_none();
                steps.push(Step::Write {
                    path,
                    content,
                    mode: Some(mode),
                    change: Change::Content,
                });
            }
        }
    }
    let engines = engines::find(&node.files)?;
    if !criu_only {
        steps.extend(place::drop_in_step(node, &engines)?);
    }
    let required = required_files(node, &engines)?;
    let mut all_made = made.to_owned();
    for path in CRIU_FILES.map(Path::new) {
        let text = node.files.read(path, criu::MAX_SIZE)?.unwrap_or_default();
        all_made.extend(criu::made_directories(&text, &node.program));
    }
    all_made.sort();
    all_made.dedup();
    let mut written = Vec::new();
    for path in &required {
        // One of them may be a link to another.
        let host = node.files.host_path(path)?;
        if written.contains(&host) {
            continue;
        }
        written.push(host);
        let text = node
            .files
            .read_to_replace(path, criu::MAX_SIZE)?
            .unwrap_or_default();
        let options = node.uninstall_options(criu_only);
        let with = criu::add_action_script(&text, &node.program, &options, &all_made);
        steps.extend(with.map(|content| Step::Write {
            path: path.clone(),
            content,
            mode: None,
            change: if criu::action_scripts(&text).contains(&node.program) {
                Change::Comment
            } else {
                Change::LineAdded
            },
        }));
    }
    // CRIU would call premount twice if it read two files that name it.
    for path in CRIU_FILES.map(PathBuf::from) {
        if !written.contains(&node.files.host_path(&path)?) {
            let text = node.files.read(&path, criu::MAX_SIZE)?.unwrap_or_default();
            let left = criu::strip_installed(&text, &node.program);
            let left = left.map(|left| write_rest(node, path, left.to_owned()));
            steps.extend(left.transpose()?);
        }
    }
    Ok(steps)
}

/// The directories that these steps make.
///
/// # Errors
///
/// The node's files cannot be read.
pub fn missing_directories(node: &Node, steps: &[Step]) -> Result<Vec<PathBuf>, Error> {
    let mut missing = Vec::new();
    for step in steps {
        let Step::Write { path, .. } = step else {
            continue;
        };
        for directory in path.ancestors().skip(1) {
            if node.files.find(directory)?.is_some() {
                break;
            }
            missing.push(directory.to_owned());
        }
    }
    Ok(missing)
}

/// Whether a file has the right content, and is executable if it has to be.
fn is_installed(node: &Node, path: &Path, content: &[u8], mode: u32) -> Result<bool, Error> {
    let found = node.files.find(path)?;
    // If the sizes differ there is no need to read it, however large it is.
    let may_be =
        |found: &FileInfo| u64::try_from(content.len()).is_ok_and(|size| size == found.size);
    if found.as_ref().is_some_and(|it| it.is_file && !may_be(it)) {
        return Ok(false);
    }
    let there = node.files.read_to_replace(path, content.len())?;
    let is_executable = found.is_some_and(|found| found.is_executable);
    Ok(there.is_some_and(|there| there == content) && (mode != 0o755 || is_executable))
}

/// The files that have to name the action script on this node. Never creates crun.conf: if it does not exist,
/// crun makes CRIU read runc.conf, and a new crun.conf would hide that.
fn required_files(node: &Node, engines: &[Engine]) -> Result<Vec<PathBuf>, Error> {
    let default = node
        .files
        .read(Path::new(criu::DEFAULT), criu::MAX_SIZE)?
        .unwrap_or_default();
    let by_administrator = criu::action_scripts(&default).contains(&node.program)
        && criu::strip_installed(&default, &node.program).is_none();
    let runtimes = programs::runtimes(&node.files, &engines::runtimes_of(engines))?;
    if by_administrator || runtimes.iter().any(Runtime::reads_only_default) {
        return Ok(vec![criu::DEFAULT.into()]);
    }
    let mut required = vec![PathBuf::from(criu::RUNC)];
    if node.files.find(Path::new(criu::CRUN))?.is_some() {
        required.push(criu::CRUN.into());
    }
    Ok(required)
}

/// The steps that remove premount. With `criu_only`, the program and the hook stay.
///
/// # Errors
///
/// The node's files cannot be read, or a file that premount did not write names the program.
pub fn uninstall_steps(node: &Node, criu_only: bool) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    let mut made = Vec::new();
    let mut written = Vec::new();
    let criu_files = scripts::criu_files(node)?;
    for path in &criu_files {
        // A link to another of them.
        let host = node.files.host_path(path)?;
        if written.contains(&host) {
            continue;
        }
        written.push(host);
        let text = node.files.read(path, criu::MAX_SIZE)?.unwrap_or_default();
        made.extend(criu::made_directories(&text, &node.program));
        let left = criu::remove_action_script(&text, &node.program);
        steps.extend(
            left.map(|left| write_rest(node, path.clone(), left))
                .transpose()?,
        );
    }
    // Files that premount does not change must not be left naming a program that is gone.
    let mut others = vec![PathBuf::from(criu::ROOT_DEFAULT)];
    others.extend(
        overrides::find(&node.files)?
            .into_iter()
            .map(|found| found.config),
    );
    for path in others.iter().filter(|path| !criu_files.contains(path)) {
        // A tenant chose some of these paths, so treat an unreadable file as one that names nothing.
        let text = node.files.read(path, criu::MAX_SIZE).ok().flatten();
        let named = text
            .as_deref()
            .map(criu::action_scripts)
            .unwrap_or_default();
        if named.contains(&node.program) {
            return Err(still_named(path, &node.program));
        }
    }
    let engines = engines::find(&node.files)?;
    for directory in node.hook_directories(&engines) {
        for hook in hooks::find(&node.files, &directory, &[])? {
            let is_own = hook.has_own_name();
            // premount's own hook, unparsable: it names no known program, but keeps an engine from starting.
            let is_broken = is_own && hook.is_file && hook.program.is_none();
            if hook.program.as_ref() == Some(&node.program) {
                if !is_own {
                    return Err(still_named(&hook.path, &node.program));
                }
            } else if !is_broken {
                continue;
            }
            if !criu_only {
                steps.push(Step::Remove(hook.path));
            }
        }
    }
    if !criu_only && place::has_own_drop_in(node)? {
        steps.push(Step::Remove(place::CRI_O_DROP_IN.into()));
    }
    let program = node.files.find(&node.program)?;
    if !criu_only && program.is_some_and(|it| it.is_file) {
        steps.push(Step::Remove(node.program.clone()));
    }
    let is_sane = |path: &PathBuf| {
        let mut parts = path.components();
        parts.next() == Some(Component::RootDir)
            && parts.all(|part| matches!(part, Component::Normal(_)))
            && path.file_name().is_some()
    };
    // A running CRI-O watches its directories of hooks, and would not see a new one of the same name.
    let is_watched = |path: &PathBuf| {
        let mut cri_o = engines.iter().filter(|it| it.program.name == "crio");
        cri_o.any(|it| it.hook_directories.contains(path))
    };
    made.retain(|path| is_sane(path) && !is_watched(path));
    // The deepest first.
    made.sort();
    made.dedup();
    steps.extend(made.into_iter().rev().map(Step::RemoveEmpty));
    Ok(steps)
}

fn still_named(path: &Path, program: &Path) -> Error {
    Error::InUse {
        file: path.to_owned(),
        program: program.to_owned(),
    }
}

/// The step that writes what is left of a CRIU configuration file, or removes the file if nothing is left.
/// Keeps an empty crun.conf: premount did not create it, and it still hides runc.conf from crun. Keeps what
/// crun.conf links to for the same reason.
fn write_rest(node: &Node, path: PathBuf, left: Vec<u8>) -> Result<Step, Error> {
    let crun = node.files.host_path(Path::new(criu::CRUN))?;
    let is_crun = node.files.host_path(&path)? == crun;
    if left.is_empty() && !is_crun && !node.files.is_link(&path)? {
        return Ok(Step::Remove(path));
    }
    Ok(Step::Write {
        path,
        content: left,
        mode: None,
        change: Change::LineRemoved,
    })
}

/// Takes a step; returns whether it changed anything.
///
/// # Errors
///
/// The system refuses the change.
pub fn take_step(node: &Node, step: &Step) -> Result<bool, Error> {
    match step {
        Step::Write {
            path,
            content,
            mode,
            ..
        } => node.files.replace(path, content, *mode).map(|()| true),
        Step::Remove(path) => node.files.remove(path).map(|()| true),
        Step::RemoveEmpty(path) => node.files.remove_empty(path),
    }
}

/// Checks whether the system would refuse a step, as far as can be told without taking it.
///
/// # Errors
///
/// The error that [`take_step`] would return.
pub fn check_step(node: &Node, step: &Step) -> Result<(), Error> {
    match step {
        Step::Write { path, .. } => node.files.check_replace(path),
        Step::Remove(path) => node.files.check_remove(path),
        // A directory that cannot be removed just stays.
        Step::RemoveEmpty(_) => Ok(()),
    }
}
