//! Files that DPDK has opened: kept from the programs that this process starts, as DPDK itself does not.
//!
//! A socket of a device, or the memory of all frames, is nothing that a program of the operator's should hold, and a device is
//! not given back before its last holder has ended.
#![allow(unsafe_code)]

use std::fs;
use std::os::fd::BorrowedFd;

use rustix::io::{FdFlags, fcntl_setfd};

/// Closes in programs that are started from now on all files that are open but standard input, output and error.
pub(super) fn close_in_children() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    for entry in entries.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(number) = number.filter(|number| *number > 2) else { continue };
        // SAFETY: the descriptor is used before the borrow ends, for nothing but this flag: one that another thread has closed
        // meanwhile is an error, and one that it has opened instead is to have the flag, too.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = fcntl_setfd(file, FdFlags::CLOEXEC);
    }
}
