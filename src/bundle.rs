// SPDX-License-Identifier: Apache-2.0
//! The bundle: a directory with the container's configuration (runtime-spec bundle.md), and the ways
//! to it from a directory's name or a state.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::{self, Config, Sections, restore_annotation};
use crate::error::Error;
use crate::json;
use crate::sys;
use crate::trust::{self, Distrust};

/// Most bytes in a state.
pub const MAX_STATE_SIZE: usize = 1 << 20;

/// A bundle, its configuration read but not yet looked at.
#[derive(Debug)]
pub struct Bundle {
    /// Its directory, absolute.
    pub directory: PathBuf,
    content: Content,
}

/// A configuration.
#[derive(Debug)]
enum Content {
    Sections(Sections),
    /// Something in it is amiss: what, is said when it is asked for.
    Text(String),
}

/// The state of a container (runtime-spec runtime.md, "State"), as a hook gets it.
#[derive(Debug)]
pub struct State {
    /// The container's bundle, absolute.
    pub bundle: PathBuf,
    /// The container's name, where there is one.
    pub id: Option<String>,
    /// Its status, where there is one.
    pub status: Option<String>,
    /// The value of the annotation `io.premount.restore`, where the state has it.
    pub restore: Option<String>,
}

/// Why a bundle that was found isn't taken.
#[derive(Debug)]
pub enum Refused {
    /// Somebody else can have put it there.
    Distrusted(Distrust),
    /// It can't be read.
    Unusable(Error),
}

impl Bundle {
    /// Takes the bundle in an open directory, if nobody else can have put it there; `name` is the
    /// directory's own. None where there is no configuration.
    pub fn take(directory: BorrowedFd, name: &Path) -> Result<Option<Self>, Refused> {
        let file = trust::open(directory, config::FILE_NAME, name).map_err(Refused::Distrusted)?;
        let Some(file) = file else {
            return Ok(None);
        };
        let path = name.join(config::FILE_NAME);
        let text = json::read_open_file(file, &path, config::MAX_SIZE);
        let text = text.map_err(Refused::Unusable)?;
        Ok(Some(Self::of(text, name.to_owned(), &path)))
    }

    /// [`Bundle::take`], for the bundle that a runtime names.
    pub fn take_by_name(directory: &Path) -> Result<Self, Refused> {
        let unusable = |file: &Path, errno| {
            Refused::Unusable(Error::Unreadable {
                file: file.to_owned(),
                operation: "open",
                errno,
            })
        };
        let open = sys::open_directory(directory).map_err(|errno| unusable(directory, errno))?;
        Self::take(open.as_fd(), directory)?
            .ok_or_else(|| unusable(&directory.join(config::FILE_NAME), Errno::ENOENT))
    }

    fn of(text: String, directory: PathBuf, file: &Path) -> Self {
        Self {
            content: Sections::of(&text, file).map_or(Content::Text(text), Content::Sections),
            directory,
        }
    }

    /// Reads the bundle in `directory`; a relative one lies in the current directory.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        if directory.as_os_str().is_empty() {
            return Err(Error::invalid(
                Path::new("--bundle"),
                "",
                "empty, where a path belongs",
            ));
        }
        let directory = std::path::absolute(directory).map_err(|error| Error::Unreadable {
            file: directory.to_owned(),
            operation: "getcwd",
            errno: sys::errno_of(&error),
        })?;
        let file = directory.join(config::FILE_NAME);
        match json::read_file(&file, config::MAX_SIZE) {
            Ok(text) => Ok(Self::of(text, directory, &file)),
            // Where the whole bundle is amiss, say that rather than what it lacks.
            Err(error) => match sys::open_directory(&directory) {
                Err(errno) => Err(Error::Unreadable {
                    file: directory,
                    operation: "open",
                    errno,
                }),
                Ok(_) => Err(error),
            },
        }
    }

    /// Whether this is an OCI configuration at all: it says of which version it is.
    pub fn is_oci(&self) -> bool {
        match &self.content {
            Content::Sections(sections) => sections.are_oci(),
            Content::Text(text) => config::is_oci(text),
        }
    }

    /// The value of the annotation `io.premount.restore`, whatever else is in the configuration.
    pub fn restore(&self) -> Result<Option<String>, Error> {
        match &self.content {
            Content::Sections(sections) => sections.restore(&self.file()),
            Content::Text(text) => config::restore(text, &self.file()),
        }
    }

    /// Its directory, and its configuration, checked.
    pub fn config(self) -> Result<(PathBuf, Config), Error> {
        let file = self.file();
        let config = match self.content {
            Content::Sections(sections) => sections.config(&file, &self.directory)?,
            Content::Text(text) => Config::parse(&text, &file, &self.directory)?,
        };
        Ok((self.directory, config))
    }

    fn file(&self) -> PathBuf {
        self.directory.join(config::FILE_NAME)
    }
}

#[derive(Deserialize)]
struct WrittenState {
    bundle: Option<String>,
    // For the log alone, so it may be anything.
    id: Option<serde_json::Value>,
    status: Option<String>,
    annotations: Option<Box<RawValue>>,
}

impl State {
    /// Reads a state from a file; `-` is standard input.
    pub fn read(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Self::from_stream(std::io::stdin().lock());
        }
        Self::parse(&json::read_file(path, MAX_STATE_SIZE)?, path)
    }

    /// Reads a state from standard input.
    pub fn from_stream(input: impl Read) -> Result<Self, Error> {
        let file = Path::new("standard input");
        Self::parse(&json::read_stream(input, file, MAX_STATE_SIZE)?, file)
    }

    fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        let written: WrittenState = json::object(text, file, "")?;
        let invalid = |reason: &str| Error::invalid(file, "bundle", reason);
        let bundle = PathBuf::from(written.bundle.ok_or_else(|| invalid("missing"))?);
        if bundle.as_os_str().is_empty() {
            return Err(invalid("empty, where a path belongs"));
        }
        if !bundle.is_absolute() {
            return Err(invalid("not an absolute path"));
        }
        let restore = restore_annotation(written.annotations.as_deref(), file)?;
        Ok(Self {
            bundle,
            id: written.id.and_then(|id| Some(id.as_str()?.to_owned())),
            status: written.status,
            restore,
        })
    }

    /// Whether the container is being created, rather than restored (runtime-spec runtime.md,
    /// "Lifecycle"): runc says `creating` to a createRuntime hook then, crun `created`, and runc
    /// `stopped` on restore.
    pub fn is_first_start(&self) -> bool {
        matches!(self.status.as_deref(), Some("creating" | "created"))
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
        assert!(
            parsed(r#"{"bundle":"/b","status":"creating"}"#)
                .unwrap()
                .is_first_start()
        );
        assert_eq!(
            parsed(r#"{"bundle":"/b","annotations":null}"#)
                .unwrap()
                .restore,
            None
        );
    }

    #[test]
    fn a_state_without_a_usable_bundle_names_it() {
        for (text, reason) in [
            ("{}", "bundle: missing"),
            (r#"{"bundle":""}"#, "bundle: empty, where a path belongs"),
            (r#"{"bundle":"b"}"#, "bundle: not an absolute path"),
            ("", "empty, where JSON belongs"),
            ("[]", "an array, where an object belongs"),
            ("7", "a number, where an object belongs"),
        ] {
            assert_eq!(
                parsed(text).unwrap_err(),
                format!("standard input: {reason}")
            );
        }
    }
}
