//! Confinement of the listeners' thread beyond files: it has no capability, and the kernel refuses it the system calls that a server
//! of sockets has no use for and an intruder has.
//!
//! Workers may make what a list allows; here a list refuses, as a server's run-time library asks for much and changes. The thread
//! shares memory and open files with the process, so that these lines hold an intruder up and do not make the thread a process.

use nix::libc;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::{PROTECTION, Unconfined};

/// System calls that are refused, whatever their arguments.
const REFUSED: &[libc::c_long] = &[
    // Programs, and memory that could become one.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_memfd_create,
    libc::SYS_userfaultfd,
    libc::SYS_personality,
    // Conversations that nobody has begun with the appliance.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    // Files, as far as Landlock or an elder one does not look at it.
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_truncate,
    libc::SYS_open_by_handle_at,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    // The kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
];

/// Number of fchmodat2 on every machine, for which not all have a name.
const FCHMODAT2: libc::c_long = 452;

/// Elder forms of calls above, which x86 alone has.
#[cfg(target_arch = "x86_64")]
const ELDER: &[libc::c_long] = &[libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown];
#[cfg(not(target_arch = "x86_64"))]
const ELDER: &[libc::c_long] = &[];

/// Mark of the calls of x32, by which a kernel that has it takes the same calls under other numbers.
#[cfg(target_arch = "x86_64")]
const X32: libc::c_long = 0x4000_0000;

/// Calls of x32 that have a number of their own: execve, ptrace, kexec_load, process_vm_readv, process_vm_writev and execveat.
#[cfg(target_arch = "x86_64")]
const OF_X32: &[libc::c_long] = &[520, 521, 528, 539, 540, 545];

/// Takes every capability from the calling thread.
///
/// # Errors
/// Errors of the kernel, as in a sandbox that refuses the call.
pub fn drop_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// Refuses the calling thread, and all that it may start, for good the calls that a server of sockets has no use for.
///
/// # Errors
/// [`Unconfined`] where the kernel takes no such filter.
pub fn refuse_system_calls() -> Result<(), Unconfined> {
    Ok(seccompiler::apply_filter(&filter()?)?)
}

fn filter() -> Result<BpfProgram, Unconfined> {
    let executable = libc::PROT_EXEC as u64;
    let is_executable = SeccompCmpOp::MaskedEq(executable);
    let condition = SeccompCondition::new(PROTECTION, SeccompCmpArgLen::Dword, is_executable, executable)?;
    let rule = SeccompRule::new(vec![condition])?;
    let executables = [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect];
    let refused = REFUSED.iter().chain(ELDER).map(|call| (*call, Vec::new()));
    let refused = refused.chain(executables.map(|call| (call, vec![rule.clone()])));
    #[cfg(target_arch = "x86_64")]
    let refused = refused
        .flat_map(|(call, rules)| [(call, rules.clone()), (call | X32, rules)])
        .chain(OF_X32.iter().map(|call| (call | X32, Vec::new())));
    let action = SeccompAction::Errno(libc::EPERM as u32);
    let target = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(refused.collect(), SeccompAction::Allow, action, target)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::{self, ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::fs::{PermissionsExt, chown, chroot, fchown, lchown};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::Command;
    use std::thread;

    use nix::sched::{CloneFlags, unshare};
    use rustix::fs::{MemfdFlags, XattrFlags, memfd_create, setxattr};
    use rustix::process::{PidfdFlags, getpid, pidfd_open, test_kill_process};

    use super::*;

    /// Runs `work` on a thread of its own that is confined first.
    fn confined<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = thread::spawn(|| {
            refuse_system_calls().expect("the kernel has system call filters");
            work()
        });
        thread.join().expect("what is refused ends no thread")
    }

    #[test]
    fn a_confined_thread_crosses_no_line() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("own");
        let file = File::create(&path).expect("a file can be made");
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).expect("it can be made");
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = tcp.local_addr().expect("it has one");
        let refusals = confined(move || {
            let closed = Permissions::from_mode(0o600);
            let attempts: [(&str, io::Result<()>); 16] = [
                ("run a program", Command::new("/bin/true").status().map(drop)),
                ("connect by a path", UnixStream::connect(&socket).map(drop)),
                ("connect by TCP", TcpStream::connect(address).map(drop)),
                ("make a socket", UdpSocket::bind("127.0.0.1:0").map(drop)),
                (
                    "make a file of memory",
                    memfd_create("x", MemfdFlags::CLOEXEC).map(drop).map_err(Into::into),
                ),
                ("change a mode", fs::set_permissions(&path, closed.clone())),
                ("change an open file's mode", file.set_permissions(closed)),
                ("change an owner", chown(&path, None, None)),
                ("change an open file's owner", fchown(&file, None, None)),
                ("change a link's owner", lchown(&path, None, None)),
                (
                    "set an attribute",
                    setxattr(&path, "user.x", b"x", XattrFlags::empty()).map_err(Into::into),
                ),
                ("change the root", chroot(folder.path())),
                ("leave a namespace", unshare(CloneFlags::CLONE_NEWUTS).map_err(Into::into)),
                ("find a process", pidfd_open(getpid(), PidfdFlags::empty()).map(drop).map_err(Into::into)),
                ("signal a process", test_kill_process(getpid()).map_err(Into::into)),
                ("bind a socket", UnixListener::bind(folder.path().join("other")).map(drop)),
            ];
            attempts
        });
        for (attempt, refusal) in refusals {
            assert_eq!(refusal.expect_err(attempt).kind(), ErrorKind::PermissionDenied, "{attempt}");
        }
        Command::new("/bin/true").status().expect("another thread is as free as before");
    }

    #[test]
    fn a_confined_thread_serves_who_connects() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let mut client = TcpStream::connect(listener.local_addr().expect("it has one")).expect("it listens");
        client.write_all(b"ask").expect("it is connected");
        confined(move || {
            let (mut stream, _) = listener.accept().expect("a client waits");
            stream.set_nodelay(true).expect("an option can be set");
            let mut asked = [0; 3];
            stream.read_exact(&mut asked).expect("it has come");
            assert!(fs::read_to_string("/proc/self/status").is_ok(), "files are Landlock's affair");
            // Memory and a thread of its own, which is confined as well.
            drop(std::hint::black_box(vec![1_u8; 64 << 20]));
            let child = thread::spawn(|| UdpSocket::bind("127.0.0.1:0").map(drop));
            assert!(child.join().expect("it ends").is_err());
            stream.write_all(&asked).expect("it is connected");
        });
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("it is answered");
        assert_eq!(answer, "ask");
    }

    #[test]
    fn a_thread_without_capabilities_has_no_way_back_and_others_keep_theirs() {
        let own = || {
            let status = fs::read_to_string("/proc/thread-self/status").expect("the kernel tells");
            let lines = status.lines().filter(|line| line.starts_with("Cap") && !line.starts_with("CapBnd"));
            lines.map(|line| line.split_whitespace().nth(1).expect("it has a value").to_owned()).collect()
        };
        let before: Vec<String> = own();
        let left: Vec<String> = thread::spawn(move || {
            drop_capabilities().expect("they can be given up");
            let all = CapabilitySet::NET_ADMIN;
            let sets = CapabilitySets { effective: all, permitted: all, inheritable: all };
            assert!(set_capabilities(None, sets).is_err());
            own()
        })
        .join()
        .expect("nobody panics");
        assert_eq!(left, ["0000000000000000"; 4]);
        assert_eq!(own(), before);
    }

    /// Outcome of a filter for a call with these arguments, by the instructions that the kernel would run.
    fn outcome(filter: &BpfProgram, call: i64, arguments: [u64; 6]) -> u32 {
        let architecture = if cfg!(target_arch = "x86_64") { 0xC000_003E } else { 0xC000_00B7 };
        let mut data = vec![call as u32, architecture, 0, 0];
        data.extend(arguments.iter().flat_map(|argument| [*argument as u32, (*argument >> 32) as u32]));
        let (mut at, mut word) = (0, 0);
        loop {
            let step = &filter[at];
            at += 1;
            let jump = |is_so: bool| usize::from(if is_so { step.jt } else { step.jf });
            match step.code {
                0x20 => word = data[step.k as usize / 4],
                0x54 => word &= step.k,
                0x05 => at += step.k as usize,
                0x15 => at += jump(word == step.k),
                0x25 => at += jump(word > step.k),
                0x35 => at += jump(word >= step.k),
                0x06 => return step.k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_filter_refuses_its_list_under_every_number_and_nothing_else() {
        const ALLOW: u32 = 0x7FFF_0000;
        const REFUSE: u32 = 0x0005_0000 | libc::EPERM as u32;
        let filter = filter().expect("it can be written");
        let executables = [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect];
        let mut refused: Vec<_> = REFUSED.iter().chain(ELDER).copied().collect();
        #[cfg(target_arch = "x86_64")]
        {
            refused.extend(refused.clone().iter().map(|call| call | X32));
            refused.extend(OF_X32.iter().map(|call| call | X32));
        }
        for call in (0..600).chain((0..600).map(|call| call | 0x4000_0000)) {
            let expected = if refused.contains(&call) { REFUSE } else { ALLOW };
            assert_eq!(outcome(&filter, call, [0, 0, 3, 0, 0, 0]), expected, "{call}");
            let plain = call & 0xFFFF;
            if executables.contains(&plain) && (plain == call || cfg!(target_arch = "x86_64")) {
                assert_eq!(outcome(&filter, call, [0, 0, 5, 0, 0, 0]), REFUSE, "{call}");
            }
        }
    }
}
