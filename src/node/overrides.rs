// SPDX-License-Identifier: Apache-2.0
//! Containers that name a configuration file for CRIU of their own, by the annotation `org.criu.config`:
//! what runc.conf and crun.conf say doesn't count for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;
use crate::node::files::Files;
use crate::oci::config;

const ANNOTATION: &str = "org.criu.config";

/// A container with a configuration file of its own.
#[derive(Debug)]
pub struct Override {
    /// Its configuration.
    pub container: PathBuf,
    /// The file that it names for CRIU.
    pub config: PathBuf,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    annotations: BTreeMap<String, serde_json::Value>,
}

/// The containers of CRI-O's, Podman's and containerd's on a node that have one.
pub fn find(files: &Files) -> Result<Vec<Override>, Error> {
    let mut bundles = Vec::new();
    // .../overlay-containers/ID/userdata; config.json is in one of the two.
    for storage in ["/var/lib/containers/storage", "/run/containers/storage"] {
        for containers in files.list(Path::new(storage))? {
            let name = containers.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with("-containers") {
                let of_each = files.list(&containers)?.into_iter();
                bundles.extend(of_each.map(|container| container.join("userdata")));
            }
        }
    }
    for namespace in files.list(Path::new("/run/containerd/io.containerd.runtime.v2.task"))? {
        bundles.extend(files.list(&namespace)?);
    }
    let mut found = Vec::new();
    for bundle in bundles {
        let container = bundle.join(config::FILE_NAME);
        // Containers come and go, and what isn't a configuration is the engine's to complain of.
        let text = files.read(&container, config::MAX_SIZE).ok().flatten();
        let written = text.and_then(|text| serde_json::from_slice::<Written>(&text).ok());
        let named = written
            .as_ref()
            .and_then(|it| it.annotations.get(ANNOTATION)?.as_str());
        if let Some(config) = named.filter(|path| !path.is_empty()) {
            let config = PathBuf::from(config);
            found.push(Override { container, config });
        }
    }
    Ok(found)
}
