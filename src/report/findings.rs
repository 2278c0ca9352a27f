// SPDX-License-Identifier: Apache-2.0
//! The findings as text, each with what CRIU would report.

use std::io::{self, Write};

use super::Doubt;
use crate::diagnosis::{Finding, Severity};
use crate::error::shown;
use crate::escape::Escaped;

const UNKNOWN: &str = "It is unknown whether this checkpoint can be restored here";
const NO: &str = "This checkpoint can't be restored as it is, for";

/// Writes the findings, and the verdict.
pub(super) fn text(
    findings: &[Finding],
    doubt: Option<&Doubt>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out)?;
    for finding in findings {
        let (code, message) = (finding.kind.name(), finding.kind.message());
        let severity = match finding.kind.severity() {
            Severity::Fails => "",
            Severity::MayFail => " (may fail)",
            Severity::Warns => " (warns)",
        };
        write!(out, "{code}{severity}: ")?;
        if let Some(path) = finding.path() {
            write!(out, "{}: ", Escaped(&path))?;
        }
        write!(out, "{message}")?;
        let place = finding.host_path();
        let place = place.as_deref().map(|path| shown(path).to_string());
        if let Some(about) = place.as_deref().or(finding.detail()) {
            write!(out, ": {about}")?;
        }
        writeln!(out)?;
        if let Some(criu) = finding.criu() {
            writeln!(out, "    CRIU: {criu}")?;
        }
    }
    let count = |severity| {
        let all = findings.iter().map(|finding| finding.kind.severity());
        all.filter(|one| *one == severity).count()
    };
    match (count(Severity::Fails), doubt, count(Severity::MayFail)) {
        (0, Some(Doubt::NotConsidered), _) => {
            writeln!(out, "{UNKNOWN}: a part of it is not considered.")
        }
        (0, Some(Doubt::Unnamed(all)), _) => {
            let all = listed(all);
            writeln!(
                out,
                "{UNKNOWN}: nothing says what will be at {all} (see --volume)."
            )
        }
        (0, None, 0) => writeln!(out, "This checkpoint can be restored here."),
        (0, None, 1) => writeln!(out, "{UNKNOWN}: one thing may make it fail."),
        (0, None, more) => writeln!(out, "{UNKNOWN}: {more} things may make it fail."),
        (1, ..) => writeln!(out, "{NO} one reason."),
        (more, ..) => writeln!(out, "{NO} {more} reasons."),
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
