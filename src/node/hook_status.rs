// SPDX-License-Identifier: Apache-2.0
//! Checks the hooks on a node, and the engines that read them, for `premount status`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, shown};
use crate::escape::Escaped;
use crate::node::Node;
use crate::node::engines::Engine;
use crate::node::hook_json::Fault;
use crate::node::hooks::{self, FoundHook};
use crate::node::status::{EngineStatus, NodeStatus, label, list};

/// A stage that Podman accepts and CRI-O rejects.
const PODMAN_STAGE: &str = "precreate";

impl NodeStatus {
    /// Checks all hooks and engines.
    ///
    /// # Errors
    ///
    /// The node's files cannot be read.
    pub(super) fn check_hooks(&mut self, node: &Node, engines: Vec<Engine>) -> Result<(), Error> {
        let mut all = BTreeSet::new();
        // An engine that premount doesn't know to be there may read the standard directories.
        let is_any_known = engines.iter().any(|it| !it.hook_directories.is_empty());
        for directory in node.hook_directories(&engines) {
            let readers: Vec<&str> = engines
                .iter()
                .filter(|engine| engine.hook_directories.contains(&directory))
                .map(|engine| engine.program.name)
                .collect();
            let read_by_cri_o = readers.contains(&"crio");
            let more_stages = if read_by_cri_o {
                &[][..]
            } else {
                &[PODMAN_STAGE]
            };
            let mut faults = false;
            // Only the first fault in a directory counts (ReadDir and New in pkg/hooks). If that is a missing
            // program, the engine starts, and ignores all later faults.
            let mut hidden = false;
            for hook in hooks::find(&node.files, &directory, more_stages)? {
                hidden |= !faults && hook.fault == Some(Fault::NoProgram);
                faults |= hook.fault.is_some();
                let is_premount = |program: &PathBuf| node.is_premount(program);
                if hook.program.as_ref().is_some_and(is_premount) || hook.has_own_name() {
                    let remedy = self.remedy(node, &directory, &hook);
                    self.check_own_hook(node, &hook, &consequence(&readers, hidden), remedy)?;
                    if hook.fault.is_none() {
                        all.insert(hook.path);
                    }
                } else if let (Some(Fault::Rejected(reason)), false, false) =
                    (&hook.fault, hidden, is_any_known && readers.is_empty())
                {
                    let path = shown(&hook.path);
                    self.problem(
                        format!(
                            "{path}: {}: {}",
                            escaped(reason),
                            consequence(&readers, hidden)
                        ),
                        format!("fix or remove {path}"),
                    );
                }
            }
        }
        for engine in engines {
            let is_read = |path: &&PathBuf| {
                let directory = path.parent().unwrap_or(path);
                engine.hook_directories.iter().any(|it| it == directory)
            };
            let hooks: Vec<PathBuf> = all.iter().filter(is_read).cloned().collect();
            self.check_engine(&engine, &hooks, all.first());
            self.engines.push(EngineStatus { engine, hooks });
        }
        Ok(())
    }

    /// How to fix a hook that is premount's.
    fn remedy(&self, node: &Node, directory: &Path, hook: &FoundHook) -> String {
        let path = shown(&hook.path);
        let is_installed = node.hooks_directory == directory;
        if !hook.has_own_name() {
            match &hook.program {
                Some(program) if *program == self.program => {
                    "run premount install or premount uninstall".to_owned()
                }
                _ => format!("fix or remove {path}"),
            }
        } else if !hook.is_file {
            format!("remove {path}, then run premount install")
        } else if is_installed {
            "run premount install or premount uninstall".to_owned()
        } else {
            format!(
                "run premount install --hooks-dir {}, or remove {path}",
                shown(directory)
            )
        }
    }

    fn check_own_hook(
        &mut self,
        node: &Node,
        hook: &FoundHook,
        consequence: &str,
        remedy: String,
    ) -> Result<(), Error> {
        let path = shown(&hook.path);
        let program = hook.program.as_deref().unwrap_or(&self.program);
        let fails = "every container that it applies to fails";
        let named = format!("{path} names {}", shown(program));
        let problem = match &hook.fault {
            Some(Fault::Rejected(reason)) => format!("{path}: {}: {consequence}", escaped(reason)),
            Some(Fault::NoProgram) => {
                format!(
                    "{named}, which does not exist: an engine that starts skips the hook, but under a CRI-O that \
                     has loaded it, {fails}"
                )
            }
            None if !program.is_absolute() => {
                format!("{named}, which is not an absolute path: {fails}")
            }
            None if node.files.find(program)?.is_none_or(|it| !it.is_executable) => {
                format!("{named}, which cannot be executed: {fails}")
            }
            None if !hook.has_stages => format!("{path} has no stages: it never runs"),
            None => return Ok(()),
        };
        self.problem(problem, remedy);
        Ok(())
    }

    /// Checks an engine that reads `hooks`; `any` is a hook of premount's in any directory.
    fn check_engine(&mut self, engine: &Engine, hooks: &[PathBuf], any: Option<&PathBuf>) {
        let name = label(&engine.program);
        for reason in &engine.unusable {
            self.problem(
                format!("{name}: cannot read its configuration: {reason}"),
                "fix that file",
            );
        }
        if engine.criu_disabled {
            self.problem(
                format!("{name} is configured not to restore: enable_criu_support = false"),
                "set enable_criu_support = true in /etc/crio/crio.conf.d, and restart CRI-O",
            );
        }
        if let (false, [], Some(any)) = (engine.hook_directories.is_empty(), hooks, any) {
            let (directories, any) = (list(&engine.hook_directories), shown(any));
            let directory = engine
                .hook_directories
                .last()
                .map(|path| shown(path).to_string());
            self.problem(
                format!("{name} reads hooks only from {directories}, but premount's hook is {any}"),
                format!(
                    "run premount install --hooks-dir {}, or add the hook's directory to hooks_dir",
                    directory.unwrap_or_default()
                ),
            );
        }
    }
}

/// What happens if engines reject a hook.
fn consequence(readers: &[&str], hidden: bool) -> String {
    if hidden {
        return "engines skip it".to_owned();
    }
    match (readers.contains(&"crio"), readers.contains(&"podman")) {
        (true, true) => "CRI-O does not start, and Podman starts no containers".to_owned(),
        (true, false) => "CRI-O does not start".to_owned(),
        (false, true) => "Podman starts no containers".to_owned(),
        (false, false) => "an engine that reads it does not start".to_owned(),
    }
}

fn escaped(reason: &str) -> Escaped<'_> {
    Escaped(reason.as_bytes())
}
