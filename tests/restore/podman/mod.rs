// SPDX-License-Identifier: Apache-2.0
//! Podman's own checkpoints: its restores, in place and from an archive under a new name, succeed with
//! the action script where they fail without; and its archives are read as they are.

mod alone;
mod cases;
mod engine;
mod limits;
mod matrix;

use crate::Test;
use crate::enter::Root;
use crate::host::{Host, Runtime};
use engine::Podman;

/// The tests with Podman.
pub fn tests() -> Vec<Test> {
    let mut tests = matrix::tests();
    tests.extend(limits::tests());
    tests.extend(alone::tests());
    tests.push(Test::new(
        Root::Debian13,
        "podman::archives_of_every_compression_are_read",
        archives,
    ));
    tests
}

/// One of a container in whose volume the process has mounted a tmpfs.
fn archives() {
    let podman = Podman::new(Runtime::Crun);
    podman.run(&cases::WORKLOAD);
    for compression in ["none", "gzip", "zstd"] {
        let archive = format!("/w/{compression}");
        podman.succeeds(&[
            "container",
            "checkpoint",
            "--leave-running",
            "--compress",
            compression,
            "--export",
            &archive,
            engine::NAME,
        ]);
        let ended = Host::call_premount(&["plan", "--checkpoint", &archive]);
        assert_eq!(ended.status, 0, "{compression}: {}", ended.stderr);
        let tree = ended.stdout;
        assert!(
            tree.contains("├─ /data ") && tree.contains("from the host, by config.json"),
            "{tree}"
        );
        assert!(tree.contains("└─ /data/cache "), "{tree}");
        assert!(
            tree.contains("from the checkpoint, on the source of /data"),
            "{tree}"
        );
    }
    podman.remove(engine::NAME);
}
