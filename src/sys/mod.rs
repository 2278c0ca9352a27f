// SPDX-License-Identifier: Apache-2.0
//! Every system call that premount makes on untrusted paths, and nothing else.
//!
//! Paths are relative to an open directory and never followed through symlinks, except for the host paths
//! that the configuration names ([`open_root`]). Nothing here interprets an errno: the caller does.

mod access;
mod inode;
pub mod kernel_fs;
mod links;
mod listing;
mod make;
mod powers;
pub mod procfs;

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, fstat, fstatat, lstat, stat};
use nix::sys::statfs::fstatfs;
use nix::sys::statvfs::FsFlags;
use rustix::mount::{OpenTreeFlags, open_tree};

pub use access::{
    Access, access, access_at, is_initial_user_namespace, open_as_path, open_to_read,
    reopen_regular,
};
pub use inode::{Inode, InodeKind, MountpointKind, NewKind};
pub use links::{read_link, read_link_in, text_of_link};
pub use listing::{close_inherited, list, open_to_list, open_to_list_in};
pub use make::{make_directory, make_fifo, make_file, reset_umask};
pub use powers::{Powers, is_root, leave_groups, search};

use crate::path::{Name, RelRef};

/// How often a system call is retried after losing a race with a rename (EAGAIN) or being interrupted: enough
/// for any ordinary file system, and finite for a hostile one.
const MAX_TRIES: usize = 64;

/// Set once openat2(2) turned out to be missing (Linux before 5.6) or denied (an old seccomp profile): from
/// then on paths are walked component by component.
static WITHOUT_OPENAT2: AtomicBool = AtomicBool::new(false);

/// The file system below an open directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystem {
    /// The name of the kernel file system, if it is one: nothing may be created there.
    pub kernel: Option<&'static str>,
    /// Whether the mount or the file system is read-only.
    pub read_only: bool,
}

/// From now on, walks paths component by component, as on a kernel without openat2(2).
pub fn do_without_openat2() {
    WITHOUT_OPENAT2.store(true, Ordering::Relaxed);
}

/// Opens a directory or file by the host path in the configuration, as the runtime does: symlinks are
/// followed, since whoever wrote the configuration chose them.
///
/// # Errors
///
/// As open(2).
pub fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    retry(|| open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()))
}

/// Opens a directory that the kernel or the caller names, following symlinks.
///
/// # Errors
///
/// As open(2).
pub fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    retry(|| open(path, flags, Mode::empty()))
}

/// The kernel's path for an open directory (proc_pid_fd(5)).
///
/// # Errors
///
/// As readlink(2).
pub fn name_of(fd: BorrowedFd) -> Result<PathBuf, Errno> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(link).map_err(|error| errno_of(&error))
}

/// The inode that [`open_root`] would open, without opening it: most sources are never inspected.
///
/// # Errors
///
/// As stat(2).
pub fn inode_of_root(path: &Path) -> Result<Inode, Errno> {
    retry(|| stat(path)).map(|found| Inode::from(&found))
}

/// The inode at a path in the configuration, without following a symlink there.
///
/// # Errors
///
/// As lstat(2).
pub fn inode_of_link(path: &Path) -> Result<Inode, Errno> {
    retry(|| lstat(path)).map(|found| Inode::from(&found))
}

/// Opens `path`, relative to `root` and without following symlinks, as an `O_PATH` descriptor. If the last
/// component is a symlink, opens the symlink itself.
///
/// Every component is resolved beneath `root` with `O_NOFOLLOW` semantics, so that the walk stops at a
/// component which the container replaces with a symlink to somewhere else (CVE-2021-30465, CVE-2021-25741).
///
/// # Errors
///
/// `ELOOP` or `ENOTDIR`: a symlink or a file is in the way. `EXDEV`: with `same_mount`, a host mount is.
/// Otherwise as openat2(2).
pub fn open_beneath(root: BorrowedFd, path: RelRef, same_mount: bool) -> Result<OwnedFd, Errno> {
    open_beneath_as(root, path, same_mount, OFlag::empty())
}

/// [`open_beneath`] for a path that has to be a directory.
///
/// # Errors
///
/// As [`open_beneath`]; `ENOTDIR` if it is not a directory.
pub fn open_directory_beneath(
    root: BorrowedFd,
    path: RelRef,
    same_mount: bool,
) -> Result<OwnedFd, Errno> {
    open_beneath_as(root, path, same_mount, OFlag::O_DIRECTORY)
}

fn open_beneath_as(
    root: BorrowedFd,
    path: RelRef,
    same_mount: bool,
    kind: OFlag,
) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | kind;
    if !WITHOUT_OPENAT2.load(Ordering::Relaxed) {
        let mut resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        if same_mount {
            resolve |= ResolveFlag::RESOLVE_NO_XDEV;
        }
        let how = OpenHow::new().flags(flags).resolve(resolve);
        let name = if path.is_root() {
            b"."
        } else {
            path.as_bytes()
        };
        match retry(|| openat2(root, OsStr::from_bytes(name), how)) {
            Err(Errno::ENOSYS | Errno::EPERM) => do_without_openat2(),
            other => return other,
        }
    }
    open_by_component(root, path, same_mount, flags)
}

/// Walks a path as openat2(2) does: opens each component relative to the one before, and follows no symlink.
fn open_by_component(
    root: BorrowedFd,
    path: RelRef,
    same_mount: bool,
    flags: OFlag,
) -> Result<OwnedFd, Errno> {
    let mount = if same_mount {
        Some(mount_id(root)?)
    } else {
        None
    };
    let mut names = path.names().map(Name::as_bytes).peekable();
    if path.is_root() {
        return retry(|| openat(root, ".", flags, Mode::empty()));
    }
    let mut current: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        let flags = if names.peek().is_some() {
            flags | OFlag::O_DIRECTORY
        } else {
            flags
        };
        let directory = current.as_ref().map_or(root, AsFd::as_fd);
        let next = retry(|| openat(directory, OsStr::from_bytes(name), flags, Mode::empty()))?;
        if let Some(mount) = &mount {
            if mount_id(next.as_fd())? != *mount {
                return Err(Errno::EXDEV);
            }
        }
        current = Some(next);
    }
    current.ok_or(Errno::ENOENT)
}

/// The ID of the mount that a descriptor was opened on, from proc_pid_fdinfo(5): statx(2) has it since Linux
/// 5.8, and kernels that need this are older than 5.6.
fn mount_id(fd: BorrowedFd) -> Result<Vec<u8>, Errno> {
    let text = std::fs::read(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))
        .map_err(|error| errno_of(&error))?;
    text.split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"mnt_id:"))
        .map(|id| id.trim_ascii().to_vec())
        .ok_or(Errno::ENOSYS)
}

/// The directory `root` as a non-recursive bind shows it: without the host mounts below it. A detached copy
/// that is gone once its descriptor is closed. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
///
/// As open_tree(2).
pub fn without_submounts(root: BorrowedFd) -> Result<OwnedFd, Errno> {
    // Without AT_RECURSIVE, as CRIU binds an external mount.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(root, "", flags).map_err(|error| Errno::from_raw(error.raw_os_error()))
}

/// The inode of an open descriptor.
///
/// # Errors
///
/// As fstat(2).
pub fn inode(fd: BorrowedFd) -> Result<Inode, Errno> {
    fstat(fd).map(|found| Inode::from(&found))
}

/// The inode called `name` in an open directory; for a symlink, the symlink's own. With a single component
/// there is nothing to follow, so this is as safe as opening it, with one system call instead of three.
///
/// # Errors
///
/// As fstatat(2).
pub fn inode_in(directory: BorrowedFd, name: Name) -> Result<Inode, Errno> {
    let name = OsStr::from_bytes(name.as_bytes());
    retry(|| fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW))
        .map(|found| Inode::from(&found))
}

/// The file system of an open directory.
///
/// # Errors
///
/// As fstatfs(2).
pub fn file_system(directory: BorrowedFd) -> Result<FileSystem, Errno> {
    let found = fstatfs(directory)?;
    // The type of f_type depends on the C library; magic numbers have 32 bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let magic = found.filesystem_type().0 as u32;
    Ok(FileSystem {
        kernel: kernel_fs::name_of(magic),
        read_only: found.flags().contains(FsFlags::ST_RDONLY),
    })
}

/// The errno of an [`std::io::Error`]; `EIO` if it has none.
pub fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO))
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 1..MAX_TRIES {
        match call() {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            other => return other,
        }
    }
    call()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // The tests create the files that the code inspects.
mod tests {
    use super::*;

    #[test]
    fn a_path_is_walked_by_component_as_openat2_walks_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        std::fs::create_dir_all(at.join("a/b")).unwrap();
        std::fs::write(at.join("file"), "").unwrap();
        std::os::unix::fs::symlink("a", at.join("link")).unwrap();
        let root = open_root(at).unwrap();
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        for path in [
            "a", "a/b", "file", "link", "gone", "a/gone", "link/b", "file/x", "",
        ] {
            let path = RelRef::new(path.as_bytes()).unwrap();
            let by_kernel = open_beneath(root.as_fd(), path, true);
            let by_hand = open_by_component(root.as_fd(), path, true, flags);
            let shown = |opened: &Result<OwnedFd, Errno>| match opened {
                Ok(fd) => format!("{:?}", inode(fd.as_fd()).map(|inode| inode.identity)),
                // For a symlink in the way openat2(2) returns ELOOP, and the walk by component ENOTDIR.
                Err(Errno::ELOOP) => format!("{:?}", Errno::ENOTDIR),
                Err(errno) => format!("{errno:?}"),
            };
            assert_eq!(shown(&by_kernel), shown(&by_hand), "{path}");
        }
    }

    #[test]
    fn a_mount_in_the_way_is_told_by_the_kernel_and_by_hand() {
        let root = open_root(Path::new("/")).unwrap();
        let path = RelRef::new(b"proc/self").unwrap();
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        for (same_mount, errno) in [(true, Some(Errno::EXDEV)), (false, None)] {
            let by_kernel = open_beneath(root.as_fd(), path, same_mount);
            let by_hand = open_by_component(root.as_fd(), path, same_mount, flags);
            assert_eq!((by_kernel.err(), by_hand.err()), (errno, errno));
        }
    }

    /// O_PATH needs no read permission, doesn't wait for the other end of a FIFO and doesn't open devices.
    #[test]
    fn what_is_looked_at_is_not_opened_to_be_read() {
        let (root, path) = (Path::new("/proc"), RelRef::new(b"sys").unwrap());
        let open = open_root(root).unwrap();
        for open in [
            open_directory(root).unwrap(),
            open_beneath(open.as_fd(), path, true).unwrap(),
            open_directory_beneath(open.as_fd(), path, true).unwrap(),
            open,
        ] {
            let flags = nix::fcntl::fcntl(&open, nix::fcntl::F_GETFL).unwrap();
            let flags = OFlag::from_bits_truncate(flags);
            assert!(flags.contains(OFlag::O_PATH), "{flags:?}");
            assert!(is_closed_on_exec(&open));
        }
    }

    fn is_closed_on_exec(open: &OwnedFd) -> bool {
        let flags = nix::fcntl::fcntl(open, nix::fcntl::F_GETFD).unwrap();
        flags == nix::libc::FD_CLOEXEC
    }

    #[test]
    fn only_a_directory_is_opened_to_be_listed() {
        assert!(is_closed_on_exec(
            &open_to_list(Path::new("/proc")).unwrap()
        ));
        let file = open_to_list(Path::new("/proc/version"));
        assert_eq!(file.unwrap_err(), Errno::ENOTDIR);
    }

    #[test]
    fn procfs_and_sysfs_are_known_as_the_kernels() {
        for (path, name) in [("/proc", "proc"), ("/sys", "sysfs")] {
            let root = open_root(Path::new(path)).unwrap();
            assert_eq!(file_system(root.as_fd()).unwrap().kernel, Some(name));
        }
    }

    #[test]
    fn a_mount_ends_a_walk_by_component_as_it_ends_openat2_s() {
        let root = open_root(Path::new("/")).unwrap();
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let path = |path| RelRef::new(path).unwrap();
        for path in [path(b"proc"), path(b"proc/self")] {
            let by_kernel = open_beneath(root.as_fd(), path, true);
            let by_hand = open_by_component(root.as_fd(), path, true, flags);
            assert_eq!(by_kernel.unwrap_err(), Errno::EXDEV);
            assert_eq!(by_hand.unwrap_err(), Errno::EXDEV);
        }
        open_by_component(root.as_fd(), path(b"proc"), false, flags).unwrap();
    }
}
