// SPDX-License-Identifier: Apache-2.0
//! The text of `apply` and `check`: a line an inode, and a line for the sum.

use std::fmt::Write;

use super::{Report, Summary, lacking};
use crate::Task;
use crate::create::Created;
use crate::error::shown;
use crate::escape::Escaped;
use crate::plan::PlannedMount;

pub(super) fn text(task: Task, report: &Report) -> String {
    let Report { plan, outcomes, .. } = *report;
    let mut text = String::new();
    for (planned, outcome) in plan.mounts.iter().zip(outcomes) {
        if task == Task::Apply {
            lines(&mut text, "created", planned, &outcome.created);
        } else {
            lines(&mut text, "missing", planned, &lacking(plan, planned));
        }
    }
    let _ = writeln!(
        text,
        "{}",
        Summary::new(plan, outcomes, task == Task::Apply)
    );
    text
}

fn lines(text: &mut String, what: &str, planned: &PlannedMount, inodes: &[Created]) {
    let mount = Escaped(planned.mount.written.as_bytes());
    for inode in inodes {
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{what} {} {} for mount {mount}",
            inode.kind,
            shown(&inode.path)
        );
    }
}
