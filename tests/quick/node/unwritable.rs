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

/// As on Fedora CoreOS, bootc and Flatcar.
#[test]
fn where_usr_is_read_only_other_directories_are_used_and_found_again() {
    for (there, read_only_too, program) in [
        ("opt", "srv", "opt/premount/bin/premount"),
        ("opt", "opt", "var/lib/premount/bin/premount"),
    ] {
        let node = NodeRoot::new();
        for directory in [there, "srv", "usr", "var/lib", "etc/crio"] {
            fs::create_dir_all(node.path(directory)).unwrap();
        }
        node.program("usr/bin/crio");
        node.program("usr/bin/podman");
        node.write(
            "etc/crio/crio.conf",
            "[crio.runtime]\nhooks_dir = [\"/srv\"]\n",
        );
        let before = node.all().into_keys().collect::<Vec<_>>();
        let script = format!(
            "mount --bind \"$2/{read_only_too}\" \"$2/{read_only_too}\" && \
                              mount -o remount,bind,ro \"$2/{read_only_too}\" && {}",
            read_only("usr")
        );
        let call = |command: &str, dry: bool| in_namespace(&node, &script, command, dry);
        let Some(dry) = call("install", true) else {
            return;
        };
        assert_eq!(dry.status, 0, "{dry:?}");
        assert_eq!(node.all().into_keys().collect::<Vec<_>>(), before);
        let said = call("install", false).unwrap();
        assert_eq!(said.status, 0, "{said:?}");
        assert_eq!(dry.stdout.lines().count(), said.stdout.lines().count());
        let drop_in = "etc/crio/crio.conf.d/99-premount.conf";
        let restart = format!("wrote /{drop_in}: restart CRI-O\n");
        assert!(said.stdout.contains(&restart), "{said:?}");
        assert!(
            node.read(drop_in)
                .contains("hooks_dir = [\"/srv\", \"/etc/containers/oci/hooks.d\"]\n")
        );
        assert!(node.path(program).is_file());
        assert!(
            node.read("etc/containers/oci/hooks.d/premount.json")
                .contains(program)
        );
        assert!(
            node.read(RUNC)
                .ends_with(&format!("action-script /{program}\n"))
        );
        let again = call("install", false).unwrap();
        assert_eq!(again.stdout, "nothing to do\n", "{again:?}");
        let status = call("status", false).unwrap();
        assert_eq!(status.status, 0, "{status:?}");
        // Found as well by a process that sees /usr writable.
        node.succeeds("status", &[]);
        assert_eq!(node.succeeds("install", &[]), "nothing to do\n");
        let removed = call("uninstall", false).unwrap();
        assert_eq!(removed.status, 0, "{removed:?}");
        // But for the directory that a running CRI-O watches.
        let mut left: Vec<_> = node.all().into_keys().collect();
        left.retain(|path| !path.starts_with(node.path("etc/containers")));
        assert_eq!(left, before);
    }
}

/// As the DaemonSet of packaging/kubernetes-read-only-usr has the node.
#[test]
fn where_all_but_some_directories_are_read_only_those_are_used() {
    let node = NodeRoot::new();
    let writable = [
        "opt/premount/bin",
        "etc/containers/oci/hooks.d",
        "etc/crio",
        "etc/criu",
    ];
    let bind = |path: &str| format!("mount --bind \"$2/{path}\" \"$2/{path}\"");
    let mut mounts = vec![bind("")];
    for path in writable {
        fs::create_dir_all(node.path(path)).unwrap();
        mounts.push(bind(path));
    }
    mounts.push("mount -o remount,bind,ro \"$2\"".to_owned());
    mounts.push("exec \"$0\" \"$1\" $3 --root \"$2\"".to_owned());
    let script = mounts.join(" && ");
    node.program("usr/bin/crio");
    let before = node.all().into_keys().collect::<Vec<_>>();
    for command in ["install", "status", "uninstall"] {
        let Some(ended) = in_namespace(&node, &script, command, false) else {
            return;
        };
        assert_eq!(ended.status, 0, "{command}: {ended:?}");
        let is_there = node.path("opt/premount/bin/premount").is_file();
        assert_eq!(is_there, command != "uninstall", "{ended:?}");
    }
    assert_eq!(node.all().into_keys().collect::<Vec<_>>(), before);
}

#[test]
fn a_drop_in_of_somebody_elses_and_a_directory_that_cri_o_reads_stay_as_they_are() {
    let drop_in = "etc/crio/crio.conf.d/99-premount.conf";
    for text in [
        "[crio.runtime]\nhooks_dir = [\"/srv\"]\n",
        "[crio.runtime]\nhooks_dir = [\"/etc/containers/oci/hooks.d\", \"/run/containers/oci/hooks.d\"]\n",
    ] {
        let node = NodeRoot::new();
        node.program("usr/bin/crio");
        node.write(drop_in, text);
        for command in ["install", "uninstall"] {
            let Some(ended) = in_namespace(&node, &read_only("usr"), command, false) else {
                return;
            };
            assert_eq!(ended.status, 0, "{ended:?}");
            assert!(!ended.stdout.contains("/etc/crio"), "{ended:?}");
            assert_eq!(node.read(drop_in), text);
        }
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
