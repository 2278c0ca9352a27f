// SPDX-License-Identifier: Apache-2.0
//! The action scripts in CRIU's configuration files on a node, and the files that CRIU reads for a runtime.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::node::programs::Reads;
use crate::node::{Node, criu};

/// CRIU's configuration files on a node, and the scripts that each one names.
#[derive(Debug)]
pub struct Scripts<'a> {
    node: &'a Node,
    files: BTreeMap<PathBuf, Vec<PathBuf>>,
}

impl<'a> Scripts<'a> {
    /// Reads the files in CRIU's directory, and root's own.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn read(node: &'a Node) -> Result<Self, Error> {
        let mut paths = criu_files(node)?;
        paths.push(criu::ROOT_DEFAULT.into());
        let mut scripts = Self {
            node,
            files: BTreeMap::new(),
        };
        for path in paths {
            // Anything but a regular file names nothing, but a crun.conf of any type hides runc.conf.
            if !scripts.add(path.clone())? && node.files.find(&path)?.is_some() {
                scripts.files.insert(path, Vec::new());
            }
        }
        Ok(scripts)
    }

    /// Adds a file, such as one that a container names; returns whether it exists.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn add(&mut self, path: PathBuf) -> Result<bool, Error> {
        let text = self.node.files.read(&path, criu::MAX_SIZE)?;
        let scripts = text.as_deref().map(criu::action_scripts);
        let is_there = scripts.is_some();
        self.files.extend(scripts.map(|scripts| (path, scripts)));
        Ok(is_there)
    }

    /// Each script, preceded by the file that names it.
    pub fn all(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.files.iter().flat_map(|(path, scripts)| {
            scripts
                .iter()
                .map(|script| (path.as_path(), script.as_path()))
        })
    }

    /// Whether a file names premount.
    pub fn names_premount(&self, path: &Path) -> bool {
        let scripts = self.files.get(path).into_iter().flatten();
        scripts
            .into_iter()
            .any(|script| self.node.is_premount(script))
    }

    /// Whether any file names premount.
    pub fn any_names_premount(&self) -> bool {
        self.files.keys().any(|path| self.names_premount(path))
    }

    /// The files that name premount, among those that CRIU reads for a runtime.
    pub fn naming_premount(&self, reads: Reads) -> Vec<PathBuf> {
        let own = match reads {
            Reads::Nothing => return Vec::new(),
            Reads::Default => None,
            Reads::Crun if self.files.contains_key(Path::new(criu::CRUN)) => Some(criu::CRUN),
            Reads::Crun | Reads::Runc => Some(criu::RUNC),
        };
        let read = [Some(criu::DEFAULT), Some(criu::ROOT_DEFAULT), own];
        let read = read.into_iter().flatten().map(PathBuf::from);
        read.filter(|path| self.names_premount(path)).collect()
    }

    /// Why none of the files that CRIU reads for a runtime names premount; to be appended to a sentence.
    pub fn why_none(&self, reads: Reads) -> String {
        match reads {
            Reads::Default => format!(
                ": this crun or its CRIU is too old for crun.conf and runc.conf; CRIU reads only {}",
                criu::DEFAULT
            ),
            Reads::Crun if self.names_premount(Path::new(criu::RUNC)) => {
                format!(
                    ": {} does not name it, and hides {}",
                    criu::CRUN,
                    criu::RUNC
                )
            }
            Reads::Crun | Reads::Runc | Reads::Nothing => String::new(),
        }
    }
}

/// The configuration files in CRIU's directory.
///
/// # Errors
///
/// The directory cannot be read.
pub fn criu_files(node: &Node) -> Result<Vec<PathBuf>, Error> {
    let mut paths = node.files.list(Path::new(criu::DIRECTORY))?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "conf")
    });
    Ok(paths)
}
