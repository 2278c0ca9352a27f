// SPDX-License-Identifier: Apache-2.0
//! premount, as a library, against the model.

use premount::internals::{Checkpoint, Config, Plan, PlanOptions, Status, create};
use serde_json::json;

use crate::model::kernel::{Went, first_start};
use crate::model::{Container, list, tree_path};

/// Where premount and the model differ, if they do.
pub fn difference(container: &Container) -> Option<String> {
    // A tmpfs, where there is one: it is a real file system too, and quick.
    let shared = std::path::Path::new("/dev/shm");
    let directory = if shared.is_dir() {
        tempfile::tempdir_in(shared)
    } else {
        tempfile::tempdir()
    };
    let directory = directory.unwrap();
    let base = directory.path();
    container.build(base);
    let config =
        json!({"root": {"path": tree_path(base, 0)}, "mounts": container.mounts_json(base)});
    let config = Config::parse(&config.to_string(), &base.join("config.json"), base).unwrap();
    let owner = config.owner.clone();
    let mut plan = Plan::new(config, &Checkpoint::default(), PlanOptions::default()).unwrap();
    create(&mut plan, &owner);

    let (trees, went) = first_start(container);
    for (index, expected) in trees.iter().enumerate() {
        let made = list(&tree_path(base, index));
        if made != *expected {
            return Some(format!(
                "tree {index}:\n  premount {made:?}\n  model    {expected:?}"
            ));
        }
    }
    for (planned, went) in plan.mounts.iter().zip(&went) {
        // On a tmpfs of the container's nothing is judged: its content comes with the checkpoint.
        let judged = planned.status != Status::Restored;
        if judged && planned.status.failure().is_some() != (*went == Went::Failed) {
            let destination = &planned.mount.written;
            return Some(format!(
                "mount {destination}: {went:?}, {:?}",
                planned.status
            ));
        }
    }
    None
}
