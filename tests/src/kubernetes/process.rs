//! A program that goes on when whoever started it ends, and that is found again by its file.
//!
//! A number in a file may have been given to another process since: it counts only while
//! `/proc/PID/exe` is the program. Nothing is signalled by name.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::lab::LabError;
use crate::lab::namespace::wait_for;

/// How long a program may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// Lines of a log that are shown when its program fails.
const LINES_SHOWN: usize = 20;

/// One program of a cluster, running or not.
#[derive(Clone, Debug)]
pub struct Process {
    program: PathBuf,
    /// Without its end: `.pid` and `.log` stand beside each other.
    file: PathBuf,
}

impl Process {
    /// The process of `program` whose files are in `state`.
    #[must_use]
    pub fn of(program: &Path, state: &Path) -> Self {
        let name = program.file_name().map(OsString::from).unwrap_or_default();
        Self { program: program.to_owned(), file: state.join(name) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Starts it where the calling thread is: in its namespaces.
    ///
    /// # Errors
    /// When it is not there, or its files can't be written.
    pub fn start(&self, arguments: &[String]) -> Result<(), LabError> {
        let log = self.path("log");
        let what = || format!("write {}", log.display());
        let out = File::options().create(true).append(true).open(&log);
        let out = out.map_err(LabError::io(what()))?;
        let err = out.try_clone().map_err(LabError::io(what()))?;
        let mut command = Command::new(&self.program);
        // A group of its own: what interrupts the one who starts it is not meant for it.
        command.args(arguments).process_group(0).current_dir("/");
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child =
            command.spawn().map_err(LabError::io(format!("start {}", self.program.display())))?;
        let pid = self.path("pid");
        fs::write(&pid, child.id().to_string())
            .map_err(LabError::io(format!("write {}", pid.display())))
    }

    /// Its number, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<Pid> {
        let id: i32 = fs::read_to_string(self.path("pid")).ok()?.trim().parse().ok()?;
        self.is(id).then(|| Pid::from_raw(id))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        let id = self.id().ok_or_else(|| self.gone())?;
        let what = || format!("send {signal} to {}", self.name());
        kill(id, signal).map_err(|errno| LabError::Io { what: what(), source: errno.into() })
    }

    /// Ends it, where it runs: asks, waits, and kills it in the end.
    ///
    /// # Errors
    /// When it outlives even that.
    pub fn stop(&self) -> Result<(), LabError> {
        self.end(Signal::SIGTERM).or_else(|_| self.end(Signal::SIGKILL))
    }

    /// Kills it on the spot, where it runs.
    ///
    /// # Errors
    /// When it outlives even that.
    pub fn kill(&self) -> Result<(), LabError> {
        self.end(Signal::SIGKILL)
    }

    fn end(&self, signal: Signal) -> Result<(), LabError> {
        let Some(id) = self.id() else { return Ok(()) };
        match kill(id, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => {
                let what = format!("end {}", self.name());
                return Err(LabError::Io { what, source: errno.into() });
            }
        }
        // One that was stopped hears nothing until it goes on; the answer does not matter.
        let _ = kill(id, Signal::SIGCONT);
        wait_for(&format!("{} to end", self.name()), GRACE, || {
            // Whose child it is, is mourned; anybody else's answers ECHILD.
            let _ = waitpid(id, Some(WaitPidFlag::WNOHANG));
            !self.is(id.as_raw())
        })
    }

    /// Waits until `answers`, as long as it runs.
    ///
    /// # Errors
    /// When it ends first, or does not answer in time: with the end of its log.
    pub fn await_answer(
        &self,
        patience: Duration,
        mut answers: impl FnMut() -> bool,
    ) -> Result<(), LabError> {
        let what = format!("{} to answer", self.name());
        let mut runs = true;
        let waited = wait_for(&what, patience, || {
            // Asking costs a process: not every 10 ms.
            std::thread::sleep(Duration::from_millis(40));
            runs = self.id().is_some();
            !runs || answers()
        });
        match waited {
            Ok(()) if runs => Ok(()),
            Ok(()) => Err(self.gone()),
            Err(error) => Err(LabError::Unexpected(format!("{error}; {}", self.log_end()))),
        }
    }

    fn gone(&self) -> LabError {
        LabError::Unexpected(format!("{} does not run; {}", self.name(), self.log_end()))
    }

    fn log_end(&self) -> String {
        let path = self.path("log");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return "it has no log".to_owned(),
            Err(error) => return format!("{}: {error}", path.display()),
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        };
        let lines: Vec<&str> = text.lines().collect();
        let end = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
        format!("the end of {}:\n{}", path.display(), end.join("\n"))
    }

    /// Whether a number is this program's, also where its file has been replaced since.
    fn is(&self, id: i32) -> bool {
        let Ok(link) = fs::read_link(format!("/proc/{id}/exe")) else { return false };
        let link = link.to_string_lossy().into_owned();
        let named = link.strip_suffix(" (deleted)").unwrap_or(&link);
        let program = self.program.canonicalize().unwrap_or_else(|_| self.program.clone());
        Path::new(named) == program
    }

    fn path(&self, end: &str) -> PathBuf {
        self.file.with_added_extension(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_given_to_another_program_is_not_taken_for_it() {
        let state = tempfile::tempdir().unwrap();
        let process = Process::of(Path::new("/bin/sleep"), state.path());
        fs::write(state.path().join("sleep.pid"), std::process::id().to_string()).unwrap();
        assert_eq!(process.id(), None);
        process.start(&["60".to_owned()]).unwrap();
        assert!(process.id().is_some());
        process.kill().unwrap();
        assert_eq!(process.id(), None);
    }

    #[test]
    fn one_that_ends_early_shows_its_log() {
        let state = tempfile::tempdir().unwrap();
        let process = Process::of(Path::new("/bin/ls"), state.path());
        process.start(&["/is/not/there".to_owned()]).unwrap();
        let error = process.await_answer(Duration::from_secs(10), || false).unwrap_err();
        assert!(error.to_string().contains("ls.log"), "{error}");
    }
}
