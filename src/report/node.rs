// SPDX-License-Identifier: Apache-2.0
//! The report of `premount status`.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use crate::error::shown;
use crate::node::programs::{Program, Reads};
use crate::node::status::{
    EngineStatus, Installed, NodeStatus, Problem, RuntimeStatus, label, list,
};

/// The report as text.
pub fn text(status: &NodeStatus) -> String {
    let mut lines = Vec::new();
    let program = shown(&status.program);
    lines.push(match status.installed {
        Installed::This => format!("premount {} at {program}", env!("CARGO_PKG_VERSION")),
        Installed::Another => format!("premount (another version or build) at {program}"),
        Installed::No => format!("no premount at {program}"),
    });
    for program in &status.criu {
        lines.push(at(program));
    }
    for RuntimeStatus { runtime, named_in } in &status.runtimes {
        let mut triggers = Vec::new();
        if !named_in.is_empty() {
            triggers.push(format!("action script in {}", list(named_in)));
        }
        if runtime.program.name == "runc" && has_hook(status) {
            triggers.push("hook under CRI-O, on the annotation".to_owned());
        }
        if triggers.is_empty() {
            triggers.push("nothing calls premount".to_owned());
        }
        lines.push(format!("{}: {}", at(&runtime.program), triggers.join("; ")));
    }
    for EngineStatus { engine, hooks } in &status.engines {
        let mut line = at(&engine.program);
        if engine.hook_directories.is_empty() {
            line.push_str(": reads no hooks; needs the action script");
        } else {
            line.push_str(": hooks from ");
            line.push_str(&list(&engine.hook_directories));
            line.push_str(if hooks.is_empty() {
                "; none is premount's"
            } else {
                "; premount's: "
            });
            line.push_str(&list(hooks));
        }
        lines.push(line);
    }
    for note in &status.notes {
        lines.push(format!("Note: {note}"));
    }
    for Problem { problem, remedy } in &status.problems {
        lines.push(format!("Problem: {problem}"));
        lines.push(format!("    Remedy: {remedy}"));
    }
    lines.push(match status.problems.len() {
        0 => "No problems found.".to_owned(),
        1 => "1 problem found.".to_owned(),
        count => format!("{count} problems found."),
    });
    lines.join("\n") + "\n"
}

/// Whether CRI-O reads a hook of premount's.
fn has_hook(status: &NodeStatus) -> bool {
    let is_cri_o = |it: &&EngineStatus| it.engine.program.name == "crio";
    let cri_o = status.engines.iter().find(is_cri_o);
    cri_o.is_some_and(|it| !it.hooks.is_empty())
}

fn at(program: &Program) -> String {
    format!("{} at {}", label(program), shown(&program.path))
}

#[derive(Serialize)]
struct NodeReport<'a> {
    version: u32,
    program: String,
    installed: &'static str,
    criu: Vec<ProgramReport>,
    runtimes: Vec<RuntimeReport>,
    engines: Vec<EngineReport>,
    notes: &'a [String],
    problems: &'a [Problem],
}

#[derive(Serialize)]
struct ProgramReport {
    name: &'static str,
    path: String,
    version: Option<String>,
}

#[derive(Serialize)]
struct RuntimeReport {
    #[serde(flatten)]
    program: ProgramReport,
    reads: &'static str,
    action_script_by: Vec<String>,
}

#[derive(Serialize)]
struct EngineReport {
    #[serde(flatten)]
    program: ProgramReport,
    hook_directories: Vec<String>,
    hooks: Vec<String>,
}

/// Writes the report as JSON; docs/json.md documents the format.
///
/// # Errors
///
/// The output cannot be written.
pub fn json(status: &NodeStatus, out: &mut dyn Write) -> io::Result<()> {
    let paths = |paths: &[PathBuf]| paths.iter().map(|path| shown(path).to_string()).collect();
    let program = |program: &Program| ProgramReport {
        name: program.name,
        path: shown(&program.path).to_string(),
        version: program.version.clone(),
    };
    let report = NodeReport {
        version: super::json::VERSION,
        program: shown(&status.program).to_string(),
        installed: match status.installed {
            Installed::This => "this",
            Installed::Another => "another",
            Installed::No => "no",
        },
        criu: status.criu.iter().map(program).collect(),
        runtimes: status
            .runtimes
            .iter()
            .map(|RuntimeStatus { runtime, named_in }| RuntimeReport {
                program: program(&runtime.program),
                reads: match runtime.reads {
                    Reads::Default => "default.conf",
                    Reads::Runc => "default.conf, runc.conf",
                    Reads::Crun => "default.conf, crun.conf or else runc.conf",
                    Reads::Nothing => "",
                },
                action_script_by: paths(named_in),
            })
            .collect(),
        engines: status
            .engines
            .iter()
            .map(|EngineStatus { engine, hooks }| EngineReport {
                program: program(&engine.program),
                hook_directories: paths(&engine.hook_directories),
                hooks: paths(hooks),
            })
            .collect(),
        notes: &status.notes,
        problems: &status.problems,
    };
    super::json::write_pretty(&report, out)
}
