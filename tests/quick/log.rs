// SPDX-License-Identifier: Apache-2.0
//! What the log says of a restore, and where it ends.

use crate::common::acting::{acted, world};
use crate::common::premount;
use serde_json::json;
use std::fs;

#[test]
fn the_hook_says_a_line_an_inode_and_a_line_for_the_sum() {
    let mut world = world();
    world.directory("source");
    world.file("file");
    world.bind("source", "/volume");
    world.bind("file", "/volume/with blank/a\"b");
    let ended = premount(&[], world.state().as_bytes(), &[]);
    let path = |path: &str| world.path(path).to_str().unwrap().replace('"', "\\\"");
    let expected = [
        format!(
            r#" INFO premount: created directory path="{}" mount="/made""#,
            path("bundle/rootfs/made")
        ),
        format!(
            r#" INFO premount: created directory path="{}" mount="/volume""#,
            path("bundle/rootfs/volume")
        ),
        format!(
            r#" INFO premount: created directory path="{}" mount="/volume/with blank/a\"b""#,
            path("source/with blank")
        ),
        format!(
            r#" INFO premount: created file path="{}" mount="/volume/with blank/a\"b""#,
            path("source/with blank/a\"b")
        ),
        " INFO premount: 3 mounts: created 3 directories and 1 file".to_owned(),
    ];
    assert_eq!(ended.stderr.lines().collect::<Vec<_>>(), expected);
    let again = premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(again.stderr, " INFO premount: 3 mounts: nothing missing\n");
}

#[test]
fn the_log_has_room_for_the_longest_paths() {
    let mut world = world();
    world.directory("source");
    world.bind("source", "/volume");
    let deep = [&*"n".repeat(240); 9].join("/");
    world.tmpfs(&format!("/volume/{deep}"));
    let ended = premount(&[], world.state().as_bytes(), &[]);
    assert!(world.path("source").join(deep).is_dir(), "{ended:?}");
    let lines = ended.stderr.matches(" INFO premount: created directory ");
    assert_eq!(lines.count(), 11, "{ended:?}");
    assert!(!ended.stderr.contains("not listed"), "{ended:?}");
}

#[test]
fn the_log_ends_and_says_how_much_it_leaves_out() {
    let mut world = world();
    world.directory("source");
    world.bind("source", "/volume");
    let deep = [&*"n".repeat(250); 15].join("/");
    let mut config = world.config();
    let mounts = config["mounts"].as_array_mut().unwrap();
    for number in 0..580 {
        let destination = format!("/volume/{deep}/{number}");
        mounts.push(json!({"destination": destination, "type": "tmpfs"}));
    }
    world.write_config(&config);
    let ended = premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(ended.status, 0);
    let made = fs::read_dir(world.path("source").join(deep)).unwrap();
    assert_eq!(made.count(), 580);
    // Of /made, /volume, and what is in that.
    let listed = ended.stderr.matches(" INFO premount: created directory ");
    let left_out = 2 + 15 + 580 - listed.count();
    assert!(left_out > 0, "all of it is listed");
    let said = format!(" INFO premount: created {left_out} more that are not listed\n");
    assert!(ended.stderr.contains(&said), "{left_out}");
}

#[test]
fn the_log_level_comes_from_the_command_line_or_else_the_environment() {
    let world = world();
    let state = world.state();
    let lines = |arguments: &[&str], environment: &[(&str, &str)]| {
        let ended = premount(arguments, state.as_bytes(), environment);
        assert_eq!(ended.status, 0);
        acted(&world);
        ended.stderr.lines().count()
    };
    assert_eq!(lines(&["hook"], &[]), 2);
    assert_eq!(lines(&["hook"], &[("PREMOUNT_LOG", "error")]), 0);
    assert_eq!(
        lines(
            &["hook", "--log-level", "info"],
            &[("PREMOUNT_LOG", "error")]
        ),
        2
    );
    assert_eq!(lines(&["hook", "--log-level", "off"], &[]), 0);
    // A word that means nothing is said, and stops nothing.
    assert_eq!(lines(&["hook"], &[("PREMOUNT_LOG", "loud")]), 3);
}
