// SPDX-License-Identifier: Apache-2.0
//! Errors with mounts.

use super::{Known, Meaning, known};
use crate::diagnosis::FindingKind;

pub const MISSING_MOUNTPOINT: Meaning = Meaning {
    code: FindingKind::MissingMountpoint.name(),
    words: "the directory or file that CRIU mounts on is missing on the host",
    remedy: "premount creates it before CRIU mounts: `premount status` says whether CRIU calls it here. Or run \
             `premount apply --bundle DIR` before the restore",
};
pub const MOUNTPOINT_OF_UNKNOWN_KIND: Meaning = Meaning {
    code: FindingKind::MountpointOfUnknownKind.name(),
    words: "the mountpoint is missing, and nothing tells whether it was a directory or a file",
    remedy: "create it on the host, as what it was",
};
pub const READ_ONLY: Meaning = Meaning {
    code: FindingKind::ReadOnly.name(),
    words: "the mountpoint is missing, and its file system is read-only on the host",
    remedy: "make the file system writable for the restore, or create the mountpoint where it is kept",
};
pub const UNREACHABLE: Meaning = Meaning {
    code: FindingKind::Unreachable.name(),
    words: "CRIU can't reach the mountpoint, or premount could not create it",
    remedy: "the error is at the end of the line: correct what it names on the host",
};
pub const WRONG_KIND: Meaning = Meaning {
    code: FindingKind::WrongKind.name(),
    words: "a file is where a directory has to be, or the other way round",
    remedy: "compare the mountpoint with what is mounted on it: one is a directory, the other a file. Move away the \
             wrong one and create the right one; premount replaces nothing",
};
pub const MISSING_SOURCE: Meaning = Meaning {
    code: FindingKind::MissingSource.name(),
    words: "the source of a bind mount can't be opened on the host",
    remedy: "create it, with the content that the container needs. If the workload made this mount itself, the \
             source was in one of its volumes: copy the volume's content",
};
const NO_MAPPING: Meaning = Meaning {
    code: FindingKind::NoMapping.name(),
    words: "the checkpoint has a mount from outside that the configuration doesn't have",
    remedy: "restore with the mounts that the container had: add this one to the configuration",
};
const MOUNT_FAILED: Meaning = Meaning {
    code: "mount-failed",
    words: "the kernel refused a mount",
    remedy: "the error is at the end of the line; the kernel's log (dmesg) may say more. `Operation not permitted` \
             means that CRIU lacks privileges here",
};
const NO_ROOT_MOUNT: Meaning = Meaning {
    code: "no-root-mount",
    words: "the container can't be checkpointed: nobody told CRIU where a mount comes from",
    remedy: "with crun this is a bind whose destination leads through a symlink, or a masked file in a volume: write \
             the resolved path in the configuration, or use runc. A mountpoint with a newline in its name is never \
             accepted",
};
const NO_PARENT_MOUNT: Meaning = Meaning {
    code: "no-parent-mount",
    words: "CRIU runs in a chroot, where it does not see the mount that everything is on",
    remedy: "enter the root with pivot_root(2) in a mount namespace of its own, not with chroot(2)",
};
const UNSUPPORTED_MOUNT: Meaning = Meaning {
    code: "unsupported-mount",
    words: "the container has a mount that CRIU can't checkpoint",
    remedy: "unmount it before the checkpoint, or have the engine mount it from the host",
};
const NO_TEMPORARY_DIRECTORY: Meaning = Meaning {
    code: FindingKind::NoTmp.name(),
    words: "CRIU can't create a temporary directory: there is no directory /tmp, and nothing can be created",
    remedy: "create /tmp in the container's image (a read-only rootfs needs it), or where CRIU runs, if the error is \
             about that",
};
const NO_ROOT: Meaning = Meaning {
    code: "no-criu-root",
    words: "CRIU was not told where the container's rootfs is",
    remedy: "restore with the engine or runtime that made the checkpoint; by hand, pass CRIU's --root",
};

pub const KNOWN: &[Known] = &[
    // criu/mount-v2.c, the default since 3.17
    known(
        "mnt-v2: Can't stat mountpoint {path}: No such file or directory",
        &MISSING_MOUNTPOINT,
    ),
    known(
        "mnt-v2: Can't stat mountpoint {path}: Not a directory",
        &WRONG_KIND,
    ),
    known(
        "mnt-v2: Can't stat mountpoint {path}: {error}",
        &UNREACHABLE,
    ),
    // move_mount(2) says EINVAL of a directory on a file, mount(2) ENOTDIR.
    known(
        "mnt-v2: Failed to move_mount from {source} to {path}: Invalid argument",
        &WRONG_KIND,
    ),
    known(
        "mnt-v2: Failed to move_mount from {source} to {path}: Not a directory",
        &WRONG_KIND,
    ),
    known(
        "mnt-v2: Failed to move_mount from {source} to {path}: {error}",
        &MOUNT_FAILED,
    ),
    known(
        "mnt-v2: Failed to open_tree {path}: {error}",
        &MISSING_SOURCE,
    ),
    known(
        "mnt-v2: Can't mount at {path}: Not a directory",
        &WRONG_KIND,
    ),
    known("mnt-v2: Can't mount at {path}: {error}", &MOUNT_FAILED),
    known(
        "mnt-v2: The --root option is required to restore a mount namespace",
        &NO_ROOT,
    ),
    // criu/mount.c, for both, and without mount-v2
    known(
        "Unable to mount {} {path} (id={}): No such file or directory",
        &MISSING_MOUNTPOINT,
    ),
    known(
        "Unable to mount {} {path} (id={}): Not a directory",
        &WRONG_KIND,
    ),
    known("Unable to mount {} {path} (id={}): {error}", &MOUNT_FAILED),
    known(
        "mnt: Can't mount at {path}: No such file or directory",
        &MISSING_MOUNTPOINT,
    ),
    known("mnt: Can't mount at {path}: Not a directory", &WRONG_KIND),
    known("mnt: Can't mount at {path}: {error}", &MOUNT_FAILED),
    known(
        "mnt: Can't bind-mount at {path}: No such file or directory",
        &MISSING_MOUNTPOINT,
    ),
    known(
        "mnt: Can't bind-mount at {path}: Not a directory",
        &WRONG_KIND,
    ),
    known("mnt: Can't bind-mount at {path}: {error}", &MOUNT_FAILED),
    known(
        "mnt: No mapping for {}:{mountpoint} mountpoint",
        &NO_MAPPING,
    ),
    known(
        "mnt: Mount {}:{mountpoint} is autodetected external mount.",
        &NO_MAPPING,
    ),
    known(
        "mnt: {}:{mountpoint} doesn't have a proper root mount",
        &NO_ROOT_MOUNT,
    ),
    known("mnt: No parent found for mountpoint {}", &NO_PARENT_MOUNT),
    known(
        "mnt: FS mnt {mountpoint} dev {} root {} unsupported id {}",
        &UNSUPPORTED_MOUNT,
    ),
    known(
        "mnt: Can't create a temporary directory: {error}",
        &NO_TEMPORARY_DIRECTORY,
    ),
    known(
        "mnt: Unable to create a temporary directory: {error}",
        &NO_TEMPORARY_DIRECTORY,
    ),
    known(
        "mnt: The --root option is required to restore a mount namespace",
        &NO_ROOT,
    ),
];
