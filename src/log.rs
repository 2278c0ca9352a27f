// SPDX-License-Identifier: Apache-2.0
//! The log: one line per event on standard error, without time or colour unless it is a terminal, and entries
//! with fields in the systemd journal. CRIU writes the standard error of its script into restore.log,
//! a runtime that of a failing hook into its own error; the journal is where a node's owner looks.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::field::{Field, display};
use tracing::{Metadata, Span, error_span, warn};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn, filter_fn};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::cli::{LogLevel, LogTo};
use crate::error::shown;
use crate::escape::Escaped;

/// The variable that has the level where the command line doesn't say it.
pub const VARIABLE: &str = "PREMOUNT_LOG";

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// The name in every line: they end up in the logs of CRIU and of container engines.
pub const TARGET: &str = "premount";

/// Where systemd's journal takes messages.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// How long a journal whose queue is full is waited for, in nanoseconds.
const PATIENCE: i64 = 100_000_000;

/// The log's settings from the command line, with the defaults.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// How much.
    pub level: Option<LogLevel>,
    /// How much, otherwise.
    pub default_level: LogLevel,
    /// Where.
    pub to: Option<LogTo>,
    /// Whether the journal gets it too, otherwise.
    pub journal_too: bool,
}

/// Whether the journal gets the log.
static HAS_JOURNAL: AtomicBool = AtomicBool::new(false);

/// Whether the journal's queue was full the last time.
static IS_STUCK: AtomicBool = AtomicBool::new(false);

/// Starts logging.
pub fn start(choice: Choice) {
    // A word in the environment that means nothing must not stop a restore: it is said, and passed
    // over.
    let variable = std::env::var_os(VARIABLE).filter(|word| !word.is_empty());
    let from_variable = variable
        .as_deref()
        .map(|word| <LogLevel as clap::ValueEnum>::from_str(&word.to_string_lossy(), true));
    let named = from_variable.as_ref().and_then(|named| named.as_ref().ok());
    let level = choice
        .level
        .or(named.copied())
        .unwrap_or(choice.default_level);
    let wanted = choice.to == Some(LogTo::Journald) || (choice.to.is_none() && choice.journal_too);
    let journal = wanted.then(journal).flatten();
    HAS_JOURNAL.store(journal.is_some(), Ordering::Relaxed);
    let lines = (choice.to != Some(LogTo::Journald) || journal.is_none()).then(lines);
    let all = Registry::default()
        .with(LevelFilter::from(level))
        .with(journal)
        .with(lines);
    // Only a logger of before can make this fail, and then that one goes on.
    let _ = tracing::subscriber::set_global_default(all);
    if let (Some(word), Some(Err(_)), None) = (&variable, &from_variable, choice.level) {
        let word = word.as_encoded_bytes();
        warn!(target: TARGET, "{VARIABLE} is no log level: {}", Escaped(word));
    }
}

/// The journal, where there is one that listens. Its fields are `PREMOUNT_CONTAINER`, `PREMOUNT_BUNDLE`,
/// `PREMOUNT_MOUNT`, `PREMOUNT_PATH` and `PREMOUNT_ACTION` (systemd.journal-fields(7)).
fn journal<S>() -> Option<impl Layer<S>>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let queue = UnixDatagram::unbound().ok()?;
    queue.connect(JOURNAL).ok()?;
    if !takes_more(&queue) {
        return None;
    }
    let layer = tracing_journald::layer().ok()?;
    let priorities = PriorityMappings {
        info: Priority::Informational,
        ..PriorityMappings::new()
    };
    let layer = layer
        .with_field_prefix(Some(TARGET.to_uppercase()))
        .with_syslog_identifier(TARGET.to_owned())
        .with_priority_mappings(priorities);
    // A restore must not wait for a journal that has stopped reading: the layer's own socket would.
    let listens = dynamic_filter_fn(move |metadata, _| metadata.is_span() || takes_more(&queue));
    Some(layer.with_filter(listens))
}

/// Whether a message would be taken at once: unix(7) says so of a connected socket. A queue that stays full
/// is waited for once.
fn takes_more(queue: &UnixDatagram) -> bool {
    let wait = Timespec {
        tv_sec: 0,
        tv_nsec: if IS_STUCK.load(Ordering::Relaxed) {
            0
        } else {
            PATIENCE
        },
    };
    let mut queues = [PollFd::new(queue, PollFlags::OUT)];
    let takes = poll(&mut queues, Some(&wait)).is_ok_and(|ready| ready > 0);
    IS_STUCK.store(!takes, Ordering::Relaxed);
    takes
}

/// Standard error. Spans are for the journal: a line has in its message what there is to say.
fn lines<S>() -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let watched = stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(watched)
        .fmt_fields(debug_fn(write_field));
    let events = filter_fn(is_event);
    if watched {
        lines.with_filter(events).boxed()
    } else {
        lines.without_time().with_filter(events).boxed()
    }
}

/// What comes from outside is escaped where a message is put together, so it goes out as it is.
fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(out, "{value:?}"),
        name => write!(out, " {name}={value:?}"),
    }
}

fn is_event(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
}

/// Whether the log has fields for the container and the bundle.
pub fn names_container() -> bool {
    HAS_JOURNAL.load(Ordering::Relaxed)
}

/// Adds a field about the container to every following line.
pub fn note(field: &str, value: &[u8]) {
    Span::current().record(field, display(Escaped(value)));
}

/// Logs lines about a mount, which has fields in the journal.
pub fn about_mount(action: &'static str, mount: &[u8], path: Option<&Path>, say: impl FnOnce()) {
    if !names_container() {
        return say();
    }
    let fields = error_span!(
        target: TARGET,
        "mount",
        action,
        mount = %Escaped(mount),
        path = path.map(|path| display(shown(path))),
    );
    fields.in_scope(say);
}
