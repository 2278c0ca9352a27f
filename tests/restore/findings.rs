// SPDX-License-Identifier: Apache-2.0
//! What `check --checkpoint` says of files and of the host, besides mounts ([`diagnosis`](crate::diagnosis)): for
//! each finding a checkpoint of which it says nothing, and which is restored; and then one where CRIU says what it
//! foretold.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Test;
use crate::common::protobuf::{Value as Field, change_first, with_field};
use crate::enter::Root;
use crate::host::{BUNDLE, Host, IMAGES, Runtime, SOURCES, Trigger, rootfs, tool};
use crate::open_files::{add_holder, script};

struct Case {
    name: &'static str,
    roots: &'static [Root],
    runtimes: &'static [Runtime],
    /// What the process holds.
    holder: &'static [&'static str],
    /// Before the first start.
    prepare: fn(&mut Host),
    /// What is done to the host, or to the checkpoint.
    change: fn(&mut Host),
    code: &'static str,
    severity: &'static str,
    /// What of CRIU's error is the same everywhere; none if it restores.
    criu: Option<&'static str>,
}

const BOTH: &[Runtime] = &[Runtime::Runc, Runtime::Crun];
/// CRIU 4.1 can't checkpoint the sockets of a new kernel (`Can't get 1:16 opt: Operation not supported`).
const SID: &[Root] = &[Root::Sid];
/// An address that no host has.
const ADDRESS: &str = "192.0.2.77";

const CASE: Case = Case {
    name: "",
    roots: &Root::ALL,
    runtimes: BOTH,
    holder: &[],
    prepare: |_| {},
    change: |_| {},
    code: "",
    severity: "fails",
    criu: None,
};

const CASES: &[Case] = &[
    Case {
        name: "a_missing_file_with_content",
        holder: &["open:/data/file"],
        prepare: |_| fs::write(volume("file"), "content").unwrap(),
        change: |_| fs::remove_file(volume("file")).unwrap(),
        code: "missing-content",
        criu: Some("Can't open file data/file"),
        ..CASE
    },
    Case {
        name: "a_file_of_another_size",
        holder: &["open:/data/file"],
        prepare: |_| fs::write(volume("file"), "content").unwrap(),
        change: |_| fs::write(volume("file"), "other content").unwrap(),
        code: "bad-size",
        criu: Some("File data/file has bad size 13 (expect 7)"),
        ..CASE
    },
    Case {
        name: "a_file_of_another_mode",
        holder: &["open:/data/file"],
        prepare: |_| fs::write(volume("file"), "content").unwrap(),
        change: |_| fs::set_permissions(volume("file"), fs::Permissions::from_mode(0o640)).unwrap(),
        code: "bad-mode",
        criu: Some("File data/file has bad mode 0100640 (expect 0100644)"),
        ..CASE
    },
    Case {
        name: "a_missing_directory",
        holder: &["mkdir:/data/x", "open:/data/x"],
        change: |_| fs::remove_dir(volume("x")).unwrap(),
        code: "missing-open-file",
        criu: Some("Can't open file data/x"),
        ..CASE
    },
    Case {
        name: "a_missing_log",
        holder: &["log:/data/log:640"],
        change: |_| fs::remove_file(volume("log")).unwrap(),
        code: "missing-log",
        criu: Some("Can't open file data/log"),
        ..CASE
    },
    Case {
        name: "a_file_where_a_directory_was",
        holder: &["mkdir:/data/x", "open:/data/x"],
        change: |_| {
            fs::remove_dir(volume("x")).unwrap();
            fs::write(volume("x"), "").unwrap();
        },
        code: "wrong-kind",
        criu: Some("File data/x has bad mode"),
        ..CASE
    },
    Case {
        name: "a_file_on_the_way_to_another",
        holder: &["mkdir:/data/x/y", "open:/data/x/y"],
        change: |_| {
            fs::remove_dir_all(volume("x")).unwrap();
            fs::write(volume("x"), "").unwrap();
        },
        code: "open-file-not-created",
        criu: Some("Can't open file data/x/y"),
        ..CASE
    },
    Case {
        name: "a_link_on_the_way",
        holder: &["mkdir:/data/x/y", "open:/data/x/y"],
        change: |_| {
            fs::rename(volume("x"), volume("z")).unwrap();
            symlink("z", volume("x")).unwrap();
        },
        code: "symbolic-link",
        severity: "may-fail",
        ..CASE
    },
    Case {
        name: "a_watch_on_who_knows_what",
        holder: &["modified:/data/x"],
        prepare: |_| {
            let at = volume("");
            tool("mount", &["-t", "tmpfs", "tmpfs", at.to_str().unwrap()]);
            fs::write(volume("x"), "").unwrap();
        },
        change: |_| fs::remove_file(volume("x")).unwrap(),
        code: "open-file-of-unknown-kind",
        criu: Some("Unable to open /data/x"),
        ..CASE
    },
    Case {
        name: "a_mountpoint_of_unknown_kind",
        prepare: |host| {
            for path in ["a", "b"] {
                fs::create_dir(volume(path)).unwrap();
            }
            host.set_script("mount --bind /data/a /data/b");
        },
        change: |_| {
            for path in ["a", "b"] {
                fs::remove_dir(volume(path)).unwrap();
            }
        },
        code: "mountpoint-of-unknown-kind",
        criu: Some("Can't stat mountpoint"),
        ..CASE
    },
    Case {
        name: "a_file_on_the_way_to_a_mountpoint",
        prepare: |host| {
            fs::create_dir_all(volume("x/y")).unwrap();
            host.set_script("mount -t tmpfs tmpfs /data/x/y");
        },
        change: |_| {
            fs::remove_dir_all(volume("x")).unwrap();
            fs::write(volume("x"), "").unwrap();
        },
        code: "unreachable",
        criu: Some("Can't stat mountpoint"),
        ..CASE
    },
    Case {
        name: "closed_connections",
        change: |_| set("inventory.img", 4, &[10], &Field::Number(1)),
        code: "tcp-close",
        severity: "may-fail",
        criu: Some("Need to set the --tcp-close options."),
        ..CASE
    },
    Case {
        name: "a_file_with_the_name_of_a_socket",
        holder: &["listen:/data/socket"],
        change: |_| {
            fs::remove_file(volume("socket")).unwrap();
            fs::write(volume("socket"), "").unwrap();
        },
        code: "address-in-use",
        criu: Some("Can't bind"),
        ..CASE
    },
    Case {
        name: "a_deleted_file",
        holder: &["empty:/data/x:640", "rm:/data/x"],
        prepare: |_| {
            let at = volume("");
            tool("mount", &["-t", "tmpfs", "tmpfs", at.to_str().unwrap()]);
        },
        change: |_| {
            let at = volume("");
            tool("mount", &["-o", "remount,ro", at.to_str().unwrap()]);
        },
        code: "deleted-file",
        severity: "may-fail",
        criu: Some("Can't create ghost regfile"),
        ..CASE
    },
    Case {
        name: "another_build_of_a_program",
        holder: &["open:/data/program"],
        prepare: |_| {
            fs::copy("/bin/busybox", volume("program")).unwrap();
        },
        change: |_| {
            let program = fs::read(volume("program")).unwrap();
            // "GNU" and a zero, after the sizes and the type of the note.
            let note = [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0];
            let at = program.windows(note.len()).position(|bytes| bytes == note);
            let at = (at.unwrap() + note.len()) as u64;
            let file = fs::OpenOptions::new().write(true).open(volume("program"));
            file.unwrap().write_all_at(b"another", at).unwrap();
        },
        code: "bad-build-id",
        criu: Some("File data/program has bad build-ID"),
        ..CASE
    },
    Case {
        name: "what_a_mount_of_the_workload_shows",
        prepare: |host| {
            for path in ["a", "b"] {
                fs::create_dir(volume(path)).unwrap();
            }
            host.set_script("mount --bind /data/a /data/b");
        },
        change: |_| fs::remove_dir(volume("a")).unwrap(),
        code: "missing-source",
        criu: Some("Failed to open_tree"),
        ..CASE
    },
    Case {
        name: "a_read_only_path",
        prepare: |host| {
            fs::create_dir(volume("path")).unwrap();
            host.set_readonly_paths(&["/data/path"]);
        },
        // What is shown and where it is shown are the same.
        change: |_| fs::remove_dir(volume("path")).unwrap(),
        code: "missing-source",
        criu: Some("Can't stat mountpoint"),
        ..CASE
    },
    Case {
        name: "images_of_a_later_version",
        change: |_| set("inventory.img", 4, &[1], &Field::Number(9)),
        code: "image-version",
        criu: Some("Not supported images version 9"),
        ..CASE
    },
    Case {
        name: "another_architecture",
        change: |_| set("core-1.img", 8, &[1], &Field::Number(7)),
        code: "other-architecture",
        criu: Some("Core march mismatch 7"),
        ..CASE
    },
    Case {
        name: "another_security_module",
        change: |_| {
            set("inventory.img", 4, &[6], &Field::Number(1));
            let label = b"system_u:system_r:container_t:s0".to_vec();
            set("core-1.img", 8, &[5, 10, 15], &Field::Bytes(label));
        },
        code: "other-lsm",
        criu: Some("mismatched lsm types and lsm profile specified"),
        ..CASE
    },
    Case {
        name: "a_missing_plugin",
        prepare: |_| fs::create_dir_all("/usr/lib/criu").unwrap(),
        change: |_| {
            let name = b"cuda_plugin".to_vec();
            set("inventory.img", 4, &[12, 12], &Field::Bytes(name));
        },
        code: "missing-plugin",
        severity: "may-fail",
        criu: Some("Missing required plugin: cuda_plugin"),
        ..CASE
    },
    Case {
        name: "a_controller_of_cgroup_v1",
        // runc alone: with crun, CRIU copies this machine's cgroups.
        runtimes: &[Runtime::Runc],
        change: |host| {
            // CRIU writes the host's cgroups, whatever it is told.
            let _ = fs::remove_file(Path::new(IMAGES).join("cgroup.img"));
            let name = controller();
            let member = with_field(&[], &[1], &Field::Bytes(name.clone().into_bytes()));
            let member = with_field(&member, &[2], &Field::Bytes(b"/".to_vec()));
            let of_task = with_field(&[], &[1], &Field::Number(1));
            let of_task = with_field(&of_task, &[2], &Field::Bytes(member));
            set("cgroup.img", 8, &[1], &Field::Bytes(of_task));
            set("cgroup.img", 8, &[2, 1], &Field::Bytes(name.into_bytes()));
            fs::write(host.criu_config(), "").unwrap();
        },
        code: "cgroup-controller",
        severity: "may-fail",
        criu: Some("Can't mount controller dir"),
        ..CASE
    },
    Case {
        name: "an_address_that_is_gone",
        roots: SID,
        holder: &["serve:192.0.2.77"],
        prepare: |_| own_network(),
        change: |_| {
            tool(
                "ip",
                &["address", "delete", &format!("{ADDRESS}/32"), "dev", "lo"],
            );
        },
        code: "missing-address",
        severity: "may-fail",
        criu: Some("Can't bind inet socket"),
        ..CASE
    },
    Case {
        name: "a_connection",
        roots: SID,
        // Nothing says so of a listener alone.
        holder: &["serve:127.0.0.1", "connect:127.0.0.1"],
        prepare: |host| {
            own_network();
            host.set_options("tcp-established\nnetwork-lock skip\n");
        },
        change: |host| {
            host.set_options("");
            host.write_config(Trigger::None);
        },
        code: "tcp-connection",
        severity: "may-fail",
        criu: Some("Connected TCP socket in image"),
        ..CASE
    },
    Case {
        name: "a_feature_that_the_processor_does_not_have",
        // No processor has both: this one is of a test.
        change: |_| {
            let state = xstate() | 0b11 << 17;
            set("core-1.img", 8, &[2, 3, 13, 1], &Field::Number(state));
        },
        code: "missing-cpu-feature",
        severity: "warns",
        ..CASE
    },
];

/// The tests: for each root and runtime.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for case in CASES {
        for &root in case.roots {
            for &runtime in case.runtimes {
                let name = format!("{}::finding::{}", runtime.name(), case.name);
                tests.push(Test::new(root, &name, move || {
                    found(case, Host::new(root, runtime));
                }));
            }
        }
    }
    for root in Root::ALL {
        for runtime in [Runtime::Runc, Runtime::Crun] {
            let mut add = |name: &str, test: fn(Host)| {
                let name = format!("{}::finding::{name}", runtime.name());
                tests.push(Test::new(root, &name, move || {
                    test(Host::new(root, runtime));
                }));
            };
            match root {
                Root::Debian13 | Root::Checks => {
                    add("a_read_only_rootfs_without_tmp", |host| {
                        read_only_rootfs(host, false);
                    });
                }
                Root::Sid => {
                    add("a_read_only_rootfs_without_tmp", |host| {
                        read_only_rootfs(host, true);
                    });
                    // crun in Debian 13 hands CRIU no configuration.
                    add("a_socket_outside", socket_outside);
                }
            }
            add("the_runtime_is_told_by_its_masks", runtime_told);
            if runtime == Runtime::Crun {
                add("old_content", old_content);
            }
        }
    }
    tests
}

/// Without /tmp in the rootfs: CRIU makes the root mount read-only before it needs the directory from 4.2 on.
fn read_only_rootfs(mut host: Host, is_fatal: bool) {
    fs::create_dir_all(volume("")).unwrap();
    for count in [volume("count"), rootfs().join("count")] {
        fs::write(count, "").unwrap();
    }
    host.set_read_only();
    host.set_mounts(vec![json!({
        "destination": "/count", "type": "bind", "source": volume("count"), "options": ["bind"]
    })]);
    host.write_config(Trigger::None);
    for has_tmp in [true, false] {
        let tmp = rootfs().join("tmp");
        if has_tmp {
            fs::create_dir(&tmp).unwrap();
        } else {
            fs::remove_dir(&tmp).unwrap();
        }
        host.run().unwrap();
        assert!(host.counts());
        host.try_checkpoint().unwrap();
        let (status, findings) = findings(host.runtime);
        let restored = host.restore();
        host.delete();
        if has_tmp {
            assert_eq!((status, findings), (0, Vec::new()));
            assert_eq!(restored, Ok(()));
            continue;
        }
        assert_eq!(status, 1);
        assert_eq!(findings[0]["kind"], "no-tmp");
        assert_eq!(findings[0]["severity"], "may-fail");
        match restored {
            Ok(()) => assert!(!is_fatal, "it restored"),
            Err(said) => {
                assert!(is_fatal, "{said}");
                assert!(
                    said.contains("Can't create a temporary directory"),
                    "{said}"
                );
            }
        }
    }
}

/// crun has CRIU take what is bound behind a link for a mount of the container's own, if it is the root of a tmpfs.
fn old_content(mut host: Host) {
    let (run, var) = (rootfs().join("run"), rootfs().join("var"));
    for directory in [&run, &var, &volume("")] {
        fs::create_dir_all(directory).unwrap();
    }
    symlink("/run", var.join("run")).unwrap();
    let source = volume("");
    tool("mount", &["-t", "tmpfs", "tmpfs", source.to_str().unwrap()]);
    fs::write(volume("token"), "old").unwrap();
    host.set_mounts(vec![json!({
        "destination": "/var/run/secret", "type": "bind", "source": source, "options": ["bind"]
    })]);
    host.write_config(Trigger::None);
    host.start();
    host.checkpoint();
    fs::write(volume("token"), "new").unwrap();
    let (status, findings) = findings(host.runtime);
    assert_eq!((status, findings.len()), (0, 1), "{findings:?}");
    assert_eq!(findings[0]["kind"], "old-content");
    assert_eq!(findings[0]["severity"], "warns");
    host.restore().unwrap();
    let token = Path::new("/proc")
        .join(host.pid())
        .join("root/run/secret/token");
    let token = fs::read_to_string(token);
    host.delete();
    assert_eq!(token.unwrap(), "old");
}

/// A socket that is connected to one of the host's, which only a connection can tell to be there. CRIU connects to it by
/// the name that it was bound to, in the container.
fn socket_outside(mut host: Host) {
    fs::create_dir_all(volume("")).unwrap();
    symlink(volume(""), "/data").unwrap();
    let _outside = UnixDatagram::bind("/data/outside").unwrap();
    add_holder(&rootfs());
    host.set_mounts(vec![json!({
        "destination": "/data", "type": "bind", "source": volume(""), "options": ["bind"]
    })]);
    host.set_script(&script(&[["send:/data/outside".to_owned()]]));
    host.set_options("ext-unix-sk\n");
    host.write_config(Trigger::None);
    host.start();
    host.checkpoint();
    let (status, findings) = findings(host.runtime);
    assert_eq!((status, findings.len()), (1, 1), "{findings:?}");
    let of = |key: &str| findings[0][key].as_str().unwrap_or_default();
    assert_eq!(
        [of("kind"), of("severity"), of("detail")],
        ["external-socket", "may-fail", "/data/outside"]
    );
    host.restore().unwrap();
    host.delete();
    fs::remove_file("/data/outside").unwrap();
    let said = host.restore().unwrap_err();
    host.delete();
    assert!(said.contains(of("criu")), "{said}");
}

/// Masks are no missing mappings, and they say which runtime it was: runc makes what is missing itself.
fn runtime_told(mut host: Host) {
    for directory in ["masked", "nested"] {
        fs::create_dir_all(volume(directory)).unwrap();
    }
    let bind = |at: &str, source: &str| json!({"destination": at, "type": "bind", "source": volume(source), "options": ["bind"]});
    host.set_mounts(vec![bind("/data", ""), bind("/data/nested", "masked")]);
    let masked: &[&str] = match host.runtime {
        Runtime::Runc => {
            fs::write(rootfs().join("file"), "").unwrap();
            &["/file", "/data/masked"]
        }
        // crun tells CRIU only of masks of what the host has too.
        Runtime::Crun => &["/proc/sys", "/data/masked"],
    };
    host.set_masked(masked);
    host.write_config(Trigger::None);
    host.start();
    host.checkpoint();
    let check = || Host::call_premount(&["check", "--checkpoint", IMAGES, "--bundle", BUNDLE]);
    let checked = check();
    assert_eq!(checked.status, 0, "{checked:?}");
    fs::remove_dir(volume("nested")).unwrap();
    let checked = check();
    let restored = host.restore();
    host.delete();
    let is_crun = host.runtime == Runtime::Crun;
    // Unless the checkpoint says that it was runc, nobody is trusted to make it.
    assert_eq!(checked.status, i32::from(is_crun), "{checked:?}");
    assert_eq!(restored.is_err(), is_crun, "{restored:?}");
}

fn volume(path: &str) -> PathBuf {
    Path::new(SOURCES).join("data").join(path)
}

/// Sets a field in the first entry of an image.
fn set(image: &str, magic: usize, path: &[u32], value: &Field) {
    let file = Path::new(IMAGES).join(image);
    // Without cgroups CRIU writes no image of them.
    let cgroups = [0x5456_4319_u32.to_le_bytes(), 0x5938_3330_u32.to_le_bytes()].concat();
    let image = fs::read(&file).unwrap_or(cgroups);
    let changed = change_first(&image, magic, |entry| with_field(entry, path, value));
    fs::write(file, changed).unwrap();
}

/// A network whose addresses nobody else misses.
fn own_network() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    tool("ip", &["link", "set", "lo", "up"]);
    tool(
        "ip",
        &["address", "add", &format!("{ADDRESS}/32"), "dev", "lo"],
    );
}

/// A controller that cgroup v2 has here.
fn controller() -> String {
    let all = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").unwrap();
    let first = all.split_whitespace().next();
    first.expect("a controller of cgroup v2").to_owned()
}

/// What the processor has of its extended state.
fn xstate() -> u64 {
    0b111
}

fn findings(runtime: Runtime) -> (i32, Vec<Value>) {
    let ended = Host::call_premount(&[
        "check",
        "--checkpoint",
        IMAGES,
        "--bundle",
        BUNDLE,
        "--runtime",
        runtime.name(),
        "--format",
        "json",
    ]);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    (ended.status, report["findings"].as_array().unwrap().clone())
}

fn found(case: &Case, mut host: Host) {
    fs::create_dir_all(volume("")).unwrap();
    add_holder(&rootfs());
    host.set_mounts(vec![json!({
        "destination": "/data", "type": "bind", "source": volume(""), "options": ["bind", "rw"]
    })]);
    let holder: Vec<String> = case.holder.iter().map(|&what| what.to_owned()).collect();
    if !holder.is_empty() {
        host.set_script(&script(&[holder]));
    }
    (case.prepare)(&mut host);
    host.write_config(Trigger::None);
    host.start();
    let counted = host.checkpoint();
    assert_eq!(findings(host.runtime), (0, Vec::new()), "as it was");
    host.restore()
        .unwrap_or_else(|said| panic!("the restore as it was: {said}"));
    Host::wait_for_count(counted);
    host.delete();
    // It counted on, and can have had its file open at the checkpoint.
    host.put_count();

    (case.change)(&mut host);
    let (status, findings) = findings(host.runtime);
    let text = |found: &Value, key: &str| found[key].as_str().unwrap_or_default().to_owned();
    let found = findings.iter().find(|found| found["kind"] == case.code);
    let found = found.unwrap_or_else(|| panic!("{findings:?}"));
    assert_eq!(text(found, "severity"), case.severity);
    assert_eq!(status, i32::from(case.severity != "warns"), "{findings:?}");
    let restored = host.restore();
    host.delete();
    match (case.criu, restored) {
        (None, Ok(())) => assert_eq!(found["criu"].is_null(), case.severity == "warns"),
        (Some(words), Err(said)) => {
            let foretold = findings
                .iter()
                .any(|found| text(found, "criu").starts_with(words));
            assert!(foretold, "{findings:?}");
            assert!(said.contains(words), "CRIU said otherwise: {said}");
        }
        (_, restored) => panic!("{findings:?}, and the restore: {restored:?}"),
    }
}
