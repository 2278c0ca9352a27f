// SPDX-License-Identifier: Apache-2.0
//! A container's first start, with premount's hook and the annotation in place.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::Test;
use crate::enter::Root;
use crate::world::{Runtime, SOURCES, Trigger, World, snapshot};

/// The tests of first starts.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for runtime in [Runtime::Runc, Runtime::Crun] {
            let name = format!(
                "{}::hook::a_first_start_is_as_without_premount",
                runtime.name()
            );
            tests.push(Test::new(root, &name, move || {
                first_start(World::new(root, runtime));
            }));
        }
    }
    tests
}

fn first_start(mut world: World) {
    let source = Path::new(SOURCES).join("a");
    world.set_mounts(vec![
        json!({"destination": "/a", "type": "bind", "source": source, "options": ["bind"]}),
        json!({"destination": "/a/b/c", "type": "tmpfs", "source": "tmpfs"}),
    ]);
    let mut started = [Trigger::None, Trigger::Hook].map(|trigger| {
        let _ = fs::remove_dir_all(&source);
        fs::create_dir_all(&source).unwrap();
        world.write_config(trigger);
        world.start();
        let mountpoints = world.mountpoints();
        world.delete();
        (mountpoints, snapshot(&source))
    });
    let [without, with] = &mut started;
    assert_eq!(without, with);
}
