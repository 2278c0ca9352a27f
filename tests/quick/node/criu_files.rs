// SPDX-License-Identifier: Apache-2.0
//! CRIU's configuration files as administrators have them: links among them, the ends of lines of another
//! system, other action scripts.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::node_root::{CRUN, DEFAULT, NodeRoot, PROGRAM, RUNC};

fn lines_for_premount(node: &NodeRoot, path: &str) -> usize {
    let text = node.read(path);
    let line = format!("action-script /{PROGRAM}");
    text.lines().filter(|it| it.trim_end() == line).count()
}

fn is_link(node: &NodeRoot, path: &str) -> bool {
    fs::symlink_metadata(node.path(path)).unwrap().is_symlink()
}

#[test]
fn a_file_that_is_a_link_to_another_gets_the_line_once_and_keeps_it() {
    for (link, target) in [(CRUN, RUNC), (RUNC, CRUN), (DEFAULT, RUNC), (DEFAULT, CRUN)] {
        for text in ["tcp-close\n", ""] {
            let node = NodeRoot::new();
            node.write(target, text);
            let name = target.rsplit('/').next().unwrap();
            symlink(name, node.path(link)).unwrap();
            for round in 0..3 {
                let said = node.succeeds("install", &[]);
                let about = format!("{link} -> {target}, round {round}: {said}");
                assert_eq!(lines_for_premount(&node, target), 1, "{about}");
                assert_eq!(said == "nothing to do\n", round > 0, "{about}");
                assert_eq!(
                    said.matches("added the action script").count() > 1,
                    link == DEFAULT && target == CRUN && round == 0,
                    "{about}"
                );
            }
            node.succeeds("uninstall", &[]);
            assert!(is_link(&node, link), "{link} -> {target}");
            let left = fs::read_to_string(node.path(target)).unwrap_or_default();
            assert_eq!(left, text, "{link} -> {target}");
            // An empty crun.conf hides runc.conf, also as the target of a link.
            assert!(node.path(CRUN).exists() || (link, target) == (DEFAULT, RUNC));
        }
    }
}

#[test]
fn a_link_that_leads_nowhere_hides_nothing() {
    let node = NodeRoot::new();
    fs::create_dir_all(node.path("etc/criu")).unwrap();
    symlink("gone.conf", node.path(CRUN)).unwrap();
    node.succeeds("install", &[]);
    assert!(node.names_premount(RUNC));
    assert!(!node.path("etc/criu/gone.conf").exists());
    node.succeeds("uninstall", &[]);
    assert!(is_link(&node, CRUN) && !node.path(RUNC).exists());
}

/// CRIU takes a carriage return for a part of the value (measured: `log-file out.log\r` makes a file of that name).
#[test]
fn ends_of_lines_of_another_system_are_kept_and_premounts_own_line_is_mended() {
    let node = NodeRoot::new();
    let theirs = "# ours\r\nverbosity 4\r\n";
    node.write(RUNC, theirs);
    node.succeeds("install", &[]);
    assert!(node.read(RUNC).ends_with(theirs));
    assert!(node.names_premount(RUNC));

    let unmade = |node: &NodeRoot| {
        let text = node.read(RUNC).replace("\r\n", "\n").replace('\n', "\r\n");
        node.write(RUNC, &text);
    };
    unmade(&node);
    let ended = node.call("status", &[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("premount\\r, which cannot be executed: CRIU aborts every dump"),
        "{ended:?}"
    );
    assert!(
        ended
            .stdout
            .contains("Remedy: run premount install or premount uninstall"),
        "{ended:?}"
    );
    node.succeeds("install", &[]);
    node.succeeds("status", &[]);
    assert_eq!(lines_for_premount(&node, RUNC), 1);
    unmade(&node);
    node.succeeds("uninstall", &[]);
    assert_eq!(node.read(RUNC), theirs);
}

/// CRIU calls all of them, from the last to the first.
#[test]
fn other_action_scripts_stay_in_their_order() {
    let coordinator = "action-script /usr/libexec/criu/criu-coordinator";
    let other = "action-script \"/opt/other\" # mine";
    let node = NodeRoot::new();
    node.program("usr/libexec/criu/criu-coordinator");
    node.program("opt/other");
    let before = format!("{coordinator}\ntcp-close\n{other}");
    node.write(RUNC, &before);
    node.succeeds("install", &[]);
    assert!(node.read(RUNC).ends_with(&before));
    node.succeeds("status", &[]);
    // Somebody moves premount's line between them, with its comments or without.
    let moved = format!(
        "{coordinator}\n{}{other}",
        node.read(RUNC).replace(&before, "")
    );
    node.write(RUNC, &moved);
    assert_eq!(node.succeeds("install", &[]), "nothing to do\n");
    node.succeeds("status", &[]);
    node.succeeds("uninstall", &[]);
    assert_eq!(node.read(RUNC), format!("{coordinator}\n{other}"));
    // One that is missing is named, and premount's own is not blamed.
    node.succeeds("install", &[]);
    fs::remove_file(node.path("opt/other")).unwrap();
    let ended = node.call("status", &[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    let remedy = "Remedy: remove that line from /etc/criu/runc.conf, or install /opt/other\n1 problem found.\n";
    assert!(ended.stdout.ends_with(remedy), "{ended:?}");
}
