// SPDX-License-Identifier: Apache-2.0
//! All that premount knows of errors: what is logged, what it means, and what to do. Each table names the source
//! of its messages, as of CRIU 3.17 to 4.2; docs/findings.md lists the codes.

mod engines;
mod files;
mod mounts;
mod others;
mod skipped;

use super::pattern::{Begin, Found, find};

pub use engines::LOG_ELSEWHERE;
pub use files::{
    LOG_MISSING, MISSING_CONTENT, MISSING_OPEN_FILE, OPEN_FILE_NOT_CREATED,
    OPEN_FILE_OF_UNKNOWN_KIND,
};
pub use mounts::{
    MISSING_MOUNTPOINT, MISSING_SOURCE, MOUNTPOINT_OF_UNKNOWN_KIND, READ_ONLY, UNREACHABLE,
    WRONG_KIND,
};
pub use others::{ACTION_SCRIPT, MISSING_IMAGE};
pub use skipped::{is_consequence, is_harmless};

/// What an error means.
#[derive(Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Its stable code.
    pub code: &'static str,
    /// What has happened.
    pub words: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// An error that premount knows.
pub struct Known {
    /// What is logged. `{open}` is a path from the container's root, `{mountpoint}` a mountpoint in the container,
    /// `{path}` a path on the host or one of CRIU's temporary ones, `{log}` the path of the log.
    pub pattern: &'static str,
    /// What it means.
    pub meaning: &'static Meaning,
    /// Whether other errors of the same restore say more.
    pub is_vague: bool,
}

const fn known(pattern: &'static str, meaning: &'static Meaning) -> Known {
    Known {
        pattern,
        meaning,
        is_vague: false,
    }
}

const fn vague(pattern: &'static str, meaning: &'static Meaning) -> Known {
    Known {
        pattern,
        meaning,
        is_vague: true,
    }
}

/// CRIU's errors, the first that fits counts.
const OF_CRIU: [&[Known]; 3] = [mounts::KNOWN, files::KNOWN, others::KNOWN];

/// All errors.
pub fn all() -> impl Iterator<Item = &'static Known> {
    OF_CRIU.into_iter().chain([engines::KNOWN]).flatten()
}

/// Looks for a message of CRIU's, without what stands before it in the log.
pub fn of_criu(message: &[u8]) -> Option<(&'static Known, Found<'_>)> {
    look(OF_CRIU.into_iter(), message, Begin::Start).or_else(|| {
        // Later versions have the part of CRIU before messages that came without it before.
        let rest = without_part(message)?;
        look(OF_CRIU.into_iter(), rest, Begin::Start)
    })
}

/// Looks for an error of a runtime's or an engine's in a line of text.
pub fn of_engine(line: &[u8]) -> Option<(&'static Known, Found<'_>)> {
    look([engines::KNOWN].into_iter(), line, Begin::Anywhere)
}

/// Looks for a message of CRIU's in a line of text.
pub fn of_criu_anywhere(line: &[u8]) -> Option<(&'static Known, Found<'_>)> {
    look(OF_CRIU.into_iter(), line, Begin::Anywhere)
}

fn look(
    tables: impl Iterator<Item = &'static [Known]>,
    text: &[u8],
    begin: Begin,
) -> Option<(&'static Known, Found<'_>)> {
    let mut all = tables.flatten();
    all.find_map(|known| Some((known, find(known.pattern, text, begin)?)))
}

/// A message without the part of CRIU that it begins with: `mnt-v2: `.
fn without_part(message: &[u8]) -> Option<&[u8]> {
    let end = message.iter().position(|byte| !is_of_name(*byte))?;
    let (part, rest) = message.split_at(end);
    rest.strip_prefix(b": ").filter(|_| !part.is_empty())
}

fn is_of_name(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')
}
