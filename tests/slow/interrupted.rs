// SPDX-License-Identifier: Apache-2.0
//! An install and an uninstall that are killed at any change of theirs, or called twice at once: nothing ever
//! refers to a program that isn't there, not even for a moment.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use premount::internals::action_scripts;

use crate::common;
use crate::common::node_root::{CRUN, NodeRoot, PROGRAM, RUNC};

/// Starts all of these at once, and waits for them.
fn at_once(node: &NodeRoot, calls: &[&[&str]]) {
    let start = |call: &&[&str]| {
        Command::new(common::binary())
            .args(*call)
            .arg("--root")
            .arg(node.0.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = calls.iter().map(start).collect();
    for child in children {
        let output = common::output_of(child);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}

fn scripts_in(node: &NodeRoot, path: &str) -> usize {
    action_scripts(&std::fs::read(node.path(path)).unwrap_or_default()).len()
}

#[test]
fn several_installs_at_once_are_as_good_as_one() {
    for round in 0..5 {
        let node = NodeRoot::new();
        node.write(CRUN, ADMINISTRATORS);
        at_once(&node, &[&["install"][..]; 6]);
        let about = format!("round {round}");
        node.assert_restores(&about);
        assert_eq!(
            (scripts_in(&node, RUNC), scripts_in(&node, CRUN)),
            (1, 1),
            "{about}"
        );
        node.succeeds("status", &[]);
        at_once(&node, &[&["uninstall"][..]; 6]);
        assert_eq!(node.files().len(), 1, "{about}: {:?}", node.files().keys());
        assert_eq!(node.read(CRUN), ADMINISTRATORS, "{about}");
    }
}

/// Whoever comes last, what an administrator wrote is there, and the node is in order or without premount.
#[test]
fn installs_beside_uninstalls_leave_one_or_the_other() {
    let other = ["install", "--program", "/opt/premount"];
    let other_out = ["uninstall", "--program", "/opt/premount"];
    let node = ready("install");
    for round in 0..10 {
        let calls: &[&[&str]] = match round % 2 {
            0 => &[&["install"], &["uninstall"], &["install"], &["uninstall"]],
            _ => &[
                &["install"],
                &other,
                &["uninstall"],
                &other_out,
                &["install"],
            ],
        };
        at_once(&node, calls);
        let about = format!("round {round}");
        node.assert_restores(&about);
        for path in [RUNC, CRUN] {
            let text = node.read(path);
            assert!(text.ends_with(ADMINISTRATORS), "{about}: {text}");
            let scripts = action_scripts(text.as_bytes());
            let mut each = scripts.clone();
            each.dedup();
            assert_eq!(scripts, each, "{about}");
            for script in each {
                assert!(
                    node.path(script.strip_prefix("/").unwrap().to_str().unwrap())
                        .exists()
                );
            }
        }
        let mut left = node.files().into_keys();
        assert!(!left.any(|path| path.ends_with(".premount.new")), "{about}");
    }
    node.succeeds("uninstall", &["--program", "/opt/premount"]);
    node.succeeds("install", &[]);
    assert_eq!((scripts_in(&node, RUNC), scripts_in(&node, CRUN)), (1, 1));
    node.succeeds("status", &[]);
    node.succeeds("uninstall", &[]);
    assert_eq!(
        (node.read(RUNC).as_str(), node.read(CRUN).as_str()),
        (ADMINISTRATORS, ADMINISTRATORS)
    );
}

/// Calls premount under strace.
fn traced(node: &NodeRoot, command: &str, options: &[&str]) -> String {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut call = Command::new("timeout");
    call.args(["60", "strace", "-qq", "-o"])
        .arg(log.path())
        .args(options);
    call.arg(common::binary())
        .args([command, "--root"])
        .arg(node.0.path());
    call.stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    call.status().expect("timeout and strace");
    fs::read_to_string(log.path()).unwrap()
}

/// A node with an administrator's configuration, ready for `command`.
fn ready(command: &str) -> NodeRoot {
    let node = NodeRoot::new();
    node.write(RUNC, ADMINISTRATORS);
    node.write(CRUN, ADMINISTRATORS);
    if command == "uninstall" {
        node.succeeds("install", &[]);
    }
    node
}

const ADMINISTRATORS: &str = "manage-cgroups=ignore\n";

/// Whatever change of it is the last: what an administrator wrote is there, nothing refers to half a
/// program, and the next call goes on to the end.
fn killed_at_every_change(command: &str) {
    let changing = [
        "write", "fchown", "fchmod", "fsync", "rename", "unlink", "rmdir", "mkdir", "flock",
    ];
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut calls = Vec::new();
    let whole = traced(&ready(command), command, &[]);
    for line in whole.lines() {
        let name = line.split('(').next().unwrap();
        *seen.entry(name).or_default() += 1;
        if changing.contains(&name) || line.contains("O_CREAT") {
            calls.push((name, seen[name]));
        }
    }
    assert!(calls.len() > 15, "{whole}");
    for &(name, number) in &calls {
        let node = ready(command);
        let (trace, inject) = (
            format!("trace={name}"),
            format!("inject={name}:signal=KILL:when={number}"),
        );
        let log = traced(&node, command, &["-e", &trace, "-e", &inject]);
        assert!(log.contains("killed by SIGKILL"), "{name} #{number}: {log}");
        let about = format!("{command} killed at {name} #{number}");
        node.assert_restores(&about);
        for path in [RUNC, CRUN] {
            assert!(node.read(path).ends_with(ADMINISTRATORS), "{about}: {path}");
        }
        node.succeeds(command, &[]);
        node.assert_restores(&about);
        let left = node.files().into_keys();
        let unfinished = left.filter(|path| path.ends_with(".premount.new"));
        assert_eq!(unfinished.count(), 0, "{about}");
        assert_eq!(node.path(PROGRAM).exists(), command == "install", "{about}");
    }
    println!("{command}: {} kills", calls.len());
}

#[test]
fn an_install_killed_at_any_change_leaves_a_node_that_restores() {
    killed_at_every_change("install");
}

#[test]
fn an_uninstall_killed_at_any_change_leaves_a_node_that_restores() {
    killed_at_every_change("uninstall");
}
