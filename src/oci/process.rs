// SPDX-License-Identifier: Apache-2.0
//! The container's process, as far as it decides what is created and by whom (runtime-spec config.md,
//! "Process").

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::json::{Object, Text};
use crate::path::RelPath;

/// A user with its groups, by their IDs in the container (runtime-spec config.md, "User") or on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// The user ID.
    pub uid: u32,
    /// The group ID.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// The container's process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// The working directory, cleaned; none if there is none, or if it is no absolute path.
    pub cwd: Option<RelPath>,
    /// Its user, by the IDs in the container.
    pub user: User,
    /// Whether root in the container may have `CAP_DAC_OVERRIDE`: whether it is in the bounding set.
    pub may_override: bool,
}

/// A process as parsed.
#[derive(Default, serde::Deserialize)]
pub(super) struct RawProcess<'a> {
    #[serde(borrow)]
    cwd: Option<Text<'a>>,
    user: Option<Object<RawUser>>,
    capabilities: Option<Object<RawCapabilities>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawUser {
    uid: u32,
    gid: u32,
    additional_gids: Option<Vec<u32>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct RawCapabilities {
    bounding: Option<Bounding>,
}

/// Whether a list of capabilities has `CAP_DAC_OVERRIDE`.
struct Bounding(bool);

impl<'de> Deserialize<'de> for Bounding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Bounding;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bounding, A::Error> {
                let mut has = false;
                while let Some(Text(name)) = list.next_element()? {
                    has |= name == "CAP_DAC_OVERRIDE";
                }
                Ok(Bounding(has))
            }
        }
        deserializer.deserialize_seq(Names)
    }
}

impl From<RawProcess<'_>> for Process {
    fn from(raw: RawProcess) -> Self {
        let cwd = raw.cwd.filter(|Text(cwd)| cwd.starts_with('/'));
        let Object(user) = raw.user.unwrap_or_default();
        let Object(capabilities) = raw.capabilities.unwrap_or_default();
        Self {
            cwd: cwd.and_then(|Text(cwd)| RelPath::from_destination(&cwd).ok()),
            user: User {
                uid: user.uid,
                gid: user.gid,
                groups: user.additional_gids.unwrap_or_default(),
            },
            may_override: capabilities.bounding.is_some_and(|Bounding(has)| has),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Process {
        serde_json::from_str::<RawProcess>(json).unwrap().into()
    }

    #[test]
    fn a_process_is_its_directory_its_user_and_one_capability() {
        let process = parsed(
            r#"{"terminal":true,"cwd":"/a/../b/","user":{"uid":7,"gid":8,"additionalGids":[9],"umask":1},
                "capabilities":{"bounding":["CAP_CHOWN","CAP_DAC_OVERRIDE"],"ambient":null}}"#,
        );
        assert_eq!(process.cwd.unwrap().as_bytes(), b"b");
        let (uid, gid, groups) = (7, 8, vec![9]);
        assert_eq!(process.user, User { uid, gid, groups });
        assert!(process.may_override);
        for json in ["{}", r#"{"cwd":null,"user":{},"capabilities":{}}"#] {
            let process = parsed(json);
            assert!(process.cwd.is_none() && process.user == User::default());
            assert!(!process.may_override);
        }
        assert!(parsed(r#"{"cwd":"relative"}"#).cwd.is_none());
        let only = parsed(r#"{"capabilities":{"effective":["CAP_DAC_OVERRIDE"]}}"#);
        assert!(!only.may_override);
    }
}
