//! A question by one datagram, as probes of the types UDP and DNS ask it, and the judgement of answers.

use guideway_model::config::{DnsQuery, Probe};

use super::ProbeError;

/// The bytes before the question of a DNS message (RFC 1035, section 4.1.1).
const DNS_HEADER_BYTES: usize = 12;

/// A datagram to send, and what an answer must hold.
#[derive(Clone, Debug)]
pub struct Question<'c> {
    datagram: Vec<u8>,
    expected: Expected<'c>,
}

#[derive(Clone, Copy, Debug)]
enum Expected<'c> {
    /// Text that an answer begins with.
    Text(&'c str),
    /// A response to the query that was sent, with this response code.
    Response(&'c DnsQuery),
}

impl<'c> Question<'c> {
    /// The question of a probe; `None` where it is asked over a connection. `id` is what tells the answer to a DNS query
    /// from forged ones, and is to be random.
    pub fn of(probe: &'c Probe, id: u16) -> Option<Self> {
        match probe {
            Probe::Udp { request, response } => {
                Some(Self { datagram: request.as_bytes().to_vec(), expected: Expected::Text(response) })
            }
            Probe::Dns(query) => {
                Some(Self { datagram: query_message(query, id), expected: Expected::Response(query) })
            }
            _ => None,
        }
    }

    /// The datagram to send.
    pub fn datagram(&self) -> &[u8] {
        &self.datagram
    }

    /// Judges a datagram that came; `None` where it answers another question, and the answer may still come.
    pub fn judge(&self, answer: &[u8]) -> Option<Result<(), ProbeError>> {
        match self.expected {
            Expected::Text(text) if answer.starts_with(text.as_bytes()) => Some(Ok(())),
            Expected::Text(_) => Some(Err(ProbeError::UnexpectedAnswer)),
            Expected::Response(query) => self.judge_response(query, answer),
        }
    }

    fn judge_response(&self, query: &DnsQuery, answer: &[u8]) -> Option<Result<(), ProbeError>> {
        let header = answer.first_chunk::<DNS_HEADER_BYTES>()?;
        let is_response = header[2] & 0x80 != 0;
        if header[..2] != self.datagram[..2] || !is_response {
            return None;
        }
        // A server that cannot read the question need not repeat it; one that does repeats this one, in any case of
        // letters (RFC 1034, section 3.1).
        let asked = &self.datagram[DNS_HEADER_BYTES..];
        if header[4..6] == [0, 1] {
            let repeated = answer.get(DNS_HEADER_BYTES..self.datagram.len())?;
            if !repeated.eq_ignore_ascii_case(asked) {
                return None;
            }
        }
        let rcode = header[3] & 0x0f;
        Some(if rcode == query.rcode as u8 { Ok(()) } else { Err(ProbeError::Rcode(rcode)) })
    }
}

/// A query with recursion desired, and one question of class IN (RFC 1035, section 4.1).
fn query_message(query: &DnsQuery, id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in query.name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).expect("a configured label is short"));
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend((query.record as u16).to_be_bytes());
    message.extend([0, 1]);
    message
}

#[cfg(test)]
mod tests {
    use guideway_model::config::{DnsRcode, DnsType};

    use super::*;

    fn dns(rcode: DnsRcode) -> Probe {
        Probe::Dns(DnsQuery { name: "www.Example".to_owned(), record: DnsType::Aaaa, rcode })
    }

    /// The query with the flags of a response and this code.
    fn response(question: &Question<'_>, rcode: u8) -> Vec<u8> {
        let mut answer = question.datagram().to_vec();
        answer[2] |= 0x80;
        answer[3] |= rcode;
        answer
    }

    #[test]
    fn a_query_is_that_of_the_rfc() {
        let probe = dns(DnsRcode::NoError);
        let expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07Example\0\0\x1c\0\x01";
        assert_eq!(Question::of(&probe, 0x1234).unwrap().datagram(), expected);
        let root =
            Probe::Dns(DnsQuery { name: String::new(), record: DnsType::Ns, rcode: DnsRcode::NoError });
        let message = Question::of(&root, 1).unwrap().datagram().to_vec();
        assert_eq!(message[DNS_HEADER_BYTES..], [0, 0, 2, 0, 1]);
    }

    #[test]
    fn a_response_is_judged_by_its_code() {
        for (rcode, expected) in [(0, DnsRcode::NoError), (3, DnsRcode::NxDomain), (5, DnsRcode::Refused)] {
            let probe = dns(expected);
            let question = Question::of(&probe, 7).unwrap();
            assert_eq!(question.judge(&response(&question, rcode)), Some(Ok(())));
            assert_eq!(question.judge(&response(&question, 2)), Some(Err(ProbeError::Rcode(2))));
        }
    }

    #[test]
    fn answers_to_other_questions_are_passed_over() {
        let probe = dns(DnsRcode::NoError);
        let question = Question::of(&probe, 7).unwrap();
        let other = Question::of(&probe, 8).unwrap();
        assert_eq!(question.judge(&response(&other, 0)), None, "another id");
        assert_eq!(question.judge(question.datagram()), None, "the query itself");
        for len in 0..question.datagram().len() {
            assert_eq!(question.judge(&response(&question, 0)[..len]), None, "{len} bytes of it");
        }
        let mut renamed = response(&question, 0);
        renamed[DNS_HEADER_BYTES + 1] = b'x';
        assert_eq!(question.judge(&renamed), None);
        renamed[DNS_HEADER_BYTES + 1] = b'W';
        assert_eq!(question.judge(&renamed), Some(Ok(())), "letters of either case");
        // FORMERR without the question.
        let mut short = response(&question, 1)[..DNS_HEADER_BYTES].to_vec();
        short[5] = 0;
        assert_eq!(question.judge(&short), Some(Err(ProbeError::Rcode(1))));
    }

    #[test]
    fn a_datagram_is_judged_by_its_beginning() {
        let judge = |response: &str, answer: &[u8]| {
            let probe = Probe::Udp { request: "PING".to_owned(), response: response.to_owned() };
            Question::of(&probe, 7).unwrap().judge(answer)
        };
        assert_eq!(judge("PONG", b"PONG 7"), Some(Ok(())));
        assert_eq!(judge("", b""), Some(Ok(())));
        assert_eq!(judge("PONG", b"PON"), Some(Err(ProbeError::UnexpectedAnswer)));
    }
}
