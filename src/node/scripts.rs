// SPDX-License-Identifier: Apache-2.0
//! The action scripts that CRIU's configuration files on a node name, and which of the files count when a
//! runtime calls CRIU.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::node::programs::Reads;
use crate::node::{Node, criu};

/// CRIU's configuration files on a node, and the scripts that each names.
#[derive(Debug)]
pub struct Scripts<'a> {
    node: &'a Node,
    files: BTreeMap<PathBuf, Vec<PathBuf>>,
}

impl<'a> Scripts<'a> {
    /// Those in CRIU's own directory, and root's.
    pub fn of(node: &'a Node) -> Result<Self, Error> {
        let mut paths = criu_files(node)?;
        paths.push(criu::OF_ROOT.into());
        let mut scripts = Self {
            node,
            files: BTreeMap::new(),
        };
        for path in paths {
            // What is no file says nothing, and is there all the same: a crun.conf hides runc.conf.
            if !scripts.add(path.clone())? && node.files.find(&path)?.is_some() {
                scripts.files.insert(path, Vec::new());
            }
        }
        Ok(scripts)
    }

    /// Another file, as a container can have one; says whether it is there.
    pub fn add(&mut self, path: PathBuf) -> Result<bool, Error> {
        let text = self.node.files.read(&path, criu::MAX_SIZE)?;
        let scripts = text.as_deref().map(criu::action_scripts);
        let is_there = scripts.is_some();
        self.files.extend(scripts.map(|scripts| (path, scripts)));
        Ok(is_there)
    }

    /// Each script, with the file that names it.
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

    /// Whether any file does.
    pub fn name_premount(&self) -> bool {
        self.files.keys().any(|path| self.names_premount(path))
    }

    /// The files that name premount and count when a runtime calls CRIU.
    pub fn reaching(&self, reads: Reads) -> Vec<PathBuf> {
        let own = match reads {
            Reads::Nothing => return Vec::new(),
            Reads::Default => None,
            Reads::Crun if self.files.contains_key(Path::new(criu::CRUN)) => Some(criu::CRUN),
            Reads::Crun | Reads::Runc => Some(criu::RUNC),
        };
        let counting = [Some(criu::DEFAULT), Some(criu::OF_ROOT), own];
        let counting = counting.into_iter().flatten().map(PathBuf::from);
        counting.filter(|path| self.names_premount(path)).collect()
    }

    /// Why none does.
    pub fn why_none(&self, reads: Reads) -> String {
        match reads {
            Reads::Default => format!(
                ": this crun, or its CRIU, is too old to read a file of its own; only {} counts",
                criu::DEFAULT
            ),
            Reads::Crun if self.names_premount(Path::new(criu::RUNC)) => {
                format!(": {} doesn't name it, and hides {}", criu::CRUN, criu::RUNC)
            }
            Reads::Crun | Reads::Runc | Reads::Nothing => String::new(),
        }
    }
}

/// The files in CRIU's directory.
pub fn criu_files(node: &Node) -> Result<Vec<PathBuf>, Error> {
    let mut paths = node.files.list(Path::new(criu::DIRECTORY))?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "conf")
    });
    Ok(paths)
}
