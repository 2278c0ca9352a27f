// SPDX-License-Identifier: Apache-2.0
//! Checks the syntax of regular expressions as Go's regexp does. Engines compile the patterns in hooks with
//! it, and an invalid pattern keeps them from starting. Does not match anything, and accepts any name in
//! `\p{NAME}`.

use std::str::Chars;

/// Maximum repeat count, multiplied over nested repetitions.
const MAX_REPEAT: u32 = 1000;
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// An error, in Go's words.
type SyntaxError = &'static str;

const NO_ARGUMENT: SyntaxError = "missing argument to repetition operator";
const NESTED_REPEAT: SyntaxError = "invalid nested repetition operator";
const REPEAT_COUNT: SyntaxError = "invalid repeat count";
const UNEXPECTED_PARENTHESIS: SyntaxError = "unexpected )";
const MISSING_PARENTHESIS: SyntaxError = "missing closing )";
const MISSING_BRACKET: SyntaxError = "missing closing ]";
const CLASS_RANGE: SyntaxError = "invalid character class range";
const ESCAPE: SyntaxError = "invalid escape sequence";
const TRAILING_BACKSLASH: SyntaxError = "trailing backslash at end of expression";
const PERL: SyntaxError = "invalid or unsupported Perl syntax";
const NAMED_CAPTURE: SyntaxError = "invalid named capture";

/// A group, as far as it has been parsed.
#[derive(Default)]
struct Group {
    /// The repeat count of the last part, including nested repetitions; `None` if there is nothing to repeat.
    last: Option<u32>,
    /// The highest repeat count of any part.
    most: u32,
}

impl Group {
    fn push(&mut self, repeated: u32) {
        self.last = Some(repeated);
        self.most = self.most.max(repeated);
    }
}

/// Checks a pattern.
///
/// # Errors
///
/// The error that Go reports.
pub fn check(pattern: &str) -> Result<(), SyntaxError> {
    let mut chars = pattern.chars();
    let mut group = Group::default();
    let mut outer: Vec<Group> = Vec::new();
    let mut after_repeat = false;
    while let Some(c) = chars.next() {
        let repeat = match c {
            '*' | '+' | '?' => Some(1),
            '{' => repeat_count(&mut chars)?,
            _ => None,
        };
        if let Some(times) = repeat {
            // Non-greedy.
            let _ = take(&mut chars, "?");
            if after_repeat {
                return Err(NESTED_REPEAT);
            }
            let all = group.last.ok_or(NO_ARGUMENT)?.saturating_mul(times.max(1));
            if times > 1 && all > MAX_REPEAT {
                return Err(REPEAT_COUNT);
            }
            group.push(all);
            after_repeat = true;
            continue;
        }
        after_repeat = false;
        match c {
            '(' if !take(&mut chars, "?") || opens_group(&mut chars)? => {
                outer.push(std::mem::take(&mut group));
            }
            // Flags for the rest of the group, as in `(?i)`.
            '(' => {}
            ')' => {
                let most = group.most.max(1);
                group = outer.pop().ok_or(UNEXPECTED_PARENTHESIS)?;
                group.push(most);
            }
            '|' => group.last = None,
            '[' => {
                class(&mut chars)?;
                group.push(1);
            }
            '\\' if take(&mut chars, "Q") => {
                let quoted = chars.as_str().split("\\E").next().unwrap_or_default();
                let (is_empty, length) = (quoted.is_empty(), quoted.len());
                let rest = chars.as_str().get(length..).unwrap_or_default();
                chars = rest.strip_prefix("\\E").unwrap_or(rest).chars();
                if !is_empty {
                    group.push(1);
                }
            }
            '\\' => {
                if !["A", "b", "B", "z"]
                    .iter()
                    .any(|word| take(&mut chars, word))
                    && !class_escape(&mut chars)?
                {
                    escape(&mut chars)?;
                }
                group.push(1);
            }
            _ => group.push(1),
        }
    }
    if outer.is_empty() {
        Ok(())
    } else {
        Err(MISSING_PARENTHESIS)
    }
}

fn take(chars: &mut Chars, word: &str) -> bool {
    let rest = chars.as_str().strip_prefix(word).map(str::chars);
    let taken = rest.is_some();
    *chars = rest.unwrap_or_else(|| chars.clone());
    taken
}

/// Parses the rest of a count such as `{2,3}` after its brace, and returns the maximum; `None` if the brace
/// is a literal.
fn repeat_count(chars: &mut Chars) -> Result<Option<u32>, SyntaxError> {
    let Some((inner, rest)) = chars.as_str().split_once('}') else {
        return Ok(None);
    };
    let (least, most) = inner.split_once(',').unwrap_or((inner, inner));
    let is_number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0'))
    };
    if least.is_empty() || !is_number(least) || !(most.is_empty() || is_number(most)) {
        return Ok(None);
    }
    let number = |text: &str| text.parse().unwrap_or(u32::MAX);
    let least = number(least);
    let most = if most.is_empty() { least } else { number(most) };
    if least > most || most > MAX_REPEAT {
        return Err(REPEAT_COUNT);
    }
    *chars = rest.chars();
    Ok(Some(most))
}

/// Parses what follows `(?`; returns whether it opens a group, rather than only sets flags.
fn opens_group(chars: &mut Chars) -> Result<bool, SyntaxError> {
    if take(chars, "P<") || take(chars, "<") {
        let (name, rest) = chars.as_str().split_once('>').ok_or(NAMED_CAPTURE)?;
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_word) {
            return Err(NAMED_CAPTURE);
        }
        *chars = rest.chars();
        return Ok(true);
    }
    let (mut negative, mut flag) = (false, false);
    loop {
        match chars.next() {
            Some('i' | 'm' | 's' | 'U') => flag = true,
            Some('-') if !negative => (negative, flag) = (true, false),
            Some(end @ (':' | ')')) if flag || !negative => return Ok(end == ':'),
            _ => return Err(PERL),
        }
    }
}

/// Parses what follows `[`.
fn class(chars: &mut Chars) -> Result<(), SyntaxError> {
    let _ = take(chars, "^");
    let mut first = true;
    while first || !take(chars, "]") {
        first = false;
        if let Some((name, rest)) = chars
            .as_str()
            .strip_prefix("[:")
            .and_then(|rest| rest.split_once(":]"))
        {
            if !POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
                return Err(CLASS_RANGE);
            }
            *chars = rest.chars();
            continue;
        }
        let mut ahead = chars.clone();
        if take(&mut ahead, "\\") && class_escape(&mut ahead)? {
            *chars = ahead;
            continue;
        }
        let low = class_char(chars)?;
        let rest = chars.as_str();
        if rest.len() > 1 && rest.starts_with('-') && !rest.starts_with("-]") {
            let _ = take(chars, "-");
            if class_char(chars)? < low {
                return Err(CLASS_RANGE);
            }
        }
    }
    Ok(())
}

fn class_char(chars: &mut Chars) -> Result<u32, SyntaxError> {
    match chars.next().ok_or(MISSING_BRACKET)? {
        '\\' => escape(chars),
        c => Ok(u32::from(c)),
    }
}

/// Parses what follows a backslash if it stands for a class of characters; returns whether it does.
fn class_escape(chars: &mut Chars) -> Result<bool, SyntaxError> {
    if ["d", "D", "s", "S", "w", "W"]
        .iter()
        .any(|word| take(chars, word))
    {
        return Ok(true);
    }
    if !take(chars, "p") && !take(chars, "P") {
        return Ok(false);
    }
    if !take(chars, "{") {
        let category = chars.next().ok_or(CLASS_RANGE)?;
        return "CLMNPSZ"
            .contains(category)
            .then_some(true)
            .ok_or(CLASS_RANGE);
    }
    let (name, rest) = chars.as_str().split_once('}').ok_or(CLASS_RANGE)?;
    let name = name.strip_prefix('^').unwrap_or(name);
    *chars = rest.chars();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = !name.is_empty() && name.bytes().all(is_word);
    is_name.then_some(true).ok_or(CLASS_RANGE)
}

/// Parses what follows a backslash; returns the character that it stands for.
fn escape(chars: &mut Chars) -> Result<u32, SyntaxError> {
    let octal = |chars: &Chars| chars.clone().next().and_then(|c| c.to_digit(8));
    match chars.next().ok_or(TRAILING_BACKSLASH)? {
        // A single digit would be a backreference, which Go does not support.
        '1'..='7' if octal(chars).is_none() => Err(ESCAPE),
        c @ '0'..='7' => {
            let mut value = c.to_digit(8).unwrap_or_default();
            for _ in 0..2 {
                if let Some(digit) = octal(chars) {
                    value = value * 8 + digit;
                    chars.next();
                }
            }
            Ok(value)
        }
        'x' if take(chars, "{") => {
            let (digits, rest) = chars.as_str().split_once('}').ok_or(ESCAPE)?;
            *chars = rest.chars();
            hexadecimal(digits)
        }
        'x' => {
            let digits = chars.as_str().get(..2).ok_or(ESCAPE)?;
            *chars = chars.as_str().get(2..).unwrap_or_default().chars();
            hexadecimal(digits)
        }
        'a' => Ok(7),
        't' => Ok(9),
        'n' => Ok(10),
        'v' => Ok(11),
        'f' => Ok(12),
        'r' => Ok(13),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(u32::from(c)),
        _ => Err(ESCAPE),
    }
}

fn hexadecimal(digits: &str) -> Result<u32, SyntaxError> {
    let are_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let value = u32::from_str_radix(digits, 16).unwrap_or(u32::MAX);
    if are_digits && value <= u32::from(char::MAX) {
        Ok(value)
    } else {
        Err(ESCAPE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Podman 5.4.2 rejected each of them in a hook.
    #[test]
    fn patterns_that_engines_reject_are_rejected() {
        for (fault, patterns) in [
            (MISSING_PARENTHESIS, r"( (?:"),
            (UNEXPECTED_PARENTHESIS, r") a) \Q(\E)"),
            (MISSING_BRACKET, r"[ [a [[:x [a\] [] [^]"),
            (NESTED_REPEAT, r"a** a*+ a*?? a{2}{3} x{2}* x{2}?? a**?"),
            (NO_ARGUMENT, r"* +a ? a|* (*) (?i)* {2} \Q\E* |*"),
            (PERL, r"(?=a) (?!a) (?x)a (?-)a (?i-)a (?i (?i-i-i)a"),
            (NAMED_CAPTURE, r"(?P<>a) (?<n (?<=a)"),
            (
                REPEAT_COUNT,
                r"a{2,1} a{1001} (a{500}){500} (((a{100}){100}){10}) a{99999999999}",
            ),
            (TRAILING_BACKSLASH, r"\"),
            (
                ESCAPE,
                r"\1 \8 \C \Z \G \x4 \x{110000} \x{ \é \y [\q] [a-\d] [\Q] \x{} [\1] [\b]",
            ),
            (CLASS_RANGE, r"\p \p{ [z-a] [[:nope:]] [a--]"),
        ] {
            for pattern in patterns.split(' ') {
                assert_eq!(check(pattern), Err(fault), "{pattern}");
            }
        }
    }

    #[test]
    fn patterns_that_engines_accept_are_accepted() {
        let patterns = [
            r"a*? ^* a(?i)* (?<n>a) (?P<n>a) (?P<1>a) (?P<n>a)(?P<n>b) (?i:a) (?i-s)a (?)a a{2} a{1000}",
            r"a{,2} a{ a{2}? a{x} \d \0 \Q( \Q \z \x41 \x{41} \pL \p{Greek} \_ []a] [^]a] [[:alpha:]]",
            r"[\d-z] [a-] \b \A \a \/ \- a||b () (?U)a (?ii)a [a-z-9] [\pN] [[:^alpha:]] $* \b* (?:a*)*",
            r"a{0} a{01} a{1,} a{00000000001} a\Q\E* a{1}{ \p{^Greek} \pLl \P{L} \07 \777 \400 [\a]",
            r"[--a] [&&] [~~]",
        ].join(" ");
        for pattern in patterns.split(' ') {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
        assert_eq!(check(""), Ok(()));
    }
}
