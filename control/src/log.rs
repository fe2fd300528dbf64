//! Structured lines on stderr: one for each change of state, none for a packet.

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

use crate::settings::LogFormat;

/// Starts logging, once in a process; a second call changes nothing.
pub fn start(level: Level, format: LogFormat) {
    let lines = fmt::Subscriber::builder()
        .with_writer(std::io::stderr)
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
}
