// SPDX-License-Identifier: Apache-2.0
//! What `premount status` reports for a directory that looks like a node's root: what is broken, and how to
//! fix it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::common::node_root::{CRUN, NodeRoot, PROGRAM, RUNC};

/// Each broken state has a remedy, and the remedy works.
#[test]
fn status_reports_a_working_remedy_for_each_broken_state() {
    let broken = |node: &NodeRoot, problem: &str, remedy: &str| {
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
    let node = NodeRoot::new();
    broken(&node, "not installed", "premount install");

    node.write(RUNC, &format!("action-script /{PROGRAM}\n"));
    broken(
        &node,
        "runc.conf names /usr/libexec/oci/hooks.d/premount, which cannot be executed: CRIU aborts every dump",
        "premount install",
    );
    node.succeeds("install", &[]);
    node.succeeds("status", &[]);

    fs::set_permissions(node.path(PROGRAM), fs::Permissions::from_mode(0o644)).unwrap();
    broken(
        &node,
        "premount.json names /usr/libexec/oci/hooks.d/premount, which cannot be executed: every container that it applies to fails",
        "premount install",
    );
    node.succeeds("install", &[]);
    node.succeeds("status", &[]);

    node.write(CRUN, "action-script /gone/premount\n");
    broken(
        &node,
        "crun.conf names /gone/premount",
        "remove that line from /etc/criu/crun.conf",
    );
    fs::remove_file(node.path(CRUN)).unwrap();

    node.write(
        "etc/containers/oci/hooks.d/old.json",
        r#"{"version":"1.0.0","hook":{"path":"/gone/premount"},"stages":["createRuntime"]}"#,
    );
    broken(
        &node,
        "old.json names /gone/premount, which does not exist: an engine that starts skips the hook",
        "fix or remove /etc/containers/oci/hooks.d/old.json",
    );
    fs::remove_file(node.path("etc/containers/oci/hooks.d/old.json")).unwrap();

    fs::write(node.path(RUNC), "").unwrap();
    broken(
        &node,
        "nothing makes CRIU call premount",
        "premount install",
    );
    node.succeeds("install", &[]);
    node.succeeds("status", &[]);
}

#[test]
fn status_reads_the_engines_configuration() {
    let node = NodeRoot::new();
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
        &["CRI-O at /usr/bin/crio: hooks from /usr/share/containers/oci/hooks.d; premount's: /"],
    );

    let crio = "etc/crio/crio.conf.d/10-node.conf";
    node.write(
        crio,
        "[crio.runtime]\nhooks_dir = [\"/etc/containers/oci/hooks.d\"]\n",
    );
    judged(
        1,
        &[
            "CRI-O reads hooks only from /etc/containers/oci/hooks.d",
            "Remedy: run premount install --hooks-dir /etc/containers/oci/hooks.d",
        ],
    );
    node.succeeds("install", &["--hooks-dir", "/etc/containers/oci/hooks.d"]);
    judged(0, &[]);
    // Later files override earlier ones.
    node.write(
        "etc/crio/crio.conf.d/20-more.conf",
        "[crio.runtime]\nenable_criu_support = false\n",
    );
    judged(
        1,
        &[
            "configured not to restore",
            "set enable_criu_support = true",
        ],
    );
    node.write(
        "etc/crio/crio.conf.d/30-most.conf",
        "[crio.runtime]\nenable_criu_support = true\n",
    );
    judged(0, &[]);
    node.write(crio, "[crio.runtime\n");
    judged(
        1,
        &["CRI-O: cannot read its configuration: /etc/crio/crio.conf.d/10-node.conf"],
    );
    fs::remove_file(node.path(crio)).unwrap();

    node.write(
        "etc/containers/containers.conf",
        "[engine]\nhooks_dir = [\"/srv/hooks\"]\n",
    );
    judged(1, &["Podman reads hooks only from /srv/hooks"]);
    fs::remove_file(node.path("etc/containers/containers.conf")).unwrap();

    // A container with its own CRIU configuration file.
    let container = "var/lib/containers/storage/overlay-containers/c1/userdata/config.json";
    node.write(
        container,
        r#"{"annotations": {"org.criu.config": "/etc/criu/mine.conf"}}"#,
    );
    node.write("etc/criu/mine.conf", "tcp-close\n");
    judged(
        1,
        &[
            "userdata/config.json makes CRIU read /etc/criu/mine.conf (annotation org.criu.config)",
            "Remedy: add the line \"action-script /usr/libexec/oci/hooks.d/premount\" to /etc/criu/mine.conf",
        ],
    );
    node.write(
        "etc/criu/mine.conf",
        &format!("tcp-close\naction-script /{PROGRAM}\n"),
    );
    judged(0, &["CRIU still calls premount"]);
    let json = node.call("status", &["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["installed"], "this");
    assert_eq!(json["engines"][0]["name"], "crio");
    assert_eq!(json["problems"], serde_json::json!([]));
}

/// As docs/json.md has it.
#[test]
fn the_json_has_the_documented_fields() {
    let node = NodeRoot::new();
    node.program("usr/bin/crio");
    node.program("usr/bin/criu");
    node.program("usr/bin/runc");
    let keys = |value: &serde_json::Value| {
        let all = value.as_object().unwrap().keys();
        let mut all: Vec<String> = all.cloned().collect();
        all.sort();
        all.join(" ")
    };
    let json = node.call("status", &["--format", "json"]);
    assert_eq!(json.status, 1, "not installed");
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        keys(&json),
        "criu engines installed notes problems program runtimes version"
    );
    assert_eq!(keys(&json["criu"][0]), "name path version");
    assert_eq!(
        keys(&json["runtimes"][0]),
        "action_script_by name path reads version"
    );
    assert_eq!(
        keys(&json["engines"][0]),
        "hook_directories hooks name path version"
    );
    assert_eq!(keys(&json["problems"][0]), "problem remedy");
    assert_eq!(json["runtimes"][0]["reads"], "default.conf, runc.conf");
    assert!(json["runtimes"][0]["version"].is_null());
}

#[test]
fn an_older_program_is_reported_and_replaced() {
    let node = NodeRoot::new();
    node.succeeds("install", &[]);
    node.write(PROGRAM, "an older one");
    let said = node.succeeds("status", &[]);
    assert!(said.contains("another version or build"), "{said}");
    assert_eq!(node.succeeds("install", &[]), format!("wrote /{PROGRAM}\n"));
    node.assert_restores("replaced");
}

#[test]
fn a_bad_annotation_affects_only_its_container() {
    let node = NodeRoot::new();
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
                .contains("c1/userdata/config.json makes CRIU read"),
            "{}",
            ended.stdout
        );
        assert!(
            ended
                .stdout
                .contains("Remedy: fix the container's annotation")
        );
        node.succeeds("uninstall", &[]);
        node.succeeds("install", &[]);
    }
}

#[test]
fn a_directory_named_like_a_configuration_file_is_ignored() {
    let node = NodeRoot::new();
    // It reads only the packages' hooks.
    node.program("usr/bin/crio");
    node.succeeds("install", &[]);
    for directory in ["etc/criu/x.conf", "etc/containers/oci/hooks.d/y.json"] {
        fs::create_dir_all(node.path(directory)).unwrap();
    }
    node.succeeds("status", &[]);
    node.succeeds("uninstall", &[]);
    assert!(node.path("etc/criu/x.conf").is_dir());
}

#[test]
fn the_program_can_have_another_name() {
    let node = NodeRoot::new();
    let named = ["--program", "/opt/pm"];
    node.succeeds("install", &named);
    node.succeeds("status", &named);
    node.succeeds("uninstall", &named);
    assert!(node.files().is_empty());
}

#[test]
fn podmans_hook_directories_can_be_appended_to() {
    let node = NodeRoot::new();
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

/// Engines that have no directories of hooks are listed, too: they need the action script.
#[test]
fn status_lists_engines_without_hooks() {
    let node = NodeRoot::new();
    for name in ["containerd", "dockerd"] {
        node.program(&format!("usr/bin/{name}"));
    }
    node.succeeds("install", &[]);
    let said = node.succeeds("status", &[]);
    for line in [
        "containerd at /usr/bin/containerd: reads no hooks; needs the action script\n",
        "Docker at /usr/bin/dockerd: reads no hooks; needs the action script\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
}
