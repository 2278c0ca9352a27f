// SPDX-License-Identifier: Apache-2.0
//! What `premount uninstall` removes, and what it leaves because premount did not install it.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::node_root::{NodeRoot, PROGRAM};

#[test]
fn the_line_is_removed_from_every_file_in_criu_s_directory() {
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    node.write(
        "etc/criu/mine.conf",
        &format!("tcp-close\naction-script /{PROGRAM}\n"),
    );
    node.succeeds("uninstall", &[]);
    assert_eq!(node.read("etc/criu/mine.conf"), "tcp-close\n");
}

#[test]
fn nothing_is_removed_while_another_file_names_the_program() {
    for (path, text) in [
        (
            "etc/containers/oci/hooks.d/99-mine.json",
            format!(r#"{{"version":"1.0.0","hook":{{"path":"/{PROGRAM}"}}}}"#),
        ),
        (
            "root/.criu/default.conf",
            format!("action-script /{PROGRAM}\n"),
        ),
    ] {
        let node = NodeRoot::new();
        node.succeeds("install", &[]);
        node.write(path, &text);
        let before = node.all();
        let ended = node.call("uninstall", &[]);
        assert_eq!(ended.status, 1, "{ended:?}");
        assert!(ended.stderr.contains(path) && ended.stderr.contains("nothing was changed"));
        assert_eq!(node.all(), before);
    }
}

#[test]
fn uninstall_finds_the_hook_in_an_engines_configured_directory() {
    let node = NodeRoot::new();
    node.program("usr/bin/crio");
    node.write(
        "etc/crio/crio.conf",
        "[crio.runtime]\nhooks_dir = [\"/srv/hooks\"]\n",
    );
    node.succeeds("install", &["--hooks-dir", "/srv/hooks"]);
    node.succeeds("uninstall", &[]);
    assert!(!node.path("srv/hooks/premount.json").exists());
    assert!(!node.path(PROGRAM).exists());
}

#[test]
fn nothing_is_removed_while_a_containers_own_file_names_the_program() {
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    let container = "var/lib/containers/storage/overlay-containers/c1/userdata/config.json";
    node.write(
        container,
        r#"{"annotations": {"org.criu.config": "/srv/mine.conf"}}"#,
    );
    node.write("srv/mine.conf", &format!("action-script /{PROGRAM}\n"));
    let before = node.all();
    let ended = node.call("uninstall", &[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.stderr.contains("/srv/mine.conf"), "{}", ended.stderr);
    assert_eq!(node.all(), before);
    // A file whose script does not exist is a problem.
    node.write("srv/mine.conf", "action-script /gone/premount\n");
    let ended = node.call("status", &[]);
    assert_eq!(ended.status, 1);
    assert!(
        ended.stdout.contains("/srv/mine.conf names /gone/premount"),
        "{}",
        ended.stdout
    );
}

#[test]
fn uninstall_creates_nothing() {
    let node = NodeRoot::new();
    assert_eq!(node.succeeds("uninstall", &[]), "nothing to do\n");
    assert_eq!(node.all().len(), 1, "the root itself");
}

#[test]
fn a_symlinked_criu_directory_and_an_empty_crun_conf_are_kept() {
    let node = NodeRoot::new();
    fs::create_dir_all(node.path("srv/criu")).unwrap();
    fs::create_dir_all(node.path("etc")).unwrap();
    symlink("/srv/criu", node.path("etc/criu")).unwrap();
    node.write("srv/criu/crun.conf", "");
    node.succeeds("install", &[]);
    node.succeeds("uninstall", &[]);
    assert!(
        fs::symlink_metadata(node.path("etc/criu"))
            .unwrap()
            .is_symlink()
    );
    assert_eq!(node.read("srv/criu/crun.conf"), "");
    assert!(!node.path("srv/criu/runc.conf").exists());
}
