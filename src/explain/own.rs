// SPDX-License-Identifier: Apache-2.0
//! premount's own lines in the log: as an action script, its standard error is CRIU's log. report/log.rs writes them.

use memchr::memmem;

use super::known::{self, Meaning};
use super::mounts::Place;
use crate::diagnosis::FindingKind;
use crate::escape::Escaped;

/// Why a mount has failed (`mountpoints::failure::Cause`), and what that means.
const FAILURES: [(&str, &Meaning); 4] = [
    (": its source can't be opened", &known::MISSING_SOURCE),
    (
        ": it has to be a directory, and a file is there",
        &known::WRONG_KIND,
    ),
    (
        ": it has to be a file, and a directory is there",
        &known::WRONG_KIND,
    ),
    (": cannot create it", &known::UNREACHABLE),
];

/// The mount that premount ends a restore for:
/// `read-only: mount /data/a: cannot create it: /w/volume/a: mkdirat: … (EROFS)`.
pub fn failed_mount(line: &[u8]) -> Option<(&'static Meaning, Place)> {
    let line = std::str::from_utf8(line).ok()?.trim_start();
    let text = line.strip_prefix("ERROR premount: ")?;
    // With the finding's code, which earlier versions don't have.
    let text = text.strip_prefix("mount ").or_else(|| {
        let (code, text) = text.split_once(": mount ")?;
        (!code.contains(' ')).then_some(text)
    })?;
    let mut failures = FAILURES.iter();
    let (meaning, mount, rest) = failures.find_map(|(words, meaning)| {
        let (mount, rest) = text.split_once(words)?;
        Some((*meaning, mount, rest))
    })?;
    let is_read_only = meaning == &known::UNREACHABLE && rest.ends_with("(EROFS)");
    // Before the system call and its error.
    let host = rest
        .strip_prefix(": ")
        .and_then(|rest| rest.rsplitn(3, ": ").nth(2));
    let place = Place {
        container: Some(mount.as_bytes().to_vec()),
        host: host.map(|path| path.as_bytes().to_vec()),
        source: None,
    };
    Some((
        if is_read_only {
            &known::READ_ONLY
        } else {
            meaning
        },
        place,
    ))
}

/// Whether a line of premount's is about a place.
pub fn is_about(line: &[u8], place: &Place) -> bool {
    let paths = [&place.container, &place.host].into_iter().flatten();
    paths.into_iter().any(|path| {
        let path = Escaped(path).to_string();
        memmem::find_iter(line, path.as_bytes()).any(|at| {
            let next = line.get(at + path.len());
            next.is_none_or(|next| matches!(next, b'"' | b':' | b' '))
        })
    })
}

/// Whether a line of premount's says what was done: then something else failed.
pub fn is_record(line: &[u8]) -> bool {
    let starts = [
        &b"INFO premount: "[..],
        b"DEBUG premount: ",
        b"TRACE premount: ",
    ];
    let is_told = memmem::find(line, b"nothing to do").is_some()
        || memmem::find(line, b"no OCI configuration").is_some();
    starts
        .iter()
        .any(|start| line.trim_ascii_start().starts_with(start))
        && !is_told
}

/// What an error means by a line of premount's about the same place: it knows more than CRIU.
pub fn refined(meaning: &Meaning, line: &[u8]) -> Option<&'static Meaning> {
    let says = |words: &str| memmem::find(line, words.as_bytes()).is_some();
    let code = |kind: FindingKind| says(&format!("premount: {}: ", kind.name()));
    if meaning == &known::MISSING_MOUNTPOINT {
        return if says("nothing tells whether it is a directory or a file") {
            Some(&known::MOUNTPOINT_OF_UNKNOWN_KIND)
        } else if says("(EROFS)") {
            Some(&known::READ_ONLY)
        } else {
            says("cannot create it").then_some(&known::UNREACHABLE)
        };
    }
    if meaning != &known::MISSING_OPEN_FILE {
        return None;
    }
    if code(FindingKind::MissingLog) {
        Some(&known::LOG_MISSING)
    } else if code(FindingKind::MissingContent) {
        Some(&known::MISSING_CONTENT)
    } else if code(FindingKind::OpenFileOfUnknownKind) {
        Some(&known::OPEN_FILE_OF_UNKNOWN_KIND)
    } else {
        let is_not_created = says("cannot create it") || says("open file not inspected");
        is_not_created.then_some(&known::OPEN_FILE_NOT_CREATED)
    }
}
