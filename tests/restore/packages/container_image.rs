// SPDX-License-Identifier: Apache-2.0
//! The image and the DaemonSet: the image is built and run by Podman, confined as the DaemonSet says,
//! with a directory that looks like a node's root; the manifests are what Kubernetes takes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::HOOK;
use super::machine::{assert_same, listing, names_premount, readme, shell, succeeds};
use crate::Test;
use crate::enter::{self, PREMOUNT, Root, With};

const DAEMONSET: &str = include_str!("../../../packaging/kubernetes/daemonset.yaml");

const INSTALL: &str = include_str!("../../../docs/install.md");

/// A directory that looks like a node's root.
const NODE: &str = "/w/node";

/// The tests of the image.
pub fn tests() -> Vec<Test> {
    let test = |name: &str, body: fn()| {
        Test::of_packages(
            Root::Sid,
            &format!("packages::container_image::{name}"),
            body,
        )
    };
    vec![
        test("installs_on_the_root_that_is_mounted", entry_point),
        test("says_what_it_is_and_what_it_was_made_from", labels),
        test("is_the_same_if_it_is_built_again", built_again),
        test(
            "as_the_daemonset_runs_it_installs_and_uninstalls",
            daemonset,
        ),
    ]
}

/// Lets Podman do with what such a root has: no init system, and no cgroups to give.
fn configure() {
    for (file, content) in [
        (
            "storage.conf",
            "[storage]\ndriver = \"vfs\"\nrunroot = \"/w/run\"\ngraphroot = \"/w/storage\"\n",
        ),
        (
            "policy.json",
            "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}",
        ),
        (
            "containers.conf",
            "[containers]\npids_limit = 0\ncgroups = \"disabled\"\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nruntime = \"crun\"\n",
        ),
    ] {
        fs::create_dir_all("/etc/containers").unwrap();
        fs::write(Path::new("/etc/containers").join(file), content).unwrap();
    }
}

fn entry_point() {
    configure();
    let (commands, remove) = readme("By a container");
    let before = listing();
    for command in commands {
        succeeds(command);
    }
    assert!(Path::new(PREMOUNT).is_file() && Path::new(HOOK).is_file() && names_premount());
    succeeds(&format!("{PREMOUNT} status"));
    succeeds(remove);
    assert_same(&before, &[]);
}

/// The labels of the image, by their names after `org.opencontainers.image.`.
fn of_the_image() -> BTreeMap<String, String> {
    let said = succeeds("podman inspect --format '{{json .Labels}}' premount");
    let labels: BTreeMap<String, String> = serde_json::from_str(&said).unwrap();
    let named = labels.into_iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("org.opencontainers.image.")?;
        Some((name.to_owned(), value))
    });
    named.collect()
}

fn labels() {
    configure();
    succeeds(readme("By a container").0[0]);
    let mut labels = of_the_image();
    let mut label = |name: &str| labels.remove(name);
    for (name, value) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        // These two only if Cargo.toml has them.
        ("source", env!("CARGO_PKG_REPOSITORY")),
        ("url", env!("CARGO_PKG_HOMEPAGE")),
    ] {
        assert_eq!(label(name).unwrap_or_default(), value, "{name}");
    }
    let described = label("description").expect("a description");
    assert!(described.contains("CRIU"), "{described}");
    let created = label("created").expect("when it was created");
    let time = succeeds(&format!("date -u -d {created} +%Y-%m-%dT%H:%M:%SZ"));
    assert_eq!(time.trim(), created);
    if let Some(revision) = label("revision") {
        let commit = revision.trim_end_matches("-dirty");
        let is_hash = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_hash, "{revision}");
    }
    assert_eq!(labels, BTreeMap::new(), "labels that nobody expects");
}

/// With a time of its own, as docs/install.md says, and from files that have another time.
fn built_again() {
    const BUILD: &str = "podman build --no-cache --tag premount target/packages/image";
    configure();
    assert!(
        INSTALL.contains("podman build --timestamp TIME"),
        "the page"
    );
    let id = |line: &str| {
        succeeds("touch target/packages/image/*");
        succeeds(line);
        succeeds("podman inspect --format '{{.Id}}' premount")
    };
    succeeds(BUILD);
    let created = &of_the_image()["created"];
    let time = succeeds(&format!("date -d {created} +%s"));
    let again = BUILD.replace("build", &format!("build --timestamp {}", time.trim()));
    let first = id(&again);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(id(&again), first);
    assert_ne!(id(BUILD), first, "without it, the time is in the image");
}

/// A list of the DaemonSet's, which is written as JSON.
fn list(key: &str) -> Vec<String> {
    let start = DAEMONSET.find(&format!(" {key}: [")).expect("the list") + key.len() + 3;
    let line = DAEMONSET[start..].lines().next().unwrap();
    serde_json::from_str(line).unwrap()
}

/// The DaemonSet's volumes: the node's path, and where it is in the container, with the options.
fn volumes() -> Vec<(String, String)> {
    let (mounts, volumes) = DAEMONSET.split_once("      volumes:\n").expect("volumes");
    let (_, mounts) = mounts.split_once("volumeMounts:\n").expect("volumeMounts");
    let entries = |text: &'static str| {
        text.split("- name: ").skip(1).map(|entry| {
            let (name, fields) = entry.split_once('\n').unwrap();
            let fields = fields
                .lines()
                .filter_map(|line| line.trim().split_once(": "));
            (name, fields.collect::<BTreeMap<&str, &str>>())
        })
    };
    let paths: BTreeMap<&str, &str> = entries(volumes)
        .map(|(name, fields)| (name, fields["path"]))
        .collect();
    entries(mounts)
        .map(|(name, fields)| {
            let options = if fields.get("readOnly") == Some(&"true") {
                ":ro"
            } else {
                ""
            };
            (
                paths[name].to_owned(),
                format!("{}{options}", fields["mountPath"]),
            )
        })
        .collect()
}

/// All paths of the node, and the content of its files.
fn node() -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = succeeds(&format!("find {NODE}"));
    let content = |path: &str| fs::read(path).unwrap_or_default();
    paths
        .lines()
        .map(|path| (PathBuf::from(path), content(path)))
        .collect()
}

fn daemonset() {
    configure();
    succeeds(readme("By a container").0[0]);
    for path in [
        "/usr/bin/crun",
        "/usr/sbin/runc",
        "/usr/sbin/criu",
        "/usr/lib/x86_64-linux-gnu/libcriu.so.2",
    ] {
        let copy = format!("{NODE}{path}");
        fs::create_dir_all(Path::new(&copy).parent().unwrap()).unwrap();
        fs::copy(path, copy).unwrap();
    }
    // What the kubelet makes before the container starts.
    let volumes = volumes();
    assert_eq!(volumes.len(), 4, "{volumes:?}");
    for (path, _) in &volumes {
        fs::create_dir_all(format!("{NODE}{path}")).unwrap();
    }
    fs::write(format!("{NODE}/etc/criu/runc.conf"), "tcp-established\n").unwrap();
    let before = node();

    // Confined as the DaemonSet says.
    for line in [
        "hostNetwork: false",
        "allowPrivilegeEscalation: false",
        "readOnlyRootFilesystem: true",
        "drop: [\"ALL\"]",
        "runAsUser: 0",
    ] {
        assert!(DAEMONSET.contains(line), "{line}");
    }
    let run = String::from(
        "podman run --detach --name pod --user 0 --network none --read-only --read-only-tmpfs=false \
         --cap-drop all --security-opt no-new-privileges",
    );
    let mounts = volumes.iter();
    let run = mounts.fold(run, |run, (path, mount)| {
        run + &format!(" --volume {NODE}{path}:{mount}")
    });
    let arguments = list("args").join(" ");
    let command = list("command").concat();
    succeeds(&format!(
        "{run} --entrypoint {command} premount {arguments}"
    ));
    // The first "command" is the container's, and the readiness probe has the next.
    let probe = DAEMONSET.split_once("readinessProbe").expect("a probe").1;
    let start = probe.find("command: ").expect("its command") + "command: ".len();
    let probe: Vec<String> = serde_json::from_str(probe[start..].lines().next().unwrap()).unwrap();
    let ready = format!("podman exec pod {}", probe.join(" "));
    let begun = Instant::now();
    while let Err(said) = shell(&ready) {
        let logs = shell("podman logs pod");
        assert!(begun.elapsed() < Duration::from_secs(20), "{said} {logs:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    for path in [PREMOUNT, HOOK] {
        assert!(Path::new(&format!("{NODE}{path}")).is_file(), "{path}");
    }
    let config = fs::read_to_string(format!("{NODE}/etc/criu/runc.conf")).unwrap();
    assert!(config.contains("action-script") && config.contains("tcp-established"));

    succeeds("podman stop --time 20 pod");
    let ended = succeeds("podman inspect --format '{{.State.ExitCode}}' pod");
    assert_eq!(ended.trim(), "0", "{:?}", shell("podman logs pod"));
    assert_eq!(node(), before);
}

/// What kustomize makes of the manifests is what Kubernetes takes, by its own schemas.
pub fn manifests() -> Result<(), String> {
    let validator = std::env::var("PREMOUNT_VALIDATOR")
        .map_err(|_| "PREMOUNT_VALIDATOR is not set: run `make test`, which does".to_owned())?;
    let kustomized = |directory: &str| {
        let output = enter::command(Root::Debian13, With::Packages)?
            .args(["kustomize", "build", directory])
            .output()
            .expect("timeout and unshare");
        assert!(output.status.success(), "{output:?}");
        Ok::<_, String>(String::from_utf8(output.stdout).unwrap())
    };
    let built = kustomized("/packaging/kubernetes")?;
    let image = concat!("image: localhost/premount:", env!("CARGO_PKG_VERSION"));
    assert!(built.contains(image), "{built}");
    let validate = |text: &str| {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        fs::write(file.path(), text).unwrap();
        let output = Command::new(&validator)
            .arg("--strict")
            .arg(file.path())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (valid, said) = validate(&built);
    assert!(valid, "{said}");
    for resource in ["namespace/premount", "daemonset/premount"] {
        assert!(said.contains(resource), "{said}");
    }
    let overlay = kustomized("/packaging/kubernetes-read-only-usr")?;
    assert!(validate(&overlay).0, "{:?}", validate(&overlay));
    let mounts = overlay.matches("mountPath: /host/usr").count();
    assert_eq!(mounts, 1, "/usr itself, read-only: {overlay}");
    for path in [
        "/opt/premount/bin",
        "/etc/containers/oci/hooks.d",
        "/etc/crio",
    ] {
        for line in [
            format!("mountPath: /host{path}\n"),
            format!("path: {path}\n"),
        ] {
            assert!(overlay.contains(&line), "{line}: {overlay}");
        }
    }
    let (valid, said) = validate(&built.replace("tolerations:", "toleration:"));
    assert!(!valid && said.contains("toleration"), "{said}");
    Ok(())
}
