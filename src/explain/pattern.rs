// SPDX-License-Identifier: Apache-2.0
//! Patterns of messages: literal text, with `{}` for what is of no interest and `{name}` for what is.

use memchr::memmem;

/// What a pattern has found, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found<'a>(Vec<(&'static str, &'a [u8])>);

impl<'a> Found<'a> {
    /// What stood in place of `{name}`.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        let mut all = self.0.iter();
        all.find_map(|&(of, text)| (of == name).then_some(text))
    }
}

/// Where the pattern has to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the start of the text.
    Start,
    /// Anywhere in it.
    Anywhere,
}

/// Looks for a pattern in a message. More may follow the pattern.
///
/// A named part is a path, which may hold anything, so it extends to the last place where the pattern fits.
pub fn find<'a>(pattern: &'static str, text: &'a [u8], begin: Begin) -> Option<Found<'a>> {
    let (literal, mut pattern) = pattern.split_once('{').unwrap_or((pattern, ""));
    let mut rest = match begin {
        Begin::Start => text.strip_prefix(literal.as_bytes())?,
        Begin::Anywhere => {
            let at = memmem::find(text, literal.as_bytes())?;
            text.get(at + literal.len()..)?
        }
    };
    let mut found = Found::default();
    while let Some((name, after)) = pattern.split_once('}') {
        let (literal, next) = after.split_once('{').unwrap_or((after, ""));
        let end = match literal {
            "" => Some(rest.len()),
            _ if name.is_empty() => memmem::find(rest, literal.as_bytes()),
            _ => memmem::rfind(rest, literal.as_bytes()),
        };
        let (part, after) = rest.split_at_checked(end?)?;
        if !name.is_empty() {
            found.0.push((name, part));
        }
        rest = after.get(literal.len()..)?;
        pattern = next;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pattern: &'static str, name: &str, text: &str) -> Option<String> {
        let found = find(pattern, text.as_bytes(), Begin::Start)?;
        let part = found.get(name).unwrap_or_default();
        Some(String::from_utf8_lossy(part).into_owned())
    }

    #[test]
    fn a_path_may_hold_the_rest_of_the_pattern() {
        let size = "File {open} has bad size {} (expect {})";
        let text = "File a has bad size 1 (expect 2) has bad size 3 (expect 4)";
        let path = at(size, "open", text);
        assert_eq!(path.as_deref(), Some("a has bad size 1 (expect 2)"));
        let error = "Can't open {path}: {error}";
        let path = at(error, "path", "Can't open /a: b: No such file");
        assert_eq!(path.as_deref(), Some("/a: b"));
    }

    #[test]
    fn what_does_not_fit_is_not_found() {
        assert_eq!(
            at("Can't open {path}: No", "path", "Can't open /a: Yes"),
            None
        );
        assert_eq!(at("a {} b {} c", "", "a 1 b 2"), None);
    }

    #[test]
    fn it_begins_at_the_start_or_anywhere() {
        let text = b"Error: crun: stat `/a`: No";
        assert_eq!(find("stat `{path}`", text, Begin::Start), None);
        let found = find("stat `{path}`", text, Begin::Anywhere).unwrap();
        assert_eq!(found.get("path"), Some(&b"/a"[..]));
    }
}
