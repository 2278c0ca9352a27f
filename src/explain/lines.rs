// SPDX-License-Identifier: Apache-2.0
//! The lines of a log: read as a stream and bounded, since a container can make its restore log much.

use std::io::{Read, stdin};
use std::path::Path;

use memchr::memchr;

use crate::error::Error;
use crate::input;

/// Maximum size of a log in bytes.
const MAX_SIZE: u64 = 64 << 20;
/// Maximum length of a line in bytes; the rest of a longer one is dropped. CRIU's own lines have at most 8 KiB,
/// but an engine quotes many of them in one.
const MAX_LINE: usize = 64 << 10;

/// Calls `each` for each line of a regular file, or of standard input for `-`.
///
/// # Errors
///
/// The input can't be read, is empty or is too long.
pub fn of_file(file: &Path, each: impl FnMut(&[u8])) -> Result<(), Error> {
    if file == Path::new("-") {
        return of_stream(stdin().lock(), Path::new("standard input"), each);
    }
    let (open, _) = input::open_file(file)?;
    of_stream(open, file, each)
}

/// The same for a stream. Errors name `file`.
fn of_stream(mut stream: impl Read, file: &Path, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
    let mut buffer = vec![0; 64 << 10];
    let mut line = Vec::new();
    let (mut size, mut is_blank) = (0, true);
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(input::failed(file, &error)),
        };
        size += u64::try_from(read).unwrap_or(u64::MAX);
        if size > MAX_SIZE {
            let reason = format!("longer than {MAX_SIZE} bytes");
            return Err(Error::invalid(file, "", reason));
        }
        let mut rest = buffer.get(..read).unwrap_or_default();
        is_blank &= rest.trim_ascii().is_empty();
        while let Some(end) = memchr(b'\n', rest) {
            let (before, after) = rest.split_at(end);
            add(&mut line, before);
            each(line.trim_ascii_end());
            line.clear();
            rest = after.get(1..).unwrap_or_default();
        }
        add(&mut line, rest);
    }
    if is_blank {
        return Err(Error::invalid(file, "", "empty, expected a log"));
    }
    if !line.is_empty() {
        each(line.trim_ascii_end());
    }
    Ok(())
}

fn add(line: &mut Vec<u8>, more: &[u8]) {
    let left = MAX_LINE.saturating_sub(line.len());
    line.extend_from_slice(more.get(..left).unwrap_or(more));
}

/// A line that an engine wrote, as lines again: engines and kubelet quote errors in one line, with `\n`, `\t` and
/// `\"`, and quote what was quoted, with `\\n`.
pub fn unquoted(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr(b'\\', rest) {
        let (before, escape) = rest.split_at(at);
        plain.extend_from_slice(before);
        let escaped = escape.iter().position(|&byte| byte != b'\\');
        let escaped = escaped.unwrap_or(escape.len());
        let taken = match escape.get(escaped) {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'"') => b'"',
            _ => {
                plain.push(b'\\');
                rest = escape.get(escaped..).unwrap_or_default();
                continue;
            }
        };
        plain.push(taken);
        rest = escape.get(escaped + 1..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        of_stream(text, Path::new("log"), |line| all.push(line.to_vec())).unwrap();
        all
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(lines(b"a\r\n\nb"), [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn a_line_without_an_end_is_cut_off() {
        let text = [&b"x".repeat(3 * MAX_LINE)[..], b"\ny\n"].concat();
        let all = lines(&text);
        assert_eq!((all[0].len(), &all[1][..]), (MAX_LINE, &b"y"[..]));
    }

    #[test]
    fn quotes_of_quotes_are_undone() {
        assert_eq!(unquoted(br#"a\nb\\nc\"d\\\"e\x\\"#), b"a\nb\nc\"d\"e\\x\\");
    }
}
