//! Takes the lab down on Ctrl-C, on SIGTERM and on a panic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::error::LabError;
use super::leftovers::remove;

/// A signal has come: nothing new is made.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Whether a signal has come.
#[must_use]
pub fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// To be called before the process ends by itself: if a signal has come, its thread is taking the
/// lab down and ends the process when that is done.
pub fn await_the_end() {
    while is_ending() {
        thread::sleep(Duration::from_millis(50));
    }
}

/// From now on, a signal or a panic takes down the lab of `prefix` before the process ends.
///
/// A signal ends the process with 128 plus its number, as shells count.
///
/// # Errors
/// When the handlers can't be set.
pub fn take_down_at_the_end(prefix: &str) -> Result<(), LabError> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])
        .map_err(LabError::io("handle SIGINT, SIGTERM, SIGHUP and SIGQUIT"))?;
    let name = prefix.to_owned();
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            ENDING.store(true, Ordering::SeqCst);
            let why = format!("signal {signal}");
            report(&name, &why);
            // What was just being made when the signal came; nothing is begun after it.
            thread::sleep(Duration::from_millis(300));
            report(&name, &why);
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// From now on, a panic of any thread takes down the lab of `prefix` before it unwinds or aborts.
pub fn take_down_on_panic(prefix: &str) {
    let name = prefix.to_owned();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        report(&name, "panic");
    }));
}

fn report(prefix: &str, why: &str) {
    match remove(prefix) {
        Ok(()) => eprintln!("lab: {why}: the lab {prefix} is taken down"),
        Err(error) => eprintln!("lab: {why}: {error}; run `scripts/lab down`"),
    }
}
