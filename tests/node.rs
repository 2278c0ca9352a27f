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

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Ended, premount};
use premount::node::criu::action_scripts;

const PROGRAM: &str = "usr/libexec/oci/hooks.d/premount";
const HOOK: &str = "usr/share/containers/oci/hooks.d/premount.json";
const RUNC: &str = "etc/criu/runc.conf";
const CRUN: &str = "etc/criu/crun.conf";
const DEFAULT: &str = "etc/criu/default.conf";

/// A node's root.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn call(&self, command: &str, options: &[&str]) -> Ended {
        let root = self.0.path().to_str().unwrap();
        premount(&[&[command, "--root", root], options].concat(), b"", &[])
    }

    fn succeeds(&self, command: &str, options: &[&str]) -> String {
        let ended = self.call(command, options);
        assert_eq!(ended.status, 0, "{command} {options:?}: {ended:?}");
        ended.stdout
    }

    /// Everything in it, by what would change if anybody changed it.
    fn all(&self) -> BTreeMap<PathBuf, (u32, u64, i64, i64)> {
        let mut all = BTreeMap::new();
        note(self.0.path(), &mut all);
        all
    }

    /// The files in it, and their content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let all = self.all().into_keys();
        all.filter(|path| path.is_file())
            .map(|path| (path.clone(), fs::read(&path).unwrap()))
            .collect()
    }

    fn names_premount(&self, path: &str) -> bool {
        let text = fs::read(self.path(path)).unwrap_or_default();
        action_scripts(&text).contains(&Path::new("/").join(PROGRAM))
    }

    /// What refers to the program refers to all of it.
    fn assert_restores(&self, about: &str) {
        let named = [RUNC, CRUN, DEFAULT]
            .iter()
            .any(|path| self.names_premount(path));
        let hook = self.path(HOOK);
        if let Ok(text) = fs::read(&hook) {
            serde_json::from_slice::<serde_json::Value>(&text).expect(about);
        }
        if named || hook.exists() {
            let program = fs::read(self.path(PROGRAM)).expect(about);
            assert!(
                program == fs::read(common::binary()).unwrap(),
                "{about}: half a program"
            );
            let mode = fs::metadata(self.path(PROGRAM))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, 0o755, "{about}");
        }
    }
}

fn note(path: &Path, all: &mut BTreeMap<PathBuf, (u32, u64, i64, i64)>) {
    let found = fs::symlink_metadata(path).unwrap();
    let inode = (
        found.mode(),
        found.size(),
        found.ctime(),
        found.ctime_nsec(),
    );
    all.insert(path.to_owned(), inode);
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            note(&entry.unwrap().path(), all);
        }
    }
}

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
    for program in ["/opt/my tools/premount", "/opt/#1/premount", "premount"] {
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
    let program = |path: &str| {
        node.write(path, "");
        fs::set_permissions(node.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let judged = |status: i32, wanted: &[&str]| {
        let ended = node.call("status", &[]);
        assert_eq!(ended.status, status, "{wanted:?}: {ended:?}");
        for text in wanted {
            assert!(ended.stdout.contains(text), "{text}: {}", ended.stdout);
        }
    };
    program("usr/bin/crio");
    program("usr/bin/podman");
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
    judged(0, &["which is in order"]);
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
fn two_at_once_are_as_good_as_one() {
    let node = Node::new();
    let call = || {
        Command::new(common::binary())
            .args(["install", "--root"])
            .arg(node.0.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(|_| call()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    node.assert_restores("four installs");
    let text = node.read(RUNC);
    assert_eq!(action_scripts(text.as_bytes()).len(), 1, "{text}");
}

/// Calls premount under strace.
fn traced(node: &Node, command: &str, options: &[&str]) -> String {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut call = Command::new("timeout");
    call.args(["60", "strace", "-qq", "-o"])
        .arg(log.path())
        .args(options);
    call.arg(common::binary())
        .args([command, "--root"])
        .arg(node.0.path());
    call.stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    call.status().expect("timeout and strace");
    fs::read_to_string(log.path()).unwrap()
}

/// A node with an administrator's configuration, ready for `command`.
fn ready(command: &str) -> Node {
    let node = Node::new();
    node.write(RUNC, ADMINISTRATORS);
    node.write(CRUN, ADMINISTRATORS);
    if command == "uninstall" {
        node.succeeds("install", &[]);
    }
    node
}

const ADMINISTRATORS: &str = "manage-cgroups=ignore\n";

/// Whatever change of it is the last: what an administrator wrote is there, nothing refers to half a
/// program, and the next call goes on to the end.
fn killed_at_every_change(command: &str) {
    let changing = [
        "write", "fchown", "fchmod", "fsync", "rename", "unlink", "rmdir", "mkdir", "flock",
    ];
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut calls = Vec::new();
    let whole = traced(&ready(command), command, &[]);
    for line in whole.lines() {
        let name = line.split('(').next().unwrap();
        *seen.entry(name).or_default() += 1;
        if changing.contains(&name) || line.contains("O_CREAT") {
            calls.push((name, seen[name]));
        }
    }
    assert!(calls.len() > 15, "{whole}");
    for &(name, number) in &calls {
        let node = ready(command);
        let (trace, inject) = (
            format!("trace={name}"),
            format!("inject={name}:signal=KILL:when={number}"),
        );
        let log = traced(&node, command, &["-e", &trace, "-e", &inject]);
        assert!(log.contains("killed by SIGKILL"), "{name} #{number}: {log}");
        let about = format!("{command} killed at {name} #{number}");
        node.assert_restores(&about);
        for path in [RUNC, CRUN] {
            assert!(node.read(path).ends_with(ADMINISTRATORS), "{about}: {path}");
        }
        node.succeeds(command, &[]);
        node.assert_restores(&about);
        let left = node.files().into_keys();
        let unfinished = left.filter(|path| path.ends_with(".premount.new"));
        assert_eq!(unfinished.count(), 0, "{about}");
        assert_eq!(node.path(PROGRAM).exists(), command == "install", "{about}");
    }
    println!("{command}: {} kills", calls.len());
}

#[test]
fn an_install_killed_at_any_change_leaves_a_node_that_restores() {
    killed_at_every_change("install");
}

#[test]
fn an_uninstall_killed_at_any_change_leaves_a_node_that_restores() {
    killed_at_every_change("uninstall");
}
