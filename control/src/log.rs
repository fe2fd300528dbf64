//! Structured lines on stderr: one for each change of state, none for a packet.
//!
//! A thread of its own writes them. Whoever reads them may be slow, stuck or gone, and none of
//! that may hold up or end the switch: what finds no room is lost and counted.

use std::sync::OnceLock;
use std::time::Duration;

use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

use crate::settings::LogFormat;

/// Lines that wait to be written, at most.
const LINES_WAITING: usize = 4096;

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
#[must_use]
pub fn start(level: Level, format: LogFormat) -> Log {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_WAITING);
    let (writer, guard) = builder.thread_name("log").finish(std::io::stderr());
    let _first = LOST.set(writer.error_counter());
    let lines = fmt::Subscriber::builder()
        .with_writer(writer)
        .with_max_level(LevelFilter::from_level(level))
        .with_target(false)
        .with_ansi(false);
    let _started = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(lines.finish()),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            tracing::subscriber::set_global_default(lines.with_span_list(false).finish())
        }
    };
    Log(Some(guard))
}

/// Lines that found no room.
#[must_use]
pub fn lines_lost() -> usize {
    LOST.get().map_or(0, ErrorCounter::dropped_lines)
}
