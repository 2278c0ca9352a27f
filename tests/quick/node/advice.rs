// SPDX-License-Identifier: Apache-2.0
//! What premount writes of itself into CRIU's configuration: the command that takes it out again works.

use std::process::Command;

use crate::common;
use crate::common::node_root::{HOOK, NodeRoot, PROGRAM, RUNC};

/// What the line's comment says takes it out, run as a shell on the node would.
#[test]
fn the_advice_in_criu_s_file_takes_off_what_was_installed() {
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
        take_advice(&node, called);
        assert_eq!(node.files(), before, "{options:?}");
    }
    // Where program and hook are a package's, the line alone is premount's to take.
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    let said = node.succeeds("install", &["--criu-only"]);
    assert_eq!(said, format!("renewed the comment in /{RUNC}\n"));
    take_advice(&node, &program);
    assert!(node.path(PROGRAM).exists() && node.path(HOOK).exists() && !node.path(RUNC).exists());
}

fn take_advice(node: &NodeRoot, program: &str) {
    let text = node.read(RUNC);
    let advice = text
        .lines()
        .find_map(|line| line.strip_prefix("# To take it out: "))
        .unwrap_or_else(|| panic!("no advice: {text}"));
    // The program in it is one of the node's: here it is the one under test.
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
fn two_programs_on_a_node_go_one_by_one() {
    let node = NodeRoot::new();
    let other = ["--program", "/opt/premount"];
    node.succeeds("install", &[]);
    let alone = node.read(RUNC);
    node.succeeds("install", &other);
    node.succeeds("uninstall", &other);
    assert_eq!(node.read(RUNC), alone);
}

#[test]
fn a_directory_for_hooks_that_no_comment_can_name_is_refused() {
    let node = NodeRoot::new();
    let ended = node.call("install", &["--hooks-dir", "/srv/a\nb"]);
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.stderr.contains("/srv/a\\nb: "), "{ended:?}");
    assert!(node.files().is_empty());
}
