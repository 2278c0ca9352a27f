// SPDX-License-Identifier: Apache-2.0
//! CRIU's configuration files (criu(8), "CONFIGURATION FILES"): which action scripts one names, and the
//! same text with premount's line or without it. All else in it is an administrator's, and stays byte by
//! byte.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Where they are, on every node.
pub const DIRECTORY: &str = "/etc/criu";
/// What CRIU reads whoever calls it.
pub const DEFAULT: &str = "/etc/criu/default.conf";
/// What runc has CRIU read; crun too, where there is no file of its own.
pub const RUNC: &str = "/etc/criu/runc.conf";
/// What crun has CRIU read.
pub const CRUN: &str = "/etc/criu/crun.conf";
/// What CRIU reads as well when root calls it, whose home this is.
pub const OF_ROOT: &str = "/root/.criu/default.conf";
/// Most bytes in such a file.
pub const MAX_SIZE: usize = 1 << 20;

const OPTION: &[u8] = b"action-script";

/// Says above the line what it is.
const COMMENT: &[u8] =
    b"# premount makes mountpoints before a restore. CRIU aborts every dump and restore while it isn't there.\n";
/// And below that, how to take it out, with a command that begins with the program.
const ADVICE: &[u8] = b"# To take it out: ";

/// The action scripts that a file names, in its order.
pub fn action_scripts(text: &[u8]) -> Vec<PathBuf> {
    text.split(|&byte| byte == b'\n')
        .filter_map(action_script)
        .collect()
}

/// Whether a path can stand in such a file, and lead to the program that is put there: CRIU cuts a value at
/// a blank or a `#`, in quotes too.
pub fn can_hold(program: &Path) -> bool {
    let plain: PathBuf = program.components().collect();
    let up = |part| part == Component::ParentDir;
    let text = program.to_str().unwrap_or_default();
    program.is_absolute()
        && plain.as_os_str() == program.as_os_str()
        && !program.components().any(up)
        && program.file_name().is_some()
        && !text.is_empty()
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "#\"\\".contains(c))
}

/// The text with a line for `program`, and above it the `options` with which its uninstall takes it out;
/// none if it has that. The line comes first, so that taking it out again gives back every byte.
pub fn with(text: &[u8], program: &Path, options: &[&OsStr]) -> Option<Vec<u8>> {
    let rest = without_installed(text, program);
    if rest.is_none() && action_scripts(text).iter().any(|script| script == program) {
        return None;
    }
    let advice = [calling(program).as_slice(), &quoted(options), b"\n"].concat();
    let rest = rest.unwrap_or(text);
    let new = [COMMENT, &advice, &line(program), rest].concat();
    (new != text).then_some(new)
}

/// Where in a comment the options of the command begin.
fn calling(program: &Path) -> Vec<u8> {
    let command = quoted(&[program.as_os_str()]);
    [ADVICE.trim_ascii_end(), &command, b" uninstall"].concat()
}

fn line(program: &Path) -> Vec<u8> {
    [OPTION, b" ", program.as_os_str().as_bytes(), b"\n"].concat()
}

/// Words for a shell, each with a blank before it.
fn quoted(words: &[&OsStr]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%=".contains(byte);
    let mut all = Vec::new();
    for word in words.iter().map(|word| word.as_bytes()) {
        all.push(b' ');
        if word.iter().all(plain) {
            all.extend(word);
            continue;
        }
        let parts: Vec<&[u8]> = word.split(|&byte| byte == b'\'').collect();
        all.extend([b"'", parts.join(&b"'\\''"[..]).as_slice(), b"'"].concat());
    }
    all
}

/// The text without what [`with`] added; none if it added nothing.
pub fn without_installed<'a>(text: &'a [u8], program: &Path) -> Option<&'a [u8]> {
    let advised = text
        .strip_prefix(COMMENT)?
        .strip_prefix(calling(program).as_slice())?;
    let end = advised.iter().position(|&byte| byte == b'\n')?;
    advised
        .get(end + 1..)?
        .strip_prefix(line(program).as_slice())
}

/// The text without its lines for `program`, and what [`with`] wrote above them; none if it has none.
pub fn without(text: &[u8], program: &Path) -> Option<Vec<u8>> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut found = false;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        if action_script(bare).is_none_or(|script| script != program) {
            kept.push(line);
            continue;
        }
        found = true;
        if kept
            .last()
            .is_some_and(|above| above.starts_with(&calling(program)))
        {
            kept.pop();
        }
        if kept.last() == Some(&COMMENT) {
            kept.pop();
        }
    }
    found.then(|| kept.concat())
}

/// The action script that a line names, read as CRIU reads it: a word, blanks, a value that may stand in
/// quotes, and a comment; or `word=value`, which its option parser takes apart.
fn action_script(line: &[u8]) -> Option<PathBuf> {
    let line = line.trim_ascii_start();
    let blank = |wanted: u8| line.iter().position(|&byte| byte == wanted);
    let end = blank(b' ').or_else(|| blank(b'\t')).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end)?;
    let value = match word.strip_prefix(OPTION)? {
        b"" => value_of(rest.trim_ascii_start()),
        joined => joined.strip_prefix(b"=")?,
    };
    let path = PathBuf::from(OsStr::from_bytes(value));
    (!value.is_empty()).then_some(path)
}

fn value_of(rest: &[u8]) -> &[u8] {
    let until = |text: &'_ [u8], ends: &[u8]| {
        let end = text.iter().position(|byte| ends.contains(byte));
        end.unwrap_or(text.len())
    };
    let quoted = rest.strip_prefix(b"\"");
    let value = quoted.map_or(rest, |inner| {
        inner.get(..until(inner, b"\"")).unwrap_or_default()
    });
    value.get(..until(value, b"# ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "/usr/libexec/oci/hooks.d/premount";

    fn scripts(text: &str) -> Vec<String> {
        let scripts = action_scripts(text.as_bytes()).into_iter();
        scripts.map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_line_is_read_as_criu_reads_it() {
        for text in [
            "action-script /a",
            "  action-script \t/a",
            "\taction-script   /a # why\n",
            "action-script \"/a\"",
            "action-script=/a",
            "tcp-close\naction-script /a\n",
        ] {
            assert_eq!(scripts(text), ["/a"], "{text:?}");
        }
        for text in [
            "",
            "# action-script /a",
            "action-scripts /a",
            "action-script",
            "action-script # /a",
            // CRIU ends the word at the first blank, and only where there is none at a tab.
            "action-script\t /a",
        ] {
            assert!(scripts(text).is_empty(), "{text:?}");
        }
        assert_eq!(scripts("action-script /a\naction-script /b"), ["/a", "/b"]);
    }

    #[test]
    fn what_an_administrator_wrote_comes_back_byte_by_byte() {
        let program = Path::new(PROGRAM);
        for text in [
            "",
            "tcp-close",
            "# mine\n\nmanage-cgroups=ignore\n",
            "\r\n\r\n",
            "action-script /b",
        ] {
            let with = with(text.as_bytes(), program, &[]).unwrap();
            assert_eq!(super::with(&with, program, &[]), None, "a second time");
            let options = [OsStr::new("--hooks-dir"), OsStr::new("/a b's")];
            let other = super::with(&with, program, &options).unwrap();
            assert_eq!(action_scripts(&other).len(), action_scripts(&with).len());
            let advised =
                format!("\n# To take it out: {PROGRAM} uninstall --hooks-dir '/a b'\\''s'\n");
            assert!(String::from_utf8_lossy(&other).contains(&advised));
            assert_eq!(without(&other, program).unwrap(), text.as_bytes());
            assert_eq!(without_installed(&other, program).unwrap(), text.as_bytes());
            assert!(action_scripts(&with).contains(&program.to_owned()));
            assert_eq!(
                without(&with, program).unwrap(),
                text.as_bytes(),
                "{text:?}"
            );
            assert_eq!(without(text.as_bytes(), program), None);
        }
    }

    #[test]
    fn a_line_that_an_administrator_wrote_is_as_good_and_goes_as_well() {
        let program = Path::new(PROGRAM);
        let text = format!("tcp-close\n  action-script \"{PROGRAM}\" # mine\nverbosity 4");
        assert_eq!(with(text.as_bytes(), program, &[]), None);
        assert_eq!(
            without(text.as_bytes(), program).unwrap(),
            b"tcp-close\nverbosity 4"
        );
    }

    #[test]
    fn a_path_that_criu_would_cut_is_none_for_its_files() {
        assert!(can_hold(Path::new(PROGRAM)));
        for path in [
            "premount", "/a b", "/a#b", "/a\"b", "/a\\b", "/a\nb", "/a\tb",
        ] {
            assert!(!can_hold(Path::new(path)), "{path:?}");
        }
        assert!(!can_hold(Path::new(std::ffi::OsStr::from_bytes(
            b"/a/\xff"
        ))));
    }
}
