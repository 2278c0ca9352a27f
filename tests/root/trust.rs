// SPDX-License-Identifier: Apache-2.0
//! A configuration that another user may have written is not taken. The rest of what premount trusts is in
//! tests/quick/trust.rs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::acting::{acted, with_volume};
use crate::common::{
    self, AsCriu, World, copy_binary, output_within, premount, skipped_without_root,
};

/// What somebody else does to a world.
type Tampering<'a> = &'a dyn Fn(&World);

/// An advisory of 2026: any user could have root make inodes anywhere, as that user's.
#[test]
fn a_configuration_that_others_can_have_written_is_not_taken() {
    if skipped_without_root("give a file away") {
        return;
    }
    let chmod = |path: &Path, mode: u32| {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    let chown = |path: &Path| chown(path, Some(1000), None).unwrap();
    let config = |world: &World| world.path("bundle/config.json");
    let changes: [(&str, Tampering); 8] = [
        ("belongs to user 1000", &|world| chown(&config(world))),
        ("others can write to", &|world| chmod(&config(world), 0o646)),
        ("others can write to", &|world| chmod(&config(world), 0o664)),
        ("belongs to user 1000", &|world| {
            chown(&world.path("bundle"));
        }),
        ("others can write to", &|world| {
            chmod(&world.path("bundle"), 0o1777);
        }),
        ("belongs to user 1000", &|world| chown(&world.path(""))),
        ("others can write to", &|world| {
            chmod(&world.path(""), 0o777);
        }),
        ("is a symbolic link (ELOOP)", &|world| {
            fs::rename(config(world), world.path("bundle/real.json")).unwrap();
            world.link("bundle/config.json", "real.json");
        }),
    ];
    for (reason, change) in changes {
        let world = with_volume();
        change(&world);
        let mut beside = AsCriu::restores(&world);
        beside.runtime = "/".into();
        for ended in [
            AsCriu::restores(&world).call(&[]),
            beside.call(&[]),
            premount(&[], world.state().as_bytes(), &[]),
        ] {
            assert_eq!(ended.status, 0, "{reason}: {ended:?}");
            assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
            assert!(ended.stderr.contains(reason), "{reason}: {ended:?}");
            assert!(!acted(&world), "{reason}");
        }
        // Who calls by hand answers for what is named.
        assert_eq!(world.premount("apply").status, 0);
        assert!(acted(&world), "{reason}");
    }
    // In a sticky directory nobody can exchange what is there.
    let world = with_volume();
    chmod(&world.path(""), 0o1777);
    let ended = AsCriu::restores(&world).call(&[]);
    assert!(ended.status == 0 && acted(&world), "{ended:?}");
}

/// A user as any other, where the users are the host's.
#[test]
fn nobody_s_directory_is_not_trusted_where_nobody_is_a_user() {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    if skipped_without_root("give a directory away") || !map.contains("4294967295") {
        return;
    }
    let world = with_volume();
    chown(world.path(""), Some(65534), None).unwrap();
    let ended = premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(ended.stderr.contains("belongs to user 65534"), "{ended:?}");
    assert!(!acted(&world), "{ended:?}");
}

/// Above a rootless engine's directories are those of the host's root.
#[test]
fn what_a_user_namespace_has_no_number_for_is_trusted_above_alone() {
    if skipped_without_root("give a directory away") {
        return;
    }
    for (given, users, acts) in [
        ("", &[0][..], true),
        ("", &[0, 1000], false),
        ("bundle", &[0], false),
    ] {
        let world = with_volume();
        chown(world.path(given), Some(1000), None).unwrap();
        let Some(output) = hook_in_user_namespace(&world, users) else {
            println!("skipped: no user namespaces here");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{given} {users:?}: {said}");
        assert_eq!(acted(&world), acts, "{given} {users:?}: {said}");
    }
}

/// Calls the hook in a user namespace that has these users of the host's; none where it can't be had.
fn hook_in_user_namespace(world: &World, users: &[u32]) -> Option<Output> {
    let mapped = "until grep -q . /proc/self/gid_map; do sleep 0.01; done; exec \"$0\"";
    let mut child = Command::new("unshare")
        .args(["--user", "sh", "-c", mapped])
        .arg(common::binary())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let process = Path::new("/proc").join(child.id().to_string());
    let namespace = |process: &Path| fs::read_link(process.join("ns/user")).ok();
    while namespace(&process) == namespace(Path::new("/proc/self")) {
        thread::sleep(Duration::from_millis(10));
    }
    if child.try_wait().unwrap().is_some() {
        return None;
    }
    let map: Vec<String> = users.iter().map(|id| format!("{id} {id} 1\n")).collect();
    let map = map.concat();
    fs::write(process.join("uid_map"), map).unwrap();
    fs::write(process.join("gid_map"), "0 0 1\n").unwrap();
    let patience = Duration::from_secs(60);
    Some(output_within(patience, child, world.state().as_bytes()))
}

#[test]
fn a_configuration_of_the_callers_own_is_taken() {
    if skipped_without_root("be another user") {
        return;
    }
    for (owner, acts) in [(1000, true), (0, true), (1001, false)] {
        let world = with_volume();
        let copy = world.path("premount");
        copy_binary(&copy);
        for path in ["", "bundle", "bundle/rootfs", "vol"] {
            chown(world.path(path), Some(1000), None).unwrap();
        }
        chown(world.path("bundle/config.json"), Some(owner), None).unwrap();
        let output = hook_as_user(&world, &copy);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{owner}: {said}");
        assert_eq!(acted(&world), acts, "{owner}: {said}");
    }
}

/// Calls the hook as user 1000, by a copy of the program that this user can reach.
fn hook_as_user(world: &World, copy: &Path) -> Output {
    let child = Command::new("setpriv")
        .args(["--reuid", "1000", "--regid", "1000", "--clear-groups", "--"])
        .arg(copy)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let patience = Duration::from_secs(60);
    output_within(patience, child.unwrap(), world.state().as_bytes())
}

/// A directory whose owner may go through it and make something in it, but not list it.
#[test]
fn nothing_on_the_way_has_to_be_readable() {
    if skipped_without_root("be a user that may not read everything") {
        return;
    }
    let mut world = with_volume();
    world.tmpfs("/data/x/y");
    let copy = world.path("premount");
    copy_binary(&copy);
    for path in ["", "bundle", "bundle/rootfs", "vol"] {
        chown(world.path(path), Some(1000), None).unwrap();
        let closed = PermissionsExt::from_mode(0o311);
        fs::set_permissions(world.path(path), closed).unwrap();
    }
    let output = hook_as_user(&world, &copy);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && acted(&world), "{said}");
    assert_eq!(world.tree("vol"), ["d x", "d x/y"]);
}
