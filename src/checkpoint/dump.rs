// SPDX-License-Identifier: Apache-2.0
//! What an engine exports beside the images: the container's configuration (`spec.dump`), its own metadata
//! (`config.dump`), and what its bind sources were (`bind.mounts`, CRI-O alone).
//!
//! As untrusted as the images. Names places, kinds and the runtime; nothing here leads to a file of this host.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;
use crate::input;
use crate::sys::MountpointKind;

/// Maximum bytes of each file. A pod's spec.dump has about 30 KB.
const MAX_SIZE: usize = 4 << 20;

/// What an engine exported beside the images.
#[derive(Debug, Default)]
pub struct Dump {
    /// The configuration of the container that was checkpointed: the file, and its text.
    pub spec: Option<(PathBuf, String)>,
    metadata: Metadata,
    binds: Vec<Bind>,
}

/// `config.dump`, of Podman's libpod and of CRI-O.
#[derive(Debug, Default, Deserialize)]
struct Metadata {
    runtime: Option<String>,
}

/// An element of `bind.mounts`.
#[derive(Debug, Deserialize)]
struct Bind {
    destination: String,
    file_type: String,
}

/// A file of an engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DumpFile {
    Spec,
    Metadata,
    Binds,
}

impl DumpFile {
    pub(super) const ALL: [Self; 3] = [Self::Spec, Self::Metadata, Self::Binds];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Spec => "spec.dump",
            Self::Metadata => "config.dump",
            Self::Binds => "bind.mounts",
        }
    }

    /// The file with this path in an archive.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let path = path.strip_prefix(".").unwrap_or(path);
        Self::ALL
            .into_iter()
            .find(|file| path == Path::new(file.name()))
    }
}

impl Dump {
    /// Takes a file. Metadata that premount doesn't understand says nothing.
    ///
    /// # Errors
    ///
    /// `content` can't be read or is too long, or it is a configuration and not UTF-8.
    pub(super) fn read(
        &mut self,
        content: impl Read,
        kind: DumpFile,
        file: &Path,
    ) -> Result<(), Error> {
        let bytes = input::read_stream(content, file, MAX_SIZE)?;
        match kind {
            DumpFile::Spec => {
                let text = String::from_utf8(bytes);
                let text = text.map_err(|_| Error::invalid(file, "", "not UTF-8"))?;
                self.spec = Some((file.to_owned(), text));
            }
            DumpFile::Metadata => {
                self.metadata = serde_json::from_slice(&bytes).unwrap_or_default();
            }
            DumpFile::Binds => self.binds = serde_json::from_slice(&bytes).unwrap_or_default(),
        }
        Ok(())
    }

    /// The runtime of the container that was checkpointed, as its engine calls it.
    pub fn runtime(&self) -> Option<&str> {
        self.metadata.runtime.as_deref()
    }

    /// What the source of a bind was.
    pub fn kind_of(&self, destination: &str) -> Option<MountpointKind> {
        let is_it = |bind: &&Bind| bind.destination == destination;
        match self.binds.iter().find(is_it)?.file_type.as_str() {
            "directory" => Some(MountpointKind::Directory),
            "file" => Some(MountpointKind::File),
            _ => None,
        }
    }
}
