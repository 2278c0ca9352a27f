// SPDX-License-Identifier: Apache-2.0
//! Finds containers whose annotation `org.criu.config` names a CRIU configuration file: CRIU reads that file
//! instead of runc.conf or crun.conf.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;
use crate::node::files::Files;
use crate::oci::config;

const ANNOTATION: &str = "org.criu.config";

/// A container with its own CRIU configuration file.
#[derive(Debug)]
pub struct Override {
    /// The container's config.json.
    pub container: PathBuf,
    /// The CRIU configuration file that it names.
    pub config: PathBuf,
}

#[derive(Deserialize)]
struct Annotated {
    #[serde(default)]
    annotations: BTreeMap<String, serde_json::Value>,
}

/// Finds such containers of CRI-O, Podman and containerd.
///
/// # Errors
///
/// The directories of containers cannot be read.
pub fn find(files: &Files) -> Result<Vec<Override>, Error> {
    let mut bundles = Vec::new();
    // The path is .../overlay-containers/ID/userdata; config.json is below one of these two.
    for storage in ["/var/lib/containers/storage", "/run/containers/storage"] {
        for containers in files.list(Path::new(storage))? {
            let name = containers.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with("-containers") {
                let all = files.list(&containers)?.into_iter();
                bundles.extend(all.map(|container| container.join("userdata")));
            }
        }
    }
    for namespace in files.list(Path::new("/run/containerd/io.containerd.runtime.v2.task"))? {
        bundles.extend(files.list(&namespace)?);
    }
    let mut found = Vec::new();
    for bundle in bundles {
        let container = bundle.join(config::FILE_NAME);
        // Containers come and go, and an invalid configuration is for the engine to report.
        let text = files.read(&container, config::MAX_SIZE).ok().flatten();
        let parsed = text.and_then(|text| serde_json::from_slice::<Annotated>(&text).ok());
        let named = parsed
            .as_ref()
            .and_then(|it| it.annotations.get(ANNOTATION)?.as_str());
        if let Some(config) = named.filter(|path| !path.is_empty()) {
            let config = PathBuf::from(config);
            found.push(Override { container, config });
        }
    }
    Ok(found)
}
