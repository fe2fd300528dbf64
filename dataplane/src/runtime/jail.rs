//! What a worker's thread may ask of the kernel: to send, to wait, to get memory, to end. Cold.
//!
//! A worker reads what hostile pods send. Were a packet ever to take it over, it could open no file,
//! make no socket, start nothing, and change nothing of the machine: before its first turn its
//! thread gives up all capabilities and, for good, every call that the loop does not need
//! (seccomp(2), capabilities(7)). The threads of control are as they were.
//!
//! A call that is not allowed fails with `EPERM` and does not end the process: it takes the attacker
//! no further, and a C library that asks for something new does not stop a node's packets.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Calls with whatever they are about: the worker can reach nothing by them that it does not hold.
const FREE: &[libc::c_long] = &[
    // Rings are kicked by these, and other workers' bells rung.
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_read,
    libc::SYS_write,
    // It sleeps, and is interrupted in it.
    libc::SYS_ppoll,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    // The clock, where the kernel does not answer it in user space.
    libc::SYS_clock_gettime,
    // The allocator gives back what a command was in; the thread ends.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    // A panic says where, and aborts the process.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit_group,
];

/// Gives up everything that a worker does not need. For good, and for the calling thread alone.
///
/// # Errors
/// The kernel has no seccomp filters, or refuses this one.
pub(super) fn enter() -> io::Result<()> {
    let filter = filter().map_err(io::Error::other)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    // It also sets PR_SET_NO_NEW_PRIVS, which a thread without capabilities needs for it.
    seccompiler::apply_filter(&filter).map_err(io::Error::other)
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let free = FREE.iter().map(|call| (*call, Vec::new()));
    let memory =
        [libc::SYS_mmap, libc::SYS_mprotect].map(|call| Ok((call, vec![not_to_execute()?])));
    let signal = [(libc::SYS_tgkill, vec![SeccompRule::new(vec![is_own_process()?])?])];
    let memory = memory.into_iter().collect::<Result<Vec<_>, seccompiler::BackendError>>()?;
    let mut rules: Vec<(libc::c_long, Vec<SeccompRule>)> =
        free.chain(memory).chain(signal).collect();
    // Where there is a call of its own for it.
    #[cfg(target_arch = "x86_64")]
    rules.push((libc::SYS_poll, Vec::new()));
    SeccompFilter::new(
        rules.into_iter().collect(),
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

/// Memory may not be made executable: `prot` is the third argument of both calls.
fn not_to_execute() -> Result<SeccompRule, seccompiler::BackendError> {
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let (length, operation) = (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(executable));
    SeccompRule::new(vec![SeccompCondition::new(2, length, operation, 0)?])
}

/// Signals may be sent to this process only.
fn is_own_process() -> Result<SeccompCondition, seccompiler::BackendError> {
    let own = u64::from(std::process::id());
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, own)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpStream, UdpSocket};
    use std::process::Command;

    use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

    use super::*;

    /// What the filter says of a call: the program is run as the kernel would (seccomp(2)).
    fn allows(program: &BpfProgram, call: libc::c_long, arguments: [u64; 3]) -> bool {
        // AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64 of linux/audit.h.
        let arch: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
        let call = u32::try_from(call).unwrap();
        let mut data = [call.to_ne_bytes(), arch.to_ne_bytes(), [0; 4], [0; 4]].concat();
        data.extend(arguments.iter().flat_map(|argument| argument.to_ne_bytes()));
        data.resize(64, 0);
        let word = |at: u32| {
            let at = usize::try_from(at).unwrap();
            u32::from_ne_bytes(data[at..at + 4].try_into().unwrap())
        };
        let (mut at, mut value) = (0, 0);
        loop {
            let step = &program[at];
            let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            at += 1;
            // Load a word, and, jump, jump where equal, greater, not less, return.
            match step.code {
                0x20 => value = word(step.k),
                0x54 => value &= step.k,
                0x05 => at += usize::try_from(step.k).unwrap(),
                0x15 => at += jump(value == step.k),
                0x25 => at += jump(value > step.k),
                0x35 => at += jump(value >= step.k),
                0x06 => return step.k == libc::SECCOMP_RET_ALLOW,
                other => panic!("{other:#x} is no instruction that is known here"),
            }
        }
    }

    #[test]
    fn a_worker_may_make_these_calls_and_no_others() {
        let program = filter().unwrap();
        let mut wanted = vec![
            libc::SYS_brk,
            libc::SYS_clock_gettime,
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_futex,
            libc::SYS_getpid,
            libc::SYS_gettid,
            libc::SYS_madvise,
            libc::SYS_munmap,
            libc::SYS_ppoll,
            libc::SYS_read,
            libc::SYS_recvfrom,
            libc::SYS_restart_syscall,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_sched_yield,
            libc::SYS_sendto,
            libc::SYS_sigaltstack,
            libc::SYS_write,
            // What these are about is looked at.
            libc::SYS_mmap,
            libc::SYS_mprotect,
        ];
        #[cfg(target_arch = "x86_64")]
        wanted.push(libc::SYS_poll);
        wanted.sort_unstable();
        let allowed: Vec<_> = (0..1024).filter(|call| allows(&program, *call, [0; 3])).collect();
        assert_eq!(allowed, wanted);
    }

    #[test]
    fn a_worker_makes_nothing_executable_and_signals_nobody_else() {
        let program = filter().unwrap();
        let [read, execute] =
            [libc::PROT_READ, libc::PROT_EXEC].map(|one| one.unsigned_abs().into());
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            for (protection, allowed) in [(read, true), (execute, false), (read | execute, false)] {
                assert_eq!(allows(&program, call, [0, 4096, protection]), allowed, "{call}");
            }
        }
        let own = u64::from(std::process::id());
        for (process, allowed) in [(own, true), (1, false), (u64::from(u32::MAX), false)] {
            assert_eq!(allows(&program, libc::SYS_tgkill, [process, 1, 6]), allowed, "{process}");
        }
    }

    /// What a thread in the jail comes to.
    fn jailed<T: Send>(try_it: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter().expect("the kernel has seccomp");
                try_it()
            });
            inside.join().expect("the thread ends as it should")
        })
    }

    #[test]
    fn a_worker_opens_no_file_and_no_socket_and_starts_nothing() {
        let denied = |result: io::Result<()>| result.map_err(|error| error.kind());
        let tried = jailed(|| {
            [
                denied(File::open("/proc/self/status").map(drop)),
                denied(File::create("/tmp/lockgate-jail").map(drop)),
                denied(std::fs::remove_file("/tmp/lockgate-jail")),
                denied(UdpSocket::bind("127.0.0.1:0").map(drop)),
                denied(TcpStream::connect("127.0.0.1:1").map(drop)),
                denied(Command::new("/bin/true").status().map(drop)),
                denied(std::thread::Builder::new().spawn(|| ()).map(drop)),
            ]
        });
        assert_eq!(tried, [Err(ErrorKind::PermissionDenied); 7]);
        assert!(File::open("/proc/self/status").is_ok(), "the thread outside is as it was");
    }

    #[test]
    fn a_worker_still_sleeps_wakes_others_and_gets_memory() {
        let bell = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let (mut from, to) = std::os::unix::net::UnixStream::pair().unwrap();
        jailed(|| {
            let mut polled = [PollFd::new(&bell, PollFlags::IN)];
            let short = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            assert_eq!(poll(&mut polled, Some(&short)), Ok(0));
            assert_eq!(rustix::io::write(&bell, &1_u64.to_ne_bytes()), Ok(8));
            assert_eq!(poll(&mut polled, Some(&short)), Ok(1));
            let large = vec![1_u8; 8 << 20];
            (&to).write_all(&large[..3]).unwrap();
            std::thread::yield_now();
        });
        let mut told = [0; 3];
        from.read_exact(&mut told).unwrap();
        assert_eq!(told, [1; 3]);
    }

    #[test]
    fn a_worker_has_no_capabilities_and_gets_none() {
        let (told, thread) = std::sync::mpsc::sync_channel(1);
        let (go, wait) = std::sync::mpsc::sync_channel(1);
        let status = std::thread::scope(|scope| {
            scope.spawn(move || {
                enter().expect("the kernel has seccomp");
                told.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
                let () = wait.recv().unwrap();
            });
            let id = thread.recv().unwrap();
            let status = std::fs::read_to_string(format!("/proc/self/task/{id}/status")).unwrap();
            go.send(()).unwrap();
            status
        });
        let line = |name: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(name));
            found.map(|value| value.trim().to_owned())
        };
        for (name, wanted) in [
            ("CapEff:", "0000000000000000"),
            ("CapPrm:", "0000000000000000"),
            ("CapInh:", "0000000000000000"),
            ("NoNewPrivs:", "1"),
            ("Seccomp:", "2"),
        ] {
            assert_eq!(line(name).as_deref(), Some(wanted), "{name}");
        }
    }
}
