// SPDX-License-Identifier: Apache-2.0
//! CRIU's configuration files (criu(8), "CONFIGURATION FILES"): finds the action scripts in one, adds
//! premount's line and removes it. Everything else in the file is the administrator's and is preserved byte
//! for byte.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The directory of the configuration files.
pub const DIRECTORY: &str = "/etc/criu";
/// Read by CRIU for every caller.
pub const DEFAULT: &str = "/etc/criu/default.conf";
/// Read by CRIU for runc, and for crun if [`CRUN`] does not exist.
pub const RUNC: &str = "/etc/criu/runc.conf";
/// Read by CRIU for crun.
pub const CRUN: &str = "/etc/criu/crun.conf";
/// Also read by CRIU when root, whose home this is, calls it.
pub const ROOT_DEFAULT: &str = "/root/.criu/default.conf";
/// Maximum size of such a file, in bytes.
pub const MAX_SIZE: usize = 1 << 20;

const OPTION: &[u8] = b"action-script";

/// The comment above the line: what the line is for.
const COMMENT: &[u8] =
    b"# premount creates mountpoints before a restore. If it is missing, CRIU aborts every dump and restore.\n";
/// The second comment line: the command that removes premount, starting with the program's path.
const ADVICE: &[u8] = b"# To remove it: ";
/// Further comment lines: the directories that premount made, which it removes again.
const MADE: &[u8] = b"# premount made the directory ";

/// The action scripts that a file names, in order.
pub fn action_scripts(text: &[u8]) -> Vec<PathBuf> {
    text.split(|&byte| byte == b'\n')
        .filter_map(action_script)
        .collect()
}

/// Whether a file has an option, with its value if that follows a `=`.
pub fn has_option(text: &[u8], option: &str) -> bool {
    let mut lines = text.split(|&byte| byte == b'\n');
    lines.any(|line| {
        let mut words = line.trim_ascii().split(|byte| b" \t#".contains(byte));
        words.next() == Some(option.as_bytes())
    })
}

/// Whether such a file can name this path: CRIU cuts a value at a blank or a `#`, even inside quotes. It must
/// also be normalized, so that it leads to the installed program.
pub fn accepts_path(program: &Path) -> bool {
    let normalized: PathBuf = program.components().collect();
    let is_parent = |part| part == Component::ParentDir;
    let text = program.to_str().unwrap_or_default();
    program.is_absolute()
        && normalized.as_os_str() == program.as_os_str()
        && !program.components().any(is_parent)
        && program.file_name().is_some()
        && !text.is_empty()
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "#\"\\".contains(c))
}

/// Adds a line for `program` below a comment with the command, including `options`, that removes it, and with
/// the directories that premount `made`. Returns `None` if the text needs no change. The line goes first, so
/// that removing it restores every byte.
pub fn add_action_script(
    text: &[u8],
    program: &Path,
    options: &[&OsStr],
    made: &[PathBuf],
) -> Option<Vec<u8>> {
    let rest = match strip_installed(text, program) {
        Some(rest) => rest.to_owned(),
        None if action_scripts(text).iter().any(|script| script == program) => return None,
        // A line that an editor gave a carriage return: CRIU takes it for a part of the name.
        None => remove_action_script(text, program).unwrap_or_else(|| text.to_owned()),
    };
    let mut new = [
        COMMENT,
        advice_prefix(program).as_slice(),
        &shell_quoted(options),
        b"\n",
    ]
    .concat();
    for directory in made {
        new.extend([MADE, directory.as_os_str().as_bytes(), b"\n"].concat());
    }
    new.extend(script_line(program));
    new.extend(rest);
    (new != text).then_some(new)
}

/// The advice up to where the command's options begin.
fn advice_prefix(program: &Path) -> Vec<u8> {
    let command = shell_quoted(&[program.as_os_str()]);
    [ADVICE.trim_ascii_end(), &command, b" uninstall"].concat()
}

fn script_line(program: &Path) -> Vec<u8> {
    [OPTION, b" ", program.as_os_str().as_bytes(), b"\n"].concat()
}

/// Words quoted for a shell, each preceded by a blank.
fn shell_quoted(words: &[&OsStr]) -> Vec<u8> {
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

/// The text without what [`add_action_script`] added; `None` if it added nothing.
pub fn strip_installed<'a>(text: &'a [u8], program: &Path) -> Option<&'a [u8]> {
    let advised = text
        .strip_prefix(COMMENT)?
        .strip_prefix(advice_prefix(program).as_slice())?;
    let mut rest = after_line(advised)?;
    while let Some(made) = rest.strip_prefix(MADE) {
        rest = after_line(made)?;
    }
    rest.strip_prefix(script_line(program).as_slice())
}

fn after_line(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|&byte| byte == b'\n')?;
    text.get(end + 1..)
}

/// The text without its lines for `program` and the comments that [`add_action_script`] wrote above them;
/// `None` if there are none.
pub fn remove_action_script(text: &[u8], program: &Path) -> Option<Vec<u8>> {
    Some(taken_out(text, program)?.0)
}

/// The directories that premount made, according to the comments above its lines.
pub fn made_directories(text: &[u8], program: &Path) -> Vec<PathBuf> {
    taken_out(text, program).unwrap_or_default().1
}

/// The text without premount's lines, and the directories that they record. The lines are premount's also
/// with a carriage return at their ends.
fn taken_out(text: &[u8], program: &Path) -> Option<(Vec<u8>, Vec<PathBuf>)> {
    let bare = |line: &[u8]| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line).to_owned()
    };
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut made = Vec::new();
    let mut found = false;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if action_script(&bare(line)).is_none_or(|script| script != program) {
            kept.push(line);
            continue;
        }
        found = true;
        while let Some(directory) = kept.last().map(|above| bare(above)) {
            let Some(directory) = directory.strip_prefix(MADE) else {
                break;
            };
            made.push(PathBuf::from(OsStr::from_bytes(directory)));
            kept.pop();
        }
        if kept
            .last()
            .is_some_and(|above| above.starts_with(&advice_prefix(program)))
        {
            kept.pop();
        }
        if kept
            .last()
            .is_some_and(|above| bare(above) == bare(COMMENT))
        {
            kept.pop();
        }
    }
    found.then(|| (kept.concat(), made))
}

/// The action script that a line names, parsed as CRIU does: a word, blanks, a value that may be quoted, and
/// a comment; or `word=value`, which CRIU's option parser splits.
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
    fn a_line_is_parsed_as_criu_parses_it() {
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
            // CRIU ends the word at the first space, or at a tab only if the line has no space.
            "action-script\t /a",
        ] {
            assert!(scripts(text).is_empty(), "{text:?}");
        }
        assert_eq!(scripts("action-script /a\naction-script /b"), ["/a", "/b"]);
    }

    #[test]
    fn the_administrators_text_is_restored_byte_for_byte() {
        let program = Path::new(PROGRAM);
        for text in [
            "",
            "tcp-close",
            "# mine\n\nmanage-cgroups=ignore\n",
            "\r\n\r\n",
            "action-script /b",
        ] {
            let with = add_action_script(text.as_bytes(), program, &[], &[]).unwrap();
            assert_eq!(
                add_action_script(&with, program, &[], &[]),
                None,
                "a second time"
            );
            let options = [OsStr::new("--hooks-dir"), OsStr::new("/a b's")];
            let made = [PathBuf::from("/a b's"), PathBuf::from("/etc/criu")];
            let other = add_action_script(&with, program, &options, &made).unwrap();
            assert_eq!(action_scripts(&other).len(), action_scripts(&with).len());
            let advised =
                format!("\n# To remove it: {PROGRAM} uninstall --hooks-dir '/a b'\\''s'\n");
            assert!(String::from_utf8_lossy(&other).contains(&advised));
            assert_eq!(
                remove_action_script(&other, program).unwrap(),
                text.as_bytes()
            );
            assert_eq!(strip_installed(&other, program).unwrap(), text.as_bytes());
            let recorded: Vec<PathBuf> = made_directories(&other, program);
            assert!(made.iter().all(|it| recorded.contains(it)), "{recorded:?}");
            assert!(made_directories(&with, program).is_empty());
            assert!(action_scripts(&with).contains(&program.to_owned()));
            assert_eq!(
                remove_action_script(&with, program).unwrap(),
                text.as_bytes(),
                "{text:?}"
            );
            assert_eq!(remove_action_script(text.as_bytes(), program), None);
        }
    }

    #[test]
    fn a_line_that_the_administrator_wrote_is_kept_and_later_removed() {
        let program = Path::new(PROGRAM);
        let text = format!("tcp-close\n  action-script \"{PROGRAM}\" # mine\nverbosity 4");
        assert_eq!(add_action_script(text.as_bytes(), program, &[], &[]), None);
        assert_eq!(
            remove_action_script(text.as_bytes(), program).unwrap(),
            b"tcp-close\nverbosity 4"
        );
    }

    #[test]
    fn an_option_is_the_first_word_of_a_line() {
        let has = |text: &str| has_option(text.as_bytes(), "tcp-close");
        for text in [
            "tcp-close",
            "a b\n  tcp-close # why",
            "\ttcp-close\t",
            "tcp-close#",
        ] {
            assert!(has(text), "{text:?}");
        }
        for text in ["", "# tcp-close", "tcp-closed", "no tcp-close", "tcp"] {
            assert!(!has(text), "{text:?}");
        }
        let ignored = b"manage-cgroups=ignore\n";
        assert!(has_option(ignored, "manage-cgroups=ignore"));
        assert!(!has_option(ignored, "manage-cgroups"));
    }

    #[test]
    fn a_path_that_criu_would_truncate_is_rejected() {
        assert!(accepts_path(Path::new(PROGRAM)));
        for path in [
            "premount", "/a b", "/a#b", "/a\"b", "/a\\b", "/a\nb", "/a\tb",
        ] {
            assert!(!accepts_path(Path::new(path)), "{path:?}");
        }
        assert!(!accepts_path(Path::new(std::ffi::OsStr::from_bytes(
            b"/a/\xff"
        ))));
    }
}
