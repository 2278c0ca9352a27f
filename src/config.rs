// SPDX-License-Identifier: Apache-2.0
//! What premount uses of config.json (runtime-spec config.md), and nothing more: a capability, a
//! seccomp action or a namespace that no library knows yet must not stop a restore.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{self, LinuxIdMapping};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::Error;
use crate::json;
use crate::mount::Mount;
use crate::owner::Owner;

/// The file's name in a bundle (runtime-spec bundle.md).
pub const FILE_NAME: &str = "config.json";
/// Most bytes in it.
pub const MAX_SIZE: usize = 16 << 20;
/// Most mounts in it: a mount namespace has no more (`fs.mount-max`, proc_sys_fs(5)).
pub const MAX_MOUNTS: usize = 100_000;
/// The annotation that says whether premount acts: `true` or `false`, and nothing else.
pub const RESTORE_ANNOTATION: &str = "io.premount.restore";

/// The part of a configuration that premount uses.
#[derive(Debug)]
pub struct Config {
    /// `root.path`, absolute.
    pub rootfs: PathBuf,
    /// `mounts`, in their order.
    pub mounts: Vec<Mount>,
    /// In whose name what is missing is made.
    pub owner: Owner,
    /// What the runtime gives CRIU besides binds.
    pub externals: Externals,
}

/// What a runtime gives CRIU from outside besides the binds.
#[derive(Clone, Debug, Default)]
pub struct Externals {
    /// `linux.maskedPaths`.
    pub masked: Vec<String>,
    /// `linux.devices`, by their paths.
    pub devices: Vec<String>,
}

/// The parts of a configuration that premount uses, by one way through its text.
#[derive(Debug)]
pub struct Sections {
    is_oci: bool,
    annotations: Option<Box<RawValue>>,
    root: Option<WrittenRoot>,
    mounts: Option<Vec<Object<runtime::Mount>>>,
    linux: WrittenLinux,
}

/// All of it at once: most of a configuration is a seccomp profile, in `linux`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AtOnce {
    oci_version: Option<String>,
    annotations: Option<Box<RawValue>>,
    root: Option<Object<WrittenRoot>>,
    mounts: Option<Vec<Object<runtime::Mount>>>,
    linux: Option<Object<WrittenLinux>>,
}

/// The parts alone, and nothing said yet of what is in them.
#[derive(Deserialize)]
struct Written {
    root: Option<Box<RawValue>>,
    mounts: Option<Box<RawValue>>,
    linux: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct WrittenRoot {
    path: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenLinux {
    uid_mappings: Option<Vec<LinuxIdMapping>>,
    gid_mappings: Option<Vec<LinuxIdMapping>>,
    masked_paths: Option<Vec<String>>,
    devices: Option<Vec<WrittenDevice>>,
}

#[derive(Debug, Deserialize)]
struct WrittenDevice {
    path: String,
}

#[derive(Default, Deserialize)]
struct WrittenAnnotations {
    #[serde(rename = "io.premount.restore")]
    restore: Option<String>,
}

impl Sections {
    /// The parts of a text; none where anything in it is amiss. Then what is said of it, and what is
    /// still to be had, comes slowly: [`is_oci`], [`restore`], [`Config::parse`].
    pub fn of(text: &str, file: &Path) -> Option<Self> {
        let written: AtOnce = json::object(text, file, "").ok()?;
        let linux = written.linux.map(|Object(linux)| linux);
        Some(Self {
            is_oci: written.oci_version.is_some(),
            annotations: written.annotations,
            root: written.root.map(|Object(root)| root),
            mounts: written.mounts,
            linux: linux.unwrap_or_default(),
        })
    }

    /// Whether this is an OCI configuration at all: it says of which version it is.
    pub fn are_oci(&self) -> bool {
        self.is_oci
    }

    /// The value of [`RESTORE_ANNOTATION`].
    pub fn restore(&self, file: &Path) -> Result<Option<String>, Error> {
        restore_annotation(self.annotations.as_deref(), file)
    }

    /// The configuration, checked; relative paths in it start at `bundle`.
    pub fn config(self, file: &Path, bundle: &Path) -> Result<Config, Error> {
        let reader = Reader { file, bundle };
        let root = self.root.ok_or_else(|| reader.missing("root"))?;
        let rootfs = reader.rootfs(root)?;
        let written = self.mounts.unwrap_or_default();
        reader.check_count(written.len())?;
        let mounts = written
            .iter()
            .map(|Object(mount)| Mount::new(mount, bundle));
        Ok(Config::new(rootfs, mounts.collect(), self.linux))
    }
}

/// What a configuration's parts mean, by the file that they are in.
struct Reader<'a> {
    file: &'a Path,
    bundle: &'a Path,
}

impl Reader<'_> {
    fn missing(&self, place: &str) -> Error {
        Error::invalid(self.file, place, "missing")
    }

    fn check_count(&self, mounts: usize) -> Result<(), Error> {
        if mounts > MAX_MOUNTS {
            let reason = format!("more than {MAX_MOUNTS}, and no kernel mounts so many");
            return Err(Error::invalid(self.file, "mounts", reason));
        }
        Ok(())
    }

    fn rootfs(&self, root: WrittenRoot) -> Result<PathBuf, Error> {
        let path = root.path.filter(|path| !path.as_os_str().is_empty());
        path.map(|path| self.bundle.join(path))
            .ok_or_else(|| self.missing("root.path"))
    }
}

impl Config {
    /// Parses the text of `file`, part by part, so that an error has its place; relative paths in it start
    /// at `bundle`.
    pub fn parse(text: &str, file: &Path, bundle: &Path) -> Result<Self, Error> {
        let reader = Reader { file, bundle };
        let written: Written = json::object(text, file, "")?;
        let root = written.root.ok_or_else(|| reader.missing("root"))?;
        let rootfs = reader.rootfs(json::object(root.get(), file, "root")?)?;
        let all: Option<Vec<&RawValue>> = match &written.mounts {
            Some(all) => json::any(all.get(), file, "mounts")?,
            None => None,
        };
        let all = all.unwrap_or_default();
        reader.check_count(all.len())?;
        let mut mounts = Vec::with_capacity(all.len());
        for (index, mount) in all.into_iter().enumerate() {
            let mount = json::object(mount.get(), file, format_args!("mounts[{index}]"))?;
            mounts.push(Mount::new(&mount, bundle));
        }
        let linux = optional_object(written.linux.as_deref(), file, "linux")?;
        Ok(Self::new(rootfs, mounts, linux))
    }

    fn new(rootfs: PathBuf, mounts: Vec<Mount>, linux: WrittenLinux) -> Self {
        let owner = Owner::of(linux.uid_mappings.as_deref(), linux.gid_mappings.as_deref());
        let devices = linux.devices.unwrap_or_default();
        Self {
            rootfs,
            mounts,
            owner,
            externals: Externals {
                masked: linux.masked_paths.unwrap_or_default(),
                devices: devices.into_iter().map(|device| device.path).collect(),
            },
        }
    }
}

/// Whether `text` is an OCI configuration at all: it says of which version it is.
pub fn is_oci(text: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        #[serde(rename = "ociVersion")]
        _oci_version: String,
    }
    json::object::<Versioned>(text, Path::new(FILE_NAME), "").is_ok()
}

/// The value of [`RESTORE_ANNOTATION`] in a configuration.
pub fn restore(text: &str, file: &Path) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct Annotated {
        annotations: Option<Box<RawValue>>,
    }
    let written: Annotated = json::object(text, file, "")?;
    restore_annotation(written.annotations.as_deref(), file)
}

/// The value of [`RESTORE_ANNOTATION`] among `annotations`.
pub fn restore_annotation(
    annotations: Option<&RawValue>,
    file: &Path,
) -> Result<Option<String>, Error> {
    let written: WrittenAnnotations = optional_object(annotations, file, "annotations")?;
    Ok(written.restore)
}

/// An object, and no array: serde would take one for a struct, field by field.
#[derive(Debug)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

fn optional_object<T: Default + serde::de::DeserializeOwned>(
    value: Option<&RawValue>,
    file: &Path,
    place: &str,
) -> Result<T, Error> {
    value.map_or_else(
        || Ok(T::default()),
        |value| json::object(value.get(), file, place),
    )
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
        assert_eq!(config.rootfs, Path::new("/bundle/rootfs"));
    }

    #[test]
    fn what_no_library_knows_yet_is_no_error() {
        let text = r#"{"ociVersion":"9.0","root":{"path":"r"},"mounts":[],
            "process":{"capabilities":{"bounding":["CAP_TELEPORT"]}},
            "linux":{"namespaces":[{"type":"dream"}],
                     "seccomp":{"defaultAction":"SCMP_ACT_SHRUG"}},"future":{"x":[1]}}"#;
        parsed(text).unwrap();
    }

    #[test]
    fn no_mounts_are_no_error() {
        // runtime-spec config.md, "Mounts": optional.
        for mounts in ["", r#","mounts":null"#, r#","mounts":[]"#] {
            let text = format!(r#"{{"root":{{"path":"r"}}{mounts}}}"#);
            assert!(parsed(&text).unwrap().mounts.is_empty(), "{text}");
            let sections = Sections::of(&text, Path::new("config.json")).unwrap();
            let config = sections.config(Path::new("config.json"), Path::new("/bundle"));
            assert!(config.unwrap().mounts.is_empty(), "{text}");
        }
    }

    #[test]
    fn more_mounts_than_a_kernel_mounts_are_refused() {
        let text = |count: usize| {
            let mounts = vec![r#"{"destination":"/a"}"#; count].join(",");
            format!(r#"{{"root":{{"path":"r"}},"mounts":[{mounts}]}}"#)
        };
        let file = Path::new("config.json");
        let by_sections = |text: &str| {
            let sections = Sections::of(text, file).unwrap();
            sections
                .config(file, Path::new("/bundle"))
                .map(|config| config.mounts.len())
        };
        let most = text(MAX_MOUNTS);
        assert_eq!(by_sections(&most).unwrap(), MAX_MOUNTS);
        assert_eq!(parsed(&most).unwrap().mounts.len(), MAX_MOUNTS);
        let error = "config.json: mounts: more than 100000, and no kernel mounts so many";
        let more = text(MAX_MOUNTS + 1);
        assert_eq!(complaint(&more), error);
        assert_eq!(by_sections(&more).unwrap_err().to_string(), error);
    }

    #[test]
    fn errors_name_the_place() {
        for (text, error) in [
            (r#"{"mounts":[]}"#, "config.json: root: missing"),
            (
                r#"{"root":{},"mounts":[]}"#,
                "config.json: root.path: missing",
            ),
            (
                r#"{"root":{"path":""},"mounts":[]}"#,
                "config.json: root.path: missing",
            ),
            (
                r#"{"root":7,"mounts":[]}"#,
                "config.json: root: a number, where an object belongs",
            ),
            ("[]", "config.json: an array, where an object belongs"),
            (
                r#"{"root":{"path":"r"},"mounts":[{"destination":"/a"},{"type":"tmpfs"}]}"#,
                "config.json: mounts[1]: missing field `destination`",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":7}"#,
                "config.json: mounts: invalid type: integer `7`, expected a sequence",
            ),
            (
                r#"{"root":{"path":"r"},"mounts":[["/a"]]}"#,
                "config.json: mounts[0]: an array, where an object belongs",
            ),
        ] {
            assert_eq!(complaint(text), error);
        }
    }
}
