// SPDX-License-Identifier: Apache-2.0
//! A path in the container's view, checked once: nothing behind it has to wonder about blanks, dots
//! or NULs again.

use std::fmt::{self, Display, Formatter};

use crate::escape::Escaped;

/// Most bytes in a path, its final NUL included (`PATH_MAX`, limits.h).
pub const PATH_MAX: usize = 4096;
/// Most bytes in one component (`NAME_MAX`, limits.h).
const NAME_MAX: usize = 255;

/// An absolute path in the container, cleaned as runc cleans a destination: repeated slashes, `.`
/// and `..` are taken out by the letter, before any link is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPath(
    /// The components, with a slash between them; empty for the container's root.
    Vec<u8>,
);

/// Why a destination is no path at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPath {
    /// A NUL in it.
    Nul,
    /// Longer than `PATH_MAX`, or a component of it longer than `NAME_MAX`.
    TooLong,
}

impl ContainerPath {
    /// Checks and cleans a destination. One without a leading slash starts at the container's root all
    /// the same: runtime-spec config.md, "Mounts", demands an absolute path, and runc and crun don't.
    pub fn parse(path: &str) -> Result<Self, NoPath> {
        if path.contains('\0') {
            return Err(NoPath::Nul);
        }
        if path.len() >= PATH_MAX {
            return Err(NoPath::TooLong);
        }
        let mut clean: Vec<&str> = Vec::new();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(clean.pop()),
                _ if name.len() > NAME_MAX => return Err(NoPath::TooLong),
                _ => clean.push(name),
            }
        }
        Ok(Self(clean.join("/").into_bytes()))
    }

    /// A path that is known to be of plain components, without its leading slash.
    pub(crate) fn from_plain(path: Vec<u8>) -> Self {
        Self(path)
    }

    /// The path without its leading slash; empty for the container's root.
    pub fn relative(&self) -> &[u8] {
        &self.0
    }
}

impl Display for ContainerPath {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "/{}", Escaped(&self.0))
    }
}

/// `base` and `path` with a slash between them where both have something to say.
pub fn join(base: &[u8], path: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(base.len() + 1 + path.len());
    joined.extend_from_slice(base);
    if !base.is_empty() && !path.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(path);
    joined
}

/// Whether a clean path is another, or lies below it.
pub fn is_below(path: &[u8], top: &[u8]) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| top.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
}

/// The ends of the components in a clean relative path: each `path[..end]` is a prefix of it.
pub fn component_ends(path: &[u8]) -> impl Iterator<Item = usize> {
    let slashes = path
        .iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'/')
        .map(|(at, _)| at);
    slashes.chain((!path.is_empty()).then_some(path.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(path: &str) -> String {
        ContainerPath::parse(path).unwrap().to_string()
    }

    #[test]
    fn destinations_are_cleaned_by_the_letter() {
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
    fn what_no_path_can_be_is_refused() {
        let parse = |path: &str| ContainerPath::parse(path).unwrap_err();
        assert_eq!(parse("/a\0b"), NoPath::Nul);
        assert_eq!(parse(&format!("/{}", "a/".repeat(2048))), NoPath::TooLong);
        assert_eq!(parse(&format!("/{}", "n".repeat(256))), NoPath::TooLong);
        ContainerPath::parse(&format!("/{}", "n".repeat(255))).unwrap();
    }

    #[test]
    fn the_ends_of_components_are_the_prefixes_of_a_path() {
        assert_eq!(component_ends(b"a/bc/d").collect::<Vec<_>>(), [1, 4, 6]);
        assert_eq!(component_ends(b"").count(), 0);
    }
}
