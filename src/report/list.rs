// SPDX-License-Identifier: Apache-2.0
//! The text of `apply` and `check`: a line an inode, and a line for the sum.

use std::io::{self, Write};

use super::{Report, Summary, lacking};
use crate::Task;
use crate::create::Created;
use crate::error::shown;
use crate::escape::Escaped;
use crate::plan::PlannedMount;

pub(super) fn report(task: Task, report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let Report { plan, outcomes, .. } = *report;
    for (planned, outcome) in plan.mounts.iter().zip(outcomes) {
        if task == Task::Apply {
            lines(out, "created", planned, &outcome.created)?;
        } else {
            lines(out, "missing", planned, &lacking(plan, planned))?;
        }
    }
    let sum = Summary::new(plan, outcomes, task == Task::Apply);
    writeln!(out, "{sum}")
}

fn lines(
    out: &mut dyn Write,
    what: &str,
    planned: &PlannedMount,
    inodes: &[Created],
) -> io::Result<()> {
    let mount = Escaped(planned.mount.written.as_bytes());
    for inode in inodes {
        let (kind, path) = (inode.kind, shown(&inode.path));
        writeln!(out, "{what} {kind} {path} for mount {mount}")?;
    }
    Ok(())
}
