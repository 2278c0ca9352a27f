// SPDX-License-Identifier: Apache-2.0
//! What `check` says of an archive alone, against `podman container restore --import` into damaged volumes.

use super::cases::{NOTHING, PodmanCase, Volume};
use super::engine::{ARCHIVE, NAME, NEW_NAME, Podman, count, log, wait_beyond};
use super::matrix::Way;
use crate::Test;
use crate::damage::{self, DAMAGES};
use crate::enter::Root;
use crate::host::{Host, Runtime};

/// As in the matrix: each runtime that reads a CRIU configuration of its own.
pub fn tests() -> Vec<Test> {
    let runtimes = [
        (Root::Debian13, Runtime::Runc),
        (Root::Sid, Runtime::Runc),
        (Root::Sid, Runtime::Crun),
    ];
    let mut tests = Vec::new();
    for (root, runtime) in runtimes {
        let name = |name: &str| format!("podman::{name}::{}", runtime.name());
        let predicted = name("what_is_said_of_an_archive_alone");
        let brought = name("a_volume_that_comes_with_the_archive");
        tests.push(Test::new(root, &predicted, move || predicts(runtime)));
        tests.push(Test::new(root, &brought, move || brings_volume(runtime)));
    }
    tests
}

/// Without `--ignore-volumes`, Podman exports the content of its own volumes too, and makes them again at the import.
/// premount doesn't look into that, and says that it doesn't know.
fn brings_volume(runtime: Runtime) {
    let podman = Podman::with_holder(runtime);
    podman.run(&PodmanCase {
        options: &["--volume=named:/data"],
        script: damage::holder().leak(),
        volume: Volume::Named,
        ..NOTHING
    });
    podman.succeeds(&["container", "checkpoint", "--export", ARCHIVE, NAME]);
    let counted = count();
    podman.remove(NAME);
    podman.succeeds(&["volume", "rm", "named"]);
    Host::assert_read(ARCHIVE);
    let ended = Host::call_premount(&["check", "--checkpoint", ARCHIVE]);
    assert_eq!((ended.status, ended.stderr.as_str()), (1, ""), "{ended:?}");
    let unknown = "nothing says what will be at /data (see --volume)";
    assert!(ended.stdout.contains(unknown), "{ended:?}");
    podman.succeeds(&["container", "restore", "--import", ARCHIVE]);
    wait_beyond(counted);
    podman.remove(NAME);
}

fn predicts(runtime: Runtime) {
    let podman = Podman::with_holder(runtime);
    podman.run(&PodmanCase {
        options: &damage::VOLUMES,
        script: damage::holder().leak(),
        ..NOTHING
    });
    podman.export();
    let counted = count();
    damage::keep();
    damage::assert_unknown(ARCHIVE);
    let restore = || {
        let ended = podman.call(&Way::Import(NEW_NAME).arguments());
        // crun's own message is Podman's.
        let said = format!("{}\n{}", log(), String::from_utf8_lossy(&ended.stderr));
        (ended.status.success(), said)
    };
    for damage in DAMAGES {
        damage.inflict();
        damage.assert_predicted(ARCHIVE, runtime);
        let (has_restored, said) = restore();
        damage.assert_came_true(runtime, has_restored, &said);
        if has_restored {
            wait_beyond(counted);
        }
        podman.remove(NEW_NAME);
        if !damage.is_mended {
            continue;
        }
        damage.inflict();
        podman.set_premount(true);
        let (has_restored, said) = restore();
        assert!(has_restored, "{} with premount: {said}", damage.name);
        podman.set_premount(false);
        podman.remove(NEW_NAME);
    }
}
