// SPDX-License-Identifier: Apache-2.0
//! What `premount uninstall` takes away, and what it leaves because it is somebody else's.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::node_root::{NodeRoot, PROGRAM};

#[test]
fn a_container_s_own_file_for_criu_loses_the_line_too() {
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
fn a_program_that_something_else_names_stays_and_so_does_all_else() {
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
fn an_uninstall_finds_the_hook_where_an_engine_was_told_to_look() {
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
fn a_container_s_own_file_that_names_the_program_keeps_it() {
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
    // And one whose script is gone is broken.
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
fn an_uninstall_makes_nothing() {
    let node = NodeRoot::new();
    assert_eq!(node.succeeds("uninstall", &[]), "nothing to do\n");
    assert_eq!(node.all().len(), 1, "the root itself");
}

#[test]
fn a_linked_directory_of_criu_s_stays_and_an_empty_crun_conf_too() {
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
