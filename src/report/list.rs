// SPDX-License-Identifier: Apache-2.0
//! The text of `apply` and `check`: a line an inode, and a line for the sum.

use std::io::{self, Write};

use super::{Named, Report, Summary, named};
use crate::Task;
use crate::budget::Lines;
use crate::error::shown;
use crate::escape::Escaped;

pub(super) fn report(task: Task, report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let Report { plan, outcomes, .. } = *report;
    let mut lines = Lines::default();
    let what = if task == Task::Apply {
        "created"
    } else {
        "missing"
    };
    for (planned, outcome) in plan.mounts.iter().zip(outcomes) {
        for Named { path, kind } in named(task, plan, planned, outcome, &mut lines) {
            let mount = Escaped(planned.mount.written.as_bytes());
            writeln!(out, "{what} {kind} {} for mount {mount}", shown(&path))?;
        }
    }
    if lines.unsaid() > 0 {
        writeln!(out, "{what} {} more that are not listed", lines.unsaid())?;
    }
    let sum = Summary::new(plan, outcomes, task == Task::Apply);
    writeln!(out, "{sum}")
}
