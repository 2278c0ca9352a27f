// SPDX-License-Identifier: Apache-2.0
//! Restores that work without premount work with it: what the checkpoint doesn't mount is missing, of
//! the wrong kind, or written as only a runtime would take it. And `check` says so before.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Test;
use crate::enter::Root;
use crate::host::{BUNDLE, Host, IMAGES, Runtime, SOURCES, Trigger};

struct AloneCase {
    name: &'static str,
    mounts: fn() -> Vec<Value>,
    masked: &'static [&'static str],
    /// What the workload does before it counts.
    script: &'static str,
    is_relative: bool,
}

const CASES: &[AloneCase] = &[
    AloneCase {
        name: "a_nested_mount_that_the_workload_unmounted",
        mounts: || vec![volume_at("/data"), tmpfs("/data/nested")],
        masked: &[],
        script: "umount /data/nested; rmdir /data/nested; touch /data/nested",
        is_relative: false,
    },
    AloneCase {
        name: "a_relative_destination",
        mounts: || vec![volume_at("data"), tmpfs("data/nested")],
        masked: &[],
        script: "",
        is_relative: true,
    },
    AloneCase {
        // crun binds an empty directory of its own there, and tells CRIU so.
        name: "masked_directories",
        mounts: || {
            let sysfs = json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"});
            vec![volume_at("/data"), sysfs]
        },
        masked: &["/etc/masked", "/sys/firmware", "/not/there"],
        script: "",
        is_relative: false,
    },
];

/// The tests of restores that need no help.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for case in CASES {
            for runtime in [Runtime::Runc, Runtime::Crun] {
                // crun 1.21 can't checkpoint it.
                if (root, runtime) == (Root::Debian13, Runtime::Crun) && case.is_relative {
                    continue;
                }
                let name = format!("{}::alone::{}", runtime.name(), case.name);
                tests.push(Test::new(root, &name, move || {
                    restore(case, Host::new(root, runtime));
                }));
            }
        }
    }
    tests
}

fn volume() -> PathBuf {
    Path::new(SOURCES).join("volume")
}

fn volume_at(destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": volume(), "options": ["bind"]})
}

fn tmpfs(destination: &str) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"})
}

fn restore(case: &AloneCase, mut host: Host) {
    fs::create_dir_all(volume()).unwrap();
    // crun asks the host what kind a masked path is.
    for root in [Path::new(BUNDLE).join("rootfs").as_path(), Path::new("/")] {
        fs::create_dir_all(root.join("etc/masked")).unwrap();
    }
    host.set_mounts((case.mounts)());
    host.set_masked(case.masked);
    host.set_script(case.script);
    host.write_config(Trigger::None);
    host.start();
    let mut counted = host.checkpoint();
    for trigger in [Trigger::None].iter().chain(host.runtime.triggers()) {
        host.write_config(*trigger);
        if *trigger == Trigger::Hand {
            let check = [
                "check",
                "--checkpoint",
                IMAGES,
                "--bundle",
                BUNDLE,
                "--format",
                "json",
            ];
            let ended = Host::call_premount(&check);
            assert_eq!(ended.status, 0, "{}", ended.stdout);
        }
        host.restore()
            .unwrap_or_else(|said| panic!("{}: {said}", trigger.name()));
        Host::wait_for_count(counted);
        if *trigger == Trigger::Action {
            let log = fs::read_to_string("/w/criu/restore.log").unwrap();
            assert!(log.contains(" mounts: "), "premount did nothing at all");
        }
        counted = host.checkpoint();
    }
    host.delete();
}
