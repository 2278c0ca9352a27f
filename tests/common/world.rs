// SPDX-License-Identifier: Apache-2.0
//! A bundle in a temporary directory, and sources beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::inodes::{Inodes, inodes};
use super::{Ended, binary, output, premount};

/// A bundle with a rootfs, and a directory for sources.
pub struct World {
    directory: tempfile::TempDir,
    mounts: Vec<Value>,
}

impl World {
    pub fn new() -> Self {
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
            mounts: Vec::new(),
        };
        world.directory("bundle/rootfs");
        world.write_config(&world.config());
        world
    }

    /// A path in this world.
    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub fn directory(&self, path: &str) -> PathBuf {
        fs::create_dir_all(self.path(path)).unwrap();
        self.path(path)
    }

    pub fn file(&self, path: &str) -> PathBuf {
        fs::write(self.path(path), "content").unwrap();
        self.path(path)
    }

    pub fn link(&self, path: &str, text: &str) {
        std::os::unix::fs::symlink(text, self.path(path)).unwrap();
    }

    /// Binds a path of this world, after what is mounted already.
    pub fn bind(&mut self, source: &str, destination: &str) {
        let source = self.path(source);
        self.mount(json!({"destination": destination, "source": source, "options": ["rbind"]}));
    }

    pub fn tmpfs(&mut self, destination: &str) {
        self.mount(json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}));
    }

    pub fn mount(&mut self, mount: Value) {
        self.mounts.push(mount);
        self.write_config(&self.config());
    }

    pub fn config(&self) -> Value {
        json!({"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "mounts": self.mounts})
    }

    pub fn write_config(&self, config: &Value) {
        fs::write(self.path("bundle/config.json"), config.to_string()).unwrap();
    }

    pub fn bundle(&self) -> String {
        self.path("bundle").to_str().unwrap().to_owned()
    }

    /// Calls `plan`, `apply` or `check` on the bundle.
    pub fn premount(&self, command: &str) -> Ended {
        premount(&[command, "--bundle", &self.bundle()], b"", &[])
    }

    /// Runs a shell script with premount as `$0` and the bundle as `$1`.
    pub fn shell(&self, script: &str) -> Output {
        let mut call = Command::new("sh");
        output(call.args(["-c", script]).arg(binary()).arg(self.bundle()))
    }

    pub fn json(&self, command: &str) -> Value {
        let bundle = self.bundle();
        let ended = premount(
            &[command, "--bundle", &bundle, "--format", "json"],
            b"",
            &[],
        );
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// The state JSON of a restore, with the annotation.
    pub fn state(&self) -> String {
        let annotations = json!({"io.premount.restore": "true"});
        json!({"ociVersion": "1.0.2", "id": "a", "status": "stopped", "pid": 1,
               "bundle": self.bundle(), "annotations": annotations})
        .to_string()
    }

    /// Everything below a path of this world: `d`, `f` or `l`, and the path.
    pub fn tree(&self, path: &str) -> Vec<String> {
        let mut found = Vec::new();
        collect(&self.path(path), &self.path(path), &mut found);
        found.sort();
        found
    }

    /// Everything in this world, by what would change if anybody changed it.
    pub fn state_of_all(&self) -> Inodes {
        inodes(self.directory.path())
    }
}

fn collect(top: &Path, directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        let letter = if kind.is_dir() {
            'd'
        } else if kind.is_symlink() {
            'l'
        } else {
            'f'
        };
        found.push(format!(
            "{letter} {}",
            path.strip_prefix(top).unwrap().display()
        ));
        if kind.is_dir() {
            collect(top, &path, found);
        }
    }
}
