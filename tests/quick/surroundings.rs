// SPDX-License-Identifier: Apache-2.0
//! premount does the same however it is started: with any umask, directory, descriptors, environment and user,
//! and beside others of its kind.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::common::{
    self, World, copy_binary, is_root, output, output_of, premount, user_namespace,
};

/// A world in which a directory and a file are missing.
fn world() -> World {
    let mut world = World::new();
    world.directory("a");
    world.file("f");
    world.bind("a", "/a");
    world.bind("f", "/a/x/f");
    world
}

fn complete(world: &World) -> bool {
    world.tree("a") == ["d x", "f x/f"]
}

#[test]
fn any_umask() {
    for umask in ["000", "022", "077", "777"] {
        let world = world();
        let output = world.shell(&format!(
            "umask {umask} && exec \"$0\" apply --bundle \"$1\""
        ));
        assert!(
            output.status.success() && complete(&world),
            "{umask}: {output:?}"
        );
        let mode = |path: &str| {
            use std::os::unix::fs::PermissionsExt;
            fs::metadata(world.path(path)).unwrap().permissions().mode() & 0o7777
        };
        assert_eq!((mode("a/x"), mode("a/x/f")), (0o755, 0o644), "{umask}");
    }
}

#[test]
fn a_current_directory_that_is_gone() {
    let world = world();
    let gone = world.directory("gone");
    let script = format!(
        "cd '{0}' && rmdir '{0}' && exec \"$0\" apply --bundle \"$1\"",
        gone.display()
    );
    let output = world.shell(&script);
    assert!(output.status.success() && complete(&world), "{output:?}");
    let relative = world.shell(&format!(
        "mkdir '{0}' && cd '{0}' && rmdir '{0}' && exec \"$0\" apply --bundle bundle",
        gone.display()
    ));
    assert_eq!(relative.status.code(), Some(2), "{relative:?}");
}

#[test]
fn closed_standard_streams() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let world = world();
        let output = world.shell(&format!("exec \"$0\" apply --bundle \"$1\" {closed}"));
        assert!(
            output.status.success() && complete(&world),
            "{closed}: {output:?}"
        );
        let hook = world.shell(&format!("exec \"$0\" hook {closed}"));
        assert_eq!(hook.status.code(), Some(2), "{closed}: {hook:?}");
    }
}

#[test]
fn inherited_descriptors_lead_nowhere() {
    // CVE-2024-21626: a path through a descriptor that the runtime left open.
    let mut world = World::new();
    let secret = world.directory("secret");
    world.mount(json!({"destination": "/a", "source": "/proc/self/fd/7", "options": ["bind"]}));
    world.tmpfs("/a/x");
    let script = format!(
        "exec 7<'{}' && exec \"$0\" apply --bundle \"$1\"",
        secret.display()
    );
    let output = world.shell(&script);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(world.tree("secret").is_empty());
}

#[test]
fn sixty_four_at_once_over_shared_sources() {
    let world = world();
    let bundle = world.bundle();
    for _ in 0..5 {
        let _ = fs::remove_dir_all(world.path("a/x"));
        let _ = fs::remove_dir_all(world.path("bundle/rootfs/a"));
        let children: Vec<_> = (0..64)
            .map(|_| {
                Command::new(common::binary())
                    .args(["apply", "--bundle", &bundle, "--format", "json"])
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let mut created = 0;
        for child in children {
            let output = output_of(child);
            assert!(output.status.success(), "{output:?}");
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            created += report["summary"]["created_directories"].as_u64().unwrap();
            created += report["summary"]["created_files"].as_u64().unwrap();
        }
        assert!(complete(&world));
        assert_eq!(created, 3, "each inode is one premount's alone");
    }
}

#[test]
fn what_another_premount_has_made_is_missing_no_more() {
    for _ in 0..10 {
        let world = world();
        let script = "for i in 1 2 3 4 5 6 7 8; do \"$0\" apply --bundle \"$1\" & done; wait";
        let output = world.shell(script);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && complete(&world), "{output:?}");
        assert!(
            !said.contains("mountpoint missing") && !said.contains("mountpoints missing"),
            "{said}"
        );
    }
}

#[test]
fn a_state_that_never_ends() {
    let child = Command::new(common::binary())
        .stdin(Stdio::from(fs::File::open("/dev/zero").unwrap()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = output_of(child);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("longer than 1048576 bytes"));
}

#[test]
fn an_environment_that_means_nothing_to_it() {
    let world = world();
    let environment = [
        ("PATH", "/nowhere"),
        ("HOME", "relative"),
        ("RUST_LOG", "trace"),
        ("TMPDIR", "/nowhere"),
        ("CRTOOLS_IMAGE_DIR", "/nowhere"),
        ("LANG", "xx_YY"),
    ];
    let ended = premount(&["apply", "--bundle", &world.bundle()], b"", &environment);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    assert!(complete(&world));
}

/// A call by a user without any capability, of a world that becomes that user's.
fn unprivileged_apply(world: &World) -> Command {
    let copy = world.path("premount");
    copy_binary(&copy);
    let mut call = Command::new(copy);
    call.args(["apply", "--bundle", &world.bundle()]);
    if is_root() {
        give_to(&world.path(""), 65534);
        call.uid(65534).gid(65534);
    }
    call
}

/// As a user without any capability, in a world that is that user's.
#[test]
fn a_caller_without_capabilities() {
    let world = world();
    let mut call = unprivileged_apply(&world);
    let ended = output(&mut call);
    assert!(ended.status.success() && complete(&world), "{ended:?}");

    // What it may not make is named, and the rest is made.
    let mut world = world;
    let _ = fs::remove_dir_all(world.path("a/x"));
    world.mount(json!({"destination": "/etc-of-the-host", "source": "/etc", "options": ["bind"]}));
    world.tmpfs("/etc-of-the-host/premount-test/x");
    world.tmpfs("/last");
    if is_root() {
        let ended = output(&mut call);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(
            said.contains("/etc/premount-test: mkdirat: Permission denied (EACCES)"),
            "{said}"
        );
        assert!(complete(&world) && world.path("bundle/rootfs/last").is_dir());
    }
}

fn give_to(path: &Path, uid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give_to(&entry.unwrap().path(), uid);
        }
    }
}

#[test]
fn root_of_a_user_namespace() {
    let world = world();
    let mut call = Command::new("unshare");
    call.args(["--user", "--map-root-user", "--"])
        .arg(common::binary());
    let output = output(call.args(["apply", "--bundle", &world.bundle()]));
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare failed") {
        // Where the system allows no user namespaces there is nothing to be seen.
        eprintln!("skipped: no user namespaces here: {said}");
        return;
    }
    assert!(output.status.success() && complete(&world), "{output:?}");
}

/// setfsuid(2) has no error of its own: that it did nothing has to be found out.
#[test]
fn a_caller_that_may_not_be_another_user_makes_nothing() {
    let mut world = world();
    let mut config = world.config();
    config["linux"] = user_namespace(1000, 1);
    world.write_config(&config);
    world.tmpfs("/a/x/y");
    world.write_config(&config);
    let mut call = unprivileged_apply(&world);
    let output = output(&mut call);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Operation not permitted (EPERM)"), "{said}");
    assert!(world.tree("a").is_empty());
}
