// SPDX-License-Identifier: Apache-2.0
//! Escaping of paths for output: a tenant chose them, and they must not control a terminal, forge a log line
//! or hide characters.

use std::fmt::{self, Display, Formatter, Write as _};

/// Bytes as text on one line. Control characters, backslashes, and characters that are invisible or change
/// the direction of text are written as `\n`, `\\` or `\u{202e}`, bytes that are not UTF-8 as `\xff`.
/// Everything else is unchanged.
pub struct Escaped<'a>(pub &'a [u8]);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            let mut rest = chunk.valid();
            // Write unescaped runs in one piece rather than by character.
            while let Some((at, character)) = rest.char_indices().find(|&(_, c)| !is_plain(c)) {
                let (plain, odd) = rest.split_at(at);
                out.write_str(plain)?;
                match character {
                    '\n' | '\r' | '\t' | '\\' => write!(out, "{}", character.escape_default())?,
                    _ => write!(out, "{}", character.escape_unicode())?,
                }
                rest = odd.get(character.len_utf8()..).unwrap_or_default();
            }
            out.write_str(rest)?;
            for byte in chunk.invalid() {
                write!(out, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// [`Escaped`] in double quotes, with quotes inside escaped: for fields of a log line, where a path must not
/// look like another field.
pub struct Quoted<'a>(pub &'a [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_char('"')?;
        for (nth, part) in self.0.split(|&byte| byte == b'"').enumerate() {
            let before = if nth == 0 { "" } else { "\\\"" };
            write!(out, "{before}{}", Escaped(part))?;
        }
        out.write_char('"')
    }
}

fn is_plain(character: char) -> bool {
    match character {
        '\\' => false,
        ' '..='~' => true,
        _ => !character.is_control() && !is_invisible(character),
    }
}

/// Line and paragraph separators, zero-width characters, and characters that change the direction of text
/// (CVE-2021-42574).
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        Escaped(bytes).to_string()
    }

    #[test]
    fn plain_names_stand_as_they_are() {
        for name in ["/data/a b", "it's \"quoted\"", "/ünï/日本", "e\u{301}"] {
            assert_eq!(shown(name.as_bytes()), name);
        }
    }

    #[test]
    fn what_steers_a_terminal_or_forges_a_line_is_escaped() {
        assert_eq!(shown(b"a\nb\t\\"), "a\\nb\\t\\\\");
        assert_eq!(shown(b"\x1b[31m"), "\\u{1b}[31m");
        assert_eq!(shown("\u{202e}txt".as_bytes()), "\\u{202e}txt");
        assert_eq!(shown("\u{9b}31m".as_bytes()), "\\u{9b}31m");
    }

    #[test]
    fn a_quoted_path_can_not_look_like_two_fields() {
        let forged = Quoted(b"/a\" mount=\"/b").to_string();
        assert_eq!(forged, r#""/a\" mount=\"/b""#);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_told_one_by_one() {
        assert_eq!(shown(b"a\xff\xfeb"), "a\\xff\\xfeb");
    }
}
