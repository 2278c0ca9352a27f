// SPDX-License-Identifier: Apache-2.0
//! What `premount status` says of the hooks on a node, and of the engines that read them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, shown};
use crate::escape::Escaped;
use crate::node::Node;
use crate::node::engines::Engine;
use crate::node::hook_json::Fault;
use crate::node::hooks::{self, Found};
use crate::node::status::{Hooked, Status, label, list};

/// Podman's own stage, which CRI-O refuses.
const OF_PODMAN: &str = "precreate";

impl Status {
    pub(super) fn judge_hooks(&mut self, node: &Node, engines: Vec<Engine>) -> Result<(), Error> {
        let mut all = BTreeSet::new();
        for directory in node.hooks_directories(&engines) {
            let readers: Vec<&str> = engines
                .iter()
                .filter(|engine| engine.hook_directories.contains(&directory))
                .map(|engine| engine.program.name)
                .collect();
            let for_cri_o = readers.contains(&"crio");
            let more_stages = if for_cri_o { &[][..] } else { &[OF_PODMAN] };
            let mut faults = false;
            // Of several faults the first counts (ReadDir and New in pkg/hooks): that of a program which isn't
            // there is no error to an engine, and hides those behind it.
            let mut hidden = false;
            for hook in hooks::find(&node.files, &directory, more_stages)? {
                hidden |= !faults && hook.fault == Some(Fault::NoProgram);
                faults |= hook.fault.is_some();
                let names = |program: &PathBuf| node.is_premount(program);
                if hook.program.as_ref().is_some_and(names) || hook.has_own_name() {
                    let remedy = self.remedy(node, &directory, &hook);
                    self.judge_own(node, &hook, &stopped(&readers, hidden), remedy)?;
                    if hook.fault.is_none() {
                        all.insert(hook.path);
                    }
                } else if let (Some(Fault::Refused(reason)), false, false) =
                    (&hook.fault, hidden, readers.is_empty())
                {
                    let path = shown(&hook.path);
                    self.problem(
                        format!("{path}: {}: {}", escaped(reason), stopped(&readers, hidden)),
                        format!("mend {path}, or remove it"),
                    );
                }
            }
        }
        for engine in engines {
            let in_its = |path: &&PathBuf| {
                let directory = path.parent().unwrap_or(path);
                engine.hook_directories.iter().any(|its| its == directory)
            };
            let hooks: Vec<PathBuf> = all.iter().filter(in_its).cloned().collect();
            self.judge_engine(&engine, &hooks, all.first());
            self.engines.push(Hooked { engine, hooks });
        }
        Ok(())
    }

    /// What mends a hook of premount's.
    fn remedy(&self, node: &Node, directory: &Path, hook: &Found) -> String {
        let path = shown(&hook.path);
        let usual = Path::new(hooks::DIRECTORY);
        let is_installed = node.hooks_directory.as_deref().unwrap_or(usual) == directory;
        if !hook.has_own_name() {
            match &hook.program {
                Some(program) if *program == self.program => {
                    "premount install, or premount uninstall".to_owned()
                }
                _ => format!("mend {path}, or remove it"),
            }
        } else if !hook.is_file {
            format!("remove {path}, and then premount install")
        } else if is_installed {
            "premount install, or premount uninstall".to_owned()
        } else {
            format!(
                "premount install --hooks-dir {}, or remove {path}",
                shown(directory)
            )
        }
    }

    fn judge_own(
        &mut self,
        node: &Node,
        hook: &Found,
        stopped: &str,
        remedy: String,
    ) -> Result<(), Error> {
        let path = shown(&hook.path);
        let program = hook.program.as_deref().unwrap_or(&self.program);
        let fails = "every container that it counts for fails";
        let named = format!("{path} names {}", shown(program));
        let problem = match &hook.fault {
            Some(Fault::Refused(reason)) => format!("{path}: {}: {stopped}", escaped(reason)),
            Some(Fault::NoProgram) => {
                format!(
                    "{named}, which isn't there: engines pass over it, and to one that has it {fails}"
                )
            }
            None if !program.is_absolute() => {
                format!("{named}, which is no absolute path: {fails}")
            }
            None if node.files.find(program)?.is_none_or(|it| !it.is_executable) => {
                format!("{named}, which can't be executed: {fails}")
            }
            None if !hook.has_stages => format!("{path} has no stages: it is never called"),
            None => return Ok(()),
        };
        self.problem(problem, remedy);
        Ok(())
    }

    fn judge_engine(&mut self, engine: &Engine, hooks: &[PathBuf], elsewhere: Option<&PathBuf>) {
        let name = label(&engine.program);
        for reason in &engine.unusable {
            self.problem(
                format!("{name}: its configuration can't be understood: {reason}"),
                "mend that file",
            );
        }
        if engine.without_criu {
            self.problem(
                format!("{name} was told not to restore: enable_criu_support = false"),
                "set enable_criu_support = true in /etc/crio/crio.conf.d, and restart CRI-O",
            );
        }
        if let (false, [], Some(elsewhere)) = (engine.hook_directories.is_empty(), hooks, elsewhere)
        {
            let (directories, elsewhere) = (list(&engine.hook_directories), shown(elsewhere));
            let directory = engine
                .hook_directories
                .last()
                .map(|path| shown(path).to_string());
            self.problem(
                format!(
                    "{name} reads hooks from {directories} alone, and premount's is {elsewhere}"
                ),
                format!(
                    "premount install --hooks-dir {}, or add that directory to hooks_dir",
                    directory.unwrap_or_default()
                ),
            );
        }
    }
}

/// What comes of a hook that engines refuse.
fn stopped(readers: &[&str], hidden: bool) -> String {
    if hidden {
        return "engines pass over it".to_owned();
    }
    match (readers.contains(&"crio"), readers.contains(&"podman")) {
        (true, true) => "CRI-O doesn't start, and Podman starts no container".to_owned(),
        (true, false) => "CRI-O doesn't start".to_owned(),
        (false, true) => "Podman starts no container".to_owned(),
        (false, false) => "no engine that reads it starts".to_owned(),
    }
}

fn escaped(reason: &str) -> Escaped<'_> {
    Escaped(reason.as_bytes())
}
