// SPDX-License-Identifier: Apache-2.0
//! A node that cannot be changed: a dry run reports it, with the exit status of the real run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::common::node_root::{NodeRoot, RUNC};
use crate::common::{self, Ended, copy_binary, ended, is_root, output};

/// Runs a shell script in its own mount namespace, with premount as `$0`, its command as `$1`, the node's
/// root as `$2`, and `--dry-run` or nothing as `$3`. `None` if the system allows no mount namespaces.
fn in_namespace(node: &NodeRoot, script: &str, command: &str, dry: bool) -> Option<Ended> {
    let mut call = Command::new("unshare");
    if !is_root() {
        call.args(["--user", "--map-root-user"]);
    }
    call.args(["--mount", "sh", "-ec", script])
        .arg(common::binary())
        .arg(command)
        .arg(node.0.path())
        .args(dry.then_some("--dry-run"));
    let ended = ended(&output(&mut call));
    if ended.stderr.contains("unshare failed") {
        eprintln!("SKIPPED: no mount namespaces here: {}", ended.stderr);
        return None;
    }
    Some(ended)
}

/// Both calls fail with the same errno, after the same steps (not counting those that are conditional: `if
/// nothing else is in it`).
fn assert_predicted(dry: &Ended, real: &Ended, errno: &str) {
    assert_eq!((dry.status, real.status), (1, 1), "{dry:?} {real:?}");
    for ended in [dry, real] {
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.trim_end().ends_with(errno), "{ended:?}");
    }
    let certain = dry.stdout.lines().filter(|line| !line.contains(" if "));
    assert_eq!(
        certain.count(),
        real.stdout.lines().count(),
        "{dry:?} {real:?}"
    );
}

fn read_only(path: &str) -> String {
    format!(
        "mount --bind \"$2/{path}\" \"$2/{path}\" && mount -o remount,bind,ro \"$2/{path}\" && \
         exec \"$0\" \"$1\" $3 --root \"$2\""
    )
}

#[test]
fn a_dry_run_predicts_what_a_read_only_file_system_refuses() {
    for (path, command) in [
        ("usr", "install"),
        ("usr/share/containers", "install"),
        ("etc", "install"),
        ("", "install"),
        ("usr", "uninstall"),
        ("etc", "uninstall"),
        ("usr/libexec/oci/hooks.d", "uninstall"),
    ] {
        let node = NodeRoot::new();
        node.write("usr/share/containers/containers.conf", "");
        node.write(RUNC, "tcp-close\n");
        if command == "uninstall" {
            node.succeeds("install", &[]);
        }
        let before = node.all();
        let Some(dry) = in_namespace(&node, &read_only(path), command, true) else {
            return;
        };
        assert_eq!(node.all(), before, "{path} {command}");
        let real = in_namespace(&node, &read_only(path), command, false).unwrap();
        assert_predicted(&dry, &real, "Read-only file system (EROFS)");
    }
}

#[test]
fn a_dry_run_with_nothing_to_do_succeeds_on_a_read_only_file_system() {
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    for dry in [true, false] {
        let Some(ended) = in_namespace(&node, &read_only(""), "install", dry) else {
            return;
        };
        assert_eq!(ended.status, 0, "{ended:?}");
    }
}

#[test]
fn a_dry_run_predicts_missing_permissions() {
    let node = NodeRoot::new();
    node.write(RUNC, "tcp-close\n");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(node.0.path(), open.clone()).unwrap();
    // Root may change anything, so run as another user, with a copy that anyone may execute.
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), open).unwrap();
    let copy = place.path().join("premount");
    copy_binary(&copy);
    let call = |command: &str, dry: bool| {
        use std::os::unix::process::CommandExt;
        let mut call = Command::new(&copy);
        if is_root() {
            call.uid(65534).gid(65534);
        } else {
            let closed = fs::Permissions::from_mode(0o555);
            for path in ["", "etc", "etc/criu"] {
                fs::set_permissions(node.path(path), closed.clone()).unwrap();
            }
        }
        call.args([command, "--root"]).arg(node.0.path());
        call.args(dry.then_some("--dry-run"));
        ended(&output(&mut call))
    };
    let (dry, real) = (call("install", true), call("install", false));
    assert_predicted(&dry, &real, "Permission denied (EACCES)");
    if !is_root() {
        return;
    }
    node.succeeds("install", &[]);
    let (dry, real) = (call("uninstall", true), call("uninstall", false));
    assert_predicted(&dry, &real, "Permission denied (EACCES)");
}

#[test]
fn a_dry_run_predicts_what_is_in_the_way() {
    for (path, errno) in [
        ("usr/share/containers/oci", "Not a directory (ENOTDIR)"),
        ("usr/share/containers/oci/hooks.d", "File exists (EEXIST)"),
    ] {
        let node = NodeRoot::new();
        node.write(path, "");
        let dry = node.call("install", &["--dry-run"]);
        assert_predicted(&dry, &node.call("install", &[]), errno);
    }
}
