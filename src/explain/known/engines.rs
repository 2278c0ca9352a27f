// SPDX-License-Identifier: Apache-2.0
//! Errors of runtimes and engines around a checkpoint or a restore, which CRIU's log doesn't have. As in
//! docs/limits.md; the most telling first.

use super::{Known, Meaning, known, vague};
use crate::diagnosis::FindingKind;

pub const LOG_ELSEWHERE: Meaning = Meaning {
    code: "log-elsewhere",
    words: "this is not the reason: it is in CRIU's own log, restore.log (dump.log for a checkpoint)",
    remedy: "give premount that log. CRI-O and Docker remove it with the failed container: put `log-file /tmp/criu.log` \
             into CRIU's configuration, and restore again",
};
const MISSING_SOURCE: Meaning = Meaning {
    code: FindingKind::MissingSource.name(),
    words: "the source of a bind mount is missing; the runtime opens it before it calls CRIU",
    remedy: "create it on the host, with the content that the container needs, and restore again: the checkpoint is \
             unchanged",
};
const MISSING_SECRET: Meaning = Meaning {
    code: "missing-secret",
    words: "a Podman secret of the container is not on this host",
    remedy: "create the secret (`podman secret create`); if the file is that of the old container, import without \
             --name, so that the container keeps its ID",
};
const MISSING_VOLUME: Meaning = Meaning {
    code: "missing-volume",
    words: "the archive was exported without its volumes, or the volume is already here",
    remedy: "import with --ignore-volumes; premount then creates what is missing in the volume",
};
const RUNTIME_OF_SHIM: Meaning = Meaning {
    code: "runtime-of-shim",
    words: "containerd's shim can't checkpoint or restore with crun",
    remedy: "use runc under containerd",
};
const LEFTOVER_MOUNT: Meaning = Meaning {
    code: "leftover-mount",
    words: "an earlier restore of runc's left a mount in the container's rootfs",
    remedy: "unmount what is mounted below the rootfs on the host, and restore again",
};
const MISSING_HOOK: Meaning = Meaning {
    code: "missing-hook",
    words: "the container's configuration has a hook whose program is gone",
    remedy: "put the program back for this restore: a restore uses the hooks of the checkpoint",
};
const MISSING_PROGRAM: Meaning = Meaning {
    code: "missing-criu",
    words: "CRIU is not installed, or is too old",
    remedy: "install criu where the runtime finds it (for crun: with libcriu.so.2)",
};
const COPY_OF_BEFORE: Meaning = Meaning {
    code: "copy-of-before",
    words: "containerd still has the copy of the checkpoint that Docker gave it the last time",
    remedy: "wait a moment and start the container again",
};
const MISSING_VOLUME_MOUNT: Meaning = Meaning {
    code: "missing-volume-mount",
    words: "the pod lacks volumes that the checkpointed container had, and CRI-O refuses the restore",
    remedy: "mount a volume at each of these paths in the pod. A container that systemd or CRI-O's read_only gave a tmpfs \
             there can only be restored if it had a volume there from the start",
};

pub const KNOWN: &[Known] = &[
    // Podman, libpod/container_internal_common.go
    known("no secret with name or id", &MISSING_SECRET),
    known(
        "/userdata/secrets/{}: No such file or directory",
        &MISSING_SECRET,
    ),
    known(
        "/userdata/secrets/{}: no such file or directory",
        &MISSING_SECRET,
    ),
    known(
        "create criu restore mountpoint for /run/secrets/",
        &MISSING_SECRET,
    ),
    known("failed to open volume file", &MISSING_VOLUME),
    known("volume with name {} already exists", &MISSING_VOLUME),
    // Docker, containerd's content store
    known("content sha256:{}: already exists", &COPY_OF_BEFORE),
    // CRI-O, server/container_restore.go
    known(
        "expects following bind mounts defined",
        &MISSING_VOLUME_MOUNT,
    ),
    // containerd's shim with crun
    known("/criu-work`: No such file or directory", &RUNTIME_OF_SHIM),
    known(
        "crun did not terminate successfully: exit status 64",
        &RUNTIME_OF_SHIM,
    ),
    // runc
    known("possibly malicious path detected", &LEFTOVER_MOUNT),
    known(
        "error running {} hook #{}: fork/exec {path}: no such file or directory",
        &MISSING_HOOK,
    ),
    known(
        "mount src={path}, dst={}, {}: no such file or directory",
        &MISSING_SOURCE,
    ),
    known(
        "create criu restore mountpoint for {} mount: stat {path}: no such file or directory",
        &MISSING_SOURCE,
    ),
    known(
        "exec: \"criu\": executable file not found",
        &MISSING_PROGRAM,
    ),
    // crun, src/libcrun/criu.c and linux.c
    known("could not load `libcriu.so.2`", &MISSING_PROGRAM),
    known(
        "crun: stat `{path}`: No such file or directory",
        &MISSING_SOURCE,
    ),
    // Errors that only point to the log: crun, runc.
    vague("Please check CRIU logfile {log}", &LOG_ELSEWHERE),
    vague("log file: {log}", &LOG_ELSEWHERE),
    vague("criu failed: type ", &LOG_ELSEWHERE),
    vague("CRIU restoring failed", &LOG_ELSEWHERE),
    vague("CRIU checkpointing failed", &LOG_ELSEWHERE),
];
