// SPDX-License-Identifier: Apache-2.0
//! One pass over a log of CRIU's, or over an error as an engine quotes it: what of it may explain a failure. Keeps a
//! bounded part of it, however long it is.

use memchr::memmem;

use super::known::{self, Known, is_consequence, is_harmless};
use super::lines::unquoted;
use super::mounts::Mounts;

/// Maximum number of premount's lines that are kept; there are at most a few dozen.
const MAX_OWN: usize = 64;
/// Maximum length of a message that is kept, in bytes: it may have two paths.
const MAX_MESSAGE: usize = 12 << 10;
/// Maximum length of a line that is shown because nothing in the text is known, in bytes.
const MAX_LINE: usize = 1 << 10;

/// Maximum size of a text that isn't CRIU's in which its messages are looked for by their words alone, in bytes.
const MAX_OTHERS: usize = 256 << 10;

/// An error in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The number of its line, from 1.
    pub line: usize,
    /// The message.
    pub message: Vec<u8>,
}

/// A logged error that premount knows.
pub struct Recognized {
    /// The error.
    pub logged: Logged,
    /// What it is.
    pub known: &'static Known,
    /// The paths in it, by their names in the pattern.
    pub paths: Vec<(&'static str, Vec<u8>)>,
}

/// How a log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Without a word.
    #[default]
    Open,
    /// The restore succeeded.
    Restored,
    /// The checkpoint succeeded.
    Dumped,
}

/// What a log says.
#[derive(Default)]
pub struct RestoreLog {
    /// How it ends.
    pub end: End,
    /// The container's mounts.
    pub mounts: Mounts,
    /// The first error that tells the reason.
    pub reason: Option<Recognized>,
    /// The first of the others that premount knows.
    pub vague: Option<Recognized>,
    /// The first error that premount doesn't know.
    pub unknown: Option<Logged>,
    /// The first error that only follows from others.
    pub consequence: Option<Logged>,
    /// The first error that means nothing.
    pub harmless: Option<Logged>,
    /// The image whose absence CRIU noted last.
    pub missing_image: Option<Logged>,
    /// Whether CRIU wrote it: it has lines with the time.
    pub is_of_criu: bool,
    /// The first line of a text that isn't CRIU's.
    pub first_line: Option<Logged>,
    /// premount's own lines.
    pub own: Vec<Vec<u8>>,
    line: usize,
    /// How much of it isn't CRIU's, in bytes.
    others: usize,
}

impl RestoreLog {
    /// Takes the next line.
    pub fn read(&mut self, line: &[u8]) {
        self.line += 1;
        if let Some(text) = after_time(line) {
            self.is_of_criu = true;
            return self.of_criu(text);
        }
        if let Some(message) = error(line) {
            return self.error(message);
        }
        if is_own(line) {
            let line = kept(line);
            // What it created tells nothing, and may be much. And runc has CRIU call each script twice.
            let is_created = memmem::find(&line, b"premount: created ").is_some();
            if self.own.len() < MAX_OWN && !is_created && !self.own.contains(&line) {
                self.own.push(line);
            }
            return;
        }
        for line in unquoted(line).split(|&byte| byte == b'\n') {
            self.of_others(line);
        }
    }

    /// A line of CRIU's, without the time.
    fn of_criu(&mut self, text: &[u8]) {
        let text = without_task(text);
        if let Some(message) = error(text) {
            self.error(message);
        } else if let Some(message) = text.strip_prefix(b"mnt: ") {
            self.mounts.read(message);
        } else if text.starts_with(b"Version: ") {
            // Another log follows in the same file.
            *self = Self {
                line: self.line,
                is_of_criu: true,
                ..Self::default()
            };
        } else if text.starts_with(b"Restore finished successfully") {
            self.end = End::Restored;
        } else if text.starts_with(b"Dumping finished successfully") {
            self.end = End::Dumped;
        } else if text.starts_with(b"No ") && text.ends_with(b".img image") {
            self.missing_image = Some(self.logged(text));
        }
    }

    /// A line of somebody else's, which may quote CRIU.
    fn of_others(&mut self, line: &[u8]) {
        let quoted = memmem::find(line, b"Error (").and_then(|at| error(line.get(at..)?));
        if let Some(message) = quoted {
            return self.error(without_engine(message));
        }
        let line = line.trim_ascii();
        // In CRIU's log there are lines of scripts and programs, whatever they mean.
        if self.is_of_criu || line.is_empty() {
            return;
        }
        if self.first_line.is_none() {
            let start = line.get(..MAX_LINE).unwrap_or(line);
            self.first_line = Some(self.logged(start));
        }
        let line = without_engine(line);
        self.others += line.len();
        let found = known::of_engine(line).or_else(|| {
            // Without `Error (`, as people copy it: then it is not long.
            let is_short = self.others <= MAX_OTHERS;
            is_short.then(|| known::of_criu_anywhere(line)).flatten()
        });
        if let Some((known, found)) = found {
            self.recognized(known, line, &found);
        }
    }

    fn error(&mut self, message: &[u8]) {
        if self.end != End::Open {
            return;
        }
        if is_harmless(message) {
            let logged = self.logged(message);
            self.harmless.get_or_insert(logged);
        } else if let Some((known, found)) = known::of_criu(message) {
            self.recognized(known, message, &found);
        } else {
            let logged = self.logged(message);
            let kept = if is_consequence(message) {
                &mut self.consequence
            } else {
                &mut self.unknown
            };
            kept.get_or_insert(logged);
        }
    }

    fn recognized(&mut self, known: &'static Known, message: &[u8], found: &super::pattern::Found) {
        let is_kept = if known.is_vague {
            self.vague.is_some()
        } else {
            self.reason.is_some()
        };
        if is_kept {
            return;
        }
        let names = ["path", "source", "open", "mountpoint", "log"].into_iter();
        let paths = names.filter_map(|name| Some((name, kept(found.get(name)?))));
        let recognized = Recognized {
            logged: self.logged(message),
            known,
            paths: paths.collect(),
        };
        if known.is_vague {
            self.vague = Some(recognized);
        } else {
            self.reason = Some(recognized);
        }
    }

    fn logged(&self, message: &[u8]) -> Logged {
        Logged {
            line: self.line,
            message: kept(message),
        }
    }
}

fn kept(text: &[u8]) -> Vec<u8> {
    text.get(..MAX_MESSAGE).unwrap_or(text).to_vec()
}

/// What follows the time in a line of CRIU's: `(00.012345) `.
fn after_time(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_prefix(b"(")?;
    let end = line
        .iter()
        .position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
    let (time, rest) = line.split_at(end);
    rest.strip_prefix(b") ").filter(|_| time.contains(&b'.'))
}

/// What follows the task in a line of CRIU's: `     1: `, and `pie: 1: ` where the task writes itself.
fn without_task(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"pie: ").unwrap_or(text);
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = text.get(digits..).unwrap_or_default();
    match rest.strip_prefix(b": ") {
        Some(rest) if digits > 0 => rest,
        _ => text,
    }
}

/// The message of an error of CRIU's: `Error (criu/mount.c:3130): mnt: No mapping for …`.
fn error(text: &[u8]) -> Option<&[u8]> {
    let text = without_task(text).strip_prefix(b"Error (")?;
    let end = memmem::find(text, b"): ")?;
    let (place, message) = text.split_at(end);
    let is_place = place.len() < 64 && memmem::find(place, b".c:").is_some();
    is_place.then(|| message.get(3..).unwrap_or_default())
}

/// A message without what an engine adds at its end.
fn without_engine(message: &[u8]) -> &[u8] {
    let ends = [
        &b": OCI runtime error"[..],
        b": OCI runtime attempted to invoke a command that was not found",
        b": unknown",
        b"\"",
    ];
    let mut message = message.trim_ascii_end();
    while let Some(rest) = ends.iter().find_map(|end| message.strip_suffix(*end)) {
        message = rest.trim_ascii_end();
    }
    message
}

/// Whether premount wrote the line: `INFO premount: created …`.
fn is_own(line: &[u8]) -> bool {
    let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
    let line = line.trim_ascii_start();
    let rest = levels
        .iter()
        .find_map(|level| line.strip_prefix(level.as_bytes()));
    rest.is_some_and(|rest| rest.trim_ascii_start().starts_with(b"premount: "))
}
