// SPDX-License-Identifier: Apache-2.0
//! The software bill of materials: it lists what cargo says the program is made of, completely, and every
//! package has it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::machine::{prepare_rpm, succeeds};
use crate::enter::PACKAGES;

/// The bill, here or inside of a root.
fn bill(at: &Path) -> Result<Value, String> {
    let directory = at.join(PACKAGES);
    let entries = fs::read_dir(&directory)
        .map_err(|error| format!("{}: {error}: run `make test`", directory.display()))?;
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let path = paths
        .find(|path| path.to_string_lossy().ends_with(".cdx.json"))
        .expect("a bill");
    Ok(serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    let text = value[field].as_str();
    text.unwrap_or_else(|| panic!("no {field}: {value}"))
}

/// What cargo says a build needs; proc-macro crates are `kinds` too, or not.
fn tree(kinds: &str) -> BTreeSet<String> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new("cargo")
        .args([
            "tree",
            "--locked",
            "--offline",
            "--prefix",
            "none",
            "--no-dedupe",
        ])
        .args(["--format", "{p}", "--target", &target, "--edges", kinds])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let packages = lines.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (name, version) = (words.next()?, words.next()?.trim_start_matches('v'));
        (name != env!("CARGO_PKG_NAME")).then(|| format!("{name} {version}"))
    });
    packages.collect()
}

/// The packages whose sources the release build names, for panics.
fn seen_in_the_program() -> Result<BTreeSet<String>, String> {
    let path = std::env::var("PREMOUNT_RELEASE_BINARY").map_err(|_| {
        "PREMOUNT_RELEASE_BINARY is not set: run `make test`, which does".to_owned()
    })?;
    let program = fs::read(path).unwrap();
    let program = String::from_utf8_lossy(&program);
    let named = program.split("/registry/src/").skip(1).filter_map(|rest| {
        let directory = rest.split('/').nth(1)?;
        let (end, _) = directory.match_indices('-').find(|(at, _)| {
            let version = &directory[at + 1..];
            version.starts_with(|first: char| first.is_ascii_digit())
        })?;
        Some(format!("{} {}", &directory[..end], &directory[end + 1..]))
    });
    Ok(named.collect())
}

/// It is of the form that CycloneDX 1.5 requires, and complete.
pub fn complete() -> Result<(), String> {
    let bill = bill(Path::new(env!("CARGO_MANIFEST_DIR")))?;
    assert_eq!(text(&bill, "bomFormat"), "CycloneDX");
    assert_eq!(text(&bill, "specVersion"), "1.5");
    let program = &bill["metadata"]["component"];
    assert_eq!(text(program, "name"), env!("CARGO_PKG_NAME"));
    assert_eq!(text(program, "version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(text(program, "type"), "application");

    let lock =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let (mut listed, mut required) = (BTreeSet::new(), BTreeSet::new());
    let mut references = BTreeSet::from([text(program, "bom-ref")]);
    for component in bill["components"].as_array().expect("components") {
        let (name, version) = (text(component, "name"), text(component, "version"));
        let package = format!("{name} {version}");
        assert_eq!(text(component, "type"), "library", "{package}");
        let purl = format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"));
        assert_eq!(text(component, "purl"), purl);
        let licence = text(&component["licenses"][0], "expression");
        assert!(
            !licence.is_empty() && !licence.contains('/'),
            "{package}: {licence}"
        );
        let hash = &component["hashes"][0];
        assert_eq!(text(hash, "alg"), "SHA-256", "{package}");
        let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        let locked = lock.split("\n\n").find(|entry| entry.contains(&locked));
        let checksum = format!("checksum = \"{}\"", text(hash, "content"));
        assert!(locked.expect("the entry").contains(&checksum), "{package}");
        if text(component, "scope") == "required" {
            required.insert(package.clone());
        }
        assert!(listed.insert(package), "{name} is there twice");
        assert!(references.insert(text(component, "bom-ref")), "{name}");
    }
    assert_eq!(listed, tree("normal"));
    assert_eq!(required, tree("normal,no-proc-macro"));
    let seen = seen_in_the_program()?;
    assert!(seen.len() > 10, "{seen:?}");
    let missing: Vec<_> = seen.difference(&required).collect();
    assert!(
        missing.is_empty(),
        "in the program, but not in the bill: {missing:?}"
    );

    let mut described = BTreeSet::new();
    for entry in bill["dependencies"].as_array().expect("dependencies") {
        assert!(described.insert(text(entry, "ref")), "{entry}");
        for needed in entry["dependsOn"].as_array().expect("a list") {
            assert!(references.contains(needed.as_str().unwrap()), "{entry}");
        }
    }
    assert_eq!(described, references);
    Ok(())
}

/// The deb, the rpm, the tarball and the image's context have the bill that is beside them.
pub fn everywhere() {
    let file = "usr/share/doc/premount/premount.cdx.json";
    prepare_rpm();
    succeeds(&format!(
        "rpm -i {PACKAGES}/premount-*.rpm && cp /{file} /w-rpm && rpm -e premount"
    ));
    for copy in [
        format!("dpkg-deb --fsys-tarfile {PACKAGES}/premount_*.deb | tar -xO ./{file}"),
        "cat /w-rpm".to_owned(),
        format!("tar -xOf {PACKAGES}/premount-*-linux.tar.gz --wildcards '*/premount.cdx.json'"),
        format!("cat {PACKAGES}/image/premount.cdx.json"),
    ] {
        succeeds(&format!("{copy} | cmp - {PACKAGES}/premount-*.cdx.json"));
    }
}
