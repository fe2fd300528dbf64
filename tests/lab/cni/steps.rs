//! A program that is killed at one of its steps. The steps are what it asks of the kernel, as the
//! kernel counts them: every call but those that are known to change nothing. So the list is whole
//! whatever the program does, and a step that somebody adds is tried without a word here.

use std::collections::BTreeSet;
use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use lockgate_tests::lab::LabError;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How a shell becomes a program that waits, stopped, for whoever follows it.
pub(super) const STOPPED: &str = "kill -STOP $$; exec \"$0\"";

/// How long a program may take, followed as it is.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at a program that runs.
const PAUSE: Duration = Duration::from_micros(20);

/// Calls that leave everything outside the program as it is: they read, wait, or are about its own
/// memory, signals and descriptors. Whoever is killed before one of them might as well have been
/// killed before the step that comes next.
const HARMLESS: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getdents64,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_pidfd_open,
    libc::SYS_pipe2,
    libc::SYS_poll,
    libc::SYS_prctl,
    libc::SYS_pread64,
    libc::SYS_prlimit64,
    libc::SYS_read,
    libc::SYS_readlink,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_sigaltstack,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_statx,
    libc::SYS_waitid,
];

/// Calls of one processor's, harmless too.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] =
    &[libc::SYS_access, libc::SYS_arch_prctl, libc::SYS_set_tid_address, libc::SYS_stat];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[libc::SYS_faccessat, libc::SYS_set_tid_address];

/// How a program ended that was followed.
#[derive(Debug)]
pub(super) struct Followed {
    /// The calls that were steps, by number, in their order.
    pub(super) steps: Vec<libc::c_long>,
    /// Whether it ended by itself, and well.
    pub(super) is_good: bool,
    /// Whether it was killed at the step that was named.
    pub(super) is_killed: bool,
}

/// Follows a program that [`STOPPED`] has begun, and kills it when it asks for the step of this
/// number, before that is done. The programs that it starts itself are not followed.
///
/// # Errors
/// Where the kernel lets nobody follow it, or it does not end.
pub(super) fn follow(child: &Child, killed_at: usize) -> Result<Followed, LabError> {
    let wrong = |what: &str| {
        let what = format!("{what} a program that is followed");
        move |errno: Errno| LabError::Io { what, source: errno.into() }
    };
    let leader = Pid::from_raw(i32::try_from(child.id()).unwrap_or(-1));
    waitpid(leader, Some(WaitPidFlag::WUNTRACED)).map_err(wrong("await"))?;
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(leader, options).map_err(wrong("follow"))?;
    kill(leader, Signal::SIGCONT).map_err(wrong("wake"))?;
    let mut following = Following {
        leader,
        killed_at,
        has_begun: false,
        is_killed: false,
        steps: Vec::new(),
        threads: BTreeSet::from([leader]),
    };
    let is_good = following.await_end()?;
    Ok(Followed { steps: following.steps, is_good, is_killed: following.is_killed })
}

struct Following {
    leader: Pid,
    killed_at: usize,
    /// Whether the shell has become the program.
    has_begun: bool,
    is_killed: bool,
    steps: Vec<libc::c_long>,
    threads: BTreeSet<Pid>,
}

impl Following {
    /// Lets it go on from stop to stop; whether it ended well.
    fn await_end(&mut self) -> Result<bool, LabError> {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let mut is_still = true;
            for thread in self.threads.iter().copied().collect::<Vec<_>>() {
                match waitpid(thread, Some(flags)) {
                    Ok(WaitStatus::StillAlive) => continue,
                    Ok(WaitStatus::Exited(who, code)) if who == self.leader => {
                        return Ok(code == 0);
                    }
                    Ok(WaitStatus::Signaled(who, ..)) if who == self.leader => return Ok(false),
                    Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => {
                        self.threads.remove(&thread);
                    }
                    Ok(stopped) => self.go_on(thread, stopped),
                    Err(errno) => {
                        let what = format!("follow thread {thread}");
                        return Err(LabError::Io { what, source: errno.into() });
                    }
                }
                is_still = false;
            }
            if is_still {
                thread::sleep(PAUSE);
            }
        }
        let _dead = kill(self.leader, Signal::SIGKILL);
        Err(LabError::Waited { what: "the end of a program".to_owned(), patience: PATIENCE })
    }

    fn go_on(&mut self, thread: Pid, stopped: WaitStatus) {
        let mut signal = None;
        match stopped {
            WaitStatus::PtraceSyscall(_) if self.is_last_step(thread) => {
                self.is_killed = true;
                // It is dead before the call is made.
                let _dead = kill(self.leader, Signal::SIGKILL);
                return;
            }
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => self.has_begun = true,
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_CLONE) => {
                let new = ptrace::getevent(thread).ok().and_then(|id| i32::try_from(id).ok());
                self.threads.extend(new.map(Pid::from_raw));
            }
            WaitStatus::Stopped(_, other) => signal = Some(other),
            _ => {}
        }
        // One that was killed meanwhile goes on to its end.
        let _gone = if self.has_begun {
            ptrace::syscall(thread, signal)
        } else {
            ptrace::cont(thread, signal)
        };
    }

    /// Whether a thread is about to make the step that is not to be made. Each step is noted.
    fn is_last_step(&mut self, thread: Pid) -> bool {
        let is_entry =
            ptrace::syscall_info(thread).is_ok_and(|it| it.op == libc::PTRACE_SYSCALL_INFO_ENTRY);
        let Some((number, arguments)) = is_entry.then(|| asked(thread)).flatten() else {
            return false;
        };
        let only_reads = number == libc::SYS_openat
            && arguments.get(2).is_some_and(|flags| {
                let writes = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
                flags & u64::from(writes.unsigned_abs()) == 0
            });
        if only_reads || HARMLESS.contains(&number) || OLDER.contains(&number) {
            return false;
        }
        self.steps.push(number);
        self.steps.len() > self.killed_at
    }
}

/// The call that a stopped thread is about to make, and what it is given.
fn asked(thread: Pid) -> Option<(libc::c_long, Vec<u64>)> {
    let text = fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
    let mut words = text.split_whitespace();
    let number = words.next()?.parse().ok()?;
    let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    Some((number, words.filter_map(hex).collect()))
}
