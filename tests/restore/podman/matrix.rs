// SPDX-License-Identifier: Apache-2.0
//! Each container of the matrix: checkpointed and restored in place, and from an archive under a new
//! name, with its volume new in between; first without premount where that fails, then with it.

use std::fs;

use super::cases::{CASES, Mountpoint, PodmanCase, Volume};
use super::engine::{ARCHIVE, NAME, Podman, count, log, wait_beyond};
use crate::Test;
use crate::enter::Root;
use crate::host::Runtime;

/// Each case with each runtime that reads a CRIU configuration of its own: without `manage-cgroups` in
/// it CRIU would copy the host's other cgroup hierarchies.
pub fn tests() -> Vec<Test> {
    let runtimes = [
        (Root::Debian13, Runtime::Runc),
        (Root::Sid, Runtime::Runc),
        (Root::Sid, Runtime::Crun),
    ];
    let mut tests = Vec::new();
    for case in CASES {
        for (root, runtime) in runtimes {
            let name = format!("podman::{}::{}", case.name, runtime.name());
            tests.push(Test::new(root, &name, move || restores(case, runtime)));
        }
    }
    tests
}

fn restores(case: &'static PodmanCase, runtime: Runtime) {
    let trial = Trial {
        podman: Podman::new(runtime),
        case,
        runtime,
    };
    trial.podman.run(case);
    trial.assert_mountpoint("the first start");

    let podman = &trial.podman;
    podman.checkpoint();
    trial.restore(Way::InPlace);

    podman.export();
    trial.restore(Way::Import(case.imported_as));
    podman.remove(case.imported_as);
}

/// How Podman restores.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    InPlace,
    /// From the archive, under a name.
    Import(&'static str),
}

impl Way {
    /// All that Podman is told. CRIU's log is kept.
    pub fn arguments(self) -> Vec<&'static str> {
        let mut arguments = vec!["container", "restore", "--keep"];
        match self {
            Self::InPlace => arguments.push(NAME),
            Self::Import(name) => {
                arguments.extend(["--ignore-volumes", "--import", ARCHIVE]);
                if name != NAME {
                    arguments.extend(["--name", name]);
                }
            }
        }
        arguments
    }
}

struct Trial {
    podman: Podman,
    case: &'static PodmanCase,
    runtime: Runtime,
}

impl Trial {
    /// Restores what has just been checkpointed.
    fn restore(&self, way: Way) {
        let counted = count();
        if self.fails_without(way) {
            self.renew_volume(way);
            self.podman.set_premount(false);
            self.podman.fails(&way.arguments());
            assert!(
                log().contains(self.case.says),
                "{way:?} without premount: CRIU failed otherwise: {}",
                log()
            );
        }
        self.renew_volume(way);
        self.podman.set_premount(true);
        let with = self.podman.call(&way.arguments());
        let log = log();
        assert!(with.status.success(), "{way:?} with premount: {log}");
        assert!(
            log.contains("INFO premount: "),
            "{way:?}: it wasn't called: {log}"
        );
        wait_beyond(counted);
        self.assert_mountpoint(&format!("{way:?}"));
    }

    fn fails_without(&self, way: Way) -> bool {
        let in_place = self.case.fails_without;
        let runtimes = match way {
            Way::InPlace => in_place,
            Way::Import(_) => self.case.import_fails_without.unwrap_or(in_place),
        };
        runtimes.contains(&self.runtime)
    }

    fn renew_volume(&self, way: Way) {
        if let Way::Import(name) = way {
            // What a failed restore has left.
            self.podman.remove(name);
            match self.case.volume {
                Volume::Host => {}
                // Podman makes new ones itself.
                Volume::Named => return self.podman.succeeds(&["volume", "rm", "named"]),
                Volume::RunSecrets => return,
            }
        }
        let path = self.case.volume.path();
        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
    }

    fn assert_mountpoint(&self, after: &str) {
        let at = |path| self.case.volume.path().join(path);
        let (path, is_there) = match self.case.mountpoint {
            Mountpoint::Directory(path) => (at(path), at(path).is_dir()),
            Mountpoint::File(path) => (at(path), at(path).is_file()),
        };
        assert!(is_there, "after {after} there is no {}", path.display());
    }
}
