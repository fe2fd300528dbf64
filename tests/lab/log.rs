//! Whoever reads the log may be stuck or gone: neither holds up nor ends the switch.

use std::fs::{File, OpenOptions};
use std::thread::sleep;
use std::time::Duration;

use lockgate_tests::lab::probe::Seen;
use lockgate_tests::lab::switch::SwitchProcess;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::fixture::{CHANGE, Directory, SETTLE, World};
use super::{Case, Outcome};

/// What a pipe holds: some twenty lines.
const PIPE_BYTES: i32 = 4096;

const ASKED: (&str, &str, u16) = ("demo/client", "demo/server", 80);

pub(crate) const CASES: &[Case] = &[
    ("a log that nobody reads holds nothing up", || with_reader(Some)),
    ("a log whose reader has gone does not end the switch", || with_reader(|_gone| None)),
];

/// Both outputs go into a small pipe; what becomes of its only reader is told once it is ready.
fn with_reader(keep: fn(File) -> Option<File>) -> Outcome {
    let world = World::build(Directory::with_three_pods()?, 1500)?;
    let pipe = world.lab.state().join("log.pipe");
    mkfifo(&pipe, Mode::S_IRWXU)?;
    let reader = OpenOptions::new().read(true).write(true).open(&pipe)?;
    fcntl(&reader, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES))?;
    let mut options = world.options()?;
    let redirected = format!("exec \"$@\" >{} 2>&1", pipe.display());
    options.wrapper = ["bash", "-c", &redirected, "bash"].map(str::to_owned).to_vec();
    let mut switch = SwitchProcess::start(&world.lab, &options)?;
    let _reader = keep(reader);
    for turn in 0..80 {
        // Each is a snapshot of its own, and so a line of its own.
        world.directory.put("30-policy.yaml", &policy("web", turn))?;
        sleep(Duration::from_millis(25));
    }
    assert_eq!(world.probe_until(Seen::Answered, ASKED, SETTLE)?, Seen::Answered);
    world.directory.put("40-deny.yaml", DENY)?;
    assert_eq!(world.probe_until(Seen::Silent, ASKED, CHANGE)?, Seen::Silent);
    assert_eq!(world.ask("status")?["ready"], true);
    switch.signal(Signal::SIGTERM)?;
    assert!(switch.await_end(SETTLE)?.success(), "it did not end in order");
    Ok(())
}

const DENY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, \
                    namespace: demo}\nspec: {podSelector: {}}\n";

/// A policy that concerns none of the pods asked about.
fn policy(name: &str, port: u16) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, \
         namespace: demo}}\nspec: {{podSelector: {{matchLabels: {{app: other}}}}, ingress: [{{ports: \
         [{{port: {}}}]}}]}}\n",
        port + 1
    )
}
