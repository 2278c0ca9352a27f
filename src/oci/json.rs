// SPDX-License-Identifier: Apache-2.0
//! Parsing of untrusted JSON. Its size is limited before it is parsed, and every error names the file and the
//! place in it. `serde_json` limits the depth of the values that are used; an ignored value takes one byte of
//! memory per level.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::Error;
use crate::input;

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
///
/// The file can't be read, is too long, is empty, or is not UTF-8.
pub fn read_file(path: &Path, limit: usize) -> Result<String, Error> {
    text(input::read_file(path, limit)?, path)
}

/// Reads an open regular file of `size` bytes, at most `limit`. Errors name `path`.
///
/// # Errors
///
/// As [`read_file`].
pub fn read_open_file(file: File, size: u64, path: &Path, limit: usize) -> Result<String, Error> {
    text(input::read_whole(file, size, path, limit)?, path)
}

/// Reads `stream` to its end, at most `limit` bytes. Errors name `file`.
///
/// # Errors
///
/// As [`read_file`].
pub fn read_stream(stream: impl Read, file: &Path, limit: usize) -> Result<String, Error> {
    text(input::read_stream(stream, file, limit)?, file)
}

fn text(bytes: Vec<u8>, file: &Path) -> Result<String, Error> {
    if bytes.trim_ascii().is_empty() {
        return Err(Error::invalid(file, "", "empty, expected JSON"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::invalid(file, "", format!("not UTF-8 at byte {at}"))
    })
}

/// Parses the text of a file.
///
/// # Errors
///
/// The text is not JSON, or not a `T`.
pub fn parse<'a, T: Deserialize<'a>>(text: &'a str, file: &Path) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::invalid(file, "", error.to_string()))
}

/// An object. Serde also accepts an array as a struct, field by field; this type doesn't.
#[derive(Debug, Default)]
pub struct Object<T>(pub T);

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

/// A string, borrowed if it has no escapes. Serde borrows a `Cow` in a struct, but not one in an `Option`.
#[derive(Debug, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// A list whose errors name the index of the element.
#[derive(Debug)]
pub struct List<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = List<T>;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(element) = list
                    .next_element()
                    .map_err(|error| A::Error::custom(format_args!("[{}]: {error}", all.len())))?
                {
                    all.push(element);
                }
                Ok(List(all))
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

/// Reads the value of a field whose key was just read.
///
/// # Errors
///
/// The value is invalid, or the field is a duplicate; the error names the field.
pub fn take<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    map: &mut A,
    name: &'static str,
    field: &mut Option<T>,
) -> Result<(), A::Error> {
    if field.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    let place = |error: A::Error| {
        let error = error.to_string();
        // An error in a list already starts with the index.
        let colon = if error.starts_with('[') { "" } else { ": " };
        A::Error::custom(format_args!("{name}{colon}{error}"))
    };
    *field = map.next_value().map_err(place)?;
    Ok(())
}

/// Skips the value of a field.
///
/// # Errors
///
/// The value is not JSON.
pub fn ignore<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_not_an_object() {
        #[derive(Debug, serde::Deserialize)]
        struct Named {
            name: String,
        }
        let file = Path::new("x.json");
        let parsed = parse::<Object<Named>>(r#"{"name":"a"}"#, file);
        assert_eq!(parsed.unwrap().0.name, "a");
        let error = parse::<Object<Named>>(r#"["a"]"#, file).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.json: invalid type: sequence, expected an object at line 1 column 0"
        );
    }

    #[test]
    fn an_element_that_is_wrong_is_named_by_its_index() {
        let error = parse::<List<String>>("[\"a\",\n7]", Path::new("x.json")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("x.json: [1]: invalid type: integer `7`"),
            "{text}"
        );
        assert!(text.ends_with(" at line 2 column 1"), "{text}");
    }

    #[test]
    fn an_endless_stream_ends_at_the_limit() {
        let error = read_stream(std::io::repeat(b' '), Path::new("stdin"), 100).unwrap_err();
        assert_eq!(error.to_string(), "stdin: longer than 100 bytes");
    }
}
