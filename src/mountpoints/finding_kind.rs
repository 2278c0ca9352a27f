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
        }
    }

    /// Whether CRIU fails because of it.
    pub fn is_fatal(self) -> bool {
        self != Self::NotInCheckpoint
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
                "a task of the checkpoint has this open, and it is missing and can't be created, or of another kind"
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
        }
    }
}
