// SPDX-License-Identifier: Apache-2.0
//! A hook's JSON as engines read it (go.podman.io/common/pkg/hooks, in CRI-O and in Podman): what they refuse
//! keeps them from starting, or from starting a container. Where Go's JSON is more lenient than serde's, so
//! is this: any case in names, null for nothing, bytes that are no UTF-8.

use std::path::Path;

use nix::errno::Errno;
use serde_json::{Map, Value};

use crate::error::Errored;
use crate::node::pattern;

/// The version of what engines call a hook now, and that of what they did before, which may be left out.
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

/// What engines don't make a hook of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The program isn't there; an engine passes over it, and over every other fault in that directory.
    NoProgram,
    /// The first of these in a directory keeps an engine from starting.
    Refused(String),
}

/// A hook, in whichever version it is written.
#[derive(Debug, Default)]
pub struct Hook<'a> {
    /// Its program.
    pub program: Option<&'a str>,
    /// When the engine has it called; none where it doesn't say.
    pub stages: Option<Vec<&'a str>>,
    patterns: Vec<(&'static str, &'a str)>,
}

/// An object, and where in the file it is.
struct Object<'a> {
    at: &'static str,
    properties: Option<&'a Map<String, Value>>,
}

impl<'a> Hook<'a> {
    /// What a file says.
    pub fn of(value: &'a Value) -> Result<Self, String> {
        let whole = Object::of(Some(value), "")?;
        let old = match whole.text("version")?.unwrap_or_default() {
            VERSION => false,
            OLD_VERSION | "" => true,
            other => return Err(format!("version: {other:?}, where {VERSION:?} belongs")),
        };
        if old {
            Self::old(&whole)
        } else {
            Self::new(&whole)
        }
    }

    fn new(whole: &Object<'a>) -> Result<Self, String> {
        let hook = Object::of(whole.get("hook"), "hook.")?;
        let when = Object::of(whole.get("when"), "when.")?;
        for name in ["args", "env"] {
            hook.list(name)?;
        }
        hook.typed("timeout", "a whole number", |it| it.as_i64().map(drop))?;
        for name in ["always", "hasBindMounts"] {
            when.typed(name, "a boolean", |it| it.as_bool().map(drop))?;
        }
        let mut patterns = Vec::new();
        let annotations = Object::of(when.get("annotations"), "when.annotations")?;
        for (key, value) in annotations.properties.into_iter().flatten() {
            patterns.push((annotations.at, key.as_str()));
            patterns.push((annotations.at, string(value, annotations.at)?));
        }
        let commands = when.list("commands")?.unwrap_or_default();
        patterns.extend(commands.into_iter().map(|it| ("when.commands", it)));
        Ok(Self {
            program: hook.text("path")?,
            stages: whole.list("stages")?,
            patterns,
        })
    }

    /// One of version 0.1.0, with two names for some of its properties.
    fn old(whole: &Object<'a>) -> Result<Self, String> {
        let either = |name: &'static str, other: &'static str| {
            Ok::<_, String>(match (whole.list(name)?, whole.list(other)?) {
                (Some(_), Some(_)) => return Err(format!("{other}: beside {name}")),
                (some, None) | (None, some) => some,
            })
        };
        whole.list("arguments")?;
        whole.typed("hasbindmounts", "a boolean", |it| it.as_bool().map(drop))?;
        let program = whole.text("hook")?.ok_or("hook: missing")?;
        let stages = either("stages", "stage")?;
        let commands = either("cmds", "cmd")?.unwrap_or_default();
        let annotations = either("annotations", "annotation")?.unwrap_or_default();
        let of_commands = commands.into_iter().map(|it| ("cmds", it));
        let of_annotations = annotations.into_iter().map(|it| ("annotations", it));
        Ok(Self {
            program: Some(program),
            stages,
            patterns: of_commands.chain(of_annotations).collect(),
        })
    }

    /// What an engine would have against it, in its order: `there` says of a program what access(2) would.
    pub fn judge(
        &self,
        more_stages: &[&str],
        there: impl Fn(&Path) -> Result<(), Errno>,
    ) -> Result<(), Fault> {
        let refused = |reason: String| Err(Fault::Refused(reason));
        let Some(program) = self.program.filter(|program| !program.is_empty()) else {
            return refused("hook.path: missing".to_owned());
        };
        match there(Path::new(program)) {
            Ok(()) => {}
            Err(Errno::ENOENT) => return Err(Fault::NoProgram),
            Err(errno) => return refused(format!("hook.path: {}", Errored(errno))),
        }
        for (place, text) in &self.patterns {
            if let Err(reason) = pattern::check(text) {
                return refused(format!("{place}: {text:?}: {reason}"));
            }
        }
        let Some(stages) = &self.stages else {
            return refused("stages: missing".to_owned());
        };
        let known = |stage: &&str| STAGES.contains(stage) || more_stages.contains(stage);
        match stages.iter().find(|stage| !known(stage)) {
            Some(stage) => refused(format!("stages: {stage:?} is none")),
            None => Ok(()),
        }
    }
}

impl<'a> Object<'a> {
    fn of(value: Option<&'a Value>, at: &'static str) -> Result<Self, String> {
        let properties = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(properties)) => Some(properties),
            Some(other) => {
                return Err(wanted(at.trim_end_matches('.'), kind(other), "an object"));
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
        let read = read(value).ok_or_else(|| wanted(&place, kind(value), what))?;
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

/// A string, or the nothing that null is.
fn string<'a>(value: &'a Value, place: &str) -> Result<&'a str, String> {
    if value.is_null() {
        return Ok("");
    }
    let text = value.as_str();
    text.ok_or_else(|| wanted(place, kind(value), "a string"))
}

fn wanted(place: &str, found: &str, wanted: &str) -> String {
    let colon = if place.is_empty() { "" } else { ": " };
    format!("{place}{colon}{found}, where {wanted} belongs")
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
