// SPDX-License-Identifier: Apache-2.0
//! The kinds of findings, each with its stable code.

/// What a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// The mountpoint isn't there; `apply`, the hook or the action script makes it.
    MissingMountpoint,
    /// The mountpoint isn't there, and nothing tells whether it is to be a directory or a file.
    MountpointOfUnknownKind,
    /// The mountpoint, or the source, is a file instead of a directory or the other way round.
    WrongKind,
    /// The mountpoint isn't there, and its file system is read-only.
    ReadOnly,
    /// The bind source isn't there.
    MissingSource,
    /// The mountpoint can't be created for another reason.
    Unreachable,
    /// The configuration no longer has a mount that the checkpoint gets from outside.
    NoMapping,
    /// The configuration has a mount that the checkpoint doesn't know: it will not be there.
    NotInCheckpoint,
    /// A directory, a FIFO or an empty file that a task holds open isn't there; `apply`, the hook or the action
    /// script makes it.
    MissingOpenFile,
    /// A log that a task holds open isn't there; it is made if asked for.
    MissingLog,
    /// Something that a task holds open isn't there, and nothing tells what it is.
    OpenFileOfUnknownKind,
    /// Something that a task holds open can't be created.
    OpenFileNotCreated,
    /// A file with content, or a device, that a task holds open isn't there.
    MissingContent,
    /// A file that a task holds open has another size.
    BadSize,
    /// Something that a task holds open has another mode, or is of another kind.
    BadMode,
    /// A name that CRIU binds a socket to is in use.
    AddressInUse,
    /// A program or library that a task has open is another build.
    BadBuildId,
    /// A file that was deleted while it was open can't be made anew.
    DeletedFile,
    /// A symbolic link is on the way to something that CRIU opens, and where it leads is not looked at.
    SymbolicLink,
    /// Something that CRIU opens lies in what premount doesn't look into.
    NotInspected,
    /// The checkpoint has the content of a bind of the configuration's.
    OldContent,
    /// CRIU makes a directory in a rootfs that has no /tmp, and is read-only.
    NoTmp,
    /// The checkpoint was made on another architecture.
    OtherArchitecture,
    /// The images are of a version that no CRIU reads yet.
    ImageVersion,
    /// Tasks have labels or profiles of a Linux security module that this host doesn't have.
    OtherLsm,
    /// An `AppArmor` profile of a task isn't loaded.
    MissingLsmProfile,
    /// A plugin of CRIU's isn't there.
    MissingPlugin,
    /// A controller of cgroup v1 belongs to cgroup v2 here.
    CgroupController,
    /// There are TCP connections, and CRIU needs an option for them.
    TcpConnection,
    /// Connections were closed for the checkpoint, and CRIU needs the option again.
    TcpClose,
    /// A socket is bound to an address that this host doesn't have, or may not have.
    MissingAddress,
    /// A socket is connected to one outside of the container.
    ExternalSocket,
    /// A processor feature that tasks use isn't here.
    MissingCpuFeature,
}

/// What a finding means for the restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It fails.
    Fails,
    /// It may fail: that depends on what premount can't see.
    MayFail,
    /// It succeeds, but not as one may expect.
    Warns,
}

impl Severity {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fails => "fails",
            Self::MayFail => "may-fail",
            Self::Warns => "warns",
        }
    }
}

impl FindingKind {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MissingMountpoint => "missing-mountpoint",
            Self::MountpointOfUnknownKind => "mountpoint-of-unknown-kind",
            Self::WrongKind => "wrong-kind",
            Self::ReadOnly => "read-only",
            Self::MissingSource => "missing-source",
            Self::Unreachable => "unreachable",
            Self::NoMapping => "no-mapping",
            Self::NotInCheckpoint => "not-in-checkpoint",
            Self::MissingOpenFile => "missing-open-file",
            Self::MissingLog => "missing-log",
            Self::OpenFileOfUnknownKind => "open-file-of-unknown-kind",
            Self::OpenFileNotCreated => "open-file-not-created",
            Self::MissingContent => "missing-content",
            Self::BadSize => "bad-size",
            Self::BadMode => "bad-mode",
            Self::AddressInUse => "address-in-use",
            Self::BadBuildId => "bad-build-id",
            Self::DeletedFile => "deleted-file",
            Self::SymbolicLink => "symbolic-link",
            Self::NotInspected => "not-inspected",
            Self::OldContent => "old-content",
            Self::NoTmp => "no-tmp",
            Self::OtherArchitecture => "other-architecture",
            Self::ImageVersion => "image-version",
            Self::OtherLsm => "other-lsm",
            Self::MissingLsmProfile => "missing-lsm-profile",
            Self::MissingPlugin => "missing-plugin",
            Self::CgroupController => "cgroup-controller",
            Self::TcpConnection => "tcp-connection",
            Self::TcpClose => "tcp-close",
            Self::MissingAddress => "missing-address",
            Self::ExternalSocket => "external-socket",
            Self::MissingCpuFeature => "missing-cpu-feature",
        }
    }

    /// What it means for the restore.
    pub fn severity(self) -> Severity {
        match self {
            Self::NotInCheckpoint | Self::OldContent | Self::MissingCpuFeature => Severity::Warns,
            Self::DeletedFile
            | Self::SymbolicLink
            | Self::NotInspected
            | Self::NoTmp
            | Self::CgroupController
            | Self::MissingPlugin
            | Self::TcpConnection
            | Self::TcpClose
            | Self::MissingAddress
            | Self::ExternalSocket => Severity::MayFail,
            _ => Severity::Fails,
        }
    }

    /// What it means.
    pub fn message(self) -> &'static str {
        match self {
            Self::MissingMountpoint => "the mountpoint is missing (premount apply makes it)",
            Self::MountpointOfUnknownKind => {
                "the mountpoint is missing, and nothing tells whether it is a directory or a file"
            }
            Self::WrongKind => "a file is where a directory has to be, or the other way round",
            Self::ReadOnly => "the mountpoint is missing, on a read-only file system",
            Self::MissingSource => "the source can't be opened",
            Self::Unreachable => "cannot create the mountpoint",
            Self::NoMapping => {
                "the checkpoint needs this mount, and the configuration doesn't have it"
            }
            Self::NotInCheckpoint => "the checkpoint doesn't have this mount: it won't be there",
            Self::MissingOpenFile => {
                "a task of the checkpoint has this open, and it is missing (premount apply makes it)"
            }
            Self::MissingLog => {
                "a task of the checkpoint appends to this file, and it is missing (premount apply --append makes \
                 an empty one, or the annotation io.premount.append)"
            }
            Self::OpenFileOfUnknownKind => {
                "a task of the checkpoint has this open, it is missing, and nothing tells whether it is a \
                 directory or a file"
            }
            Self::OpenFileNotCreated => {
                "a task of the checkpoint has this open, and it is missing and can't be created"
            }
            Self::MissingContent => {
                "a task of the checkpoint has this open, and it is missing: premount creates no file with content \
                 and no device"
            }
            Self::BadSize => {
                "a task of the checkpoint has this file open, and its size is another here"
            }
            Self::BadMode => {
                "a task of the checkpoint has this open, and its mode is another here (with CRIU's option \
                 skip-file-rwx-check only the permissions may differ)"
            }
            Self::AddressInUse => {
                "a task of the checkpoint has bound a socket to this name, and something that is no socket is there: \
                 remove it"
            }
            Self::BadBuildId => {
                "a task of the checkpoint has this program or library open, and it is another build here"
            }
            Self::DeletedFile => {
                "a task of the checkpoint has this open, and it was deleted: CRIU makes it anew, and can't if the \
                 file system is read-only"
            }
            Self::SymbolicLink => {
                "a symbolic link is on the way, which CRIU follows: premount doesn't look where it leads"
            }
            Self::NotInspected => "it lies in a file system that premount doesn't look into",
            Self::OldContent => {
                "the checkpoint has this mount with its content: the old one comes back, not what the source has now"
            }
            Self::NoTmp => {
                "the rootfs has no directory /tmp and is read-only, and CRIU makes one (4.2 and later, or if the \
                 file system itself is read-only)"
            }
            Self::OtherArchitecture => "the checkpoint was made on another architecture",
            Self::ImageVersion => "the images have a version that CRIU doesn't read",
            Self::OtherLsm => {
                "tasks of the checkpoint have labels of a Linux security module that this host doesn't use"
            }
            Self::MissingLsmProfile => {
                "a task of the checkpoint has this AppArmor profile, and it isn't loaded here"
            }
            Self::MissingPlugin => {
                "the checkpoint needs this plugin of CRIU's, and it isn't installed"
            }
            Self::CgroupController => {
                "the checkpoint has this controller of cgroup v1, and it belongs to cgroup v2 here (CRIU's option \
                 manage-cgroups=ignore leaves cgroups alone)"
            }
            Self::TcpConnection => {
                "the checkpoint has TCP connections, and CRIU restores them only with the option tcp-established \
                 or tcp-close"
            }
            Self::TcpClose => {
                "the checkpoint was made with the option tcp-close, and CRIU needs it again"
            }
            Self::MissingAddress => {
                "a task of the checkpoint has a socket bound to this address, and the host or the container may not \
                 have it"
            }
            Self::ExternalSocket => {
                "a socket is connected to one outside of the container: it has to be there, by this name in the container"
            }
            Self::MissingCpuFeature => {
                "tasks of the checkpoint use this feature of the processor, which isn't here: CRIU restores them, \
                 and they may crash"
            }
        }
    }
}
