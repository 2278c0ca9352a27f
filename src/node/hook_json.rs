// SPDX-License-Identifier: Apache-2.0
//! Parses a hook's JSON as engines do (go.podman.io/common/pkg/hooks, in CRI-O and Podman): a hook that they
//! reject keeps CRI-O from starting, and Podman from starting containers. Where Go's JSON parser is more
//! lenient than serde's, so is this one: names in any case, null for a missing value, bytes that are not
//! UTF-8.

use std::path::Path;

use nix::errno::Errno;
use serde_json::{Map, Value};

use crate::error::Errored;
use crate::node::pattern;

/// The current version of the format. The old version may be omitted.
const VERSION: &str = "1.0.0";
const OLD_VERSION: &str = "0.1.0";
const STAGES: [&str; 6] = [
    "createContainer",
    "createRuntime",
    "prestart",
    "poststart",
    "poststop",
    "startContainer",
];

/// Why engines do not load a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The program does not exist: an engine skips the hook, and ignores later faults in that directory.
    NoProgram,
    /// The engine rejects the hook, for this reason. The first such hook in a directory keeps the engine from
    /// starting.
    Rejected(String),
}

/// A hook, in either version of the format.
#[derive(Debug, Default)]
pub struct Hook<'a> {
    /// Its program.
    pub program: Option<&'a str>,
    /// The stages at which it runs; `None` if it does not specify any.
    pub stages: Option<Vec<&'a str>>,
    patterns: Vec<(&'static str, &'a str)>,
}

/// An object, and its place in the file.
struct Object<'a> {
    at: &'static str,
    properties: Option<&'a Map<String, Value>>,
}

impl<'a> Hook<'a> {
    /// Parses a file.
    ///
    /// # Errors
    ///
    /// The reason why engines reject it.
    pub fn parse(value: &'a Value) -> Result<Self, String> {
        let file = Object::new(Some(value), "")?;
        let old = match file.text("version")?.unwrap_or_default() {
            VERSION => false,
            OLD_VERSION | "" => true,
            other => return Err(format!("version: expected {VERSION:?}, found {other:?}")),
        };
        if old {
            Self::old(&file)
        } else {
            Self::current(&file)
        }
    }

    /// Parses version 1.0.0.
    fn current(file: &Object<'a>) -> Result<Self, String> {
        let hook = Object::new(file.get("hook"), "hook.")?;
        let when = Object::new(file.get("when"), "when.")?;
        for name in ["args", "env"] {
            hook.list(name)?;
        }
        hook.typed("timeout", "an integer", |it| it.as_i64().map(drop))?;
        for name in ["always", "hasBindMounts"] {
            when.typed(name, "a boolean", |it| it.as_bool().map(drop))?;
        }
        let mut patterns = Vec::new();
        let annotations = Object::new(when.get("annotations"), "when.annotations")?;
        for (key, value) in annotations.properties.into_iter().flatten() {
            patterns.push((annotations.at, key.as_str()));
            patterns.push((annotations.at, string(value, annotations.at)?));
        }
        let commands = when.list("commands")?.unwrap_or_default();
        patterns.extend(commands.into_iter().map(|it| ("when.commands", it)));
        Ok(Self {
            program: hook.text("path")?,
            stages: file.list("stages")?,
            patterns,
        })
    }

    /// Parses version 0.1.0, in which some properties have two names.
    fn old(file: &Object<'a>) -> Result<Self, String> {
        let either = |name: &'static str, other: &'static str| {
            Ok::<_, String>(match (file.list(name)?, file.list(other)?) {
                (Some(_), Some(_)) => return Err(format!("{other}: conflicts with {name}")),
                (some, None) | (None, some) => some,
            })
        };
        file.list("arguments")?;
        file.typed("hasbindmounts", "a boolean", |it| it.as_bool().map(drop))?;
        let program = file.text("hook")?.ok_or("hook: missing")?;
        let stages = either("stages", "stage")?;
        let commands = either("cmds", "cmd")?.unwrap_or_default();
        let annotations = either("annotations", "annotation")?.unwrap_or_default();
        let command_patterns = commands.into_iter().map(|it| ("cmds", it));
        let annotation_patterns = annotations.into_iter().map(|it| ("annotations", it));
        Ok(Self {
            program: Some(program),
            stages,
            patterns: command_patterns.chain(annotation_patterns).collect(),
        })
    }

    /// Checks the hook as an engine does, in the same order; `access` stands for access(2) on the program.
    ///
    /// # Errors
    ///
    /// The first fault that an engine would find.
    pub fn check(
        &self,
        more_stages: &[&str],
        access: impl Fn(&Path) -> Result<(), Errno>,
    ) -> Result<(), Fault> {
        let rejected = |reason: String| Err(Fault::Rejected(reason));
        let Some(program) = self.program.filter(|program| !program.is_empty()) else {
            return rejected("hook.path: missing".to_owned());
        };
        match access(Path::new(program)) {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Err(Fault::NoProgram),
            Err(errno) => return rejected(format!("hook.path: {}", Errored(errno))),
        }
        for (place, text) in &self.patterns {
            if let Err(reason) = pattern::check(text) {
                return rejected(format!("{place}: {text:?}: {reason}"));
            }
        }
        let Some(stages) = &self.stages else {
            return rejected("stages: missing".to_owned());
        };
        let known = |stage: &&str| STAGES.contains(stage) || more_stages.contains(stage);
        match stages.iter().find(|stage| !known(stage)) {
            Some(stage) => rejected(format!("stages: unknown stage {stage:?}")),
            None => Ok(()),
        }
    }
}

impl<'a> Object<'a> {
    fn new(value: Option<&'a Value>, at: &'static str) -> Result<Self, String> {
        let properties = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(properties)) => Some(properties),
            Some(other) => {
                return Err(expected(at.trim_end_matches('.'), "an object", kind(other)));
            }
        };
        Ok(Self { at, properties })
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        let mut all = self.properties?.iter();
        let found = all.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value).filter(|it| !it.is_null())
    }

    fn typed<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let place = format!("{}{name}", self.at);
        let read = read(value).ok_or_else(|| expected(&place, what, kind(value)))?;
        Ok(Some(read))
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        self.typed(name, "a string", Value::as_str)
    }

    fn list(&self, name: &str) -> Result<Option<Vec<&'a str>>, String> {
        let Some(items) = self.typed(name, "an array", Value::as_array)? else {
            return Ok(None);
        };
        let place = format!("{}{name}", self.at);
        let items = items.iter().map(|item| string(item, &place));
        items.collect::<Result<_, _>>().map(Some)
    }
}

/// A string; null counts as an empty one.
fn string<'a>(value: &'a Value, place: &str) -> Result<&'a str, String> {
    if value.is_null() {
        return Ok("");
    }
    let text = value.as_str();
    text.ok_or_else(|| expected(place, "a string", kind(value)))
}

fn expected(place: &str, expected: &str, found: &str) -> String {
    let colon = if place.is_empty() { "" } else { ": " };
    format!("{place}{colon}expected {expected}, found {found}")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
