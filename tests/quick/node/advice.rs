// SPDX-License-Identifier: Apache-2.0
//! The comment that premount writes into CRIU's configuration: the command in it removes the installation.

use std::process::Command;

use crate::common;
use crate::common::node_root::{HOOK, NodeRoot, PROGRAM, RUNC};

/// Runs the command from the comment as a shell on the node would.
#[test]
fn the_command_in_the_comment_undoes_the_installation() {
    let elsewhere = ["--program", "/opt/it's/premount"];
    let hooks = ["--hooks-dir", "/srv/my hooks/$HOME"];
    let usual = ["--hooks-dir", "/etc/containers/oci/hooks.d"];
    let both = [elsewhere, hooks].concat();
    let program = format!("/{PROGRAM}");
    for (options, called) in [
        (&[][..], program.as_str()),
        (&elsewhere, elsewhere[1]),
        (&hooks, &program),
        (&usual, &program),
        (&both, elsewhere[1]),
    ] {
        let node = NodeRoot::new();
        node.write(RUNC, "tcp-close\n");
        let before = node.files();
        node.succeeds("install", options);
        node.succeeds("install", options);
        follow_comment(&node, called);
        assert_eq!(node.files(), before, "{options:?}");
    }
    // With --criu-only, a package owns the program and the hook, so only the line goes.
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    let said = node.succeeds("install", &["--criu-only"]);
    assert_eq!(said, format!("updated the comment in /{RUNC}\n"));
    follow_comment(&node, &program);
    assert!(node.path(PROGRAM).exists() && node.path(HOOK).exists() && !node.path(RUNC).exists());
}

fn follow_comment(node: &NodeRoot, program: &str) {
    let text = node.read(RUNC);
    let advice = text
        .lines()
        .find_map(|line| line.strip_prefix("# To remove it: "))
        .unwrap_or_else(|| panic!("no advice: {text}"));
    // The command names the program on the node: check that, and run the binary under test instead.
    let script = format!(
        "set -- {advice}\ntest \"$1\" = \"$PROGRAM\"\nshift\nexec \"$BINARY\" \"$@\" --root \"$ROOT\""
    );
    let mut call = Command::new("sh");
    call.args(["-euc", &script])
        .env("PROGRAM", program)
        .env("BINARY", common::binary())
        .env("ROOT", node.0.path());
    assert!(call.status().unwrap().success(), "{advice}");
}

#[test]
fn two_programs_on_a_node_are_removed_separately() {
    let node = NodeRoot::new();
    let other = ["--program", "/opt/premount"];
    node.succeeds("install", &[]);
    let alone = node.read(RUNC);
    node.succeeds("install", &other);
    node.succeeds("uninstall", &other);
    assert_eq!(node.read(RUNC), alone);
}

#[test]
fn a_hooks_directory_that_the_comment_cannot_name_is_rejected() {
    let node = NodeRoot::new();
    let ended = node.call("install", &["--hooks-dir", "/srv/a\nb"]);
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.stderr.contains("/srv/a\\nb: "), "{ended:?}");
    assert!(node.files().is_empty());
}
