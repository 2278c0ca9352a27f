// SPDX-License-Identifier: Apache-2.0
//! Input that can't be used: exit status 2, one line that names the file and the place, nothing
//! created.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{
    Ended, World, copy_binary, ended, is_root, make_fifo, output, output_within, premount,
};

/// The call was refused with one line that has all of `parts`.
fn assert_refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.status, 2, "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    for part in parts {
        assert!(
            ended.stderr.contains(part),
            "{part:?} is missing: {ended:?}"
        );
    }
}

#[test]
fn a_state_that_is_no_state_is_refused() {
    let world = World::new();
    let state = world.state();
    let long = format!("{}{}", " ".repeat(1 << 20), state);
    let deep = format!(
        r#"{{"bundle":"/b","id":{}{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let cases: &[(&[u8], &str)] = &[
        (b"", "empty"),
        (b" \n", "empty"),
        (&state.as_bytes()[..state.len() / 2], "EOF"),
        (b"{\"id\":\"\xff\"}", "not UTF-8 at byte 7"),
        (long.as_bytes(), "longer than 1048576 bytes"),
        (b"[]", "invalid type: sequence, expected an object"),
        (b"7", "invalid type: integer `7`, expected an object"),
        (b"null", "invalid type: null, expected an object"),
        (deep.as_bytes(), "id: recursion limit exceeded"),
        (b"{} {}", "trailing characters"),
        (b"hello", "expected value"),
        (b"{}", "bundle: missing"),
        (br#"{"bundle":""}"#, "bundle: empty"),
        (
            br#"{"bundle":"relative/bundle"}"#,
            "bundle: not an absolute path",
        ),
        (br#"{"bundle":7}"#, "expected a string"),
        (
            br#"{"bundle":"/b","annotations":[]}"#,
            "annotations: invalid type: sequence, expected an object",
        ),
        (
            br#"{"bundle":"/b","annotations":{"io.premount.restore":true}}"#,
            "annotations: ",
        ),
    ];
    let before = world.state_of_all();
    for (stdin, reason) in cases {
        assert_refused(&premount(&[], stdin, &[]), &["standard input: ", reason]);
        assert_refused(
            &premount(&["hook"], stdin, &[]),
            &["standard input: ", reason],
        );
        let by_hand = premount(&["apply", "--state", "-"], stdin, &[]);
        assert_refused(&by_hand, &["standard input: ", reason]);
    }
    assert_eq!(world.state_of_all(), before);
}

#[test]
fn a_bundle_that_is_none_is_refused() {
    let world = World::new();
    let file = world.file("file");
    let empty = world.directory("empty");
    let there = |path: &str| world.path(path).to_str().unwrap().to_owned();
    for (bundle, parts) in [
        (String::new(), ["--bundle", "empty"]),
        (
            there("gone"),
            ["gone", "open: No such file or directory (ENOENT)"],
        ),
        (there("file"), ["file", "open: Not a directory (ENOTDIR)"]),
        (
            there("empty"),
            [
                "empty/config.json",
                "open: No such file or directory (ENOENT)",
            ],
        ),
        ("not/there".to_owned(), ["not/there", "ENOENT"]),
    ] {
        for command in ["plan", "apply", "check"] {
            assert_refused(&premount(&[command, "--bundle", &bundle], b"", &[]), &parts);
        }
    }
    for (bundle, parts) in [
        (world.path("gone"), ["gone", "ENOENT"]),
        (file, ["file", "ENOTDIR"]),
        (empty, ["empty/config.json", "ENOENT"]),
    ] {
        let state = json!({"bundle": bundle, "annotations": {"io.premount.restore": "true"}});
        assert_refused(&premount(&[], state.to_string().as_bytes(), &[]), &parts);
    }
}

#[test]
fn a_configuration_that_is_no_file_is_refused_without_waiting() {
    let world = World::new();
    let config = world.path("bundle/config.json");
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    assert_refused(
        &world.premount("apply"),
        &["config.json: not a regular file"],
    );
    fs::remove_dir(&config).unwrap();
    make_fifo(&config);
    assert_refused(
        &world.premount("apply"),
        &["config.json: not a regular file"],
    );
    fs::remove_file(&config).unwrap();
    world.link("bundle/config.json", "config.json");
    assert_refused(
        &world.premount("apply"),
        &["config.json: open: ", "(ELOOP)"],
    );
}

/// Otherwise the test above would hang, and not fail, were a FIFO waited for.
#[test]
#[should_panic(expected = "it has not ended within")]
fn a_call_that_waits_for_ever_fails_its_test() {
    let mut sleep = Command::new("sleep");
    let child = sleep.arg("600").stdout(Stdio::piped()).spawn().unwrap();
    output_within(Duration::from_millis(100), child, b"");
}

#[test]
fn a_configuration_that_may_not_be_read_is_refused() {
    let world = World::new();
    let config = world.path("bundle/config.json");
    let mut mode = fs::metadata(&config).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0);
    fs::set_permissions(&config, mode).unwrap();
    let mut open = fs::metadata(world.path("")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut open, 0o755);
    fs::set_permissions(world.path(""), open).unwrap();
    // Root may read everything: be somebody else then, with a copy that anyone may execute.
    let copy = world.path("premount");
    copy_binary(&copy);
    let mut call = Command::new(copy);
    call.args(["plan", "--bundle", &world.bundle()]).env_clear();
    if is_root() {
        call.uid(65534).gid(65534);
    }
    assert_refused(
        &ended(&output(&mut call)),
        &["config.json: open: Permission denied (EACCES)"],
    );
}

#[test]
fn a_configuration_without_what_is_needed_is_refused() {
    let world = World::new();
    let config = world.path("bundle/config.json");
    let with_mount = |mount: Value| {
        json!({"root": {"path": "rootfs"}, "mounts": [{"destination": "/ok", "type": "tmpfs"}, mount]}).to_string()
    };
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "config.json: empty"),
        (
            "[]".to_owned(),
            "config.json: invalid type: sequence, expected an object",
        ),
        ("{".to_owned(), "config.json: EOF"),
        (
            " ".repeat((16 << 20) + 1),
            "config.json: longer than 16777216 bytes",
        ),
        (
            json!({"mounts": []}).to_string(),
            "config.json: root: missing",
        ),
        (
            json!({"root": {}, "mounts": []}).to_string(),
            "config.json: root.path: missing",
        ),
        (
            json!({"root": [], "mounts": []}).to_string(),
            "config.json: root: invalid type: sequence",
        ),
        (
            json!({"root": {"path": "rootfs"}, "mounts": {}}).to_string(),
            "config.json: mounts: invalid type: map",
        ),
        (
            json!({"root": {"path": "gone"}, "mounts": []}).to_string(),
            "gone: open: No such file",
        ),
        (
            json!({"root": {"path": "config.json"}, "mounts": []}).to_string(),
            "not a directory",
        ),
        (
            with_mount(json!({"type": "tmpfs"})),
            "mounts[1]: missing field `destination`",
        ),
        (
            with_mount(json!({"destination": 7})),
            "mounts[1]: invalid type: integer",
        ),
        (
            with_mount(json!({"destination": "/a", "options": "bind"})),
            "mounts[1]: invalid type: string",
        ),
        (
            with_mount(json!("/a")),
            "mounts[1]: invalid type: string \"/a\", expected an object",
        ),
    ];
    for (text, reason) in cases {
        fs::write(&config, text).unwrap();
        let before = world.state_of_all();
        for ended in [
            world.premount("plan"),
            world.premount("apply"),
            world.premount("check"),
        ] {
            assert_refused(&ended, &[reason]);
        }
        // The runtime has made something of it: for a restore that is no reason to fail.
        let hook = premount(&[], world.state().as_bytes(), &[]);
        assert_eq!(
            (hook.status, hook.stderr.lines().count()),
            (0, 1),
            "{hook:?}"
        );
        assert!(
            hook.stderr.contains(" WARN premount: nothing done: "),
            "{hook:?}"
        );
        assert!(hook.stderr.contains(reason), "{hook:?}");
        assert_eq!(world.state_of_all(), before, "{reason}");
    }
}

#[test]
fn a_configuration_of_nothing_but_brackets_ends() {
    let world = World::new();
    let config = world.path("bundle/config.json");
    let deep = "[".repeat((16 << 20) - 100);
    for (text, reason) in [
        (deep.clone(), "invalid type: sequence, expected an object"),
        (format!(r#"{{"ignored":{deep}"#), "EOF while parsing"),
        (
            format!(r#"{{"mounts":{deep}"#),
            "mounts[0]: invalid type: sequence",
        ),
        (
            format!(r#"{{"mounts":[{{"a":{deep}"#),
            "mounts[0]: EOF while parsing",
        ),
        (
            format!(r#"{{"linux":{{"a":{deep}"#),
            "linux: EOF while parsing",
        ),
    ] {
        fs::write(&config, text).unwrap();
        assert_refused(&world.premount("plan"), &["config.json: ", reason]);
    }
}

#[test]
fn what_no_library_knows_yet_is_no_error() {
    let mut world = World::new();
    world.tmpfs("/made");
    let mut config = world.config();
    config["process"] = json!({"capabilities": {"bounding": ["CAP_TELEPORT"]}});
    config["linux"] = json!({"namespaces": [{"type": "dream"}],
        "seccomp": {"defaultAction": "SCMP_ACT_SHRUG"}, "future": [[]]});
    config["future"] = json!({"a": 1});
    world.write_config(&config);
    assert_eq!(world.premount("apply").status, 0);
    assert_eq!(world.tree("bundle/rootfs"), ["d made"]);
}

#[test]
fn usage_is_exit_status_2() {
    for arguments in [
        &["plan"][..],
        &["apply", "--bundle", "/a", "--state", "/b"],
        &["frobnicate"],
        &["hook", "--bundle", "/a"],
        &["plan", "--bundle"],
        &["check", "--bundle", "/a", "--format", "xml"],
        &["action"],
    ] {
        let ended = premount(arguments, b"", &[]);
        assert_eq!(
            (ended.status, ended.stdout.as_str()),
            (2, ""),
            "{arguments:?}"
        );
        assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    }
    assert_eq!(premount(&["--help"], b"", &[]).status, 0);
    assert_eq!(premount(&["--version"], b"", &[]).status, 0);
}
