// SPDX-License-Identifier: Apache-2.0
//! A restore as CRI-O does it, with its conmon and a real runtime, from the capture of one by CRI-O 1.36:
//! the same paths, mounts, files and calls. CRI-O itself is not there.
//!
//! What it does on restore: it writes a new container's config.json into two directories, the bundle and
//! one of its own, and unpacks the checkpoint into the latter; then it starts conmon in the bundle, which
//! calls the runtime and has CRIU's log beside config.json.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::Test;
use crate::counter;
use crate::crio_node::{CrioContainer, DATA, make_image, new_volumes, write_criu_config};
use crate::enter::Root;
use crate::host::{Host, InodeSnapshot, Runtime, Trigger, mountpoints_of, snapshot, tool};

struct CrioCase {
    name: &'static str,
    /// `read_only` of crio.conf, which brings a tmpfs on /run. CRI-O 1.36.3 itself refuses to restore such a container
    /// (`expects following bind mounts defined`): what this shows is that the runtimes and premount can.
    read_only: bool,
    /// Whether the image's /var/run is a link to /run, as most have it.
    link: bool,
    /// What premount makes in the secrets and in the volume; nothing where the restore succeeds without.
    made: [&'static [&'static str]; 2],
}

const TOKEN: &[&str] = &["kubernetes.io", "kubernetes.io/serviceaccount"];
const NESTED: &[&str] = &["nested", "nested/dir"];

/// As it was captured: no tmpfs is above the volumes, and runc makes the mountpoints itself.
const CAPTURED: CrioCase = CrioCase {
    name: "the_captured_restore",
    read_only: false,
    link: true,
    made: [&[], &[]],
};

/// The token lies below a tmpfs by name, where runc makes nothing.
const READ_ONLY: CrioCase = CrioCase {
    name: "a_token_below_the_tmpfs_of_read_only",
    read_only: true,
    link: true,
    // The volume's are made by runc.
    made: [TOKEN, &[]],
};
/// crun makes none in a volume. The token is in the rootfs here.
const WITHOUT_LINK: CrioCase = CrioCase {
    name: "a_volume_in_a_volume",
    read_only: false,
    link: false,
    made: [&[], NESTED],
};

/// The tests with what CRI-O does.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (root, runtime, trigger, case) in [
        (Root::Debian13, Runtime::Runc, Trigger::Hook, &READ_ONLY),
        (Root::Debian13, Runtime::Runc, Trigger::Action, &READ_ONLY),
        (Root::Sid, Runtime::Runc, Trigger::Hook, &READ_ONLY),
        (Root::Sid, Runtime::Runc, Trigger::Action, &READ_ONLY),
        (Root::Sid, Runtime::Runc, Trigger::Hook, &CAPTURED),
        (Root::Sid, Runtime::Runc, Trigger::Action, &CAPTURED),
        // The crun of Debian 13 reads no configuration of CRIU's, and conmon has no option for it.
        (Root::Sid, Runtime::Crun, Trigger::Action, &WITHOUT_LINK),
    ] {
        let name = format!(
            "crio::{}::{}::{}",
            runtime.name(),
            trigger.name(),
            case.name
        );
        tests.push(Test::new(root, &name, move || {
            restore(case, runtime, trigger);
        }));
    }
    // Should this come to work, docs/cri-o.md has to say so.
    tests.push(Test::new(
        Root::Sid,
        "crio::crun::no_checkpoint_of_a_token_through_the_link",
        crun_does_not_checkpoint,
    ));
    tests
}

/// Starts a container, and waits until it counts. Gives its process.
fn start(container: &CrioContainer) -> String {
    new_volumes();
    counter::reset();
    write_criu_config(container.runtime, Trigger::None);
    container.make(Trigger::None);
    let pid = container.create().expect("the first start");
    container.runtime(&["start"]).expect("the first start");
    counter::wait();
    pid
}

fn restore(case: &CrioCase, runtime: Runtime, trigger: Trigger) {
    let container = |number| CrioContainer {
        runtime,
        read_only: case.read_only,
        number,
    };
    make_image(case.link);
    let first = container(1);
    let before = mountpoints_of(&start(&first));
    let counted = counter::wait();
    first.checkpoint().expect("the checkpoint");
    first.delete();
    check_archive(&first, case);

    let next = |number, trigger| {
        let container = container(number);
        new_volumes();
        container.make(trigger);
        write_criu_config(runtime, trigger);
        let checkpoint = first.directory().join("checkpoint");
        let to = container.directory();
        tool(
            "cp",
            &["-a", checkpoint.to_str().unwrap(), to.to_str().unwrap()],
        );
        container
    };
    let without = next(2, Trigger::None);
    let alone = without.restore();
    without.delete();
    if case.made.concat().is_empty() {
        alone.expect("the restore without premount");
    } else {
        let said = alone.expect_err("the restore without premount");
        assert!(
            said.contains("Can't stat mountpoint"),
            "CRIU failed otherwise: {said}"
        );
    }

    let with = next(3, trigger);
    counter::forget();
    let pid = with.restore().expect("the restore with premount");
    counter::assert_counts_on(counted);
    assert_eq!(
        before,
        mountpoints_of(&pid),
        "the mounts are those of before"
    );
    let log = with.log();
    if trigger == Trigger::Action {
        assert!(log.contains(" INFO premount: "), "{log}");
        for made in case.made.concat() {
            assert!(log.contains(&format!("/{made}\"")), "{made}: {log}");
        }
    }
    let in_secrets = if case.link { TOKEN } else { &[] };
    assert_eq!(directories(&with.secrets()), in_secrets);
    assert_eq!(directories(Path::new(DATA)), NESTED);
    with.delete();
}

/// What is said of the archive that CRI-O would export, with no bundle: its spec.dump is the configuration.
fn check_archive(first: &CrioContainer, case: &CrioCase) {
    const EXPORT: &str = "/w/export";
    const ARCHIVE: &str = "/w/export.tar";
    fs::create_dir_all(EXPORT).unwrap();
    let from = first.directory();
    for (name, to) in [("checkpoint", "checkpoint"), ("config.json", "spec.dump")] {
        let (from, to) = (from.join(name), Path::new(EXPORT).join(to));
        tool("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
    }
    let metadata = json!({"runtime": first.runtime.name()}).to_string();
    fs::write(Path::new(EXPORT).join("config.dump"), metadata).unwrap();
    tool("tar", &["cf", ARCHIVE, "-C", EXPORT, "."]);
    Host::assert_read(ARCHIVE);
    let check = |volumes: &[&str]| {
        let call = [&["check", "--checkpoint", ARCHIVE], volumes].concat();
        Host::call_premount(&call)
    };
    let ended = check(&[]);
    assert_eq!((ended.status, ended.stderr.as_str()), (1, ""), "{ended:?}");
    let mut needed = vec![
        "/data: directory, which was /srv/volumes/data",
        "  /data/nested/dir\n",
    ];
    if case.link {
        needed.push("/run/secrets: directory of the engine's");
        needed.push("  /run/secrets/kubernetes.io/serviceaccount\n");
    }
    for needed in needed {
        assert!(ended.stdout.contains(needed), "{needed}: {ended:?}");
    }
    let unknown = "nothing says what will be at /data (see --volume)";
    assert!(ended.stdout.contains(unknown), "{ended:?}");
    // runc makes the mountpoint in the volume, crun doesn't; and the engine's own are premount's to prepare.
    new_volumes();
    let ended = check(&[&format!("--volume=/data={DATA}")]);
    let is_made = first.runtime == Runtime::Runc;
    assert_eq!(ended.status == 0, is_made, "{ended:?}");
}

/// crun gives CRIU the mount's name as it is written, and not where it is. A kubelet's token is the root of a tmpfs, and
/// not a plain directory as here: that is checkpointed, and comes back as it was (`finding::old_content`).
fn crun_does_not_checkpoint() {
    make_image(true);
    let container = CrioContainer {
        runtime: Runtime::Crun,
        read_only: false,
        number: 1,
    };
    start(&container);
    let said = container.checkpoint().expect_err("the checkpoint");
    let expected = "./run/secrets/kubernetes.io/serviceaccount doesn't have a proper root mount";
    assert!(said.contains(expected), "{said}");
    container.delete();
}

/// All that is in a source, which is directories alone, as they are born.
fn directories(source: &Path) -> Vec<String> {
    let name = |(path, inode): (PathBuf, InodeSnapshot)| {
        let name = path.to_str().unwrap().to_owned();
        assert_eq!(
            (inode.mode, inode.uid, inode.gid),
            (0o40_755, 0, 0),
            "{name}"
        );
        name
    };
    snapshot(source).into_iter().map(name).collect()
}
