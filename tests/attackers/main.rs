// SPDX-License-Identifier: Apache-2.0
//! A container that works against premount while it runs: a live thread exchanges a component of a
//! path with something else, at every depth (CVE-2021-30465, CVE-2021-25741, CVE-2017-1002101).
//!
//! What may come of it: the mountpoint is made in the source or in the rootfs, or premount fails.
//! What may not: anything changes anywhere else, or anything that was there does. First the same
//! attack is shown to work on a program that creates by path.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::indexing_slicing, clippy::print_stdout)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use premount::budget::Budget;
use premount::config::Config;
use premount::create::create;
use premount::plan::Plan;
use premount::sys;
use serde_json::json;

/// Runs for each attack; `PREMOUNT_SOAK` multiplies them.
const RUNS: u64 = 160;
/// Runs until the world is made anew, each with a mountpoint of its own.
const RUNS_IN_A_WORLD: u64 = 40;

/// The switch to walking by component is the whole process's: one attack at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// What the container puts in the place of a component.
#[derive(Clone, Copy, Debug)]
enum Instead {
    /// A link by an absolute path of the host's.
    AbsoluteLink,
    /// A link that climbs out of the source.
    RelativeLink,
    /// A link to the host's root through procfs.
    ProcLink,
    File,
    Fifo,
    /// A device, where one may make one; else another FIFO.
    Device,
}

const ALL: [Instead; 6] = [
    Instead::AbsoluteLink,
    Instead::RelativeLink,
    Instead::ProcLink,
    Instead::File,
    Instead::Fifo,
    Instead::Device,
];

/// Which mountpoint is to be made below `/v/a/b/c`.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Directory,
    File,
}

/// The directory that the container attacks in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    Source,
    Rootfs,
}

/// A host: `source` and `rootfs` are the container's, everything else isn't.
struct Host {
    directory: tempfile::TempDir,
    at: Where,
    wanted: Wanted,
}

const CHAIN: [&str; 3] = ["a", "a/b", "a/b/c"];

impl Host {
    fn new(at: Where, wanted: Wanted) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        for path in ["rootfs", "source", "other"] {
            fs::create_dir(base.join(path)).unwrap();
        }
        fs::write(base.join("file"), "").unwrap();
        // Wherever a link leads, the rest of the path is there: by path, creation would go through.
        for path in ["b/c", "c", "a/b/c"] {
            fs::create_dir_all(base.join("outside").join(path)).unwrap();
        }
        let host = Self {
            directory,
            at,
            wanted,
        };
        host.reset();
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// The directory that the chain `a/b/c` is in.
    fn attacked(&self) -> PathBuf {
        match self.at {
            Where::Source => self.path("source"),
            Where::Rootfs => self.path("rootfs/v"),
        }
    }

    /// Makes the container's directories as they were.
    fn reset(&self) {
        for path in ["rootfs", "source"] {
            let _ = fs::remove_dir_all(self.path(path));
            fs::create_dir_all(self.path(path)).unwrap();
        }
        fs::create_dir_all(self.path("rootfs/v")).unwrap();
        fs::create_dir_all(self.attacked().join("a/b/c")).unwrap();
    }

    fn config(&self, number: u64) -> Config {
        let destination = format!("/v/a/b/c/m{number}/n");
        let mut mounts = Vec::new();
        if self.at == Where::Source {
            let source = self.path("source");
            mounts.push(json!({"destination": "/v", "source": source, "options": ["bind"]}));
        }
        mounts.push(match self.wanted {
            Wanted::Directory => json!({"destination": destination, "type": "tmpfs"}),
            Wanted::File => {
                let file = self.path("file");
                json!({"destination": destination, "source": file, "options": ["bind"]})
            }
        });
        let config = json!({"root": {"path": "rootfs"}, "mounts": mounts}).to_string();
        Config::parse(&config, &self.path("config.json"), self.directory.path()).unwrap()
    }

    /// What is not the container's, by all that would change.
    fn outside(&self) -> Vec<(PathBuf, u64, i64, i64)> {
        let mut all = Vec::new();
        for path in ["outside", "other", "file"] {
            note(&self.path(path), &mut all);
        }
        all.extend(
            fs::read_dir(self.directory.path())
                .unwrap()
                .map(|entry| (entry.unwrap().path(), 0, 0, 0)),
        );
        all.sort();
        all
    }
}

fn note(path: &Path, all: &mut Vec<(PathBuf, u64, i64, i64)>) {
    use std::os::unix::fs::MetadataExt;
    let inode = fs::symlink_metadata(path).unwrap();
    all.push((
        path.to_owned(),
        inode.size(),
        inode.ctime(),
        inode.ctime_nsec(),
    ));
    if inode.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            note(&entry.unwrap().path(), all);
        }
    }
}

/// Exchanges the component at `depth` back and forth while `run` is called again and again. Gives how
/// many exchanges there were, and the worlds in which something outside changed.
fn attack(
    host: &Host,
    depth: usize,
    instead: Instead,
    runs: u64,
    run: impl Fn(&Host, u64),
) -> (u64, u64) {
    let outside = host.path("outside");
    let evil = host.attacked().join("evil");
    let put_evil = || {
        let deeper = CHAIN[depth].matches('/').count();
        let target = match instead {
            Instead::AbsoluteLink => outside.clone(),
            // From the directory that the component is in.
            Instead::RelativeLink => {
                let up = deeper + if host.at == Where::Source { 1 } else { 2 };
                PathBuf::from("../".repeat(up)).join("outside")
            }
            Instead::ProcLink => {
                Path::new("/proc/self/root").join(outside.strip_prefix("/").unwrap())
            }
            Instead::File => return fs::write(&evil, "").unwrap(),
            Instead::Device if nix::unistd::geteuid().is_root() => {
                // /dev/zero: to open it for reading would never end.
                let device = nix::sys::stat::makedev(1, 5);
                let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
                return nix::sys::stat::mknod(&evil, nix::sys::stat::SFlag::S_IFCHR, mode, device)
                    .unwrap();
            }
            Instead::Fifo | Instead::Device => {
                let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
                return nix::unistd::mkfifo(&evil, mode).unwrap();
            }
        };
        symlink(target, &evil).unwrap();
    };
    let component = host.attacked().join(CHAIN[depth]);
    let (phase, mut escapes) = (AtomicU8::new(REST), 0);
    let exchanges = std::thread::scope(|scope| {
        let attacker = scope.spawn(|| exchange(&phase, &evil, &component));
        // Also where a run panics: the thread would go on for ever, and this scope with it.
        let end = End(&phase);
        let mut before = host.outside();
        for _ in 0..runs / RUNS_IN_A_WORLD {
            // The world is made anew in peace, and then there is war.
            phase.store(REST, Ordering::SeqCst);
            while phase.load(Ordering::SeqCst) != RESTING {
                std::thread::yield_now();
            }
            host.reset();
            put_evil();
            phase.store(WAR, Ordering::SeqCst);
            for number in 0..RUNS_IN_A_WORLD {
                run(host, number);
            }
            let after = host.outside();
            if after != before {
                escapes += 1;
                before = after;
            }
        }
        drop(end);
        attacker.join().unwrap()
    });
    (exchanges, escapes)
}

const REST: u8 = 0;
const RESTING: u8 = 1;
const WAR: u8 = 2;
const END: u8 = 3;

struct End<'a>(&'a AtomicU8);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(END, Ordering::SeqCst);
    }
}

/// The attacker: exchanges while it may. Gives how often.
fn exchange(phase: &AtomicU8, evil: &Path, component: &Path) -> u64 {
    let mut exchanges = 0;
    loop {
        match phase.load(Ordering::SeqCst) {
            WAR => {
                let flags = RenameFlags::RENAME_EXCHANGE;
                exchanges +=
                    u64::from(renameat2(AT_FDCWD, evil, AT_FDCWD, component, flags).is_ok());
            }
            END => return exchanges,
            _ => {
                let _ = phase.compare_exchange(REST, RESTING, Ordering::SeqCst, Ordering::SeqCst);
                std::thread::yield_now();
            }
        }
    }
}

fn premount(host: &Host, number: u64) {
    let config = host.config(number);
    let owner = config.owner.clone();
    let mut plan = Plan::new(config, &[], Budget::default()).unwrap();
    create(&mut plan, &owner);
}

fn soak() -> u64 {
    std::env::var("PREMOUNT_SOAK")
        .ok()
        .map_or(1, |times| times.parse().unwrap())
}

fn attack_premount() -> (u64, u64) {
    let (mut runs, mut all) = (0, 0);
    for at in [Where::Source, Where::Rootfs] {
        for wanted in [Wanted::Directory, Wanted::File] {
            for instead in ALL {
                for depth in 0..CHAIN.len() {
                    let host = Host::new(at, wanted);
                    let each = RUNS * soak();
                    let (exchanges, escapes) = attack(&host, depth, instead, each, premount);
                    assert_eq!(escapes, 0, "{at:?} {wanted:?} {instead:?} at depth {depth}");
                    runs += each;
                    all += exchanges;
                }
            }
        }
    }
    (runs, all)
}

#[test]
fn creation_by_path_is_led_out_of_the_source() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for instead in [
        Instead::AbsoluteLink,
        Instead::RelativeLink,
        Instead::ProcLink,
    ] {
        let host = Host::new(Where::Source, Wanted::Directory);
        let naive = |host: &Host, number: u64| {
            let _ = fs::create_dir_all(host.path(&format!("source/a/b/c/m{number}/n")));
        };
        let (_, escapes) = attack(&host, 1, instead, 2000, naive);
        assert!(escapes > 0, "this attack proves nothing");
    }
}

#[test]
fn premount_is_not_led_out_of_the_source() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let (runs, exchanges) = attack_premount();
    println!("{runs} runs against {exchanges} exchanges");
}

/// In a process of its own: what it switches off stays off.
#[test]
#[ignore = "called by the test below"]
fn premount_by_component() {
    sys::do_without_openat2();
    let (runs, exchanges) = attack_premount();
    println!("{runs} runs against {exchanges} exchanges, without openat2");
}

#[test]
fn premount_is_not_led_out_of_the_source_without_openat2_either() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "premount_by_component",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{output:?}"
    );
    print!("{said}");
}

#[test]
fn links_to_anywhere_are_the_containers_own_paths() {
    for target in [
        "/proc/self/root/etc",
        "/proc/self/cwd",
        "/etc",
        "/../../../etc",
        "../../../../../../../etc",
    ] {
        for at in [Where::Source, Where::Rootfs] {
            let host = Host::new(at, Wanted::Directory);
            fs::remove_dir_all(host.attacked().join("a")).unwrap();
            symlink(target, host.attacked().join("a")).unwrap();
            let before = host.outside();
            premount(&host, 0);
            assert_eq!(host.outside(), before, "{target}");
            assert!(!Path::new("/etc/b").exists());
            // Resolved in the container's view, all of it lies in the rootfs.
            let shown = target.rsplit('/').next().unwrap();
            let path = if target.starts_with("/proc") {
                target
            } else {
                "/etc"
            };
            let made = host
                .path("rootfs")
                .join(path.trim_start_matches('/'))
                .join("b/c/m0/n");
            assert!(made.is_dir(), "{shown}: {}", made.display());
        }
    }
}
