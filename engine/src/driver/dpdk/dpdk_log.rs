//! What DPDK says when it refuses: its first message since the last question, or the name of its error.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};

use guideway_dpdk_sys as sys;

use super::StartError;

/// Has DPDK's messages kept for [`message`], and echoed to standard error where `echo` says so.
///
/// # Errors
/// [`StartError::Eal`] where there is no memory for it.
pub(super) fn listen(echo: bool) -> Result<(), StartError> {
    // SAFETY: takes no pointer; called once, before EAL starts, by the thread that starts it.
    let opened = unsafe { sys::guideway_log_open(c_int::from(echo)) };
    if opened == 0 { Ok(()) } else { Err(StartError::Eal { said: "out of memory".to_owned() }) }
}

/// Forgets what was said up to now.
pub(super) fn forget() {
    let _ = first_message();
}

/// Why the last call failed: the first warning or error since [`forget`], else the name of `code`, whose sign is
/// ignored.
pub(super) fn message(code: c_int) -> String {
    let message = first_message();
    if message.is_empty() { error_name(code.saturating_abs()) } else { message }
}

/// DPDK's error number of this thread.
pub(super) fn errno() -> c_int {
    // SAFETY: reads a word of this thread's own.
    unsafe { sys::guideway_errno() }
}

fn first_message() -> String {
    let mut text: [c_char; 512] = [0; 512];
    // SAFETY: `text` is writable for the stated length, and is closed by a NUL within it.
    unsafe { sys::guideway_log_take(text.as_mut_ptr(), text.len()) };
    // SAFETY: the call above has closed `text` by a NUL; nobody else has it.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    text.to_string_lossy().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name of an error number.
pub(super) fn error_name(code: c_int) -> String {
    // SAFETY: any number is allowed; the text is static or this thread's until its next call.
    let name = unsafe { sys::rte_strerror(code) };
    // SAFETY: `rte_strerror` returns a string that ends in NUL, and it is copied before the next call.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_string_lossy().into_owned()
}
