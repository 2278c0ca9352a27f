// SPDX-License-Identifier: Apache-2.0
//! Checkpoints without a bundle, with as much beside the images as there may be.

use std::fs;

use super::images::MOUNTS;
use super::measure::call;
use crate::common::archive::{gzipped, member, tar};
use crate::common::file_image::{FILES, directory, image as file_image};
use crate::common::mount_image::{MountEntry, container, entry, image};

/// Most bytes of a file beside the images.
const MOST: usize = 4 << 20;
/// Most mounts of a configuration.
const CONFIGURED: usize = 100_000;

fn external(number: u32, at: &str) -> MountEntry {
    MountEntry {
        ext_key: Some(at.into()),
        ..entry(100 + number, 1, 1000 + number, "/", at)
    }
}

/// A list in JSON, with as many elements as fit.
fn list(before: &str, after: &str, element: impl Fn(usize) -> String) -> String {
    let mut text = before.to_owned();
    for number in 0..CONFIGURED {
        let element = element(number);
        if text.len() + element.len() + after.len() + 1 > MOST {
            break;
        }
        if number > 0 {
            text.push(',');
        }
        text += &element;
    }
    text + after
}

fn spec(element: impl Fn(usize) -> String) -> String {
    list(
        r#"{"ociVersion":"1","root":{"path":"r"},"mounts":["#,
        "]}",
        element,
    )
}

/// Calls `plan` and `check` on it in every way.
fn in_bounds(what: &str, mounts: &[MountEntry], spec: &str, binds: &str) {
    let world = tempfile::tempdir().unwrap();
    let held: Vec<_> = (0..1000)
        .map(|id| directory(id, &format!("/data/{id}"), 0o755))
        .collect();
    let members = [
        ("spec.dump", spec.as_bytes()),
        ("config.dump", &vec![b' '; MOST]),
        ("bind.mounts", binds.as_bytes()),
        ("checkpoint/mountpoints-1.img", &image(mounts)),
        ("checkpoint/files.img", &file_image(FILES, &held)),
    ];
    let (unpacked, packed) = (world.path().join("c"), world.path().join("c.tar.gz"));
    fs::create_dir_all(unpacked.join("checkpoint")).unwrap();
    for (path, content) in members {
        fs::write(unpacked.join(path), content).unwrap();
    }
    fs::write(&packed, gzipped(&tar(&members))).unwrap();
    let vol = world.path().join("vol");
    fs::create_dir(&vol).unwrap();
    let volume = format!("--volume=/data={}", vol.display());
    let unpacked = unpacked.to_str().unwrap();
    for more in [
        &["plan", "--checkpoint", unpacked][..],
        &["check", "--checkpoint", unpacked, "--format", "json"],
        &["check", "--checkpoint", unpacked, &volume],
        &["check", "--checkpoint", packed.to_str().unwrap()],
    ] {
        let ended = call(more, b"");
        assert!(ended.status < 2, "{what}: {ended:.1000?}");
    }
}

/// The volume, and as many mounts beside it as there may be.
fn mounts(at: impl Fn(u32) -> String) -> Vec<MountEntry> {
    let mut all = container();
    let mut left = (1_usize << 20) - 200;
    let mut directories = (8_usize << 20) - 1000;
    for number in 0..MOUNTS {
        let at = at(number);
        let ways = at.matches('/').count() * (128 + 8 + at.len());
        let (Some(names), Some(ways)) = (
            left.checked_sub(2 * at.len() + 9),
            directories.checked_sub(ways),
        ) else {
            break;
        };
        (left, directories) = (names, ways);
        all.push(external(number, &at));
    }
    all
}

#[test]
fn a_configuration_beside_the_images_takes_64_mib() {
    let bind = |at: &str| format!(r#"{{"destination":"{at}","type":"bind"}}"#);
    let kind = |at: &str| format!(r#"{{"destination":"{at}","file_type":"file"}}"#);
    let binds = |at: fn(usize) -> String| list("[", "]", |number| kind(&at(number)));
    let same_name = |number: usize| format!("/{number:x}/x");
    in_bounds(
        "the same last component",
        &mounts(|number| same_name(number as usize)),
        &spec(|number| bind(&same_name(number))),
        &binds(same_name),
    );
    in_bounds(
        "only one mount",
        &mounts(|number| same_name(number as usize)),
        &spec(|_| bind("/data/x")),
        &binds(|_| "/data/x".to_owned()),
    );
    let deep = |number: usize| format!("{}/{number}{}", "/a".repeat(20), "/a".repeat(20));
    in_bounds(
        "many components in common",
        &mounts(|number| deep(number as usize)),
        &spec(|number| bind(&deep(number))),
        &binds(deep),
    );
    let nested = |number: usize| format!("/data/{number:x}");
    in_bounds(
        "all in one volume",
        &mounts(|number| nested(number as usize)),
        &spec(|number| bind(&nested(number))),
        &binds(nested),
    );
    let empty = || r#"{"destination":""}"#.to_owned();
    in_bounds(
        "nothing",
        &container(),
        &spec(|_| empty()),
        &binds(|_| String::new()),
    );
    let long = "x".repeat(MOST - 200);
    let source = format!(r#"{{"destination":"/data","type":"bind","source":"/{long}"}}"#);
    in_bounds(
        "a long source",
        &container(),
        &spec(|_| source.clone()),
        "[]",
    );
}

/// Of two with one name the later counts.
#[test]
fn many_configurations_take_the_memory_of_one() {
    let world = tempfile::tempdir().unwrap();
    let text = spec(|number| format!(r#"{{"destination":"/{number}","type":"bind"}}"#));
    let mut bytes = member("spec.dump", text.as_bytes()).repeat(20);
    bytes.extend(member("bind.mounts", text.as_bytes()).repeat(20));
    let last = ("checkpoint/mountpoints-1.img", &image(&container())[..]);
    bytes.extend(tar(&[last]));
    let packed = world.path().join("c.tar");
    fs::write(&packed, bytes).unwrap();
    let ended = call(&["check", "--checkpoint", packed.to_str().unwrap()], b"");
    assert_eq!(ended.status, 0, "{ended:.1000?}");
}
