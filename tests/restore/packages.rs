// SPDX-License-Identifier: Apache-2.0
//! The packages, as an administrator installs them, with the README's own lines: a machine goes from
//! nothing to a restored container, and back to nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::Test;
use crate::enter::{NEXT_PACKAGES, PACKAGES, PREMOUNT, Root};
use crate::world::{Runtime, SOURCES, Trigger, World};

/// The hook, where the packages put it.
pub const HOOK: &str = "/usr/share/containers/oci/hooks.d/premount.json";
const README: &str = include_str!("../../README.md");
/// The line that tells CRIU of premount.
const LINE: &str = "action-script /usr/libexec/oci/hooks.d/premount";
/// The administrator's own lines.
const OWN: &str = "# mine\nmanage-cgroups=ignore\n";

/// The tests of the packages.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (root, runtime) in [
        (Root::Debian13, Runtime::Runc),
        (Root::Debian13, Runtime::Crun),
        (Root::Sid, Runtime::Runc),
        (Root::Sid, Runtime::Crun),
    ] {
        for (kind, heading, left) in [
            ("deb", "Debian and Ubuntu", &[][..]),
            ("rpm", "Fedora", &SHARED[2..]),
            ("tarball", "Any other Linux", &SHARED[..4]),
        ] {
            let name = format!(
                "packages::{}::{kind}::from_nothing_to_a_restored_container_and_back",
                runtime.name()
            );
            tests.push(Test::of_packages(root, &name, move || {
                there_and_back(heading, World::new(root, runtime), left);
            }));
        }
    }
    let more: [(&str, fn()); 8] = [
        ("the_program_comes_first_and_goes_last", order),
        ("deb::leaves_nothing_on_a_bare_machine", bare),
        ("deb::an_upgrade_keeps_the_lines", deb_upgrade),
        ("deb::a_change_of_crun_or_criu_looks_again", deb_trigger),
        ("deb::a_removal_that_is_given_up_is_undone", deb_abort),
        ("rpm::an_upgrade_keeps_the_lines", rpm_upgrade),
        ("the_checksums_are_those_of_the_packages", checksums),
        ("the_page_and_the_completions_are_sound", documents),
    ];
    for (name, body) in more {
        let name = format!("packages::{name}");
        tests.push(Test::of_packages(Root::Debian13, &name, body));
    }
    tests
}

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

fn there_and_back(heading: &str, mut world: World, left: &[&str]) {
    let (install, remove) = readme(heading);
    prepare_rpm();
    let volume = Path::new(SOURCES).join("volume");
    let nested = Path::new(SOURCES).join("nested");
    let renew = || {
        fs::remove_dir_all(SOURCES).unwrap();
        fs::create_dir_all(&volume).unwrap();
        fs::create_dir_all(&nested).unwrap();
    };
    renew();
    let mounts = vec![
        json!({"destination": "/a", "type": "tmpfs", "source": "tmpfs"}),
        json!({"destination": "/a/b", "type": "bind", "source": volume, "options": ["bind"]}),
        json!({"destination": "/a/b/c", "type": "bind", "source": nested, "options": ["bind"]}),
    ];
    world.set_mounts(mounts);
    world.write_config(Trigger::None);
    fs::write(world.criu_config(), OWN).unwrap();
    let before = listing();

    world.start();
    let counted = world.checkpoint();
    let fails = |when: &str| {
        renew();
        let log = world.restore().expect_err(when);
        assert!(log.contains("Can't stat mountpoint"), "{when}: {log}");
        world.delete();
    };
    fails("the restore before the installation");

    for command in install {
        succeeds(command);
    }
    let config = fs::read_to_string(world.criu_config()).unwrap();
    assert!(config.ends_with(OWN), "{config}");
    renew();
    let restored = world.restore();
    restored.unwrap_or_else(|said| panic!("the restore with the package: {said}"));
    World::wait_for_count(counted);
    assert!(volume.join("c").is_dir());
    world.delete();

    succeeds(remove);
    assert_same(&before, left);
    fails("the restore after the removal");
}

/// Tells rpm's database, which knows nothing of Debian's packages, of the shell that is there.
fn prepare_rpm() {
    succeeds(&format!("rpm -i {NEXT_PACKAGES}/shell.rpm"));
}

/// The files that CRIU may read, and what is in them.
fn criu_files() -> BTreeMap<PathBuf, String> {
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

/// Directories that belong to all who put something into them: `premount uninstall` leaves the first
/// four, and the rpm the last four, which are of the distribution's own packages where rpm is at home.
pub const SHARED: [&str; 6] = [
    "/usr/libexec/oci",
    "/usr/libexec/oci/hooks.d",
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

fn bare() {
    assert!(!Path::new("/etc/criu").exists());
    let before = listing();
    succeeds(&format!("dpkg -i {PACKAGES}/premount_*.deb"));
    assert!(names_premount());
    succeeds("premount status");
    assert_eq!(
        fs::read(HOOK).unwrap(),
        include_bytes!("../../hooks.d/premount.json")
    );
    succeeds("dpkg -r premount");
    assert_same(&before, &[]);
}

fn deb_upgrade() {
    let (install, remove) = readme("Debian and Ubuntu");
    upgrade(
        install[0],
        &format!("dpkg -i {NEXT_PACKAGES}/premount_*.deb"),
        "dpkg-query --show premount",
        remove,
        &[],
    );
}

fn rpm_upgrade() {
    prepare_rpm();
    let (install, remove) = readme("Fedora");
    upgrade(
        install[0],
        &format!("rpm -U {NEXT_PACKAGES}/premount-*.rpm"),
        "rpm -q premount",
        remove,
        &SHARED[2..],
    );
}

fn upgrade(install: &str, upgrade: &str, version: &str, remove: &str, left: &[&str]) {
    let before = listing();
    succeeds(install);
    assert!(succeeds(version).contains(concat!(env!("CARGO_PKG_VERSION"), "-1")));
    let (files, program) = (criu_files(), fs::metadata(PREMOUNT).unwrap().ino());
    assert!(names_premount());
    succeeds(upgrade);
    assert!(succeeds(version).contains(concat!(env!("CARGO_PKG_VERSION"), "-2")));
    assert_eq!(criu_files(), files);
    let replaced = fs::metadata(PREMOUNT).unwrap().ino();
    assert_ne!(replaced, program, "the program is the next release's");
    succeeds("premount status");
    succeeds(remove);
    assert_same(&before, left);
}

fn deb_trigger() {
    succeeds(&format!("dpkg -i {PACKAGES}/premount_*.deb"));
    for (package, program) in [
        ("crun", "/usr/bin/crun"),
        ("runc", "/usr/sbin/runc"),
        ("criu", "/usr/sbin/criu"),
    ] {
        fs::remove_dir_all("/etc/criu").unwrap();
        assert!(!names_premount());
        // A new release of that package, with its program.
        let directory = format!("/w/{package}");
        succeeds(&format!(
            "mkdir -p {directory}/DEBIAN && cp --parents {program} {directory}"
        ));
        let control = format!(
            "Package: {package}\nVersion: 999\nArchitecture: all\nMaintainer: a <a@localhost>\n\
             Description: {package}\n"
        );
        fs::write(format!("{directory}/DEBIAN/control"), control).unwrap();
        succeeds(&format!(
            "dpkg-deb --build {directory} && dpkg -i {directory}.deb"
        ));
        assert!(names_premount(), "{program}");
    }
}

fn deb_abort() {
    let script = |call: &str| succeeds(&format!("/var/lib/dpkg/info/premount.{call}"));
    succeeds(&format!("dpkg -i {PACKAGES}/premount_*.deb"));
    for (begun, given_up) in [
        ("prerm remove", "postinst abort-remove"),
        (
            "prerm deconfigure in-favour other 1",
            "postinst abort-deconfigure in-favour other 1",
        ),
    ] {
        script(begun);
        assert!(!names_premount());
        script(given_up);
        assert!(names_premount());
    }
    script("prerm upgrade 2");
    assert!(names_premount());

    // CRIU's configuration can't be written to: then the program has to stay.
    succeeds("mount --bind /etc/criu /etc/criu && mount -o remount,bind,ro /etc/criu");
    shell("dpkg -r premount").expect_err("the removal");
    assert!(names_premount() && Path::new(PREMOUNT).exists() && Path::new(HOOK).exists());
    succeeds("umount /etc/criu");
    succeeds("dpkg -r premount");
    assert!(!names_premount() && !Path::new(PREMOUNT).exists());
}

/// dpkg and rpm put files in place in this order, and remove them in the reverse one: CRI-O, started in
/// between, must not find the hook without the program.
fn order() {
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

fn checksums() {
    let said = succeeds(&format!("cd {PACKAGES} && sha256sum -c SHA256SUMS"));
    assert_eq!(said.matches(": OK").count(), 3, "{said}");
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

fn documents() {
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
