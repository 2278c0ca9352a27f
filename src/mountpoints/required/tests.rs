// SPDX-License-Identifier: Apache-2.0
//! What a checkpoint needs, by example.

use super::*;

fn mount(id: u32, parent: u32, device: u32, root: &str, at: &str) -> MountImage {
    MountImage {
        id,
        parent,
        device,
        root: RelPath::from_absolute(root.as_bytes()).unwrap(),
        mountpoint: RelPath::from_absolute(at.as_bytes()).unwrap(),
        file_system: "tmpfs".into(),
        external: None,
        read_only: false,
        deleted: false,
    }
}

fn external(id: u32, parent: u32, device: u32, root: &str, at: &str) -> MountImage {
    MountImage {
        external: Some(at.as_bytes().to_owned()),
        ..mount(id, parent, device, root, at)
    }
}

fn rel(path: &str) -> Option<RelRef<'_>> {
    RelRef::new(path.as_bytes())
}

fn data() -> ConfigMount<'static> {
    ConfigMount {
        resolved: rel("data"),
        destination: rel("data"),
        is_bind: true,
        parent: Parent::Rootfs,
    }
}

/// The wanted places, as `rootfs:path` or `index:path`, with the kind.
fn places(mounts: Vec<MountImage>) -> Vec<String> {
    places_beside(&[data()], mounts)
}

fn places_beside(known: &[ConfigMount], mounts: Vec<MountImage>) -> Vec<String> {
    let namespace = Namespace { mounts };
    let shown = |inside: &Inside| {
        let base = inside
            .mount
            .map_or("rootfs".to_owned(), |index| index.to_string());
        format!("{base}:{}", String::from_utf8_lossy(inside.path.as_bytes()))
    };
    compare(
        &[namespace],
        &[],
        None,
        known,
        &["/data/masked".to_owned()],
        100,
    )
    .required
    .unwrap()
    .iter()
    .map(|required| match &required.kind {
        KindBy::Checkpoint(kind) => format!("{} {kind}", shown(&required.at)),
        KindBy::Source(source) => format!("{} as {}", shown(&required.at), shown(source)),
        KindBy::Configuration(index) => format!("{} as {index}", shown(&required.at)),
        KindBy::Nothing => format!("{} ?", shown(&required.at)),
    })
    .collect()
}

#[test]
fn a_mount_of_the_workloads_in_a_volume_is_wanted_in_its_source() {
    let mounts = vec![
        mount(1, 0, 1, "/rootfs", "/"),
        external(2, 1, 2, "/vol", "/data"),
        mount(3, 2, 3, "/", "/data/x"),
        mount(4, 3, 4, "/", "/data/x/in-a-tmpfs"),
        mount(5, 2, 2, "/vol/sub", "/data/bound"),
        mount(6, 5, 5, "/", "/data/bound/deep"),
        mount(7, 1, 1, "/rootfs/etc/file", "/data-of-the-rootfs"),
        mount(8, 2, 3, "/something", "/data/of-the-tmpfs"),
    ];
    assert_eq!(
        places(mounts),
        [
            "rootfs:data-of-the-rootfs as rootfs:etc/file",
            "0:bound directory",
            "0:of-the-tmpfs ?",
            "0:sub/deep directory",
            "0:x directory",
        ]
    );
}

#[test]
fn a_masked_file_in_a_volume_is_a_file() {
    let mut null = external(3, 2, 9, "/null", "/data/secret");
    null.external = Some(b"/dev/null".to_vec());
    let mounts = vec![
        mount(1, 0, 1, "/", "/"),
        external(2, 1, 2, "/vol", "/data"),
        null,
        external(4, 2, 9, "/null", "/data/masked"),
        external(5, 2, 9, "/who/knows", "/data/other"),
    ];
    assert_eq!(
        places(mounts),
        ["0:masked file", "0:other ?", "0:secret file"]
    );
}

#[test]
fn a_mount_is_wanted_where_the_checkpoint_has_it_not_where_the_order_of_the_configuration_has_it() {
    let token = |parent| ConfigMount {
        resolved: rel("data/token"),
        destination: rel("data/token"),
        is_bind: true,
        parent,
    };
    let mounts = || {
        vec![
            mount(1, 0, 1, "/rootfs", "/"),
            external(2, 1, 2, "/vol", "/data"),
            external(3, 2, 3, "/tok", "/data/token"),
        ]
    };
    let beside = |parent| places_beside(&[token(parent), data()], mounts());
    assert_eq!(beside(Parent::Rootfs), ["1:token as 0"]);
    assert_eq!(beside(Parent::Unplaced), ["1:token as 0"]);
    // It is there by the configuration, or its source is missing.
    assert_eq!(beside(Parent::Mount(1)), [""; 0]);
    assert_eq!(beside(Parent::Broken), [""; 0]);
}

#[test]
fn of_two_mounts_at_one_place_none_is_misplaced() {
    let upper = ConfigMount {
        parent: Parent::Mount(0),
        ..data()
    };
    let mounts = vec![
        mount(1, 0, 1, "/rootfs", "/"),
        external(2, 1, 2, "/vol", "/data"),
        external(3, 2, 3, "/upper", "/data"),
    ];
    assert_eq!(places_beside(&[data(), upper], mounts), [""; 0]);
}

#[test]
fn of_two_mounts_at_one_place_the_checkpoint_says_which_one_another_is_in() {
    // runc calls a tmpfs that lies on a bind, through a link, by the bind's name: CRIU binds the
    // source in its place.
    let tmpfs = ConfigMount {
        destination: rel("run/s2"),
        is_bind: false,
        parent: Parent::Mount(0),
        ..data()
    };
    let nested = ConfigMount {
        resolved: rel("data/n"),
        destination: rel("data/n"),
        is_bind: true,
        parent: Parent::Mount(1),
    };
    let mounts = |key: Option<&str>| {
        let mut upon = mount(3, 2, 3, "/", "/data");
        upon.external = key.map(|key| key.as_bytes().to_vec());
        vec![
            mount(1, 0, 1, "/rootfs", "/"),
            external(2, 1, 2, "/vol", "/data"),
            upon,
            external(4, 3, 4, "/n", "/data/n"),
        ]
    };
    let all = [data(), tmpfs, nested];
    assert_eq!(places_beside(&all, mounts(Some("/data"))), ["0:n as 2"]);
    assert_eq!(places_beside(&all, mounts(None)), [""; 0]);
}

#[test]
fn what_the_checkpoint_has_of_the_configuration_is_told() {
    let beside = |resolved: &'static str, parent| ConfigMount {
        resolved: rel(resolved),
        destination: rel(resolved),
        is_bind: false,
        parent,
    };
    let token = ConfigMount {
        is_bind: true,
        ..beside("data/token", Parent::Rootfs)
    };
    let known = [
        data(),
        beside("data/own", Parent::Mount(0)),
        beside("data/gone", Parent::Mount(0)),
        token,
    ];
    let mounts = vec![
        mount(1, 0, 1, "/rootfs", "/"),
        external(2, 1, 2, "/vol", "/data"),
        mount(3, 2, 3, "/", "/data/own"),
        external(4, 2, 4, "/tok", "/data/token"),
    ];
    assert_eq!(
        compare(&[Namespace { mounts }], &[], None, &known, &[], 100).has,
        [
            InCheckpoint::External,
            InCheckpoint::Own,
            InCheckpoint::No,
            InCheckpoint::Elsewhere,
        ]
    );
}

#[test]
fn the_root_of_a_namespace_is_at_its_root_and_in_no_mount_of_it() {
    let mounts = vec![
        mount(4, 99, 3, "/", "/orphan"),
        mount(3, 1, 2, "/", "/"),
        mount(1, 0, 1, "/rootfs", "/"),
    ];
    assert_eq!(root_of(&Namespace { mounts }).unwrap().id, 1);
}

#[test]
fn hostile_parents_lead_nowhere() {
    let mounts = vec![
        mount(1, 0, 1, "/", "/"),
        external(2, 1, 2, "/vol", "/data"),
        mount(3, 3, 3, "/", "/data/itself"),
        mount(4, 5, 3, "/", "/data/a"),
        mount(5, 4, 3, "/", "/data/a/b"),
        mount(6, 99, 3, "/", "/data/orphan"),
        mount(7, 2, 3, "/", "/elsewhere"),
        external(8, 1, 2, "/etc", "/not-in-the-configuration"),
        mount(9, 8, 3, "/", "/not-in-the-configuration/x"),
    ];
    // The runtime would have to say what that is; premount only looks whether it is there.
    assert_eq!(places(mounts), ["rootfs:not-in-the-configuration ?"]);
}

#[test]
fn another_namespace_needs_what_it_needs_in_the_same_sources() {
    let main = Namespace {
        mounts: vec![
            mount(1, 0, 1, "/rootfs", "/"),
            external(2, 1, 2, "/vol", "/data"),
        ],
    };
    let other = Namespace {
        mounts: vec![
            mount(11, 10, 1, "/rootfs", "/"),
            mount(12, 11, 2, "/vol", "/data"),
            mount(13, 12, 3, "/", "/data/only-here"),
            mount(14, 11, 4, "/", "/also-only-here"),
        ],
    };
    let all = compare(&[main, other], &[], None, &[data()], &[], 100)
        .required
        .unwrap();
    let places: Vec<(Option<usize>, &[u8])> = all
        .iter()
        .map(|required| (required.at.mount, required.at.path.as_bytes()))
        .collect();
    assert_eq!(
        places,
        [(None, &b"also-only-here"[..]), (Some(0), b"only-here")]
    );
}
