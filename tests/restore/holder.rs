// SPDX-License-Identifier: Apache-2.0
//! A program for containers that holds things open: this very one, under another name. Its arguments are what
//! it does, in order; then it waits until it is killed.

use std::fs::{self, DirBuilder, OpenOptions};
use std::net::{TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use nix::sys::stat::{Mode, SFlag, mknodat, umask};
use nix::unistd::{Gid, Uid, chroot, setfsgid, setfsuid, setgroups};
use rustix::fs::inotify;

/// The name in the container.
pub const NAME: &str = "holder";

/// Whether this program was called as the holder.
pub fn is_called() -> bool {
    let name = std::env::args_os().next().unwrap_or_default();
    Path::new(&name).file_name() == Some(NAME.as_ref())
}

/// Does what the arguments say, and never returns.
pub fn main() -> ! {
    umask(Mode::empty());
    let mut only_tries = false;
    let mut made = Vec::new();
    for argument in std::env::args().skip(1) {
        if argument == "try" {
            only_tries = true;
            continue;
        }
        let mut parts = argument.splitn(3, ':');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (what, path, detail) = (part(), part(), part());
        let is_new = !Path::new(&path).exists();
        let done = act(&what, &path, &detail, &made);
        if is_new && done.is_ok() {
            made.push(path);
        }
        done.unwrap_or_else(|error| assert!(only_tries, "{argument}: {error}"));
    }
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Does one thing. `detail` is a mode, in octal, or a group.
fn act(what: &str, path: &str, detail: &str, before: &[String]) -> std::io::Result<()> {
    let mode = u32::from_str_radix(detail, 8).unwrap_or(0o755);
    let open = |options: &mut OpenOptions| options.open(path).map(IntoRawFd::into_raw_fd);
    match what {
        // A directory, all above it, and its mode, unless it is there: then it stays as it is.
        "mkdir" if Path::new(path).exists() => {}
        "mkdir" => {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o755).create(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        // What was made before, not what was there.
        "rm" if !before.iter().any(|made| made == path) => {}
        "rm" => fs::remove_file(path).or_else(|_| fs::remove_dir(path))?,
        "cd" => std::env::set_current_dir(path)?,
        "open" => drop(open(OpenOptions::new().read(true))?),
        "fifo" => {
            let only_mode = Mode::from_bits_truncate(mode);
            mknodat(AT_FDCWD, path, SFlag::S_IFIFO, only_mode, 0)?;
            open(OpenOptions::new().read(true).write(true))?;
        }
        // One with content is for nobody to make.
        "empty" if fs::metadata(path).is_ok_and(|file| file.len() > 0) => {}
        "empty" => {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).mode(mode);
            open(&mut options)?;
        }
        "log" => {
            let mut options = OpenOptions::new();
            let append = options.append(true).create(true).mode(mode);
            let fd = append.custom_flags(OFlag::O_APPEND.bits()).open(path)?;
            nix::unistd::write(&fd, b"what has happened\n")?;
            let _ = fd.into_raw_fd();
        }
        "listen" => {
            let _ = UnixListener::bind(path)?.into_raw_fd();
        }
        "datagram" => {
            let _ = UnixDatagram::bind(path)?.into_raw_fd();
        }
        "send" => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            let _ = socket.into_raw_fd();
        }
        // A socket that listens at an address, and one at both ends of a connection.
        "serve" => {
            let _ = TcpListener::bind((path, 7777))?.into_raw_fd();
        }
        "connect" => {
            let listener = TcpListener::bind((path, 7778))?;
            let _ = TcpStream::connect((path, 7778))?.into_raw_fd();
            let _ = listener.accept()?.0.into_raw_fd();
        }
        "watch" => {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
            let events = inotify::WatchFlags::CREATE | inotify::WatchFlags::DELETE;
            inotify::add_watch(&watch, path, events)?;
            let _ = watch.into_raw_fd();
        }
        // Of a file or a directory, who knows.
        "modified" => {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
            inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY)?;
            let _ = watch.into_raw_fd();
        }
        "mark" => {
            let group = Fanotify::init(InitFlags::FAN_CLASS_NOTIF, EventFFlags::O_RDONLY)?;
            let mask = MaskFlags::FAN_OPEN | MaskFlags::FAN_EVENT_ON_CHILD;
            group.mark(MarkFlags::FAN_MARK_ADD, mask, AT_FDCWD, Some(path))?;
            // Open for as long as the process is.
            std::mem::forget(group);
        }
        "chroot" => chroot(path)?,
        // A file that tells others that this one has got so far.
        "ready" => fs::write(path, "")?,
        // As setresuid(2) would, as far as files are concerned. CRIU needs CAP_SYS_RESOURCE to checkpoint a task
        // of another real user, which is not everywhere to be had.
        "user" => {
            let uid = path.parse().map_err(std::io::Error::other)?;
            let gid = detail.parse().map_err(std::io::Error::other)?;
            setgroups(&[])?;
            setfsgid(Gid::from_raw(gid));
            setfsuid(Uid::from_raw(uid));
        }
        _ => return Err(std::io::Error::other("nothing that a holder does")),
    }
    Ok(())
}
