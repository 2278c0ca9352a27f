// SPDX-License-Identifier: Apache-2.0
//! Every case of the table with every runtime and trigger that it is for: the restore fails without
//! premount where it does, succeeds with it, and changes nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Test;
use crate::cases::{CASES, From, Made, MatrixCase, Reset, Source};
use crate::enter::Root;
use crate::host::{Host, InodeSnapshot, SOURCES, Trigger, rootfs, snapshot, tool};

/// The tests of the matrix.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for case in CASES {
            for &runtime in case.runtimes {
                for &trigger in runtime.triggers() {
                    let name = format!("{}::{}::{}", runtime.name(), trigger.name(), case.name);
                    tests.push(Test::new(root, &name, move || {
                        restore(case, Host::new(root, runtime), trigger);
                    }));
                }
            }
        }
    }
    tests
}

fn restore(case: &MatrixCase, mut host: Host, trigger: Trigger) {
    let mut generation = 0;
    make_sources(case, generation);
    for (link, target) in case.links {
        let link = rootfs().join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, link).unwrap();
    }
    host.set_mounts(mounts(case, generation));
    host.write_config(trigger);
    host.start();
    let before_first = host.mountpoints();
    let counted = host.checkpoint();

    let reset = |host: &mut Host, generation: &mut u32| {
        remove_sources(case, *generation);
        if case.reset == Reset::BrandNew {
            *generation += 1;
        }
        make_sources(case, *generation);
        host.set_mounts(mounts(case, *generation));
    };

    // What CRIU says by itself.
    reset(&mut host, &mut generation);
    host.write_config(Trigger::None);
    let alone = host.restore();
    host.delete();
    if case.fails_without.contains(&host.runtime) {
        let log = alone.expect_err("the restore without premount");
        assert!(
            log.contains("Can't stat mountpoint"),
            "CRIU failed otherwise: {log}"
        );
    } else {
        alone.unwrap_or_else(|said| panic!("the restore without premount: {said}"));
    }

    // And with premount.
    reset(&mut host, &mut generation);
    let pristine = snapshots(case, generation);
    host.write_config(trigger);
    if trigger == Trigger::Hand {
        Host::apply();
    }
    host.restore()
        .unwrap_or_else(|said| panic!("the restore with premount: {said}"));
    Host::wait_for_count(counted);
    assert_eq!(
        before_first,
        host.mountpoints(),
        "the mounts are those of before"
    );
    assert_only_made(&pristine, &snapshots(case, generation), case.made);
    let counted = host.checkpoint();

    // Once more, and there is nothing left to do.
    let done = snapshots(case, generation);
    if trigger == Trigger::Hand {
        Host::apply();
    }
    host.restore()
        .unwrap_or_else(|said| panic!("the second restore: {said}"));
    Host::wait_for_count(counted);
    assert_eq!(
        snapshots(case, generation),
        done,
        "the second restore creates nothing"
    );
    host.delete();
}

fn source_path(name: &str, generation: u32) -> PathBuf {
    Path::new(SOURCES).join(generation.to_string()).join(name)
}

fn mounts(case: &MatrixCase, generation: u32) -> Vec<Value> {
    let mount = |mount: &crate::cases::MatrixMount| match mount.from {
        From::Tmpfs(options) => {
            json!({"destination": mount.at, "type": "tmpfs", "source": "tmpfs", "options": options})
        }
        From::Source(name, options) => {
            let path = source_path(name, generation);
            json!({"destination": mount.at, "type": "bind", "source": path, "options": options})
        }
        From::Relative(name, options) => {
            let path = Path::new("../sources")
                .join(generation.to_string())
                .join(name);
            json!({"destination": mount.at, "source": path, "options": options})
        }
    };
    case.mounts.iter().map(mount).collect()
}

/// Makes the sources, each directory with something in it that must stay as it is.
fn make_sources(case: &MatrixCase, generation: u32) {
    for (name, source) in case.sources {
        let path = source_path(name, generation);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match source {
            Source::File => {
                fs::write(&path, "content").unwrap();
                continue;
            }
            Source::Directory => fs::create_dir(&path).unwrap(),
            Source::Tmpfs => {
                fs::create_dir(&path).unwrap();
                tool("mount", &["-t", "tmpfs", "tmpfs", path.to_str().unwrap()]);
            }
            Source::WithHostMount(below) => {
                fs::create_dir(&path).unwrap();
                let below = path.join(below);
                fs::create_dir(&below).unwrap();
                tool("mount", &["-t", "tmpfs", "tmpfs", below.to_str().unwrap()]);
                fs::write(below.join("of the host"), "").unwrap();
            }
        }
        fs::write(path.join("kept"), "kept").unwrap();
        fs::set_permissions(path.join("kept"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(path.join("kept directory")).unwrap();
        fs::set_permissions(
            path.join("kept directory"),
            fs::Permissions::from_mode(0o700),
        )
        .unwrap();
    }
}

fn remove_sources(case: &MatrixCase, generation: u32) {
    for (name, source) in case.sources.iter().rev() {
        let path = source_path(name, generation);
        match source {
            Source::File | Source::Directory => {}
            Source::Tmpfs => tool("umount", &[path.to_str().unwrap()]),
            Source::WithHostMount(below) => tool("umount", &[path.join(below).to_str().unwrap()]),
        }
    }
    fs::remove_dir_all(Path::new(SOURCES).join(generation.to_string())).unwrap();
}

type Snapshots = BTreeMap<&'static str, BTreeMap<PathBuf, InodeSnapshot>>;

fn snapshots(case: &MatrixCase, generation: u32) -> Snapshots {
    let snapshot =
        |&(name, _): &(&'static str, Source)| (name, snapshot(&source_path(name, generation)));
    case.sources.iter().map(snapshot).collect()
}

/// All that was there is as it was, and `what` is new: nothing else.
fn assert_only_made(before: &Snapshots, after: &Snapshots, what: &[Made]) {
    let mut expected = before.clone();
    for made in what {
        let (source, path, permissions) = match *made {
            Made::Directory(source, path) => (source, path, 0o40_755),
            Made::File(source, path) => (source, path, 0o100_644),
        };
        let path = PathBuf::from(path);
        let new = after.get(source).and_then(|inodes| inodes.get(&path));
        let new = new.unwrap_or_else(|| panic!("{source}/{} was not made", path.display()));
        assert_eq!(
            (new.mode, new.uid, new.gid),
            (permissions, 0, 0),
            "{source}/{}",
            path.display()
        );
        assert!(new.content.as_ref().is_none_or(Vec::is_empty));
        let old = expected.get_mut(source).unwrap().insert(path, new.clone());
        assert!(old.is_none(), "the mountpoint was there before");
    }
    assert_eq!(after, &expected, "something else changed in the sources");
}
