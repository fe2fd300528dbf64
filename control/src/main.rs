//! `lockgate`: arguments in, an exit code out. The only place for anyhow and for standard output.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use lockgate_control::args::{
    Arguments, AskArguments, Command, Output, RunArguments, StatusArguments, SysdumpArguments,
    UninstallArguments,
};
use lockgate_control::ask::Show;
use lockgate_control::manifest::Problem;
use lockgate_control::run::Arrival;
use lockgate_control::settings::{Raw, Settings};
use lockgate_control::sysdump::{self, Places};
use lockgate_control::uninstall::{self, Belongings};
use lockgate_control::{applied, log, offline, preflight, privileges, run, show, socket, switch};
use lockgate_dataplane::runtime::Detach;

/// The exit code of `lint` where there is nothing to be judged, as of a wrong command line.
const UNREADABLE: u8 = 2;

/// How long an end waits for what is still asked of a disk, a name server or the kernel.
const UNFINISHED: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match answer(Arguments::of_process().command) {
        Ok(code) => code,
        Err(error) => {
            // Every error tells its cause itself. A broken stderr leaves the exit code to speak.
            let _ = writeln!(std::io::stderr(), "lockgate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(command: Command) -> Result<ExitCode> {
    let (text, good) = match command {
        Command::Run(arguments) => return start(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Explain(arguments) => (offline::answer_explain(arguments)?, true),
        Command::Matrix(arguments) => {
            let (text, problems) = offline::answer_matrix(&arguments)?;
            tell(&problems);
            (text, true)
        }
        Command::Validate(arguments) => offline::answer_validate(&arguments)?,
        Command::Lint(arguments) => match offline::answer_lint(&arguments) {
            Ok((text, problems, is_clean)) => {
                tell(&problems);
                (text, is_clean)
            }
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "lockgate: {error}");
                return Ok(ExitCode::from(UNREADABLE));
            }
        },
        Command::Status(arguments) if arguments.cluster => ask_cluster(arguments)?,
        Command::Status(arguments) => (ask(&arguments.ask, Show::Status {})?, true),
        Command::Ready(arguments) => (socket::ready(&arguments.socket)?, true),
        Command::Ports(arguments) => (ask(&arguments, Show::Ports {})?, true),
        Command::Connections(arguments) => {
            (ask(&arguments.ask, Show::Connections { limit: arguments.limit })?, true)
        }
        Command::Policies(arguments) => (ask(&arguments, Show::Policies {})?, true),
        Command::Denied(arguments) => (ask(&arguments, Show::Denied {})?, true),
        Command::Sysdump(arguments) => (dump(arguments)?, true),
        Command::Audit(arguments) => (ask(&arguments, Show::Audit {})?, true),
        Command::Uninstall(arguments) => remove_all(&arguments)?,
    };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever read has read enough: `lockgate connections | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what stands beside an answer, as far as anybody reads it: that is on standard output.
fn tell(problems: &[Problem]) {
    for problem in problems {
        let _ = writeln!(std::io::stderr(), "lockgate: {problem}");
    }
}

fn ask(arguments: &AskArguments, question: Show) -> Result<String> {
    let document = socket::ask(&arguments.socket, question)?;
    Ok(match arguments.output {
        Output::Text => show::text(question, &document),
        Output::Json => serde_json::to_string_pretty(&document)? + "\n",
    })
}

/// Writes an archive; where it is, and what is missing in it.
fn dump(arguments: SysdumpArguments) -> Result<String> {
    let file = arguments.config.as_deref().map(Raw::read).transpose()?.unwrap_or_default();
    let path = arguments.output.unwrap_or_else(sysdump::name);
    for missing in sysdump::write_to(&path, &Places::of(file, arguments.socket))? {
        let _ = writeln!(std::io::stderr(), "lockgate: not in it: {missing}");
    }
    let is_file = path.as_os_str() != "-";
    Ok(if is_file { format!("{}\n", path.display()) } else { String::new() })
}

/// Takes everything of a switch off its node: what was removed, and whether that is all.
fn remove_all(arguments: &UninstallArguments) -> Result<(String, bool)> {
    let file = arguments.config.as_deref().map(Raw::read).transpose()?.unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(uninstall::uninstall(&Belongings::of(file)))?;
    for why in &told.left {
        let _ = writeln!(std::io::stderr(), "lockgate: not removed: {why}");
    }
    Ok((told.text(), told.left.is_empty()))
}

/// Asks the API server what nodes have in force; whether all have.
fn ask_cluster(arguments: StatusArguments) -> Result<(String, bool)> {
    let StatusArguments { ask, kubeconfig, policy, .. } = arguments;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(applied::ask(kubeconfig, policy.as_ref()))?;
    let text = match ask.output {
        Output::Text => answer.text(),
        Output::Json => serde_json::to_string_pretty(&answer)? + "\n",
    };
    Ok((text, answer.is_everywhere()))
}

fn start(arguments: &RunArguments) -> Result<()> {
    let file = arguments.config.as_deref().map(Raw::read).transpose()?.unwrap_or_default();
    let settings = Settings::new(arguments.to_raw().over(file), &preflight::machine()?)?;
    privileges::before_start()?;
    // To the end: it writes what still waits.
    let _log = log::start(settings.log_level, settings.log_format)?;
    let detach = if arguments.detach { Detach::Detach } else { Detach::Leave };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let arrival = if arguments.take_over { Arrival::TakeOver } else { Arrival::Alone };
    let ran = runtime.block_on(run::run(settings, detach, arrival, switch::start));
    runtime.shutdown_timeout(UNFINISHED);
    Ok(ran?)
}
