// SPDX-License-Identifier: Apache-2.0
//! Worlds in which the directory `/made` is missing: by it a test sees whether premount acted.

use std::fs;

use super::World;
use super::mount_image::{checkpoint, container};

/// A world in which one directory is missing.
pub fn world() -> World {
    let mut world = World::new();
    world.tmpfs("/made");
    world
}

pub fn acted(world: &World) -> bool {
    let made = world.path("bundle/rootfs/made");
    let acted = made.is_dir();
    if acted {
        fs::remove_dir(made).unwrap();
    }
    acted
}

/// `world`, with the checkpoint of a container that has its volume at /data.
pub fn with_volume() -> World {
    let mut world = world();
    world.directory("vol");
    world.bind("vol", "/data");
    checkpoint(&world, &container());
    world
}
