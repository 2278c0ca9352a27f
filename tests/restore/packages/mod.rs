// SPDX-License-Identifier: Apache-2.0
//! The packages, as an administrator installs them, with the README's own lines: a machine goes from
//! nothing to a restored container, and back to nothing.

mod container_image;
mod contents;
mod machine;
mod reproducible;
mod sbom;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

use crate::Test;
use crate::enter::{NEXT_PACKAGES, PACKAGES, PREMOUNT, Root};
use crate::host::{Host, Runtime, SOURCES, Trigger};

use contents::{checksums, completions, documents, lintian, order};
use machine::{
    SHARED, assert_same, criu_files, listing, names_premount, prepare_rpm, readme, shell, succeeds,
};

/// The hook, where the packages put it.
pub const HOOK: &str = "/usr/share/containers/oci/hooks.d/premount.json";

/// The administrator's own lines.
const OWN: &str = "# mine\nmanage-cgroups=ignore\n";

/// A test that runs outside of the roots; its error is a reason why it can't.
pub type Outside = (&'static str, fn() -> Result<(), String>);
/// The tests that do.
pub const OUTSIDE: [Outside; 3] = [
    ("the_manifests_are_valid", container_image::manifests),
    ("two_builds_are_the_same_bytes", reproducible::two_builds),
    ("the_sbom_is_complete", sbom::complete),
];

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
            ("rpm", "Fedora", &SHARED[..]),
            ("tarball", "Any other Linux", &[]),
        ] {
            let name = format!(
                "packages::{}::{kind}::from_nothing_to_a_restored_container_and_back",
                runtime.name()
            );
            tests.push(Test::of_packages(root, &name, move || {
                there_and_back(heading, Host::new(root, runtime), left);
            }));
        }
    }
    let more: [(&str, fn()); 9] = [
        ("the_program_comes_first_and_goes_last", order),
        ("deb::leaves_nothing_on_a_bare_machine", bare),
        ("deb::an_upgrade_keeps_the_lines", deb_upgrade),
        ("deb::a_change_of_crun_or_criu_looks_again", deb_trigger),
        ("deb::a_removal_that_is_given_up_is_undone", deb_abort),
        ("rpm::an_upgrade_keeps_the_lines", rpm_upgrade),
        ("the_checksums_are_those_of_the_packages", checksums),
        ("the_page_and_the_completions_are_sound", documents),
        ("the_sbom_is_in_all_of_them", sbom::everywhere),
    ];
    for (name, body) in more {
        let name = format!("packages::{name}");
        tests.push(Test::of_packages(Root::Debian13, &name, body));
    }
    let checks: [(&str, fn()); 2] = [
        ("fish_and_zsh_complete_commands_and_options", completions),
        ("deb::lintian_finds_no_error", lintian),
    ];
    for (name, body) in checks {
        let name = format!("packages::{name}");
        tests.push(Test::of_packages(Root::Checks, &name, body));
    }
    tests.extend(container_image::tests());
    tests
}

fn there_and_back(heading: &str, mut host: Host, left: &[&str]) {
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
    host.set_mounts(mounts);
    host.write_config(Trigger::None);
    fs::write(host.criu_config(), OWN).unwrap();
    let before = listing();

    host.start();
    let counted = host.checkpoint();
    let fails = |when: &str| {
        renew();
        let log = host.restore().expect_err(when);
        assert!(log.contains("Can't stat mountpoint"), "{when}: {log}");
        host.delete();
    };
    fails("the restore before the installation");

    for command in install {
        succeeds(command);
    }
    let config = fs::read_to_string(host.criu_config()).unwrap();
    assert!(config.ends_with(OWN), "{config}");
    renew();
    let restored = host.restore();
    restored.unwrap_or_else(|said| panic!("the restore with the package: {said}"));
    Host::wait_for_count(counted);
    assert!(volume.join("c").is_dir());
    host.delete();

    succeeds(remove);
    assert_same(&before, left);
    fails("the restore after the removal");
}

fn bare() {
    assert!(!Path::new("/etc/criu").exists());
    let before = listing();
    succeeds(&format!("dpkg -i {PACKAGES}/premount_*.deb"));
    assert!(names_premount());
    succeeds("premount status");
    assert_eq!(
        fs::read(HOOK).unwrap(),
        include_bytes!("../../../hooks.d/premount.json")
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
        &SHARED,
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
