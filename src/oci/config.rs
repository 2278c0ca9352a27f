// SPDX-License-Identifier: Apache-2.0
//! The part of config.json that premount uses (runtime-spec config.md) and no more: a capability, seccomp
//! action or namespace that no library knows yet must not stop a restore.

use std::fmt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxIdMapping;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::json::{self, List, Object};
use super::mount::{Mount, RawMount};
use super::owner::Owner;
use super::process::{Process, RawProcess};
use crate::error::Error;

/// The name of the configuration in a bundle (runtime-spec bundle.md).
pub const FILE_NAME: &str = "config.json";
/// Maximum size in bytes.
pub const MAX_SIZE: usize = 16 << 20;
/// Maximum number of mounts: the kernel's default limit for a mount namespace (`fs.mount-max`,
/// proc_sys_fs(5)).
pub const MAX_MOUNTS: usize = 100_000;
/// The annotation that turns premount on or off: `true` or `false`.
pub const RESTORE_ANNOTATION: &str = "io.premount.restore";

/// The annotation that has logs created that may not have been empty: `true`.
pub const APPEND_ANNOTATION: &str = "io.premount.append";

/// The part of a configuration that premount uses.
#[derive(Debug, Default)]
pub struct Config {
    /// Whether it has an `ociVersion`. A file without one may belong to another program.
    pub is_oci: bool,
    /// The value of the annotation `io.premount.restore`.
    pub restore: Option<String>,
    /// The value of the annotation `io.premount.append`.
    pub append: Option<String>,
    /// `root.path`, absolute; none if the engine provides it at the restore.
    pub rootfs: Option<PathBuf>,
    /// `root.readonly`.
    pub is_rootfs_read_only: bool,
    /// `process`.
    pub process: Process,
    /// `mounts`, in order.
    pub mounts: Vec<Mount>,
    /// The owner of created mountpoints.
    pub owner: Owner,
    /// The external mounts besides binds.
    pub externals: Externals,
    /// Whose network the container has.
    pub network: Network,
}

/// Whose network a container has (runtime-spec config-linux.md, "Namespaces").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// Its own, which the runtime makes.
    Own,
    /// That of a namespace which an engine has made, with addresses of its own.
    Given,
}

/// What a runtime passes to CRIU as external mounts, besides binds.
#[derive(Clone, Debug, Default)]
pub struct Externals {
    /// `linux.maskedPaths`.
    pub masked: Vec<String>,
    /// The paths of `linux.devices`.
    pub devices: Vec<String>,
}

impl Config {
    /// Parses the text of `file`. Relative paths in it are relative to `bundle`.
    ///
    /// # Errors
    ///
    /// The text is not a valid configuration; the error names the invalid part.
    pub fn parse(text: &str, file: &Path, bundle: &Path) -> Result<Self, Error> {
        let raw: RawConfig = json::parse(text, file)?;
        let missing = |place| Error::invalid(file, place, "missing");
        let Object(root) = raw.root.ok_or_else(|| missing("root"))?;
        let rootfs = root.path.filter(|path| !path.as_os_str().is_empty());
        let rootfs = rootfs.ok_or_else(|| missing("root.path"))?;
        let List(mounts) = raw.mounts.unwrap_or(List(Vec::new()));
        if mounts.len() > MAX_MOUNTS {
            let reason = format!("more than {MAX_MOUNTS}, the kernel's default limit");
            return Err(Error::invalid(file, "mounts", reason));
        }
        let mounts = mounts.into_iter();
        let mounts = mounts.map(|Object(mount)| Mount::new(mount, bundle));
        let Object(process) = raw.process.unwrap_or_default();
        let annotations = raw.annotations.map(|Object(all)| all);
        let Annotations { restore, append } = annotations.unwrap_or_default();
        let Object(linux) = raw.linux.unwrap_or_default();
        let devices = linux.devices.unwrap_or_default();
        let mut namespaces = linux.namespaces.iter().flatten();
        let network = namespaces.find(|namespace| namespace.kind == "network");
        Ok(Self {
            is_oci: raw.version.is_some(),
            restore,
            append,
            rootfs: Some(bundle.join(rootfs)),
            is_rootfs_read_only: root.readonly == Some(true),
            process: process.into(),
            mounts: mounts.collect(),
            owner: Owner::of(linux.uid_mappings.as_deref(), linux.gid_mappings.as_deref()),
            externals: Externals {
                masked: linux.masked_paths.unwrap_or_default(),
                devices: devices.into_iter().map(|device| device.path).collect(),
            },
            network: match network {
                None => Network::Host,
                Some(RawNamespace {
                    path: Some(path), ..
                }) if !path.as_os_str().is_empty() => Network::Given,
                Some(_) => Network::Own,
            },
        })
    }
}

/// Whether an invalid configuration is still an OCI one.
pub fn is_oci(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Versioned {
        #[serde(rename = "ociVersion")]
        _version: String,
    }
    serde_json::from_str::<Object<Versioned>>(text).is_ok()
}

/// The fields of a configuration as parsed.
#[derive(Default)]
struct RawConfig<'a> {
    version: Option<String>,
    annotations: Option<Object<Annotations>>,
    root: Option<Object<RawRoot>>,
    process: Option<Object<RawProcess<'a>>>,
    mounts: Option<List<Object<RawMount<'a>>>>,
    linux: Option<Object<RawLinux>>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    OciVersion,
    Annotations,
    Root,
    Process,
    Mounts,
    Linux,
    #[serde(other)]
    Other,
}

/// The annotations of a configuration or a state.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Annotations {
    /// [`RESTORE_ANNOTATION`].
    #[serde(rename = "io.premount.restore")]
    pub(super) restore: Option<String>,
    /// [`APPEND_ANNOTATION`].
    #[serde(rename = "io.premount.append")]
    pub(super) append: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RawRoot {
    path: Option<PathBuf>,
    readonly: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawLinux {
    uid_mappings: Option<Vec<LinuxIdMapping>>,
    gid_mappings: Option<Vec<LinuxIdMapping>>,
    masked_paths: Option<Vec<String>>,
    devices: Option<Vec<RawDevice>>,
    namespaces: Option<Vec<RawNamespace>>,
}

#[derive(Debug, Deserialize)]
struct RawNamespace {
    #[serde(rename = "type")]
    kind: String,
    path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct RawDevice {
    path: String,
}

/// Not derived, so that errors name the field.
impl<'de> Deserialize<'de> for RawConfig<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawConfig<'de>;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawConfig<'de>, A::Error> {
                let mut all = RawConfig::default();
                while let Some(field) = map.next_key()? {
                    match field {
                        Field::OciVersion => json::take(&mut map, "ociVersion", &mut all.version),
                        Field::Annotations => {
                            json::take(&mut map, "annotations", &mut all.annotations)
                        }
                        Field::Root => json::take(&mut map, "root", &mut all.root),
                        Field::Process => json::take(&mut map, "process", &mut all.process),
                        Field::Mounts => json::take(&mut map, "mounts", &mut all.mounts),
                        Field::Linux => json::take(&mut map, "linux", &mut all.linux),
                        Field::Other => json::ignore(&mut map),
                    }?;
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Config, Error> {
        Config::parse(text, Path::new("config.json"), Path::new("/bundle"))
    }

    fn complaint(text: &str) -> String {
        parsed(text).unwrap_err().to_string()
    }

    #[test]
    fn relative_paths_start_at_the_bundle() {
        let config = parsed(r#"{"root":{"path":"rootfs"},"mounts":[]}"#).unwrap();
        assert_eq!(config.rootfs.as_deref(), Some(Path::new("/bundle/rootfs")));
    }

    #[test]
    fn what_no_library_knows_yet_is_no_error() {
        let text = r#"{"ociVersion":"9.0","root":{"path":"r"},"mounts":[],
            "process":{"capabilities":{"bounding":["CAP_TELEPORT"]}},
            "linux":{"namespaces":[{"type":"dream"}],
                     "seccomp":{"defaultAction":"SCMP_ACT_SHRUG"}},"future":{"x":[1]}}"#;
        assert!(parsed(text).unwrap().is_oci);
    }

    #[test]
    fn no_mounts_are_no_error() {
        // runtime-spec config.md, "Mounts": optional.
        for mounts in ["", r#","mounts":null"#, r#","mounts":[]"#] {
            let text = format!(r#"{{"root":{{"path":"r"}}{mounts}}}"#);
            let config = parsed(&text).unwrap();
            assert!(config.mounts.is_empty() && !config.is_oci, "{text}");
        }
    }

    #[test]
    fn more_mounts_than_a_kernel_mounts_are_refused() {
        let text = |count: usize| {
            let mounts = vec![r#"{"destination":"/a"}"#; count].join(",");
            format!(r#"{{"root":{{"path":"r"}},"mounts":[{mounts}]}}"#)
        };
        assert_eq!(parsed(&text(MAX_MOUNTS)).unwrap().mounts.len(), MAX_MOUNTS);
        assert_eq!(
            complaint(&text(MAX_MOUNTS + 1)),
            "config.json: mounts: more than 100000, the kernel's default limit"
        );
    }

    #[test]
    fn the_annotation_is_taken_whatever_the_others_are() {
        let text = r#"{"annotations":{"a":7,"io.premount.restore":"true"},"root":{"path":"r"}}"#;
        assert_eq!(parsed(text).unwrap().restore.as_deref(), Some("true"));
    }

    #[test]
    fn errors_name_the_place() {
        for (text, error) in [
            (r#"{"mounts":[]}"#, "root: missing"),
            (r#"{"root":{},"mounts":[]}"#, "root.path: missing"),
            (r#"{"root":{"path":""},"mounts":[]}"#, "root.path: missing"),
            (
                r#"{"root":7,"mounts":[]}"#,
                "root: invalid type: integer `7`, expected an object at line 1 column 9",
            ),
            (
                "[]",
                "invalid type: sequence, expected an object at line 1 column 0",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[{"destination":"/a"},{"type":"tmpfs"}]}"#,
                "mounts[1]: missing field `destination` at line 1 column 68",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":7}"#,
                "mounts: invalid type: integer `7`, expected an array at line 1 column 31",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[["/a"]]}"#,
                "mounts[0]: invalid type: sequence, expected an object at line 1 column 31",
            ),
            (
                r#"{"root":{"path":"r"},"root":{"path":"r"}}"#,
                "duplicate field `root` at line 1 column 27",
            ),
            (
                r#"{"annotations":{"io.premount.restore":true}}"#,
                "annotations: invalid type: boolean `true`, expected a string at line 1 column 42",
            ),
        ] {
            assert_eq!(complaint(text), format!("config.json: {error}"));
        }
    }

    #[test]
    fn a_configuration_is_told_by_its_version() {
        assert!(is_oci(r#"{"ociVersion":"1.2","mounts":7}"#));
        for text in [r#"{"mounts":7}"#, r#"["1.2"]"#, "{", r#"{"ociVersion":7}"#] {
            assert!(!is_oci(text), "{text}");
        }
    }
}
