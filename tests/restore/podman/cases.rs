// SPDX-License-Identifier: Apache-2.0
//! The containers of Podman's matrix: what is mounted in which volume, and which runtime's restore fails
//! without premount.

use super::engine::{NAME, NEW_NAME};
use crate::host::Runtime::{self, Crun, Runc};

/// A container.
pub struct PodmanCase {
    pub name: &'static str,
    /// What is told to `podman run`, beyond what each of them takes.
    pub options: &'static [&'static str],
    /// What the process does before it counts.
    pub script: &'static str,
    /// The volume that something is mounted in.
    pub volume: Volume,
    /// The mountpoint in that volume.
    pub mountpoint: Mountpoint,
    /// The runtimes whose restore fails without premount.
    pub fails_without: &'static [Runtime],
    /// The same for a restore from an archive, where that is different.
    pub import_fails_without: Option<&'static [Runtime]>,
    /// What CRIU says without premount.
    pub says: &'static str,
    /// Its name when it comes from the archive.
    pub imported_as: &'static str,
}

/// What a volume is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// A directory of the host's.
    Host,
    /// Podman's own, with the name `named`.
    Named,
    /// What Podman mounts on /run/secrets, with `mounts.conf` as Red Hat's systems have it.
    RunSecrets,
}

/// A mountpoint, by its path in the volume.
#[derive(Clone, Copy)]
pub enum Mountpoint {
    Directory(&'static str),
    File(&'static str),
}

pub const BOTH: &[Runtime] = &[Runc, Crun];

pub const NOTHING: PodmanCase = PodmanCase {
    name: "",
    options: &[],
    script: "",
    volume: Volume::Host,
    mountpoint: Mountpoint::Directory(""),
    fails_without: &[Crun],
    import_fails_without: None,
    says: "Can't stat mountpoint",
    imported_as: NEW_NAME,
};

/// What the process itself has mounted in the volume, which config.json doesn't have.
pub const WORKLOAD: PodmanCase = PodmanCase {
    name: "a_tmpfs_that_the_process_mounted_in_a_volume",
    options: &["--cap-add=SYS_ADMIN", "--volume=/w/volume:/data"],
    script: "mkdir /data/cache; mount -t tmpfs t /data/cache",
    mountpoint: Mountpoint::Directory("cache"),
    fails_without: BOTH,
    ..NOTHING
};

/// A secret of Podman's. Its source is in a directory with the container's number, and a new name comes
/// with a new number.
pub const SECRET: PodmanCase = PodmanCase {
    name: "a_secret_under_the_old_name",
    options: &["--secret=token"],
    volume: Volume::RunSecrets,
    mountpoint: Mountpoint::File("token"),
    import_fails_without: Some(BOTH),
    imported_as: NAME,
    ..NOTHING
};

pub const VOLUME: PodmanCase = PodmanCase {
    name: "a_volume_in_a_volume",
    options: &[
        "--volume=/w/volume:/data",
        "--volume=/w/nested:/data/lower/directory",
    ],
    mountpoint: Mountpoint::Directory("lower/directory"),
    ..NOTHING
};

/// crun makes no mountpoint in a volume. runc does, but where an ancestor by name is a tmpfs.
pub const CASES: &[PodmanCase] = &[
    VOLUME,
    PodmanCase {
        name: "a_file_in_a_volume",
        options: &[
            "--volume=/w/volume:/data",
            "--volume=/w/file:/data/conf.d/file",
        ],
        mountpoint: Mountpoint::File("conf.d/file"),
        ..NOTHING
    },
    PodmanCase {
        name: "a_volume_in_a_named_volume",
        options: &["--volume=named:/data", "--volume=/w/nested:/data/nested"],
        volume: Volume::Named,
        mountpoint: Mountpoint::Directory("nested"),
        ..NOTHING
    },
    PodmanCase {
        name: "a_tmpfs_in_a_volume",
        options: &["--volume=/w/volume:/data", "--tmpfs=/data/cache"],
        mountpoint: Mountpoint::Directory("cache"),
        ..NOTHING
    },
    PodmanCase {
        // Which mounts a tmpfs on /run.
        name: "a_volume_in_a_volume_in_run_with_read_only",
        options: &[
            "--read-only",
            "--volume=/w/volume:/run/data",
            "--volume=/w/nested:/run/data/nested",
        ],
        mountpoint: Mountpoint::Directory("nested"),
        fails_without: BOTH,
        ..NOTHING
    },
    PodmanCase {
        // Which mounts a tmpfs on /run too.
        name: "a_volume_in_a_volume_in_run_with_systemd_always",
        options: &[
            "--systemd=always",
            "--volume=/w/volume:/run/data",
            "--volume=/w/nested:/run/data/nested",
        ],
        mountpoint: Mountpoint::Directory("nested"),
        fails_without: BOTH,
        ..NOTHING
    },
    PodmanCase {
        // Podman writes its own mounts to the end of an imported configuration: /run/secrets comes after
        // what was mounted in it.
        name: "a_token_in_run_secrets",
        options: &["--volume=/w/nested:/run/secrets/kubernetes.io/serviceaccount"],
        volume: Volume::RunSecrets,
        mountpoint: Mountpoint::Directory("kubernetes.io/serviceaccount"),
        import_fails_without: Some(BOTH),
        ..NOTHING
    },
    SECRET,
    WORKLOAD,
    PodmanCase {
        name: "a_working_directory_in_a_volume",
        options: &["--workdir=/data/app/deep", "--volume=/w/volume:/data"],
        mountpoint: Mountpoint::Directory("app/deep"),
        fails_without: BOTH,
        says: "Can't open cwd",
        ..NOTHING
    },
];
