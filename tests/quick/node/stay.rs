// SPDX-License-Identifier: Apache-2.0
//! `install --stay`, as a DaemonSet's pod runs it: the last one on the node uninstalls, and in an update none does.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common;
use crate::common::node_root::{HOOK, NodeRoot, PROGRAM, RUNC};

/// Starts a pod's process, and waits until it has installed.
fn start(node: &NodeRoot, binary: &Path, options: &[&str]) -> Child {
    let mut child = Command::new(binary)
        .args(["install", "--stay", "--root"])
        .arg(node.0.path())
        .args(options)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // A shared lock on the program is the last thing.
    let start = Instant::now();
    let held = |child: &Child| {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let pid = child.id().to_string();
        let mut lines = locks.lines().map(|line| line.split_whitespace());
        lines.any(|mut line| line.any(|it| it == "READ") && line.next() == Some(pid.as_str()))
    };
    while !held(&child) {
        assert!(child.try_wait().unwrap().is_none(), "it does not stay");
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "it does not install"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

/// Ends a pod's process as the kubelet does; the last line that it wrote.
fn stop(mut child: Child) -> String {
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let last = lines.last().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    last
}

const STAYS: &str = "another premount stays on this node: nothing is removed";

/// A premount of another version, as far as its content goes.
fn other_binary(directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("premount");
    // By another process, for the reason that copy_binary gives.
    let script = "cp \"$0\" \"$1\" && echo another >>\"$1\"";
    let call = Command::new("sh")
        .args(["-ec", script])
        .arg(common::binary())
        .arg(&path)
        .status();
    assert!(call.unwrap().success());
    path
}

#[test]
fn it_uninstalls_on_sigterm() {
    let node = NodeRoot::new();
    let child = start(&node, &common::binary(), &[]);
    node.assert_restores("waiting");
    assert!(node.names_premount(RUNC));
    stop(child);
    assert!(node.files().is_empty());
}

#[test]
fn an_update_never_leaves_the_node_without_premount() {
    let directory = tempfile::tempdir().unwrap();
    let newer = other_binary(&directory);
    for new in [newer, common::binary()] {
        let node = NodeRoot::new();
        let old = start(&node, &common::binary(), &[]);
        let new_pod = start(&node, &new, &[]);
        let in_force = |node: &NodeRoot| {
            let content = fs::read(node.path(PROGRAM)).unwrap();
            assert!(content == fs::read(&new).unwrap(), "the new program");
            assert!(node.names_premount(RUNC) && node.path(HOOK).exists());
        };
        in_force(&node);
        assert_eq!(stop(old), STAYS);
        in_force(&node);
        // And when the DaemonSet is deleted.
        assert_ne!(stop(new_pod), STAYS);
        assert!(node.files().is_empty());
    }
}

#[test]
fn an_update_that_moves_the_program_leaves_nothing_of_the_old_one() {
    let node = NodeRoot::new();
    let old = start(&node, &common::binary(), &[]);
    let elsewhere = ["--program", "/opt/premount"];
    let new = start(&node, &common::binary(), &elsewhere);
    stop(old);
    assert!(!node.path(PROGRAM).exists());
    node.succeeds("status", &elsewhere);
    assert!(node.read(HOOK).contains("/opt/premount"));
    stop(new);
    assert!(node.files().is_empty());
}

/// Two that end at once: one of them is the last.
#[test]
fn of_several_that_end_at_once_one_uninstalls() {
    let node = NodeRoot::new();
    let pods: Vec<Child> = (0..4)
        .map(|_| start(&node, &common::binary(), &[]))
        .collect();
    for pod in &pods {
        kill(
            Pid::from_raw(i32::try_from(pod.id()).unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
    }
    for pod in pods {
        assert!(common::output_of(pod).status.success());
    }
    assert!(node.files().is_empty());
}

#[test]
fn one_that_was_killed_counts_no_more() {
    let node = NodeRoot::new();
    let mut killed = start(&node, &common::binary(), &[]);
    let pod = start(&node, &common::binary(), &[]);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_ne!(stop(pod), STAYS);
    assert!(node.files().is_empty());
}
