// SPDX-License-Identifier: Apache-2.0
//! The engines on a node, and their settings for hooks, runtimes and CRIU (crio.conf(5), crio.conf.d(5),
//! containers.conf(5)).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, shown};
use crate::node::files::Files;
use crate::node::hooks;
use crate::node::programs::{self, Program};

const MAX_SIZE: usize = 4 << 20;

/// An engine on the node.
#[derive(Debug)]
pub struct Engine {
    /// Its program.
    pub program: Program,
    /// The directories that it reads hooks from; empty if it has no such directories.
    pub hook_directories: Vec<PathBuf>,
    /// Whether its configuration disables checkpoint and restore.
    pub criu_disabled: bool,
    /// The paths of runtimes in its configuration.
    pub runtimes: Vec<PathBuf>,
    /// Configuration files that could not be parsed, and why.
    pub unusable: Vec<String>,
}

#[derive(Default, Deserialize)]
struct CrioConf {
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
struct ContainersConf {
    #[serde(default)]
    engine: ContainersEngine,
}

#[derive(Default, Deserialize)]
struct ContainersEngine {
    hooks_dir: Option<Vec<ListItem>>,
    #[serde(default)]
    runtimes: BTreeMap<String, Vec<PathBuf>>,
}

/// An item of a list in containers.conf; with `append`, the list extends that of the earlier files.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListItem {
    Path(PathBuf),
    Attributes { append: Option<bool> },
}

/// Finds the engines on a node.
///
/// # Errors
///
/// The node's files cannot be read.
pub fn find(files: &Files) -> Result<Vec<Engine>, Error> {
    let mut engines = Vec::new();
    engines.extend(cri_o(files)?);
    engines.extend(podman(files)?);
    for name in ["containerd", "dockerd"] {
        let program = programs::find(files, name, &[])?.into_iter().next();
        engines.extend(program.map(|program| Engine::new(program, &[])));
    }
    Ok(engines)
}

/// The runtimes that engines are configured with, by their paths.
pub fn runtimes_of(engines: &[Engine]) -> Vec<PathBuf> {
    let all = engines.iter().flat_map(|engine| engine.runtimes.iter());
    all.cloned().collect()
}

impl Engine {
    fn new(program: Program, hook_directories: &[&str]) -> Self {
        Self {
            program,
            hook_directories: hook_directories.iter().map(PathBuf::from).collect(),
            criu_disabled: false,
            runtimes: Vec::new(),
            unusable: Vec::new(),
        }
    }
}

fn cri_o(files: &Files) -> Result<Option<Engine>, Error> {
    let Some(program) = programs::find(files, "crio", &[])?.into_iter().next() else {
        return Ok(None);
    };
    let mut engine = Engine::new(program, &[hooks::DIRECTORY]);
    // Later files override earlier ones.
    let mut paths = vec![PathBuf::from("/etc/crio/crio.conf")];
    paths.extend(files.list(Path::new("/etc/crio/crio.conf.d"))?);
    for path in paths {
        let settings: CrioConf = read(files, &path, &mut engine.unusable)?;
        let settings = settings.crio.runtime;
        if let Some(directories) = settings.hooks_dir {
            engine.hook_directories = directories;
        }
        if let Some(enabled) = settings.enable_criu_support {
            engine.criu_disabled = !enabled;
        }
        let paths = settings
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
    let mut engine = Engine::new(program, &[hooks::DIRECTORY, hooks::ADMIN_DIRECTORY]);
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
        let settings: ContainersConf = read(files, &path, &mut engine.unusable)?;
        if let Some(items) = settings.engine.hooks_dir {
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
            .extend(settings.engine.runtimes.into_values().flatten());
    }
    Ok(Some(engine))
}

/// Parses a configuration file; returns the defaults if it does not exist or cannot be parsed.
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
    let settings = std::str::from_utf8(&text).map_err(|error| error.to_string());
    let settings =
        settings.and_then(|text| toml::from_str(text).map_err(|error| error.message().to_owned()));
    Ok(settings.unwrap_or_else(|reason| {
        unusable.push(format!("{}: {reason}", shown(path)));
        T::default()
    }))
}
