//! Fixtures: each is a claim, the capture that shows it, and the outcome that every frame must have.
//!
//! Nothing is recorded from a run. What becomes of each frame is said beside it, and the frames that must leave are
//! built from the RFCs; where the frozen selection hash chooses between several backends, the name that is written
//! down is a test vector of that hash.

use std::fmt::Write as _;

use crate::capture::{Record, capture_of};
use crate::configuration::{Configuration, Endpoint};
use crate::delivery;
use crate::packet::Packet;

/// Time at which every capture starts: 2026-01-01 00:00 UTC, in nanoseconds since the epoch.
pub const START: u64 = 1_767_225_600_000_000_000;

const NANOS_PER_MILLISECOND: u64 = 1_000_000;

/// Claim with its capture.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// Path of the fixture's files: the claim's family, a slash, and the claim in kebab case.
    pub name: &'static str,
    /// Claim as a sentence.
    pub claim: &'static str,
    config: Configuration,
    reloads: Vec<Configuration>,
    events: String,
    frames: Vec<Frame>,
    /// Milliseconds since the first frame.
    now: u64,
}

#[derive(Clone, Debug)]
struct Frame {
    nanos: u64,
    /// Bytes of the frame, as many as the capture holds.
    bytes: Vec<u8>,
    wire_len: usize,
    /// Network that the frame is of, where there are several.
    network: Option<&'static str>,
    outcome: Outcome,
    sent: Vec<Sent>,
}

/// Frame that leaves the appliance.
#[derive(Clone, Debug)]
struct Sent {
    /// Bytes of the frame, as many as are known.
    bytes: Vec<u8>,
    wire_len: usize,
}

/// Outcome that a frame must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The frame goes to a backend.
    Forward(Choice),
    /// The frame is none of the appliance's rules', for this reason.
    Pass(&'static str),
    /// The frame is dropped for this reason, before it belongs to a rule.
    Drop(&'static str),
    /// The frame belongs to this rule and is dropped for this reason, before a backend is chosen or because there is
    /// none.
    Refuse(&'static str, &'static str),
    /// The frame is too big for its backend's path; its sender is told this MTU, unless no error may be sent.
    TooBig(Choice, Option<u16>),
    /// The frame is too long for its backend's tunnel, and nobody is told.
    TooLong(Choice),
}

/// Rule, the backend that was found behind it, and how it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    rule: &'static str,
    backend: &'static str,
    tracking: &'static str,
}

/// Makes a choice that the hash decides, and that an entry is made for.
pub const fn new(rule: &'static str, backend: &'static str) -> Outcome {
    Outcome::Forward(Choice { rule, backend, tracking: "new" })
}

/// Makes a choice that a valid entry decides.
pub const fn hit(rule: &'static str, backend: &'static str) -> Outcome {
    Outcome::Forward(Choice { rule, backend, tracking: "hit" })
}

/// Makes a choice that the hash decides, and that no entry is made for.
pub const fn off(rule: &'static str, backend: &'static str) -> Outcome {
    Outcome::Forward(Choice { rule, backend, tracking: "off" })
}

impl Outcome {
    /// Makes the outcome of a frame that would have had this choice but is too big; its sender is told `mtu`, unless
    /// no error may be sent.
    pub const fn but_too_big(self, mtu: Option<u16>) -> Self {
        match self {
            Self::Forward(choice) => Self::TooBig(choice, mtu),
            other => other,
        }
    }

    /// Makes the outcome of a frame that would have had this choice but is too long for the tunnel.
    pub const fn but_too_long(self) -> Self {
        match self {
            Self::Forward(choice) => Self::TooLong(choice),
            other => other,
        }
    }

    /// Words for the verdict and for its reason.
    pub fn verdict(&self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Forward(_) => ("forward", None),
            Self::Pass(reason) => ("pass", Some(reason)),
            Self::Drop(reason) | Self::Refuse(_, reason) => ("drop", Some(reason)),
            Self::TooBig(..) => ("drop", Some("packet_too_big")),
            Self::TooLong(_) => ("drop", Some("exceeds_tunnel_mtu")),
        }
    }
}

impl Fixture {
    /// Makes a fixture without frames.
    pub fn new(name: &'static str, claim: &'static str, config: Configuration) -> Self {
        let (reloads, events, frames) = (Vec::new(), String::new(), Vec::new());
        Self { name, claim, config, reloads, events, frames, now: 0 }
    }

    /// Adds a packet, a millisecond after the frame before it, and its outcome.
    ///
    /// The frame for a backend has the packet with one hop less to live, in the backend's delivery mode.
    pub fn frame(mut self, packet: &Packet, outcome: Outcome) -> Self {
        let sent = match outcome {
            Outcome::Forward(choice) => {
                let (config, endpoint) = self.endpoint(choice.backend);
                vec![delivery::delivered(config, endpoint, packet)]
            }
            Outcome::TooBig(_, Some(mtu)) => vec![delivery::too_big(packet, mtu)],
            _ => Vec::new(),
        };
        self.push(packet.build(), outcome, sent);
        self
    }

    /// Adds a packet as [`Fixture::frame`] does, which leaves in fragments of up to `mtu` bytes of its tunnel packet.
    pub fn frame_in_fragments(mut self, packet: &Packet, outcome: Outcome, mtu: usize) -> Self {
        let Outcome::Forward(choice) = outcome else { panic!("{outcome:?} sends no packet on") };
        let (config, endpoint) = self.endpoint(choice.backend);
        let sent = delivery::fragmented(config, endpoint, packet, mtu);
        self.push(packet.build(), outcome, sent);
        self
    }

    /// Adds a packet as [`Fixture::frame`] does, of which more changes than one hop less to live: the frame that
    /// leaves has `inner` inside.
    pub fn frame_as(mut self, packet: &Packet, outcome: Outcome, inner: &Packet) -> Self {
        let Outcome::Forward(choice) = outcome else { panic!("{outcome:?} sends no packet on") };
        let (config, endpoint) = self.endpoint(choice.backend);
        let sent = delivery::encapsulated(config, endpoint, packet, inner);
        self.push(packet.build(), outcome, vec![sent]);
        self
    }

    /// Adds a packet as [`Fixture::frame`] does, of which the capture holds the first `snap_len` bytes.
    ///
    /// The frame that leaves is known as far: the headers before the packet and as much of it as was captured. A
    /// checksum over what was cut off is computed over zeros, so let that be zeros.
    pub fn snapped(mut self, packet: &Packet, snap_len: usize, outcome: Outcome) -> Self {
        self = self.frame(packet, outcome);
        if let Some(frame) = self.frames.last_mut() {
            frame.bytes.truncate(snap_len);
            if let [Sent { bytes, .. }] = &mut frame.sent[..] {
                let prepended = match outcome {
                    // The headers of an ICMP or ICMPv6 error.
                    Outcome::TooBig(..) => {
                        if packet.src.is_ipv4() {
                            20 + 8
                        } else {
                            40 + 8
                        }
                    }
                    _ => bytes.len() - frame.wire_len,
                };
                bytes.truncate(snap_len + prepended);
            }
        }
        self
    }

    /// Adds a frame of any bytes, which does not go to a backend.
    pub fn raw(mut self, bytes: &[u8], outcome: Outcome) -> Self {
        assert!(!matches!(outcome, Outcome::Forward(_)), "{}: say it as a packet", self.name);
        self.push(bytes.to_vec(), outcome, Vec::new());
        self
    }

    /// Lets time pass before the next frame.
    pub fn wait(mut self, milliseconds: u64) -> Self {
        self.now += milliseconds;
        self
    }

    /// Makes a backend's health checks fail from now on.
    pub fn unhealthy(self, backend: &'static str) -> Self {
        self.change(backend, "health = 'UNHEALTHY'")
    }

    /// Makes a backend's health checks succeed from now on.
    pub fn healthy(self, backend: &'static str) -> Self {
        self.change(backend, "health = 'HEALTHY'")
    }

    /// Makes a backend report this weight from now on.
    pub fn weight(self, backend: &'static str, weight: u16) -> Self {
        self.change(backend, &format!("weight = {weight}"))
    }

    /// Replaces the configuration.
    pub fn reload(mut self, config: Configuration) -> Self {
        self.reloads.push(config);
        let file = self.file_name(&format!("reload-{}.toml", self.reloads.len()));
        self.event(&format!("config = '{file}'"));
        self
    }

    fn change(mut self, backend: &'static str, what: &str) -> Self {
        let service = self.configs().find_map(|config| config.service_of_backend(backend));
        let service = service.unwrap_or_else(|| panic!("{}: no backend {backend}", self.name));
        self.event(&format!("service = '{service}'\nbackend = '{backend}'\n{what}"));
        self
    }

    fn event(&mut self, lines: &str) {
        let gap = if self.events.is_empty() { "" } else { "\n" };
        let (seconds, millis) = (self.now / 1000, self.now % 1000);
        let _ = writeln!(self.events, "{gap}[[event]]\nat = {seconds}.{millis:03}\n{lines}");
    }

    fn push(&mut self, bytes: Vec<u8>, outcome: Outcome, sent: Vec<Vec<u8>>) {
        let nanos = START + self.now * NANOS_PER_MILLISECOND;
        assert!(self.now == 0 || !self.frames.is_empty(), "{}: time starts with the first frame", self.name);
        let sent = sent.into_iter().map(|bytes| Sent { wire_len: bytes.len(), bytes }).collect();
        let vlan = match bytes.get(12..18) {
            Some(&[0x81, 0x00, _, _, 0x81, 0x00]) => Some(u16::MAX),
            Some(&[0x81, 0x00, high, low, ..]) => Some(u16::from_be_bytes([high & 0x0f, low])),
            _ => None,
        };
        let network = self.configs().next().and_then(|config| config.network_of(vlan));
        self.frames.push(Frame { nanos, wire_len: bytes.len(), bytes, network, outcome, sent });
        self.now += 1;
    }

    /// Lists the configurations, the newest first.
    fn configs(&self) -> impl Iterator<Item = &Configuration> {
        self.reloads.iter().rev().chain([&self.config])
    }

    /// Finds a backend as it is configured now, or as it was when it was removed.
    fn endpoint(&self, backend: &str) -> (&Configuration, &Endpoint) {
        let found = self.configs().find_map(|config| Some((config, config.endpoint(backend)?)));
        found.unwrap_or_else(|| panic!("{}: no backend {backend}", self.name))
    }

    /// Outcomes that the frames must have, in order.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.frames.iter().map(|frame| frame.outcome)
    }

    /// Makes the fixture's files: their paths in the captures' folder, and their contents.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = vec![
            (self.path("toml"), self.config.toml().into_bytes()),
            (self.path("in.pcap"), self.input()),
            (self.path("out.pcap"), self.output()),
            (self.path("decisions.jsonl"), self.decisions().into_bytes()),
        ];
        if !self.events.is_empty() {
            files.push((self.path("events.toml"), self.events.clone().into_bytes()));
        }
        for (index, reload) in self.reloads.iter().enumerate() {
            files.push((self.path(&format!("reload-{}.toml", index + 1)), reload.toml().into_bytes()));
        }
        files
    }

    /// Path in the captures' folder of the fixture's file of this kind.
    pub fn path(&self, kind: &str) -> String {
        format!("{}.{kind}", self.name)
    }

    fn file_name(&self, kind: &str) -> String {
        let path = self.path(kind);
        path.rsplit('/').next().map(str::to_owned).unwrap_or(path)
    }

    fn input(&self) -> Vec<u8> {
        capture_of(self.frames.iter().map(|frame| Record {
            nanos: frame.nanos,
            bytes: &frame.bytes,
            wire_len: frame.wire_len,
        }))
    }

    fn output(&self) -> Vec<u8> {
        let sent = self.frames.iter().flat_map(|frame| frame.sent.iter().map(|sent| (frame.nanos, sent)));
        capture_of(sent.map(|(nanos, sent)| Record { nanos, bytes: &sent.bytes, wire_len: sent.wire_len }))
    }

    fn decisions(&self) -> String {
        let mut text = String::new();
        for (index, Frame { outcome, network, .. }) in self.frames.iter().enumerate() {
            let (verdict, reason) = outcome.verdict();
            let _ = write!(text, "{{\"frame\":{}", index + 1);
            if let Some(network) = network {
                let _ = write!(text, ",\"network\":\"{network}\"");
            }
            let _ = write!(text, ",\"verdict\":\"{verdict}\"");
            if let Some(reason) = reason {
                let _ = write!(text, ",\"reason\":\"{reason}\"");
            }
            let (rule, choice) = match *outcome {
                Outcome::Forward(choice) | Outcome::TooBig(choice, _) | Outcome::TooLong(choice) => {
                    (Some(choice.rule), Some(choice))
                }
                Outcome::Refuse(rule, _) => (Some(rule), None),
                Outcome::Pass(_) | Outcome::Drop(_) => (None, None),
            };
            if let Some(rule) = rule {
                let service = self.configs().find_map(|config| config.service_of_rule(rule));
                let service = service.unwrap_or_else(|| panic!("{}: no rule {rule}", self.name));
                let _ = write!(text, ",\"forwarding_rule\":\"{rule}\",\"backend_service\":\"{service}\"");
            }
            if let Some(Choice { backend, tracking, .. }) = choice {
                let _ = write!(text, ",\"backend\":\"{backend}\",\"tracking\":\"{tracking}\"");
            }
            text.push_str("}\n");
        }
        text
    }
}
