// SPDX-License-Identifier: Apache-2.0
//! The action scripts that CRIU's configuration files on a node name, and which of the files count when a
//! runtime calls CRIU.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::node::criu;
use crate::node::files::Files;
use crate::node::programs::Reads;

/// The name by which premount is known wherever it lies.
const NAME: &str = "premount";
/// CRIU's configuration files, and the scripts that each names.
pub type Scripts = BTreeMap<PathBuf, Vec<PathBuf>>;

/// Reads them.
pub fn find(files: &Files) -> Result<Scripts, Error> {
    let mut paths = files.list(Path::new(criu::DIRECTORY))?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "conf")
    });
    paths.push(criu::OF_ROOT.into());
    let mut scripts = Scripts::new();
    for path in paths {
        if let Some(text) = files.read(&path, criu::MAX_SIZE)? {
            scripts.insert(path, criu::action_scripts(&text));
        }
    }
    Ok(scripts)
}

/// The files that name premount and count when a runtime calls CRIU.
pub fn reached_by(reads: Reads, scripts: &Scripts) -> Vec<PathBuf> {
    let own = match reads {
        Reads::Nothing => return Vec::new(),
        Reads::Default => None,
        Reads::Crun if scripts.contains_key(Path::new(criu::CRUN)) => Some(criu::CRUN),
        Reads::Crun | Reads::Runc => Some(criu::RUNC),
    };
    let counting = [Some(criu::DEFAULT), Some(criu::OF_ROOT), own]
        .into_iter()
        .flatten();
    let names = |path: &PathBuf| {
        let named = scripts.get(path).into_iter().flatten();
        named.into_iter().any(|script| is_premount(script))
    };
    counting.map(PathBuf::from).filter(names).collect()
}

/// Whether a program is premount, by its name.
pub fn is_premount(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name == NAME)
}

/// Why no file of CRIU's reaches premount.
pub fn why_not(reads: Reads, scripts: &Scripts) -> String {
    let names = |path: &str| {
        let named = scripts.get(Path::new(path)).into_iter().flatten();
        named.into_iter().any(|script| is_premount(script))
    };
    match reads {
        Reads::Default => format!(
            ": this crun, or its CRIU, is too old to read a file of its own; only {} counts",
            criu::DEFAULT
        ),
        Reads::Crun if names(criu::RUNC) => {
            format!(": {} doesn't name it, and hides {}", criu::CRUN, criu::RUNC)
        }
        Reads::Crun | Reads::Runc | Reads::Nothing => String::new(),
    }
}
