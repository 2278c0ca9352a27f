// SPDX-License-Identifier: Apache-2.0
//! What holds for a state and a configuration of any bytes.
#![allow(dead_code)] // Each user takes what it needs.

use std::path::Path;

use premount::bundle::State;
use premount::checkpoint::{KindBy, Known, Parent, compare};
use premount::config::{self, Config, Sections};
use premount::error::Error;

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
    let text = match premount::json::read_stream(bytes, file, config::MAX_SIZE) {
        Ok(text) => text,
        Err(error) => return one_line(&error),
    };
    let _ = config::is_oci(&text);
    if let Err(error) = config::restore(&text, file) {
        one_line(&error);
    }
    let parsed = Config::parse(&text, file, bundle);
    // At once or part by part, it says the same.
    if let Some(sections) = Sections::of(&text, file) {
        assert_eq!(sections.are_oci(), config::is_oci(&text));
        assert_eq!(
            said(&sections.restore(file)),
            said(&config::restore(&text, file))
        );
        assert_eq!(said(&sections.config(file, bundle)), said(&parsed));
    }
    match parsed {
        Ok(config) => {
            assert!(config.rootfs.is_absolute());
            for mount in config.mounts {
                assert!(mount.source().is_none_or(|source| source.is_absolute()));
                if mount.no_path.is_some() {
                    continue;
                }
                let path = mount.destination.relative();
                assert!(path.len() < 4096 && !path.contains(&0));
                let mut names = path.split(|&byte| byte == b'/');
                let clean = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && name.len() < 256;
                assert!(path.is_empty() || names.all(clean));
            }
        }
        Err(error) => one_line(&error),
    }
}

fn said<T: std::fmt::Debug>(result: &Result<T, Error>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}

/// An image of mounts is refused with one line, or names places inside of what the configuration names.
pub fn images(bytes: &[u8]) {
    let namespace = match premount::images::parse(bytes, Path::new("mountpoints-1.img")) {
        Ok(namespace) => namespace,
        Err(error) => return one_line(&error),
    };
    let known = [
        Known {
            resolved: b"data",
            destination: b"data",
            is_bind: true,
            parent: Parent::Rootfs,
        },
        Known {
            resolved: b"run/secrets",
            destination: b"var/run/secrets",
            is_bind: true,
            // No image has it there: wherever one has it, that is where it is wanted.
            parent: Parent::Unplaced,
        },
        Known {
            resolved: b"proc",
            destination: b"proc",
            is_bind: false,
            parent: Parent::Broken,
        },
    ];
    let masked = ["/data/masked".to_owned()];
    for wanted in compare(&[namespace], &known, &masked, 10_000)
        .wanted
        .unwrap_or_default()
    {
        let source = match wanted.kind {
            KindBy::Source(source) => Some(source),
            KindBy::Configuration(index) => {
                assert!(index < 2);
                None
            }
            KindBy::Checkpoint(_) | KindBy::Nothing => None,
        };
        assert!(!wanted.at.path.is_empty());
        for inside in std::iter::once(&wanted.at).chain(&source) {
            assert!(inside.mount.is_none_or(|index| index < 2));
            let mut names = inside.path.split(|&byte| byte == b'/');
            let plain = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
            assert!(inside.path.is_empty() || names.all(plain), "{inside:?}");
        }
    }
}

/// An archive of any bytes is refused with one line, or has mounts.
pub fn archive(bytes: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("archive");
    std::fs::write(&file, bytes).unwrap();
    match premount::archive::read(&file) {
        Ok(namespaces) => assert!(!namespaces.is_empty()),
        Err(error) => one_line(&error),
    }
}

/// An error's text can't forge a second line, nor steer a terminal.
fn one_line(error: &Error) {
    let text = error.to_string();
    assert!(
        !text.is_empty() && !text.chars().any(char::is_control),
        "{text:?}"
    );
}
