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

/// The paths below the root.
fn paths(node: &NodeRoot) -> Vec<std::path::PathBuf> {
    node.all().into_keys().collect()
}

#[test]
fn exactly_the_directories_that_install_made_are_removed() {
    for (there, options) in [
        (&[][..], &[][..]),
        (&["etc"], &[]),
        (&["etc/criu"], &[]),
        (&["usr/libexec", "usr/share/containers/oci/hooks.d"], &[]),
        (
            &["opt"],
            &[
                "--program",
                "/opt/a/b/pm",
                "--hooks-dir",
                "/srv/it's mine/hooks.d",
            ],
        ),
    ] {
        let node = NodeRoot::new();
        for directory in there {
            fs::create_dir_all(node.path(directory)).unwrap();
        }
        let before = paths(&node);
        node.succeeds("install", options);
        // The record outlives a second install, and CRIU's line in another file: an older crun reads no other.
        node.succeeds("install", options);
        node.program("usr/bin/crun");
        fs::write(node.path("usr/bin/crun"), "libcriu").unwrap();
        node.succeeds("install", options);
        assert!(node.path("etc/criu/default.conf").exists(), "{there:?}");
        assert!(!node.path("etc/criu/runc.conf").exists(), "{there:?}");
        fs::remove_dir_all(node.path("usr/bin")).unwrap();
        node.succeeds("install", options);
        node.succeeds("uninstall", options);
        let mut left = paths(&node);
        // The test itself may have made it.
        left.retain(|path| *path != node.path("usr") || before.contains(path));
        assert_eq!(left, before, "{there:?}");
    }
}

#[test]
fn a_directory_that_is_in_use_or_that_cri_o_watches_stays() {
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    node.write("usr/libexec/oci/mine", "");
    node.succeeds("uninstall", &[]);
    let left = node.files().into_keys().collect::<Vec<_>>();
    assert_eq!(left, [node.path("usr/libexec/oci/mine")]);
    assert!(!node.path("usr/libexec/oci/hooks.d").exists() && !node.path("etc").exists());

    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    node.program("usr/bin/crio");
    node.succeeds("uninstall", &[]);
    assert!(node.path("usr/share/containers/oci/hooks.d").is_dir());
    assert!(!node.path("usr/libexec").exists());
}

/// Whatever a comment says, only an empty directory below the root is removed.
#[test]
fn a_record_that_names_other_places_removes_nothing_else() {
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    let line = format!("action-script /{PROGRAM}\n");
    let odd = ["/", "", "..", "/srv/../..", "/srv", "/link"];
    let odd = odd.map(|path| format!("# premount made the directory {path}\n"));
    let text = node.read("etc/criu/runc.conf");
    let text = text.replace(&line, &(odd.concat() + &line));
    node.write("etc/criu/runc.conf", &text);
    node.write("srv/file", "");
    fs::create_dir(node.path("target")).unwrap();
    symlink("target", node.path("link")).unwrap();
    node.succeeds("uninstall", &[]);
    assert!(node.path("srv/file").exists() && node.path("target").is_dir());
    assert!(fs::symlink_metadata(node.path("link")).is_ok());
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
