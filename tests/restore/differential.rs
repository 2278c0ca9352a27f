// SPDX-License-Identifier: Apache-2.0
//! Random containers, each started by a real runtime: what that makes in the rootfs and the sources
//! is what premount makes in a pristine copy of them. And the same containers through checkpoint,
//! an emptied host and restore.
//!
//! premount follows runc where the two differ. crun takes `..` in a destination as it comes, gives the
//! mountpoint of a tmpfs the sticky bit, and files mode 0700 (runc before 1.2: 0755, since then 0644).
//! So modes are compared without the sticky bit, and for directories alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::Test;
use crate::common::soak;
use crate::enter::Root;
use crate::host::{BUNDLE, Host, IMAGES, Runtime, Trigger, mountpoints_of, tool};
use crate::model::{Container, kernel, tree_path};
use crate::open_files::{add_holder, script};

/// Containers of a runtime's in `make test`.
const STARTS: u64 = 150;
const RESTORES: u64 = 75;

/// The tests: for each root and runtime, starts and restores.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for root in Root::ALL {
        for runtime in [Runtime::Runc, Runtime::Crun] {
            let name = |what| format!("differential::{}::{what}", runtime.name());
            tests.push(Test::new(root, &name("first_starts"), move || {
                starts(root, runtime);
            }));
            tests.push(Test::new(root, &name("restores"), move || {
                restores(root, runtime);
            }));
        }
    }
    tests
}

/// The container of a seed, as the runtime can have it.
pub fn container(seed: u64, runtime: Runtime) -> Container {
    let mut container = Container::from_seed(seed);
    if runtime == Runtime::Crun {
        for mount in &mut container.mounts {
            mount.destination = format!("/{}", kernel::clean(&mount.destination));
        }
    }
    container
}

fn starts(root: Root, runtime: Runtime) {
    let (mut started, mut refused) = (0, 0);
    let mut seed = 0;
    while started < STARTS * u64::from(soak()) {
        let container = container(seed, runtime);
        match difference(root, runtime, &container) {
            Ok(true) => started += 1,
            Ok(false) => refused += 1,
            Err(_) => {
                let fails = |smaller: &Container| difference(root, runtime, smaller).is_err();
                let smallest = container.shrunk(fails);
                let difference = difference(root, runtime, &smallest).unwrap_err();
                panic!("seed {seed}, at its smallest:\n{smallest}\n{difference}");
            }
        }
        seed += 1;
    }
    println!("{started} containers started, {refused} that the runtime refused to start");
}

type InodeTexts = BTreeMap<PathBuf, String>;

/// Starts the container, and lets premount prepare a copy. Says whether the runtime started it; the
/// error is what differs.
fn difference(root: Root, runtime: Runtime, container: &Container) -> Result<bool, String> {
    let mut host = Host::new(root, runtime);
    let outside = list_root();
    let [theirs, ours] = ["/w/theirs", "/w/ours"].map(Path::new);
    for base in [theirs, ours] {
        let _ = fs::remove_dir_all(base);
        container.build(base);
        prepare_rootfs(&tree_path(base, 0));
    }
    host.set_cwd(&container.cwd);
    host.set_rootfs(&tree_path(theirs, 0));
    host.set_mounts(container.mounts_json(theirs));
    host.write_config(Trigger::None);
    let started = host.create();
    host.delete();

    host.set_rootfs(&tree_path(ours, 0));
    host.set_mounts(container.mounts_json(ours));
    host.write_config(Trigger::None);
    let applied = Host::call_premount(&["apply", "--bundle", BUNDLE]);
    let here = list_root();
    if here != outside {
        return Err(format!("outside of the container: {outside:?} is {here:?}"));
    }
    let before = fs::read_dir(ours).unwrap().count();
    if before != container.trees.len() {
        return Err("there is something new beside the sources".to_owned());
    }
    if started.is_err() {
        return Ok(false);
    }
    if applied.status != 0 {
        return Err(format!(
            "the runtime started it, and premount: {}",
            applied.stderr
        ));
    }
    for tree in 0..container.trees.len() {
        let (theirs, ours) = (
            inodes(&tree_path(theirs, tree)),
            inodes(&tree_path(ours, tree)),
        );
        if theirs != ours {
            return Err(format!(
                "tree {tree}:\n  {runtime:?} {theirs:?}\n  premount {ours:?}"
            ));
        }
    }
    Ok(true)
}

/// What every container has, beyond the random.
fn prepare_rootfs(rootfs: &Path) {
    Host::add_programs(rootfs);
    fs::create_dir(rootfs.join("dev")).unwrap();
    fs::create_dir(rootfs.join("proc")).unwrap();
}

fn list_root() -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = fs::read_dir("/")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names
}

/// All below a directory: kind, owner, and of directories the mode.
fn inodes(top: &Path) -> InodeTexts {
    let mut found = InodeTexts::new();
    collect(top, top, &mut found);
    found
}

fn collect(top: &Path, at: &Path, found: &mut InodeTexts) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let inode = fs::symlink_metadata(&path).unwrap();
        let owner = format!("{}:{}", inode.uid(), inode.gid());
        let what = if inode.is_dir() {
            format!(
                "directory {:o} {owner}",
                inode.permissions().mode() & 0o6777
            )
        } else if inode.is_symlink() {
            format!("link {} {owner}", fs::read_link(&path).unwrap().display())
        } else {
            format!("file of {} bytes {owner}", inode.size())
        };
        found.insert(path.strip_prefix(top).unwrap().to_owned(), what);
        if inode.is_dir() {
            collect(top, &path, found);
        }
    }
}

fn restores(root: Root, runtime: Runtime) {
    let (mut restored, mut beyond, mut needed) = (0, 0, 0);
    for seed in 0.. {
        if restored == RESTORES * u64::from(soak()) {
            break;
        }
        match restore(root, runtime, &container(seed, runtime)) {
            Ok(Some(Restored { failed_without })) => {
                restored += 1;
                needed += u64::from(failed_without);
            }
            Ok(None) => beyond += 1,
            Err(_) => {
                let fails = |smaller: &Container| restore(root, runtime, smaller).is_err();
                let smallest = container(seed, runtime).shrunk(fails);
                let said = restore(root, runtime, &smallest).err().unwrap_or_default();
                panic!("seed {seed}, at its smallest:\n{smallest}\n{said}");
            }
        }
    }
    println!(
        "{restored} containers restored, of which {needed} fail without premount; {beyond} more \
         that can't be started, checkpointed, or restored on the very host that they ran on"
    );
    assert!(needed > 0, "these restores prove nothing");
}

/// Where the trees of a restored container are.
pub const BASE: &str = "/w/restored";

/// Puts the trees on a tmpfs: CRIU finds no path for a watch on overlayfs.
pub fn mount_base() {
    fs::create_dir_all(BASE).unwrap();
    if !mountpoints_of("self").iter().any(|at| at == BASE) {
        tool("mount", &["-t", "tmpfs", "tmpfs", BASE]);
    }
}

/// Makes the trees as they were before the first start.
pub fn reset(container: &Container) {
    let base = Path::new(BASE);
    for tree in fs::read_dir(base).unwrap() {
        fs::remove_dir_all(tree.unwrap().path()).unwrap();
    }
    container.build(base);
    let rootfs = tree_path(base, 0);
    prepare_rootfs(&rootfs);
    add_holder(&rootfs);
}

/// Unmounts what a runtime has left in the trees.
pub fn unmount_trees(container: &Container) {
    for tree in 0..container.trees.len() {
        Host::unmount_below(&tree_path(Path::new(BASE), tree));
    }
}

pub fn remove_sockets(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_socket() {
            fs::remove_file(entry.path()).unwrap();
        } else if kind.is_dir() {
            remove_sockets(&entry.path());
        }
    }
}

struct Restored {
    failed_without: bool,
}

/// None: the runtime or CRIU can't have this container, with or without premount.
fn restore(
    root: Root,
    runtime: Runtime,
    container: &Container,
) -> Result<Option<Restored>, String> {
    let mut host = Host::new(root, runtime);
    let base = Path::new(BASE);
    mount_base();
    let reset = || reset(container);
    let after = |host: &Host| {
        host.delete();
        unmount_trees(container);
    };
    reset();
    host.set_cwd(&container.cwd);
    host.set_script(&script(&container.holders));
    host.set_rootfs(&tree_path(base, 0));
    let mut mounts = container.mounts_json(base);
    mounts.retain(|mount| mount["destination"] != json!("/"));
    host.set_mounts(mounts);
    host.write_config(Trigger::None);
    if host.run().is_err() || !host.counts() {
        after(&host);
        return Ok(None);
    }
    if host.try_checkpoint().is_err() {
        after(&host);
        return Ok(None);
    }
    unmount_trees(container);
    // On the host as the container left it, but for the sockets, which CRIU binds anew: if that fails, it is
    // nothing of premount's.
    remove_sockets(base);
    let control = host.restore();
    after(&host);
    if control.is_err() {
        return Ok(None);
    }
    reset();
    let alone = host.restore();
    after(&host);
    reset();
    let applied =
        Host::call_premount(&["apply", "--append", "--bundle", BUNDLE, "--images", IMAGES]);
    let with = host.restore();
    after(&host);
    match with {
        Ok(()) => Ok(Some(Restored {
            failed_without: alone.is_err(),
        })),
        Err(said) => Err(format!("premount: {}\n{said}", applied.stderr)),
    }
}
