// SPDX-License-Identifier: Apache-2.0
//! Random containers whose tasks hold things, and random damage to their rootfs and volumes: what `check` says
//! after `apply` is what CRIU does, and `explain` knows each of CRIU's errors.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::Test;
use crate::common::soak;
use crate::differential::{BASE, container, mount_base, remove_sockets, reset, unmount_trees};
use crate::enter::Root;
use crate::host::{BUNDLE, Host, IMAGES, Runtime, Trigger};
use crate::model::{Container, Seeded};
use crate::open_files::script;

/// Damaged containers of a runtime's in `make test`.
const VERDICTS: u64 = 50;

/// The tests: for each root and runtime.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for runtime in [Runtime::Runc, Runtime::Crun] {
            let name = format!("verdict::{}::is_what_criu_does", runtime.name());
            tests.push(Test::new(root, &name, move || verdicts(root, runtime)));
        }
    }
    tests
}

/// What came of a damaged container.
struct Verdict {
    restored: bool,
}

fn verdicts(root: Root, runtime: Runtime) {
    let (mut restored, mut failed, mut beyond) = (0, 0, 0);
    let mut seed = 0;
    while restored + failed < VERDICTS * u64::from(soak()) {
        let container = container(seed, runtime);
        match verdict(root, runtime, &container, seed) {
            Ok(Some(Verdict { restored: true })) => restored += 1,
            Ok(Some(Verdict { restored: false })) => failed += 1,
            Ok(None) => beyond += 1,
            Err(_) => {
                let fails = |smaller: &Container| verdict(root, runtime, smaller, seed).is_err();
                let smallest = container.shrunk(fails);
                let said = verdict(root, runtime, &smallest, seed).err();
                let said = said.unwrap_or_default();
                panic!("seed {seed}, at its smallest:\n{smallest}\n{said}");
            }
        }
        seed += 1;
    }
    println!(
        "{restored} restored and {failed} failed, as predicted; {beyond} more that can't be started, \
         checkpointed, or restored on the very host that they ran on"
    );
    assert!(restored > 0 && failed > 0, "these verdicts prove nothing");
}

/// None: the runtime or CRIU can't have this container. The error is a wrong verdict.
fn verdict(
    root: Root,
    runtime: Runtime,
    container: &Container,
    seed: u64,
) -> Result<Option<Verdict>, String> {
    let mut host = Host::new(root, runtime);
    let base = Path::new(BASE);
    mount_base();
    let after = |host: &Host| {
        host.delete();
        unmount_trees(container);
    };
    reset(container);
    host.set_cwd(&container.cwd);
    host.set_script(&script(&container.holders));
    host.set_rootfs(&base.join("0"));
    let mut mounts = container.mounts_json(base);
    mounts.retain(|mount| mount["destination"] != json!("/"));
    host.set_mounts(mounts);
    host.write_config(Trigger::None);
    if host.run().is_err() || !host.counts() || host.try_checkpoint().is_err() {
        after(&host);
        return Ok(None);
    }
    unmount_trees(container);
    let mut choices = Seeded::new(seed ^ 0x5eed);
    let keeps_sockets = choices.below(4) == 0;
    remove_sockets(base);
    let control = host.restore();
    after(&host);
    if control.is_err() {
        return Ok(None);
    }
    // CRIU has bound the sockets anew.
    if !keeps_sockets {
        remove_sockets(base);
    }
    let is_fresh = choices.below(2) == 0;
    if is_fresh {
        reset(container);
    }
    let mut done = vec![format!("fresh: {is_fresh}, sockets kept: {keeps_sockets}")];
    // Before premount is called or after it.
    let comes_after = choices.below(2) == 0;
    let damages = choices.below(4);
    let mut damage_all = |done: &mut Vec<String>| {
        for _ in 0..damages {
            done.extend(damage(base, &mut choices));
        }
    };
    if !comes_after {
        damage_all(&mut done);
    }
    host.put_count();
    let by_hand = |command: &[&str]| {
        let all = [command, &["--bundle", BUNDLE]].concat();
        Host::call_premount(&all)
    };
    let applied = by_hand(&["apply", "--append", "--images", IMAGES]);
    if comes_after {
        done.push("after apply".to_owned());
        damage_all(&mut done);
    }
    let check = by_hand(&["check", "--checkpoint", IMAGES, "--runtime", runtime.name()]);
    let restored = host.restore();
    if restored.is_err() && Host::has_restore_log() {
        Host::explain().map_err(|said| format!("{done:?}\nnot explained: {said}"))?;
    }
    after(&host);
    let is_right = (check.status == 0) == restored.is_ok();
    if is_right && check.status < 2 {
        return Ok(Some(Verdict {
            restored: restored.is_ok(),
        }));
    }
    Err(format!(
        "{done:?}\napply: {}{}\ncheck: {}{}\nCRIU: {restored:?}",
        applied.stdout, applied.stderr, check.stdout, check.stderr
    ))
}

/// Damages one thing below a directory, and says what it did.
fn damage(base: &Path, choices: &mut Seeded) -> Option<String> {
    let mut all = Vec::new();
    collect(base, &mut all);
    all.sort();
    if all.is_empty() {
        return None;
    }
    let at = &all[choices.below(all.len())];
    let metadata = fs::symlink_metadata(at).unwrap();
    let remove = || {
        if metadata.is_dir() {
            fs::remove_dir_all(at).unwrap();
        } else {
            fs::remove_file(at).unwrap();
        }
    };
    let what = match choices.below(6) {
        0 => {
            remove();
            "is gone"
        }
        1 if !metadata.is_symlink() => {
            let modes = [0o755, 0o700, 0o644, 0o1777, 0o4711];
            let mode = modes[choices.below(modes.len())];
            fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
            "has another mode"
        }
        2 if metadata.is_file() => {
            let mut content = fs::read(at).unwrap();
            content.push(b'x');
            fs::write(at, content).unwrap();
            "is longer"
        }
        3 if metadata.is_file() => {
            fs::write(at, "").unwrap();
            "is empty"
        }
        4 => {
            remove();
            fs::write(at, "x").unwrap();
            "is a file"
        }
        5 => {
            remove();
            fs::create_dir(at).unwrap();
            "is a directory"
        }
        // Not a FIFO: CRIU would wait for its other end.
        _ => return None,
    };
    Some(format!("{} {what}", at.display()))
}

/// All but the programs, and what a runtime or the test puts there.
fn collect(directory: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let is_tree = directory == Path::new(BASE);
        let own = ["bin", "dev", "proc", "run", "count"];
        let is_own = directory == Path::new(BASE).join("0")
            && own.iter().any(|name| entry.file_name() == *name);
        if is_own || kind.is_socket() {
            continue;
        }
        if kind.is_dir() {
            collect(&path, all);
        }
        if !is_tree {
            all.push(path);
        }
    }
}
