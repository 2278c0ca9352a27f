// SPDX-License-Identifier: Apache-2.0
//! The findings as text, each with what CRIU would report.

use std::io::{self, Write};

use crate::error::shown;
use crate::escape::Escaped;
use crate::mountpoints::diagnosis::Finding;

/// Writes the findings, and the verdict, which is open if a part of the checkpoint was not considered.
pub(super) fn text(findings: &[Finding], is_partial: bool, out: &mut dyn Write) -> io::Result<()> {
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
    match fatal.count() {
        0 if is_partial => writeln!(
            out,
            "It is unknown whether this checkpoint can be restored here: a part of it is not considered."
        ),
        0 => writeln!(out, "This checkpoint can be restored here."),
        1 => writeln!(
            out,
            "This checkpoint can't be restored as it is, for one reason."
        ),
        more => writeln!(
            out,
            "This checkpoint can't be restored as it is, for {more} reasons."
        ),
    }
}
