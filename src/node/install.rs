// SPDX-License-Identifier: Apache-2.0
//! What has to change on a node for premount to be in force, or gone: first the list of steps, then the
//! steps. Interrupted at any of them, the node restores containers as before, and the next call goes on.

use std::path::{Path, PathBuf};

use crate::error::{Error, shown};
use crate::input;
use crate::node::files::Found;
use crate::node::programs::{self, Runtime};
use crate::node::{Node, criu, engines, hooks, overrides, scripts};

/// Most bytes of the program.
const MAX_PROGRAM_SIZE: usize = 64 << 20;

/// One change of a node's files.
#[derive(Debug)]
pub enum Step {
    /// A file is put in place, and the directories above it.
    Write {
        /// The file.
        path: PathBuf,
        /// All of it.
        content: Vec<u8>,
        /// Its mode; none: as it was, or 0644.
        mode: Option<u32>,
        /// What of it is new.
        change: Change,
    },
    /// A file is removed.
    Remove(PathBuf),
    /// A directory is removed if nothing else is in it.
    RemoveEmpty(PathBuf),
}

/// What of a file changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// All of it is premount's.
    Whole,
    /// The line with the action script comes.
    LineAdded,
    /// The comment above that line names another command to take it out.
    Comment,
    /// The line with the action script goes.
    LineRemoved,
}

/// What a step does, in two tenses.
impl Step {
    /// What it would do.
    pub fn intent(&self) -> String {
        let intent = self.said([
            "write",
            "add the action script to",
            "renew the comment in",
            "take the action script out of",
            "remove",
        ]);
        match self {
            Self::RemoveEmpty(_) => intent + " if nothing else is in it",
            _ => intent,
        }
    }

    /// What it did.
    pub fn deed(&self) -> String {
        self.said([
            "wrote",
            "added the action script to",
            "renewed the comment in",
            "took the action script out of",
            "removed",
        ])
    }

    fn said(&self, [write, add, renew, take_out, remove]: [&str; 5]) -> String {
        let (verb, path) = match self {
            Self::Write { path, change, .. } => match change {
                Change::Whole => (write, path),
                Change::LineAdded => (add, path),
                Change::Comment => (renew, path),
                Change::LineRemoved => (take_out, path),
            },
            Self::Remove(path) | Self::RemoveEmpty(path) => (remove, path),
        };
        format!("{verb} {}", shown(path))
    }
}

/// The steps that put premount in force. With `criu_only`, program and hook are a package manager's.
pub fn steps_in(node: &Node, criu_only: bool) -> Result<Vec<Step>, Error> {
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
                "no program there; nothing may name it before it is",
            ));
        }
    } else {
        let me = input::read_file(Path::new("/proc/self/exe"), MAX_PROGRAM_SIZE)?;
        let directory = node
            .hooks_directory
            .clone()
            .unwrap_or_else(|| hooks::DIRECTORY.into());
        let hook = hooks::text(&node.program).into_bytes();
        for (path, content, mode) in [
            (node.program.clone(), me, 0o755),
            (directory.join(hooks::FILE_NAME), hook, 0o644),
        ] {
            if !is_there(node, &path, &content, mode)? {
                steps.push(Step::Write {
                    path,
                    content,
                    mode: Some(mode),
                    change: Change::Whole,
                });
            }
        }
    }
    let wanted = wanted(node)?;
    for path in &wanted {
        let text = node
            .files
            .read_to_replace(path, criu::MAX_SIZE)?
            .unwrap_or_default();
        let with = criu::with(&text, &node.program, &node.options_out(criu_only));
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
    // Two files that count for the same runtime would have CRIU call premount twice.
    for path in [criu::DEFAULT, criu::RUNC, criu::CRUN].map(PathBuf::from) {
        if !wanted.contains(&path) {
            let text = node.files.read(&path, criu::MAX_SIZE)?.unwrap_or_default();
            let left = criu::without_installed(&text, &node.program);
            let left = left.map(|left| without(node, path, left.to_owned()));
            steps.extend(left.transpose()?);
        }
    }
    Ok(steps)
}

/// Whether a file is there as it has to be.
fn is_there(node: &Node, path: &Path, content: &[u8], mode: u32) -> Result<bool, Error> {
    let found = node.files.find(path)?;
    // Another size is enough to know, whatever the size.
    let may_be = |found: &Found| u64::try_from(content.len()).is_ok_and(|size| size == found.size);
    if found.as_ref().is_some_and(|it| it.is_file && !may_be(it)) {
        return Ok(false);
    }
    let there = node.files.read_to_replace(path, content.len())?;
    let is_executable = found.is_some_and(|found| found.is_executable);
    Ok(there.is_some_and(|there| there == content) && (mode != 0o755 || is_executable))
}

/// The files in which the action script has to be named for this node. A crun.conf is never made: where
/// there is none crun has CRIU read runc.conf, and that must not be hidden from it.
fn wanted(node: &Node) -> Result<Vec<PathBuf>, Error> {
    let default = node
        .files
        .read(Path::new(criu::DEFAULT), criu::MAX_SIZE)?
        .unwrap_or_default();
    let by_administrator = criu::action_scripts(&default).contains(&node.program)
        && criu::without_installed(&default, &node.program).is_none();
    let engines = engines::find(&node.files)?;
    let runtimes = programs::runtimes(&node.files, &engines)?;
    if by_administrator || runtimes.iter().any(Runtime::reads_default_alone) {
        return Ok(vec![criu::DEFAULT.into()]);
    }
    let mut wanted = vec![PathBuf::from(criu::RUNC)];
    if node.files.find(Path::new(criu::CRUN))?.is_some() {
        wanted.push(criu::CRUN.into());
    }
    Ok(wanted)
}

/// The steps that take premount off the node. With `criu_only`, program and hook stay.
pub fn steps_out(node: &Node, criu_only: bool) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    let of_criu = scripts::criu_files(node)?;
    for path in &of_criu {
        let text = node.files.read(path, criu::MAX_SIZE)?.unwrap_or_default();
        let left = criu::without(&text, &node.program);
        steps.extend(
            left.map(|left| without(node, path.clone(), left))
                .transpose()?,
        );
    }
    if !steps.is_empty() {
        steps.push(Step::RemoveEmpty(criu::DIRECTORY.into()));
    }
    // What premount didn't write, and what would be left without its program.
    let mut others = vec![PathBuf::from(criu::OF_ROOT)];
    others.extend(
        overrides::find(&node.files)?
            .into_iter()
            .map(|found| found.config),
    );
    for path in others.iter().filter(|path| !of_criu.contains(path)) {
        // A tenant chose some of these paths: what can't be read names nothing.
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
    for directory in node.hooks_directories(&engines) {
        for hook in hooks::find(&node.files, &directory, &[])? {
            let is_ours = hook.has_own_name();
            // Of premount's own that nobody can read no program is known, and it keeps an engine from starting.
            let is_broken = is_ours && hook.is_file && hook.program.is_none();
            if hook.program.as_ref() == Some(&node.program) {
                if !is_ours {
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
    let program = node.files.find(&node.program)?;
    if !criu_only && program.is_some_and(|it| it.is_file) {
        steps.push(Step::Remove(node.program.clone()));
    }
    Ok(steps)
}

fn still_named(path: &Path, program: &Path) -> Error {
    Error::InUse {
        file: path.to_owned(),
        program: program.to_owned(),
    }
}

/// A file of CRIU's with what is left of it; one of which nothing is left is removed. An empty crun.conf
/// still hides runc.conf from crun, and premount never made it.
fn without(node: &Node, path: PathBuf, left: Vec<u8>) -> Result<Step, Error> {
    if left.is_empty() && path != Path::new(criu::CRUN) && !node.files.is_link(&path)? {
        return Ok(Step::Remove(path));
    }
    Ok(Step::Write {
        path,
        content: left,
        mode: None,
        change: Change::LineRemoved,
    })
}

/// Takes a step; says whether it changed anything.
pub fn take(node: &Node, step: &Step) -> Result<bool, Error> {
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

/// What would keep the step from being taken, as far as that can be told without taking it.
pub fn foresee(node: &Node, step: &Step) -> Result<(), Error> {
    match step {
        Step::Write { path, .. } => node.files.may_replace(path),
        Step::Remove(path) => node.files.may_remove(path),
        // A directory that can't go stays, and is no failure.
        Step::RemoveEmpty(_) => Ok(()),
    }
}
