// SPDX-License-Identifier: Apache-2.0
//! When premount acts, and when it stays out of the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::image::{Entry, container, entry, image};
use crate::common::{self, AsCriu, World, premount};

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
    world.directory("vol");
    world.file("vol/nested");
    world.bind("vol", "/data");
    world.tmpfs("/data/nested");
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/nested"));
    let images = world.directory("bundle/checkpoint");
    fs::write(images.join("mountpoints-12.img"), image(&entries)).unwrap();
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
    let ended = AsCriu::restores(&world).call(&[]);
    // Nothing readable says that CRIU needs it.
    assert_eq!(ended.status, 0, "{ended:?}");
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

/// `world`, with the checkpoint of a container that has its volume at /data.
fn with_volume() -> World {
    let mut world = world();
    world.directory("vol");
    world.bind("vol", "/data");
    world.directory("bundle/checkpoint");
    checkpoint(&world, &container());
    world
}

fn checkpoint(world: &World, entries: &[Entry]) {
    let file = world.path("bundle/checkpoint/mountpoints-12.img");
    fs::write(file, image(entries)).unwrap();
}

#[test]
fn the_action_script_takes_the_configuration_of_the_runtime_that_called_criu() {
    let world = with_volume();
    let elsewhere = world.directory("elsewhere");
    // Its current directory, or else what it was called with.
    assert!(AsCriu::restores(&world).call(&[]).status == 0 && acted(&world));
    for option in [
        vec!["--bundle".to_owned(), world.bundle()],
        vec![format!("--bundle={}", world.bundle())],
        vec!["-b".to_owned(), world.bundle()],
    ] {
        let mut criu = AsCriu::restores(&world);
        criu.runtime.clone_from(&elsewhere);
        criu.images.clone_from(&elsewhere);
        let at = criu.runtime_arguments.len() - 1;
        criu.runtime_arguments.splice(at..at, option);
        let ended = criu.call(&[]);
        assert!(ended.status == 0 && acted(&world), "{ended:?}");
    }
    // Nobody else's.
    for change in [
        |criu: &mut AsCriu| criu.word = "restore",
        |criu: &mut AsCriu| criu.word = "service",
        |criu: &mut AsCriu| criu.runtime_arguments = vec!["python3".into(), "script".into()],
    ] {
        let mut criu = AsCriu::restores(&world);
        criu.images.clone_from(&elsewhere);
        change(&mut criu);
        let ended = criu.call(&[]);
        assert_eq!(ended.status, 0, "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(!acted(&world), "{ended:?}");
    }
}

#[test]
fn the_configuration_beside_the_images_has_to_fit_them() {
    let world = with_volume();
    let mut criu = AsCriu::restores(&world);
    criu.runtime = world.directory("elsewhere");
    let ended = criu.call(&[]);
    assert!(ended.status == 0 && acted(&world), "{ended:?}");
    let mut other = container();
    other.push(entry(3, 1, 3, "/other", "/other"));
    other[2].ext_key = Some(b"/other".to_vec());
    let of_no_volume = vec![entry(1, 0, 1, "/rootfs", "/")];
    for entries in [Some(other), Some(of_no_volume), None] {
        match &entries {
            Some(entries) => checkpoint(&world, entries),
            None => fs::remove_file(world.path("bundle/checkpoint/mountpoints-12.img")).unwrap(),
        }
        let ended = criu.call(&[]);
        assert_eq!(ended.status, 0, "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(
            ended.stderr.contains("is not that of what CRIU restores"),
            "{ended:?}"
        );
        assert!(!acted(&world), "{entries:?}");
    }
}

/// What somebody does to a world.
type Change<'a> = &'a dyn Fn(&World);

/// An advisory of 2026: any user could have root make inodes anywhere, as that user's.
#[test]
fn a_configuration_that_others_can_have_written_is_not_taken() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: it takes root to give a file away");
        return;
    }
    let chmod = |path: &Path, mode: u32| {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    let chown = |path: &Path| std::os::unix::fs::chown(path, Some(1000), None).unwrap();
    let config = |world: &World| world.path("bundle/config.json");
    let changes: [(&str, Change); 8] = [
        ("belongs to user 1000", &|world| chown(&config(world))),
        ("others can write to", &|world| chmod(&config(world), 0o646)),
        ("others can write to", &|world| chmod(&config(world), 0o664)),
        ("belongs to user 1000", &|world| {
            chown(&world.path("bundle"));
        }),
        ("others can write to", &|world| {
            chmod(&world.path("bundle"), 0o1777);
        }),
        ("belongs to user 1000", &|world| chown(&world.path(""))),
        ("others can write to", &|world| {
            chmod(&world.path(""), 0o777);
        }),
        ("is a symbolic link (ELOOP)", &|world| {
            fs::rename(config(world), world.path("bundle/real.json")).unwrap();
            world.link("bundle/config.json", "real.json");
        }),
    ];
    for (reason, change) in changes {
        let world = with_volume();
        change(&world);
        let mut beside = AsCriu::restores(&world);
        beside.runtime = "/".into();
        for ended in [
            AsCriu::restores(&world).call(&[]),
            beside.call(&[]),
            premount(&[], world.state().as_bytes(), &[]),
        ] {
            assert_eq!(ended.status, 0, "{reason}: {ended:?}");
            assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
            assert!(ended.stderr.contains(reason), "{reason}: {ended:?}");
            assert!(!acted(&world), "{reason}");
        }
        // Who calls by hand answers for what is named.
        assert_eq!(world.premount("apply").status, 0);
        assert!(acted(&world), "{reason}");
    }
    // In a sticky directory nobody can exchange what is there.
    let world = with_volume();
    chmod(&world.path(""), 0o1777);
    let ended = AsCriu::restores(&world).call(&[]);
    assert!(ended.status == 0 && acted(&world), "{ended:?}");
}

#[test]
fn images_that_others_can_have_written_are_not_looked_at() {
    let world = with_volume();
    let mut entries = container();
    entries.push(entry(3, 2, 9, "/", "/data/of-the-workload"));
    checkpoint(&world, &entries);
    fs::set_permissions(
        world.path("bundle/checkpoint"),
        PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let ended = premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("the checkpoint's mounts are not looked at"),
        "{ended:?}"
    );
    assert!(acted(&world) && world.tree("vol").is_empty());
    fs::set_permissions(
        world.path("bundle/checkpoint"),
        PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(world.tree("vol"), ["d of-the-workload"]);
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
            .matches("ERROR premount: mount /data/a-file")
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
            .matches("ERROR premount: mount /data/its-source")
            .count(),
        1,
        "{ended:?}"
    );
}
