// SPDX-License-Identifier: Apache-2.0
//! What `explain` says of a restore that fails although premount was called, as CRIU's action script: its lines are in
//! CRIU's log, and know more than CRIU. Without premount, diagnosis.rs, open_files.rs and verdict.rs have their logs
//! explained.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Test;
use crate::enter::Root;
use crate::host::{Host, Runtime, SOURCES, Trigger, rootfs, tool};
use crate::open_files::{add_holder, script};

struct Case {
    name: &'static str,
    runtimes: &'static [Runtime],
    /// What the task holds.
    holds: &'static [&'static str],
    /// What is done to the host before the restore.
    change: fn(),
    code: &'static str,
    /// Where, below the volume.
    at: &'static str,
}

const BOTH: &[Runtime] = &[Runtime::Runc, Runtime::Crun];

const CASES: &[Case] = &[
    Case {
        name: "a_read_only_source",
        // runc fails before it calls CRIU.
        runtimes: &[Runtime::Crun],
        holds: &[],
        change: || {
            let data = volume("");
            let data = data.to_str().unwrap();
            tool("mount", &["-t", "tmpfs", "tmpfs", data]);
            tool("mount", &["-o", "remount,ro", data]);
        },
        code: "read-only",
        at: "tmpfs",
    },
    Case {
        name: "a_log",
        runtimes: BOTH,
        holds: &["log:/data/log:644"],
        change: || fs::remove_file(volume("log")).unwrap(),
        code: "missing-log",
        at: "log",
    },
    Case {
        name: "a_file_of_another_size",
        runtimes: BOTH,
        holds: &["empty:/data/file:644"],
        change: || fs::write(volume("file"), "x").unwrap(),
        code: "bad-size",
        at: "file",
    },
    Case {
        name: "a_name_in_use",
        runtimes: BOTH,
        holds: &["listen:/data/socket"],
        change: || {
            let _ = fs::remove_file(volume("socket"));
            fs::write(volume("socket"), "").unwrap();
        },
        code: "address-in-use",
        at: "socket",
    },
];

/// The tests.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for case in CASES {
            for &runtime in case.runtimes {
                let name = format!("{}::explain::{}", runtime.name(), case.name);
                tests.push(Test::new(root, &name, move || {
                    explained(case, Host::new(root, runtime));
                }));
            }
        }
    }
    tests
}

fn volume(path: &str) -> PathBuf {
    Path::new(SOURCES).join("data").join(path)
}

fn explained(case: &Case, mut host: Host) {
    fs::create_dir_all(volume("")).unwrap();
    add_holder(&rootfs());
    let bind: Value =
        json!({"destination": "/data", "type": "bind", "source": volume(""), "options": ["bind"]});
    let mut mounts = vec![bind];
    if case.holds.is_empty() {
        mounts.push(json!({"destination": "/data/tmpfs", "type": "tmpfs", "source": "tmpfs"}));
    } else {
        let holds: Vec<String> = case.holds.iter().map(|&what| what.to_owned()).collect();
        host.set_script(&script(&[holds]));
    }
    host.set_mounts(mounts);
    host.write_config(Trigger::Action);
    host.start();
    host.checkpoint();
    (case.change)();
    let said = host.restore().expect_err("the restore");
    let explained = Host::explain().unwrap();
    host.delete();
    let at = volume(case.at).to_str().unwrap().to_owned();
    assert_eq!(explained, (case.code.to_owned(), Some(at)), "{said}");
    assert!(said.contains("premount: "), "{said}");
}
