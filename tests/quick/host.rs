// SPDX-License-Identifier: Apache-2.0
//! What a checkpoint says of the machine that it was made on, and what premount makes of it on this one. Against CRIU:
//! restore/findings.rs.

use std::fs;

use serde_json::{Value, json};

use crate::common::mount_image::{checkpoint, container};
use crate::common::protobuf::{Value as Field, with_field};
use crate::common::{AsCriu, World, premount};

/// The magic numbers of images.
const COMMON: u32 = 0x5456_4319;
const INVENTORY: u32 = 0x5831_3116;
const CORE: u32 = 0x5505_3847;
const FILES: u32 = 0x5630_3138;
/// CRIU's number of x86-64.
const X86_64: u64 = 1;
/// An architecture that has no tests.
const MIPS: u64 = 6;

/// A world with a checkpoint that can be restored here.
fn world() -> World {
    let mut world = World::new();
    world.directory("vol");
    world.bind("vol", "/data");
    checkpoint(&world, &container());
    write(&world, "inventory.img", &[INVENTORY], &inventory(&[]));
    write(&world, "core-1.img", &[COMMON, CORE], &core(&[]));
    world
}

/// Writes an image with one entry.
fn write(world: &World, name: &str, magic: &[u32], entry: &[u8]) {
    let mut image: Vec<u8> = magic.iter().flat_map(|word| word.to_le_bytes()).collect();
    image.extend(u32::try_from(entry.len()).unwrap().to_le_bytes());
    image.extend(entry);
    fs::write(world.path("bundle/checkpoint").join(name), image).unwrap();
}

/// An entry with these fields besides.
fn inventory(fields: &[(&[u32], Field)]) -> Vec<u8> {
    with_fields(&with_field(&[], &[1], &Field::Number(2)), fields)
}

fn core(fields: &[(&[u32], Field)]) -> Vec<u8> {
    let here = if cfg!(target_arch = "x86_64") {
        X86_64
    } else {
        3
    };
    with_fields(&with_field(&[], &[1], &Field::Number(here)), fields)
}

fn with_fields(entry: &[u8], fields: &[(&[u32], Field)]) -> Vec<u8> {
    let mut entry = entry.to_owned();
    for (path, value) in fields {
        entry = with_field(&entry, path, value);
    }
    entry
}

fn bytes(text: &str) -> Field {
    Field::Bytes(text.as_bytes().to_vec())
}

/// What `check` finds, and its exit status.
fn check(world: &World) -> (i32, Vec<Value>) {
    let (images, bundle) = (world.path("bundle/checkpoint"), world.bundle());
    let images = images.to_str().unwrap();
    let whole = ["check", "--checkpoint", images, "--bundle", &bundle];
    let ended = premount(&[&whole[..], &["--format", "json"]].concat(), b"", &[]);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    (ended.status, report["findings"].as_array().unwrap().clone())
}

/// The one thing that is found: code, severity, detail, and CRIU's words.
fn found(world: &World) -> [Value; 4] {
    let (status, findings) = check(world);
    let [one] = &findings[..] else {
        panic!("{findings:?}")
    };
    assert_eq!(status, i32::from(one["severity"] != "warns"));
    assert_eq!(
        (&one["mount"], &one["host_path"]),
        (&Value::Null, &Value::Null)
    );
    ["kind", "severity", "detail", "criu"].map(|key| one[key].clone())
}

#[test]
fn a_machine_like_this_one_is_no_finding() {
    assert_eq!(check(&world()), (0, Vec::new()));
}

#[test]
fn another_machine_is_found_with_what_criu_says() {
    let world = world();
    write(
        &world,
        "core-1.img",
        &[COMMON, CORE],
        &core(&[(&[1], Field::Number(MIPS))]),
    );
    assert_eq!(
        found(&world),
        [
            "other-architecture",
            "fails",
            "mips64",
            "Core march mismatch 6"
        ]
    );
    // In a restore it is told beforehand, and CRIU fails by itself.
    let ended = AsCriu::restores(&world).call(&[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    let said = "WARN premount: other-architecture: the checkpoint was made on another architecture: mips64";
    assert!(ended.stderr.contains(said), "{ended:?}");

    write(&world, "core-1.img", &[COMMON, CORE], &core(&[]));
    let version = inventory(&[(&[1], Field::Number(77))]);
    write(&world, "inventory.img", &[INVENTORY], &version);
    assert_eq!(
        found(&world),
        [
            "image-version",
            "fails",
            "77",
            "Not supported images version 77"
        ]
    );
}

#[test]
fn a_label_needs_the_module_that_it_is_of() {
    let world = world();
    let label = "system_u:system_r:\u{1b}[31m:s0";
    let labelled = core(&[(&[5, 10, 15], bytes(label))]);
    write(&world, "core-1.img", &[COMMON, CORE], &labelled);
    // A module later than this program.
    let later = inventory(&[(&[6], Field::Number(9))]);
    write(&world, "inventory.img", &[INVENTORY], &later);
    assert_eq!(
        found(&world),
        [
            "other-lsm",
            "fails",
            "system_u:system_r:\\u{1b}[31m:s0",
            "mismatched lsm types and lsm profile specified"
        ]
    );
    // Without a label the module doesn't matter.
    write(&world, "core-1.img", &[COMMON, CORE], &core(&[]));
    assert_eq!(check(&world), (0, Vec::new()));
}

#[test]
fn connections_and_addresses_may_keep_criu_from_restoring() {
    let socket = |port: u64, address: [u8; 4]| {
        let number = |value: u64| Field::Number(value);
        let address = u32::from_ne_bytes(address);
        with_fields(
            &[],
            &[
                (&[1], number(4)),
                (&[2], number(9)),
                (&[4, 3], number(2)),
                (&[4, 5], number(6)),
                (&[4, 7], number(80)),
                (&[4, 8], number(port)),
                (&[4, 11], number(address.into())),
                (&[4, 12], number(address.into())),
            ],
        )
    };
    let world = world();
    let magic = &[COMMON, FILES];
    write(&world, "files.img", magic, &socket(5000, [192, 0, 2, 7]));
    assert_eq!(
        found(&world),
        [
            "tcp-connection",
            "may-fail",
            "1, among them 192.0.2.7:80 to 192.0.2.7:5000",
            "Connected TCP socket in image"
        ]
    );
    // No host has this address; all have the others.
    write(&world, "files.img", magic, &socket(0, [192, 0, 2, 77]));
    assert_eq!(
        found(&world),
        [
            "missing-address",
            "may-fail",
            "192.0.2.77",
            "Can't bind inet socket"
        ]
    );
    for address in [[0, 0, 0, 0], [127, 0, 0, 1], [127, 9, 9, 9]] {
        write(&world, "files.img", magic, &socket(0, address));
        assert_eq!(check(&world), (0, Vec::new()), "{address:?}");
    }
    // CRIU makes the network anew, with its addresses; an engine's may have others.
    let with_network = |path: Option<&str>| {
        let mut config = world.config();
        let network = json!({"type": "network", "path": path});
        config["linux"] = json!({"namespaces": [{"type": "mount"}, network]});
        world.write_config(&config);
        write(&world, "files.img", magic, &socket(0, [192, 0, 2, 77]));
        check(&world)
    };
    assert_eq!(with_network(None), (0, Vec::new()));
    let (status, findings) = with_network(Some("/run/netns/x"));
    assert_eq!((status, findings.len()), (1, 1), "{findings:?}");

    let closed = inventory(&[(&[10], Field::Number(1))]);
    write(&world, "files.img", magic, &socket(5000, [192, 0, 2, 7]));
    write(&world, "inventory.img", &[INVENTORY], &closed);
    assert_eq!(found(&world)[0], "tcp-close");
}

#[test]
fn hostile_images_of_the_machine_leave_the_verdict_open() {
    let world = world();
    let garbage = [0xff; 200];
    for (name, magic) in [
        ("inventory.img", &[INVENTORY][..]),
        ("core-1.img", &[COMMON, CORE]),
        ("cgroup.img", &[COMMON, 0x5938_3330]),
    ] {
        let file = world.path("bundle/checkpoint").join(name);
        let good = fs::read(&file).ok();
        write(&world, name, magic, &garbage);
        assert_eq!(check(&world), (1, Vec::new()), "{name}");
        for bad in [&b""[..], b"x", &garbage] {
            fs::write(&file, bad).unwrap();
            assert_eq!(check(&world), (1, Vec::new()), "{name}");
        }
        match good {
            Some(good) => fs::write(&file, good).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        assert_eq!(check(&world), (0, Vec::new()), "{name}");
    }
    // More than any machine has.
    let mut plugins = Vec::new();
    for number in 0..5000 {
        plugins.extend(with_field(&[], &[12], &bytes(&format!("plugin{number}"))));
    }
    plugins.extend(with_field(&[], &[12], &bytes(&"x".repeat(1 << 20))));
    let many = inventory(&[(&[12], Field::Bytes(plugins))]);
    write(&world, "inventory.img", &[INVENTORY], &many);
    assert_eq!(check(&world), (1, Vec::new()));
}

#[test]
fn an_abstract_name_is_told_with_an_at_sign() {
    let world = world();
    let socket = with_fields(
        &[],
        &[
            (&[1], Field::Number(5)),
            (&[2], Field::Number(9)),
            (&[16, 1], Field::Number(9)),
            (&[16, 6], Field::Number(1)),
            (&[16, 11], bytes("\0journal")),
        ],
    );
    write(&world, "files.img", &[COMMON, FILES], &socket);
    assert_eq!(found(&world)[2], "@journal");
}

/// The name of a socket outside of the container is one of another view: CRIU doesn't bind it.
#[test]
fn a_socket_outside_of_the_container_is_nobodys_to_make() {
    let world = world();
    let socket = with_fields(
        &[],
        &[
            (&[1], Field::Number(5)),
            (&[2], Field::Number(9)),
            (&[16, 1], Field::Number(9)),
            (&[16, 3], Field::Number(2)),
            (&[16, 4], Field::Number(7)),
            (&[16, 6], Field::Number(1)),
            (&[16, 11], bytes("/data/elsewhere/socket\0")),
        ],
    );
    write(&world, "files.img", &[COMMON, FILES], &socket);
    assert_eq!(
        found(&world),
        [
            "external-socket",
            "may-fail",
            "/data/elsewhere/socket",
            "Can't connect"
        ]
    );
    let ended = AsCriu::restores(&world).call(&[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(world.tree("vol").is_empty(), "{ended:?}");
}
