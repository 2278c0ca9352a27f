// SPDX-License-Identifier: Apache-2.0
//! The findings as text, each with what CRIU would report.

use std::io::{self, Write};

use super::Doubt;
use crate::error::shown;
use crate::escape::Escaped;
use crate::mountpoints::diagnosis::Finding;

/// Writes the findings, and the verdict.
pub(super) fn text(
    findings: &[Finding],
    doubt: Option<&Doubt>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out)?;
    for finding in findings {
        let (path, message) = (finding.path(), finding.kind.message());
        write!(out, "{}: {message}", Escaped(&path))?;
        if let Some(path) = finding.host_path() {
            write!(out, ": {}", shown(&path))?;
        }
        writeln!(out)?;
        if let Some(criu) = finding.criu() {
            writeln!(out, "    CRIU: {criu}")?;
        }
    }
    let fatal = findings.iter().filter(|finding| finding.kind.is_fatal());
    match (fatal.count(), doubt) {
        (0, Some(doubt)) => {
            write!(
                out,
                "It is unknown whether this checkpoint can be restored here: "
            )?;
            match doubt {
                Doubt::NotConsidered => writeln!(out, "a part of it is not considered."),
                Doubt::Unnamed(all) => writeln!(
                    out,
                    "nothing says what will be at {} (see --volume).",
                    listed(all)
                ),
            }
        }
        (0, None) => writeln!(out, "This checkpoint can be restored here."),
        (1, _) => writeln!(
            out,
            "This checkpoint can't be restored as it is, for one reason."
        ),
        (more, _) => writeln!(
            out,
            "This checkpoint can't be restored as it is, for {more} reasons."
        ),
    }
}

/// At most three of them.
fn listed(all: &[String]) -> String {
    const MOST: usize = 3;
    let named = all.iter().take(MOST);
    let named: Vec<String> = named.map(|at| Escaped(at.as_bytes()).to_string()).collect();
    match all.len().saturating_sub(MOST) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
