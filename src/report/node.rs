// SPDX-License-Identifier: Apache-2.0
//! What `premount status` says of a node.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use crate::error::shown;
use crate::node::programs::{Program, Reads};
use crate::node::status::{Hooked, Installed, Problem, Reached, Status, label, list};

/// For people.
pub fn text(status: &Status) -> String {
    let mut lines = Vec::new();
    let program = shown(&status.program);
    lines.push(match status.installed {
        Installed::This => format!("premount {} at {program}", env!("CARGO_PKG_VERSION")),
        Installed::Another => format!("premount of another version or build at {program}"),
        Installed::No => format!("premount isn't at {program}"),
    });
    for program in &status.criu {
        lines.push(at(program));
    }
    for Reached { runtime, by } in &status.runtimes {
        let mut ways = Vec::new();
        if !by.is_empty() {
            ways.push(format!("the action script, by {}", list(by)));
        }
        if runtime.program.name == "runc" && has_hook(status) {
            ways.push("under CRI-O the hook, on the annotation".to_owned());
        }
        if ways.is_empty() {
            ways.push("nothing calls premount".to_owned());
        }
        lines.push(format!("{}: {}", at(&runtime.program), ways.join("; ")));
    }
    for Hooked { engine, hooks } in &status.engines {
        let mut line = at(&engine.program);
        if engine.hook_directories.is_empty() {
            line.push_str(": reads no hooks; the action script counts");
        } else {
            line.push_str(": hooks from ");
            line.push_str(&list(&engine.hook_directories));
            line.push_str(if hooks.is_empty() {
                ", none of premount's"
            } else {
                ", with "
            });
            line.push_str(&list(hooks));
        }
        lines.push(line);
    }
    for note in &status.notes {
        lines.push(format!("Note: {note}"));
    }
    for Problem { problem, remedy } in &status.problems {
        lines.push(format!("Broken: {problem}"));
        lines.push(format!("    Remedy: {remedy}"));
    }
    lines.push(match status.problems.len() {
        0 => "In order.".to_owned(),
        1 => "1 thing is broken.".to_owned(),
        more => format!("{more} things are broken."),
    });
    lines.join("\n") + "\n"
}

fn has_hook(status: &Status) -> bool {
    let of_cri_o = |hooked: &&Hooked| hooked.engine.program.name == "crio";
    let cri_o = status.engines.iter().find(of_cri_o);
    cri_o.is_some_and(|hooked| !hooked.hooks.is_empty())
}

fn at(program: &Program) -> String {
    format!("{} at {}", label(program), shown(&program.path))
}

#[derive(Serialize)]
struct Whole<'a> {
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

/// For programs; docs/json.md has its shape.
pub fn json(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let paths = |paths: &[PathBuf]| paths.iter().map(|path| shown(path).to_string()).collect();
    let program = |program: &Program| ProgramReport {
        name: program.name,
        path: shown(&program.path).to_string(),
        version: program.version.clone(),
    };
    let report = Whole {
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
            .map(|Reached { runtime, by }| RuntimeReport {
                program: program(&runtime.program),
                reads: match runtime.reads {
                    Reads::Default => "default.conf",
                    Reads::Runc => "default.conf, runc.conf",
                    Reads::Crun => "default.conf, crun.conf or else runc.conf",
                    Reads::Nothing => "",
                },
                action_script_by: paths(by),
            })
            .collect(),
        engines: status
            .engines
            .iter()
            .map(|Hooked { engine, hooks }| EngineReport {
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
