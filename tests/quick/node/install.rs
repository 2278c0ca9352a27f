// SPDX-License-Identifier: Apache-2.0
//! Installing premount on a node and removing it, in a directory that looks like a node's root. Nothing may
//! refer to a program that does not exist, not even for a moment.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use crate::common::node_root::{CRUN, DEFAULT, HOOK, NodeRoot, PROGRAM, RUNC};
use crate::common::{self, premount};

#[test]
fn uninstalling_from_a_bare_node_leaves_no_file() {
    let node = NodeRoot::new();
    assert_eq!(node.call("status", &[]).status, 1, "not installed");
    node.succeeds("install", &[]);
    node.assert_restores("installed");
    assert!(node.names_premount(RUNC) && node.path(HOOK).exists());
    // crun reads runc.conf if crun.conf does not exist.
    assert!(!node.path(CRUN).exists());
    node.succeeds("status", &[]);
    node.succeeds("uninstall", &[]);
    assert!(node.files().is_empty(), "{:?}", node.files().keys());
}

#[test]
fn a_second_install_and_a_second_uninstall_change_nothing() {
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    let before = node.all();
    assert_eq!(node.succeeds("install", &[]), "nothing to do\n");
    assert_eq!(node.all(), before);
    node.succeeds("uninstall", &[]);
    let before = node.all();
    assert_eq!(node.succeeds("uninstall", &[]), "nothing to do\n");
    assert_eq!(node.all(), before);
}

#[test]
fn a_dry_run_reports_what_it_would_do_and_changes_nothing() {
    let node = NodeRoot::new();
    node.write(RUNC, "tcp-close\n");
    let before = node.all();
    let said = node.succeeds("install", &["--dry-run"]);
    let would = |what: &str| said.contains(&format!("would {what}"));
    assert!(would("write /usr/libexec/oci/hooks.d/premount\n"), "{said}");
    assert!(
        would("add the action script to /etc/criu/runc.conf\n"),
        "{said}"
    );
    assert_eq!(node.all(), before);
    node.succeeds("install", &[]);
    let before = node.all();
    let said = node.succeeds("uninstall", &["--dry-run"]);
    for would in [
        "would remove the action script from /etc/criu/runc.conf\n",
        "would remove /usr/libexec/oci if nothing else is in it\n",
    ] {
        assert!(said.contains(would), "{said}");
    }
    // It was there before premount.
    assert!(!said.contains("would remove /etc/criu "), "{said}");
    assert_eq!(node.all(), before);
}

#[test]
fn the_administrators_text_and_mode_are_kept() {
    let node = NodeRoot::new();
    let texts = [
        (RUNC, "# ours\nmanage-cgroups=ignore"),
        (CRUN, "action-script /bin/true\ntcp-established\n\n"),
        ("etc/criu/other.conf", "verbosity 4\n"),
    ];
    for (path, text) in texts {
        node.write(path, text);
        fs::set_permissions(node.path(path), fs::Permissions::from_mode(0o640)).unwrap();
    }
    node.succeeds("install", &[]);
    assert!(node.names_premount(RUNC) && node.names_premount(CRUN));
    for (path, text) in texts {
        assert!(node.read(path).ends_with(text), "{path}");
        assert_eq!(
            fs::metadata(node.path(path)).unwrap().mode() & 0o7777,
            0o640
        );
    }
    node.succeeds("uninstall", &[]);
    for (path, text) in texts {
        assert_eq!(node.read(path), text, "{path}");
    }
}

#[test]
fn a_line_that_the_administrator_wrote_in_default_conf_is_enough() {
    let node = NodeRoot::new();
    let line = format!("action-script \"/{PROGRAM}\" # mine\n");
    node.write(DEFAULT, &line);
    node.succeeds("install", &[]);
    assert_eq!(node.read(DEFAULT), line);
    assert!(!node.path(RUNC).exists(), "CRIU would call premount twice");
    // It must not be left naming a missing program, whoever wrote it.
    node.succeeds("uninstall", &[]);
    assert!(!node.path(DEFAULT).exists());
}

#[test]
fn the_program_and_the_hook_can_be_elsewhere() {
    let node = NodeRoot::new();
    let elsewhere = [
        "--program",
        "/opt/bin/premount",
        "--hooks-dir",
        "/etc/containers/oci/hooks.d",
    ];
    node.succeeds("install", &elsewhere);
    let hook: serde_json::Value =
        serde_json::from_str(&node.read("etc/containers/oci/hooks.d/premount.json")).unwrap();
    assert_eq!(hook["hook"]["path"], "/opt/bin/premount");
    assert!(
        node.read(RUNC)
            .ends_with("action-script /opt/bin/premount\n")
    );
    node.succeeds("status", &elsewhere);
    node.succeeds("uninstall", &elsewhere);
    assert!(node.files().is_empty());
}

#[test]
fn criu_only_leaves_the_program_and_the_hook_alone() {
    let node = NodeRoot::new();
    let early = node.call("install", &["--criu-only"]);
    assert_eq!(early.status, 2, "{early:?}");
    assert!(
        early
            .stderr
            .contains("install the program before CRIU's configuration names it"),
        "{}",
        early.stderr
    );
    assert!(!node.names_premount(RUNC));
    node.succeeds("install", &[]);
    node.succeeds("uninstall", &["--criu-only"]);
    assert!(!node.path(RUNC).exists());
    assert!(node.path(PROGRAM).exists() && node.path(HOOK).exists());
    node.succeeds("install", &["--criu-only"]);
    assert!(node.names_premount(RUNC));
}

#[test]
fn symlinks_resolve_as_on_the_node_and_are_kept() {
    let node = NodeRoot::new();
    node.write("etc/managed/runc.conf", "tcp-close\n");
    node.write("srv/keep", "");
    fs::create_dir_all(node.path("etc/criu")).unwrap();
    symlink("/etc/managed/runc.conf", node.path(RUNC)).unwrap();
    fs::create_dir_all(node.path("usr")).unwrap();
    symlink("../../../srv", node.path("usr/libexec")).unwrap();
    node.succeeds("install", &[]);
    assert!(node.read("etc/managed/runc.conf").ends_with("tcp-close\n"));
    assert!(node.names_premount("etc/managed/runc.conf"));
    assert!(node.path("srv/oci/hooks.d/premount").exists());
    node.succeeds("uninstall", &[]);
    assert_eq!(node.read("etc/managed/runc.conf"), "tcp-close\n");
    assert!(fs::symlink_metadata(node.path(RUNC)).unwrap().is_symlink());
    assert!(!node.path("srv/oci/hooks.d/premount").exists());
}

#[test]
fn a_path_that_criu_would_truncate_is_rejected_and_named() {
    let node = NodeRoot::new();
    for program in [
        "/opt/my tools/premount",
        "/opt/#1/premount",
        "premount",
        "/opt/premount/",
        "/opt/none/../premount",
    ] {
        let ended = node.call("install", &["--program", program]);
        assert_eq!(ended.status, 2, "{ended:?}");
        assert!(ended.stderr.contains(program), "{}", ended.stderr);
    }
    let ended = premount(&["install", "--root", "/nonexistent-root"], b"", &[]);
    assert_eq!(ended.status, 2);
    assert!(
        ended.stderr.contains("/nonexistent-root"),
        "{}",
        ended.stderr
    );
    assert!(node.files().is_empty());
}

#[test]
fn a_failed_write_is_reported_and_leaves_no_reference_to_the_program() {
    let node = NodeRoot::new();
    // A file where a directory should be.
    node.write("usr/share/containers/oci", "");
    let ended = node.call("install", &[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("usr/share/containers/oci/hooks.d: mkdir: "),
        "{}",
        ended.stderr
    );
    assert!(!node.path("etc/criu").exists());
}

/// If a change cannot be reported, half of it would be worse.
#[test]
fn a_change_that_cannot_be_reported_is_completed() {
    let node = NodeRoot::new();
    let root = node.0.path().to_str().unwrap();
    let call = |command| common::to_full(&[command, "--root", root]);
    let full = "standard output: write: No space left on device (ENOSPC)";
    for said in ["the node was changed", "there was nothing to do"] {
        let ended = call("install");
        assert_eq!(ended.status, 1, "{ended:?}");
        assert!(
            ended.stderr.ends_with(&format!("{full}; {said}\n")),
            "{ended:?}"
        );
        node.succeeds("status", &[]);
    }
    let before = node.all();
    assert_eq!(call("status").status, 2);
    assert_eq!(
        common::to_full(&["uninstall", "--dry-run", "--root", root]).status,
        2
    );
    assert_eq!(node.all(), before);
    let ended = call("uninstall");
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended
            .stderr
            .ends_with(&format!("{full}; the node was changed\n")),
        "{ended:?}"
    );
    assert!(node.files().is_empty());
}

/// The temporary file is on the disk before it is renamed.
#[test]
fn a_rewritten_file_keeps_its_owner_and_mode_and_is_synced_before_the_rename() {
    let node = NodeRoot::new();
    node.write(RUNC, "tcp-close\n");
    fs::set_permissions(node.path(RUNC), PermissionsExt::from_mode(0o640)).unwrap();
    let root = common::is_root();
    if root {
        std::os::unix::fs::chown(node.path(RUNC), Some(1000), Some(1001)).unwrap();
    }
    let owner = |node: &NodeRoot| {
        let found = fs::metadata(node.path(RUNC)).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o7777)
    };
    let before = owner(&node);
    for command in ["install", "uninstall"] {
        let log = node.path("strace.log");
        let output = Command::new("strace")
            .args([
                "-qq",
                "-e",
                "trace=fsync,rename",
                "-o",
                log.to_str().unwrap(),
            ])
            .arg(common::binary())
            .args([command, "--root", node.0.path().to_str().unwrap()])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(owner(&node), before, "{command}");
        let text = fs::read_to_string(&log).unwrap();
        fs::remove_file(log).unwrap();
        let calls: Vec<&str> = text.lines().map(|line| &line[..5]).collect();
        let renames: Vec<usize> = (0..calls.len())
            .filter(|&at| calls[at] == "renam")
            .collect();
        assert!(!renames.is_empty(), "{text}");
        for at in renames {
            // The file is synced before, and its directory after.
            assert_eq!(
                (calls[at - 1], calls.get(at + 1)),
                ("fsync", Some(&"fsync")),
                "{text}"
            );
        }
    }
}
