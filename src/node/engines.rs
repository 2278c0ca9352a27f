// SPDX-License-Identifier: Apache-2.0
//! The engines on a node, and what their configuration says of hooks, runtimes and CRIU (crio.conf(5),
//! crio.conf.d(5), containers.conf(5)).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, shown};
use crate::node::files::Files;
use crate::node::hooks;
use crate::node::programs::{self, Program};

const MAX_SIZE: usize = 4 << 20;

/// An engine of the node's.
#[derive(Debug)]
pub struct Engine {
    /// The program.
    pub program: Program,
    /// The directories that it reads hooks from; none for one that reads no such hooks.
    pub hook_directories: Vec<PathBuf>,
    /// Whether it was told not to restore at all.
    pub without_criu: bool,
    /// The runtimes that it was told of.
    pub runtimes: Vec<PathBuf>,
    /// Configuration files that could not be understood, and why.
    pub unusable: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Crio {
    #[serde(default)]
    crio: CrioTable,
}

#[derive(Default, Deserialize)]
struct CrioTable {
    #[serde(default)]
    runtime: CrioRuntime,
}

#[derive(Default, Deserialize)]
struct CrioRuntime {
    hooks_dir: Option<Vec<PathBuf>>,
    enable_criu_support: Option<bool>,
    #[serde(default)]
    runtimes: BTreeMap<String, CrioHandler>,
}

#[derive(Default, Deserialize)]
struct CrioHandler {
    runtime_path: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
struct Containers {
    #[serde(default)]
    engine: ContainersEngine,
}

#[derive(Default, Deserialize)]
struct ContainersEngine {
    hooks_dir: Option<Vec<ListItem>>,
    #[serde(default)]
    runtimes: BTreeMap<String, Vec<PathBuf>>,
}

/// An item of a list in containers.conf; with `append` the list adds to that of the files before.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListItem {
    Path(PathBuf),
    Attributes { append: Option<bool> },
}

/// The engines of a node.
pub fn find(files: &Files) -> Result<Vec<Engine>, Error> {
    let mut engines = Vec::new();
    engines.extend(cri_o(files)?);
    engines.extend(podman(files)?);
    for program in programs::find(files, "containerd", &[])?
        .into_iter()
        .take(1)
    {
        engines.push(Engine::of(program, &[]));
    }
    Ok(engines)
}

impl Engine {
    fn of(program: Program, hook_directories: &[&str]) -> Self {
        Self {
            program,
            hook_directories: hook_directories.iter().map(PathBuf::from).collect(),
            without_criu: false,
            runtimes: Vec::new(),
            unusable: Vec::new(),
        }
    }
}

fn cri_o(files: &Files) -> Result<Option<Engine>, Error> {
    let Some(program) = programs::find(files, "crio", &[])?.into_iter().next() else {
        return Ok(None);
    };
    let mut engine = Engine::of(program, &[hooks::DIRECTORY]);
    // The later file has the last word.
    let mut paths = vec![PathBuf::from("/etc/crio/crio.conf")];
    paths.extend(files.list(Path::new("/etc/crio/crio.conf.d"))?);
    for path in paths {
        let said: Crio = read(files, &path, &mut engine.unusable)?;
        let said = said.crio.runtime;
        if let Some(directories) = said.hooks_dir {
            engine.hook_directories = directories;
        }
        if let Some(enabled) = said.enable_criu_support {
            engine.without_criu = !enabled;
        }
        let paths = said
            .runtimes
            .into_values()
            .filter_map(|handler| handler.runtime_path);
        engine.runtimes.extend(paths);
    }
    Ok(Some(engine))
}

fn podman(files: &Files) -> Result<Option<Engine>, Error> {
    let Some(program) = programs::find(files, "podman", &[])?.into_iter().next() else {
        return Ok(None);
    };
    let mut engine = Engine::of(program, &[hooks::DIRECTORY, hooks::OF_ADMINISTRATOR]);
    let mut paths = vec![
        PathBuf::from("/usr/share/containers/containers.conf"),
        PathBuf::from("/etc/containers/containers.conf"),
    ];
    let more = files.list(Path::new("/etc/containers/containers.conf.d"))?;
    paths.extend(
        more.into_iter()
            .filter(|path| path.extension().is_some_and(|it| it == "conf")),
    );
    for path in paths {
        let said: Containers = read(files, &path, &mut engine.unusable)?;
        if let Some(items) = said.engine.hooks_dir {
            let appends =
                |item: &ListItem| matches!(item, ListItem::Attributes { append: Some(true) });
            if !items.iter().any(appends) {
                engine.hook_directories.clear();
            }
            engine
                .hook_directories
                .extend(items.into_iter().filter_map(|item| match item {
                    ListItem::Path(path) => Some(path),
                    ListItem::Attributes { .. } => None,
                }));
        }
        engine
            .runtimes
            .extend(said.engine.runtimes.into_values().flatten());
    }
    Ok(Some(engine))
}

/// What a file says; nothing where it isn't there or can't be understood.
fn read<T: Default + serde::de::DeserializeOwned>(
    files: &Files,
    path: &Path,
    unusable: &mut Vec<String>,
) -> Result<T, Error> {
    if files.find(path)?.is_none_or(|found| !found.is_file) {
        return Ok(T::default());
    }
    let text = match files.read(path, MAX_SIZE) {
        Err(Error::Invalid { reason, .. }) => {
            unusable.push(format!("{}: {reason}", shown(path)));
            return Ok(T::default());
        }
        text => text?.unwrap_or_default(),
    };
    let said = std::str::from_utf8(&text).map_err(|error| error.to_string());
    let said =
        said.and_then(|text| toml::from_str(text).map_err(|error| error.message().to_owned()));
    Ok(said.unwrap_or_else(|reason| {
        unusable.push(format!("{}: {reason}", shown(path)));
        T::default()
    }))
}
