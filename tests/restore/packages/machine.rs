// SPDX-License-Identifier: Apache-2.0
//! The machine that packages are installed on: the README's commands, what they change, and whether CRIU is
//! told of premount.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::enter::NEXT_PACKAGES;

const README: &str = include_str!("../../../README.md");

/// The line that tells CRIU of premount.
const LINE: &str = "action-script /usr/libexec/oci/hooks.d/premount";

/// The commands of the README below the paragraph that begins with `**heading`: those that install, and
/// the last one, which removes.
pub fn readme(heading: &str) -> (Vec<&'static str>, &'static str) {
    let start = README.find(&format!("**{heading}")).expect("the heading");
    let block = README[start..]
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.starts_with("    "));
    let mut commands: Vec<&str> = block.map(str::trim_start).collect();
    let last = commands.pop().expect("a command that removes it");
    (commands, last)
}

/// Runs a command line in the directory / (the packages have the same path there as here).
pub fn shell(line: &str) -> Result<String, String> {
    let output = Command::new("/bin/sh")
        .args(["-c", line])
        .current_dir("/")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("{line}: {}: {said}", output.status))
}

pub fn succeeds(line: &str) -> String {
    shell(line).unwrap_or_else(|said| panic!("{said}"))
}

/// Tells rpm's database, which knows nothing of Debian's packages, of the shell that is there.
pub fn prepare_rpm() {
    succeeds(&format!("rpm -i {NEXT_PACKAGES}/shell.rpm"));
}

/// The files that CRIU may read, and what is in them.
pub fn criu_files() -> BTreeMap<PathBuf, String> {
    let entries = fs::read_dir("/etc/criu").into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

pub fn names_premount() -> bool {
    let lines = |text: &String| text.lines().any(|line| line == LINE);
    criu_files().values().any(lines)
}

/// All of /etc and /usr: the content of what is small, the size and the time of what is large.
pub fn listing() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![PathBuf::from("/etc"), PathBuf::from("/usr")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let what = if metadata.is_dir() {
                directories.push(path.clone());
                String::from("directory")
            } else if metadata.is_symlink() {
                format!("to {}", fs::read_link(&path).unwrap().display())
            } else if path.starts_with("/etc") {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            } else {
                format!("{} {}", metadata.len(), metadata.mtime())
            };
            let mode = metadata.permissions().mode();
            let whose = format!("{mode:o} {} {} {what}", metadata.uid(), metadata.gid());
            found.insert(path, whose);
        }
    }
    found
}

/// Directories that belong to all who put something into them: the rpm leaves them, which are of the
/// distribution's own packages where rpm is at home.
pub const SHARED: [&str; 4] = [
    "/usr/share/containers/oci",
    "/usr/share/containers/oci/hooks.d",
    "/usr/share/licenses",
    "/usr/share/zsh/site-functions",
];

/// The machine is as it was, but for such directories, which are empty.
pub fn assert_same(before: &BTreeMap<PathBuf, String>, left: &[&str]) {
    for directory in left.iter().map(Path::new).rev() {
        if !before.contains_key(directory) {
            fs::remove_dir(directory).unwrap();
        }
    }
    let after = listing();
    let gone_or_new = before
        .iter()
        .filter(|(path, what)| after.get(*path) != Some(*what));
    let new = after.iter().filter(|(path, _)| !before.contains_key(*path));
    let changed: Vec<_> = gone_or_new.chain(new).collect();
    assert!(changed.is_empty(), "{changed:?}");
}
