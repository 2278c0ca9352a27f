// SPDX-License-Identifier: Apache-2.0
//! What `check` says of an archive alone, against `podman container restore --import` into damaged volumes.

use super::cases::{NOTHING, PodmanCase};
use super::engine::{ARCHIVE, NEW_NAME, Podman, count, log, wait_beyond};
use super::matrix::Way;
use crate::Test;
use crate::damage::{self, DAMAGES};
use crate::enter::Root;
use crate::host::Runtime;

/// As in the matrix: each runtime that reads a CRIU configuration of its own.
pub fn tests() -> Vec<Test> {
    let runtimes = [
        (Root::Debian13, Runtime::Runc),
        (Root::Sid, Runtime::Runc),
        (Root::Sid, Runtime::Crun),
    ];
    let test = |(root, runtime): (Root, Runtime)| {
        let name = format!(
            "podman::what_is_said_of_an_archive_alone::{}",
            runtime.name()
        );
        Test::new(root, &name, move || predicts(runtime))
    };
    runtimes.into_iter().map(test).collect()
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
