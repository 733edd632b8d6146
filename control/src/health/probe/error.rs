//! The reasons why a probe fails.

use std::error::Error;
use std::{fmt, io};

use super::MAX_READ_BYTES;
use crate::words::shown;

/// The reason why a probe failed; displayed in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// Reading or writing failed, typically because the peer reset the connection.
    Connection(io::ErrorKind),
    /// The peer closed the connection before its answer was complete.
    Ended,
    /// The TLS session did not begin, or broke: typically the peer speaks no TLS, or an outdated one.
    Tls(String),
    /// The peer did not agree to HTTP/2 within TLS (ALPN).
    Http2NotAgreed,
    /// The answer is not what the protocol of the check allows.
    Protocol(String),
    /// The server ended the request or the connection as HTTP/2 provides, for this reason.
    Refused(String),
    /// The headers of the answer exceed 16 KiB.
    HeadersTooLong,
    /// The answer exceeds [`MAX_READ_BYTES`], or comes in too many frames of HTTP/2.
    AnswerTooLong,
    /// The HTTP status is another than 200; a redirect is one of them.
    Status(u16),
    /// The answer does not begin with, or its body does not hold, what the check expects.
    UnexpectedAnswer,
    /// The gRPC call ended with this status instead of OK.
    GrpcStatus(u32),
    /// The gRPC service reports this state instead of SERVING.
    NotServing(u64),
    /// The response of a DNS server has this code instead of the expected one.
    Rcode(u8),
    /// The configured host or path cannot be sent with this protocol.
    InvalidRequest(String),
}

impl ProbeError {
    /// The reason behind the error of a hyper connection or exchange.
    pub(super) fn from_hyper(error: &hyper::Error) -> Self {
        if let Some(error) = source_of::<io::Error>(error) {
            return Self::from_io(error);
        }
        if error.is_parse_too_large() {
            Self::HeadersTooLong
        } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            Self::Ended
        } else {
            let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            Self::Protocol(shown(&format!("{error}{cause}")))
        }
    }

    /// The reason behind the error of an HTTP/2 connection or stream.
    pub(super) fn from_h2(error: &h2::Error) -> Self {
        if let Some(error) = error.get_io() {
            return Self::from_io(error);
        }
        match error.reason() {
            Some(reason) if error.is_remote() => Self::Refused(shown(&reason.to_string())),
            _ => Self::Protocol(shown(&error.to_string())),
        }
    }

    /// The reason behind the error of a stream, plain or within TLS.
    pub(super) fn from_io(error: &io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            // Libraries may quote the peer, as names of its certificate.
            return Self::Tls(shown(&error.to_string()));
        }
        match error.kind() {
            // A writer finds a closed connection broken, a reader finds its end.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero | io::ErrorKind::BrokenPipe => {
                Self::Ended
            }
            // From `Limited`.
            io::ErrorKind::QuotaExceeded => Self::AnswerTooLong,
            kind => Self::Connection(kind),
        }
    }
}

/// The first cause of `error` that is an `E`.
fn source_of<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = error.source();
    for _ in 0..MAX_CAUSES {
        let cause = next?;
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

/// The most causes that are followed: chains are a few links long, and a longer one would be a circle.
const MAX_CAUSES: usize = 16;

impl fmt::Display for ProbeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(kind) => write!(formatter, "the connection failed: {kind}"),
            Self::Ended => write!(formatter, "the connection ended before an answer"),
            Self::Tls(cause) => write!(formatter, "TLS: {cause}"),
            Self::Http2NotAgreed => write!(formatter, "the server does not offer HTTP/2 (`h2` in ALPN)"),
            Self::Protocol(cause) => write!(formatter, "the answer breaks the protocol: {cause}"),
            Self::Refused(reason) => write!(formatter, "the server refused the request: {reason}"),
            Self::HeadersTooLong => write!(formatter, "the headers of the answer are too long"),
            Self::AnswerTooLong => {
                write!(formatter, "the answer is longer than {} KiB", MAX_READ_BYTES / 1024)
            }
            Self::Status(status) => write!(formatter, "status {status}"),
            Self::UnexpectedAnswer => write!(formatter, "the answer does not hold the expected text"),
            Self::GrpcStatus(status) => match grpc_status_name(*status) {
                Some(name) => write!(formatter, "gRPC status {status} ({name})"),
                None => write!(formatter, "gRPC status {status}"),
            },
            Self::NotServing(state) => match serving_state_name(*state) {
                Some(name) => write!(formatter, "the service reports {name}"),
                None => write!(formatter, "the service reports state {state}"),
            },
            Self::Rcode(code) => match rcode_name(*code) {
                Some(name) => write!(formatter, "DNS response code {code} ({name})"),
                None => write!(formatter, "DNS response code {code}"),
            },
            Self::InvalidRequest(cause) => write!(formatter, "the request cannot be sent: {cause}"),
        }
    }
}

impl Error for ProbeError {}

/// The name of a status in gRPC's core (doc/statuscodes.md).
fn grpc_status_name(status: u32) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::try_from(status).ok()?).copied()
}

/// The name of a response code in IANA's registry.
fn rcode_name(code: u8) -> Option<&'static str> {
    const NAMES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
    NAMES.get(usize::from(code)).copied()
}

/// The name of a state in grpc.health.v1.HealthCheckResponse.ServingStatus.
fn serving_state_name(state: u64) -> Option<&'static str> {
    const NAMES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
    NAMES.get(usize::try_from(state).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<ProbeError> {
        vec![
            ProbeError::Connection(io::ErrorKind::ConnectionReset),
            ProbeError::Ended,
            ProbeError::Tls("received corrupt message".to_owned()),
            ProbeError::Http2NotAgreed,
            ProbeError::Protocol("invalid HTTP version parsed".to_owned()),
            ProbeError::Refused("refused stream before processing any application logic".to_owned()),
            ProbeError::HeadersTooLong,
            ProbeError::AnswerTooLong,
            ProbeError::Status(503),
            ProbeError::UnexpectedAnswer,
            ProbeError::GrpcStatus(5),
            ProbeError::GrpcStatus(99),
            ProbeError::NotServing(2),
            ProbeError::NotServing(99),
            ProbeError::Rcode(3),
            ProbeError::Rcode(9),
            ProbeError::InvalidRequest("invalid authority".to_owned()),
        ]
    }

    #[test]
    fn words_of_a_peer_steer_no_terminal_and_have_an_end() {
        let hostile = format!("not valid for \u{1b}]0;x\u{7}\n{}", "x".repeat(70_000));
        let error = rustls::Error::General(hostile);
        let error = ProbeError::from_io(&io::Error::new(io::ErrorKind::InvalidData, error));
        let text = error.to_string();
        assert!(text.contains(r"not valid for \u{1b}]0;x\u{7}\nxxx"), "{text}");
        assert!(text.len() < 2_000 && text.ends_with('…'), "{}", text.len());
        assert!(!text.contains(char::is_control));
    }

    #[test]
    fn errors_read_as_an_operator_speaks() {
        let texts: Vec<_> = all().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        the connection failed: connection reset
        the connection ended before an answer
        TLS: received corrupt message
        the server does not offer HTTP/2 (`h2` in ALPN)
        the answer breaks the protocol: invalid HTTP version parsed
        the server refused the request: refused stream before processing any application logic
        the headers of the answer are too long
        the answer is longer than 128 KiB
        status 503
        the answer does not hold the expected text
        gRPC status 5 (NOT_FOUND)
        gRPC status 99
        the service reports NOT_SERVING
        the service reports state 99
        DNS response code 3 (NXDOMAIN)
        DNS response code 9
        the request cannot be sent: invalid authority
        ");
    }

    #[test]
    fn a_reset_is_told_from_an_end() {
        let error = |kind| ProbeError::from_io(&io::Error::from(kind));
        assert_eq!(
            error(io::ErrorKind::ConnectionReset),
            ProbeError::Connection(io::ErrorKind::ConnectionReset)
        );
        assert_eq!(error(io::ErrorKind::UnexpectedEof), ProbeError::Ended);
    }
}
