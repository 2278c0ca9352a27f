// SPDX-License-Identifier: Apache-2.0
//! What `check --checkpoint` says, and what CRIU then really does: for each kind of finding a host on
//! which CRIU fails with that very error, and before that the same host without it, where the restore
//! succeeds. `explain` then finds the same in CRIU's log.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Test;
use crate::enter::Root;
use crate::host::{BUNDLE, Host, IMAGES, Runtime, SOURCES, Trigger, tool};

struct DiagnosisCase {
    name: &'static str,
    /// The runtimes that leave it to CRIU.
    runtimes: &'static [Runtime],
    /// What is done to the host, or to the configuration.
    change: fn(&mut Host),
    /// Undone before the runtime looks, and done again by a script of CRIU's.
    behind_the_runtime: Option<&'static str>,
    finding: &'static str,
    /// What of CRIU's error is the same everywhere; none where the restore succeeds.
    criu: Option<&'static str>,
}

const BOTH: &[Runtime] = &[Runtime::Runc, Runtime::Crun];

const CASES: &[DiagnosisCase] = &[
    DiagnosisCase {
        name: "a_missing_mountpoint",
        runtimes: &[Runtime::Crun],
        change: |_| fs::remove_dir(volume("data/nested")).unwrap(),
        behind_the_runtime: None,
        finding: "missing-mountpoint",
        criu: Some("Can't stat mountpoint"),
    },
    DiagnosisCase {
        name: "a_mountpoint_of_the_wrong_kind",
        runtimes: &[Runtime::Crun],
        change: |_| {
            fs::remove_dir(volume("data/nested")).unwrap();
            fs::write(volume("data/nested"), "").unwrap();
        },
        behind_the_runtime: None,
        finding: "wrong-kind",
        criu: Some("Failed to move_mount from"),
    },
    DiagnosisCase {
        name: "a_tmpfs_on_a_file",
        runtimes: &[Runtime::Crun],
        change: |_| {
            fs::remove_dir(volume("data/tmpfs")).unwrap();
            fs::write(volume("data/tmpfs"), "").unwrap();
        },
        behind_the_runtime: None,
        finding: "wrong-kind",
        criu: Some("Can't mount at"),
    },
    DiagnosisCase {
        name: "a_source_of_the_wrong_kind",
        runtimes: &[Runtime::Crun],
        change: |_| {
            fs::remove_dir(volume("nested")).unwrap();
            fs::write(volume("nested"), "").unwrap();
        },
        behind_the_runtime: None,
        finding: "wrong-kind",
        criu: Some("Failed to move_mount from"),
    },
    DiagnosisCase {
        name: "a_missing_source",
        runtimes: BOTH,
        change: |_| fs::remove_dir(volume("nested")).unwrap(),
        // Both runtimes refuse before they call CRIU.
        // -f: CRIU 4.1 runs the scripts of runc.conf twice.
        behind_the_runtime: Some("rm -rf /w/sources/nested"),
        finding: "missing-source",
        criu: Some("Failed to open_tree /w/sources/nested: No such file or directory"),
    },
    DiagnosisCase {
        name: "a_read_only_source",
        runtimes: &[Runtime::Crun],
        change: |_| {
            let data = volume("data");
            let data = data.to_str().unwrap();
            tool("mount", &["-t", "tmpfs", "tmpfs", data]);
            fs::create_dir(volume("data/tmpfs")).unwrap();
            tool("mount", &["-o", "remount,ro", data]);
        },
        behind_the_runtime: None,
        finding: "read-only",
        criu: Some("Can't stat mountpoint"),
    },
    DiagnosisCase {
        name: "a_mount_that_the_configuration_no_longer_has",
        runtimes: BOTH,
        change: |host| host.set_mounts(mounts()[..2].to_vec()),
        behind_the_runtime: None,
        finding: "no-mapping",
        criu: Some("No mapping for"),
    },
    DiagnosisCase {
        name: "a_mount_that_the_checkpoint_does_not_know",
        runtimes: BOTH,
        change: |host| {
            let more = json!({"destination": "/more", "type": "tmpfs", "source": "tmpfs"});
            host.set_mounts([mounts(), vec![more]].concat());
        },
        behind_the_runtime: None,
        finding: "not-in-checkpoint",
        criu: None,
    },
];

/// The tests of findings.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for case in CASES {
            for &runtime in case.runtimes {
                let name = format!("{}::finding::{}", runtime.name(), case.name);
                tests.push(Test::new(root, &name, move || {
                    found(case, Host::new(root, runtime));
                }));
            }
        }
    }
    tests
}

fn volume(path: &str) -> PathBuf {
    Path::new(SOURCES).join(path)
}

fn mounts() -> Vec<Value> {
    let bind = |at: &str, source: &str| json!({"destination": at, "type": "bind", "source": volume(source), "options": ["bind"]});
    let tmpfs = json!({"destination": "/data/tmpfs", "type": "tmpfs", "source": "tmpfs"});
    vec![bind("/data", "data"), tmpfs, bind("/data/nested", "nested")]
}

/// A finding's kind, CRIU's words for it, and the place on the host.
type Found = (String, Option<String>, Option<String>);

/// What `check` finds, and its exit status.
fn check() -> (i32, Vec<Found>) {
    let arguments = [
        "check",
        "--checkpoint",
        IMAGES,
        "--bundle",
        BUNDLE,
        "--format",
        "json",
    ];
    let ended = Host::call_premount(&arguments);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let findings = report["findings"].as_array().unwrap().iter();
    let findings = findings.map(|found| {
        let kind = text(&found["kind"]).unwrap();
        (kind, text(&found["criu"]), text(&found["host_path"]))
    });
    (ended.status, findings.collect())
}

fn found(case: &DiagnosisCase, mut host: Host) {
    for source in ["data", "nested"] {
        fs::create_dir_all(volume(source)).unwrap();
    }
    host.set_mounts(mounts());
    host.write_config(Trigger::None);
    host.start();
    let counted = host.checkpoint();

    assert_eq!(
        check(),
        (0, Vec::new()),
        "on the host as the container left it"
    );
    host.restore()
        .unwrap_or_else(|said| panic!("the restore as it was: {said}"));
    Host::wait_for_count(counted);
    host.checkpoint();

    (case.change)(&mut host);
    host.write_config(Trigger::None);
    let (status, findings) = check();
    assert_eq!(status, i32::from(case.criu.is_some()), "{findings:?}");
    let [(kind, criu, host_path)] = &findings[..] else {
        panic!("{findings:?}")
    };
    assert_eq!(kind, case.finding);
    if let Some(command) = case.behind_the_runtime {
        fs::create_dir_all(volume("nested")).unwrap();
        let script = format!("#!/bin/sh\n[ $CRTOOLS_SCRIPT_ACTION != pre-restore ] || {command}\n");
        fs::write("/w/script", script).unwrap();
        fs::set_permissions("/w/script", fs::Permissions::from_mode(0o755)).unwrap();
        host.add_criu_config("action-script /w/script\n");
    }
    let restored = host.restore();
    host.delete();
    match (case.criu, restored) {
        (None, Ok(())) => assert_eq!(criu, &None),
        (Some(words), Err(said)) => {
            assert!(criu.as_ref().unwrap().starts_with(words), "{criu:?}");
            assert!(said.contains(words), "CRIU said otherwise: {said}");
            let (code, explained) = Host::explain().unwrap();
            // That the file system is read-only is not in CRIU's error.
            let expected = case.finding.replace("read-only", "missing-mountpoint");
            assert_eq!(code, expected, "{said}");
            if host_path.is_some() {
                assert_eq!(&explained, host_path, "{said}");
            }
        }
        (_, restored) => panic!("{criu:?}, and the restore: {restored:?}"),
    }
}
