//! Confinement of the workers' threads: packets from anywhere are parsed there, by drivers in C too, so they open no file,
//! run no program, make no socket and no executable memory. The thread of the listeners has lines of its own.
//!
//! A worker that is confined keeps what it had open, which is all that a poll-mode driver needs: it reads, writes, waits
//! and asks its device. Any other system call fails with `EPERM`, as a driver expects of a kernel that refuses it; the
//! process goes on.

mod files;
mod listeners;

use std::collections::BTreeMap;
use std::fmt;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

pub use files::{LandlockAbi, NoLandlock, confine_files, look_for_landlock};
pub use listeners::{drop_capabilities, refuse_system_calls};

/// System calls that a worker's thread may make, whatever their arguments.
const ALLOWED: &[libc::c_long] = &[
    // Frames: rings of the kernel are in memory, and are kicked by these.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_ppoll,
    libc::SYS_epoll_pwait,
    libc::SYS_ioctl,
    // Captures as devices.
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_close,
    // Memory; mmap and mprotect have arguments that are looked at.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_getrandom,
    // Time, locks and the thread itself.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_futex,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    // The thread's end, in good order or by a signal.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Elder forms of calls above, which x86 alone has.
#[cfg(target_arch = "x86_64")]
const ELDER: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_epoll_wait];
#[cfg(not(target_arch = "x86_64"))]
const ELDER: &[libc::c_long] = &[];

/// Number of the argument of mmap and mprotect that says what the memory is for.
const PROTECTION: u8 = 2;

/// Failure to confine a thread: the kernel has no system call filters, or refuses this one.
#[derive(Debug)]
pub struct Unconfined(String);

impl fmt::Display for Unconfined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel takes no filter of system calls ({})", self.0)
    }
}

impl<E: std::error::Error> From<E> for Unconfined {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Confines the calling thread, and all that it may start, for good.
pub fn confine_worker() -> Result<(), Unconfined> {
    Ok(seccompiler::apply_filter(&filter()?)?)
}

fn filter() -> Result<BpfProgram, Unconfined> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(ELDER).map(|call| (*call, Vec::new())).collect();
    let executable = libc::PROT_EXEC as u64;
    let not_executable = SeccompCmpOp::MaskedEq(executable);
    let condition = SeccompCondition::new(PROTECTION, SeccompCmpArgLen::Dword, not_executable, 0)?;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![SeccompRule::new(vec![condition.clone()])?]);
    }
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter =
        SeccompFilter::new(rules, refused, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, UdpSocket};
    use std::process::Command;
    use std::thread;

    use super::confine_worker;

    /// Runs `work` on a thread of its own that is confined first.
    fn confined<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = thread::spawn(|| {
            confine_worker().expect("the kernel has system call filters");
            work()
        });
        thread.join().expect("what is refused ends no thread")
    }

    #[test]
    fn a_confined_thread_opens_no_file_no_socket_and_no_program() {
        let refusals = confined(|| {
            [
                File::open("/etc/hostname").map(drop),
                File::create("/tmp/guideway-was-here").map(drop),
                std::fs::remove_file("/tmp/guideway-was-here"),
                UdpSocket::bind("127.0.0.1:0").map(drop),
                TcpListener::bind("127.0.0.1:0").map(drop),
                Command::new("/bin/true").status().map(drop),
            ]
        });
        for refusal in refusals {
            assert_eq!(refusal.expect_err("it is refused").kind(), ErrorKind::PermissionDenied);
        }
        File::open("/etc/passwd").expect("another thread is as free as before");
    }

    #[test]
    fn a_confined_thread_goes_on_with_what_it_had() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let (socket, peer) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let address = peer.local_addr().unwrap();
        let read = confined(move || {
            writer.write_all(b"kick").unwrap();
            socket.send_to(b"frame", address).unwrap();
            let mut kick = [0; 4];
            reader.read_exact(&mut kick).unwrap();
            // More than an allocator has at hand, and given back.
            drop(std::hint::black_box(vec![1_u8; 64 << 20]));
            kick
        });
        let mut frame = [0; 8];
        assert_eq!((&read, peer.recv(&mut frame).unwrap()), (b"kick", 5));
    }

    #[test]
    fn a_confined_thread_that_panics_ends_as_any_other() {
        let ended = thread::spawn(|| {
            confine_worker().unwrap();
            panic!("within");
        });
        let message = ended.join().expect_err("it has panicked");
        assert_eq!(message.downcast_ref(), Some(&"within"));
    }
}
