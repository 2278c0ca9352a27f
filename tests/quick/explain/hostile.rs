// SPDX-License-Identifier: Apache-2.0
//! Logs that a container has written into, and input that is no log.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{END, LOG, STAT, explain};
use crate::common::{Ended, World, binary, make_fifo, output_within, premount, to_full};

#[test]
fn what_a_container_chose_is_escaped() {
    let path = "a\u{1b}[31m\u{202e}b\"";
    let log = LOG.replace("/data/nested", &format!("/data/{path}"));
    let error = format!(
        "(00.05) 1: Error (criu/files-reg.c:1): Can't open file data/{path} on restore: No such file or directory\n"
    );
    let ended = premount(&["explain", "-"], (log + &error).as_bytes(), &[]);
    assert_eq!(ended.status, 0);
    assert!(
        ended
            .stdout
            .contains("In the container: /data/a\\u{1b}[31m\\u{202e}b\"\n"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains('\u{1b}') && !ended.stdout.contains('\u{202e}'));
    let odd = "(00.05) 1: Error (criu/odd.c:1): odd\u{1b}[31m\n(00.05) x\n";
    let ended = premount(&["explain", "-"], odd.as_bytes(), &[]);
    assert!(ended.stdout.contains("odd\\u{1b}[31m\n"));
}

#[test]
fn an_error_inside_of_a_path_is_none() {
    let forged = "(00.002884) mnt: \t\tWill mount 78 from /w/Error (criu/mount.c:1): mnt: No mapping for 1:/a mountpoint (E)\n";
    assert_eq!(explain(LOG.to_owned() + forged).1["verdict"], "no-error");
}

#[test]
fn no_path_in_the_log_is_opened() {
    let traced = Command::new("strace")
        .args(["-f", "-e", "trace=%file"])
        .arg(binary())
        .args(["explain", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = LOG.to_owned() + STAT + "log file: /w/restore.log\n" + END;
    let output = output_within(Duration::from_secs(60), traced, log.as_bytes());
    let calls = String::from_utf8_lossy(&output.stderr);
    assert!(calls.contains("exited with 0"), "{calls}");
    assert!(
        !calls.contains("/w/") && !calls.contains("criu.mntns"),
        "{calls}"
    );
}

fn of_file(path: &str) -> Ended {
    premount(&["explain", path], b"", &[])
}

#[test]
fn input_that_can_not_be_read_is_refused() {
    let world = World::new();
    let at = |name: &str| world.path(name).to_str().unwrap().to_owned();
    fs::write(at("empty"), "\n \n").unwrap();
    make_fifo(&world.path("fifo"));
    let large = fs::File::create(at("large")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    for name in ["nowhere", "empty", "fifo", "large", ""] {
        let ended = of_file(&at(name));
        assert_eq!(
            (ended.status, &ended.stdout[..]),
            (2, ""),
            "{name}: {ended:?}"
        );
        assert!(ended.stderr.contains("premount: "), "{name}: {ended:?}");
    }
    fs::write(at("log"), LOG.to_owned() + STAT).unwrap();
    symlink("log", at("link")).unwrap();
    assert_eq!(of_file(&at("log")).status, 0);
    assert_eq!(of_file(&at("link")).status, 0);
    assert_eq!(premount(&["explain"], b"", &[]).status, 2);
    assert_eq!(to_full(&["explain", &at("log")]).status, 2);
}

#[test]
fn any_bytes_are_safe() {
    let mut bytes = Vec::new();
    let mut state = 88_172_645_463_325_252_u64;
    while bytes.len() < 1 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    let (status, said) = explain(&bytes);
    assert_eq!((status, &said["verdict"]), (1, &json!("unknown")));
    assert!(said["criu"].as_str().unwrap().len() < 16 << 10);
    let (status, _) = explain([LOG.as_bytes(), &bytes, b"\n", STAT.as_bytes()].concat());
    assert_eq!(status, 0);
}

#[test]
fn a_long_log_takes_little_memory() {
    let mut log = LOG.to_owned();
    let path = "x".repeat(4000);
    for number in 0..8000 {
        let mount = format!("(00.1) mnt: \tRead {number} mp @ /{path}\n");
        log.extend([&mount, " INFO premount: ", &path, "\n"]);
    }
    log += &"y".repeat(1 << 20);
    log += "\n";
    log += STAT;
    assert!(log.len() < 64 << 20 && log.len() > 60 << 20);
    // In KiB of address space: the program itself takes the most.
    let child = Command::new("sh")
        .args(["-c", "ulimit -v 65536; exec \"$0\" explain - --format json"])
        .arg(binary())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = output_within(Duration::from_secs(60), child, log.as_bytes());
    let said: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(said["code"], "missing-mountpoint");
}

#[test]
fn a_long_text_of_somebody_elses_takes_seconds() {
    let line = "time=\"2026\" msg=\"a line \\\"of\\\" somebody's \\n and more\"\n";
    let text = line.repeat((8 << 20) / line.len())
        + "Error: crun: stat `/w/nested`: No such file or directory\n";
    let start = std::time::Instant::now();
    assert_eq!(explain(text).1["code"], "missing-source");
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}
