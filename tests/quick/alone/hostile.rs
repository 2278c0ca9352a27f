// SPDX-License-Identifier: Apache-2.0
//! Checkpoints that somebody made up: their paths are never opened, and nothing of them does harm.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use super::{Export, bind, check, external, held, mounts, spec, volume};
use crate::common::file_image::{FileEntry, directory, open};
use crate::common::mount_image::{MountEntry, entry};
use crate::common::{World, binary, make_fifo, output, premount};

/// The sources in spec.dump are somebody else's choice. Here they are a directory that has all that is needed, and a
/// FIFO.
#[test]
fn no_source_of_the_checkpoints_is_ever_opened() {
    let world = World::new();
    let trap = world.directory("the-trap");
    let file = world.file("the-trap/content");
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    make_fifo(&world.path("the-trap/hosts"));
    let mut spec = spec(&[]);
    spec["root"]["path"] = json!(trap.join("rootfs"));
    spec["mounts"][1]["source"] = json!(trap);
    spec["mounts"][2]["source"] = json!(trap.join("hosts"));
    let binds = json!([{"source": trap, "destination": "/data", "file_type": "directory"}]);
    let files = [
        open(1, "/data/content", 0o100_644, Some(7)),
        open(2, "/etc/hosts", 0o100_644, Some(7)),
    ];
    let export = Export::new(&mounts(), &files)
        .with("spec.dump", spec.to_string())
        .with(
            "config.dump",
            json!({"runtime": trap, "rootfs": trap}).to_string(),
        )
        .with("bind.mounts", binds.to_string());
    for checkpoint in [export.pack(&world), export.unpack(&world)] {
        let trace = world.path("trace");
        let mut strace = Command::new("strace");
        strace.args([
            "-f",
            "-s",
            "4096",
            "-e",
            "trace=file,desc",
            "-e",
            "abbrev=none",
            "-o",
        ]);
        strace.arg(&trace).arg(binary());
        let ended = output(strace.args(["check", "--checkpoint", &checkpoint]));
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let said = String::from_utf8(ended.stdout).unwrap();
        assert!(said.contains("will be at /data, /etc/hosts (see"), "{said}");
        let trace = fs::read_to_string(trace).unwrap();
        let names_it = |line: &&str| {
            let is_read_or_write = ["read(", "write("].iter().any(|call| line.contains(call));
            line.contains("the-trap") && !is_read_or_write
        };
        let opened: Vec<&str> = trace.lines().filter(names_it).collect();
        assert!(opened.is_empty(), "{opened:?}");
        assert!(trace.contains("openat"), "it was traced");
    }
    // And the very same directory, when the caller names it.
    let checkpoint = export.pack(&world);
    let ended = check(&checkpoint, &[&volume(&world, "/data", "the-trap")]);
    assert!(
        ended.stdout.contains("will be at /etc/hosts (see"),
        "{ended:?}"
    );
}

#[test]
fn a_spec_that_is_none_is_refused_and_other_metadata_says_nothing() {
    let world = World::new();
    let spec = |content: Vec<u8>| Export::new(&mounts(), &held()).with("spec.dump", content);
    let padded = |size: usize| {
        let mut text = self::spec(&[]).to_string().into_bytes();
        text.resize(size, b' ');
        text
    };
    let refused: [(Vec<u8>, &str); 6] = [
        (padded(5 << 20), "longer than"),
        (b"\xff\xfe".to_vec(), "not UTF-8"),
        (b"{\"root\": ".to_vec(), "EOF"),
        (b"[]".to_vec(), ""),
        (b"{}".to_vec(), "root"),
        (
            b"{\"root\": {\"path\": \"/x\"}, \"mounts\": 7}".to_vec(),
            "mounts",
        ),
    ];
    for (content, reason) in refused {
        let export = spec(content);
        for checkpoint in [export.pack(&world), export.unpack(&world)] {
            let ended = check(&checkpoint, &[]);
            assert_eq!(
                (ended.status, ended.stdout.as_str()),
                (2, ""),
                "{reason}: {ended:?}"
            );
            assert_eq!(ended.stderr.lines().count(), 1, "{reason}: {ended:?}");
            assert!(ended.stderr.contains("spec.dump"), "{reason}: {ended:?}");
            assert!(ended.stderr.contains(reason), "{reason}: {ended:?}");
        }
    }
    let expected = check(&spec(padded(4 << 20)).pack(&world), &[]);
    assert_eq!(expected.status, 1, "{expected:?}");
    for garbage in [
        &b""[..],
        b"garbage",
        b"\xff",
        b"{}",
        b"[7]",
        b"[[]]",
        b"null",
        b"{\"runtime\": 7}",
    ] {
        let export = Export::new(&mounts(), &held())
            .with_spec(&[])
            .with("config.dump", garbage)
            .with("bind.mounts", garbage);
        for checkpoint in [export.pack(&world), export.unpack(&world)] {
            let ended = check(&checkpoint, &[]);
            assert_eq!(ended.status, 1, "{ended:?}");
            assert_eq!(
                (&ended.stdout, &ended.stderr),
                (&expected.stdout, &expected.stderr)
            );
        }
    }
}

/// Where there is a bundle, nobody needs what the engine has exported.
#[test]
fn a_spec_that_nobody_needs_is_not_in_the_way() {
    let world = World::new();
    let export = Export::new(&mounts(), &[]).with("spec.dump", vec![b' '; 5 << 20]);
    let checkpoint = export.pack(&world);
    let mut with_bundle = World::new();
    with_bundle.directory("vol");
    with_bundle.bind("vol", "/data");
    let ended = check(&checkpoint, &["--bundle", &with_bundle.bundle()]);
    assert!(ended.status < 2, "{ended:?}");
}

/// A terminal shows what is in a checkpoint, and is not told what to do by it.
#[test]
fn names_are_escaped() {
    let mut all = mounts();
    all.push(external(10, 1, "/a\n\u{1b}[31mb", "/a\n\u{1b}[31mb"));
    let files = [directory(1, "/a\n\u{1b}[31mb/c\n\u{1b}[2J", 0o755)];
    let more = [json!({"destination": "/a\n\u{1b}[31mb", "type": "bind",
                       "source": "/was\n\u{1b}[2J", "options": ["bind"]})];
    let world = World::new();
    let checkpoint = Export::new(&all, &files).with_spec(&more).pack(&world);
    for command in ["plan", "check"] {
        let ended = premount(&[command, "--checkpoint", &checkpoint], b"", &[]);
        assert!(ended.status < 2, "{ended:?}");
        assert!(
            !ended.stdout.contains('\u{1b}') && !ended.stderr.contains('\u{1b}'),
            "{ended:?}"
        );
        assert!(
            ended.stdout.contains("/a\\n\\u{1b}[31mb/c\\n\\u{1b}[2J"),
            "{}",
            ended.stdout
        );
        assert!(
            ended.stdout.contains("which was /was\\n\\u{1b}[2J\n"),
            "{}",
            ended.stdout
        );
    }
    let ended = check(&checkpoint, &["--volume=/x\n\u{1b}[31m=/y"]);
    assert_eq!(ended.status, 2);
    assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
}

#[test]
fn hostile_mounts_do_no_harm() {
    let root = || entry(1, 0, 1, "/rootfs", "/");
    let cases: Vec<(&str, Vec<MountEntry>, Vec<FileEntry>)> = vec![
        (
            "its own parent",
            vec![root(), external(3, 3, "/data", "/data")],
            held(),
        ),
        (
            "a circle",
            vec![
                root(),
                external(3, 4, "/data", "/data"),
                external(4, 3, "/data/x", "/data/x"),
            ],
            held(),
        ),
        ("no root", vec![external(3, 2, "/data", "/data")], held()),
        (
            "no such parent",
            vec![root(), external(3, 99, "/data", "/data")],
            held(),
        ),
        ("on /", vec![root(), external(3, 1, "/", "/")], held()),
        (
            "nothing but an external root",
            vec![external(1, 0, "/", "/")],
            held(),
        ),
        (
            "twice",
            vec![
                root(),
                external(3, 1, "/data", "/data"),
                external(4, 3, "/data", "/data"),
            ],
            held(),
        ),
        (
            "a number twice",
            vec![
                root(),
                external(3, 1, "/data", "/data"),
                external(3, 1, "/more", "/more"),
            ],
            held(),
        ),
        (
            "an empty key",
            vec![root(), external(3, 1, "/data", "")],
            held(),
        ),
        (
            "a key that climbs",
            vec![root(), external(3, 1, "/data", "/../../data")],
            held(),
        ),
        (
            "a file that is a directory",
            vec![
                root(),
                external(3, 1, "/etc/hosts", "/etc/hosts"),
                external(4, 3, "/etc/hosts/x", "/etc/hosts/x"),
            ],
            vec![directory(1, "/etc/hosts/y/z", 0o755)],
        ),
        ("nothing", vec![], held()),
    ];
    for (name, mounts, files) in cases {
        let world = World::new();
        world.directory("vol");
        let export =
            Export::new(&mounts, &files).with_spec(&[bind("/data"), bind("/data"), bind("/")]);
        let checkpoint = export.pack(&world);
        let before = world.state_of_all();
        for more in [&[][..], &[&volume(&world, "/data", "vol")[..]]] {
            for command in ["plan", "check"] {
                let call = [&[command, "--checkpoint", &checkpoint], more].concat();
                let ended = premount(&call, b"", &[]);
                assert!((0..=2).contains(&ended.status), "{name}: {ended:?}");
                assert!(!ended.stderr.contains("panicked"), "{name}: {ended:?}");
                assert!(command == "check" || ended.status != 1, "{name}: {ended:?}");
            }
        }
        assert_eq!(world.state_of_all(), before, "{name}");
    }
}

#[test]
fn thousands_of_mounts_are_listed_in_bounds() {
    let mut all = mounts();
    let names: Vec<String> = (0..5000).map(|number| format!("/data/{number}")).collect();
    for (id, at) in (100..).zip(&names) {
        all.push(external(id, 3, at, at));
    }
    let more: Vec<Value> = names.iter().map(|at| bind(at)).collect();
    let world = World::new();
    let checkpoint = Export::new(&all, &held()).with_spec(&more).pack(&world);
    let ended = check(&checkpoint, &[]);
    assert_eq!((ended.status, ended.stderr.as_str()), (1, ""));
    assert!(
        ended
            .stdout
            .contains("nothing says what will be at /data (see"),
        "{ended:.1000?}"
    );
}
