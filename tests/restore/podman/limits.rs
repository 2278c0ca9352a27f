// SPDX-License-Identifier: Apache-2.0
//! What premount can't help with, and who says so: the runtime before it calls CRIU, or CRIU at the
//! checkpoint; and the hook, which Podman writes into a container that is started.

use std::fs;
use std::path::Path;

use super::cases::{BOTH, NOTHING, PodmanCase, SECRET, VOLUME};
use super::engine::{NAME, NEW_NAME, Podman, count, log, telling_lines, wait_beyond};
use super::matrix::Way;
use crate::Test;
use crate::enter::{PREMOUNT, Root};
use crate::host::Runtime;

type Body = fn(Runtime);

const BODIES: &[(&str, Body)] = &[
    ("a_secret_has_no_source_under_a_new_name", secret),
    ("a_missing_source_stops_the_runtime_before_criu", source),
    ("crun_checkpoints_no_volume_through_an_absolute_link", link),
    ("a_hook_that_was_uninstalled_is_missed_by_runc", hook),
];

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for &(name, body) in BODIES {
        for &runtime in BOTH {
            let name = format!("podman::{name}::{}", runtime.name());
            tests.push(Test::new(Root::Sid, &name, move || body(runtime)));
        }
    }
    tests
}

/// The runtime gave up on a source, and CRIU and premount were never called.
fn assert_no_source(said: &str, source: &str) {
    let said = said.to_lowercase();
    assert!(
        said.contains(source) && said.contains("no such file or directory"),
        "{said}"
    );
    assert_eq!(log(), "");
}

fn secret(runtime: Runtime) {
    let podman = Podman::new(runtime);
    podman.run(&SECRET);
    podman.export();
    podman.set_premount(true);
    let said = podman.fails(&Way::Import(NEW_NAME).arguments());
    assert_no_source(&said, "/userdata/secrets/token");
}

fn source(runtime: Runtime) {
    let podman = Podman::new(runtime);
    podman.run(&VOLUME);
    podman.checkpoint();
    let counted = count();
    fs::remove_dir("/w/nested").unwrap();
    podman.set_premount(true);
    let said = podman.fails(&Way::InPlace.arguments());
    assert_no_source(&said, "/w/nested");
    assert!(!Path::new("/w/nested").exists());

    fs::create_dir("/w/nested").unwrap();
    podman.succeeds(&Way::InPlace.arguments());
    wait_beyond(counted);
    podman.remove(NAME);
}

/// The link is the image's /var/run.
fn link(runtime: Runtime) {
    let podman = Podman::new(runtime);
    podman.run(&PodmanCase {
        options: &["--volume=/w/nested:/var/run/data"],
        ..NOTHING
    });
    match runtime {
        Runtime::Runc => podman.checkpoint(),
        Runtime::Crun => {
            podman.fails(&["container", "checkpoint", NAME]);
            let log = telling_lines("dump.log");
            assert!(
                log.contains("./run/data doesn't have a proper root mount"),
                "{log}"
            );
        }
    }
    podman.remove(NAME);
}

fn hook(runtime: Runtime) {
    let json = Path::new("/usr/share/containers/oci/hooks.d/premount.json");
    fs::create_dir_all(json.parent().unwrap()).unwrap();
    fs::write(json, include_str!("../../../hooks.d/premount.json")).unwrap();
    let podman = Podman::new(runtime);
    podman.run(&PodmanCase {
        // runc makes no mountpoint in what is mounted in a tmpfs.
        options: &[
            "--annotation=io.premount.restore=true",
            "--tmpfs=/a",
            "--volume=/w/volume:/a/b",
            "--volume=/w/nested:/a/b/c",
        ],
        ..NOTHING
    });
    podman.checkpoint();
    let counted = count();
    let mountpoint = Path::new("/w/volume/c");
    fs::remove_dir(mountpoint).unwrap();
    let restored = podman.call(&Way::InPlace.arguments()).status.success();
    // crun runs no hook on restore.
    assert_eq!(restored, runtime == Runtime::Runc, "{}", log());
    assert_eq!(mountpoint.is_dir(), restored);
    if restored {
        wait_beyond(counted);
        podman.checkpoint();
    }

    // The directory is there now: the hook is all that can be missed.
    fs::create_dir_all(mountpoint).unwrap();
    fs::remove_file(json).unwrap();
    fs::remove_file(PREMOUNT).unwrap();
    match runtime {
        Runtime::Crun => podman.succeeds(&Way::InPlace.arguments()),
        Runtime::Runc => {
            let said = podman.fails(&Way::InPlace.arguments());
            assert!(
                said.contains("error running createRuntime hook") && said.contains(PREMOUNT),
                "{said}"
            );
            // A start writes the configuration anew.
            podman.succeeds(&["start", NAME]);
        }
    }
    podman.remove(NAME);
}
