// SPDX-License-Identifier: Apache-2.0
//! Mounts that no configuration has: the workload made them itself, in a volume. No runtime prepares
//! them at restore; the checkpoint's images know of them.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::Test;
use crate::enter::Root;
use crate::host::{BUNDLE, Host, IMAGES, Runtime, SOURCES, Trigger, snapshot};

struct Workload {
    name: &'static str,
    /// The runtimes that can checkpoint it at all.
    runtimes: &'static [Runtime],
    /// What the process does in its volume /data, which has a directory `own` and a file `file`.
    script: &'static str,
    masked: &'static [&'static str],
    /// Names of the files that are in the volume at the first start only.
    only_first: &'static [&'static str],
    /// What premount has to make in the volume: path and mode.
    made: &'static [(&'static str, u32)],
}

const DIRECTORY: u32 = 0o40_755;
const FILE: u32 = 0o100_644;

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "a_tmpfs_of_the_workloads",
        runtimes: &[Runtime::Runc, Runtime::Crun],
        script: "mkdir -p /data/x/y; mount -t tmpfs t /data/x/y",
        masked: &[],
        only_first: &[],
        made: &[("x", DIRECTORY), ("x/y", DIRECTORY)],
    },
    Workload {
        name: "a_directory_bind_of_the_workloads",
        runtimes: &[Runtime::Runc, Runtime::Crun],
        script: "mkdir /data/x; mount -o bind /data/own /data/x",
        masked: &[],
        only_first: &[],
        made: &[("x", DIRECTORY)],
    },
    Workload {
        name: "a_file_bind_of_the_workloads",
        runtimes: &[Runtime::Runc, Runtime::Crun],
        script: "mkdir /data/x; touch /data/x/f; mount -o bind /data/file /data/x/f",
        masked: &[],
        only_first: &[],
        made: &[("x", DIRECTORY), ("x/f", FILE)],
    },
    Workload {
        name: "two_levels_of_the_workloads",
        runtimes: &[Runtime::Runc, Runtime::Crun],
        script: "mkdir /data/x; mount -o bind /data/own /data/x; mkdir /data/x/y
                 mount -t tmpfs t /data/x/y; mkdir /data/x/y/z; mount -t tmpfs t /data/x/y/z",
        masked: &[],
        only_first: &[],
        made: &[("own/y", DIRECTORY), ("x", DIRECTORY)],
    },
    Workload {
        // crun doesn't tell CRIU of a masked path in a volume: "doesn't have a proper root mount".
        name: "a_masked_file_in_a_volume",
        runtimes: &[Runtime::Runc],
        script: "",
        masked: &["/data/secret"],
        only_first: &["secret"],
        made: &[("secret", FILE)],
    },
    Workload {
        name: "a_process_in_another_mount_namespace",
        runtimes: &[Runtime::Runc, Runtime::Crun],
        script: "unshare -m sh -c 'mkdir /data/x; mount -t tmpfs t /data/x; touch /data/ready
                 while :; do sleep 1; done' & while ! [ -e /data/ready ]; do sleep 0.02; done",
        masked: &[],
        only_first: &[],
        made: &[("x", DIRECTORY)],
    },
];

/// The tests of workloads that mount.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for workload in WORKLOADS {
            for &runtime in workload.runtimes {
                for &trigger in runtime.triggers() {
                    let name = format!("{}::{}::{}", runtime.name(), trigger.name(), workload.name);
                    tests.push(Test::new(root, &name, move || {
                        restore(workload, Host::new(root, runtime), trigger);
                    }));
                }
            }
        }
    }
    tests
}

fn volume() -> std::path::PathBuf {
    Path::new(SOURCES).join("volume")
}

fn new_volume(with: &[&str]) {
    let _ = fs::remove_dir_all(volume());
    fs::create_dir_all(volume().join("own")).unwrap();
    for file in ["file"].iter().chain(with) {
        fs::write(volume().join(file), "kept").unwrap();
    }
}

fn restore(workload: &Workload, mut host: Host, trigger: Trigger) {
    new_volume(workload.only_first);
    host.set_mounts(vec![json!({
        "destination": "/data", "type": "bind", "source": volume(), "options": ["rbind", "rw"]
    })]);
    host.set_script(workload.script);
    host.set_masked(workload.masked);
    host.write_config(trigger);
    host.start();
    let mountpoints = host.mountpoints();
    let counted = host.checkpoint();

    new_volume(&[]);
    host.write_config(Trigger::None);
    let alone = host.restore().expect_err("the restore without premount");
    assert!(
        alone.contains("Can't stat mountpoint"),
        "CRIU failed otherwise: {alone}"
    );
    host.delete();

    new_volume(&[]);
    let before = snapshot(&volume());
    host.write_config(trigger);
    if trigger == Trigger::Hand {
        let by_hand = ["apply", "--bundle", BUNDLE, "--images", IMAGES];
        let ended = Host::call_premount(&by_hand);
        assert_eq!(ended.status, 0, "{}", ended.stderr);
    }
    host.restore()
        .unwrap_or_else(|said| panic!("the restore with premount: {said}"));
    Host::wait_for_count(counted);
    assert_eq!(
        mountpoints,
        host.mountpoints(),
        "the mounts are those of before"
    );
    let mut after = snapshot(&volume());
    for &(path, mode) in workload.made {
        let made = after
            .remove(Path::new(path))
            .unwrap_or_else(|| panic!("{path} was not made"));
        assert_eq!((made.mode, made.uid, made.gid), (mode, 0, 0), "{path}");
    }
    assert_eq!(before, after, "something else changed in the volume");
    host.delete();
}
