// SPDX-License-Identifier: Apache-2.0
//! The text of `plan`: the container's mounts as a tree, each with the host path of its mountpoint
//! and how it stands with it. Fits 100 columns; what is longer goes on in the next line.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Summary;
use crate::create::outcomes_of;
use crate::error::shown;
use crate::escape::Escaped;
use crate::plan::{Plan, PlannedMount, Status};

/// Columns in all.
const WIDTH: usize = 100;
/// The widest that the column of the destinations becomes.
const WIDEST_NAME: usize = 40;
/// Deeper mounts than this are drawn no further to the right.
const DEEPEST: usize = 8;

struct Style(&'static str);

const PLAIN: Style = Style("");
const DIM: Style = Style("\u{1b}[2m");
const GREEN: Style = Style("\u{1b}[32m");
const YELLOW: Style = Style("\u{1b}[1;33m");
const RED: Style = Style("\u{1b}[1;31m");

/// A row, before it is laid out.
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

pub(super) fn text(plan: &Plan, colour: bool) -> String {
    let rows = rows(plan);
    let name_width = |row: &Row| row.branch.width() + row.name.width();
    let names = rows
        .iter()
        .map(name_width)
        .max()
        .unwrap_or(0)
        .min(WIDEST_NAME);
    let types = rows
        .iter()
        .map(|row| row.file_system.width())
        .max()
        .unwrap_or(0)
        .min(10);
    let mut out = Text {
        out: String::new(),
        colour,
    };
    for row in &rows {
        out.row(row, names, types);
    }
    out.out.push('\n');
    out.out
        .push_str(&Summary::new(plan, &outcomes_of(plan)).to_string());
    out.out.push('\n');
    out.out
}

fn rows(plan: &Plan) -> Vec<Row> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); plan.mounts.len()];
    let mut top = Vec::new();
    for (index, planned) in plan.mounts.iter().enumerate() {
        match planned.parent.and_then(|parent| children.get_mut(parent)) {
            Some(siblings) => siblings.push(index),
            None => top.push(index),
        }
    }
    let rootfs = shown(&plan.rootfs).to_string();
    let trunk = if top.is_empty() { "" } else { "│  " };
    let mut rows = vec![Row {
        branch: String::new(),
        below: trunk.to_owned(),
        name: "/".to_owned(),
        file_system: "rootfs".to_owned(),
        status: "",
        style: PLAIN,
        notes: vec![(rootfs, PLAIN)],
    }];
    // The last sibling is on top of its stack, with what to draw before it.
    let mut stack: Vec<(usize, String, usize, bool)> = Vec::new();
    let push = |stack: &mut Vec<_>, siblings: &[usize], before: &str, depth: usize| {
        for (turn, &index) in siblings.iter().rev().enumerate() {
            stack.push((index, before.to_owned(), depth, turn == 0));
        }
    };
    push(&mut stack, &top, "", 1);
    while let Some((index, before, depth, last)) = stack.pop() {
        let Some(planned) = plan.mounts.get(index) else {
            continue;
        };
        let nested = children.get(index).map_or(&[][..], Vec::as_slice);
        let under = format!("{before}{}", if last { "   " } else { "│  " });
        let trunk = if nested.is_empty() || depth > DEEPEST {
            ""
        } else {
            "│  "
        };
        rows.push(Row {
            branch: format!("{before}{}", if last { "└─ " } else { "├─ " }),
            below: format!("{under}{trunk}"),
            ..row(planned)
        });
        let deeper = if depth < DEEPEST { under } else { before };
        push(&mut stack, nested, &deeper, depth + 1);
    }
    rows
}

fn row(planned: &PlannedMount) -> Row {
    let (status, style) = match &planned.status {
        Status::Present => ("there", GREEN),
        Status::Missing(_) => ("MISSING", YELLOW),
        Status::Restored => ("by CRIU", DIM),
        Status::Kernel => ("by kernel", DIM),
        Status::Unjudged(_) => ("unknown", DIM),
        Status::Undecided => ("MISSING?", YELLOW),
        Status::Failed(_) => ("FAILED", RED),
    };
    let mut notes = Vec::new();
    if let Some(path) = &planned.host_path {
        notes.push((shown(path).to_string(), PLAIN));
    }
    if let Some(failure) = planned.status.failure() {
        let about = failure
            .host_path
            .as_ref()
            .filter(|path| planned.host_path.as_ref() != Some(*path));
        let about = about.map_or(String::new(), |path| format!(": {}", shown(path)));
        notes.push((
            format!("{}{about} ({:?})", failure.cause, failure.cause.errno()),
            RED,
        ));
    }
    Row {
        branch: String::new(),
        below: String::new(),
        name: planned.mount.destination.to_string(),
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
    fn row(&mut self, row: &Row, names: usize, types: usize) {
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
            let column = names + 2 + types + 2 + "by kernel".len() + 2;
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
