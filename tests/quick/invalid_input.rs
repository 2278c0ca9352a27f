// SPDX-License-Identifier: Apache-2.0
//! Input that can't be used: exit status 2, one line that names the file and the place, nothing
//! created. And what fails for one mount alone: exit status 1, and all else done.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::common::{Ended, World, output_of, output_within, premount};

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
        r#"{{"bundle":"/b","a":{}{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let cases: &[(&[u8], &str)] = &[
        (b"", "empty"),
        (b" \n", "empty"),
        (&state.as_bytes()[..state.len() / 2], "EOF"),
        (b"{\"id\":\"\xff\"}", "not UTF-8 at byte 7"),
        (long.as_bytes(), "longer than 1048576 bytes"),
        (b"[]", "an array, where an object belongs"),
        (b"7", "a number, where an object belongs"),
        (b"null", "null, where an object belongs"),
        (deep.as_bytes(), "nested deeper than 128 levels"),
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
            "annotations: an array",
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
    nix::unistd::mkfifo(&config, Mode::from_bits_truncate(0o600)).unwrap();
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
    // By another process: a program that another test starts meanwhile would hold what this one writes
    // open, and that can't be executed then (ETXTBSY).
    let mut cp = Command::new("cp");
    cp.arg(env!("CARGO_BIN_EXE_premount")).arg(&copy);
    assert!(cp.status().unwrap().success());
    let mut call = Command::new(copy);
    call.args(["plan", "--bundle", &world.bundle()])
        .env_clear()
        .stdin(Stdio::null());
    if nix::unistd::geteuid().is_root() {
        call.uid(65534).gid(65534);
    }
    let piped = call.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = output_of(piped.spawn().unwrap());
    let ended = Ended {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert_refused(&ended, &["config.json: open: Permission denied (EACCES)"]);
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
            "config.json: an array, where an object belongs",
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
            "config.json: root: an array",
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
            "mounts[1]: a string, where an object belongs",
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
fn a_destination_that_is_no_path_fails_that_mount_alone() {
    let mut world = World::new();
    let long = "n".repeat(256);
    let far = format!("/{}", "a/".repeat(2100));
    world.mount(json!({"destination": "/a\0b", "type": "tmpfs"}));
    world.mount(json!({"destination": far, "type": "tmpfs"}));
    world.mount(json!({"destination": format!("/a/{long}"), "type": "tmpfs"}));
    // runc and crun take this one.
    world.mount(json!({"destination": "relative/../in/../made", "type": "tmpfs"}));
    let ended = world.premount("apply");
    assert_eq!(ended.status, 1, "{ended:?}");
    let errors = ["(EINVAL)", "(ENAMETOOLONG)", "(ENAMETOOLONG)"];
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), errors.len(), "{ended:?}");
    for (line, errno) in lines.iter().zip(errors) {
        assert!(
            line.starts_with("ERROR premount: mount /a") && line.ends_with(errno),
            "{line}"
        );
    }
    assert_eq!(world.tree("bundle/rootfs"), ["d made"]);
}

#[test]
fn a_mount_that_fails_is_named_and_the_rest_is_done() {
    let mut world = World::new();
    world.directory("bundle/rootfs/directory");
    world.file("bundle/rootfs/file");
    world.link("bundle/rootfs/loop", "loop");
    world.link("bundle/rootfs/ping", "/pong/x");
    world.link("bundle/rootfs/pong", "ping");
    world.file("source file");
    world.directory("source directory");
    world.tmpfs("/first");
    world.tmpfs("/loop/a");
    world.tmpfs("/ping");
    world.bind("gone", "/source-is-gone");
    world.tmpfs("/source-is-gone/nested");
    world.bind("source file", "/directory");
    world.bind("source directory", "/file");
    world.tmpfs("/file2/../file/below");
    world.bind("source file/below", "/source-in-a-file");
    world.tmpfs("/last");
    let failures = [
        (
            "mount /loop/a: more than 40 symbolic links: ",
            "bundle/rootfs/loop: openat2: ",
            "(ELOOP)",
        ),
        (
            "mount /ping: more than 40 symbolic links: ",
            "bundle/rootfs/p",
            "(ELOOP)",
        ),
        (
            "mount /source-is-gone: its source can't be opened: ",
            "/gone: open: ",
            "(ENOENT)",
        ),
        (
            "mount /source-is-gone/nested: the mount that it lies in has failed",
            "",
            "(ENOENT)",
        ),
        (
            "mount /directory: the mountpoint has to be a file, and a directory is there: ",
            "bundle/rootfs/directory: mount: ",
            "(EISDIR)",
        ),
        (
            "mount /file: the mountpoint has to be a directory, and a file is there: ",
            "bundle/rootfs/file: mount: ",
            "(ENOTDIR)",
        ),
        (
            "mount /source-in-a-file: its source can't be opened: ",
            "source file/below: open: ",
            "(ENOTDIR)",
        ),
    ];
    for command in ["check", "plan", "apply"] {
        let before = world.state_of_all();
        let ended = world.premount(command);
        assert_eq!(ended.status, 1, "{ended:?}");
        let lines: Vec<&str> = ended.stderr.lines().collect();
        // The mount below /file lies in the bind upon it, and is made there.
        assert_eq!(lines.len(), failures.len(), "{ended:?}");
        for (line, (about, path, errno)) in lines.iter().zip(failures) {
            assert!(
                line.contains(about) && line.contains(path) && line.ends_with(errno),
                "{line}"
            );
        }
        if command != "apply" {
            assert_eq!(world.state_of_all(), before, "{command} touches nothing");
        }
    }
    let rootfs = world.tree("bundle/rootfs");
    assert_eq!(
        rootfs,
        [
            "d directory",
            "d first",
            "d last",
            "f file",
            "l loop",
            "l ping",
            "l pong"
        ]
    );
    assert_eq!(world.tree("source directory"), ["d below"]);
    assert_eq!(
        fs::read_to_string(world.path("bundle/rootfs/file")).unwrap(),
        "content"
    );
    // The same once more: the failures stay, and nothing is left to do.
    let before = world.state_of_all();
    assert_eq!(world.premount("apply").status, 1);
    assert_eq!(world.state_of_all(), before);
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
