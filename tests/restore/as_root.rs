// SPDX-License-Identifier: Apache-2.0
//! What takes root but no container: owners, and mounts of the host's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use serde_json::json;

use crate::Test;
use crate::common::World;
use crate::enter::Root;
use crate::host::tool;

/// The tests that take root.
pub fn tests() -> Vec<Test> {
    let tests: [(&str, fn()); 9] = [
        ("what_is_made_belongs_to_the_mapped_root", mapped_root),
        ("a_setgid_directory_hands_its_group_down", setgid),
        ("a_bind_does_not_show_the_mounts_of_the_host", bind),
        ("an_rbind_shows_the_mounts_of_the_host", rbind),
        ("a_read_only_file_system_is_reported", read_only),
        ("a_full_disk_is_reported", full_disk),
        ("a_mount_that_comes_and_goes_is_never_entered", live_mount),
        (
            "without_cap_sys_admin_only_hidden_mounts_fail",
            without_sys_admin,
        ),
        (
            "without_cap_dac_override_only_closed_directories_fail",
            without_dac_override,
        ),
    ];
    tests
        .map(|(name, test)| Test::new(Root::Debian13, &format!("as_root::{name}"), test))
        .into()
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn map_root(world: &World) {
    let mut config = world.config();
    config["linux"] = json!({
        "uidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65536}],
        "gidMappings": [{"containerID": 0, "hostID": 200_000, "size": 65536}],
    });
    world.write_config(&config);
}

fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}

/// Also in a source of yet another user's, which that user alone may enter.
fn mapped_root() {
    let mut world = World::new();
    world.directory("a");
    world.file("f");
    chown(world.path("a"), Some(104_711), Some(204_711)).unwrap();
    mode(&world.path("a"), 0o700);
    chown(world.path("bundle/rootfs"), Some(100_000), Some(200_000)).unwrap();
    world.bind("a", "/a");
    world.bind("f", "/a/b/f");
    map_root(&world);
    let ended = world.premount("apply");
    assert_eq!(ended.status, 0, "{ended:?}");
    for made in ["bundle/rootfs/a", "a/b", "a/b/f"] {
        assert_eq!(owner(&world.path(made)), (100_000, 200_000), "{made}");
    }
    assert_eq!(owner(&world.path("a")), (104_711, 204_711));
}

fn setgid() {
    let mut world = World::new();
    world.directory("a");
    chown(world.path("bundle/rootfs"), Some(100_000), Some(200_000)).unwrap();
    chown(world.path("a"), Some(100_001), Some(204_711)).unwrap();
    mode(&world.path("a"), 0o2775);
    world.bind("a", "/a");
    world.tmpfs("/a/b/c");
    map_root(&world);
    assert_eq!(world.premount("apply").status, 0);
    assert_eq!(owner(&world.path("a/b/c")), (100_000, 204_711));
    assert_eq!(
        fs::metadata(world.path("a/b/c")).unwrap().mode() & 0o7777,
        0o2755
    );
}

fn with_host_mount() -> World {
    let world = World::new();
    let below = world.directory("a/below");
    tool("mount", &["-t", "tmpfs", "tmpfs", below.to_str().unwrap()]);
    world.directory("a/below/of-the-host");
    world
}

fn bind() {
    let mut world = with_host_mount();
    let source = world.path("a");
    world.mount(json!({"destination": "/a", "source": source, "options": ["bind"]}));
    world.tmpfs("/a/below/x");
    world.tmpfs("/a/below/of-the-host/y");
    assert_eq!(world.premount("check").status, 1);
    assert_eq!(world.premount("apply").status, 0);
    assert_eq!(world.premount("check").status, 0);
    assert_eq!(world.tree("a/below"), ["d of-the-host"]);
    tool("umount", &[world.path("a/below").to_str().unwrap()]);
    assert_eq!(
        world.tree("a/below"),
        ["d of-the-host", "d of-the-host/y", "d x"]
    );
}

fn rbind() {
    let mut world = with_host_mount();
    world.bind("a", "/a");
    world.tmpfs("/a/below/x");
    assert_eq!(world.premount("apply").status, 0);
    assert_eq!(world.tree("a/below"), ["d of-the-host", "d x"]);
    tool("umount", &[world.path("a/below").to_str().unwrap()]);
    assert!(world.tree("a/below").is_empty());
}

fn read_only() {
    let mut world = World::new();
    let source = world.directory("a");
    world.bind("a", "/a");
    world.tmpfs("/a/there");
    world.tmpfs("/a/missing");
    world.tmpfs("/last");
    tool("mount", &["-t", "tmpfs", "tmpfs", source.to_str().unwrap()]);
    world.directory("a/there");
    tool("mount", &["-o", "remount,ro", source.to_str().unwrap()]);
    for command in ["check", "plan", "apply"] {
        let ended = world.premount(command);
        assert_eq!(ended.status, 1, "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        for part in ["mount /a/missing: ", "/a/missing: mkdirat: ", "(EROFS)"] {
            assert!(ended.stderr.contains(part), "{ended:?}");
        }
    }
    assert_eq!(world.tree("bundle/rootfs"), ["d a", "d last"]);
}

fn full_disk() {
    let mut world = World::new();
    let source = world.directory("a");
    world.bind("a", "/a");
    world.tmpfs("/a/x/y/z");
    world.tmpfs("/last");
    // Room for the root and one more inode.
    tool(
        "mount",
        &[
            "-t",
            "tmpfs",
            "-o",
            "nr_inodes=2",
            "tmpfs",
            source.to_str().unwrap(),
        ],
    );
    let ended = world.premount("apply");
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("/a/x/y: mkdirat: No space left on device (ENOSPC)"),
        "{ended:?}"
    );
    assert_eq!(world.tree("a"), ["d x"]);
    assert_eq!(world.tree("bundle/rootfs"), ["d a", "d last"]);
    tool(
        "mount",
        &["-o", "remount,nr_inodes=9", source.to_str().unwrap()],
    );
    assert_eq!(world.premount("apply").status, 0);
    assert_eq!(world.tree("a"), ["d x", "d x/y", "d x/y/z"]);
}

/// Calls `apply` as root without some capabilities.
fn apply_without(world: &World, capabilities: &str) -> (Option<i32>, String) {
    let output = std::process::Command::new("setpriv")
        .args(["--inh-caps=-all", "--bounding-set", capabilities, "--"])
        .arg(crate::common::binary())
        .args(["apply", "--bundle", &world.bundle()])
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn without_sys_admin() {
    let mut world = with_host_mount();
    let source = world.path("a");
    world.mount(json!({"destination": "/a", "source": source, "options": ["bind"]}));
    world.tmpfs("/a/beside");
    world.tmpfs("/a/below/x");
    let (status, said) = apply_without(&world, "-sys_admin");
    assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
    let named = "mount /a/below/x: cannot create it: ";
    assert!(
        said.contains(named) && said.contains("open_tree: "),
        "{said}"
    );
    assert_eq!(
        world.tree("a"),
        ["d below", "d below/of-the-host", "d beside"]
    );
}

fn without_dac_override() {
    let mut world = World::new();
    world.directory("closed");
    world.directory("open");
    chown(world.path("closed"), Some(4711), Some(4711)).unwrap();
    mode(&world.path("closed"), 0o700);
    world.bind("closed", "/closed");
    world.bind("open", "/open");
    world.tmpfs("/closed/x");
    world.tmpfs("/open/x");
    let (status, said) = apply_without(&world, "-dac_override,-dac_read_search");
    assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
    assert!(
        said.contains("mount /closed/x: ") && said.contains("(EACCES)"),
        "{said}"
    );
    assert_eq!(world.tree("open"), ["d x"]);
    assert!(world.tree("closed").is_empty());
}

/// A live thread mounts a tmpfs on a component, and unmounts it, while premount runs.
fn live_mount() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let world = World::new();
    let component = world.directory("a/b");
    let component = component.to_str().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let mut times = 0;
            while !done.load(Ordering::Relaxed) {
                tool("mount", &["-t", "tmpfs", "tmpfs", component]);
                std::thread::yield_now();
                assert_eq!(
                    fs::read_dir(component).unwrap().count(),
                    0,
                    "something was made in it"
                );
                tool("umount", &["--lazy", component]);
                times += 1;
            }
            times
        });
        let mut made = 0;
        for number in 0..400 {
            let mount = json!({"destination": format!("/a/b/m{number}/n"), "type": "tmpfs"});
            let bind = json!({"destination": "/a", "source": world.path("a"), "options": ["bind"]});
            world.write_config(&json!({"root": {"path": "rootfs"}, "mounts": [bind, mount]}));
            made += usize::from(world.premount("apply").status == 0);
        }
        done.store(true, Ordering::Relaxed);
        let times = attacker.join().unwrap();
        println!("400 runs against {times} mounts, {made} of them without a failure");
        // What premount said it made is there, below where the mount was.
        assert!(fs::read_dir(component).unwrap().count() >= made);
        assert!(times > 20 && made > 0);
    });
}
