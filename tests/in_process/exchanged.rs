// SPDX-License-Identifier: Apache-2.0
//! Something changes between planning and creating: each change once, at the one moment when it counts.
//! tests/attackers tries all moments.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use premount::internals::{
    Cause, Checkpoint, Config, MountpointKind, Owner, Plan, PlanOptions, create,
};

use crate::common::World;

/// Plans all that a world lacks, lets `exchange` do something to it, and creates it. Returns the first failure.
fn exchanged(world: &World, exchange: impl FnOnce(&World)) -> Option<Cause> {
    all_exchanged(world, exchange).into_iter().flatten().next()
}

/// The same; returns what failed of each mount.
fn all_exchanged(world: &World, exchange: impl FnOnce(&World)) -> Vec<Option<Cause>> {
    let bundle = world.path("bundle");
    let file = bundle.join("config.json");
    let text = fs::read_to_string(&file).unwrap();
    let config = Config::parse(&text, &file, &bundle).unwrap();
    let mut plan = Plan::new(config, &Checkpoint::default(), PlanOptions::default()).unwrap();
    exchange(world);
    create(&mut plan, &Owner::default());
    let failures = plan.mounts.iter().map(|planned| planned.status.failure());
    failures
        .map(|failure| failure.map(|failure| failure.cause))
        .collect()
}

/// A volume at /data with a directory `sub`, and a mount to be made at /data/sub/x/y.
fn world() -> World {
    let mut world = World::new();
    world.directory("bundle/rootfs/data");
    world.directory("vol/sub");
    world.directory("outside/x");
    world.bind("vol", "/data");
    world.tmpfs("/data/sub/x/y");
    world
}

#[test]
fn nothing_exchanged_is_made() {
    let world = world();
    assert_eq!(exchanged(&world, |_| ()), None);
    assert_eq!(world.tree("vol"), ["d sub", "d sub/x", "d sub/x/y"]);
}

#[test]
fn a_source_that_became_another_is_left_alone() {
    let exchange = |world: &World| {
        fs::rename(world.path("vol"), world.path("old")).unwrap();
        world.directory("vol/sub");
    };
    // The one that was planned for is open still.
    let world = world();
    assert_eq!(exchanged(&world, exchange), None);
    assert_eq!(world.tree("vol"), ["d sub"]);
    assert_eq!(world.tree("old"), ["d sub", "d sub/x", "d sub/x/y"]);
    // With many sources it is opened anew.
    let mut world = World::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        world.directory(&format!("bundle/rootfs/{name}"));
        world.directory(&format!("{name}/there"));
        world.bind(name, &format!("/{name}"));
    }
    world.directory("bundle/rootfs/data");
    world.directory("vol/sub");
    world.bind("vol", "/data");
    world.tmpfs("/data/sub/x/y");
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        world.tmpfs(&format!("/{name}/there/too"));
    }
    let many = exchanged(&world, |world| {
        exchange(world);
        // Even with the very directory that was looked at in it.
        fs::remove_dir(world.path("vol/sub")).unwrap();
        fs::rename(world.path("old/sub"), world.path("vol/sub")).unwrap();
    });
    assert_eq!(many, Some(Cause::Changed));
    assert_eq!(world.tree("vol"), ["d sub"]);
}

#[test]
fn a_directory_that_became_another_is_left_alone() {
    let world = world();
    let cause = exchanged(&world, |world| {
        fs::rename(world.path("vol/sub"), world.path("vol/old")).unwrap();
        world.directory("vol/sub");
    });
    assert_eq!(cause, Some(Cause::Changed));
    assert_eq!(world.tree("vol"), ["d old", "d sub"]);
}

#[test]
fn a_directory_that_became_a_link_is_no_way() {
    let world = world();
    let cause = exchanged(&world, |world| {
        fs::remove_dir(world.path("vol/sub")).unwrap();
        symlink(world.path("outside"), world.path("vol/sub")).unwrap();
    });
    assert!(cause.is_some(), "{cause:?}");
    assert_eq!(world.tree("outside"), ["d x"]);
}

#[test]
fn a_link_that_came_on_the_way_is_no_way() {
    let world = world();
    let cause = exchanged(&world, |world| {
        symlink(world.path("outside/x"), world.path("vol/sub/x")).unwrap();
    });
    assert_eq!(cause, Some(Cause::NotADirectory));
    assert_eq!(world.tree("outside"), ["d x"]);
}

#[test]
fn a_link_that_came_to_the_mountpoint_is_none() {
    for target in ["outside/x", "gone"] {
        let world = world();
        let cause = exchanged(&world, |world| {
            world.directory("vol/sub/x");
            symlink(world.path(target), world.path("vol/sub/x/y")).unwrap();
        });
        assert_eq!(cause, Some(Cause::Changed), "{target}");
        assert!(!world.path("gone").exists() && world.tree("outside") == ["d x"]);
    }
}

#[test]
fn a_link_that_came_to_the_mountpoint_of_a_file_is_none_either() {
    for target in ["outside/file", "gone"] {
        let mut world = world();
        world.file("f");
        world.file("outside/file");
        world.bind("f", "/data/sub/file");
        let cause = exchanged(&world, |world| {
            symlink(world.path(target), world.path("vol/sub/file")).unwrap();
        });
        assert_eq!(cause, Some(Cause::Changed), "{target}");
        assert!(!world.path("gone").exists(), "{target}");
    }
}

#[test]
fn what_came_of_the_wrong_kind_stays() {
    let exchange = |world: &World, at: &Path, is_file: bool| {
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        if is_file {
            fs::write(at, "content").unwrap();
        } else {
            fs::create_dir(at).unwrap();
        }
        drop(world.tree("vol"));
    };
    let world = world();
    let at = world.path("vol/sub/x/y");
    let cause = exchanged(&world, |world| exchange(world, &at, true));
    let needed = MountpointKind::Directory;
    assert_eq!(cause, Some(Cause::WrongKind { needed }));
    assert_eq!(fs::read_to_string(&at).unwrap(), "content");

    let mut world = self::world();
    world.file("f");
    world.bind("f", "/data/sub/file");
    let at = world.path("vol/sub/file");
    let cause = exchanged(&world, |world| exchange(world, &at, false));
    let needed = MountpointKind::File;
    assert_eq!(cause, Some(Cause::WrongKind { needed }));
    // And of the right kind it is as good as made.
    let mut world = self::world();
    world.file("f");
    world.bind("f", "/data/sub/file");
    let at = world.path("vol/sub/file");
    assert_eq!(exchanged(&world, |world| exchange(world, &at, true)), None);
    assert_eq!(fs::read_to_string(&at).unwrap(), "content");
}

#[test]
fn a_file_in_the_place_of_a_mountpoint_is_the_wrong_kind_with_others_below_it_too() {
    let mut world = World::new();
    world.directory("bundle/rootfs/data");
    world.directory("vol");
    world.bind("vol", "/data");
    world.tmpfs("/data/x/y");
    world.bind("vol", "/data/x");
    let causes = all_exchanged(&world, |world| {
        fs::write(world.path("vol/x"), "content").unwrap();
    });
    let needed = MountpointKind::Directory;
    assert_eq!(
        causes,
        [
            None,
            Some(Cause::NotADirectory),
            Some(Cause::WrongKind { needed })
        ]
    );
}

#[test]
fn a_file_that_came_on_the_way_is_told() {
    let world = world();
    let cause = exchanged(&world, |world| {
        fs::write(world.path("vol/sub/x"), "content").unwrap();
    });
    assert_eq!(cause, Some(Cause::NotADirectory));
    assert_eq!(world.tree("vol"), ["d sub", "f sub/x"]);
}
