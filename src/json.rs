// SPDX-License-Identifier: Apache-2.0
//! JSON that somebody else wrote: bounded in size and depth before it is parsed, and every error with the file and the place in it.

use std::fmt::Display;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use serde::Deserialize;

use crate::error::Error;
use crate::input;

/// How deep objects and arrays may nest, in levels: what `serde_json` itself takes.
const MAX_DEPTH: usize = 128;

/// Reads a regular file of at most `limit` bytes.
pub fn read_file(path: &Path, limit: usize) -> Result<String, Error> {
    text(input::read_file(path, limit)?, path)
}

/// Reads an open file of at most `limit` bytes. `path` is what errors call it.
pub fn read_open_file(file: OwnedFd, path: &Path, limit: usize) -> Result<String, Error> {
    text(input::read_open_file(file, path, limit)?, path)
}

/// Reads `stream` to its end, `limit` bytes at most. `file` is what errors call it.
pub fn read_stream(stream: impl Read, file: &Path, limit: usize) -> Result<String, Error> {
    text(input::read_stream(stream, file, limit)?, file)
}

fn text(bytes: Vec<u8>, file: &Path) -> Result<String, Error> {
    if bytes.trim_ascii().is_empty() {
        return Err(Error::invalid(file, "", "empty, where JSON belongs"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid(file, "", format!("not UTF-8 at byte {at}"))
    })?;
    if depth(&text) > MAX_DEPTH {
        return Err(Error::invalid(
            file,
            "",
            format!("nested deeper than {MAX_DEPTH} levels"),
        ));
    }
    Ok(text)
}

/// Parses an object, found at `place` (`mounts[3]`; empty for the whole file).
///
/// An array is refused here, since serde would take one for a struct, field by field.
pub fn object<'a, T: Deserialize<'a>>(
    text: &'a str,
    file: &Path,
    place: impl Display,
) -> Result<T, Error> {
    let found = match text.trim_ascii_start().bytes().next() {
        Some(b'[') => Some("an array"),
        Some(b'"') => Some("a string"),
        Some(b'-' | b'0'..=b'9') => Some("a number"),
        Some(b't' | b'f') => Some("a boolean"),
        Some(b'n') => Some("null"),
        // An object; or no JSON at all, and the parser says so better.
        _ => None,
    };
    if let Some(found) = found {
        return Err(Error::invalid(
            file,
            place.to_string(),
            format!("{found}, where an object belongs"),
        ));
    }
    any(text, file, place)
}

/// Parses a value, found at `place`.
pub fn any<'a, T: Deserialize<'a>>(
    text: &'a str,
    file: &Path,
    place: impl Display,
) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let place = place.to_string();
        // Inside a part of the file, line and column would count from the part's own start.
        let whole = place.is_empty();
        let position = format!(" at line {} column {}", error.line(), error.column());
        let reason = if whole {
            &message
        } else {
            message.trim_end_matches(&position)
        };
        Error::invalid(file, place, reason)
    })
}

/// How deep brackets nest, whatever else is wrong: counted before the parser, whose way through
/// what it ignores has no bound of its own.
fn depth(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut deepest) = (0, 0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = behind_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The place behind the string that `at` is in. Most of a configuration is strings, so it goes by eight
/// bytes; not by the crate memchr, which asks the processor what it can do, and in a virtual machine that
/// takes longer than all of this.
fn behind_string(bytes: &[u8], mut at: usize) -> usize {
    loop {
        let eight = bytes.get(at..at.saturating_add(8));
        if let Some(Ok(eight)) = eight.map(<[u8; 8]>::try_from) {
            let eight = u64::from_le_bytes(eight);
            let found = holds(eight, b'"') | holds(eight, b'\\');
            if found == 0 {
                at += 8;
                continue;
            }
            at += found.trailing_zeros() as usize / 8;
        }
        match bytes.get(at) {
            None | Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

/// The high bit of each of eight bytes that is `byte`; above the lowest of them others may be set as well.
fn holds(eight: u64, byte: u8) -> u64 {
    const LOW: u64 = u64::from_le_bytes([1; 8]);
    let differs = eight ^ (LOW * u64::from(byte));
    differs.wrapping_sub(LOW) & !differs & (LOW << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_but_not_those_in_strings() {
        assert_eq!(depth("{}"), 1);
        assert_eq!(depth(r#"{"a":[[{}]], "b":[]}"#), 4);
        assert_eq!(depth(r#"{"[[[":"\"[[["}"#), 1);
        assert_eq!(depth("]]]]["), 1);
    }

    #[test]
    fn a_string_ends_where_its_quote_is() {
        for length in 0..40 {
            for tail in ["", "\\\\", "\\\"", "\\\"[["] {
                let text = format!("[\"{}{tail}\", [1]]", "[".repeat(length));
                assert_eq!(depth(&text), 2, "{text}");
            }
        }
        assert_eq!(depth("\"[[[[[[[[[[["), 0);
        assert_eq!(depth("\"\\"), 0);
    }

    #[test]
    fn an_array_is_no_object() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code)]
        struct Named {
            name: String,
        }
        let file = Path::new("x.json");
        assert_eq!(
            object::<Named>(r#"{"name":"a"}"#, file, "").unwrap().name,
            "a"
        );
        let error = object::<Named>(r#"["a"]"#, file, "part").unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.json: part: an array, where an object belongs"
        );
    }

    #[test]
    fn an_endless_stream_ends_at_the_limit() {
        let error = read_stream(std::io::repeat(b' '), Path::new("stdin"), 100).unwrap_err();
        assert_eq!(error.to_string(), "stdin: longer than 100 bytes");
    }
}
