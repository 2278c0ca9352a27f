// SPDX-License-Identifier: Apache-2.0
//! Inspects a node: what triggers premount for each runtime, what is broken, and how to fix it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, shown};
use crate::input;
use crate::node::Node;
use crate::node::engines::{self, Engine};
use crate::node::overrides::{self, Override};
use crate::node::programs::{self, Program, Reads, Runtime};
use crate::node::scripts::Scripts;

/// Maximum size of the program, in bytes.
const MAX_PROGRAM_SIZE: usize = 64 << 20;

/// The state of premount's installation on a node.
#[derive(Debug)]
pub struct NodeStatus {
    /// The path where premount belongs.
    pub program: PathBuf,
    /// What is at that path.
    pub installed: Installed,
    /// Each CRIU found.
    pub criu: Vec<Program>,
    /// The runtimes.
    pub runtimes: Vec<RuntimeStatus>,
    /// The engines.
    pub engines: Vec<EngineStatus>,
    /// What is broken.
    pub problems: Vec<Problem>,
    /// What is in order but may be surprising.
    pub notes: Vec<String>,
}

/// What is at premount's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The running program.
    This,
    /// Another version or build.
    Another,
    /// Nothing executable.
    No,
}

/// A runtime, and what makes CRIU call premount for it.
#[derive(Debug)]
pub struct RuntimeStatus {
    /// The runtime.
    pub runtime: Runtime,
    /// The files that name premount, among those that CRIU reads for this runtime.
    pub named_in: Vec<PathBuf>,
}

/// An engine, and premount's hooks in its directories.
#[derive(Debug)]
pub struct EngineStatus {
    /// The engine.
    pub engine: Engine,
    /// The hooks.
    pub hooks: Vec<PathBuf>,
}

/// Something that is broken.
#[derive(Debug, serde::Serialize)]
pub struct Problem {
    /// What is broken, and the consequence.
    pub problem: String,
    /// How to fix it.
    pub remedy: String,
}

/// Inspects a node.
///
/// # Errors
///
/// The node's files cannot be read.
pub fn status(node: &Node) -> Result<NodeStatus, Error> {
    let files = &node.files;
    let versioned = |program| programs::with_version(files, program);
    let mut engines = engines::find(files)?;
    for engine in &mut engines {
        engine.program = versioned(engine.program.clone());
    }
    let mut runtimes = programs::runtimes(files, &engines::runtimes_of(&engines))?;
    for runtime in &mut runtimes {
        runtime.program = versioned(runtime.program.clone());
    }
    let criu = programs::find(files, "criu", &[])?
        .into_iter()
        .map(versioned)
        .collect();
    let installed = installed(node)?;
    let mut scripts = Scripts::read(node)?;
    let runtimes = runtimes.into_iter().map(|runtime| RuntimeStatus {
        named_in: scripts.naming_premount(runtime.reads),
        runtime,
    });
    let mut status = NodeStatus {
        program: node.program.clone(),
        installed,
        criu,
        runtimes: runtimes.collect(),
        engines: Vec::new(),
        problems: Vec::new(),
        notes: Vec::new(),
    };
    status.check_program(&scripts);
    status.check_runtimes(&scripts);
    status.check_hooks(node, engines)?;
    for found in overrides::find(files)? {
        status.check_override(&mut scripts, &found);
    }
    status.check_scripts(node, &scripts)?;
    Ok(status)
}

fn installed(node: &Node) -> Result<Installed, Error> {
    let found = node.files.find(&node.program)?;
    let Some(found) = found.filter(|it| it.is_executable) else {
        return Ok(Installed::No);
    };
    let this_program = input::read_file(Path::new("/proc/self/exe"), MAX_PROGRAM_SIZE)?;
    if u64::try_from(this_program.len()).is_ok_and(|size| size != found.size) {
        return Ok(Installed::Another);
    }
    let there = node.files.read(&node.program, MAX_PROGRAM_SIZE)?;
    Ok(if there == Some(this_program) {
        Installed::This
    } else {
        Installed::Another
    })
}

impl NodeStatus {
    pub(super) fn problem(&mut self, problem: String, remedy: impl Into<String>) {
        let remedy = remedy.into();
        self.problems.push(Problem { problem, remedy });
    }

    fn check_program(&mut self, scripts: &Scripts) {
        let program = shown(&self.program).to_string();
        let elsewhere = scripts.any_names_premount();
        match self.installed {
            Installed::No if !elsewhere => {
                self.problem(
                    format!("premount is not installed: no executable at {program}"),
                    "run premount install",
                );
            }
            Installed::Another => self.notes.push(format!(
                "{program} is another version or build of premount; premount install replaces it"
            )),
            Installed::No | Installed::This => {}
        }
        if self.criu.is_empty() {
            self.notes
                .push("no CRIU found: nothing can be checkpointed or restored".to_owned());
        }
    }

    /// A missing action script makes CRIU abort everything.
    fn check_scripts(&mut self, node: &Node, scripts: &Scripts) -> Result<(), Error> {
        for (path, script) in scripts.all() {
            let found = node.files.find(script)?;
            if found.is_some_and(|found| found.is_executable) {
                continue;
            }
            let (script_shown, path) = (shown(script), shown(path));
            // An editor of another system added a carriage return, and CRIU takes it for a part of the name.
            let name = script.as_os_str().as_bytes().trim_ascii_end();
            let remedy = if name == self.program.as_os_str().as_bytes() {
                "run premount install or premount uninstall".to_owned()
            } else {
                format!("remove that line from {path}, or install {script_shown}")
            };
            self.problem(
                format!(
                    "{path} names {script_shown}, which cannot be executed: CRIU aborts every dump and \
                     every restore"
                ),
                remedy,
            );
        }
        Ok(())
    }

    fn check_runtimes(&mut self, scripts: &Scripts) {
        let mut problems = Vec::new();
        for RuntimeStatus { runtime, named_in } in &self.runtimes {
            let name = label(&runtime.program);
            match named_in.as_slice() {
                [] if runtime.reads == Reads::Nothing => {
                    self.notes.push(format!(
                        "{name} is built without CRIU: it cannot restore containers"
                    ));
                }
                [] if self.installed == Installed::No => {}
                [] => problems.push((
                    format!(
                        "{name}: nothing makes CRIU call premount{}",
                        scripts.why_none(runtime.reads)
                    ),
                    "run premount install",
                )),
                [_] => {}
                [..] => {
                    let files = list(named_in);
                    self.notes.push(format!(
                        "{name}: CRIU calls premount once for each of {files}"
                    ));
                }
            }
        }
        for (problem, remedy) in problems {
            self.problem(problem, remedy);
        }
        if self.runtimes.is_empty() {
            self.notes.push("neither crun nor runc found".to_owned());
            if !scripts.any_names_premount() && self.installed != Installed::No {
                self.problem(
                    "nothing makes CRIU call premount".to_owned(),
                    "run premount install",
                );
            }
        }
    }

    /// CRIU reads a container's own file instead of the runtime's, and default.conf as well.
    fn check_override(&mut self, scripts: &mut Scripts, found: &Override) {
        let (container, config) = (shown(&found.container), shown(&found.config));
        let reads = format!("{container} makes CRIU read {config} (annotation org.criu.config)");
        match scripts.add(found.config.clone()) {
            // A tenant chose that path: an error affects only that container.
            Err(error) => {
                let remedy = "fix the container's annotation or the file";
                return self.problem(format!("{reads}, which cannot be read: {error}"), remedy);
            }
            Ok(false) => {
                let remedy = "fix the container's annotation or create the file";
                return self.problem(format!("{reads}, which does not exist"), remedy);
            }
            Ok(true) => {}
        }
        if scripts.names_premount(&found.config)
            || !scripts.naming_premount(Reads::Default).is_empty()
        {
            self.notes.push(format!(
                "{container} makes CRIU read {config}; CRIU still calls premount"
            ));
        } else if self.installed != Installed::No {
            let program = shown(&self.program);
            self.problem(
                format!("{reads}, which does not name premount"),
                format!("add the line \"action-script {program}\" to {config}"),
            );
        }
    }
}

/// A program's name for people, and its version.
pub fn label(program: &Program) -> String {
    let name = match program.name {
        "criu" => "CRIU",
        "crio" => "CRI-O",
        "podman" => "Podman",
        "dockerd" => "Docker",
        name => name,
    };
    match &program.version {
        Some(version) => format!("{name} {}", crate::escape::Escaped(version.as_bytes())),
        None => name.to_owned(),
    }
}

/// Paths, escaped and separated by commas.
pub fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| shown(path).to_string()).collect();
    shown.join(", ")
}
