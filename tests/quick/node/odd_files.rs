// SPDX-License-Identifier: Apache-2.0
//! A node's root with symlinks that lead out of it, and with other things where files belong: nothing outside
//! changes, nothing blocks, and the impossible is refused before the first change.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;

use crate::common;
use crate::common::node_root::{CRUN, DEFAULT, HOOK, NodeRoot, PROGRAM, RUNC};

/// A node whose root is inside another, so that a test sees changes outside the root.
fn nested() -> (NodeRoot, String) {
    let outer = NodeRoot::new();
    fs::create_dir_all(outer.path("deep/root")).unwrap();
    outer.write("etc/criu/runc.conf", "outside\n");
    outer.write("outside", "outside\n");
    let root = outer.path("deep/root").to_str().unwrap().to_owned();
    (outer, root)
}

fn call(root: &str, command: &str) -> common::Ended {
    common::premount(&[command, "--root", root], b"", &[])
}

/// Everything outside the root.
fn outside(outer: &NodeRoot) -> Vec<String> {
    let root = outer.path("deep/root");
    let all = outer.all().into_iter();
    all.filter(|(path, _)| !path.starts_with(&root))
        .map(|(path, found)| format!("{} {found:?}", path.display()))
        .collect()
}

/// Creates a symlink at `path` below the root, and its parent directories.
fn link(root: &str, path: &str, target: &str) {
    let path = Path::new(root).join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

#[test]
fn no_symlink_leads_out_of_the_root() {
    let climbing = "../".repeat(40);
    for (path, target) in [
        (RUNC, format!("{climbing}outside")),
        (RUNC, "/etc/criu/../../../outside".to_owned()),
        (RUNC, "../../../outside".to_owned()),
        (RUNC, "/proc/self/root/outside".to_owned()),
        ("etc", format!("{climbing}deep")),
        ("etc/criu", "../../../criu".to_owned()),
        ("usr", "../..".to_owned()),
        ("usr/libexec", format!("{climbing}srv")),
        (PROGRAM, "../../../../../../outside".to_owned()),
        (HOOK, format!("{climbing}outside")),
        (HOOK, "/new/premount.json".to_owned()),
    ] {
        let (outer, root) = nested();
        link(&root, path, &target);
        let before = outside(&outer);
        for command in ["install", "status", "install", "uninstall", "uninstall"] {
            let ended = call(&root, command);
            assert_eq!(ended.status, 0, "{path} {target} {command}: {ended:?}");
            assert_eq!(outside(&outer), before, "{path} {target} {command}");
        }
    }
}

/// The root's parent is outside the root: nothing may be created there, not even for a moment.
#[test]
fn a_symlink_to_the_root_itself_is_not_a_file() {
    for path in [RUNC, HOOK, PROGRAM] {
        for target in ["/", "..", "../../../../../../.."] {
            let (outer, root) = nested();
            link(&root, path, target);
            let before = outside(&outer);
            let ended = call(&root, "install");
            assert_eq!(ended.status, 2, "{ended:?}");
            assert!(ended.stderr.contains("not a regular file"), "{ended:?}");
            assert_eq!(outside(&outer), before, "{path} {target}");
            assert_eq!(call(&root, "uninstall").stdout, "nothing to do\n");
        }
    }
}

#[test]
fn symlink_loops_are_rejected_and_named() {
    for path in [RUNC, DEFAULT, HOOK, PROGRAM, "etc", "usr/share"] {
        let (outer, root) = nested();
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        link(&root, path, name);
        let before = outer.all();
        for command in ["install", "install --dry-run"] {
            let words: Vec<&str> = command.split(' ').chain(["--root", &root]).collect();
            let ended = common::premount(&words, b"", &[]);
            assert_eq!(ended.status, 2, "{path} {command}: {ended:?}");
            assert!(ended.stderr.contains("(ELOOP)"), "{ended:?}");
            assert!(ended.stderr.contains(path), "{path} {ended:?}");
            assert_eq!(outer.all(), before, "{path} {command}");
        }
    }
    // A program that cannot be started does not count.
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    for path in ["usr/bin/crun", "usr/local/bin/runc", "usr/lib/libcriu.so.2"] {
        link(
            node.0.path().to_str().unwrap(),
            path,
            Path::new(path).file_name().unwrap().to_str().unwrap(),
        );
    }
    node.succeeds("status", &[]);
}

/// An administrator disables a file with `ln -s /dev/null`, and replacing the device would ruin the node.
#[test]
fn only_regular_files_are_replaced_and_nothing_blocks() {
    for path in [RUNC, CRUN, HOOK, PROGRAM] {
        for kind in ["fifo", "link to a fifo", "socket", "directory"] {
            let node = NodeRoot::new();
            let odd = match kind {
                "link to a fifo" => {
                    link(node.0.path().to_str().unwrap(), path, "/dev/odd");
                    node.path("dev/odd")
                }
                _ => node.path(path),
            };
            fs::create_dir_all(odd.parent().unwrap()).unwrap();
            match kind {
                "directory" => fs::create_dir(&odd).unwrap(),
                "socket" => drop(std::os::unix::net::UnixListener::bind(&odd).unwrap()),
                _ => common::make_fifo(&odd),
            }
            let before = node.all();
            for options in [&["--dry-run"][..], &[]] {
                let ended = node.call("install", options);
                assert_eq!(ended.status, 2, "{path} {kind}: {ended:?}");
                assert!(ended.stderr.contains("not a regular file"), "{ended:?}");
                assert!(ended.stderr.contains(path), "{ended:?}");
            }
            assert_ne!(node.call("status", &[]).status, 0, "{path} {kind}");
            assert_eq!(node.all(), before, "{path} {kind}");
            assert!(
                fs::symlink_metadata(&odd).unwrap().file_type().is_dir() || kind != "directory"
            );
        }
    }
}

#[test]
fn a_device_stays_a_device() {
    let node = NodeRoot::new();
    let null = node.path("dev/null");
    fs::create_dir_all(node.path("dev")).unwrap();
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    let device = nix::sys::stat::makedev(1, 3);
    if let Err(errno) = nix::sys::stat::mknod(&null, nix::sys::stat::SFlag::S_IFCHR, mode, device) {
        eprintln!("SKIPPED: no devices here: {errno}");
        return;
    }
    link(node.0.path().to_str().unwrap(), RUNC, "/dev/null");
    let ended = node.call("install", &[]);
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(fs::metadata(&null).unwrap().file_type().is_char_device());
    assert_eq!(node.succeeds("uninstall", &[]), "nothing to do\n");
    assert!(fs::metadata(&null).unwrap().file_type().is_char_device());
}

/// If crun.conf exists, whatever its type, crun does not use runc.conf.
#[test]
fn a_crun_conf_of_any_type_hides_runc_conf() {
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    node.write("usr/bin/crun", "libcriu criu_set_config_file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(node.path("usr/bin/crun"), mode).unwrap();
    node.succeeds("status", &[]);
    fs::create_dir(node.path(CRUN)).unwrap();
    let ended = node.call("status", &[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("/etc/criu/crun.conf does not name it, and hides /etc/criu/runc.conf"),
        "{ended:?}"
    );
}

#[test]
fn a_fifo_in_place_of_the_programs_directory_does_not_block() {
    let node = NodeRoot::new();
    let directory = node.path(PROGRAM);
    let directory = directory.parent().unwrap();
    fs::create_dir_all(directory.parent().unwrap()).unwrap();
    common::make_fifo(directory);
    assert_eq!(node.succeeds("uninstall", &[]), "nothing to do\n");
    assert_eq!(node.call("install", &[]).status, 1);
    assert_eq!(node.call("status", &[]).status, 1);
}

#[test]
fn oversized_files_are_not_read() {
    let huge = |node: &NodeRoot, path: &str| {
        node.write(path, "");
        let file = fs::OpenOptions::new().write(true).open(node.path(path));
        file.unwrap().set_len(1 << 40).unwrap();
    };
    // A file of CRIU's is an error, because premount would have to rewrite it.
    for path in [RUNC, "etc/criu/other.conf"] {
        let node = NodeRoot::new();
        node.succeeds("install", &[]);
        huge(&node, path);
        let before = node.all();
        for command in ["uninstall", "status"] {
            let ended = node.call(command, &[]);
            assert_eq!(ended.status, 2, "{ended:?}");
            assert!(
                ended.stderr.contains("longer than 1048576 bytes"),
                "{ended:?}"
            );
        }
        assert_eq!(node.all(), before, "{path}");
    }
    // premount's own program and hook are replaced.
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    for path in [PROGRAM, HOOK] {
        huge(&node, path);
        assert_ne!(
            node.call("status", &["--format", "json"]).stdout,
            "",
            "{path}"
        );
        node.succeeds("install", &[]);
        node.succeeds("status", &[]);
    }
    // An engine's file affects only that engine.
    node.program("usr/bin/crio");
    huge(&node, "etc/crio/crio.conf");
    let ended = node.call("status", &[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("CRI-O: cannot read its configuration: /etc/crio/crio.conf: longer than"),
        "{ended:?}"
    );
    node.succeeds("uninstall", &[]);
}
