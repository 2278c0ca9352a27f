// SPDX-License-Identifier: Apache-2.0
//! What a checkpoint that stands alone needs of a host, as text.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::checkpoint::OpenKind;
use crate::error::shown;
use crate::escape::Escaped;
use crate::mountpoints::budget::Lines;
use crate::mountpoints::needs::{NeededInode, NeededKind, NeededSource, UNKNOWN};
use crate::sys::MountpointKind;

/// Writes what is needed of the host itself, and the sources, each with what has to be in it. An engine's own are left
/// out if nothing has to be in them.
pub(super) fn text(
    needs: &[NeededSource],
    of_host: &[(&str, String)],
    out: &mut dyn Write,
) -> io::Result<()> {
    let is_shown = |source: &&NeededSource| !source.by_engine || !source.inodes.is_empty();
    let mut shown_sources = needs.iter().filter(is_shown).peekable();
    if shown_sources.peek().is_none() && of_host.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nThis checkpoint needs of the host:")?;
    if !of_host.is_empty() {
        writeln!(out)?;
    }
    for (what, which) in of_host {
        writeln!(out, "{what}: {which}")?;
    }
    let mut lines = Lines::default();
    for source in shown_sources {
        let at = Escaped(source.mount.mount.written.as_bytes());
        let kind = source.kind.map_or(UNKNOWN, MountpointKind::name);
        write!(out, "\n{at}: {kind}")?;
        match (source.by_engine, source.was) {
            (true, _) => writeln!(out, " of the engine's")?,
            (false, Some(was)) => writeln!(out, ", which was {}", shown(was))?,
            (false, None) => writeln!(out)?,
        }
        let rows = || source.inodes.iter().map(|inode| (described(inode), inode));
        let mut widths = [0; 3];
        for (columns, _) in rows() {
            for (width, column) in widths.iter_mut().zip(columns) {
                *width = column.len().max(*width);
            }
        }
        let [kinds, modes, sizes] = widths;
        for ([kind, mode, size], inode) in rows() {
            if lines.take(inode.path.len()) {
                let (path, note) = (Escaped(&inode.path), note(inode));
                writeln!(
                    out,
                    "    {kind:kinds$}  {mode:modes$}  {size:>sizes$}  {path}{note}"
                )?;
            }
        }
    }
    if lines.omitted() > 0 {
        writeln!(out, "{} more that are not listed", lines.omitted())?;
    }
    Ok(())
}

/// Its kind, its mode and its size.
fn described(inode: &NeededInode) -> [Cow<'static, str>; 3] {
    let mode = inode.mode.map(|mode| format!("{mode:04o}").into());
    let is_file = matches!(
        inode.kind,
        NeededKind::Open(OpenKind::File | OpenKind::EmptyFile)
    );
    let size = inode.size.filter(|_| is_file);
    let size = size.map(|size| format!("{size} bytes").into());
    [
        inode.kind.name().into(),
        mode.unwrap_or_default(),
        size.unwrap_or_default(),
    ]
}

fn note(inode: &NeededInode) -> &'static str {
    match inode.kind {
        _ if inode.by_premount => "",
        NeededKind::Open(OpenKind::Log) => " (see io.premount.append)",
        NeededKind::Open(OpenKind::File) => " (with its content)",
        _ => " (not made by premount)",
    }
}
