// SPDX-License-Identifier: Apache-2.0
//! When premount acts, and when it stays out of the way.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::acting::{acted, with_volume, world};
use crate::common::mount_image::{MountEntry, checkpoint, container, entry};
use crate::common::{self, AsCriu, World, premount};

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
fn a_first_start_is_never_failed() {
    let mut world = world();
    world.directory("vol");
    world.file("vol/nested");
    world.bind("vol", "/data");
    world.tmpfs("/data/nested");
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/nested"));
    checkpoint(&world, &entries);
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
    for stage in [
        "pre-dump",
        "post-dump",
        "network-lock",
        "setup-namespaces",
        "post-restore",
        "",
    ] {
        for arguments in [&[][..], &["action"]] {
            let mut criu = AsCriu::restores(&world);
            stage.clone_into(&mut criu.stage);
            let ended = criu.call(arguments);
            assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{stage}");
            assert!(!acted(&world), "{stage}");
        }
    }
    for arguments in [&[][..], &["action"]] {
        let ended = AsCriu::restores(&world).call(arguments);
        assert_eq!((ended.status, ended.stdout.as_str()), (0, ""), "{ended:?}");
        assert!(acted(&world), "{ended:?}");
    }
}

#[test]
fn the_action_script_acts_unless_the_annotation_is_false() {
    let world = world();
    for (annotation, acts) in [("true", true), ("false", false), ("", true), ("no", true)] {
        let mut config = world.config();
        config["annotations"] = json!({"io.premount.restore": annotation});
        world.write_config(&config);
        let ended = AsCriu::restores(&world).call(&[]);
        assert_eq!(ended.status, 0);
        assert_eq!(acted(&world), acts, "{annotation}: {ended:?}");
    }
}

#[test]
fn a_restore_of_what_is_no_oci_container_goes_on() {
    let world = World::new();
    for text in [
        "",
        "{}",
        "[]",
        "no JSON",
        r#"{"name":"an npm package","mounts":[]}"#,
        r#"{"root":{"path":"rootfs"},"mounts":[]}"#,
    ] {
        fs::write(world.path("bundle/config.json"), text).unwrap();
        let ended = AsCriu::restores(&world).call(&[]);
        assert_eq!(ended.status, 0, "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(
            ended.stderr.contains("no OCI configuration found"),
            "{ended:?}"
        );
    }
}

#[test]
fn the_capture_of_a_restore_by_crio_gets_what_it_needs() {
    let world = World::new();
    let (config, state) = common::cost_input::capture(&world);
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
fn a_bundle_that_can_not_be_opened_fails_a_hook_only_if_it_is_not_there() {
    let world = world();
    let name = "n".repeat(256);
    for (bundle, status) in [("gone", 2), ("bundle/config.json", 2), (&*name, 0)] {
        let state =
            json!({"bundle": world.path(bundle), "annotations": {"io.premount.restore": "true"}});
        let ended = premount(&["hook"], state.to_string().as_bytes(), &[]);
        assert_eq!(ended.status, status, "{bundle}: {ended:?}");
        let is_passed_over = ended.stderr.contains(" WARN premount: nothing done: ");
        assert_eq!(is_passed_over, status == 0, "{bundle}: {ended:?}");
    }
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
    // The runtime has made something of it: that it is nothing to premount is no reason to fail.
    let action = AsCriu::restores(&world).call(&[]);
    assert_eq!(action.status, 0, "{action:?}");
    let said = "nothing done: ";
    assert!(
        action.stderr.contains(said) && action.stderr.contains("duplicate field `mounts`"),
        "{action:?}"
    );
    // A container that hasn't asked for premount has nothing to do with it.
    let state = json!({"bundle": world.bundle()}).to_string();
    assert_eq!(premount(&["hook"], state.as_bytes(), &[]).status, 0);
    let asked = config(r#","annotations":{"io.premount.restore":"true"}"#);
    fs::write(world.path("bundle/config.json"), asked).unwrap();
    let hook = premount(&["hook"], state.as_bytes(), &[]);
    assert!(hook.status == 0 && hook.stderr.contains(said), "{hook:?}");
    // And what premount doesn't use may stand there as often as it likes.
    let twice = r#"{"root":{"path":"rootfs"},"mounts":[],"hostname":"a","hostname":"b"}"#;
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

/// CRIU asks for what the checkpoint has. The workload may have unmounted the rest, and put a file there.
#[test]
fn what_the_checkpoint_does_not_mount_fails_no_restore() {
    let mut world = with_volume();
    world.file("vol/a-file-by-now");
    world.tmpfs("/data/a-file-by-now");
    world.bind("gone", "/data/its-source-is-gone");
    world.mount(json!({"destination": "/a\0b", "type": "tmpfs"}));
    world.mount(json!({"destination": format!("/{}", "n".repeat(300)), "type": "tmpfs"}));
    world.mount(json!({"destination": format!("/{}", "n/".repeat(3000)), "type": "tmpfs"}));
    world.mount(json!({"destination": "data/relative", "type": "tmpfs"}));
    let ended = AsCriu::restores(&world).call(&[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert_eq!(
        ended.stderr.matches(" WARN premount: mount ").count(),
        5,
        "{ended:?}"
    );
    assert!(acted(&world) && world.path("vol/relative").is_dir());
    // By hand all of it is told, and the rest is done.
    let by_hand = world.premount("apply");
    assert_eq!(
        (by_hand.status, by_hand.stderr.lines().count()),
        (1, 5),
        "{by_hand:?}"
    );
    // Where the checkpoint has it, CRIU is sure to fail.
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/a-file-by-now"));
    checkpoint(&world, &entries);
    let ended = AsCriu::restores(&world).call(&[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert_eq!(
        ended
            .stderr
            .matches("ERROR premount: wrong-kind: mount /data/a-file")
            .count(),
        1,
        "{ended:?}"
    );
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/gone", "/data/its-source-is-gone"));
    entries[2].ext_key = Some(b"/data/its-source-is-gone".to_vec());
    checkpoint(&world, &entries);
    let ended = AsCriu::restores(&world).call(&[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert_eq!(
        ended
            .stderr
            .matches("ERROR premount: missing-source: mount /data/its-source")
            .count(),
        1,
        "{ended:?}"
    );
}

#[test]
fn a_restore_fails_only_of_what_criu_is_sure_to_fail_of() {
    let fails = |world: &World, more: &[MountEntry]| {
        checkpoint(world, &[&container(), more].concat());
        let ended = premount(&[], world.state().as_bytes(), &[]);
        let said = if ended.status == 1 { "ERROR" } else { " WARN" };
        let lines = ended.stderr.lines();
        let lines = lines.filter(|line| line.starts_with(said) && line.contains("mount /"));
        assert_eq!(lines.count(), 1, "{ended:?}");
        ended.status == 1
    };
    let external = |id, key: &str| MountEntry {
        ext_key: Some(key.into()),
        ..entry(id, 2, 9, "/shown", key)
    };
    let world = with_volume();
    world.file("vol/file");
    assert!(fails(&world, &[entry(3, 2, 9, "/", "/data/file/x")]));
    // What comes in the way by the configuration alone may not be there for CRIU.
    let mut world = with_volume();
    world.file("f");
    world.bind("vol", "/two");
    world.bind("f", "/data/x");
    world.tmpfs("/two/x/y");
    let mut two = entry(3, 1, 2, "/vol", "/two");
    two.ext_key = Some(b"/two".to_vec());
    let nested = entry(5, 3, 9, "/", "/two/x/y");
    assert!(!fails(&world, &[two, external(4, "/data/x"), nested]));
    // A runtime may come through where premount doesn't, but not to what isn't there.
    for (source, is_fatal) in [("gone", true), ("loop", false)] {
        let mut world = with_volume();
        world.link("loop", "loop");
        world.bind(source, "/data/x");
        assert_eq!(
            fails(&world, &[external(3, "/data/x")]),
            is_fatal,
            "{source}"
        );
        // A mount that CRIU makes itself has no source.
        assert!(
            !fails(&world, &[entry(3, 2, 9, "/", "/data/x")]),
            "{source}"
        );
    }
}
