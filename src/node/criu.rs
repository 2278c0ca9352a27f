// SPDX-License-Identifier: Apache-2.0
//! CRIU's configuration files (criu(8), "CONFIGURATION FILES"): which action scripts one names, and the
//! same text with premount's line or without it. All else in it is an administrator's, and stays byte by
//! byte.

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
const COMMENT: &str = "# premount makes mountpoints before a restore. To take it out: premount uninstall. CRIU aborts\n\
                       # every dump and every restore whose script isn't there.\n";

/// The action scripts that a file names, in its order.
pub fn action_scripts(text: &[u8]) -> Vec<PathBuf> {
    text.split(|&byte| byte == b'\n')
        .filter_map(action_script)
        .collect()
}

/// Whether a file has any statement but comments.
pub fn says_anything(text: &[u8]) -> bool {
    text.split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii_start)
        .any(|line| !line.is_empty() && !line.starts_with(b"#"))
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

/// The text with a line for `program`; none if it has one. It comes first, so that taking it out again
/// gives back every byte.
pub fn with(text: &[u8], program: &Path) -> Option<Vec<u8>> {
    if action_scripts(text).iter().any(|script| script == program) {
        return None;
    }
    let mut new = installed(program);
    new.extend(text);
    Some(new)
}

/// The lines that [`with`] adds.
fn installed(program: &Path) -> Vec<u8> {
    let program = program.as_os_str().as_bytes();
    [COMMENT.as_bytes(), OPTION, b" ", program, b"\n"].concat()
}

/// The text without what [`with`] added; none if it added nothing.
pub fn without_installed(text: &[u8], program: &Path) -> Option<Vec<u8>> {
    text.strip_prefix(installed(program).as_slice())
        .map(<[u8]>::to_vec)
}

/// The text without its lines for `program`; none if it has none.
pub fn without(text: &[u8], program: &Path) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    let is_ours = |line: &[u8]| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        action_script(line).is_some_and(|script| script == program)
    };
    if !lines.iter().any(|line| is_ours(line)) {
        return None;
    }
    let comment: Vec<&[u8]> = COMMENT
        .as_bytes()
        .split_inclusive(|&byte| byte == b'\n')
        .collect();
    let kept = lines
        .into_iter()
        .filter(|line| !is_ours(line) && !comment.contains(line));
    Some(kept.collect::<Vec<_>>().concat())
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
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(value));
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
            let with = with(text.as_bytes(), program).unwrap();
            assert_eq!(super::with(&with, program), None, "a second time");
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
        assert_eq!(with(text.as_bytes(), program), None);
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
