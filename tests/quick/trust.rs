// SPDX-License-Identifier: Apache-2.0
//! Which configuration and which images premount trusts. Files that belong to other users are in
//! tests/root/trust.rs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::json;

use crate::common::acting::{acted, with_volume, world};
use crate::common::mount_image::{checkpoint, container, entry};
use crate::common::{AsCriu, make_fifo, premount};

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
        // proc(5) gives a long command line in parts.
        vec![
            "--root".into(),
            "r".repeat(5000),
            "--bundle".into(),
            world.bundle(),
        ],
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
            ended
                .stderr
                .contains("belongs to another container: its mounts don't match the checkpoint's: nothing to do"),
            "{ended:?}"
        );
        assert!(!acted(&world), "{entries:?}");
    }
}

/// Neither is waited for: a FIFO for its other end, a socket for anybody.
#[test]
fn a_configuration_that_is_no_file_is_not_taken() {
    let socket = |path: &Path| drop(UnixDatagram::bind(path).unwrap());
    let kinds: [&dyn Fn(&Path); 2] = [&make_fifo, &socket];
    for put in kinds {
        let world = with_volume();
        let config = world.path("bundle/config.json");
        fs::remove_file(&config).unwrap();
        put(&config);
        let ended = premount(&[], world.state().as_bytes(), &[]);
        assert_eq!(ended.status, 0, "{ended:?}");
        let said = "config.json is not a regular file\n";
        assert!(ended.stderr.ends_with(said), "{ended:?}");
    }
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
            .contains("the checkpoint's mounts are not considered"),
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

#[test]
fn every_directory_above_has_to_be_closed_to_others() {
    let world = with_volume();
    world.directory("one/two");
    fs::rename(world.path("bundle"), world.path("one/two/bundle")).unwrap();
    let bundle = world.path("one/two/bundle");
    let annotations = json!({"io.premount.restore": "true"});
    let state = json!({"bundle": bundle, "annotations": annotations}).to_string();
    for open in ["one/two", "one", ""] {
        let mode = |mode| fs::set_permissions(world.path(open), PermissionsExt::from_mode(mode));
        mode(0o777).unwrap();
        let ended = premount(&[], state.as_bytes(), &[]);
        assert_eq!(ended.status, 0, "{open}: {ended:?}");
        let said = format!("others can write to {}\n", world.path(open).display());
        let said = said.replace("/\n", "\n");
        assert!(ended.stderr.ends_with(&said), "{said}: {ended:?}");
        mode(0o755).unwrap();
    }
    assert!(!bundle.join("rootfs/made").exists());
    assert_eq!(premount(&[], state.as_bytes(), &[]).status, 0);
    assert!(bundle.join("rootfs/made").is_dir());
}
