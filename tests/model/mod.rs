// SPDX-License-Identifier: Apache-2.0
//! Random containers over a tiny alphabet of names, so that mounts, links and directories meet: as
//! data, as directories with a config.json, and as what a first start makes of them in a model of
//! the kernel's mount tree.
#![allow(dead_code)] // The users of this take what they need.

pub mod kernel;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A container: its rootfs and its sources, and what is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The rootfs, and then the sources.
    pub trees: Vec<ModelTree>,
    pub mounts: Vec<ModelMount>,
    /// `process.cwd`.
    pub cwd: String,
    /// What tasks hold open: for each task, what a holder does (tests/restore/holder.rs).
    pub holders: Vec<Vec<String>>,
}

/// A directory of the host's: its entries, parents first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelTree {
    pub entries: Vec<(String, TreeEntry)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeEntry {
    Directory,
    File,
    Link(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMount {
    pub destination: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Tmpfs {
        copy_up: bool,
    },
    Bind {
        tree: usize,
        /// The path in the tree, all of it directories but for the last; empty for the tree.
        path: String,
        recursive: bool,
        read_only: bool,
    },
}

/// Choices, one byte each; zeros when they run out.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn below(&mut self, limit: usize) -> usize {
        usize::from(*self.0.next().unwrap_or(&0)) % limit
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.below(NAMES.len())]
    }

    /// A path of up to `most` components.
    fn path(&mut self, most: usize) -> String {
        let length = 1 + self.below(most);
        let names: Vec<&str> = (0..length).map(|_| self.name()).collect();
        names.join("/")
    }

    /// What a task does before it holds what it has open.
    fn holder(&mut self) -> Vec<String> {
        const MODES: [&str; 6] = ["755", "700", "1777", "711", "750", "555"];
        // What it can't do it leaves.
        let mut all = vec!["try".to_owned()];
        for _ in 0..=self.below(4) {
            let at = format!("/{}", self.path(3));
            let mode = MODES[self.below(MODES.len())];
            let inside = format!("{at}/{}", self.name());
            let own = format!("mkdir:{at}:{mode}");
            match self.below(11) {
                0 => all.extend([own, format!("cd:{at}")]),
                1 => all.extend([own, format!("open:{at}")]),
                2 => all.extend([own, format!("fifo:{inside}:{}", &mode[mode.len() - 3..])]),
                3 => all.extend([own, format!("empty:{inside}:{}", &mode[mode.len() - 3..])]),
                4 => all.extend([own, format!("log:{inside}:640")]),
                5 => all.extend([own, format!("listen:{inside}")]),
                6 => all.extend([own, format!("datagram:{inside}")]),
                7 => all.extend([own, format!("watch:{at}")]),
                // Deleted while it is open: CRIU brings it back.
                8 => all.extend([own, format!("empty:{inside}:600"), format!("rm:{inside}")]),
                9 => all.extend([own, format!("cd:{at}"), format!("rm:{at}")]),
                _ => all.push("user:1000:1001".to_owned()),
            }
        }
        all
    }

    /// What a link says: with dots, from the root or from where it is.
    fn link(&mut self) -> String {
        let length = 1 + self.below(3);
        let names = (0..length).map(|_| match self.below(8) {
            0 | 1 => "..",
            2 => ".",
            _ => self.name(),
        });
        let path = names.collect::<Vec<_>>().join("/");
        let slash = if self.below(2) == 0 { "/" } else { "" };
        format!("{slash}{path}")
    }
}

/// Choices by a seed: SplitMix64, for the same ones everywhere.
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u8::try_from(mixed >> 56).unwrap()
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }
}

impl Container {
    /// Any bytes are a container.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut choices = Choices(bytes.iter());
        let trees = 2 + choices.below(3);
        let trees: Vec<ModelTree> = (0..trees)
            .map(|_| ModelTree::choose(&mut choices))
            .collect();
        let mounts = 1 + choices.below(8);
        let mounts = (0..mounts)
            .map(|_| ModelMount::choose(&mut choices, &trees))
            .collect();
        let cwd = match choices.below(2) {
            0 => "/".to_owned(),
            _ => format!("/{}", choices.path(3)),
        };
        let holders = choices.below(4);
        let holders = (0..holders).map(|_| choices.holder()).collect();
        Self {
            trees,
            mounts,
            cwd,
            holders,
        }
    }

    /// A container of this seed's.
    pub fn from_seed(seed: u64) -> Self {
        let mut choices = Seeded::new(seed);
        let bytes: Vec<u8> = std::iter::repeat_with(|| choices.byte())
            .take(512)
            .collect();
        Self::from_bytes(&bytes)
    }

    /// Makes the trees below `base`; the rootfs is `base/0`.
    pub fn build(&self, base: &Path) {
        for (index, tree) in self.trees.iter().enumerate() {
            let top = tree_path(base, index);
            fs::create_dir_all(&top).unwrap();
            for (path, entry) in &tree.entries {
                let at = top.join(path);
                match entry {
                    TreeEntry::Directory => fs::create_dir(at).unwrap(),
                    TreeEntry::File => fs::write(at, "kept").unwrap(),
                    TreeEntry::Link(text) => symlink(text, at).unwrap(),
                }
            }
        }
    }

    /// The mounts as config.json has them, for the trees below `base`.
    pub fn mounts_json(&self, base: &Path) -> Vec<Value> {
        self.mounts.iter().map(|mount| mount.json(base)).collect()
    }

    /// The smallest container for which `fails` holds still, if it holds for this one.
    pub fn shrunk(&self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut smallest = self.clone();
        loop {
            let Some(smaller) = smallest
                .smaller()
                .into_iter()
                .find(|smaller| fails(smaller))
            else {
                return smallest;
            };
            smallest = smaller;
        }
    }

    /// All containers that lack one thing that this one has.
    fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for index in 0..self.mounts.len() {
            let mut smaller = self.clone();
            smaller.mounts.remove(index);
            all.push(smaller);
        }
        for holder in 0..self.holders.len() {
            let mut smaller = self.clone();
            smaller.holders.remove(holder);
            all.push(smaller);
            for index in 1..self.holders[holder].len() {
                let mut smaller = self.clone();
                smaller.holders[holder].remove(index);
                all.push(smaller);
            }
        }
        if self.cwd != "/" {
            let mut smaller = self.clone();
            "/".clone_into(&mut smaller.cwd);
            all.push(smaller);
        }
        for (tree, entries) in self.trees.iter().enumerate() {
            for (index, (path, _)) in entries.entries.iter().enumerate() {
                let below = format!("{path}/");
                let has_children = entries
                    .entries
                    .iter()
                    .any(|(other, _)| other.starts_with(&below));
                let is_source = self.mounts.iter().any(|mount| {
                    matches!(&mount.what, What::Bind { tree: source, path: at, .. }
                        if *source == tree && (at == path || at.starts_with(&below)))
                });
                if !has_children && !is_source {
                    let mut smaller = self.clone();
                    smaller.trees[tree].entries.remove(index);
                    all.push(smaller);
                }
            }
        }
        all
    }
}

impl Display for Container {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (index, tree) in self.trees.iter().enumerate() {
            let name = if index == 0 {
                "rootfs".to_owned()
            } else {
                format!("source {index}")
            };
            let entries: Vec<String> = tree
                .entries
                .iter()
                .map(|(path, entry)| match entry {
                    TreeEntry::Directory => format!("{path}/"),
                    TreeEntry::File => path.clone(),
                    TreeEntry::Link(text) => format!("{path} -> {text}"),
                })
                .collect();
            writeln!(out, "{name}: {}", entries.join(", "))?;
        }
        if self.cwd != "/" {
            writeln!(out, "cwd: {}", self.cwd)?;
        }
        for holder in &self.holders {
            writeln!(out, "task: {}", holder.join(" "))?;
        }
        for ModelMount { destination, what } in &self.mounts {
            match what {
                What::Tmpfs { copy_up } => {
                    let option = if *copy_up { " (tmpcopyup)" } else { "" };
                    writeln!(out, "mount {destination}: tmpfs{option}")?;
                }
                What::Bind {
                    tree,
                    path,
                    recursive,
                    read_only,
                } => {
                    let option = if *recursive { "rbind" } else { "bind" };
                    let read_only = if *read_only { ",ro" } else { "" };
                    writeln!(
                        out,
                        "mount {destination}: {option}{read_only} source {tree}/{path}"
                    )?;
                }
            }
        }
        Ok(())
    }
}

/// Where the tree of that number is.
pub fn tree_path(base: &Path, tree: usize) -> PathBuf {
    base.join(tree.to_string())
}

impl ModelTree {
    fn choose(choices: &mut Choices) -> Self {
        let mut tree = Self::default();
        for _ in 0..choices.below(6) {
            let path = choices.path(3);
            let entry = match choices.below(4) {
                0 | 1 => TreeEntry::Directory,
                2 => TreeEntry::File,
                _ => TreeEntry::Link(choices.link()),
            };
            tree.add(&path, entry);
        }
        tree
    }

    /// Adds an entry and its parents, unless something that is no directory is in the way.
    fn add(&mut self, path: &str, entry: TreeEntry) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.add(parent, TreeEntry::Directory);
            if !self
                .entries
                .contains(&(parent.to_owned(), TreeEntry::Directory))
            {
                return;
            }
        }
        if self.entries.iter().all(|(other, _)| other != path) {
            self.entries.push((path.to_owned(), entry));
        }
    }
}

impl ModelMount {
    fn choose(choices: &mut Choices, trees: &[ModelTree]) -> Self {
        let names = choices.path(4);
        let destination = match choices.below(8) {
            0 => format!("/{names}/"),
            1 => format!("/./{}", names.replace('/', "//")),
            2 => format!("/{}/../{names}", choices.name()),
            _ => format!("/{names}"),
        };
        let what = if choices.below(5) == 0 {
            What::Tmpfs {
                copy_up: choices.below(3) == 0,
            }
        } else {
            let tree = 1 + choices.below(trees.len() - 1);
            let usable = |(_, entry): &&(String, TreeEntry)| !matches!(entry, TreeEntry::Link(_));
            let paths: Vec<&(String, TreeEntry)> =
                trees[tree].entries.iter().filter(usable).collect();
            let path = match choices.below(paths.len() * 2 + 1) {
                0 => String::new(),
                index => paths
                    .get(index - 1)
                    .map_or(String::new(), |(path, _)| path.clone()),
            };
            let recursive = choices.below(2) == 0;
            What::Bind {
                tree,
                path,
                recursive,
                read_only: choices.below(8) == 7,
            }
        };
        Self { destination, what }
    }

    fn json(&self, base: &Path) -> Value {
        match &self.what {
            What::Tmpfs { copy_up } => {
                let options: &[&str] = if *copy_up { &["tmpcopyup"] } else { &[] };
                json!({"destination": self.destination, "type": "tmpfs", "source": "tmpfs",
                       "options": options})
            }
            What::Bind {
                tree,
                path,
                recursive,
                read_only,
            } => {
                let source = tree_path(base, *tree);
                let source = if path.is_empty() {
                    source
                } else {
                    source.join(path)
                };
                let mut options = vec![if *recursive { "rbind" } else { "bind" }];
                if *read_only {
                    options.push("ro");
                }
                json!({"destination": self.destination, "type": "bind", "source": source,
                       "options": options})
            }
        }
    }
}

/// What is below a directory, by path.
pub type Listing = BTreeMap<String, TreeEntry>;

/// What is below `top`.
pub fn list(top: &Path) -> Listing {
    let mut found = Listing::new();
    list_below(top, "", &mut found);
    found
}

fn list_below(top: &Path, path: &str, found: &mut Listing) {
    for entry in fs::read_dir(top.join(path)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if path.is_empty() {
            name
        } else {
            format!("{path}/{name}")
        };
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.insert(path.clone(), TreeEntry::Directory);
            list_below(top, &path, found);
        } else if kind.is_symlink() {
            let text = fs::read_link(entry.path()).unwrap();
            found.insert(path, TreeEntry::Link(text.to_str().unwrap().to_owned()));
        } else {
            found.insert(path, TreeEntry::File);
        }
    }
}
