// SPDX-License-Identifier: Apache-2.0
//! What an engine exports beside the images: the container's configuration (`spec.dump`), its own metadata
//! (`config.dump`), and what its bind sources were (`bind.mounts`, CRI-O alone).
//!
//! As untrusted as the images. Names places, kinds and the runtime; nothing here leads to a file of this host.

use std::collections::BTreeMap;
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
    /// The configuration of the container that was checkpointed: the file, and its text. Only who has no other
    /// configuration needs it, and then one that can't be read is an error.
    pub spec: Option<Result<(PathBuf, String), Error>>,
    metadata: Metadata,
    /// By their destinations.
    binds: BTreeMap<String, MountpointKind>,
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
    pub(super) fn read(&mut self, content: impl Read, kind: DumpFile, file: &Path) {
        let bytes = input::read_stream(content, file, MAX_SIZE);
        match kind {
            DumpFile::Spec => {
                let text = bytes.and_then(|bytes| {
                    let text = String::from_utf8(bytes);
                    text.map_err(|_| Error::invalid(file, "", "not UTF-8"))
                });
                self.spec = Some(text.map(|text| (file.to_owned(), text)));
            }
            DumpFile::Metadata => {
                let bytes = bytes.unwrap_or_default();
                self.metadata = serde_json::from_slice(&bytes).unwrap_or_default();
            }
            DumpFile::Binds => {
                let bytes = bytes.unwrap_or_default();
                let binds: Vec<Bind> = serde_json::from_slice(&bytes).unwrap_or_default();
                self.binds = binds.into_iter().filter_map(Bind::named).collect();
            }
        }
    }

    /// Notes that a file is there and can't be opened.
    pub(super) fn unusable(&mut self, kind: DumpFile, error: Error) {
        if kind == DumpFile::Spec {
            self.spec = Some(Err(error));
        }
    }

    /// The runtime of the container that was checkpointed, as its engine calls it.
    pub fn runtime(&self) -> Option<&str> {
        self.metadata.runtime.as_deref()
    }

    /// What the source of a bind was.
    pub fn kind_of(&self, destination: &str) -> Option<MountpointKind> {
        self.binds.get(destination).copied()
    }
}

impl Bind {
    fn named(self) -> Option<(String, MountpointKind)> {
        let kind = match self.file_type.as_str() {
            "directory" => MountpointKind::Directory,
            "file" => MountpointKind::File,
            _ => return None,
        };
        Some((self.destination, kind))
    }
}
