// SPDX-License-Identifier: Apache-2.0
//! Every system call that premount makes after its start-up fails once, with each errno in turn, and
//! kills it once: no panic, no hang, the right exit status and message, and the next run completes
//! what is left. By strace's fault injection, on the real program.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use crate::common::mount_image::{MountEntry, checkpoint, entry};
use crate::common::{self, AsCriu, World, premount};

const ERRNOS: [&str; 13] = [
    "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EMFILE", "ENFILE", "ENOMEM", "EIO", "EINTR",
    "EAGAIN", "ELOOP", "ENOSYS",
];

/// Calls that no program can do anything about, of the allocator and of the end, and one that by its
/// manual page always succeeds.
const NOT_OURS: [&str; 9] = [
    "umask",
    "brk",
    "mmap",
    "munmap",
    "mremap",
    "exit_group",
    "sigaltstack",
    "rt_sigaction",
    "madvise",
];

#[derive(Clone, Copy, PartialEq)]
enum CalledAs {
    Hook,
    ActionScript,
}

/// A world with directories and a file to make, below links, in two sources.
fn world() -> World {
    let mut world = World::new();
    world.directory("a");
    world.directory("b");
    world.file("f");
    world.link("a/link", "../b/deep");
    world.bind("a", "/a");
    world.bind("b", "/b");
    world.tmpfs("/a/x/y");
    world.bind("f", "/a/link/f");
    if common::is_root() {
        let mut config = world.config();
        config["linux"] = common::user_namespace(1000, 1);
        world.write_config(&config);
        // Its root has power over what is its own.
        for own in ["a", "b", "bundle/rootfs"] {
            std::os::unix::fs::chown(world.path(own), Some(1000), Some(1000)).unwrap();
        }
    }
    // All of it is in the checkpoint, so that CRIU can't do without.
    let external = |id, parent, device, at: &str| MountEntry {
        ext_key: Some(at.as_bytes().to_vec()),
        ..entry(id, parent, device, "/source", at)
    };
    let entries = [
        entry(1, 0, 1, "/rootfs", "/"),
        external(2, 1, 2, "/a"),
        external(3, 1, 3, "/b"),
        entry(4, 2, 4, "/", "/a/x/y"),
        external(5, 3, 5, "/b/deep/f"),
    ];
    checkpoint(&world, &entries);
    world
}

fn is_complete(world: &World) -> bool {
    let there = |path: &str| world.path(path).is_dir();
    there("bundle/rootfs/a") && there("a/x/y") && world.path("b/deep/f").is_file()
}

fn reset(world: &World) {
    for made in ["bundle/rootfs/a", "bundle/rootfs/b", "a/x", "b/deep"] {
        let _ = fs::remove_dir_all(world.path(made));
    }
}

/// Calls premount under strace with these options of its.
fn traced(world: &World, called_as: CalledAs, options: &[&str]) -> (ExitStatus, String) {
    let strace = [&["timeout", "20", "strace", "-qq"][..], options].concat();
    let mut call = match called_as {
        CalledAs::ActionScript => {
            let mut criu = AsCriu::restores(world);
            criu.before = strace.into_iter().map(str::to_owned).collect();
            criu.command(&[])
        }
        CalledAs::Hook => {
            let mut call = Command::new("timeout");
            call.args(&strace[1..]).arg(common::binary()).env_clear();
            call
        }
    };
    call.stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = call.spawn().expect("timeout and strace");
    let _ = child
        .stdin
        .take()
        .unwrap()
        .write_all(world.state().as_bytes());
    let output = child.wait_with_output().unwrap();
    (
        output.status,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Calls premount with one call of that name tampered with, and makes sure that it was: strace counts
/// only what it traces.
fn tampered(world: &World, called_as: CalledAs, name: &str, how: &str) -> (ExitStatus, String) {
    let log = world.path("strace.log");
    let (trace, inject) = (format!("trace={name}"), format!("inject={name}:{how}"));
    let options = ["-o", log.to_str().unwrap(), "-e", &trace, "-e", &inject];
    let (status, said) = traced(world, called_as, &options);
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(log).unwrap();
    let done = text.contains("(INJECTED)") || text.contains("killed by SIGKILL");
    assert!(done, "{name} {how}: nothing was injected: {text}");
    (status, said)
}

/// The same without strace and without a fault.
fn untraced(world: &World, called_as: CalledAs) -> common::Ended {
    match called_as {
        CalledAs::Hook => premount(&[], world.state().as_bytes(), &[]),
        CalledAs::ActionScript => AsCriu::restores(world).call(&[]),
    }
}

/// The system calls after start-up: each by its name, and which of that name it is.
fn calls(world: &World, called_as: CalledAs) -> Vec<(String, usize)> {
    let log = world.path("strace.log");
    let (status, said) = traced(world, called_as, &["-o", log.to_str().unwrap()]);
    assert!(status.success(), "{said}");
    assert!(is_complete(world));
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(log).unwrap();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut calls = Vec::new();
    let mut started = false;
    for line in text.lines() {
        let Some((name, _)) = line.split_once('(') else {
            continue;
        };
        let number = seen.entry(name).or_default();
        *number += 1;
        // The first thing that premount does of its own accord.
        started |= line.contains("/proc/self/fd");
        if started && !NOT_OURS.contains(&name) {
            calls.push((name.to_owned(), *number));
        }
    }
    assert!(calls.len() > 30, "{calls:?}");
    calls
}

fn every_call_fails(called_as: CalledAs) {
    let world = world();
    let mut injected = 0;
    for (name, number) in calls(&world, called_as) {
        for errno in ERRNOS {
            reset(&world);
            let how = format!("error={errno}:when={number}");
            let (status, said) = tampered(&world, called_as, &name, &how);
            let about = format!("{name} #{number} {errno}: {status}: {said}");
            assert!(!said.contains("panicked"), "{about}");
            match status.code() {
                // Without a configuration there is nothing to do, and nothing to fail for.
                Some(0) => {
                    let mut lines = said.lines();
                    let warned = lines
                        .any(|line| line.contains(" WARN premount: ") && names(line, &name, errno));
                    assert!(is_complete(&world) || warned, "{about}");
                }
                Some(1 | 2) => {
                    let named = said
                        .lines()
                        .any(|line| line.contains("ERROR premount: ") && names(line, &name, errno));
                    assert!(named, "{about}");
                    assert!(
                        said.contains('/') || said.contains("standard input"),
                        "{about}"
                    );
                }
                _ => panic!("{about}"),
            }
            if let "EINTR" | "EAGAIN" = errno {
                let retried = ["openat2", "mkdirat"].contains(&name.as_str());
                assert!(!retried || status.success(), "{about}");
            }
            let again = untraced(&world, called_as);
            assert_eq!(again.status, 0, "{about}: {again:?}");
            assert!(is_complete(&world), "{about}");
            injected += 1;
        }
    }
    println!("{injected} faults injected");
}

/// A link where a moment ago was none is told as what it means. setfsuid(2) and setfsgid(2) have no
/// errno at all: what they have not done is told as forbidden.
fn names(line: &str, call: &str, errno: &str) -> bool {
    line.contains(errno)
        || errno == "ELOOP" && line.contains("(ESTALE)")
        || call.starts_with("setfs") && line.contains("setfsuid: Operation not permitted (EPERM)")
}

#[test]
fn every_call_of_the_hook_fails_once_with_each_errno() {
    every_call_fails(CalledAs::Hook);
}

#[test]
fn every_call_of_the_action_script_fails_once_with_each_errno() {
    every_call_fails(CalledAs::ActionScript);
}

#[test]
fn a_kill_at_any_call_leaves_what_the_next_run_completes() {
    let world = world();
    let mut killed = 0;
    for (name, number) in calls(&world, CalledAs::Hook) {
        reset(&world);
        let how = format!("signal=KILL:when={number}");
        let (status, said) = tampered(&world, CalledAs::Hook, &name, &how);
        // timeout(1) tells strace's death, which is premount's, by 128 + 9.
        let signal = status.signal().or(status.code().map(|code| code - 128));
        assert_eq!(signal, Some(9), "{name} #{number}: {status}: {said}");
        assert_eq!(untraced(&world, CalledAs::Hook).status, 0);
        assert!(is_complete(&world), "{name} #{number}");
        killed += 1;
    }
    println!("{killed} kills");
}

#[test]
fn a_missing_or_forbidden_openat2_stops_nothing() {
    let world = world();
    for errno in ["ENOSYS", "EPERM"] {
        reset(&world);
        let how = format!("error={errno}");
        let (status, said) = tampered(&world, CalledAs::Hook, "openat2", &how);
        assert!(status.success() && is_complete(&world), "{errno}: {said}");
    }
}

#[test]
fn it_writes_nothing_starts_nothing_and_leaves_nothing_open_to_others() {
    // CVE-2025-52881: writes that end up in another file than was meant. There are none.
    let world = world();
    let log = world.path("strace.log");
    let (status, said) = traced(&world, CalledAs::Hook, &["-f", "-o", log.to_str().unwrap()]);
    assert!(status.success() && is_complete(&world), "{said}");
    let text = fs::read_to_string(log).unwrap();
    let mut created = 0;
    for line in text
        .lines()
        .skip_while(|line| !line.contains("/proc/self/fd"))
    {
        // -f puts the process before each call.
        let call = line
            .split_once(' ')
            .map_or(line, |(_, call)| call.trim_start());
        let name = call.split('(').next().unwrap();
        let allowed = [
            "brk",
            "capget",
            "capset",
            "close",
            "connect",
            "exit_group",
            "fcntl",
            "fstat",
            "fstatfs",
            "getdents64",
            "newfstatat",
            "getegid",
            "geteuid",
            "getpid",
            "getppid",
            "getuid",
            "ioctl",
            "lseek",
            "mkdirat",
            "mmap",
            "mremap",
            "munmap",
            "openat",
            "openat2",
            "poll",
            "read",
            "readlink",
            "readlinkat",
            "sendto",
            "setfsgid",
            "setgroups",
            "setfsuid",
            "sigaltstack",
            "socket",
            "statx",
            "umask",
            "write",
        ];
        assert!(allowed.contains(&name) || name.starts_with("+++"), "{line}");
        if name.starts_with("openat") {
            assert!(call.contains("O_CLOEXEC"), "{line}");
            if call.contains("O_WRONLY") || call.contains("O_RDWR") {
                assert!(call.contains("O_CREAT|O_EXCL|O_NOFOLLOW"), "{line}");
                created += 1;
            }
        }
        // The journal's, and none but that.
        if name == "socket" {
            assert!(
                call.starts_with("socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC, "),
                "{line}"
            );
        }
        if name == "sendto" {
            assert!(
                call.contains("sun_path=\"/run/systemd/journal/socket\""),
                "{line}"
            );
        }
        if name == "write" {
            assert!(call.starts_with("write(2, "), "{line}");
        }
    }
    assert_eq!(created, 1, "the one file that was missing");
}
