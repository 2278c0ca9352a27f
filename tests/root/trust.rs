// SPDX-License-Identifier: Apache-2.0
//! A configuration that another user may have written is not taken. The rest of what premount trusts is in
//! tests/quick/trust.rs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::acting::{acted, with_volume};
use crate::common::{
    self, AsCriu, World, binary, copy_binary, ended, output, output_within, premount,
    skipped_without_root,
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
    let chown = |path: &Path| std::os::unix::fs::chown(path, Some(1000), None).unwrap();
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

/// Above a rootless engine's directories are those of the host's root, which it has no number for. With
/// numbers for all it is a user as any other.
#[test]
fn nobody_s_directory_is_not_trusted_where_nobody_is_a_user() {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    if skipped_without_root("give a directory away") {
        return;
    }
    if !map.contains("4294967295") {
        println!("skipped: nobody is no user here");
        return;
    }
    let world = with_volume();
    std::os::unix::fs::chown(world.path(""), Some(65534), None).unwrap();
    let ended = premount(&[], world.state().as_bytes(), &[]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(ended.stderr.contains("belongs to user 65534"), "{ended:?}");
    assert!(!acted(&world), "{ended:?}");
    // And one that is nobody's where it is asked, since the namespace has no number for its owner.
    let in_user_namespace = || {
        let child = Command::new("unshare")
            .args(["--user", "--map-root-user", "--"])
            .arg(binary())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let patience = Duration::from_secs(60);
        output_within(patience, child.unwrap(), world.state().as_bytes())
    };
    let output = in_user_namespace();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare failed") {
        println!("skipped: no user namespaces here: {said}");
        return;
    }
    assert!(output.status.success() && acted(&world), "{said}");
    // But whose the directory itself is has to be known.
    std::os::unix::fs::chown(world.path("bundle"), Some(65534), None).unwrap();
    let ended = common::ended(&in_user_namespace());
    assert!(ended.stderr.contains("belongs to user 65534"), "{ended:?}");
    assert!(!acted(&world), "{ended:?}");
}

/// A rootless engine's hook: what it is told by its own files counts, and root's.
#[test]
fn who_runs_premount_is_trusted() {
    if skipped_without_root("become another user") {
        return;
    }
    let world = with_volume();
    let program = world.path("premount");
    copy_binary(&program);
    fs::write(world.path("state"), world.state()).unwrap();
    let script = "chown -R 1000:1000 \"$1\" && exec setpriv --reuid 1000 --regid 1000 --clear-groups -- \
                  \"$1/premount\" hook <\"$1/state\"";
    let mut call = Command::new("sh");
    let call = call.args(["-c", script, "sh"]).arg(world.path(""));
    let ended = ended(&output(call));
    assert!(ended.status == 0 && acted(&world), "{ended:?}");
}
