// SPDX-License-Identifier: Apache-2.0
//! How `premount status` judges hooks: it names those that keep an engine from starting, with the remedy, and
//! accepts those that an engine accepts.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::common::make_fifo;
use crate::common::node_root::{HOOK, NodeRoot, PROGRAM};

/// A node with engines, and premount installed.
fn node() -> NodeRoot {
    let node = NodeRoot::new();
    node.program("usr/bin/crio");
    node.program("usr/bin/podman");
    node.program("usr/bin/true");
    node.succeeds("install", &[]);
    node.succeeds("status", &[]);
    node
}

/// The shipped hook, with some properties replaced.
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

fn reports_problem(node: &NodeRoot, parts: &[&str]) {
    let ended = node.call("status", &[]);
    assert_eq!(ended.status, 1, "{parts:?}: {ended:?}");
    for part in parts {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
}

/// Podman 5.4.2 (whose code is CRI-O's too) rejected each of them.
#[test]
fn a_hook_that_engines_reject_is_a_problem_that_install_fixes() {
    let node = node();
    let path = format!("/{PROGRAM}");
    for (text, reason) in [
        (String::new(), "EOF"),
        ("{".to_owned(), "EOF"),
        ("null".to_owned(), "hook: missing"),
        ("[]".to_owned(), "expected an object, found an array"),
        (hook(&json!({})) + "x", "trailing characters"),
        (
            hook(&json!({"version": "1.1.0"})),
            "version: expected \"1.0.0\", found \"1.1.0\"",
        ),
        (
            hook(&json!({"version": 1})),
            "version: expected a string, found a number",
        ),
        (
            hook(&json!({"version": ""})),
            "hook: expected a string, found an object",
        ),
        (hook(&json!({"hook": {}})), "hook.path: missing"),
        (
            hook(&json!({"hook": {"path": "/usr/bin/true/x"}})),
            "hook.path: Not a directory (ENOTDIR)",
        ),
        (hook(&json!({"stages": null})), "stages: missing"),
        (
            hook(&json!({"stages": ["frob"]})),
            "stages: unknown stage \"frob\"",
        ),
        (
            hook(&json!({"hook": {"path": path, "timeout": "3"}})),
            "hook.timeout: expected an integer, found a string",
        ),
        (
            hook(&json!({"hook": {"path": path, "timeout": 3.5}})),
            "hook.timeout: expected an integer, found a number",
        ),
        (
            hook(&json!({"hook": {"path": path, "args": "hook"}})),
            "hook.args: expected an array, found a string",
        ),
        (
            hook(&json!({"when": {"always": "true"}})),
            "when.always: expected a boolean, found a string",
        ),
        (
            hook(&json!({"when": []})),
            "when: expected an object, found an array",
        ),
        (
            hook(&json!({"when": {"annotations": {"a": true}}})),
            "when.annotations: expected a string, found a boolean",
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
            "stage: conflicts with stages",
        ),
    ] {
        fs::write(node.path(HOOK), &text).unwrap();
        reports_problem(
            &node,
            &[
                &format!("/{HOOK}: {reason}"),
                "CRI-O does not start, and Podman starts no containers",
                "Remedy: run premount install or premount uninstall",
            ],
        );
        node.succeeds("install", &[]);
        node.succeeds("status", &[]);
    }
}

#[test]
fn uninstall_removes_its_own_broken_hook() {
    let node = node();
    for text in ["", "{", "[]", r#"{"version":"1.0.0","hook":{}}"#] {
        fs::write(node.path(HOOK), text).unwrap();
        node.succeeds("uninstall", &[]);
        assert!(!node.path(HOOK).exists(), "{text}");
        node.succeeds("install", &[]);
    }
    // A hook that names another program is not premount's, whatever its file name.
    fs::write(
        node.path(HOOK),
        hook(&json!({"hook": {"path": "/usr/bin/true"}})),
    )
    .unwrap();
    node.succeeds("uninstall", &[]);
    assert!(node.path(HOOK).exists());
}

/// Podman 5.4.2 accepted each of them.
#[test]
fn a_hook_that_engines_accept_is_no_problem() {
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
    // A string that is not UTF-8.
    let text = hook(&json!({"when": {"commands": ["zz"]}})).into_bytes();
    let text: Vec<u8> = text
        .iter()
        .map(|&byte| if byte == b'z' { 0xff } else { byte })
        .collect();
    fs::write(node.path(HOOK), text).unwrap();
    node.succeeds("status", &[]);
}

#[test]
fn a_hook_that_engines_accept_but_that_cannot_work_is_a_problem() {
    let node = node();
    let own = format!("/{PROGRAM}");
    let remedy = "Remedy: run premount install or premount uninstall";
    for (changes, problem) in [
        (json!({"stages": []}), "has no stages: it never runs"),
        (
            json!({"hook": {"path": &own[1..]}}),
            "names usr/libexec/oci/hooks.d/premount, which is not an absolute path: every container that it \
             applies to fails",
        ),
        (
            json!({"hook": {"path": "/gone/premount"}}),
            "names /gone/premount, which does not exist: an engine that starts skips the hook",
        ),
    ] {
        fs::write(node.path(HOOK), hook(&changes)).unwrap();
        reports_problem(&node, &[&format!("/{HOOK} {problem}"), remedy]);
    }
    node.succeeds("install", &[]);
    fs::set_permissions(node.path(PROGRAM), fs::Permissions::from_mode(0o644)).unwrap();
    reports_problem(
        &node,
        &[
            &format!(
                "/{HOOK} names {own}, which cannot be executed: every container that it applies to fails"
            ),
            remedy,
        ],
    );
}

#[test]
fn any_hook_that_keeps_an_engine_from_starting_is_reported() {
    let node = node();
    let packaged = "usr/share/containers/oci/hooks.d";
    let admins = "etc/containers/oci/hooks.d";
    let write = |path: &str, text: &str| node.write(path, text);
    let gone = |path: &str| fs::remove_file(node.path(path)).unwrap();

    // CRI-O reads only the packages' directory.
    write(&format!("{admins}/x.json"), "{");
    reports_problem(
        &node,
        &[
            "/etc/containers/oci/hooks.d/x.json: EOF",
            ": Podman starts no containers\n",
            "Remedy: fix or remove /etc/containers/oci/hooks.d/x.json",
        ],
    );
    gone(&format!("{admins}/x.json"));
    write(&format!("{packaged}/x.json"), "{");
    reports_problem(
        &node,
        &["x.json: EOF", "CRI-O does not start, and Podman starts"],
    );
    // Only the first fault counts. If it is a missing program, engines ignore all later faults.
    let missing = hook(&json!({"hook": {"path": "/gone/other"}}));
    write(&format!("{packaged}/a.json"), &missing);
    node.succeeds("status", &[]);
    gone(&format!("{packaged}/a.json"));
    write(&format!("{packaged}/z.json"), &missing);
    reports_problem(&node, &["x.json: EOF"]);
    gone(&format!("{packaged}/x.json"));
    node.succeeds("status", &[]);

    // Anything with such a name, since engines try to read it whatever its type.
    let odd = format!("{packaged}/odd.json");
    symlink("/gone", node.path(&odd)).unwrap();
    node.succeeds("status", &[]);
    gone(&odd);
    fs::create_dir(node.path(&odd)).unwrap();
    reports_problem(&node, &["odd.json: expected a file, found a directory"]);
    fs::remove_dir(node.path(&odd)).unwrap();
    make_fifo(&node.path(&odd));
    reports_problem(&node, &["odd.json: not a regular file"]);
    gone(&odd);
    symlink("odd.json", node.path(&odd)).unwrap();
    reports_problem(&node, &["odd.json: ", "(ELOOP)"]);
    gone(&odd);
    write(&format!("{packaged}/.json"), "{");
    reports_problem(&node, &["/.json: EOF"]);
    gone(&format!("{packaged}/.json"));

    // A stage that only Podman knows.
    write(
        &format!("{admins}/x.json"),
        &hook(&json!({"hook": {"path": "/usr/bin/true"}, "stages": ["precreate"]})),
    );
    node.succeeds("status", &[]);
    fs::rename(
        node.path(&format!("{admins}/x.json")),
        node.path(&format!("{packaged}/x.json")),
    )
    .unwrap();
    reports_problem(&node, &["x.json: stages: unknown stage \"precreate\""]);
}

/// CRI-O 1.36.3 does not start with such a file, wherever its own program is.
#[test]
fn a_broken_hook_is_a_problem_if_no_engine_is_found_or_it_is_in_opt() {
    for crio in [None, Some("opt/bin/crio")] {
        for directory in [
            "usr/share/containers/oci/hooks.d",
            "etc/containers/oci/hooks.d",
        ] {
            let node = NodeRoot::new();
            node.succeeds("install", &[]);
            if let Some(crio) = crio {
                node.program(crio);
                node.write(
                    "etc/crio/crio.conf",
                    &format!("[crio.runtime]\nhooks_dir = [\"/usr/share/containers/oci/hooks.d\", \"/{directory}\"]\n"),
                );
            }
            node.succeeds("status", &[]);
            let hook = format!("{directory}/other.json");
            node.write(&hook, "{");
            let consequence = match crio {
                None => "an engine that reads it does not start",
                Some(_) => "CRI-O does not start",
            };
            let parts = [
                &format!("Problem: /{hook}: EOF"),
                consequence,
                &format!("Remedy: fix or remove /{hook}"),
            ];
            reports_problem(&node, &parts);
        }
    }
}

/// A CRI-O that started without the program skips the hook until its file is written again.
#[test]
fn a_program_that_was_missing_comes_back_with_its_hook() {
    let node = node();
    fs::remove_file(node.path(PROGRAM)).unwrap();
    let said = node.succeeds("install", &[]);
    assert_eq!(said, format!("wrote /{PROGRAM}\nwrote /{HOOK}\n"));
    node.succeeds("status", &[]);
    assert_eq!(node.succeeds("install", &[]), "nothing to do\n");
}

#[test]
fn a_broken_hook_that_no_engine_reads_is_a_problem_only_if_it_is_premounts() {
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    node.program("usr/bin/crio");
    node.write("etc/containers/oci/hooks.d/x.json", "{");
    node.succeeds("status", &[]);
    fs::remove_file(node.path("usr/bin/crio")).unwrap();
    fs::remove_file(node.path("etc/containers/oci/hooks.d/x.json")).unwrap();
    fs::write(node.path(HOOK), "{").unwrap();
    reports_problem(
        &node,
        &[
            "premount.json: EOF",
            "an engine that reads it does not start",
        ],
    );
    fs::remove_file(node.path(HOOK)).unwrap();
    fs::create_dir(node.path(HOOK)).unwrap();
    reports_problem(
        &node,
        &[
            "premount.json: expected a file, found a directory",
            &format!("Remedy: remove /{HOOK}, then run premount install"),
        ],
    );
}
