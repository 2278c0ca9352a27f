// SPDX-License-Identifier: Apache-2.0
//! Writes the software bill of materials, in CycloneDX's JSON, to standard output:
//!
//!     cargo tree --locked --edges normal --target TARGET --no-dedupe --prefix depth --format '|{p}|{l}' |
//!         sbom TIME CARGO.LOCK
//!
//! It lists the program's dependencies, not those of its tests or of build scripts. (`cargo metadata` would
//! also list what only the features that tests need bring in.) What ends up in the program is "required", what
//! only writes code for it, that is a procedural macro and its dependencies, is "excluded".

// A JSON object takes a new key by its index.
#![allow(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{Read, Write};

use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// A name and a version.
type Id<'a> = (&'a str, &'a str);

#[derive(Default)]
struct Package<'a> {
    licence: &'a str,
    /// Whether it ends up in the program.
    linked: bool,
    needs: BTreeSet<Id<'a>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [time, lock] = arguments.as_slice() else {
        return Err("usage: sbom TIME CARGO.LOCK <TREE".into());
    };
    let lock: Lock = toml::from_str(&std::fs::read_to_string(lock)?)?;
    let mut tree = String::new();
    std::io::stdin().read_to_string(&mut tree)?;
    let mut text = serde_json::to_string_pretty(&bill(&packages(&tree)?, &lock, time)?)?;
    text.push('\n');
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// What the tree consists of. Each line is DEPTH|NAME vVERSION …|LICENCE, below what needs it.
fn packages(tree: &str) -> Result<BTreeMap<Id<'_>, Package<'_>>, String> {
    let mut packages: BTreeMap<Id, Package> = BTreeMap::new();
    // From the program down to the line before: each package, and whether it ends up in the program.
    let mut above: Vec<(Id, bool)> = Vec::new();
    for line in tree.lines() {
        let unknown = || format!("not a line of the tree: {line}");
        let mut fields = line.split('|');
        let (Some(depth), Some(package), Some(licence), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(unknown());
        };
        let depth: usize = depth.parse().map_err(|_| unknown())?;
        let mut words = package.split(' ');
        let name = words.next().ok_or_else(unknown)?;
        let version = words.next().and_then(|word| word.strip_prefix('v'));
        let id = (name, version.ok_or_else(unknown)?);
        above.truncate(depth);
        let mut linked = !words.any(|word| word == "(proc-macro)");
        if let Some((user, user_linked)) = above.last() {
            linked &= user_linked;
            packages.entry(*user).or_default().needs.insert(id);
        }
        above.push((id, linked));
        let entry = packages.entry(id).or_default();
        entry.licence = licence;
        entry.linked |= linked;
    }
    Ok(packages)
}

/// The bill. It has no serial number, which would have to differ from build to build.
fn bill(
    packages: &BTreeMap<Id<'_>, Package<'_>>,
    lock: &Lock,
    time: &str,
) -> Result<Value, String> {
    let program = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    for (id, package) in packages {
        let needs: Vec<String> = package.needs.iter().map(|id| reference(*id)).collect();
        dependencies.push(json!({"ref": reference(*id), "dependsOn": needs}));
        if *id == program {
            continue;
        }
        let locked = lock
            .package
            .iter()
            .find(|locked| (locked.name.as_str(), locked.version.as_str()) == *id);
        let checksum = locked.and_then(|locked| locked.checksum.as_ref());
        let checksum = checksum.ok_or_else(|| format!("{}: no checksum in Cargo.lock", id.0))?;
        let mut component = describe(*id, "library", package.licence)?;
        let hashes = json!([{"alg": "SHA-256", "content": checksum}]);
        let scope = if package.linked {
            "required"
        } else {
            "excluded"
        };
        component.insert("hashes".to_owned(), hashes);
        component.insert("scope".to_owned(), json!(scope));
        components.push(component);
    }
    let mut described = describe(program, "application", env!("CARGO_PKG_LICENSE"))?;
    let description = json!(env!("CARGO_PKG_DESCRIPTION"));
    described.insert("description".to_owned(), description);
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "tools": {"components": [{
                "type": "application",
                "name": "premount packaging/sbom.rs",
                "version": env!("CARGO_PKG_VERSION"),
            }]},
            "component": described,
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn describe(id: Id<'_>, kind: &str, licence: &str) -> Result<Map<String, Value>, String> {
    if licence.is_empty() {
        return Err(format!("{}: no licence", id.0));
    }
    // Some still separate alternatives as they did before there were expressions.
    let licence = licence.replace('/', " OR ");
    let fields = [
        ("type", json!(kind)),
        ("bom-ref", json!(reference(id))),
        ("name", json!(id.0)),
        ("version", json!(id.1)),
        ("licenses", json!([{"expression": licence}])),
        ("purl", json!(reference(id))),
    ];
    Ok(fields
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect())
}

/// The package's URL, which also identifies it in the bill. premount itself is in no registry.
fn reference((name, version): Id<'_>) -> String {
    let registry = if name == env!("CARGO_PKG_NAME") {
        "generic"
    } else {
        "cargo"
    };
    format!("pkg:{registry}/{name}@{}", version.replace('+', "%2B"))
}
