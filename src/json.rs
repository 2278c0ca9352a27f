// SPDX-License-Identifier: Apache-2.0
//! JSON that somebody else wrote: bounded in size and depth before it is parsed, and every error with the file and the place in it.

use std::fmt::Display;
use std::io::Read;
use std::path::Path;

use memchr::memchr2;
use serde::Deserialize;

use crate::error::Error;
use crate::input;

/// How deep objects and arrays may nest, in levels: what `serde_json` itself takes.
const MAX_DEPTH: usize = 128;

/// Reads a regular file of at most `limit` bytes.
pub fn read_file(path: &Path, limit: usize) -> Result<String, Error> {
    text(input::read_file(path, limit)?, path)
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
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.as_bytes().iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
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

/// Goes behind the quote that ends a string.
fn skip_string(bytes: &mut std::slice::Iter<u8>) {
    while let Some(at) = memchr2(b'"', b'\\', bytes.as_slice()) {
        if bytes.nth(at) == Some(&b'"') {
            return;
        }
        bytes.next();
    }
    *bytes = [].iter();
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
