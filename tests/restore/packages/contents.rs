// SPDX-License-Identifier: Apache-2.0
//! What is in the packages: the order of their files, their checksums, the man page and the completions.

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

pub fn documents() {
    succeeds(&format!("dpkg -i {PACKAGES}/premount_*.deb"));
    let page = "/usr/share/man/man8/premount.8.gz";
    assert_eq!(succeeds(&format!("mandoc -T lint -W warning {page}")), "");
    let text = succeeds(&format!("mandoc -T ascii {page} | sed 's/.\x08//g'"));
    let help = succeeds("premount --help");
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.contains(&"install"), "{help}");
    let completions = "/usr/share/bash-completion/completions/premount";
    let words = |line: &str| {
        succeeds(&format!(
            "bash -c 'source {completions}; COMP_WORDS=({line} \"\"); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); \
             _premount premount \"\" x; echo ${{COMPREPLY[@]}}'"
        ))
    };
    for command in commands {
        assert!(text.contains(&format!("premount {command}\n")), "{command}");
        assert!(words("premount").contains(command), "{command}");
        let help = succeeds(&format!("premount {command} --help"));
        let options = help
            .split_whitespace()
            .filter(|word| word.starts_with("--"));
        for option in options.filter(|word| !word.contains('=')) {
            let option = option.trim_end_matches([',', '.', ';', ':', ')']);
            assert!(text.contains(option), "{command} {option}: {text}");
            assert!(
                words(&format!("premount {command}")).contains(option),
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
