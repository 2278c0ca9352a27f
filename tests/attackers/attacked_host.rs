// SPDX-License-Identifier: Apache-2.0
//! A host, and the container that attacks it: what is the container's, and what it puts where.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use premount::internals::{Config, MountpointKind};
use serde_json::json;

use crate::common::inodes::{Inodes, inodes};

/// What the container puts in the place of a component.
#[derive(Clone, Copy, Debug)]
pub enum Instead {
    /// A link by an absolute path of the host's.
    AbsoluteLink,
    /// A link that climbs out of the source.
    RelativeLink,
    /// A link to the host's root through procfs.
    ProcLink,
    File,
    Fifo,
    /// A device, where one may make one; else another FIFO.
    Device,
}

pub const ALL: [Instead; 6] = [
    Instead::AbsoluteLink,
    Instead::RelativeLink,
    Instead::ProcLink,
    Instead::File,
    Instead::Fifo,
    Instead::Device,
];

/// The directory that the container attacks in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttackedIn {
    Source,
    Rootfs,
}

/// A host: `source` and `rootfs` are the container's, everything else isn't.
pub struct AttackedHost {
    directory: tempfile::TempDir,
    pub at: AttackedIn,
    wanted: MountpointKind,
}

pub const CHAIN: [&str; 3] = ["a", "a/b", "a/b/c"];

impl AttackedHost {
    pub fn new(at: AttackedIn, wanted: MountpointKind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        for path in ["rootfs", "source", "other"] {
            fs::create_dir(base.join(path)).unwrap();
        }
        fs::write(base.join("file"), "").unwrap();
        // Wherever a link leads, the rest of the path is there: by path, creation would go through.
        for path in ["b/c", "c", "a/b/c"] {
            fs::create_dir_all(base.join("outside").join(path)).unwrap();
        }
        let host = Self {
            directory,
            at,
            wanted,
        };
        host.reset();
        host
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// The directory that the chain `a/b/c` is in.
    pub fn attacked(&self) -> PathBuf {
        match self.at {
            AttackedIn::Source => self.path("source"),
            AttackedIn::Rootfs => self.path("rootfs/v"),
        }
    }

    /// Makes the container's directories as they were.
    pub fn reset(&self) {
        for path in ["rootfs", "source"] {
            let _ = fs::remove_dir_all(self.path(path));
            fs::create_dir_all(self.path(path)).unwrap();
        }
        fs::create_dir_all(self.path("rootfs/v")).unwrap();
        fs::create_dir_all(self.attacked().join("a/b/c")).unwrap();
    }

    pub fn config(&self, number: u64) -> Config {
        let destination = format!("/v/a/b/c/m{number}/n");
        let mut mounts = Vec::new();
        if self.at == AttackedIn::Source {
            let source = self.path("source");
            mounts.push(json!({"destination": "/v", "source": source, "options": ["bind"]}));
        }
        mounts.push(match self.wanted {
            MountpointKind::Directory => json!({"destination": destination, "type": "tmpfs"}),
            MountpointKind::File => {
                let file = self.path("file");
                json!({"destination": destination, "source": file, "options": ["bind"]})
            }
        });
        let config = json!({"root": {"path": "rootfs"}, "mounts": mounts}).to_string();
        Config::parse(&config, &self.path("config.json"), self.directory.path()).unwrap()
    }

    /// What is not the container's, by all that would change; and what else there is.
    pub fn outside(&self) -> (Inodes, BTreeSet<PathBuf>) {
        let mut all = Inodes::new();
        for path in ["outside", "other", "file"] {
            all.extend(inodes(&self.path(path)));
        }
        let beside = fs::read_dir(self.directory.path()).unwrap();
        (all, beside.map(|entry| entry.unwrap().path()).collect())
    }
}
