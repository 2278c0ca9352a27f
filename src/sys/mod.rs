// SPDX-License-Identifier: Apache-2.0
//! Every system call that premount makes on untrusted paths, and nothing else.
//!
//! A path is taken only from an open directory and never through a link, but for the roots
//! themselves ([`open_root`]), which are the host paths that the configuration names. Nothing here
//! decides anything: what an errno means is for the caller to say.

mod access;
mod inode;
pub mod kernel_fs;
mod listing;
mod powers;
pub mod procfs;

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, fstat, fstatat, lstat, mkdirat, stat};
use nix::sys::statfs::fstatfs;
use nix::sys::statvfs::FsFlags;
use rustix::mount::{OpenTreeFlags, open_tree};

pub use access::{Access, access, access_at, is_initial_user_namespace, open_to_read};
pub use inode::{Inode, InodeKind, MountpointKind};
pub use listing::{close_inherited, list, open_to_list};
pub use powers::{Powers, leave_groups, search};

use crate::path::{Name, RelRef};

/// How often openat2(2) is tried again when it lost a race with a rename (EAGAIN) or was
/// interrupted: enough for any honest file system, and an end for a dishonest one.
const TRIES: usize = 64;

/// Set once openat2(2) turned out to be missing (Linux before 5.6) or refused (an old seccomp
/// profile): from then on paths are walked one component at a time.
static WITHOUT_OPENAT2: AtomicBool = AtomicBool::new(false);

/// The file system below an open directory.
#[derive(Clone, Copy, Debug)]
pub struct FileSystem {
    /// Its name, if it is a kernel file system: nothing may be created there.
    pub kernel: Option<&'static str>,
    /// Mounted read-only, or read-only itself.
    pub read_only: bool,
}

/// From now on, walks paths one component at a time, as on a kernel without openat2(2).
pub fn do_without_openat2() {
    WITHOUT_OPENAT2.store(true, Ordering::Relaxed);
}

/// Opens a directory or file that the configuration names by its host path, as the runtime would:
/// links are followed, since whoever wrote the configuration chose them.
pub fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    retry(|| open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()))
}

/// Opens a directory, links followed: one that the kernel names, or who called.
pub fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    retry(|| open(path, flags, Mode::empty()))
}

/// The path of an open directory, as the kernel knows it (proc_pid_fd(5)).
pub fn name_of(fd: BorrowedFd) -> Result<PathBuf, Errno> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(link).map_err(|error| errno_of(&error))
}

/// What [`open_root`] would open, without opening it: most sources are never looked into.
pub fn inode_of_root(path: &Path) -> Result<Inode, Errno> {
    retry(|| stat(path)).map(|found| Inode::from(&found))
}

/// What a path of the configuration's itself is, a link too.
pub fn inode_of_link(path: &Path) -> Result<Inode, Errno> {
    retry(|| lstat(path)).map(|found| Inode::from(&found))
}

/// The text of a link that the configuration names.
pub fn text_of_link(path: &Path) -> Result<Vec<u8>, Errno> {
    nix::fcntl::readlink(path).map(OsStringExt::into_vec)
}

/// Opens `path`, relative to `root` and without links, as an `O_PATH` descriptor.
///
/// A link as the last component is opened itself. `ELOOP` or `ENOTDIR`: a link or a file is in the
/// way. `EXDEV`: with `same_mount`, a mount of the host's is.
///
/// Every component is taken with `O_NOFOLLOW` semantics beneath `root`, so that a component which
/// the container exchanges for a link to somewhere else stops the walk (CVE-2021-30465,
/// CVE-2021-25741).
pub fn open_beneath(root: BorrowedFd, path: RelRef, same_mount: bool) -> Result<OwnedFd, Errno> {
    open_beneath_as(root, path, same_mount, OFlag::empty())
}

/// [`open_beneath`], for a path that has to be a directory (`ENOTDIR` otherwise).
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

/// The walk of openat2(2) by hand: each component on the open directory before it, no link
/// followed.
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

/// The mount that a descriptor was opened on, from proc_pid_fdinfo(5): statx(2) tells it only from
/// Linux 5.8 on, and this is for kernels that have not even openat2(2) of 5.6.
fn mount_id(fd: BorrowedFd) -> Result<Vec<u8>, Errno> {
    let text = std::fs::read(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))
        .map_err(|error| errno_of(&error))?;
    text.split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"mnt_id:"))
        .map(|id| id.trim_ascii().to_vec())
        .ok_or(Errno::ENOSYS)
}

/// The directory `root` as a bind without `rbind` shows it: without the mounts that the host has
/// below it. A copy that no path leads to, gone with its descriptor. Takes `CAP_SYS_ADMIN`.
pub fn without_submounts(root: BorrowedFd) -> Result<OwnedFd, Errno> {
    // Not recursive, so mounts below stay out; CRIU binds an external mount in the same way.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(root, "", flags).map_err(|error| Errno::from_raw(error.raw_os_error()))
}

/// What an open descriptor refers to.
pub fn inode(fd: BorrowedFd) -> Result<Inode, Errno> {
    fstat(fd).map(|found| Inode::from(&found))
}

/// What has the name `name` in an open directory; of a link the link. One component: there is nothing on
/// the way that could be followed, so this is as safe as opening it, and one call in place of three.
pub fn inode_in(directory: BorrowedFd, name: Name) -> Result<Inode, Errno> {
    let name = OsStr::from_bytes(name.as_bytes());
    retry(|| fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW))
        .map(|found| Inode::from(&found))
}

/// The text of the link `name` in an open directory; `EINVAL` if it is none (any more).
pub fn read_link_in(directory: BorrowedFd, name: Name) -> Result<Vec<u8>, Errno> {
    let name = OsStr::from_bytes(name.as_bytes());
    nix::fcntl::readlinkat(directory, name).map(OsStringExt::into_vec)
}

/// The text of a link that [`open_beneath`] opened.
pub fn read_link(link: BorrowedFd) -> Result<Vec<u8>, Errno> {
    nix::fcntl::readlinkat(link, "").map(OsStringExt::into_vec)
}

/// The file system of an open directory.
pub fn file_system(directory: BorrowedFd) -> Result<FileSystem, Errno> {
    let found = fstatfs(directory)?;
    // The type of f_type differs from one C library to the next; the numbers have 32 bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let magic = found.filesystem_type().0 as u32;
    Ok(FileSystem {
        kernel: kernel_fs::name_of(magic),
        read_only: found.flags().contains(FsFlags::ST_RDONLY),
    })
}

/// Creates a directory, mode 0755; `EEXIST` where anything, a link too, has that name.
pub fn make_directory(parent: BorrowedFd, name: Name) -> Result<(), Errno> {
    let name = OsStr::from_bytes(name.as_bytes());
    retry(|| mkdirat(parent, name, Mode::from_bits_truncate(0o755)))
}

/// Creates an empty file, mode 0644; `EEXIST` where anything, a link too, has that name.
pub fn make_file(parent: BorrowedFd, name: Name) -> Result<(), Errno> {
    // O_EXCL: an existing file is neither opened nor truncated, and a dangling symlink is not followed.
    let flags =
        OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o644);
    let name = OsStr::from_bytes(name.as_bytes());
    retry(|| openat(parent, name, flags, mode)).map(drop)
}

/// Gives new inodes the modes that are asked for, whatever the caller's umask.
pub fn reset_umask() {
    nix::sys::stat::umask(Mode::empty());
}

/// The errno of a standard library error.
pub fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO))
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 1..TRIES {
        match call() {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            other => return other,
        }
    }
    call()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // The tests build what the code is to look at.
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
                // A link in the way is ELOOP to the kernel, and not a directory by hand.
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

    /// So no right to read is asked for, a FIFO has no other end to wait for, and a device is left alone.
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
