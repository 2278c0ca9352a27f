// SPDX-License-Identifier: Apache-2.0
//! A container that works against premount while it runs: a live thread exchanges a component of a
//! path with something else, at every depth (CVE-2021-30465, CVE-2021-25741, CVE-2017-1002101).
//!
//! What may come of it: the mountpoint is made in the source or in the rootfs, or premount fails.
//! What may not: anything changes anywhere else, or anything that was there does. First the same
//! attack is shown to work on a program that creates by path.
//!
//! A binary of its own: the attacks need the processors for themselves, the switch that has premount walk by
//! component is the whole process's, and so is the umask that it clears.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![allow(clippy::indexing_slicing, clippy::print_stdout)]

mod attacked_host;
#[path = "../common/mod.rs"]
mod common;
mod exchange;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;

use premount::internals::{
    Checkpoint, MountpointKind, OpenFile, OpenFiles, OpenKind, Plan, PlanOptions, RelPath, create,
    do_without_openat2, parse,
};

use attacked_host::{ALL, AttackedHost, AttackedIn, CHAIN, Instead};
use common::mount_image::{entry, image};
use common::soak;
use exchange::attack;

/// Runs for each attack; `PREMOUNT_SOAK` multiplies them.
const RUNS: u64 = 160;

/// The switch to walking by component is the whole process's: one attack at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn premount(host: &AttackedHost, number: u64) {
    let config = host.config(number);
    let owner = config.owner.clone();
    let mut plan = Plan::new(config, &Checkpoint::default(), PlanOptions::default()).unwrap();
    create(&mut plan, &owner);
}

/// The same for what tasks hold open, none of which the configuration has.
fn premount_open_files(host: &AttackedHost, number: u64) {
    let mut config = host.config(number);
    config.mounts.retain(|mount| mount.written == "/v");
    let mut mounts = vec![entry(1, 0, 1, "/rootfs", "/")];
    if host.at == AttackedIn::Source {
        let mut source = entry(2, 1, 2, "/source", "/v");
        source.ext_key = Some(b"/v".to_vec());
        mounts.push(source);
    }
    let open = |name: &str, kind| OpenFile {
        id: 1,
        mount: None,
        path: RelPath::from_absolute(format!("/v/a/b/c/m{number}/{name}").as_bytes()).unwrap(),
        kind,
        mode: None,
        size: None,
        build_id: None,
    };
    let files = vec![
        open("directory", OpenKind::Directory),
        open("empty", OpenKind::EmptyFile),
        open("fifo", OpenKind::Fifo),
        open("socket/of", OpenKind::SocketDirectory),
    ];
    let checkpoint = Checkpoint {
        namespaces: vec![parse(&image(&mounts), Path::new("mountpoints-1.img")).unwrap()],
        files: OpenFiles::Known(files),
        ..Checkpoint::default()
    };
    let owner = config.owner.clone();
    let mut plan = Plan::new(config, &checkpoint, PlanOptions::default()).unwrap();
    create(&mut plan, &owner);
}

#[test]
fn what_tasks_hold_open_is_not_made_elsewhere() {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // In peace all of it is made.
    let host = AttackedHost::new(AttackedIn::Source, MountpointKind::Directory);
    premount_open_files(&host, 0);
    for made in ["directory", "empty", "fifo", "socket/of"] {
        assert!(
            host.attacked().join("a/b/c/m0").join(made).exists(),
            "{made}"
        );
    }
    let (mut runs, mut all) = (0, 0);
    for at in [AttackedIn::Source, AttackedIn::Rootfs] {
        for instead in ALL {
            for depth in 0..CHAIN.len() {
                let host = AttackedHost::new(at, MountpointKind::Directory);
                let each = RUNS * u64::from(soak());
                let (exchanges, escapes) = attack(&host, depth, instead, each, premount_open_files);
                assert_eq!(escapes, 0, "{at:?} {instead:?} at depth {depth}");
                runs += each;
                all += exchanges;
            }
        }
    }
    println!("{runs} runs against {all} exchanges");
}

fn attack_premount() -> (u64, u64) {
    let (mut runs, mut all) = (0, 0);
    for at in [AttackedIn::Source, AttackedIn::Rootfs] {
        for wanted in [MountpointKind::Directory, MountpointKind::File] {
            for instead in ALL {
                for depth in 0..CHAIN.len() {
                    let host = AttackedHost::new(at, wanted);
                    let each = RUNS * u64::from(soak());
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
        let host = AttackedHost::new(AttackedIn::Source, MountpointKind::Directory);
        let naive = |host: &AttackedHost, number: u64| {
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
    do_without_openat2();
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
        for at in [AttackedIn::Source, AttackedIn::Rootfs] {
            let host = AttackedHost::new(at, MountpointKind::Directory);
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
