// SPDX-License-Identifier: Apache-2.0
//! Why a restore failed, by CRIU's log: the error among all that it logs, what it means, where on the host, and what
//! to do. known/ has all that premount knows of errors.
//!
//! The log holds what a container chose, so it is bounded and escaped, and no path in it is opened.

mod known;
mod lines;
mod mounts;
mod own;
mod pattern;
mod restore_log;

use crate::cli;
use crate::error::Error;
use crate::oci::bundle::Bundle;
use known::Meaning;
use mounts::{Mounts, Place};
use restore_log::{End, Logged, Recognized, RestoreLog};

/// Maximum number of premount's lines that are shown.
const MAX_SHOWN: usize = 5;

/// What a log says.
#[derive(Debug)]
pub enum Verdict {
    /// The restore succeeded.
    Restored,
    /// The checkpoint succeeded.
    Dumped,
    /// There is no error in it, and no success.
    NoError,
    /// There is an error that premount knows.
    Explained(Box<Explanation>),
    /// There is an error that premount doesn't know, in this line: the message.
    Unknown(usize, Vec<u8>),
}

/// What an error means.
#[derive(Debug)]
pub struct Explanation {
    /// The number of the line that it is in.
    pub line: usize,
    /// The error as logged.
    pub message: Vec<u8>,
    /// Its stable code.
    pub code: &'static str,
    /// What has happened.
    pub words: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// What it is about.
    pub place: Place,
    /// premount's own lines about it.
    pub own: Vec<Vec<u8>>,
    /// What was logged before and may tell more: an error that premount doesn't know, or which image is missing.
    pub before: Option<Vec<u8>>,
}

impl Verdict {
    /// The exit status.
    pub fn status(&self) -> u8 {
        u8::from(matches!(self, Self::Unknown(..)))
    }
}

/// Explains a log.
///
/// # Errors
///
/// The log or the bundle can't be read.
pub fn explain(options: &cli::Explain) -> Result<Verdict, Error> {
    let mut log = RestoreLog::default();
    lines::of_file(&options.file, |line| log.read(line))?;
    if let Some(bundle) = &options.bundle {
        log.mounts.add_bundle(&Bundle::open(bundle)?);
    }
    Ok(verdict(log))
}

/// Explains a log that is in memory.
pub fn of_text(text: &[u8]) -> Verdict {
    let mut log = RestoreLog::default();
    text.split(|&byte| byte == b'\n')
        .for_each(|line| log.read(line));
    verdict(log)
}

/// The patterns of all errors that premount knows.
pub fn known_patterns() -> impl Iterator<Item = &'static str> {
    known::all().map(|known| known.pattern)
}

/// The pattern that a line of a log is known by.
pub fn known_by(line: &[u8]) -> Option<&'static str> {
    let mut log = RestoreLog::default();
    log.read(line);
    let recognized = log.reason.or(log.vague);
    recognized.map(|recognized| recognized.known.pattern)
}

fn verdict(mut log: RestoreLog) -> Verdict {
    match log.end {
        End::Restored => return Verdict::Restored,
        End::Dumped => return Verdict::Dumped,
        End::Open => {}
    }
    if let Some(reason) = log.reason.take() {
        let before = if reason.known.meaning == &known::MISSING_IMAGE {
            log.missing_image.take()
        } else {
            log.unknown.take()
        };
        let before = before.filter(|before| before.line < reason.logged.line);
        return explained(&log, reason, before);
    }
    if let Some(Logged { line, message }) = log.unknown {
        return Verdict::Unknown(line, message);
    }
    if let Some(vague) = log.vague.take() {
        return explained(&log, vague, None);
    }
    if let Some(Logged { line, message }) = log.consequence {
        return Verdict::Unknown(line, message);
    }
    // CRIU ends without an error if it finds no tasks.
    let image = log.missing_image.take();
    let image = image.filter(|image| image.message == b"No pstree.img image");
    if let Some(image) = image {
        return meant(image, &known::MISSING_IMAGE);
    }
    match (log.harmless, log.first_line) {
        _ if log.is_of_criu => Verdict::NoError,
        (Some(quoted), _) => meant(quoted, &known::LOG_ELSEWHERE),
        (None, Some(Logged { line, message })) => Verdict::Unknown(line, message),
        (None, None) => Verdict::NoError,
    }
}

fn meant(logged: Logged, meaning: &Meaning) -> Verdict {
    Verdict::Explained(Box::new(Explanation {
        line: logged.line,
        message: logged.message,
        code: meaning.code,
        words: meaning.words,
        remedy: meaning.remedy,
        place: Place::default(),
        own: Vec::new(),
        before: None,
    }))
}

fn explained(log: &RestoreLog, of: Recognized, before: Option<Logged>) -> Verdict {
    let mut place = place(&log.mounts, &of);
    let mut meaning = of.known.meaning;
    if meaning == &known::ACTION_SCRIPT {
        // The script that failed may be premount.
        if let Some(failed) = log.own.iter().find_map(|line| own::failed_mount(line)) {
            (meaning, place) = failed;
        }
    }
    let about = log.own.iter().filter(|line| own::is_about(line, &place));
    let mut own: Vec<Vec<u8>> = about.cloned().collect();
    if let Some(by_own) = own.iter().find_map(|line| own::refined(meaning, line)) {
        meaning = by_own;
    }
    if own.is_empty() {
        // What premount says when it does nothing at all.
        let others = log.own.iter().filter(|line| !own::is_record(line));
        own = others.cloned().collect();
    }
    own.truncate(MAX_SHOWN);
    Verdict::Explained(Box::new(Explanation {
        line: of.logged.line,
        message: of.logged.message,
        code: meaning.code,
        words: meaning.words,
        remedy: meaning.remedy,
        place,
        own,
        before: before.map(|error| error.message),
    }))
}

/// Where the error is.
fn place(mounts: &Mounts, of: &Recognized) -> Place {
    let path = |name| {
        of.paths
            .iter()
            .find(|(of, _)| *of == name)
            .map(|(_, path)| &path[..])
    };
    if let Some(path) = path("open") {
        return mounts.in_container(path);
    }
    if let Some(path) = path("mountpoint") {
        return mounts.mountpoint(path);
    }
    let mut place = path("path")
        .map(|path| mounts.of_criu(path))
        .unwrap_or_default();
    let source = path("source").filter(|source| source.starts_with(b"/"));
    place.source = place.source.or(source.map(<[u8]>::to_vec));
    place.host = place.host.or(path("log").map(<[u8]>::to_vec));
    place
}
