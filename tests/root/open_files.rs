// SPDX-License-Identifier: Apache-2.0
//! As whom premount creates what tasks held open: as the task, if the container's user is root; else as the
//! container's user. The kernel refuses what they could not have created.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::file_image::{
    FILES, FileEntry, core, directory, file, image, working_directory,
};
use crate::common::mount_image::{container, entry, image as image_of_mounts};
use crate::common::{Ended, World, premount, skipped_without_root, user_namespace};

/// The holder of file 1: its user, group and groups.
type Holder<'a> = (u32, u32, &'a [u32]);

/// A directory's user, group and mode.
type Owned = (u32, u32, u32);

/// The container's user, the volume, the holder, and the owner of what is made.
type Case<'a> = (u32, Owned, Holder<'a>, Option<(u32, u32)>);

/// A world with a volume at /data that belongs to `owner`, and a checkpoint.
struct Checkpointed {
    world: World,
}

impl Checkpointed {
    fn new(user: u32, volume: Owned, holder: Holder, files: &[FileEntry]) -> Self {
        let mut world = World::new();
        world.directory("bundle/rootfs/data");
        world.directory("vol");
        world.bind("vol", "/data");
        let here = Self { world };
        here.set("vol", volume);
        here.configure(&json!({
            "process": {"user": {"uid": user, "gid": user},
                        "capabilities": {"bounding": ["CAP_DAC_OVERRIDE"]}},
        }));
        here.world.directory("images");
        here.write("mountpoints-12.img", &image_of_mounts(&container()));
        here.write("files.img", &image(FILES, files));
        here.write("fs-1.img", &working_directory(1));
        here.write("core-1.img", &core(holder.0, holder.1, holder.2));
        here
    }

    fn set(&self, path: &str, (uid, gid, mode): Owned) {
        let path = self.world.path(path);
        chown(&path, Some(uid), Some(gid)).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    fn configure(&self, more: &Value) {
        let mut config = self.world.config();
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.world.write_config(&config);
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.world.path("images").join(name), bytes).unwrap();
    }

    fn apply(&self) -> Ended {
        let (bundle, images) = (self.world.bundle(), self.world.path("images"));
        let images = images.to_str().unwrap();
        premount(
            &["apply", "--bundle", &bundle, "--images", images],
            b"",
            &[],
        )
    }

    /// Mode and owner of what is at a path of the volume; none if nothing is.
    fn made(&self, path: &str) -> Option<(u32, u32, u32)> {
        let path: PathBuf = self.world.path("vol").join(path);
        let inode = fs::symlink_metadata(path).ok()?;
        Some((inode.mode() & 0o7777, inode.uid(), inode.gid()))
    }
}

#[test]
fn what_a_task_holds_is_made_as_the_task() {
    if skipped_without_root("become another user") {
        return;
    }
    let files = || [directory(1, "/data/x/y", 0o700)];
    let open = (0, 0, 0o777);
    let cases: [Case; 12] = [
        (0, open, (1000, 1001, &[]), Some((1000, 1001))),
        (
            0,
            (1000, 1000, 0o700),
            (1000, 1001, &[]),
            Some((1000, 1001)),
        ),
        // Root made it for the task.
        (0, (0, 0, 0o755), (1000, 1001, &[]), Some((0, 0))),
        (0, (7, 7, 0o700), (1000, 1001, &[]), Some((0, 0))),
        // By one of its groups, and with the group of a set-group-ID directory.
        (0, (0, 7, 0o775), (1000, 1001, &[6, 7]), Some((1000, 1001))),
        (0, (0, 7, 0o2775), (1000, 1001, &[7]), Some((1000, 7))),
        (0, (0, 7, 0o775), (1000, 1001, &[6]), Some((0, 0))),
        // A container whose user is not root can't have become another.
        (1000, open, (0, 0, &[]), Some((1000, 1000))),
        (1000, open, (7, 7, &[]), Some((1000, 1000))),
        (1000, (0, 0, 0o755), (0, 0, &[]), None),
        (1000, (7, 7, 0o700), (7, 7, &[]), None),
        (1000, (7, 1000, 0o770), (7, 7, &[]), Some((1000, 1000))),
    ];
    for (user, volume, holder, owner) in cases {
        let here = Checkpointed::new(user, volume, holder, &files());
        let applied = here.apply();
        let case = format!("{user} {volume:?} {holder:?}: {applied:?}");
        assert_eq!(applied.status == 0, owner.is_some(), "{case}");
        let owner_of = |path| here.made(path).map(|(_, uid, gid)| (uid, gid));
        assert_eq!(owner_of("x"), owner, "{case}");
        assert_eq!(owner_of("x/y"), owner, "{case}");
        if owner.is_none() {
            assert!(applied.stderr.contains("EACCES"), "{case}");
        }
    }
}

/// Of the container's capabilities one counts: without it root has no power over others' directories.
#[test]
fn root_without_the_capability_has_no_power_over_others() {
    if skipped_without_root("become another user") {
        return;
    }
    for (bounding, is_made) in [
        (json!(["CAP_DAC_OVERRIDE"]), true),
        (json!(["CAP_CHOWN"]), false),
    ] {
        let files = [directory(1, "/data/x", 0o755)];
        let here = Checkpointed::new(0, (7, 7, 0o755), (0, 0, &[]), &files);
        here.configure(&json!({"process": {"capabilities": {"bounding": bounding}}}));
        let applied = here.apply();
        assert_eq!(applied.status == 0, is_made, "{applied:?}");
        assert_eq!(here.made("x"), is_made.then_some((0o755, 0, 0)));
    }
}

/// It needs search permission on all directories above, too.
#[test]
fn what_the_user_could_not_reach_is_not_made() {
    if skipped_without_root("become another user") {
        return;
    }
    for (mode, is_made) in [(0o700, false), (0o711, true)] {
        let files = [directory(1, "/data/private/shared/x", 0o755)];
        let here = Checkpointed::new(1000, (0, 0, 0o755), (0, 0, &[]), &files);
        here.world.directory("vol/private/shared");
        here.set("vol/private/shared", (0, 0, 0o777));
        here.set("vol/private", (0, 0, mode));
        let applied = here.apply();
        assert_eq!(applied.status == 0, is_made, "{applied:?}");
        assert_eq!(here.made("private/shared/x").is_some(), is_made);
    }
}

/// What the runtime makes is its own, whoever is in it; what a task made beside it is the task's.
#[test]
fn the_working_directory_of_the_configuration_is_the_roots() {
    if skipped_without_root("become another user") {
        return;
    }
    let files = [
        directory(1, "/data/app", 0o1777),
        file(1, "/data/app/f", 0o600),
    ];
    let here = Checkpointed::new(0, (0, 0, 0o755), (1000, 1000, &[]), &files);
    here.configure(&json!({"process": {"cwd": "/data/app", "user": {"uid": 0, "gid": 0}}}));
    let applied = here.apply();
    assert_eq!(applied.status, 0, "{applied:?}");
    assert_eq!(here.made("app"), Some((0o1777, 0, 0)));
    assert_eq!(here.made("app/f"), Some((0o600, 1000, 1000)));
}

/// A mount that is the workload's own was made by the container's user; one of the configuration, by the
/// runtime.
#[test]
fn the_mountpoint_of_a_mount_of_the_workloads_is_the_users() {
    if skipped_without_root("become another user") {
        return;
    }
    for (mode, is_made) in [(0o777, true), (0o755, false)] {
        let mut here = Checkpointed::new(1000, (0, 0, mode), (0, 0, &[]), &[]);
        here.world.tmpfs("/data/of-the-runtime");
        here.configure(&json!({"process": {"user": {"uid": 1000, "gid": 1000}}}));
        let mut mounts = container();
        mounts.push(entry(3, 2, 9, "/", "/data/own"));
        mounts.push(entry(4, 2, 9, "/", "/data/of-the-runtime"));
        here.write("mountpoints-12.img", &image_of_mounts(&mounts));
        let applied = here.apply();
        assert_eq!(applied.status == 0, is_made, "{applied:?}");
        assert_eq!(here.made("of-the-runtime"), Some((0o755, 0, 0)));
        assert_eq!(here.made("own"), is_made.then_some((0o755, 1000, 1000)));
    }
}

/// The first ID of the user namespace on the host.
const FIRST: u32 = 100_000;

#[test]
fn ids_are_those_of_the_user_namespace() {
    if skipped_without_root("become another user") {
        return;
    }
    let volume = (FIRST, FIRST, 0o777);
    let cases: [(u32, Holder, Option<u32>); 4] = [
        (0, (1000, 1000, &[]), Some(FIRST + 1000)),
        (0, (0, 0, &[]), Some(FIRST)),
        (1000, (0, 0, &[]), Some(FIRST + 1000)),
        // Nobody of the container's: it is made as its user.
        (0, (70_000, 70_000, &[]), Some(FIRST)),
    ];
    for (user, holder, owner) in cases {
        let files = [directory(1, "/data/x", 0o750)];
        let here = Checkpointed::new(user, volume, holder, &files);
        let mut config = here.world.config();
        config["linux"] = user_namespace(FIRST, 65536);
        config["process"] = json!({"user": {"uid": user, "gid": user}});
        here.world.write_config(&config);
        let applied = here.apply();
        assert_eq!(applied.status, 0, "{user} {holder:?}: {applied:?}");
        let made = here.made("x").map(|(mode, uid, _)| (mode, uid));
        assert_eq!(made, owner.map(|uid| (0o750, uid)), "{user} {holder:?}");
    }
    // And a user whom the namespace has no number for makes nothing.
    let files = [directory(1, "/data/x", 0o750)];
    let here = Checkpointed::new(0, volume, (0, 0, &[]), &files);
    let mut config = here.world.config();
    config["linux"] = user_namespace(FIRST, 10);
    config["process"] = json!({"user": {"uid": 11, "gid": 11}});
    here.world.write_config(&config);
    assert_eq!(here.apply().status, 1);
    assert_eq!(here.made("x"), None);
}

/// A checkpoint can call a mount external that the configuration doesn't have, and give a mode to what the runtime
/// creates: neither opens the source of a hostPath to a container whose user is not root.
#[test]
fn a_checkpoint_gives_a_user_no_more_than_the_user_had() {
    if skipped_without_root("become another user") {
        return;
    }
    let files = [
        directory(1, "/data/evil", 0o777),
        directory(2, "/data/evil/d", 0o755),
        directory(3, "/data/app", 0o1777),
        file(4, "/data/app/f", 0o600),
    ];
    let here = Checkpointed::new(1000, (0, 0, 0o755), (1000, 1000, &[]), &files);
    here.configure(&json!({"process": {"cwd": "/data/app", "user": {"uid": 1000, "gid": 1000}}}));
    let mut mounts = container();
    let mut external = entry(3, 2, 9, "/.empty-directory", "/data/evil/p");
    external.ext_key = Some(b"/x/.empty-directory".to_vec());
    mounts.push(external);
    here.write("mountpoints-12.img", &image_of_mounts(&mounts));
    let applied = here.apply();
    assert_eq!(applied.status, 1, "{applied:?}");
    assert_eq!(here.made("evil"), None, "{applied:?}");
    // Only root could have changed the mode of what the runtime made.
    assert_eq!(here.made("app"), Some((0o1755, 0, 0)), "{applied:?}");
    assert_eq!(here.made("app/f"), None);
}
