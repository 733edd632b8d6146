//! Answers of an HTTP server, read without its library: each has a status, an end, and words for what is wrong.

use guideway::api::view::ErrorView;
use serde_json::Value;

/// Statuses with which the HTTP library itself refuses what is no request; nothing follows such an answer.
const NO_REQUEST: [u16; 4] = [400, 414, 431, 505];

/// Longest body of an answer: the slots of a lookup table, or the errors of a configuration.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Asserts that these bytes are whole answers.
pub(super) fn inspect(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let end = position(bytes, b"\r\n\r\n").expect("an answer has a head");
        let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
        let rest = &bytes[end + 4..];
        let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "));
        let status: u16 = status.and_then(|status| status.get(..3)?.parse().ok()).expect("a status");
        assert!((100..500).contains(&status), "{head}");
        let (body, after) = body(head, rest);
        assert!(body.len() <= MAX_BODY_BYTES, "an answer of {} bytes", body.len());
        // An answer to HEAD has no body, whatever its head says.
        if !body.is_empty() {
            inspect_body(status, header(head, "content-type").unwrap_or_default(), &body);
        } else if status >= 400 {
            let is_head = header(head, "content-length").is_some_and(|length| length != "0");
            assert!(is_head || NO_REQUEST.contains(&status), "{head}");
        }
        bytes = after;
    }
}

/// Asserts that the body of an answer is what its head says.
fn inspect_body(status: u16, content_type: &str, body: &[u8]) {
    match content_type {
        "application/json" => {
            assert!(!body.iter().any(u8::is_ascii_control), "nothing steers a terminal");
            let value: Value = serde_json::from_slice(body).expect("JSON");
            if status >= 400 {
                let view: ErrorView = serde_json::from_value(value).expect("an error has its form");
                assert!(!view.message.is_empty() && !view.help.is_empty());
                let is_word = |letter: char| letter.is_ascii_lowercase() || letter == '_';
                assert!(!view.error.is_empty() && view.error.chars().all(is_word), "{}", view.error);
            }
        }
        "application/jsonl" | "application/x-pcapng" => assert_eq!(status, 200),
        other => panic!("a body of type {other}"),
    }
}

/// Body of an answer, and what follows it.
fn body<'b>(head: &str, rest: &'b [u8]) -> (Vec<u8>, &'b [u8]) {
    if header(head, "transfer-encoding") == Some("chunked") {
        return chunks(rest);
    }
    let length = header(head, "content-length").map_or(0, |length| length.parse().expect("a number"));
    // No body begins like a head.
    if length == 0 || rest.is_empty() || rest.starts_with(b"HTTP/1.") {
        return (Vec::new(), rest);
    }
    assert!(rest.len() >= length, "an answer is cut");
    (rest[..length].to_vec(), &rest[length..])
}

/// Chunks together; those of an answer that went on when the server stopped may lack their end.
fn chunks(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    while let Some(end) = position(rest, b"\r\n").filter(|_| !rest.starts_with(b"HTTP/1.")) {
        let length = std::str::from_utf8(&rest[..end]).expect("a length is text");
        let length = usize::from_str_radix(length, 16).expect("a length is hexadecimal");
        let chunk = rest.get(end + 2..end + 2 + length).expect("a chunk is whole");
        body.extend_from_slice(chunk);
        rest = rest[end + 2 + length..].strip_prefix(b"\r\n").expect("a chunk has an end");
        if length == 0 {
            break;
        }
    }
    (body, rest)
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|found| found == wanted)
}
