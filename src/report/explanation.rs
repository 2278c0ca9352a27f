// SPDX-License-Identifier: Apache-2.0
//! What a log says, as text and as JSON.

use std::io::{self, Write};

use serde::Serialize;

use crate::escape::Escaped;
use crate::explain::{Explanation, Verdict};

/// Writes the verdict as text.
pub(super) fn text(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    let explanation = match verdict {
        Verdict::Restored => return writeln!(out, "The restore succeeded."),
        Verdict::Dumped => return writeln!(out, "The checkpoint succeeded."),
        Verdict::NoError => {
            return writeln!(
                out,
                "There is no error in this log, and it does not say that the restore succeeded."
            );
        }
        Verdict::Unknown(_, message) => {
            writeln!(out, "premount does not know this error:")?;
            return writeln!(out, "    {}", Escaped(message));
        }
        Verdict::Explained(explanation) => explanation,
    };
    let Explanation { code, words, .. } = **explanation;
    writeln!(out, "{code}: {words}")?;
    let place = &explanation.place;
    let lines = [
        ("In the container", &place.container),
        ("On the host", &place.host),
        ("Mounted there", &place.source),
    ];
    for (name, path) in lines {
        if let Some(path) = path {
            writeln!(out, "    {name}: {}", Escaped(path))?;
        }
    }
    writeln!(out, "    Logged: {}", Escaped(&explanation.message))?;
    if let Some(before) = &explanation.before {
        writeln!(out, "    Before it: {}", Escaped(before))?;
    }
    for line in &explanation.own {
        writeln!(out, "    {}", Escaped(line.trim_ascii()))?;
    }
    writeln!(out, "    Remedy: {}", explanation.remedy)
}

#[derive(Serialize)]
struct VerdictReport<'a> {
    version: u32,
    verdict: &'static str,
    code: Option<&'static str>,
    message: Option<&'static str>,
    remedy: Option<&'static str>,
    container_path: Option<String>,
    host_path: Option<String>,
    source: Option<String>,
    criu: Option<String>,
    line: Option<usize>,
    before: Option<String>,
    premount: &'a [String],
}

/// Writes the verdict as JSON; docs/json.md documents the format.
pub(super) fn json(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    let mut report = VerdictReport {
        version: super::json::VERSION,
        verdict: match verdict {
            Verdict::Restored => "restored",
            Verdict::Dumped => "checkpointed",
            Verdict::NoError => "no-error",
            Verdict::Explained(_) => "explained",
            Verdict::Unknown(..) => "unknown",
        },
        code: None,
        message: None,
        remedy: None,
        container_path: None,
        host_path: None,
        source: None,
        criu: None,
        line: None,
        before: None,
        premount: &[],
    };
    let mut own = Vec::new();
    match verdict {
        Verdict::Restored | Verdict::Dumped | Verdict::NoError => {}
        Verdict::Unknown(line, message) => {
            report.line = Some(*line);
            report.criu = Some(super::json::bytes(message));
        }
        Verdict::Explained(explanation) => {
            let bytes = |path: &Option<Vec<u8>>| path.as_deref().map(super::json::bytes);
            let place = &explanation.place;
            report.code = Some(explanation.code);
            report.message = Some(explanation.words);
            report.remedy = Some(explanation.remedy);
            report.container_path = bytes(&place.container);
            report.host_path = bytes(&place.host);
            report.source = bytes(&place.source);
            report.criu = Some(super::json::bytes(&explanation.message));
            report.line = Some(explanation.line);
            report.before = bytes(&explanation.before);
            let lines = explanation.own.iter();
            own.extend(lines.map(|line| super::json::bytes(line.trim_ascii())));
        }
    }
    report.premount = &own;
    super::json::write_pretty(&report, out)
}
