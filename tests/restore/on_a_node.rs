// SPDX-License-Identifier: Apache-2.0
//! premount put on a node with real runtimes: it is in force with one command, `status` says by what,
//! what is broken and what mends it, and a node that it was taken off again dumps as before.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Test;
use crate::common::{self, Ended};
use crate::enter::{PREMOUNT, Root};
use crate::host::{BUNDLE, Host, Runtime, SOURCES, Trigger, tool};

/// Where somebody has downloaded it to.
const DOWNLOADED: &str = "/w/premount";
const RUNC: &str = "/etc/criu/runc.conf";
const CRUN: &str = "/etc/criu/crun.conf";
const DEFAULT: &str = "/etc/criu/default.conf";
const LINE: &str = "action-script /usr/libexec/oci/hooks.d/premount\n";

/// The tests of a node.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for runtime in [Runtime::Runc, Runtime::Crun] {
            let name = format!(
                "{}::on_a_node::one_command_puts_it_in_force",
                runtime.name()
            );
            tests.push(Test::new(root, &name, move || {
                in_force(root, runtime, false);
            }));
            let name = format!("{}::on_a_node::with_a_read_only_usr_too", runtime.name());
            tests.push(Test::new(root, &name, move || {
                in_force(root, runtime, true);
            }));
            let name = format!(
                "{}::on_a_node::the_journal_has_what_was_made",
                runtime.name()
            );
            tests.push(Test::new(root, &name, move || {
                journal(Host::new(root, runtime));
            }));
        }
        tests.push(Test::new(
            root,
            "on_a_node::the_file_for_crun_is_the_one_it_reads",
            move || {
                file_for_crun(root);
            },
        ));
    }
    tests.push(Test::new(
        Root::Debian13,
        "on_a_node::status_knows_a_crun_that_is_too_old_for_its_own_file",
        too_old,
    ));
    tests.push(Test::new(
        Root::Sid,
        "on_a_node::status_knows_a_crun_conf_that_hides_runc_conf",
        hidden,
    ));
    tests.push(Test::new(
        Root::Debian13,
        "on_a_node::status_does_not_wait_for_a_program_that_keeps_its_output_open",
        lingering,
    ));
    tests.push(Test::new(
        Root::Debian13,
        "on_a_node::a_journal_that_reads_nothing_stops_no_restore",
        deaf,
    ));
    tests
}

/// Takes premount from where the tests have it to where somebody has downloaded it.
fn download() {
    fs::create_dir_all("/w").unwrap();
    fs::rename(PREMOUNT, DOWNLOADED).unwrap();
}

fn call(arguments: &[&str]) -> Ended {
    let output = common::output(Command::new(DOWNLOADED).args(arguments));
    common::ended(&output)
}

fn succeeds(arguments: &[&str]) -> String {
    let ended = call(arguments);
    assert_eq!(ended.status, 0, "{arguments:?}: {ended:?}");
    ended.stdout
}

/// A container that neither runtime restores by itself: a mount in a new source, below a tmpfs.
fn start(host: &mut Host) -> u64 {
    let source = Path::new(SOURCES).join("secrets");
    fs::create_dir_all(&source).unwrap();
    host.set_mounts(vec![
        json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs"}),
        json!({"destination": "/run/secrets", "type": "bind", "source": source,
               "options": ["bind"]}),
        json!({"destination": "/run/secrets/token", "type": "tmpfs", "source": "tmpfs"}),
    ]);
    host.write_config(Trigger::None);
    host.start();
    host.checkpoint()
}

fn empty_source() {
    let source = Path::new(SOURCES).join("secrets");
    fs::remove_dir_all(&source).unwrap();
    fs::create_dir(&source).unwrap();
}

fn fails(host: &Host) {
    empty_source();
    let log = host.restore().expect_err("the restore without premount");
    host.delete();
    assert!(
        log.contains("Can't stat mountpoint"),
        "CRIU failed otherwise: {log}"
    );
}

fn in_force(root: Root, runtime: Runtime, usr_is_read_only: bool) {
    download();
    let program = if usr_is_read_only {
        tool("mount", &["--bind", "/usr", "/usr"]);
        tool("mount", &["-o", "remount,bind,ro", "/usr"]);
        fs::create_dir("/usr/probe").expect_err("a read-only /usr");
        "/opt/premount/bin/premount"
    } else {
        PREMOUNT
    };
    let mut host = Host::new(root, runtime);
    let counted = start(&mut host);
    fails(&host);
    let ended = call(&["status"]);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(
        ended.stdout.contains("Remedy: run premount install"),
        "{}",
        ended.stdout
    );

    let mine: Vec<_> = [RUNC, CRUN, DEFAULT].map(|path| fs::read(path).ok()).into();
    succeeds(&["install"]);
    let said = succeeds(&["status"]);
    let named = format!("{} ", runtime.name());
    let line = said
        .lines()
        .find(|line| line.starts_with(&named))
        .expect(&said);
    assert!(line.contains(": action script in /etc/criu/"), "{said}");
    assert!(Path::new(program).is_file(), "{said}");
    empty_source();
    host.restore()
        .unwrap_or_else(|log| panic!("the restore with premount: {log}"));
    Host::wait_for_count(counted);
    host.checkpoint();
    host.delete();

    succeeds(&["uninstall"]);
    assert!(!Path::new(program).exists() && !Path::new("/opt/premount").exists());
    let left: Vec<_> = [RUNC, CRUN, DEFAULT].map(|path| fs::read(path).ok()).into();
    assert_eq!(left, mine, "what an administrator wrote");
    // As without premount: it fails, and not for a script that isn't there.
    fails(&host);
}

/// One line is in the file that counts, and premount is called once by it.
fn file_for_crun(root: Root) {
    download();
    let named = |path: &str| fs::read_to_string(path).unwrap_or_default().contains(LINE);
    let said = succeeds(&["install"]);
    match root {
        Root::Debian13 | Root::Checks => assert!(named(DEFAULT) && !named(RUNC), "{said}"),
        // crun reads runc's file where it has none, and one of premount's would hide it.
        Root::Sid => assert!(named(RUNC) && !Path::new(CRUN).exists(), "{said}"),
    }
    let json: Value = serde_json::from_str(&succeeds(&["status", "--format", "json"])).unwrap();
    for runtime in json["runtimes"].as_array().unwrap() {
        assert_eq!(
            runtime["action_script_by"].as_array().unwrap().len(),
            1,
            "{json}"
        );
        assert!(runtime["version"].is_string(), "{json}");
    }
    assert_eq!(json["runtimes"].as_array().unwrap().len(), 2, "{json}");
    for engine in ["podman", "containerd"] {
        let all = json["engines"].as_array().unwrap();
        assert!(
            all.iter()
                .any(|it| it["name"] == engine && it["version"].is_string()),
            "{json}"
        );
    }
    assert!(json["criu"][0]["version"].is_string(), "{json}");
}

fn too_old() {
    download();
    succeeds(&["install"]);
    // What a newer crun would read.
    fs::remove_file(DEFAULT).unwrap();
    fs::write(RUNC, LINE).unwrap();
    fs::write(CRUN, LINE).unwrap();
    let ended = call(&["status"]);
    assert_eq!(ended.status, 1);
    let wanted = "crun 1.21: nothing makes CRIU call premount: this crun or its CRIU is too old for crun.conf and \
                  runc.conf; CRIU reads only /etc/criu/default.conf\n    Remedy: run premount install\n";
    assert!(ended.stdout.contains(wanted), "{}", ended.stdout);
    succeeds(&["install"]);
    succeeds(&["status"]);
}

fn hidden() {
    download();
    succeeds(&["install"]);
    fs::write(CRUN, "tcp-close\n").unwrap();
    let ended = call(&["status"]);
    assert_eq!(ended.status, 1);
    let wanted = ": nothing makes CRIU call premount: /etc/criu/crun.conf does not name it, and hides \
                  /etc/criu/runc.conf\n    Remedy: run premount install\n";
    assert!(ended.stdout.contains(wanted), "{}", ended.stdout);
    succeeds(&["install"]);
    assert_eq!(
        succeeds(&["status"]).lines().last(),
        Some("No problems found.")
    );
}

/// systemd's journal, as it runs on a node.
struct Journal(Child);

impl Journal {
    fn start() -> Self {
        fs::create_dir_all("/run/systemd/journal").unwrap();
        let id = "0123456789abcdef0123456789abcdef\n";
        fs::write("/etc/machine-id", id).unwrap();
        let daemon = Command::new("/usr/lib/systemd/systemd-journald")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while !Path::new("/run/systemd/journal/socket").exists() {
            assert!(start.elapsed() < Duration::from_secs(20), "no journal");
            thread::sleep(Duration::from_millis(10));
        }
        Self(daemon)
    }

    /// premount's entries.
    fn entries() -> Vec<Value> {
        let output = Command::new("journalctl")
            .args([
                "--directory=/run/log/journal",
                "--output=json",
                "--all",
                "SYSLOG_IDENTIFIER=premount",
            ])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn journal(mut host: Host) {
    let journal = Journal::start();
    start(&mut host);
    for trigger in host.runtime.triggers() {
        if *trigger == Trigger::Hand {
            continue;
        }
        let before = Journal::entries().len();
        empty_source();
        host.write_config(*trigger);
        host.restore()
            .unwrap_or_else(|log| panic!("the restore with premount: {log}"));
        host.checkpoint();
        host.delete();
        let wanted = "/w/sources/secrets/token";
        let found = |entry: &Value| entry["PREMOUNT_PATH"] == wanted;
        let begin = Instant::now();
        let entry = loop {
            let entries = Journal::entries();
            if let Some(entry) = entries.iter().skip(before).find(|entry| found(entry)) {
                break entry.clone();
            }
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "{trigger:?}: {entries:?}"
            );
            thread::sleep(Duration::from_millis(50));
        };
        for (field, value) in [
            (
                "MESSAGE",
                "created directory path=\"/w/sources/secrets/token\" mount=\"/run/secrets/token\"",
            ),
            ("PREMOUNT_ACTION", "created"),
            ("PREMOUNT_MOUNT", "/run/secrets/token"),
            ("PREMOUNT_CONTAINER", "c1"),
            ("PREMOUNT_BUNDLE", BUNDLE),
            ("PRIORITY", "6"),
        ] {
            assert_eq!(entry[field], value, "{trigger:?}: {entry}");
        }
    }
    drop(journal);
}

/// A journal that takes what its queue holds, and then nothing more, for ever.
fn deaf() {
    fs::create_dir_all("/run/systemd/journal").unwrap();
    let journal = UnixDatagram::bind("/run/systemd/journal/socket").unwrap();
    let mut world = common::World::new();
    let volume = world.directory("volume");
    world.bind("volume", "/data");
    world.tmpfs("/data/inner");
    let mut were_heard = true;
    for run in 0..30 {
        let _ = fs::remove_dir(volume.join("inner"));
        let begin = Instant::now();
        let ended = common::premount(&["hook"], world.state().as_bytes(), &[]);
        assert!(begin.elapsed() < Duration::from_secs(10), "run {run}");
        assert_eq!(ended.status, 0, "run {run}: {ended:?}");
        assert!(
            ended.stderr.contains("created directory"),
            "run {run}: {ended:?}"
        );
        assert!(volume.join("inner").is_dir(), "run {run}");
    }
    // The queue is full by now: that is what this was about.
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    for _ in 0..1000 {
        were_heard &= sender.send_to(b"x", "/run/systemd/journal/socket").is_ok();
    }
    assert!(!were_heard, "the queue was never full");
    drop(journal);
}

fn lingering() {
    download();
    let program = "/usr/local/bin/crun";
    fs::create_dir_all("/usr/local/bin").unwrap();
    fs::write(program, "#!/bin/sh\necho crun version 9.9\nsleep 60 &\n").unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    let begin = Instant::now();
    let ended = call(&["status", "--format", "json"]);
    assert!(begin.elapsed() < Duration::from_secs(30), "it waits");
    assert!(ended.stdout.contains("\"9.9\""), "{ended:?}");
}
