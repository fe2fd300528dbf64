//! Structured lines on stderr: one for each change of state, none for a packet.
//!
//! A thread of its own writes them, without any capability. Whoever reads them may be slow, stuck or
//! gone, and none of that may hold up or end the switch: what finds no room is lost and counted.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;

use crate::privileges;
use crate::settings::LogFormat;

/// Lines that wait to be written, at most.
const LINES_WAITING: usize = 4096;

/// Where the client of the API server, and its watcher, say which requests failed.
const REQUESTS: [&str; 2] = ["kube_client::client::builder", "kube_runtime::watcher"];

/// Of the one log of the process.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// The log of the process. Dropping it writes what still waits, for a second at most.
#[derive(Debug)]
pub struct Log(Option<WorkerGuard>);

impl Drop for Log {
    fn drop(&mut self) {
        if lines_lost() > 0 {
            // Whoever reads may be stuck, and the guard would tell so on standard output, which may
            // be stuck with it. What waits has a moment, no more.
            std::thread::sleep(Duration::from_millis(100));
            std::mem::forget(self.0.take());
        }
    }
}

/// Starts logging, once in a process; a second call changes nothing.
///
/// # Errors
/// The kernel lets no thread be made, or takes no capabilities from it.
pub fn start(level: Level, format: LogFormat) -> io::Result<Log> {
    let (writer, guard) = writer()?;
    let _first = LOST.set(writer.error_counter());
    let lines = fmt::Subscriber::builder()
        .with_writer(writer)
        .with_max_level(LevelFilter::from_level(level))
        .with_target(false)
        .with_ansi(false);
    let _started = match format {
        LogFormat::Text => {
            tracing::subscriber::set_global_default(lines.finish().with(said(level)))
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            let lines = lines.with_span_list(false).finish();
            tracing::subscriber::set_global_default(lines.with(said(level)))
        }
    };
    Ok(Log(Some(guard)))
}

/// What is written. Of each request that fails the client of the API server says so again, without
/// the object and what to do: whoever asked says it once, with both, and until it changes no more.
fn said(level: Level) -> Targets {
    let all = Targets::new().with_default(level);
    let is_for_developers = level >= Level::DEBUG;
    if is_for_developers {
        all
    } else {
        all.with_targets(REQUESTS.map(|at| (at, LevelFilter::OFF)))
    }
}

/// Who writes. The thread that does begins with what the one that makes it has: nothing.
fn writer() -> io::Result<(NonBlocking, WorkerGuard)> {
    let bare = std::thread::Builder::new().name("log-start".to_owned()).spawn(|| {
        privileges::give_up_all()?;
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_WAITING);
        Ok(builder.thread_name("log").finish(io::stderr()))
    })?;
    bare.join().unwrap_or_else(|_| Err(io::Error::other("the log does not start")))
}

/// Lines that found no room.
#[must_use]
pub fn lines_lost() -> usize {
    LOST.get().map_or(0, ErrorCounter::dropped_lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_requests_are_said_by_who_asked_and_by_the_client_for_developers_only() {
        for (level, is_said) in [(Level::INFO, false), (Level::WARN, false), (Level::DEBUG, true)] {
            for at in REQUESTS {
                assert_eq!(said(level).would_enable(at, &Level::ERROR), is_said);
            }
            assert!(said(level).would_enable("kube_client::client::tls", &Level::WARN));
            assert!(said(level).would_enable("lockgate_control::run", &Level::WARN));
        }
    }
}
