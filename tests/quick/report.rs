// SPDX-License-Identifier: Apache-2.0
//! What `plan`, `apply` and `check` print.

use serde_json::json;
use unicode_width::UnicodeWidthStr;

use crate::common::{self, World, premount};

/// A world with a mount of each sort, and its path.
fn world() -> (World, String) {
    let mut world = World::new();
    for directory in [
        "bundle/rootfs/proc",
        "bundle/rootfs/data",
        "data/there",
        "wrong",
    ] {
        world.directory(directory);
    }
    world.file("file");
    world.mount(json!({"destination": "/proc", "type": "proc", "source": "proc"}));
    world.bind("data", "/data");
    world.tmpfs("/data/there");
    world.bind("file", "/data/missing/file");
    world.tmpfs("/data/there/nested");
    world.bind("file", "/data");
    let path = world
        .path("")
        .to_str()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    (world, path)
}

#[test]
fn the_plan_is_a_tree() {
    let (world, path) = world();
    let ended = world.premount("plan");
    let expected = "\
/                            rootfs             PATH/bundle/rootfs
├─ /proc                     proc    there      PATH/bundle/rootfs/proc
└─ /data                     rbind   there      PATH/bundle/rootfs/data
   ├─ /data/there            tmpfs   there      PATH/data/there
   │  └─ /data/there/nested  tmpfs   by CRIU
   ├─ /data/missing/file     rbind   MISSING    PATH/data/missing/file
   └─ /data                  rbind   FAILED     PATH/data
        it has to be a file, and a directory is there (EISDIR)

6 mounts: 1 mountpoint missing, 1 failed
";
    // A longer one would go on in lines of its own.
    assert!(path.len() < 40, "{path}");
    let shown = ended.stdout.replace(&path, "PATH");
    assert_eq!(
        shown.replace("   /data ", "/data "),
        expected.replace("   /data ", "/data ")
    );
    assert_eq!(ended.status, 1);
}

#[test]
fn check_and_apply_are_a_line_an_inode() {
    let (world, path) = world();
    let lines = |what: &str| {
        format!(
            "{what} directory {path}/data/missing for mount /data/missing/file\n\
             {what} file {path}/data/missing/file for mount /data/missing/file\n"
        )
    };
    let check = world.premount("check").stdout;
    assert_eq!(
        check,
        lines("missing") + "6 mounts: 1 mountpoint missing, 1 failed\n"
    );
    let apply = world.premount("apply").stdout;
    assert_eq!(
        apply,
        lines("created") + "6 mounts: created 1 directory and 1 file, 1 failed\n"
    );
    assert_eq!(world.premount("apply").stdout, "6 mounts: 1 failed\n");
}

#[test]
fn the_json_has_its_documented_shape() {
    let (world, path) = world();
    let report = world.json("check");
    assert_eq!(report["version"], 1);
    assert_eq!(report["command"], "check");
    assert_eq!(report["bundle"], json!(format!("{path}/bundle")));
    assert_eq!(report["rootfs"], json!(format!("{path}/bundle/rootfs")));
    let missing = json!([
        {"path": format!("{path}/data/missing"), "kind": "directory"},
        {"path": format!("{path}/data/missing/file"), "kind": "file"},
    ]);
    let mut mount = json!({
        "index": 3,
        "origin": "configuration",
        "destination": "/data/missing/file",
        "resolved": "/data/missing/file",
        "type": "rbind",
        "source": format!("{path}/file"),
        "parent": 1,
        "host_path": format!("{path}/data/missing/file"),
        "kind": "file",
        "status": "missing",
        "missing": missing,
        "created": [],
        "error": null,
    });
    assert_eq!(report["mounts"][3], mount);
    assert_eq!(
        report["mounts"][5]["error"],
        json!({
            "message": "it has to be a file, and a directory is there",
            "host_path": format!("{path}/data"),
            "operation": "mount",
            "errno": "EISDIR",
        })
    );
    assert_eq!(
        report["summary"],
        json!({"mounts": 6, "present": 4, "missing": 1, "failed": 1, "not_inspected": 0,
               "created_directories": 0, "created_files": 0, "created_fifos": 0,
               "open_files": 0, "open_files_missing": 0, "open_files_failed": 0,
               "open_files_differ": 0})
    );
    mount["status"] = json!("created");
    mount["created"] = std::mem::replace(&mut mount["missing"], json!([]));
    assert_eq!(world.json("apply")["mounts"][3], mount);
}

#[test]
fn the_tree_fits_100_columns() {
    let mut world = World::new();
    let mut deep = String::new();
    for level in 0..40 {
        let source = format!("sources/{}/{level}", "long name ".repeat(8));
        world.directory(&source);
        deep.push_str(if level % 2 == 0 {
            "/日本語の名前"
        } else {
            "/level"
        });
        world.bind(&source, &deep);
    }
    world.tmpfs(&format!("/{}", "w".repeat(250)));
    world.bind("gone", &format!("/{}", "ü/".repeat(120)));
    world.mount(json!({"destination": "/t", "type": "a very long name for a file system"}));
    let ended = world.premount("plan");
    assert!(ended.stdout.lines().count() > 80);
    for line in ended.stdout.lines() {
        assert!(line.width() <= 100, "{} columns: {line}", line.width());
        assert_eq!(line, line.trim_end());
    }
}

#[test]
fn only_a_terminal_gets_colours() {
    let (world, _) = world();
    assert!(!world.premount("plan").stdout.contains('\u{1b}'));
    let in_terminal = |environment: &[&str]| {
        // script(1) gives a program a terminal.
        let call = format!(
            "{} plan --bundle {}",
            common::binary().display(),
            world.bundle()
        );
        let output = std::process::Command::new("env")
            .args(environment)
            .args([
                "script",
                "--quiet",
                "--return",
                "--command",
                &call,
                "/dev/null",
            ])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(in_terminal(&[]).contains("\u{1b}[1;33mMISSING\u{1b}[0m"));
    assert!(!in_terminal(&["NO_COLOR=1"]).contains("[1;33m"));
}

#[test]
fn a_report_that_nobody_reads_changes_nothing() {
    let (world, _) = world();
    let bundle = world.bundle();
    let status = |redirection: &str| {
        let script = format!("exec \"$0\" apply --bundle \"$1\" {redirection}");
        world.shell(&script).status.code()
    };
    assert_eq!(status(">&-"), Some(1));
    assert_eq!(status(">/dev/full"), Some(1));
    assert_eq!(
        premount(&["check", "--bundle", &bundle], b"", &[]).status,
        1
    );
    assert!(world.path("data/missing/file").is_file());
}

/// What was made is made: exit status 2 would mean that nothing was.
#[test]
fn an_apply_that_can_not_be_reported_says_that_it_was_done() {
    let full = "standard output: write: No space left on device (ENOSPC)";
    for format in ["text", "json"] {
        let mut world = World::new();
        world.directory("data");
        world.bind("data", "/data");
        world.tmpfs("/data/missing");
        let bundle = world.bundle();
        let call = |command| common::to_full(&[command, "--bundle", &bundle, "--format", format]);
        for command in ["plan", "check"] {
            let ended = call(command);
            assert_eq!(ended.status, 2, "{ended:?}");
            assert!(ended.stderr.contains(&format!("{full}\n")), "{ended:?}");
        }
        assert!(world.tree("data").is_empty());
        let ended = call("apply");
        assert_eq!(ended.status, 1, "{ended:?}");
        let said = format!("{full}; what was missing has been created\n");
        assert!(ended.stderr.ends_with(&said), "{ended:?}");
        assert_eq!(world.tree("data"), ["d missing"]);

        // And a failure is said all the same.
        world.bind("gone", "/data/gone");
        world.tmpfs("/data/more");
        let ended = call("apply");
        assert_eq!(ended.status, 1, "{ended:?}");
        assert!(ended.stderr.contains("mount /data/gone: "), "{ended:?}");
        let said = format!("{full}; what could be created has been created\n");
        assert!(ended.stderr.ends_with(&said), "{ended:?}");
        assert!(world.path("data/more").is_dir());
    }
}
