// SPDX-License-Identifier: Apache-2.0
//! What is in the packages: the order of their files, their checksums, the man page and the completions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::HOOK;
use super::machine::succeeds;
use crate::enter::{PACKAGES, PREMOUNT};

/// dpkg and rpm put files in place in this order, and remove them in the reverse one: CRI-O, started in
/// between, must not find the hook without the program.
pub fn order() {
    for list in [
        format!("dpkg-deb --fsys-tarfile {PACKAGES}/premount_*.deb | tar -t"),
        format!("rpm -qpl {PACKAGES}/premount-*.rpm"),
    ] {
        let files = succeeds(&list);
        let place = |path: &str| {
            let is_it = |line: &str| line.trim_start_matches('.') == path;
            files.lines().position(is_it).expect("the file")
        };
        assert!(place(PREMOUNT) < place(HOOK), "{list}: {files}");
    }
}

pub fn checksums() {
    let said = succeeds(&format!("cd {PACKAGES} && sha256sum -c SHA256SUMS"));
    assert_eq!(said.matches(": OK").count(), 4, "{said}");
    let shipped = succeeds(&format!("tar -tf {PACKAGES}/*.tar.gz"));
    for file in [
        "premount",
        "premount.8",
        "premount.bash",
        "_premount",
        "premount.fish",
        "hooks.d/premount.json",
        "criu/runc.conf",
        "LICENSE",
        "README.md",
    ] {
        let name = format!("/{file}\n");
        assert!(shipped.contains(&name), "{file}: {shipped}");
    }
}

/// Each command of the installed premount, and its options, as it names them itself.
fn commands() -> BTreeMap<String, BTreeSet<String>> {
    let help = succeeds("premount --help");
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    let commands = names.map(|name| {
        let help = succeeds(&format!("premount {name} --help"));
        let options = help
            .split_whitespace()
            .filter(|word| word.starts_with("--") && !word.contains('='))
            .map(|word| word.trim_end_matches([',', '.', ';', ':', ')']).to_owned());
        (name.to_owned(), options.collect())
    });
    let commands: BTreeMap<String, BTreeSet<String>> = commands.collect();
    assert!(commands["install"].contains("--dry-run"), "{commands:?}");
    commands
}

/// What a shell offers to a user who has typed a line.
type Ask = fn(&str) -> String;
/// The shells that are asked, and how.
const SHELLS: [(&str, Ask); 2] = [
    ("fish", |line| {
        succeeds(&format!(
            "fish --command \"complete --do-complete '{line}'\""
        ))
    }),
    ("zsh", |line| {
        succeeds(&format!("zsh -f /w/completions.zsh '{line}'"))
    }),
];

/// These shells find the completions by themselves where the package puts them. (bash: `documents`.)
pub fn completions() {
    fs::create_dir_all("/w").unwrap();
    fs::write("/w/completions.zsh", include_str!("../../completions.zsh")).unwrap();
    let offers = |said: &str, word: &str| said.split_whitespace().any(|offered| offered == word);
    for (shell, ask) in SHELLS {
        let said = ask("premount ");
        assert!(
            !offers(&said, "install"),
            "{shell}, without the package: {said}"
        );
    }
    succeeds(&format!("dpkg -i {PACKAGES}/premount_*.deb"));
    let commands = commands();
    for (shell, ask) in SHELLS {
        let said = ask("premount ");
        for (command, options) in &commands {
            assert!(offers(&said, command), "{shell}: {command}: {said}");
            let said = ask(&format!("premount {command} --"));
            for option in options {
                assert!(offers(&said, option), "{shell}: {option}: {said}");
            }
        }
    }
}

/// lintian finds no error but those that packaging/deb/lintian-overrides gives a reason for.
pub fn lintian() {
    let lintian =
        format!("lintian --allow-root --no-cfg --fail-on error {PACKAGES}/premount_*.deb");
    let said = succeeds(&lintian);
    assert!(!said.contains("E:") && !said.contains("override"), "{said}");
}

pub fn documents() {
    succeeds(&format!("dpkg -i {PACKAGES}/premount_*.deb"));
    let page = "/usr/share/man/man8/premount.8.gz";
    assert_eq!(succeeds(&format!("mandoc -T lint -W warning {page}")), "");
    let text = succeeds(&format!("mandoc -T ascii {page} | sed 's/.\x08//g'"));
    let completions = "/usr/share/bash-completion/completions/premount";
    let words = |line: &str| {
        succeeds(&format!(
            "bash -c 'source {completions}; COMP_WORDS=({line} \"\"); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); \
             _premount premount \"\" x; echo ${{COMPREPLY[@]}}'"
        ))
    };
    for (command, options) in commands() {
        assert!(text.contains(&format!("premount {command}\n")), "{command}");
        assert!(words("premount").contains(&command), "{command}");
        for option in options {
            assert!(text.contains(&option), "{command} {option}: {text}");
            assert!(
                words(&format!("premount {command}")).contains(&option),
                "{command} {option}"
            );
        }
    }
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "COMMANDS",
        "EXIT STATUS",
        "ENVIRONMENT",
        "FILES",
        "EXAMPLES",
        "BUGS",
        "SEE ALSO",
    ] {
        assert!(text.contains(&format!("\n{section}\n")), "{section}");
    }
}
