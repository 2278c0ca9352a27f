// SPDX-License-Identifier: Apache-2.0
//! When premount acts, and when it stays out of the way.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod common;

use std::fs;
use std::path::Path;

use common::{World, premount};
use serde_json::{Value, json};

/// A world in which one directory is missing.
fn world() -> World {
    let mut world = World::new();
    world.tmpfs("/made");
    world
}

fn acted(world: &World) -> bool {
    let made = world.path("bundle/rootfs/made");
    let acted = made.is_dir();
    if acted {
        fs::remove_dir(made).unwrap();
    }
    acted
}

#[test]
fn the_hook_acts_on_the_annotation_of_the_state_or_else_of_the_configuration() {
    let world = world();
    for (in_state, in_config, acts) in [
        (json!({"io.premount.restore": "true"}), json!(null), true),
        (
            json!({"io.premount.restore": "true"}),
            json!({"io.premount.restore": "false"}),
            true,
        ),
        (
            json!({"io.premount.restore": "false"}),
            json!({"io.premount.restore": "true"}),
            false,
        ),
        (
            json!({"io.premount.restore": "yes"}),
            json!({"io.premount.restore": "true"}),
            false,
        ),
        (
            json!({"io.premount.restore": ""}),
            json!({"io.premount.restore": "true"}),
            false,
        ),
        (
            json!({"other": "true"}),
            json!({"io.premount.restore": "true"}),
            true,
        ),
        (json!(null), json!({"io.premount.restore": "true"}), true),
        (json!(null), json!({"io.premount.restore": "TRUE"}), false),
        (json!(null), json!(null), false),
        (json!({}), json!({"Xio.premount.restore": "true"}), false),
    ] {
        let mut config = world.config();
        config["annotations"] = in_config.clone();
        world.write_config(&config);
        let state = json!({"bundle": world.bundle(), "annotations": in_state});
        for arguments in [&[][..], &["hook"]] {
            let ended = premount(arguments, state.to_string().as_bytes(), &[]);
            assert_eq!(ended.status, 0, "{ended:?}");
            assert_eq!(ended.stdout, "");
            assert_eq!(acted(&world), acts, "{in_state} {in_config}");
        }
    }
}

#[test]
fn the_hook_says_a_line_an_inode_and_a_line_for_the_sum() {
    let mut world = world();
    world.directory("source");
    world.file("file");
    world.bind("source", "/volume");
    world.bind("file", "/volume/with blank/a\"b");
    let ended = premount(&[], world.state().as_bytes(), &[]);
    let path = |path: &str| world.path(path).to_str().unwrap().replace('"', "\\\"");
    let expected = [
        format!(
            r#" INFO premount: created directory path="{}" mount="/made""#,
            path("bundle/rootfs/made")
        ),
        format!(
            r#" INFO premount: created directory path="{}" mount="/volume""#,
            path("bundle/rootfs/volume")
        ),
        format!(
            r#" INFO premount: created directory path="{}" mount="/volume/with blank/a\"b""#,
            path("source/with blank")
        ),
        format!(
            r#" INFO premount: created file path="{}" mount="/volume/with blank/a\"b""#,
            path("source/with blank/a\"b")
        ),
        " INFO premount: 3 mounts: created 3 directories and 1 file".to_owned(),
    ];
    assert_eq!(ended.stderr.lines().collect::<Vec<_>>(), expected);
    let again = premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(again.stderr, " INFO premount: 3 mounts: nothing missing\n");
}

#[test]
fn a_first_start_is_never_failed() {
    let mut world = world();
    world.bind("gone", "/volume");
    for (status, ends) in [
        ("creating", 0),
        ("created", 0),
        ("stopped", 1),
        ("running", 1),
    ] {
        let mut state: Value = serde_json::from_str(&world.state()).unwrap();
        state["status"] = json!(status);
        assert_eq!(
            premount(&[], state.to_string().as_bytes(), &[]).status,
            ends,
            "{status}"
        );
    }
}

#[test]
fn the_action_script_acts_before_a_restore_alone() {
    let world = world();
    let images = world
        .directory("bundle/checkpoint")
        .to_str()
        .unwrap()
        .to_owned();
    for stage in [
        "pre-dump",
        "post-dump",
        "network-lock",
        "setup-namespaces",
        "post-restore",
        "",
    ] {
        for arguments in [&[][..], &["action"]] {
            let environment = [
                ("CRTOOLS_SCRIPT_ACTION", stage),
                ("CRTOOLS_IMAGE_DIR", &images),
            ];
            let ended = premount(arguments, b"", &environment);
            assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{stage}");
            assert!(!acted(&world), "{stage}");
        }
    }
    for arguments in [&[][..], &["action"]] {
        let environment = [
            ("CRTOOLS_SCRIPT_ACTION", "pre-restore"),
            ("CRTOOLS_IMAGE_DIR", &images),
        ];
        let ended = premount(arguments, b"", &environment);
        assert_eq!((ended.status, ended.stdout.as_str()), (0, ""), "{ended:?}");
        assert!(
            acted(&world),
            "the configuration beside the image directory"
        );
    }
}

#[test]
fn the_action_script_acts_unless_the_annotation_is_false() {
    let world = world();
    let images = world
        .directory("bundle/checkpoint")
        .to_str()
        .unwrap()
        .to_owned();
    for (annotation, acts) in [("true", true), ("false", false), ("", true), ("no", true)] {
        let mut config = world.config();
        config["annotations"] = json!({"io.premount.restore": annotation});
        world.write_config(&config);
        let environment = [
            ("CRTOOLS_SCRIPT_ACTION", "pre-restore"),
            ("CRTOOLS_IMAGE_DIR", &images),
        ];
        let ended = premount(&[], b"", &environment);
        assert_eq!(ended.status, 0);
        assert_eq!(acted(&world), acts, "{annotation}: {ended:?}");
    }
}

#[test]
fn a_restore_of_what_is_no_oci_container_goes_on() {
    let world = World::new();
    let images = world
        .directory("bundle/checkpoint")
        .to_str()
        .unwrap()
        .to_owned();
    for text in [
        "",
        "{}",
        "[]",
        "no JSON",
        r#"{"name":"an npm package","mounts":[]}"#,
    ] {
        fs::write(world.path("bundle/config.json"), text).unwrap();
        let environment = [
            ("CRTOOLS_SCRIPT_ACTION", "pre-restore"),
            ("CRTOOLS_IMAGE_DIR", &images),
        ];
        let ended = premount(&[], b"", &environment);
        assert_eq!(ended.status, 0, "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(
            ended.stderr.contains("no OCI configuration found"),
            "{ended:?}"
        );
    }
}

#[test]
fn the_log_level_comes_from_the_command_line_or_else_the_environment() {
    let world = world();
    let state = world.state();
    let lines = |arguments: &[&str], environment: &[(&str, &str)]| {
        let ended = premount(arguments, state.as_bytes(), environment);
        assert_eq!(ended.status, 0);
        acted(&world);
        ended.stderr.lines().count()
    };
    assert_eq!(lines(&["hook"], &[]), 2);
    assert_eq!(lines(&["hook"], &[("PREMOUNT_LOG", "error")]), 0);
    assert_eq!(
        lines(
            &["hook", "--log-level", "info"],
            &[("PREMOUNT_LOG", "error")]
        ),
        2
    );
    assert_eq!(lines(&["hook", "--log-level", "off"], &[]), 0);
    // A word that means nothing is said, and stops nothing.
    assert_eq!(lines(&["hook"], &[("PREMOUNT_LOG", "loud")]), 3);
}

#[test]
fn the_capture_of_a_restore_by_crio_gets_what_it_needs() {
    let world = World::new();
    let (config, state) = common::inputs::capture(&world);
    world.write_config(&config);

    let ended = premount(&[], state.to_string().as_bytes(), &[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(
        world.tree("host/srv/volumes/data"),
        ["d nested", "d nested/dir"]
    );
    let mounts = config["mounts"].as_array().unwrap();
    let secrets = mounts
        .iter()
        .find(|mount| mount["destination"] == "/run/secrets")
        .unwrap();
    let secrets = secrets["source"].as_str().unwrap();
    assert!(
        Path::new(secrets)
            .join("kubernetes.io/serviceaccount")
            .is_dir()
    );
    assert_eq!(world.premount("check").status, 0);
}

#[test]
fn nothing_in_a_checkpoint_says_where_anything_is_made() {
    // cri-o pull request 10106, CVE-2024-8676: sources by the checkpoint's word.
    let mut world = world();
    world.bind("not there", "/source-is-missing");
    let evil = world.path("evil");
    let mounts = json!([{"source": evil, "destination": "/source-is-missing", "file_type": "directory",
                         "permissions": 511}]);
    let images = world.directory("bundle/checkpoint");
    for (name, content) in [
        ("bind.mounts", mounts.to_string()),
        ("config.dump", json!({"rootfsImage": evil}).to_string()),
        (
            "spec.dump",
            json!({"root": {"path": evil}, "mounts": [{"destination": "/x", "type": "bind",
            "source": evil, "options": ["bind"]}]})
            .to_string(),
        ),
        ("mountpoints-12.img", "no image".to_owned()),
        (
            "config.json",
            json!({"ociVersion": "1", "root": {"path": evil}, "mounts": []}).to_string(),
        ),
    ] {
        fs::write(images.join(name), &content).unwrap();
        if name != "config.json" {
            fs::write(world.path("bundle").join(name), &content).unwrap();
        }
    }
    let images = images.to_str().unwrap();
    let environment = [
        ("CRTOOLS_SCRIPT_ACTION", "pre-restore"),
        ("CRTOOLS_IMAGE_DIR", images),
    ];
    let ended = premount(&[], b"", &environment);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("mount /source-is-missing: its source can't be opened"),
        "{ended:?}"
    );
    assert!(!evil.exists() && !world.path("not there").exists());
    assert!(acted(&world));
}

/// Some JSON decoders take a key twice, and the last counts; premount takes none for another.
#[test]
fn a_key_twice_is_an_error_where_it_counts_and_nowhere_else() {
    let world = world();
    let config = |annotations: &str| {
        format!(
            r#"{{"ociVersion":"1.0.2","root":{{"path":"rootfs"}},"mounts":[],"mounts":[]{annotations}}}"#
        )
    };
    fs::write(world.path("bundle/config.json"), config("")).unwrap();
    let images = world.directory("bundle/checkpoint");
    let environment = [
        ("CRTOOLS_SCRIPT_ACTION", "pre-restore"),
        ("CRTOOLS_IMAGE_DIR", images.to_str().unwrap()),
    ];
    let action = premount(&[], b"", &environment);
    assert_eq!(action.status, 2, "{action:?}");
    assert!(
        action.stderr.contains("duplicate field `mounts`"),
        "{action:?}"
    );
    // A container that hasn't asked for premount has nothing to do with it.
    let state = json!({"bundle": world.bundle()}).to_string();
    assert_eq!(premount(&["hook"], state.as_bytes(), &[]).status, 0);
    let asked = config(r#","annotations":{"io.premount.restore":"true"}"#);
    fs::write(world.path("bundle/config.json"), asked).unwrap();
    assert_eq!(premount(&["hook"], state.as_bytes(), &[]).status, 2);
    // And what premount doesn't use may stand there as often as it likes.
    let twice = r#"{"root":{"path":"rootfs"},"mounts":[],"annotations":{},"annotations":{}}"#;
    fs::write(world.path("bundle/config.json"), twice).unwrap();
    assert_eq!(world.premount("plan").status, 0);
}

#[test]
fn the_name_of_a_container_is_for_the_log_and_may_be_anything() {
    let world = world();
    for id in [json!(7), json!(null), json!(["a"]), json!("a\nb")] {
        let annotations = json!({"io.premount.restore": "true"});
        let state = json!({"id": id, "bundle": world.bundle(), "annotations": annotations});
        let ended = premount(&["hook"], state.to_string().as_bytes(), &[]);
        assert_eq!(ended.status, 0, "{id}: {ended:?}");
    }
}
