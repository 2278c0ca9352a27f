// SPDX-License-Identifier: Apache-2.0
//! The text of `plan`: the container's mounts as a tree, each with the host path of its mountpoint
//! and how it stands with it. Fits 100 columns; what is longer goes on in the next line.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::summary::Summary;
use crate::checkpoint::{MountImage, Namespace, OpenKind};
use crate::error::shown;
use crate::escape::Escaped;
use crate::mountpoints::failure::Failure;
use crate::mountpoints::plan::{Plan, PlannedFile, PlannedMount, Status};
use crate::mountpoints::required::root_of;

/// Columns in all.
const WIDTH: usize = 100;
/// The widest that the column of the destinations becomes.
const WIDEST_NAME: usize = 40;
/// Deeper mounts than this are drawn no further to the right.
const DEEPEST: usize = 8;

#[derive(Clone)]
struct Style(&'static str);

const PLAIN: Style = Style("");
const DIM: Style = Style("\u{1b}[2m");
const GREEN: Style = Style("\u{1b}[32m");
const YELLOW: Style = Style("\u{1b}[1;33m");
const RED: Style = Style("\u{1b}[1;31m");

/// A row, before it is laid out.
#[derive(Clone)]
struct Row {
    /// The branch that leads to it.
    branch: String,
    /// What goes on below the branch in the lines after the first.
    below: String,
    name: String,
    file_system: String,
    status: &'static str,
    style: Style,
    /// Where it is on the host, or what is wrong.
    notes: Vec<(String, Style)>,
}

impl Row {
    /// The row that all others hang from.
    fn rootfs(note: String) -> Self {
        Self {
            branch: String::new(),
            below: String::new(),
            name: "/".to_owned(),
            file_system: "rootfs".to_owned(),
            status: "",
            style: PLAIN,
            notes: vec![(note, PLAIN)],
        }
    }
}

pub(super) fn plan(plan: &Plan, colour: bool, out: &mut dyn Write) -> io::Result<()> {
    let root = Row::rootfs(shown(&plan.rootfs).to_string());
    // What is there needs no line: a task holds dozens of files.
    let files = plan
        .files
        .iter()
        .filter(|planned| planned.status != Status::Present);
    let files: Vec<&PlannedFile> = files.collect();
    let of_mounts = plan.mounts.iter().map(|planned| planned.parent);
    let parents: Vec<_> = of_mounts
        .chain(files.iter().map(|planned| planned.parent))
        .collect();
    let tree = Tree::new(parents.into_iter());
    let row = |index: usize| match index.checked_sub(plan.mounts.len()) {
        None => plan.mounts.get(index).map(|planned| row(plan, planned)),
        Some(index) => files.get(index).map(|planned| row_of_file(plan, planned)),
    };
    lay_out(&tree, &root, row, colour, out)?;
    writeln!(out, "\n{}", Summary::new(plan))
}

/// The mounts of a checkpoint, each with what a host has to offer for it.
pub(super) fn checkpoint(
    name: &Path,
    namespaces: &[Namespace],
    colour: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (number, namespace) in namespaces.iter().enumerate() {
        match namespaces {
            [_] => writeln!(out, "{}", shown(name))?,
            _ => writeln!(out, "{}, mount namespace {}", shown(name), number + 1)?,
        }
        let root = root_of(namespace).map(|root| root.id);
        let mut mounts: Vec<&MountImage> = namespace
            .mounts
            .iter()
            .filter(|mount| Some(mount.id) != root)
            .collect();
        // By their paths, so that parents come first: the image has its own order.
        mounts.sort_by_key(|mount| mount.mountpoint.as_bytes());
        let places = mounts
            .iter()
            .enumerate()
            .map(|(place, mount)| (mount.id, place));
        let places: BTreeMap<u32, usize> = places.collect();
        // Anything but a parent that came before is no tree.
        let parent = |(place, mount): (usize, &&MountImage)| {
            let parent = places.get(&mount.parent).copied();
            parent.filter(|&parent| parent < place)
        };
        let parents: Vec<Option<usize>> = mounts.iter().enumerate().map(parent).collect();
        let row = |place: usize| {
            let parent = parents.get(place).copied().flatten();
            let below = parent.and_then(|parent| mounts.get(parent)).copied();
            Some(of_checkpoint(mounts.get(place)?, below))
        };
        let tree = Tree::new(parents.iter().copied());
        let top = Row::rootfs("from the host, root.path".to_owned());
        lay_out(&tree, &top, row, colour, out)?;
    }
    Ok(())
}

fn of_checkpoint(mount: &MountImage, below: Option<&MountImage>) -> Row {
    let at = [b"/", mount.mountpoint.as_bytes()].concat();
    let bind =
        |mount: &MountImage| mount.external.is_some() && !mount.file_system.starts_with("cgroup");
    let note = match (&mount.external, below.filter(|below| bind(below))) {
        (Some(key), _) if key == b"/dev/null" => ("from the host, masked".to_owned(), PLAIN),
        (Some(_), _) if bind(mount) => ("from the host, by config.json".to_owned(), PLAIN),
        (Some(_), _) => ("from the host, its cgroup".to_owned(), PLAIN),
        (None, Some(below)) => {
            let below = [b"/", below.mountpoint.as_bytes()].concat();
            let note = format!("from the checkpoint, on the source of {}", Escaped(&below));
            (note, PLAIN)
        }
        (None, None) => ("from the checkpoint".to_owned(), DIM),
    };
    Row {
        branch: String::new(),
        below: String::new(),
        name: Escaped(&at).to_string(),
        file_system: Escaped(mount.file_system.as_bytes()).to_string(),
        status: "",
        style: PLAIN,
        notes: vec![note],
    }
}

/// Writes the rows that hang from `root`. Each is made when it is needed and forgotten: there may be very
/// many.
fn lay_out(
    tree: &Tree,
    root: &Row,
    row: impl Fn(usize) -> Option<Row>,
    colour: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (mut names, mut types, mut statuses) = (0, 0, 0);
    let mut measure = |row: &Row| {
        names = names.max(row.branch.width() + row.name.width());
        types = types.max(row.file_system.width());
        statuses = statuses.max(row.status.width());
    };
    measure(root);
    tree.visit(|index, branch, below| {
        if let Some(row) = row(index) {
            measure(&Row {
                branch,
                below,
                ..row
            });
        }
        Ok(())
    })?;
    let (names, types) = (names.min(WIDEST_NAME), types.min(10));
    let column = names
        + 2
        + types
        + 2
        + if statuses > 0 {
            "by kernel".len() + 2
        } else {
            0
        };
    let mut text = Text {
        out: String::new(),
        colour,
    };
    let mut write = |row: &Row| {
        text.row(row, names, types, column);
        out.write_all(text.out.as_bytes())?;
        text.out.clear();
        Ok(())
    };
    let below = if tree.top.is_empty() { "" } else { "│  " }.to_owned();
    write(&Row {
        below,
        ..root.clone()
    })?;
    tree.visit(|index, branch, below| match row(index) {
        Some(row) => write(&Row {
            branch,
            below,
            ..row
        }),
        None => Ok(()),
    })
}

/// Which row hangs from which.
struct Tree {
    children: Vec<Vec<usize>>,
    top: Vec<usize>,
}

impl Tree {
    /// Of rows that each hang from another, by its index, or from the root.
    fn new(parents: impl ExactSizeIterator<Item = Option<usize>>) -> Self {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); parents.len()];
        let mut top = Vec::new();
        for (index, parent) in parents.enumerate() {
            match parent.and_then(|parent| children.get_mut(parent)) {
                Some(siblings) => siblings.push(index),
                None => top.push(index),
            }
        }
        Self { children, top }
    }

    /// Says the rows from top to bottom, each with the branch that leads to it and what goes on below that.
    fn visit(
        &self,
        mut each: impl FnMut(usize, String, String) -> io::Result<()>,
    ) -> io::Result<()> {
        // The last sibling is on top of its stack, with what to draw before it.
        let mut stack: Vec<(usize, String, usize, bool)> = Vec::new();
        let push = |stack: &mut Vec<_>, siblings: &[usize], before: &str, depth: usize| {
            for (turn, &index) in siblings.iter().rev().enumerate() {
                stack.push((index, before.to_owned(), depth, turn == 0));
            }
        };
        push(&mut stack, &self.top, "", 1);
        while let Some((index, before, depth, last)) = stack.pop() {
            let nested = self.children.get(index).map_or(&[][..], Vec::as_slice);
            let under = format!("{before}{}", if last { "   " } else { "│  " });
            let trunk = if nested.is_empty() || depth > DEEPEST {
                ""
            } else {
                "│  "
            };
            let branch = format!("{before}{}", if last { "└─ " } else { "├─ " });
            each(index, branch, format!("{under}{trunk}"))?;
            let deeper = if depth < DEEPEST { under } else { before };
            push(&mut stack, nested, &deeper, depth + 1);
        }
        Ok(())
    }
}

fn status_and_style(status: &Status) -> (&'static str, Style) {
    match status {
        Status::Present => ("there", GREEN),
        Status::Created(_) => ("created", GREEN),
        Status::Missing(_) => ("MISSING", YELLOW),
        Status::Restored => ("by CRIU", DIM),
        Status::Kernel => ("by kernel", DIM),
        Status::Link => ("a link", DIM),
        Status::NotInspected(_) => ("unknown", DIM),
        Status::KindUnknown => ("MISSING?", YELLOW),
        Status::NotRequested => ("MISSING", YELLOW),
        Status::Failed(_) | Status::NotCreated(..) => ("FAILED", RED),
    }
}

fn row_of_file(plan: &Plan, planned: &PlannedFile) -> Row {
    let (status, style) = status_and_style(&planned.status);
    let at = plan.sources.host_path(&planned.at);
    let mut notes = vec![(shown(&at).to_string(), PLAIN)];
    if let Some(failure) = planned.status.failure() {
        notes.push(failure_note(
            failure,
            plan.file_failed_at(planned),
            Some(&at),
        ));
    }
    if planned.status == Status::NotRequested {
        notes.push(("a log; see --append".to_owned(), PLAIN));
    }
    let kind = match planned.kind {
        OpenKind::Directory | OpenKind::SocketDirectory => "directory",
        OpenKind::Fifo => "FIFO",
        OpenKind::EmptyFile | OpenKind::Log => "file",
        OpenKind::Unknown => "?",
    };
    Row {
        branch: String::new(),
        below: String::new(),
        name: Escaped(&planned.name()).to_string(),
        file_system: kind.to_owned(),
        status,
        style,
        notes,
    }
}

fn failure_note(
    failure: &Failure,
    failed_at: Option<PathBuf>,
    at: Option<&PathBuf>,
) -> (String, Style) {
    let about = failed_at.filter(|path| at != Some(path));
    let about = about.map_or(String::new(), |path| format!(": {}", shown(&path)));
    let (cause, errno) = (failure.cause, failure.cause.errno());
    (format!("{cause}{about} ({errno:?})"), RED)
}

fn row(plan: &Plan, planned: &PlannedMount) -> Row {
    let (status, style) = status_and_style(&planned.status);
    let mut notes = Vec::new();
    let at = plan.host_path(planned);
    if let Some(path) = &at {
        notes.push((shown(path).to_string(), PLAIN));
    }
    if let Some(failure) = planned.status.failure() {
        notes.push(failure_note(failure, plan.failed_at(planned), at.as_ref()));
    }
    let name = match &planned.mount.destination {
        Ok(destination) => destination.view().to_string(),
        Err(_) => Escaped(planned.mount.written.as_bytes()).to_string(),
    };
    Row {
        branch: String::new(),
        below: String::new(),
        name,
        file_system: Escaped(planned.mount.file_system.as_bytes()).to_string(),
        status,
        style,
        notes,
    }
}

struct Text {
    out: String,
    colour: bool,
}

impl Text {
    fn row(&mut self, row: &Row, names: usize, types: usize, column: usize) {
        let mut lines = wrapped(&row.name, WIDTH - row.branch.width()).into_iter();
        let mut used = 0;
        if let Some(line) = lines.next() {
            self.out.push_str(&row.branch);
            self.out.push_str(&line);
            used = row.branch.width() + line.width();
        }
        for line in lines {
            self.line_below(row);
            self.out.push_str(&line);
            used = row.below.width() + line.width();
        }
        if used > names {
            self.line_below(row);
            used = row.below.width();
        }
        self.pad(names.saturating_sub(used) + 2);
        let file_system = cut(&row.file_system, types);
        self.out.push_str(&file_system);
        self.pad(types - file_system.width() + 2);
        self.styled(row.status, &row.style);
        let mut used = names + 2 + types + 2 + row.status.width();
        for (note, style) in &row.notes {
            if used <= column && column + note.width() <= WIDTH {
                self.pad(column - used);
                self.styled(note, style);
            } else {
                let indent = row.below.width() + 2;
                for line in wrapped(note, WIDTH - indent) {
                    self.line_below(row);
                    self.pad(2);
                    self.styled(&line, style);
                }
            }
            used = WIDTH;
        }
        self.end_line();
    }

    fn line_below(&mut self, row: &Row) {
        self.end_line();
        self.out.push_str(&row.below);
    }

    fn end_line(&mut self) {
        let end = self.out.trim_end_matches(' ').len();
        self.out.truncate(end);
        self.out.push('\n');
    }

    fn pad(&mut self, columns: usize) {
        self.out.extend(std::iter::repeat_n(' ', columns));
    }

    fn styled(&mut self, text: &str, style: &Style) {
        if self.colour && !style.0.is_empty() {
            self.out.push_str(style.0);
            self.out.push_str(text);
            self.out.push_str("\u{1b}[0m");
        } else {
            self.out.push_str(text);
        }
    }
}

/// The text in lines of at most `width` columns.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for character in text.chars() {
        let columns = character.width().unwrap_or(0);
        if used + columns > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        line.push(character);
        used += columns;
    }
    lines.push(line);
    lines
}

fn cut(text: &str, width: usize) -> String {
    wrapped(text, width).into_iter().next().unwrap_or_default()
}
