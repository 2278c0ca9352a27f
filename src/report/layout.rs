// SPDX-License-Identifier: Apache-2.0
//! Lays out a tree as text in columns, at most 100 columns wide; longer text continues on the next line.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Total columns.
const WIDTH: usize = 100;
/// Maximum width of the column with the paths.
const WIDEST_NAME: usize = 40;
/// Maximum depth of indentation.
const DEEPEST: usize = 8;

/// A terminal escape.
#[derive(Clone)]
pub(super) struct Style(&'static str);

pub(super) const PLAIN: Style = Style("");
pub(super) const DIM: Style = Style("\u{1b}[2m");
pub(super) const GREEN: Style = Style("\u{1b}[32m");
pub(super) const YELLOW: Style = Style("\u{1b}[1;33m");
pub(super) const RED: Style = Style("\u{1b}[1;31m");

/// A row, before it is laid out.
#[derive(Clone)]
pub(super) struct Row {
    /// The branch that leads to it.
    pub(super) branch: String,
    /// What continues below the branch on the lines after the first.
    pub(super) below: String,
    pub(super) name: String,
    pub(super) file_system: String,
    pub(super) status: &'static str,
    pub(super) style: Style,
    /// Its host path, or what is wrong.
    pub(super) notes: Vec<(String, Style)>,
}

impl Row {
    /// The root of the tree.
    pub(super) fn rootfs(note: String) -> Self {
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

/// Writes `root` and all rows below it. Each row is built when it is needed, and dropped: there may be very many.
pub(super) fn lay_out(
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

/// The parents and children of the rows.
pub(super) struct Tree {
    children: Vec<Vec<usize>>,
    top: Vec<usize>,
}

impl Tree {
    /// A tree of rows with these parents; None is the root.
    pub(super) fn new(parents: impl ExactSizeIterator<Item = Option<usize>>) -> Self {
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

    /// Calls `each` with the rows from top to bottom, with the branch that leads to each and what continues below.
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
