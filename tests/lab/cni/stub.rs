//! An agent that says what a case wants of it, remembers what it was asked, and may kill whoever
//! asks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lockgate_control::cni::protocol::{
    Attached, Attachment, Collected, Detached, Done, Gone, Question, Refusal, Refused,
};
use lockgate_dataplane::port::pin::Pin;
use lockgate_dataplane::port::program::Program;
use lockgate_tests::lab::namespace::run;
use lockgate_tests::lab::{LabError, Namespace};
use nix::net::if_::if_nametoindex;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Pid;

/// What the agent does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// It answers everything.
    Willing,
    /// It refuses this question.
    Refusing(&'static str),
    /// It reads this question and never answers.
    Silent(&'static str),
    /// It kills whoever asks this.
    Killing(&'static str),
}

/// What it knows.
#[derive(Debug)]
struct Known {
    mood: Mood,
    node: String,
    /// Where it pins its programs.
    pins: PathBuf,
    ports: BTreeMap<Attachment, String>,
    asked: Vec<String>,
    seen: Vec<serde_json::Value>,
}

/// An agent that listens; nobody does any more when it is dropped.
#[derive(Debug)]
pub(super) struct Stub {
    socket: PathBuf,
    known: Arc<Mutex<Known>>,
    is_running: Arc<AtomicBool>,
}

impl Stub {
    /// Listens, and looks at interfaces of the namespace `node`.
    pub(super) fn start(socket: &Path, node: &str) -> Result<Self, LabError> {
        let _stale = fs::remove_file(socket);
        let pins = socket.with_file_name("bpf");
        fs::create_dir_all(&pins).map_err(LabError::io("make a directory"))?;
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&pins))?;
        let listener = UnixListener::bind(socket).map_err(LabError::io("listen"))?;
        let known = Known {
            mood: Mood::Willing,
            node: node.to_owned(),
            pins: pins.join("lockgate"),
            ports: BTreeMap::new(),
            asked: vec![],
            seen: vec![],
        };
        let (known, is_running) = (Arc::new(Mutex::new(known)), Arc::new(AtomicBool::new(true)));
        let (theirs, still) = (Arc::clone(&known), Arc::clone(&is_running));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !still.load(Ordering::SeqCst) {
                    return;
                }
                let known = Arc::clone(&theirs);
                thread::spawn(move || answer(&client, &known));
            }
        });
        Ok(Self { socket: socket.to_owned(), known, is_running })
    }

    /// Changes what it does.
    pub(super) fn be(&self, mood: Mood) {
        self.known.lock().unwrap().mood = mood;
    }

    /// What it was asked since the last time: the questions' names.
    pub(super) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.known.lock().unwrap().asked)
    }

    /// How the interfaces were that it was to attach, as `ip -j` tells.
    pub(super) fn take_seen(&self) -> Vec<serde_json::Value> {
        std::mem::take(&mut self.known.lock().unwrap().seen)
    }

    /// Removes its pins, and with them its programs.
    pub(super) fn forget_programs(&self) -> Result<(), LabError> {
        let pins = Pin::all(&self.known.lock().unwrap().pins).map_err(io::Error::other);
        let detached = pins
            .and_then(|all| all.iter().try_for_each(|pin| pin.detach().map_err(io::Error::other)));
        detached.map_err(LabError::io("remove the pins"))
    }

    /// Takes an interface as it does when a pod is attached.
    pub(super) fn take_again(&self, node: &Namespace, interface: &str) {
        take(node, interface, &self.known.lock().unwrap().pins);
    }

    /// How many ports it has.
    pub(super) fn ports(&self) -> usize {
        self.known.lock().unwrap().ports.len()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.is_running.store(false, Ordering::SeqCst);
        // Wakes it, so that it sees it is to end.
        let _woken = UnixStream::connect(&self.socket);
        let _gone = fs::remove_file(&self.socket);
        // With it go the pins, and their programs.
        let _gone = run(Command::new("umount").arg(self.socket.with_file_name("bpf")));
    }
}

fn answer(client: &UnixStream, known: &Mutex<Known>) {
    let mut line = String::new();
    let mut reader = BufReader::new(client);
    if reader.read_line(&mut line).is_err() || line.is_empty() {
        return;
    }
    let question: Question = serde_json::from_str(&line).unwrap();
    let name = serde_json::from_str::<serde_json::Value>(&line).unwrap()["cni"].clone();
    let name = name.as_str().unwrap().to_owned();
    let mood = {
        let mut known = known.lock().unwrap();
        known.asked.push(name.clone());
        known.mood
    };
    match mood {
        Mood::Silent(what) if what == name => return thread::sleep(Duration::from_secs(30)),
        Mood::Refusing(what) if what == name => {
            let message = "it will not".to_owned();
            let error = Refusal { code: 11, message, details: "ask later".to_owned() };
            return say(client, &Refused { error });
        }
        Mood::Killing(what) if what == name => {
            let who = getsockopt(client, PeerCredentials).unwrap().pid();
            kill(Pid::from_raw(who), Signal::SIGKILL).unwrap();
        }
        _ => {}
    }
    let mut known = known.lock().unwrap();
    match question {
        Question::Ready {} | Question::Check(_) => say(client, &Done {}),
        Question::Attach(attach) => {
            let node = known.node.clone();
            let interface = attach.interface.as_str().to_owned();
            let arguments = ["-n", &node, "-d", "-j", "link", "show", &interface];
            if let Ok(output) = Command::new("ip").args(arguments).output() {
                known.seen.extend(serde_json::from_slice::<serde_json::Value>(&output.stdout));
            }
            take(&Namespace::named(&node), &interface, &known.pins);
            let attachment = Attachment { container: attach.container, ifname: attach.ifname };
            known.ports.insert(attachment, interface);
            say(client, &Attached { generation: 17 });
        }
        Question::Detach(attachment) => {
            let interface = known.ports.remove(&attachment);
            let interface = interface.and_then(|name| name.try_into().ok());
            say(client, &Detached { interface });
        }
        Question::Gc { valid } => {
            let stale: Vec<Attachment> =
                known.ports.keys().filter(|one| !valid.contains(one)).cloned().collect();
            let gone = stale.into_iter().filter_map(|one| {
                let interface = known.ports.remove(&one)?.try_into().ok()?;
                Some(Gone { container: one.container, ifname: one.ifname, interface })
            });
            let detached = gone.collect();
            say(client, &Collected { detached });
        }
    }
}

/// Does with an interface what an agent does: its program is on it, and it is up.
fn take(node: &Namespace, interface: &str, pins: &Path) {
    let taken = node.enter(|| {
        let number = if_nametoindex(interface)?;
        Program::attach(interface, number, 1, pins).map(Program::leave).map_err(io::Error::other)
    });
    // Whoever asked may have been killed, and the interface be gone.
    if matches!(taken, Ok(Ok(()))) {
        let _gone = node.ip(&[format!("link set {interface} up")]);
    }
}

fn say(mut client: &UnixStream, answer: &impl serde::Serialize) {
    let mut line = serde_json::to_vec(answer).unwrap();
    line.push(b'\n');
    // Whom it has killed does not read.
    let _unread = client.write_all(&line);
}
