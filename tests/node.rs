// SPDX-License-Identifier: Apache-2.0
//! premount put on a node, looked at and taken off again, on a directory that looks like a node's root.
//! Nothing ever refers to a program that isn't there, not even for a moment.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::indexing_slicing, clippy::print_stdout)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use common::node::{CRUN, DEFAULT, HOOK, Node, PROGRAM, RUNC};
use common::premount;

#[test]
fn it_comes_to_a_bare_node_and_goes_without_a_file_left() {
    let node = Node::new();
    assert_eq!(node.call("status", &[]).status, 1, "not installed");
    node.succeeds("install", &[]);
    node.assert_restores("installed");
    assert!(node.names_premount(RUNC) && node.path(HOOK).exists());
    // crun reads runc.conf where this isn't there.
    assert!(!node.path(CRUN).exists());
    node.succeeds("status", &[]);
    node.succeeds("uninstall", &[]);
    assert!(node.files().is_empty(), "{:?}", node.files().keys());
}

#[test]
fn a_second_install_and_a_second_uninstall_change_nothing() {
    let node = Node::new();
    node.succeeds("install", &[]);
    let before = node.all();
    assert_eq!(node.succeeds("install", &[]), "nothing to do\n");
    assert_eq!(node.all(), before);
    node.succeeds("uninstall", &[]);
    let before = node.all();
    assert_eq!(node.succeeds("uninstall", &[]), "nothing to do\n");
    assert_eq!(node.all(), before);
}

#[test]
fn a_dry_run_says_what_it_would_do_and_touches_nothing() {
    let node = Node::new();
    node.write(RUNC, "tcp-close\n");
    let before = node.all();
    let said = node.succeeds("install", &["--dry-run"]);
    let would = |what: &str| said.contains(&format!("would {what}"));
    assert!(would("write /usr/libexec/oci/hooks.d/premount\n"), "{said}");
    assert!(
        would("add the action script to /etc/criu/runc.conf\n"),
        "{said}"
    );
    assert_eq!(node.all(), before);
    node.succeeds("install", &[]);
    let before = node.all();
    let said = node.succeeds("uninstall", &["--dry-run"]);
    assert!(
        said.contains("would take the action script out of /etc/criu/runc.conf\n"),
        "{said}"
    );
    assert_eq!(node.all(), before);
}

#[test]
fn what_an_administrator_wrote_stays_as_it_was_with_its_mode() {
    let node = Node::new();
    let texts = [
        (RUNC, "# ours\nmanage-cgroups=ignore"),
        (CRUN, "action-script /bin/true\ntcp-established\n\n"),
        ("etc/criu/other.conf", "verbosity 4\n"),
    ];
    for (path, text) in texts {
        node.write(path, text);
        fs::set_permissions(node.path(path), fs::Permissions::from_mode(0o640)).unwrap();
    }
    node.succeeds("install", &[]);
    assert!(node.names_premount(RUNC) && node.names_premount(CRUN));
    for (path, text) in texts {
        assert!(node.read(path).ends_with(text), "{path}");
        assert_eq!(
            fs::metadata(node.path(path)).unwrap().mode() & 0o7777,
            0o640
        );
    }
    node.succeeds("uninstall", &[]);
    for (path, text) in texts {
        assert_eq!(node.read(path), text, "{path}");
    }
}

#[test]
fn a_line_that_an_administrator_wrote_in_default_conf_is_enough() {
    let node = Node::new();
    let line = format!("action-script \"/{PROGRAM}\" # by hand\n");
    node.write(DEFAULT, &line);
    node.succeeds("install", &[]);
    assert_eq!(node.read(DEFAULT), line);
    assert!(!node.path(RUNC).exists(), "CRIU would call premount twice");
    // It must not be left without its program, whoever wrote it.
    node.succeeds("uninstall", &[]);
    assert!(!node.path(DEFAULT).exists());
}

#[test]
fn a_container_s_own_file_for_criu_loses_the_line_too() {
    let node = Node::new();
    node.succeeds("install", &[]);
    node.write(
        "etc/criu/mine.conf",
        &format!("tcp-close\naction-script /{PROGRAM}\n"),
    );
    node.succeeds("uninstall", &[]);
    assert_eq!(node.read("etc/criu/mine.conf"), "tcp-close\n");
}

#[test]
fn a_program_that_something_else_names_stays_and_so_does_all_else() {
    for (path, text) in [
        (
            "etc/containers/oci/hooks.d/99-mine.json",
            format!(r#"{{"version":"1.0.0","hook":{{"path":"/{PROGRAM}"}}}}"#),
        ),
        (
            "root/.criu/default.conf",
            format!("action-script /{PROGRAM}\n"),
        ),
    ] {
        let node = Node::new();
        node.succeeds("install", &[]);
        node.write(path, &text);
        let before = node.all();
        let ended = node.call("uninstall", &[]);
        assert_eq!(ended.status, 1, "{ended:?}");
        assert!(ended.stderr.contains(path) && ended.stderr.contains("nothing was changed"));
        assert_eq!(node.all(), before);
    }
}

#[test]
fn program_and_hook_can_be_elsewhere() {
    let node = Node::new();
    let elsewhere = [
        "--program",
        "/opt/bin/premount",
        "--hooks-dir",
        "/etc/containers/oci/hooks.d",
    ];
    node.succeeds("install", &elsewhere);
    let hook: serde_json::Value =
        serde_json::from_str(&node.read("etc/containers/oci/hooks.d/premount.json")).unwrap();
    assert_eq!(hook["hook"]["path"], "/opt/bin/premount");
    assert!(
        node.read(RUNC)
            .ends_with("action-script /opt/bin/premount\n")
    );
    node.succeeds("status", &elsewhere);
    node.succeeds("uninstall", &elsewhere);
    assert!(node.files().is_empty());
}

#[test]
fn with_criu_only_the_program_and_the_hook_are_somebody_else_s() {
    let node = Node::new();
    let early = node.call("install", &["--criu-only"]);
    assert_eq!(early.status, 2, "{early:?}");
    assert!(
        early.stderr.contains("nothing may name it before it is"),
        "{}",
        early.stderr
    );
    assert!(!node.names_premount(RUNC));
    node.succeeds("install", &[]);
    node.succeeds("uninstall", &["--criu-only"]);
    assert!(!node.path(RUNC).exists());
    assert!(node.path(PROGRAM).exists() && node.path(HOOK).exists());
    node.succeeds("install", &["--criu-only"]);
    assert!(node.names_premount(RUNC));
}

#[test]
fn links_lead_where_they_would_on_the_node_and_stay_links() {
    let node = Node::new();
    node.write("etc/managed/runc.conf", "tcp-close\n");
    node.write("srv/keep", "");
    fs::create_dir_all(node.path("etc/criu")).unwrap();
    symlink("/etc/managed/runc.conf", node.path(RUNC)).unwrap();
    fs::create_dir_all(node.path("usr")).unwrap();
    symlink("../../../srv", node.path("usr/libexec")).unwrap();
    node.succeeds("install", &[]);
    assert!(node.read("etc/managed/runc.conf").ends_with("tcp-close\n"));
    assert!(node.names_premount("etc/managed/runc.conf"));
    assert!(node.path("srv/oci/hooks.d/premount").exists());
    node.succeeds("uninstall", &[]);
    assert_eq!(node.read("etc/managed/runc.conf"), "tcp-close\n");
    assert!(fs::symlink_metadata(node.path(RUNC)).unwrap().is_symlink());
    assert!(!node.path("srv/oci/hooks.d/premount").exists());
}

#[test]
fn a_path_that_criu_would_cut_is_refused_by_name() {
    let node = Node::new();
    for program in [
        "/opt/my tools/premount",
        "/opt/#1/premount",
        "premount",
        "/opt/premount/",
        "/opt/none/../premount",
    ] {
        let ended = node.call("install", &["--program", program]);
        assert_eq!(ended.status, 2, "{ended:?}");
        assert!(ended.stderr.contains(program), "{}", ended.stderr);
    }
    let ended = premount(&["install", "--root", "/nonexistent-root"], b"", &[]);
    assert_eq!(ended.status, 2);
    assert!(
        ended.stderr.contains("/nonexistent-root"),
        "{}",
        ended.stderr
    );
    assert!(node.files().is_empty());
}

#[test]
fn what_can_not_be_written_is_named_and_leaves_no_reference() {
    let node = Node::new();
    // Where a directory should be is a file.
    node.write("usr/share/containers/oci", "");
    let ended = node.call("install", &[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("usr/share/containers/oci/hooks.d: mkdir: "),
        "{}",
        ended.stderr
    );
    assert!(!node.path("etc/criu").exists());
}

/// The remedy that status has for each state, and that it is one.
#[test]
fn status_names_the_remedy_for_each_broken_state() {
    let broken = |node: &Node, problem: &str, remedy: &str| {
        let ended = node.call("status", &[]);
        assert_eq!(ended.status, 1, "{problem}: {ended:?}");
        assert!(
            ended.stdout.contains(problem),
            "{problem}: {}",
            ended.stdout
        );
        let remedies: Vec<_> = ended
            .stdout
            .lines()
            .filter(|line| line.contains("Remedy: "))
            .collect();
        assert!(
            remedies.iter().any(|line| line.contains(remedy)),
            "{remedy}: {remedies:?}"
        );
    };
    let node = Node::new();
    broken(&node, "not installed", "premount install");

    node.write(RUNC, &format!("action-script /{PROGRAM}\n"));
    broken(
        &node,
        "runc.conf names /usr/libexec/oci/hooks.d/premount, which can't be executed: CRIU aborts every dump",
        "premount install",
    );
    node.succeeds("install", &[]);
    node.succeeds("status", &[]);

    fs::set_permissions(node.path(PROGRAM), fs::Permissions::from_mode(0o644)).unwrap();
    broken(
        &node,
        "premount.json names /usr/libexec/oci/hooks.d/premount, which can't be executed: CRI-O doesn't start",
        "premount install",
    );
    node.succeeds("install", &[]);
    node.succeeds("status", &[]);

    node.write(CRUN, "action-script /gone/premount\n");
    broken(
        &node,
        "crun.conf names /gone/premount",
        "take that line out of /etc/criu/crun.conf",
    );
    fs::remove_file(node.path(CRUN)).unwrap();

    node.write(
        "etc/containers/oci/hooks.d/old.json",
        r#"{"hook":{"path":"/gone/premount"}}"#,
    );
    broken(
        &node,
        "old.json names /gone/premount",
        "remove /etc/containers/oci/hooks.d/old.json",
    );
    fs::remove_file(node.path("etc/containers/oci/hooks.d/old.json")).unwrap();

    fs::write(node.path(RUNC), "").unwrap();
    broken(&node, "nothing has CRIU call premount", "premount install");
    node.succeeds("install", &[]);
    node.succeeds("status", &[]);
}

#[test]
fn status_reads_what_the_engines_were_told() {
    let node = Node::new();
    node.succeeds("install", &[]);
    let judged = |status: i32, wanted: &[&str]| {
        let ended = node.call("status", &[]);
        assert_eq!(ended.status, status, "{wanted:?}: {ended:?}");
        for text in wanted {
            assert!(ended.stdout.contains(text), "{text}: {}", ended.stdout);
        }
    };
    node.program("usr/bin/crio");
    node.program("usr/bin/podman");
    judged(
        0,
        &["CRI-O at /usr/bin/crio: hooks from /usr/share/containers/oci/hooks.d, with"],
    );

    let crio = "etc/crio/crio.conf.d/10-node.conf";
    node.write(
        crio,
        "[crio.runtime]\nhooks_dir = [\"/etc/containers/oci/hooks.d\"]\n",
    );
    judged(
        1,
        &[
            "CRI-O reads hooks from /etc/containers/oci/hooks.d alone",
            "Remedy: premount install --hooks-dir /etc/containers/oci/hooks.d",
        ],
    );
    node.succeeds("install", &["--hooks-dir", "/etc/containers/oci/hooks.d"]);
    judged(0, &[]);
    // The later file has the last word.
    node.write(
        "etc/crio/crio.conf.d/20-more.conf",
        "[crio.runtime]\nenable_criu_support = false\n",
    );
    judged(
        1,
        &["told not to restore", "set enable_criu_support = true"],
    );
    node.write(
        "etc/crio/crio.conf.d/30-most.conf",
        "[crio.runtime]\nenable_criu_support = true\n",
    );
    judged(0, &[]);
    node.write(crio, "[crio.runtime\n");
    judged(
        1,
        &["CRI-O: its configuration can't be understood: /etc/crio/crio.conf.d/10-node.conf"],
    );
    fs::remove_file(node.path(crio)).unwrap();

    node.write(
        "etc/containers/containers.conf",
        "[engine]\nhooks_dir = [\"/srv/hooks\"]\n",
    );
    judged(1, &["Podman reads hooks from /srv/hooks alone"]);
    fs::remove_file(node.path("etc/containers/containers.conf")).unwrap();

    // A container with a configuration of its own for CRIU.
    let container = "var/lib/containers/storage/overlay-containers/c1/userdata/config.json";
    node.write(
        container,
        r#"{"annotations": {"org.criu.config": "/etc/criu/mine.conf"}}"#,
    );
    node.write("etc/criu/mine.conf", "tcp-close\n");
    judged(
        1,
        &[
            "userdata/config.json has CRIU read /etc/criu/mine.conf (annotation org.criu.config)",
            "Remedy: add the line \"action-script /usr/libexec/oci/hooks.d/premount\" to /etc/criu/mine.conf",
        ],
    );
    node.write(
        "etc/criu/mine.conf",
        &format!("tcp-close\naction-script /{PROGRAM}\n"),
    );
    judged(0, &["and premount is called"]);
    let json = node.call("status", &["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["installed"], "this");
    assert_eq!(json["engines"][0]["name"], "crio");
    assert_eq!(json["problems"], serde_json::json!([]));
}

#[test]
fn an_older_program_is_replaced_and_told_of() {
    let node = Node::new();
    node.succeeds("install", &[]);
    node.write(PROGRAM, "an older one");
    let said = node.succeeds("status", &[]);
    assert!(said.contains("another version or build"), "{said}");
    assert_eq!(node.succeeds("install", &[]), format!("wrote /{PROGRAM}\n"));
    node.assert_restores("replaced");
}

#[test]
fn it_stays_for_a_daemonset_and_goes_with_it() {
    let node = Node::new();
    let mut child = Command::new(common::binary())
        .args(["install", "--stay", "--root"])
        .arg(node.0.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let start = std::time::Instant::now();
    while !node.names_premount(RUNC) {
        assert!(start.elapsed().as_secs() < 60, "it doesn't install");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    node.assert_restores("it stays");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(node.files().is_empty());
}

#[test]
fn an_uninstall_finds_the_hook_where_an_engine_was_told_to_look() {
    let node = Node::new();
    node.program("usr/bin/crio");
    node.write(
        "etc/crio/crio.conf",
        "[crio.runtime]\nhooks_dir = [\"/srv/hooks\"]\n",
    );
    node.succeeds("install", &["--hooks-dir", "/srv/hooks"]);
    node.succeeds("uninstall", &[]);
    assert!(!node.path("srv/hooks/premount.json").exists());
    assert!(!node.path(PROGRAM).exists());
}

#[test]
fn a_container_s_own_file_that_names_the_program_keeps_it() {
    let node = Node::new();
    node.succeeds("install", &[]);
    let container = "var/lib/containers/storage/overlay-containers/c1/userdata/config.json";
    node.write(
        container,
        r#"{"annotations": {"org.criu.config": "/srv/mine.conf"}}"#,
    );
    node.write("srv/mine.conf", &format!("action-script /{PROGRAM}\n"));
    let before = node.all();
    let ended = node.call("uninstall", &[]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.stderr.contains("/srv/mine.conf"), "{}", ended.stderr);
    assert_eq!(node.all(), before);
    // And one whose script is gone is broken.
    node.write("srv/mine.conf", "action-script /gone/premount\n");
    let ended = node.call("status", &[]);
    assert_eq!(ended.status, 1);
    assert!(
        ended.stdout.contains("/srv/mine.conf names /gone/premount"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_container_s_odd_annotation_is_its_own_trouble() {
    let node = Node::new();
    node.succeeds("install", &[]);
    let container = "var/lib/containers/storage/overlay-containers/c1/userdata/config.json";
    symlink("loop", node.path("loop")).unwrap();
    for odd in [
        "/etc",
        "/loop",
        "/gone",
        "relative",
        "/nul\\u0000",
        &"/long".repeat(2000),
    ] {
        node.write(
            container,
            &format!(r#"{{"annotations": {{"org.criu.config": "{odd}"}}}}"#),
        );
        let ended = node.call("status", &[]);
        assert_eq!(ended.status, 1, "{odd}: {ended:?}");
        assert!(
            ended
                .stdout
                .contains("c1/userdata/config.json has CRIU read"),
            "{}",
            ended.stdout
        );
        assert!(
            ended
                .stdout
                .contains("Remedy: mend the container's annotation")
        );
        node.succeeds("uninstall", &[]);
        node.succeeds("install", &[]);
    }
}

#[test]
fn what_is_no_file_is_no_configuration() {
    let node = Node::new();
    node.succeeds("install", &[]);
    for directory in ["etc/criu/x.conf", "etc/containers/oci/hooks.d/y.json"] {
        fs::create_dir_all(node.path(directory)).unwrap();
    }
    node.succeeds("status", &[]);
    node.succeeds("uninstall", &[]);
    assert!(node.path("etc/criu/x.conf").is_dir());
}

#[test]
fn an_uninstall_makes_nothing() {
    let node = Node::new();
    assert_eq!(node.succeeds("uninstall", &[]), "nothing to do\n");
    assert_eq!(node.all().len(), 1, "the root itself");
}

#[test]
fn a_linked_directory_of_criu_s_stays_and_an_empty_crun_conf_too() {
    let node = Node::new();
    fs::create_dir_all(node.path("srv/criu")).unwrap();
    fs::create_dir_all(node.path("etc")).unwrap();
    symlink("/srv/criu", node.path("etc/criu")).unwrap();
    node.write("srv/criu/crun.conf", "");
    node.succeeds("install", &[]);
    node.succeeds("uninstall", &[]);
    assert!(
        fs::symlink_metadata(node.path("etc/criu"))
            .unwrap()
            .is_symlink()
    );
    assert_eq!(node.read("srv/criu/crun.conf"), "");
    assert!(!node.path("srv/criu/runc.conf").exists());
}

#[test]
fn a_program_of_another_name_is_premount_too() {
    let node = Node::new();
    let named = ["--program", "/opt/pm"];
    node.succeeds("install", &named);
    node.succeeds("status", &named);
    node.succeeds("uninstall", &named);
    assert!(node.files().is_empty());
}

#[test]
fn podman_s_list_of_hooks_can_be_added_to() {
    let node = Node::new();
    node.program("usr/bin/podman");
    node.write(
        "etc/containers/containers.conf",
        "[engine]\nhooks_dir = [\"/srv/hooks\", {append=true}]\n",
    );
    node.succeeds("install", &[]);
    let said = node.succeeds("status", &[]);
    assert!(
        said.contains("/etc/containers/oci/hooks.d, /srv/hooks"),
        "{said}"
    );
}
