// SPDX-License-Identifier: Apache-2.0
//! Errors with what tasks hold open.

use super::{Known, Meaning, known, vague};
use crate::diagnosis::FindingKind;

pub const MISSING_OPEN_FILE: Meaning = Meaning {
    code: FindingKind::MissingOpenFile.name(),
    words: "a task of the container had this open, and it is missing on the host",
    remedy: "a directory, FIFO or empty file premount creates before CRIU opens it: `premount status` says whether \
             CRIU calls it here; or run `premount apply --bundle DIR --images DIR` before the restore. A file with \
             content you have to copy",
};
pub const LOG_MISSING: Meaning = Meaning {
    code: FindingKind::MissingLog.name(),
    words: "a task of the container appends to this log, and it is missing on the host",
    remedy: "copy the log; or, if an empty one will do, set the annotation io.premount.append, or run `premount apply \
             --append` before the restore",
};
pub const MISSING_CONTENT: Meaning = Meaning {
    code: FindingKind::MissingContent.name(),
    words: "a task of the container had this file or device open, and it is missing on the host",
    remedy: "copy the file as it was at the checkpoint, or create the device: premount creates nothing with content",
};
pub const OPEN_FILE_OF_UNKNOWN_KIND: Meaning = Meaning {
    code: FindingKind::OpenFileOfUnknownKind.name(),
    words: "a task of the container watches this, it is missing on the host, and nothing tells what it was",
    remedy: "create it on the host, as the directory or file that it was",
};
pub const OPEN_FILE_NOT_CREATED: Meaning = Meaning {
    code: FindingKind::OpenFileNotCreated.name(),
    words: "a task of the container had this open, and it can't be opened or created on the host",
    remedy: "the error is at the end of the line, and premount's line, if there is one, has the reason: correct what \
             they name, or create it yourself",
};
const BAD_SIZE: Meaning = Meaning {
    code: FindingKind::BadSize.name(),
    words: "a task of the container had this file open, and it has another size here",
    remedy: "copy the file as it was at the checkpoint; a program or library comes with the image: restore on the \
             very image that the container had",
};
const BAD_MODE: Meaning = Meaning {
    code: FindingKind::BadMode.name(),
    words: "a task of the container had this open, and it has other permissions here, or is of another kind",
    remedy: "chmod(1) it to the mode that CRIU expects; CRIU's option skip-file-rwx-check accepts other permissions, \
             but no other kind",
};
const BAD_BUILD_ID: Meaning = Meaning {
    code: FindingKind::BadBuildId.name(),
    words: "a program or library is another build here than at the checkpoint",
    remedy: "restore on the very image that the container had, or copy the file from there",
};
const ADDRESS_IN_USE: Meaning = Meaning {
    code: FindingKind::AddressInUse.name(),
    words: "CRIU binds a Unix socket to a name that is in use",
    remedy: "remove what has that name on the host, unless it is another container's: then give each a volume of its \
             own",
};
const DELETED_FILE: Meaning = Meaning {
    code: FindingKind::DeletedFile.name(),
    words: "CRIU can't bring back a file that was deleted while it was open",
    remedy: "the error is at the end of the line: the directory that the file was in has to be there and writable, \
             with the space that the file takes",
};
const DELETED_FILE_TOO_LARGE: Meaning = Meaning {
    code: "deleted-file-too-large",
    words: "the container can't be checkpointed: a file that was deleted while it was open is larger than CRIU saves",
    remedy: "raise ghost-limit in CRIU's configuration",
};
const LINK_REMAP: Meaning = Meaning {
    code: "link-remap",
    words: "the container can't be checkpointed: a file is open under a name that was removed, and has others",
    remedy: "put link-remap into CRIU's configuration (`runc checkpoint` has --link-remap)",
};

pub const KNOWN: &[Known] = &[
    // criu/files-reg.c
    known(
        "Can't open file {open} on restore: No such file or directory",
        &MISSING_OPEN_FILE,
    ),
    known(
        "Can't open file {open} on restore: {error}",
        &OPEN_FILE_NOT_CREATED,
    ),
    known("File {open} has bad size {} (expect {})", &BAD_SIZE),
    known("File {open} has bad mode 0{} (expect 0{})", &BAD_MODE),
    known("File {open} has bad build-ID", &BAD_BUILD_ID),
    known("Can't link {} -> {open}: {error}", &DELETED_FILE),
    known("Can't create ghost regfile: {error}", &DELETED_FILE),
    known("Can't create ghost symlink: {error}", &DELETED_FILE),
    known("Can't create node for ghost dev: {error}", &DELETED_FILE),
    known("Can't make ghost dir: {error}", &DELETED_FILE),
    known(
        "Can't dump ghost file {open} of {} size, increase limit",
        &DELETED_FILE_TOO_LARGE,
    ),
    known("Can't create link remap for {open}. Use ", &LINK_REMAP),
    // Follows the error that has the reason, except where that is a device's, or quoted alone.
    vague(
        "Can't open file {open}: No such file or directory",
        &MISSING_OPEN_FILE,
    ),
    // criu/util.c
    known("Ghost file size mismatch ", &DELETED_FILE),
    // criu/fifo.c
    known(
        "Can't open fake fifo {} [{open}]: No such file or directory",
        &MISSING_OPEN_FILE,
    ),
    known(
        "Can't open fake fifo {} [{open}]: {error}",
        &OPEN_FILE_NOT_CREATED,
    ),
    // criu/files.c
    vague("Can't open cwd", &MISSING_OPEN_FILE),
    vague("Can't open root", &MISSING_OPEN_FILE),
    // criu/sk-unix.c; its binds are of names, which may be relative to a directory that is not logged.
    known(
        "unix: Can't bind id {} ino {} addr {open}: No such file or directory",
        &MISSING_OPEN_FILE,
    ),
    known(
        "unix: Can't bind id {} ino {} addr {open}: Address already in use",
        &ADDRESS_IN_USE,
    ),
    known(
        "unix: Can't bind id {} ino {} addr {open}: {error}",
        &OPEN_FILE_NOT_CREATED,
    ),
    // criu/fsnotify.c
    known(
        "fsnotify: Unable to open {open}: No such file or directory",
        &MISSING_OPEN_FILE,
    ),
    known(
        "fsnotify: Unable to open {open}: {error}",
        &OPEN_FILE_NOT_CREATED,
    ),
];
