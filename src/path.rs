// SPDX-License-Identifier: Apache-2.0
//! Clean relative paths. A [`RelPath`] is checked once, when it is parsed. After that no operation can turn
//! it into a path that leads up, and there are no byte offsets to get wrong.

use std::borrow::Borrow;
use std::fmt::{self, Display, Formatter};

use crate::escape::Escaped;

/// Maximum length of a path in bytes, including the final NUL (`PATH_MAX`, limits.h).
pub const PATH_MAX: usize = 4096;
/// Maximum length of a component in bytes (`NAME_MAX`, limits.h).
const NAME_MAX: usize = 255;

/// One component of a path: never empty, `.` or `..`, and without slashes or NULs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Checks a component.
    pub fn new(name: &'a [u8]) -> Option<Self> {
        let plain = !matches!(name, b"" | b"." | b"..")
            && !name.iter().any(|&byte| matches!(byte, b'/' | 0));
        plain.then_some(Self(name))
    }

    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The path that consists of this component.
    pub fn as_path(self) -> RelRef<'a> {
        RelRef(self.0)
    }
}

/// A clean path relative to a directory: [`Name`]s separated by single slashes. Empty for the directory
/// itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Vec<u8>);

/// A borrowed [`RelPath`], or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelRef<'a>(&'a [u8]);

/// Why a destination is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAPath {
    /// It contains a NUL.
    Nul,
    /// It is longer than `PATH_MAX`, or a component of it is longer than `NAME_MAX`.
    TooLong,
}

impl RelPath {
    /// Cleans a mount's destination as runc does: removes repeated slashes, `.` and `..` lexically, before
    /// any symlink is resolved. The path is relative to the container's root even without a leading slash:
    /// runtime-spec config.md, "Mounts", requires an absolute path, but runc and crun don't.
    ///
    /// # Errors
    ///
    /// The destination contains a NUL or is too long.
    pub fn from_destination(path: &str) -> Result<Self, NotAPath> {
        if path.contains('\0') {
            return Err(NotAPath::Nul);
        }
        if path.len() >= PATH_MAX {
            return Err(NotAPath::TooLong);
        }
        let mut clean = Self(Vec::with_capacity(path.len()));
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(clean.pop()),
                _ if name.len() > NAME_MAX => return Err(NotAPath::TooLong),
                _ => clean.push(Name(name.as_bytes())),
            }
        }
        Ok(clean)
    }

    /// Converts an absolute path that the kernel has written, which is always clean. None for any other path:
    /// CRIU's images are untrusted.
    pub fn from_absolute(path: &[u8]) -> Option<Self> {
        let path = path.strip_prefix(b"/")?;
        let clean = RelRef::new(path)?;
        let fits = |name: Name| name.0.len() <= NAME_MAX;
        let is_short = path.len() <= NAME_MAX || clean.names().all(fits);
        (path.len() < PATH_MAX && is_short).then(|| clean.to_owned())
    }

    /// The path, borrowed.
    pub fn view(&self) -> RelRef<'_> {
        RelRef(&self.0)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends a component.
    pub fn push(&mut self, name: Name) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name.0);
    }

    /// Removes the last component. Returns false if there is none.
    pub fn pop(&mut self) -> bool {
        let length = self.view().parent().map(|parent| parent.0.len());
        if let Some(length) = length {
            self.0.truncate(length);
        }
        length.is_some()
    }
}

/// For lookups in maps and sets of paths.
impl Borrow<[u8]> for RelPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for RelRef<'_> {
    fn borrow(&self) -> &[u8] {
        self.0
    }
}

impl<'a> RelRef<'a> {
    /// The directory itself.
    pub const ROOT: Self = Self(b"");

    /// Checks a path.
    pub fn new(path: &'a [u8]) -> Option<Self> {
        let clean = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
        let mut names = path.split(|&byte| byte == b'/');
        let is_clean = path.is_empty() || !path.contains(&0) && names.all(clean);
        is_clean.then_some(Self(path))
    }

    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// An owned copy.
    pub fn to_owned(self) -> RelPath {
        RelPath(self.0.to_vec())
    }

    /// Whether this is the directory itself.
    pub fn is_root(self) -> bool {
        self.0.is_empty()
    }

    /// Length in bytes.
    pub fn size(self) -> usize {
        self.0.len()
    }

    /// The number of components.
    pub fn depth(self) -> usize {
        match self.0 {
            b"" => 0,
            path => path.split(|&byte| byte == b'/').count(),
        }
    }

    /// The components.
    pub fn names(self) -> impl Iterator<Item = Name<'a>> {
        self.0
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
            .map(Name)
    }

    /// The parent directory and the last component. None for the root.
    pub fn split_last(self) -> Option<(Self, Name<'a>)> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|&byte| byte == b'/');
        let (parent, name) = match slash {
            Some(slash) => self.0.split_at(slash),
            None => return Some((Self::ROOT, Name(self.0))),
        };
        Some((Self(parent), Name(name.strip_prefix(b"/").unwrap_or(name))))
    }

    /// The first component and the rest. None for the root.
    pub fn split_first(self) -> Option<(Name<'a>, Self)> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().position(|&byte| byte == b'/');
        let (name, rest) = self.0.split_at(slash.unwrap_or(self.0.len()));
        Some((Name(name), Self(rest.strip_prefix(b"/").unwrap_or(rest))))
    }

    /// The parent directory. None for the root.
    pub fn parent(self) -> Option<Self> {
        self.split_last().map(|(parent, _)| parent)
    }

    /// The path itself and all directories above it, the root last.
    pub fn ancestors(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |path| path.parent())
    }

    /// All prefixes, from the first component to the whole path; without the root.
    pub fn prefixes(self) -> impl Iterator<Item = Self> {
        let path = self.0;
        let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
        let before = slashes.filter_map(move |(at, _)| path.get(..at).map(Self));
        before.chain((!path.is_empty()).then_some(self))
    }

    /// The first `depth` components, or the whole path if it has fewer.
    #[must_use]
    pub fn prefix(self, depth: usize) -> Self {
        match depth {
            0 => Self::ROOT,
            _ => self.prefixes().nth(depth - 1).unwrap_or(self),
        }
    }

    /// The path relative to `top`, if it is `top` or below.
    pub fn strip_prefix(self, top: Self) -> Option<Self> {
        let rest = self.0.strip_prefix(top.0)?;
        if top.is_root() || rest.is_empty() {
            return Some(Self(rest));
        }
        rest.strip_prefix(b"/").map(Self)
    }

    /// Whether the path is `top` or below.
    pub fn is_in(self, top: Self) -> bool {
        self.strip_prefix(top).is_some()
    }

    /// The path followed by `below`.
    pub fn join(self, below: Self) -> RelPath {
        let mut joined = Vec::with_capacity(self.0.len() + 1 + below.0.len());
        joined.extend_from_slice(self.0);
        if !self.is_root() && !below.is_root() {
            joined.push(b'/');
        }
        joined.extend_from_slice(below.0);
        RelPath(joined)
    }
}

/// Writes the path as an absolute path, escaped.
impl Display for RelRef<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "/{}", Escaped(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(path: &str) -> String {
        RelPath::from_destination(path).unwrap().view().to_string()
    }

    fn rel(path: &str) -> RelRef<'_> {
        RelRef::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn destinations_are_cleaned_lexically() {
        assert_eq!(clean("/a//b/./c/"), "/a/b/c");
        assert_eq!(clean("/a/b/../c"), "/a/c");
        assert_eq!(clean("/../../a"), "/a");
        assert_eq!(clean("/"), "/");
        assert_eq!(clean("/a/.."), "/");
        for (relative, absolute) in [("a/b", "/a/b"), ("./a", "/a"), ("../a", "/a"), ("", "/")] {
            assert_eq!(clean(relative), absolute);
        }
    }

    #[test]
    fn a_destination_that_is_not_a_path_is_refused() {
        let parse = |path: &str| RelPath::from_destination(path).unwrap_err();
        assert_eq!(parse("/a\0b"), NotAPath::Nul);
        assert_eq!(parse(&format!("/{}", "a/".repeat(2048))), NotAPath::TooLong);
        assert_eq!(parse(&format!("/{}", "n".repeat(256))), NotAPath::TooLong);
        RelPath::from_destination(&format!("/{}", "n".repeat(255))).unwrap();
    }

    #[test]
    fn of_images_only_clean_absolute_paths_are_taken() {
        for good in ["/", "/a", "/a/b c/d"] {
            assert!(RelPath::from_absolute(good.as_bytes()).is_some(), "{good}");
        }
        let long = format!("/{}", "n".repeat(256));
        let longer = format!("/{}", "a/".repeat(2047) + "ab");
        for bad in [
            "", "a", "/a/../b", "/..", "/a//b", "/./a", "/a/", "/a\0b", &long, &longer,
        ] {
            assert!(RelPath::from_absolute(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_path_is_taken_apart_at_its_slashes() {
        let path = rel("a/bc/d");
        let all = |paths: Vec<RelRef>| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(all(path.prefixes().collect()), ["/a", "/a/bc", "/a/bc/d"]);
        assert_eq!(
            all(path.ancestors().collect()),
            ["/a/bc/d", "/a/bc", "/a", "/"]
        );
        assert_eq!(RelRef::ROOT.prefixes().count(), 0);
        assert_eq!(path.split_last(), Some((rel("a/bc"), Name(b"d"))));
        assert_eq!(rel("a").split_last(), Some((RelRef::ROOT, Name(b"a"))));
        assert_eq!(RelRef::ROOT.split_last(), None);
        assert_eq!(path.split_first(), Some((Name(b"a"), rel("bc/d"))));
        assert_eq!(rel("a").split_first(), Some((Name(b"a"), RelRef::ROOT)));
        assert_eq!(RelRef::ROOT.split_first(), None);
        for depth in 0..5 {
            assert_eq!(path.prefix(depth).depth(), depth.min(3));
        }
        assert_eq!(path.names().count(), 3);
    }

    #[test]
    fn a_path_grows_and_shrinks_by_components() {
        let mut path = RelPath::default();
        assert!(!path.pop());
        path.push(Name(b"a"));
        path.push(Name(b"b"));
        assert_eq!(path.as_bytes(), b"a/b");
        assert!(path.pop() && path.pop());
        assert_eq!(path, RelPath::default());
    }

    #[test]
    fn a_path_lies_below_another_by_whole_components() {
        let below = |path, top| rel(path).strip_prefix(rel(top)).map(RelRef::as_bytes);
        assert_eq!(below("a/b", "a"), Some(&b"b"[..]));
        assert_eq!(below("a", "a"), Some(&b""[..]));
        assert_eq!(below("a", ""), Some(&b"a"[..]));
        assert_eq!(below("ab", "a"), None);
        assert_eq!(below("", "a"), None);
        assert!(
            rel("a/b").is_in(rel("a")) && rel("a").is_in(rel("a")) && !rel("ab").is_in(rel("a"))
        );
        assert_eq!(rel("a").join(rel("b/c")).as_bytes(), b"a/b/c");
        assert_eq!(rel("").join(rel("b")).as_bytes(), b"b");
        assert_eq!(rel("a").join(rel("")).as_bytes(), b"a");
    }
}
