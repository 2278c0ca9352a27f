// SPDX-License-Identifier: Apache-2.0
//! A directory that looks like a node's root, and calls of premount on it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use premount::internals::action_scripts;

use super::inodes::{Inodes, inodes};
use super::{Ended, binary, premount};

pub const PROGRAM: &str = "usr/libexec/oci/hooks.d/premount";
pub const HOOK: &str = "usr/share/containers/oci/hooks.d/premount.json";
pub const RUNC: &str = "etc/criu/runc.conf";
pub const CRUN: &str = "etc/criu/crun.conf";
pub const DEFAULT: &str = "etc/criu/default.conf";

/// A node's root.
pub struct NodeRoot(pub tempfile::TempDir);

impl NodeRoot {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// Creates an executable file, enough for anything that does not start it.
    pub fn program(&self, path: &str) {
        self.write(path, "");
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub fn call(&self, command: &str, options: &[&str]) -> Ended {
        let root = self.0.path().to_str().unwrap();
        premount(&[&[command, "--root", root], options].concat(), b"", &[])
    }

    pub fn succeeds(&self, command: &str, options: &[&str]) -> String {
        let ended = self.call(command, options);
        assert_eq!(ended.status, 0, "{command} {options:?}: {ended:?}");
        ended.stdout
    }

    /// Everything in it, with the attributes that any change would alter.
    pub fn all(&self) -> Inodes {
        inodes(self.0.path())
    }

    /// The files in it, and their content.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let all = self.all().into_keys();
        all.filter(|path| path.is_file())
            .map(|path| (path.clone(), fs::read(&path).unwrap()))
            .collect()
    }

    pub fn names_premount(&self, path: &str) -> bool {
        let text = fs::read(self.path(path)).unwrap_or_default();
        action_scripts(&text).contains(&Path::new("/").join(PROGRAM))
    }

    /// Checks that the node can restore: if anything refers to the program, the program is complete.
    pub fn assert_restores(&self, about: &str) {
        let named = [RUNC, CRUN, DEFAULT]
            .iter()
            .any(|path| self.names_premount(path));
        let hook = self.path(HOOK);
        if let Ok(text) = fs::read(&hook) {
            serde_json::from_slice::<serde_json::Value>(&text).expect(about);
        }
        if named || hook.exists() {
            let program = fs::read(self.path(PROGRAM)).expect(about);
            assert!(
                program == fs::read(binary()).unwrap(),
                "{about}: half a program"
            );
            let mode = fs::metadata(self.path(PROGRAM))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, 0o755, "{about}");
        }
    }
}
