// SPDX-License-Identifier: Apache-2.0
//! The log: one line per event on standard error, without time or colour unless it is a terminal, and entries
//! with fields in the systemd journal. CRIU copies its script's standard error to restore.log, and a runtime
//! copies a failing hook's to its own error message; administrators look in the journal.

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

/// The environment variable with the log level, if the command line has none.
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

/// The name in every line, since the lines end up in the logs of CRIU and container engines.
pub const TARGET: &str = "premount";

/// The socket of systemd's journal.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// How long to wait for a journal whose queue is full, in nanoseconds.
const JOURNAL_TIMEOUT: i64 = 100_000_000;

/// The log settings from the command line, with the defaults.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The level on the command line.
    pub level: Option<LogLevel>,
    /// The level if neither the command line nor the environment has one.
    pub default_level: LogLevel,
    /// The destination on the command line.
    pub to: Option<LogTo>,
    /// Whether to log to the journal, too, if the command line has no destination.
    pub journal_too: bool,
}

/// Whether the log goes to the journal.
static HAS_JOURNAL: AtomicBool = AtomicBool::new(false);

/// Whether the journal's queue was full the last time.
static IS_JOURNAL_STUCK: AtomicBool = AtomicBool::new(false);

/// Starts logging.
pub fn start(settings: Settings) {
    // An invalid level in the environment must not stop a restore: warn and ignore it.
    let variable = std::env::var_os(VARIABLE).filter(|word| !word.is_empty());
    let from_variable = variable
        .as_deref()
        .map(|word| <LogLevel as clap::ValueEnum>::from_str(&word.to_string_lossy(), true));
    let named = from_variable.as_ref().and_then(|named| named.as_ref().ok());
    let level = settings
        .level
        .or(named.copied())
        .unwrap_or(settings.default_level);
    let wanted =
        settings.to == Some(LogTo::Journald) || (settings.to.is_none() && settings.journal_too);
    let journal = wanted.then(journal).flatten();
    HAS_JOURNAL.store(journal.is_some(), Ordering::Relaxed);
    let lines = (settings.to != Some(LogTo::Journald) || journal.is_none()).then(lines);
    let all = Registry::default()
        .with(LevelFilter::from(level))
        .with(journal)
        .with(lines);
    // Fails only if there is a logger already, which stays.
    let _ = tracing::subscriber::set_global_default(all);
    if let (Some(word), Some(Err(_)), None) = (&variable, &from_variable, settings.level) {
        let word = word.as_encoded_bytes();
        warn!(target: TARGET, "{VARIABLE} is not a log level: {}", Escaped(word));
    }
}

/// The journal, if there is one and it accepts messages. Its fields are `PREMOUNT_CONTAINER`,
/// `PREMOUNT_BUNDLE`, `PREMOUNT_MOUNT`, `PREMOUNT_FILE`, `PREMOUNT_PATH` and `PREMOUNT_ACTION`
/// (systemd.journal-fields(7)).
fn journal<S>() -> Option<impl Layer<S>>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let queue = UnixDatagram::unbound().ok()?;
    queue.connect(JOURNAL).ok()?;
    if !has_room(&queue) {
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
    // The layer's own socket blocks. A restore must not wait for a journal that has stopped reading.
    let accepts = dynamic_filter_fn(move |metadata, _| metadata.is_span() || has_room(&queue));
    Some(layer.with_filter(accepts))
}

/// Whether the journal would accept a message immediately: poll(2) on a connected datagram socket reports
/// that (unix(7)). Doesn't wait again while the queue stays full.
fn has_room(queue: &UnixDatagram) -> bool {
    let wait = Timespec {
        tv_sec: 0,
        tv_nsec: if IS_JOURNAL_STUCK.load(Ordering::Relaxed) {
            0
        } else {
            JOURNAL_TIMEOUT
        },
    };
    let mut queues = [PollFd::new(queue, PollFlags::OUT)];
    let has_room = poll(&mut queues, Some(&wait)).is_ok_and(|ready| ready > 0);
    IS_JOURNAL_STUCK.store(!has_room, Ordering::Relaxed);
    has_room
}

/// Standard error. Spans are for the journal only: the message of a line contains everything.
fn lines<S>() -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let is_terminal = stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(is_terminal)
        .fmt_fields(debug_fn(write_field));
    let events = filter_fn(is_event);
    if is_terminal {
        lines.with_filter(events).boxed()
    } else {
        lines.without_time().with_filter(events).boxed()
    }
}

/// Writes a field as it is: untrusted text was escaped when the message was built.
fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(out, "{value:?}"),
        name => write!(out, " {name}={value:?}"),
    }
}

fn is_event(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
}

/// Whether the log has fields, for the container and the bundle among others: only the journal has.
pub fn has_fields() -> bool {
    HAS_JOURNAL.load(Ordering::Relaxed)
}

/// Adds a field about the container to all further entries.
pub fn note(field: &str, value: &[u8]) {
    Span::current().record(field, display(Escaped(value)));
}

/// Calls `say`, which logs about a mount; in the journal its entries have the mount's fields.
pub fn about_mount(action: &'static str, mount: &[u8], path: Option<&Path>, say: impl FnOnce()) {
    if !has_fields() {
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

/// [`about_mount`] for an open file.
pub fn about_file(action: &'static str, file: &[u8], path: Option<&Path>, say: impl FnOnce()) {
    if !has_fields() {
        return say();
    }
    let fields = error_span!(
        target: TARGET,
        "file",
        action,
        file = %Escaped(file),
        path = path.map(|path| display(shown(path))),
    );
    fields.in_scope(say);
}
