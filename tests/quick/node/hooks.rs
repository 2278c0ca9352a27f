// SPDX-License-Identifier: Apache-2.0
//! Hooks as `premount status` judges them: what keeps an engine from starting is named, with the remedy, and
//! what an engine takes is no trouble.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::common::make_fifo;
use crate::common::node_root::{HOOK, NodeRoot, PROGRAM};

/// A node with premount installed, and engines.
fn node() -> NodeRoot {
    let node = NodeRoot::new();
    node.program("usr/bin/crio");
    node.program("usr/bin/podman");
    node.program("usr/bin/true");
    node.succeeds("install", &[]);
    node.succeeds("status", &[]);
    node
}

/// The shipped hook, with other properties.
fn hook(changes: &Value) -> String {
    let mut hook = json!({
        "version": "1.0.0",
        "hook": {"path": format!("/{PROGRAM}"), "args": ["premount", "hook"], "timeout": 10},
        "when": {"annotations": {"^io\\.premount\\.restore$": "^true$"}},
        "stages": ["createRuntime"],
    });
    for (key, value) in changes.as_object().unwrap() {
        hook[key] = value.clone();
    }
    hook.to_string()
}

fn broken(node: &NodeRoot, parts: &[&str]) {
    let ended = node.call("status", &[]);
    assert_eq!(ended.status, 1, "{parts:?}: {ended:?}");
    for part in parts {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
}

/// Each was given to Podman 5.4.2 (the same code as CRI-O's), which refused it.
#[test]
fn a_hook_that_engines_refuse_is_broken_and_installing_mends_it() {
    let node = node();
    let path = format!("/{PROGRAM}");
    for (text, reason) in [
        (String::new(), "EOF"),
        ("{".to_owned(), "EOF"),
        ("null".to_owned(), "hook: missing"),
        ("[]".to_owned(), "an array, where an object belongs"),
        (hook(&json!({})) + "x", "trailing characters"),
        (
            hook(&json!({"version": "1.1.0"})),
            "version: \"1.1.0\", where \"1.0.0\" belongs",
        ),
        (
            hook(&json!({"version": 1})),
            "version: a number, where a string belongs",
        ),
        (
            hook(&json!({"version": ""})),
            "hook: an object, where a string belongs",
        ),
        (hook(&json!({"hook": {}})), "hook.path: missing"),
        (
            hook(&json!({"hook": {"path": "/usr/bin/true/x"}})),
            "hook.path: Not a directory (ENOTDIR)",
        ),
        (hook(&json!({"stages": null})), "stages: missing"),
        (
            hook(&json!({"stages": ["frob"]})),
            "stages: \"frob\" is none",
        ),
        (
            hook(&json!({"hook": {"path": path, "timeout": "3"}})),
            "hook.timeout: a string, where a whole number belongs",
        ),
        (
            hook(&json!({"hook": {"path": path, "timeout": 3.5}})),
            "hook.timeout: a number, where a whole number belongs",
        ),
        (
            hook(&json!({"hook": {"path": path, "args": "hook"}})),
            "hook.args: a string, where an array belongs",
        ),
        (
            hook(&json!({"when": {"always": "true"}})),
            "when.always: a string, where a boolean belongs",
        ),
        (
            hook(&json!({"when": []})),
            "when: an array, where an object belongs",
        ),
        (
            hook(&json!({"when": {"annotations": {"a": true}}})),
            "when.annotations: a boolean, where a string belongs",
        ),
        (
            hook(&json!({"when": {"annotations": {"a**": "x"}}})),
            "when.annotations: \"a**\": invalid nested repetition operator",
        ),
        (
            hook(&json!({"when": {"commands": ["(a"]}})),
            "when.commands: \"(a\": missing closing )",
        ),
        (
            json!({"hook": path, "stage": ["prestart"], "stages": ["prestart"]}).to_string(),
            "stage: beside stages",
        ),
    ] {
        fs::write(node.path(HOOK), &text).unwrap();
        broken(
            &node,
            &[
                &format!("/{HOOK}: {reason}"),
                "CRI-O doesn't start, and Podman starts no container",
                "Remedy: premount install, or premount uninstall",
            ],
        );
        node.succeeds("install", &[]);
        node.succeeds("status", &[]);
    }
}

#[test]
fn taking_it_off_leaves_no_broken_hook_of_its_own() {
    let node = node();
    for text in ["", "{", "[]", r#"{"version":"1.0.0","hook":{}}"#] {
        fs::write(node.path(HOOK), text).unwrap();
        node.succeeds("uninstall", &[]);
        assert!(!node.path(HOOK).exists(), "{text}");
        node.succeeds("install", &[]);
    }
    // One that names another program is somebody else's, whatever its name.
    fs::write(
        node.path(HOOK),
        hook(&json!({"hook": {"path": "/usr/bin/true"}})),
    )
    .unwrap();
    node.succeeds("uninstall", &[]);
    assert!(node.path(HOOK).exists());
}

/// Each was given to Podman 5.4.2, which took it.
#[test]
fn a_hook_that_engines_take_is_in_order() {
    let node = node();
    for text in [
        hook(&json!({})).replace("\"version\"", "\"VERSION\""),
        hook(&json!({"hook": {"path": format!("/{PROGRAM}"), "timeout": -3, "args": ["a", null]}})),
        hook(&json!({"when": {"annotations": {"a": null}}})),
        hook(&json!({"when": null, "more": 1})),
        json!({"hook": format!("/{PROGRAM}"), "stages": ["prestart"], "cmds": ["x"]}).to_string(),
        json!({"version": "0.1.0", "hook": format!("/{PROGRAM}"), "stage": ["prestart"]})
            .to_string(),
    ] {
        fs::write(node.path(HOOK), &text).unwrap();
        node.succeeds("status", &[]);
    }
    // Bytes that are no UTF-8, in a string.
    let text = hook(&json!({"when": {"commands": ["zz"]}})).into_bytes();
    let text: Vec<u8> = text
        .iter()
        .map(|&byte| if byte == b'z' { 0xff } else { byte })
        .collect();
    fs::write(node.path(HOOK), text).unwrap();
    node.succeeds("status", &[]);
}

#[test]
fn a_hook_that_engines_take_and_that_can_not_work_is_broken() {
    let node = node();
    let own = format!("/{PROGRAM}");
    let mends = "Remedy: premount install, or premount uninstall";
    for (changes, problem) in [
        (json!({"stages": []}), "has no stages: it is never called"),
        (
            json!({"hook": {"path": &own[1..]}}),
            "names usr/libexec/oci/hooks.d/premount, which is no absolute path: every container that it \
             counts for fails",
        ),
        (
            json!({"hook": {"path": "/gone/premount"}}),
            "names /gone/premount, which isn't there: engines pass over it",
        ),
    ] {
        fs::write(node.path(HOOK), hook(&changes)).unwrap();
        broken(&node, &[&format!("/{HOOK} {problem}"), mends]);
    }
    node.succeeds("install", &[]);
    fs::set_permissions(node.path(PROGRAM), fs::Permissions::from_mode(0o644)).unwrap();
    broken(
        &node,
        &[
            &format!(
                "/{HOOK} names {own}, which can't be executed: every container that it counts for fails"
            ),
            mends,
        ],
    );
}

#[test]
fn another_hook_that_keeps_an_engine_from_starting_is_told_of() {
    let node = node();
    let packages = "usr/share/containers/oci/hooks.d";
    let own = "etc/containers/oci/hooks.d";
    let write = |path: &str, text: &str| node.write(path, text);
    let gone = |path: &str| fs::remove_file(node.path(path)).unwrap();

    // CRI-O reads the packages' directory alone.
    write(&format!("{own}/x.json"), "{");
    broken(
        &node,
        &[
            "/etc/containers/oci/hooks.d/x.json: EOF",
            ": Podman starts no container\n",
            "Remedy: mend /etc/containers/oci/hooks.d/x.json, or remove it",
        ],
    );
    gone(&format!("{own}/x.json"));
    write(&format!("{packages}/x.json"), "{");
    broken(
        &node,
        &["x.json: EOF", "CRI-O doesn't start, and Podman starts"],
    );
    // An engine stops at the first that is wrong; where that one's program is gone, it passes over them all.
    let missing = hook(&json!({"hook": {"path": "/gone/other"}}));
    write(&format!("{packages}/a.json"), &missing);
    node.succeeds("status", &[]);
    gone(&format!("{packages}/a.json"));
    write(&format!("{packages}/z.json"), &missing);
    broken(&node, &["x.json: EOF"]);
    gone(&format!("{packages}/x.json"));
    node.succeeds("status", &[]);

    // What is no file: engines read whatever has such a name.
    let odd = format!("{packages}/odd.json");
    symlink("/gone", node.path(&odd)).unwrap();
    node.succeeds("status", &[]);
    gone(&odd);
    fs::create_dir(node.path(&odd)).unwrap();
    broken(&node, &["odd.json: a directory, where a file belongs"]);
    fs::remove_dir(node.path(&odd)).unwrap();
    make_fifo(&node.path(&odd));
    broken(&node, &["odd.json: not a regular file"]);
    gone(&odd);
    symlink("odd.json", node.path(&odd)).unwrap();
    broken(&node, &["odd.json: ", "(ELOOP)"]);
    gone(&odd);
    write(&format!("{packages}/.json"), "{");
    broken(&node, &["/.json: EOF"]);
    gone(&format!("{packages}/.json"));

    // A stage of Podman's own.
    write(
        &format!("{own}/x.json"),
        &hook(&json!({"hook": {"path": "/usr/bin/true"}, "stages": ["precreate"]})),
    );
    node.succeeds("status", &[]);
    fs::rename(
        node.path(&format!("{own}/x.json")),
        node.path(&format!("{packages}/x.json")),
    )
    .unwrap();
    broken(&node, &["x.json: stages: \"precreate\" is none"]);
}

#[test]
fn a_hook_that_no_engine_reads_is_nobody_s_trouble_but_premount_s_own_is() {
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    node.write("etc/containers/oci/hooks.d/x.json", "{");
    node.succeeds("status", &[]);
    fs::write(node.path(HOOK), "{").unwrap();
    broken(
        &node,
        &["premount.json: EOF", "no engine that reads it starts"],
    );
    fs::remove_file(node.path(HOOK)).unwrap();
    fs::create_dir(node.path(HOOK)).unwrap();
    broken(
        &node,
        &[
            "premount.json: a directory, where a file belongs",
            &format!("Remedy: remove /{HOOK}, and then premount install"),
        ],
    );
}
