// SPDX-License-Identifier: Apache-2.0
//! The state of a container (runtime-spec runtime.md, "State"), as a hook receives it.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::config::Annotations;
use super::json::{self, Object};
use crate::error::Error;

/// Maximum size of a state in bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// The part of a state that premount uses.
#[derive(Debug)]
pub struct State {
    /// The container's bundle, absolute.
    pub bundle: PathBuf,
    /// The container's ID, if given.
    pub id: Option<String>,
    /// The container's status, if given.
    pub status: Option<String>,
    /// The value of the annotation `io.premount.restore`, if given.
    pub restore: Option<String>,
    /// The value of the annotation `io.premount.append`, if given.
    pub append: Option<String>,
}

impl State {
    /// Reads a state from a file; `-` is standard input.
    ///
    /// # Errors
    ///
    /// The file can't be read, or is not a state with an absolute bundle.
    pub fn read(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Self::from_stream(std::io::stdin().lock());
        }
        Self::parse(&json::read_file(path, MAX_SIZE)?, path)
    }

    /// Reads a state from standard input.
    ///
    /// # Errors
    ///
    /// As [`State::read`].
    pub fn from_stream(input: impl Read) -> Result<Self, Error> {
        let file = Path::new("standard input");
        Self::parse(&json::read_stream(input, file, MAX_SIZE)?, file)
    }

    fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        let raw: RawState = json::parse(text, file)?;
        let invalid = |reason: &str| Error::invalid(file, "bundle", reason);
        let bundle = PathBuf::from(raw.bundle.ok_or_else(|| invalid("missing"))?);
        if bundle.as_os_str().is_empty() {
            return Err(invalid("empty, expected a path"));
        }
        if !bundle.is_absolute() {
            return Err(invalid("not an absolute path"));
        }
        let annotations = raw.annotations.map(|Object(all)| all);
        let Annotations { restore, append } = annotations.unwrap_or_default();
        Ok(Self {
            bundle,
            id: raw.id.and_then(|id| Some(id.as_str()?.to_owned())),
            status: raw.status,
            restore,
            append,
        })
    }

    /// Whether the container is being created rather than restored (runtime-spec runtime.md, "Lifecycle"). In
    /// a createRuntime hook of a new container the status is `creating` with runc and `created` with crun;
    /// runc passes `stopped` on restore.
    pub fn is_first_start(&self) -> bool {
        matches!(self.status.as_deref(), Some("creating" | "created"))
    }
}

/// The fields of a state as parsed.
#[derive(Default)]
struct RawState {
    bundle: Option<String>,
    // Only for the log, so any type is accepted.
    id: Option<serde_json::Value>,
    status: Option<String>,
    annotations: Option<Object<Annotations>>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Bundle,
    Id,
    Status,
    Annotations,
    #[serde(other)]
    Other,
}

/// Not derived, so that errors name the field.
impl<'de> Deserialize<'de> for RawState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawState;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawState, A::Error> {
                let mut all = RawState::default();
                while let Some(field) = map.next_key()? {
                    match field {
                        Field::Bundle => json::take(&mut map, "bundle", &mut all.bundle),
                        Field::Id => json::take(&mut map, "id", &mut all.id),
                        Field::Status => json::take(&mut map, "status", &mut all.status),
                        Field::Annotations => {
                            json::take(&mut map, "annotations", &mut all.annotations)
                        }
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

    fn parsed(text: &str) -> Result<State, String> {
        State::from_stream(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_state_is_its_bundle_its_status_and_one_annotation() {
        let state = parsed(
            r#"{"ociVersion":"9","id":"a","status":"stopped","bundle":"/b","future":{},
                "annotations":{"io.premount.restore":"true","other":7}}"#,
        )
        .unwrap();
        assert_eq!(state.bundle, Path::new("/b"));
        assert_eq!(state.restore.as_deref(), Some("true"));
        assert!(!state.is_first_start());
        let first = parsed(r#"{"bundle":"/b","status":"creating"}"#).unwrap();
        assert!(first.is_first_start());
        let none = parsed(r#"{"bundle":"/b","annotations":null}"#).unwrap();
        assert_eq!(none.restore, None);
    }

    #[test]
    fn a_state_without_a_usable_bundle_names_it() {
        for (text, reason) in [
            ("{}", "bundle: missing"),
            (r#"{"bundle":""}"#, "bundle: empty, expected a path"),
            (r#"{"bundle":"b"}"#, "bundle: not an absolute path"),
            ("", "empty, expected JSON"),
            ("[]", "invalid type: sequence, expected an object"),
            ("7", "invalid type: integer `7`, expected an object"),
            (r#"{"bundle":7}"#, "bundle: invalid type: integer `7`"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(
                error.starts_with(&format!("standard input: {reason}")),
                "{error}"
            );
        }
    }
}
