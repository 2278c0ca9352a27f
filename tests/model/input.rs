// SPDX-License-Identifier: Apache-2.0
//! What holds for a state and a configuration of any bytes.
#![allow(dead_code)] // Each user takes what it needs.

use std::path::Path;

use premount::Error;
use premount::internals::{
    Config, ConfigMount, KindBy, MountImage, Namespace, Parent, RelPath, RelRef, State, archive,
    compare, config, json, of_text, parse, parse_named, verdict_text,
};

/// A state is refused with one line, or names an absolute bundle.
pub fn state(bytes: &[u8]) {
    match State::from_stream(bytes) {
        Ok(state) => assert!(state.bundle.is_absolute()),
        Err(error) => one_line(&error),
    }
}

/// A configuration is refused with one line, or every mount in it is clean.
pub fn config(bytes: &[u8]) {
    let file = Path::new("config.json");
    let bundle = Path::new("/bundle");
    let text = match json::read_stream(bytes, file, config::MAX_SIZE) {
        Ok(text) => text,
        Err(error) => return one_line(&error),
    };
    let is_oci = config::is_oci(&text);
    match Config::parse(&text, file, bundle) {
        Ok(config) => {
            assert_eq!(config.is_oci, is_oci);
            assert!(config.rootfs.as_ref().unwrap().is_absolute());
            for mount in config.mounts {
                assert!(mount.source().is_none_or(std::path::Path::is_absolute));
                let Ok(path) = mount.destination else {
                    continue;
                };
                let path = path.as_bytes();
                assert!(path.len() < 4096 && !path.contains(&0));
                let mut names = path.split(|&byte| byte == b'/');
                let clean = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && name.len() < 256;
                assert!(path.is_empty() || names.all(clean));
            }
        }
        Err(error) => one_line(&error),
    }
}

/// An image of mounts is refused with one line, or names places inside of what the configuration names.
pub fn images(bytes: &[u8]) {
    let namespace = match parse(bytes, Path::new("mountpoints-1.img")) {
        Ok(namespace) => namespace,
        Err(error) => return one_line(&error),
    };
    let known = [
        ConfigMount {
            resolved: RelRef::new(b"data"),
            destination: RelRef::new(b"data"),
            is_bind: true,
            parent: Parent::Rootfs,
        },
        ConfigMount {
            resolved: RelRef::new(b"run/secrets"),
            destination: RelRef::new(b"var/run/secrets"),
            is_bind: true,
            // No image has it there: wherever one has it, that is where it is wanted.
            parent: Parent::Unplaced,
        },
        ConfigMount {
            resolved: RelRef::new(b"proc"),
            destination: RelRef::new(b"proc"),
            is_bind: false,
            parent: Parent::Broken,
        },
    ];
    let masked = ["/data/masked".to_owned()];
    for required in compare(&[namespace], &[], None, &known, &masked, 10_000)
        .required
        .unwrap_or_default()
    {
        let source = match required.kind {
            KindBy::Source(source) => Some(source),
            KindBy::Configuration(index) => {
                assert!(index < 2);
                None
            }
            KindBy::Checkpoint(_) | KindBy::Nothing => None,
        };
        assert!(!required.at.path.view().is_root());
        for inside in std::iter::once(&required.at).chain(&source) {
            assert!(inside.mount.is_none_or(|index| index < 2));
            let path = inside.path.as_bytes();
            let mut names = path.split(|&byte| byte == b'/');
            let plain = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
            assert!(path.is_empty() || names.all(plain), "{inside:?}");
        }
    }
}

/// An image of open files or of a task of any bytes, after one that says which: it is refused with one line, or
/// names places inside of what the configuration names.
pub fn files(bytes: &[u8]) {
    const NAMES: [&str; 15] = [
        "files.img",
        "reg-files.img",
        "fifo.img",
        "unixsk.img",
        "inotify.img",
        "inotify-wd.img",
        "fanotify.img",
        "fanotify-mark.img",
        "remap-fpath.img",
        "core-1.img",
        "creds-1.img",
        "fs-1.img",
        "ids-1.img",
        "mm-1.img",
        "fdinfo-1.img",
    ];
    let Some((&which, image)) = bytes.split_first() else {
        return;
    };
    let name = NAMES[usize::from(which) % NAMES.len()];
    let files = match parse_named(name, image) {
        Ok(files) => files,
        Err(error) => return one_line(&error),
    };
    let mount = |id, parent, at: &str, external: bool| MountImage {
        id,
        parent,
        device: id,
        root: RelPath::default(),
        mountpoint: RelPath::from_absolute(at.as_bytes()).unwrap(),
        file_system: "ext4".into(),
        external: external.then(|| at.as_bytes().to_vec()),
        read_only: false,
        deleted: false,
    };
    let namespace = Namespace {
        mounts: vec![
            mount(1, 0, "/", false),
            mount(2, 1, "/data", true),
            mount(3, 2, "/data/own", false),
        ],
    };
    let known = [ConfigMount {
        resolved: RelRef::new(b"data"),
        destination: RelRef::new(b"data"),
        is_bind: true,
        parent: Parent::Rootfs,
    }];
    let places = compare(&[namespace], &files, None, &known, &[], 10_000).files;
    // An image has no more than that in the container's view, and no mount here shows a directory far down.
    let places = places.expect("paths that are not too long");
    assert_eq!(places.len(), files.len());
    for (place, open) in places.iter().zip(&files) {
        let Some(place) = place else {
            continue;
        };
        let path = place.at.path.as_bytes();
        let mut names = path.split(|&byte| byte == b'/');
        let plain = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
        assert!(path.is_empty() || names.all(plain), "{open:?}");
        // What is in a mount is at the end of its path in the container.
        assert!(place.at.mount.is_none_or(|index| index == 0));
        assert!(open.path.as_bytes().ends_with(path), "{open:?} {place:?}");
    }
}

/// An archive of any bytes is refused with one line, or has mounts.
pub fn archive(bytes: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("archive");
    std::fs::write(&file, bytes).unwrap();
    match archive::read(&file) {
        Ok(checkpoint) => assert!(!checkpoint.namespaces.is_empty()),
        Err(error) => one_line(&error),
    }
}

/// What is said of a log of any bytes has a few lines, and steers no terminal.
pub fn log(bytes: &[u8]) {
    let text = String::from_utf8(verdict_text(&of_text(bytes))).unwrap();
    assert!(
        text.ends_with('\n') && text.lines().count() <= 16,
        "{text:?}"
    );
    let mut all = text.chars();
    assert!(all.all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

/// An error's text can't forge a second line, nor steer a terminal.
fn one_line(error: &Error) {
    let text = error.to_string();
    assert!(
        !text.is_empty() && !text.chars().any(char::is_control),
        "{text:?}"
    );
}
