// SPDX-License-Identifier: Apache-2.0
//! What premount is worth on a node as it is: which trigger calls it for which runtime, what keeps one
//! from it, and what to do about that.

use std::path::{Path, PathBuf};

use crate::error::{Error, shown};
use crate::input;
use crate::node::Node;
use crate::node::engines::{self, Engine};
use crate::node::overrides::{self, Override};
use crate::node::programs::{self, Program, Reads, Runtime};
use crate::node::scripts::Scripts;

/// Most bytes of the program.
const MAX_PROGRAM_SIZE: usize = 64 << 20;

/// What is so on a node.
#[derive(Debug)]
pub struct Status {
    /// Where premount belongs.
    pub program: PathBuf,
    /// Whether it is there.
    pub installed: Installed,
    /// CRIU.
    pub criu: Vec<Program>,
    /// The runtimes.
    pub runtimes: Vec<Reached>,
    /// The engines.
    pub engines: Vec<Hooked>,
    /// What is broken.
    pub problems: Vec<Problem>,
    /// What is as it should be, and may still surprise.
    pub notes: Vec<String>,
}

/// Whether a program is where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// This very one.
    This,
    /// Another, of another version or build.
    Another,
    /// Nothing, or nothing that can be executed.
    No,
}

/// A runtime, and by what CRIU comes to call premount for it.
#[derive(Debug)]
pub struct Reached {
    /// The runtime.
    pub runtime: Runtime,
    /// The configuration files of CRIU's that name premount and count for it.
    pub by: Vec<PathBuf>,
}

/// An engine, and the hooks of its directories that name premount.
#[derive(Debug)]
pub struct Hooked {
    /// The engine.
    pub engine: Engine,
    /// The hooks.
    pub hooks: Vec<PathBuf>,
}

/// Something broken.
#[derive(Debug, serde::Serialize)]
pub struct Problem {
    /// What it is, and what comes of it.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// Looks at a node.
pub fn status(node: &Node) -> Result<Status, Error> {
    let files = &node.files;
    let versioned = |program| programs::with_version(files, program);
    let mut engines = engines::find(files)?;
    for engine in &mut engines {
        engine.program = versioned(engine.program.clone());
    }
    let mut runtimes = programs::runtimes(files, &engines)?;
    for runtime in &mut runtimes {
        runtime.program = versioned(runtime.program.clone());
    }
    let criu = programs::find(files, "criu", &[])?
        .into_iter()
        .map(versioned)
        .collect();
    let installed = installed(node)?;
    let mut scripts = Scripts::of(node)?;
    let reached = runtimes.into_iter().map(|runtime| Reached {
        by: scripts.reaching(runtime.reads),
        runtime,
    });
    let mut status = Status {
        program: node.program.clone(),
        installed,
        criu,
        runtimes: reached.collect(),
        engines: Vec::new(),
        problems: Vec::new(),
        notes: Vec::new(),
    };
    status.judge_program(&scripts);
    status.judge_runtimes(&scripts);
    status.judge_hooks(node, engines)?;
    for found in overrides::find(files)? {
        status.judge_override(&mut scripts, &found);
    }
    status.judge_scripts(node, &scripts)?;
    Ok(status)
}

fn installed(node: &Node) -> Result<Installed, Error> {
    let found = node.files.find(&node.program)?;
    let Some(found) = found.filter(|it| it.is_executable) else {
        return Ok(Installed::No);
    };
    let me = input::read_file(Path::new("/proc/self/exe"), MAX_PROGRAM_SIZE)?;
    if u64::try_from(me.len()).is_ok_and(|size| size != found.size) {
        return Ok(Installed::Another);
    }
    let there = node.files.read(&node.program, MAX_PROGRAM_SIZE)?;
    Ok(if there == Some(me) {
        Installed::This
    } else {
        Installed::Another
    })
}

impl Status {
    pub(super) fn problem(&mut self, problem: String, remedy: impl Into<String>) {
        let remedy = remedy.into();
        self.problems.push(Problem { problem, remedy });
    }

    fn judge_program(&mut self, scripts: &Scripts) {
        let program = shown(&self.program).to_string();
        let elsewhere = scripts.name_premount();
        match self.installed {
            Installed::No if !elsewhere => {
                self.problem(
                    format!("premount is not installed: no program at {program}"),
                    "premount install",
                );
            }
            Installed::Another => self.notes.push(format!(
                "{program} is another version or build than this one; premount install replaces it"
            )),
            Installed::No | Installed::This => {}
        }
        if self.criu.is_empty() {
            self.notes
                .push("no CRIU found: nothing can be checkpointed or restored".to_owned());
        }
    }

    /// Scripts that aren't there abort everything that CRIU is asked for.
    fn judge_scripts(&mut self, node: &Node, scripts: &Scripts) -> Result<(), Error> {
        for (path, script) in scripts.all() {
            let there = node.files.find(script)?;
            if there.is_some_and(|found| found.is_executable) {
                continue;
            }
            let (script_shown, path) = (shown(script), shown(path));
            let remedy = if *script == self.program {
                "premount install, or premount uninstall".to_owned()
            } else {
                format!("take that line out of {path}, or put the program there")
            };
            self.problem(
                format!(
                    "{path} names {script_shown}, which can't be executed: CRIU aborts every dump and \
                     every restore"
                ),
                remedy,
            );
        }
        Ok(())
    }

    fn judge_runtimes(&mut self, scripts: &Scripts) {
        let mut problems = Vec::new();
        for Reached { runtime, by } in &self.runtimes {
            let name = label(&runtime.program);
            match by.as_slice() {
                [] if runtime.reads == Reads::Nothing => {
                    self.notes
                        .push(format!("{name} is built without CRIU: it restores nothing"));
                }
                [] if self.installed == Installed::No => {}
                [] => problems.push((
                    format!(
                        "{name}: nothing has CRIU call premount{}",
                        scripts.why_none(runtime.reads)
                    ),
                    "premount install",
                )),
                [_] => {}
                [..] => {
                    let files = list(by);
                    self.notes
                        .push(format!("{name}: CRIU calls premount for each of {files}"));
                }
            }
        }
        for (problem, remedy) in problems {
            self.problem(problem, remedy);
        }
        if self.runtimes.is_empty() {
            self.notes.push("neither crun nor runc found".to_owned());
            if !scripts.name_premount() && self.installed != Installed::No {
                self.problem(
                    "nothing has CRIU call premount".to_owned(),
                    "premount install",
                );
            }
        }
    }

    /// A container's own file counts in place of the runtime's; the default one counts beside it.
    fn judge_override(&mut self, scripts: &mut Scripts, found: &Override) {
        let (container, config) = (shown(&found.container), shown(&found.config));
        let has_it = format!("{container} has CRIU read {config} (annotation org.criu.config)");
        match scripts.add(found.config.clone()) {
            // A tenant chose that path: what is wrong with it is one container's trouble.
            Err(error) => {
                let remedy = "mend the container's annotation, or the file";
                return self.problem(format!("{has_it}, which can't be read: {error}"), remedy);
            }
            Ok(false) => {
                let remedy = "mend the container's annotation, or make the file";
                return self.problem(format!("{has_it}, and there is no such file"), remedy);
            }
            Ok(true) => {}
        }
        if scripts.names_premount(&found.config) || !scripts.reaching(Reads::Default).is_empty() {
            self.notes.push(format!(
                "{container} has CRIU read {config}, and premount is called"
            ));
        } else if self.installed != Installed::No {
            let program = shown(&self.program);
            self.problem(
                format!("{has_it}, which doesn't name premount"),
                format!("add the line \"action-script {program}\" to {config}"),
            );
        }
    }
}

/// A program as a person knows it.
pub fn label(program: &Program) -> String {
    let name = match program.name {
        "criu" => "CRIU",
        "crio" => "CRI-O",
        "podman" => "Podman",
        name => name,
    };
    match &program.version {
        Some(version) => format!("{name} {}", crate::escape::Escaped(version.as_bytes())),
        None => name.to_owned(),
    }
}

/// Paths in a sentence.
pub fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| shown(path).to_string()).collect();
    shown.join(", ")
}
