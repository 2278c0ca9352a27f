// SPDX-License-Identifier: Apache-2.0
//! The text of `apply` and `check`: a line an inode, and a line for the sum.

use std::io::{self, Write};

use super::Report;
use super::inodes::{Named, named};
use super::summary::Summary;
use crate::error::shown;
use crate::escape::Escaped;
use crate::mountpoints::budget::Lines;
use crate::mountpoints::pending::Need;
use crate::mountpoints::plan::Status;
use crate::request::View;

pub(super) fn report(view: View, report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let plan = &report.plan;
    let mut lines = Lines::default();
    let what = if view == View::Created {
        "created"
    } else {
        "missing"
    };
    // What is needed of sources that nobody has named is listed with them.
    if plan.is_alone() {
        return Ok(());
    }
    for need in plan.needs() {
        let of = match need {
            Need::Mount(_) => "mount",
            Need::File(_) => "open file",
        };
        for Named { path, kind } in named(view, plan, need, &mut lines) {
            let name = plan.name_of(need);
            writeln!(
                out,
                "{what} {kind} {} for {of} {}",
                shown(&path),
                Escaped(&name)
            )?;
        }
    }
    for planned in &plan.files {
        let note = match planned.status {
            Status::NotRequested => "missing log, not created (see --append)",
            Status::KindUnknown => {
                "missing, and nothing tells whether it is a directory or a file:"
            }
            Status::MissingContent => "missing, with content, not created:",
            Status::Differs(_) => "differs:",
            _ => continue,
        };
        let (path, name) = (plan.sources.host_path(&planned.at), planned.name());
        writeln!(
            out,
            "{note} {} for open file {}",
            shown(&path),
            Escaped(&name)
        )?;
    }
    if lines.omitted() > 0 {
        writeln!(out, "{what} {} more that are not listed", lines.omitted())?;
    }
    writeln!(out, "{}", Summary::new(plan))
}
