// SPDX-License-Identifier: Apache-2.0
//! The text of `apply` and `check`: a line an inode, and a line for the sum.

use std::io::{self, Write};

use super::Report;
use super::inodes::{Named, named};
use super::summary::Summary;
use crate::error::shown;
use crate::escape::Escaped;
use crate::mountpoints::budget::Lines;
use crate::request::View;

pub(super) fn report(view: View, report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let plan = &report.plan;
    let mut lines = Lines::default();
    let what = if view == View::Created {
        "created"
    } else {
        "missing"
    };
    for (index, planned) in plan.mounts.iter().enumerate() {
        for Named { path, kind } in named(view, plan, index, &mut lines) {
            let mount = Escaped(planned.mount.written.as_bytes());
            writeln!(out, "{what} {kind} {} for mount {mount}", shown(&path))?;
        }
    }
    if lines.omitted() > 0 {
        writeln!(out, "{what} {} more that are not listed", lines.omitted())?;
    }
    writeln!(out, "{}", Summary::new(plan))
}
