//! DPDK's log, read for the cause of a failed call: the warnings and errors since the last reading, or else the name of the
//! error number.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};

use guideway_dpdk_sys as sys;

use super::{StartError, log_cause};

/// Makes DPDK log to memory, for [`message`] to read, and to standard error besides if `echo` is set.
///
/// # Errors
/// [`StartError::Eal`] if there is no memory for it.
pub(super) fn open(echo: bool) -> Result<(), StartError> {
    // SAFETY: takes no pointer; called once, before EAL starts, by the thread that starts it.
    let opened = unsafe { sys::guideway_log_open(c_int::from(echo)) };
    if opened == 0 { Ok(()) } else { Err(StartError::Eal { message: "out of memory".to_owned() }) }
}

/// Discards what was logged up to now, so that [`message`] tells of the calls after this one alone.
pub(super) fn forget() {
    let _ = take();
}

/// Cause of the last call's failure: the first telling warning or error that DPDK logged since [`forget`], or the name of
/// the error number `code`, with or without its sign, if it logged none.
pub(super) fn message(code: c_int) -> String {
    let messages = take();
    log_cause::first(&messages).map_or_else(|| error_name(code.saturating_abs()), str::to_owned)
}

/// Number of this thread's last DPDK error (`rte_errno`).
pub(super) fn errno() -> c_int {
    // SAFETY: reads a word of this thread's own.
    unsafe { sys::guideway_errno() }
}

/// Takes all warnings and errors out of the log, the earliest first.
pub(super) fn take() -> Vec<String> {
    let mut text: Vec<c_char> = vec![0; 16 << 10];
    // SAFETY: `text` is writable for the stated length, and is closed by a NUL within it.
    unsafe { sys::guideway_log_take(text.as_mut_ptr(), text.len()) };
    // SAFETY: the call above has closed `text` by a NUL; nobody else has it.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    let text = text.to_string_lossy();
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect()
}

/// Name of a DPDK error number.
pub(super) fn error_name(code: c_int) -> String {
    // SAFETY: any number is allowed; the text is static or this thread's until its next call.
    let name = unsafe { sys::rte_strerror(code) };
    // SAFETY: `rte_strerror` returns a string that ends in NUL, and it is copied before the next call.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_string_lossy().into_owned()
}
