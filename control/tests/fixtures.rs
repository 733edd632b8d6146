//! Replays every capture of `pcap-fixtures/` and compares what is decided and what is sent with what must be.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use guideway::config::Config;
use guideway::events::Events;
use guideway::replay::{Outputs, Summary, replay};
use guideway_engine::capture::{CaptureReader, CaptureWriter};
use pcap_fixtures::fixture::{Fixture, Outcome};
use pcap_fixtures::scenarios::fixtures;

/// What a replay came to.
struct Replayed {
    summary: Summary,
    decisions: String,
    sent: Vec<u8>,
}

/// Memory that a replay writes to and the test reads.
#[derive(Clone, Default)]
struct Buffer(Rc<RefCell<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcap-fixtures")
}

fn parse(name: &str, config: &str) -> Config {
    Config::parse(name, config).unwrap_or_else(|errors| panic!("{}", errors.render(false)))
}

fn run(config: Config, events: Events, capture: &[u8], workers: usize) -> Replayed {
    let (decisions, sent) = (Buffer::default(), Buffer::default());
    let outputs = Outputs {
        decisions: Some(Box::new(decisions.clone())),
        frames: Some(CaptureWriter::new(Box::new(sent.clone()) as Box<dyn Write>).unwrap()),
    };
    let capture = CaptureReader::new(Cursor::new(capture.to_vec())).unwrap();
    let (summary, result) = replay(config, events, capture, workers, outputs);
    result.unwrap();
    assert!(summary.is_balanced(), "offered = forwarded + passed + dropped, but: {summary:#?}");
    let decisions = String::from_utf8(decisions.0.take()).unwrap();
    assert_eq!(decisions.lines().count() as u64, summary.packets);
    Replayed { summary, decisions, sent: sent.0.take() }
}

fn replay_fixture(fixture: &Fixture, workers: usize) -> Replayed {
    let file = |kind: &str| folder().join("captures").join(fixture.path(kind));
    let path = file("toml");
    let config = parse(&path.to_string_lossy(), &fs::read_to_string(&path).unwrap());
    let events = match file("events.toml") {
        path if path.exists() => Events::read(&path, &config).unwrap(),
        _ => Events::default(),
    };
    run(config, events, &fs::read(file("in.pcap")).unwrap(), workers)
}

/// The frames of a capture, as hexadecimal lines that a failed test can show.
fn frames(capture: &[u8]) -> Vec<String> {
    let mut reader = CaptureReader::new(capture).unwrap();
    let mut frames = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        let bytes: String = record.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        frames.push(format!("{} {} {bytes}", record.timestamp_nanos, record.wire_len));
    }
    frames
}

/// How often each word occurs.
fn tally(words: impl Iterator<Item = &'static str>) -> BTreeMap<&'static str, u64> {
    let mut tally = BTreeMap::new();
    words.for_each(|word| *tally.entry(word).or_default() += 1);
    tally
}

#[test]
fn every_fixture_is_decided_and_sent_as_it_must_be() {
    let mut wrong = String::new();
    for fixture in fixtures() {
        let file = |kind: &str| fs::read(folder().join("captures").join(fixture.path(kind))).unwrap();
        let replayed = replay_fixture(&fixture, 1);
        let decisions = String::from_utf8(file("decisions.jsonl")).unwrap();
        for (decided, right) in replayed.decisions.lines().zip(decisions.lines()) {
            if decided != right {
                wrong += &format!("{}\n  is        {decided}\n  should be {right}\n", fixture.name);
            }
        }
        let (sent, right) = (frames(&replayed.sent), frames(&file("out.pcap")));
        if sent.len() != right.len() {
            wrong += &format!("{}: {} frames sent, not {}\n", fixture.name, sent.len(), right.len());
        }
        for (sent, right) in sent.iter().zip(&right) {
            if sent != right {
                wrong += &format!("{}\n  sent      {sent}\n  should be {right}\n", fixture.name);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_frame_of_a_fixture_is_counted_once_under_its_reason() {
    for fixture in fixtures() {
        let summary = replay_fixture(&fixture, 1).summary;
        let of = |wanted| {
            let verdicts = fixture.outcomes().map(|outcome| outcome.verdict());
            verdicts.filter_map(move |(verdict, reason)| (verdict == wanted).then_some(reason.unwrap_or("")))
        };
        assert_eq!(summary.packets, fixture.outcomes().count() as u64, "{}", fixture.name);
        assert_eq!(summary.forwarded, of("forward").count() as u64, "{}", fixture.name);
        assert_eq!(summary.passed, tally(of("pass")), "{}", fixture.name);
        assert_eq!(summary.dropped, tally(of("drop")), "{}", fixture.name);
        let answered = fixture.outcomes().filter(|outcome| matches!(outcome, Outcome::TooBig(_, Some(_))));
        assert_eq!(summary.icmp_errors_sent, answered.count() as u64, "{}", fixture.name);
    }
}

#[test]
fn decisions_do_not_depend_on_the_number_of_workers() {
    for fixture in fixtures() {
        let [one, three] = [1, 3].map(|workers| replay_fixture(&fixture, workers));
        assert_eq!(one.decisions, three.decisions, "{}", fixture.name);
        assert_eq!(one.summary.is_balanced(), three.summary.is_balanced(), "{}", fixture.name);
    }
}

#[test]
fn packets_that_exceed_the_mtu_and_may_be_fragmented_are_counted() {
    let fixtures = fixtures();
    let fixture = fixtures.iter().find(|fixture| fixture.name == "sizes/too-big-is-told-to-the-client");
    assert_eq!(replay_fixture(fixture.expect("the fixture"), 1).summary.exceeding_mtu, 2);
}

#[test]
fn the_demonstration_shows_shares_against_weights_and_every_verdict() {
    let config = || parse("default.toml", include_str!("../src/default.toml"));
    let capture = fs::read(folder().join("demo.in.pcap")).unwrap();
    let Replayed { summary, decisions, .. } = run(config(), Events::default(), &capture, 1);
    println!("{summary:#?}");
    assert!((1_800..2_500).contains(&summary.packets), "{}", summary.packets);
    assert!(summary.passed.len() >= 2 && summary.dropped.len() >= 6);
    assert_eq!(summary.icmp_errors_sent, 4);
    assert_eq!(summary.icmp_errors_steered, 4);
    let backends: BTreeMap<_, _> =
        summary.backends.iter().map(|backend| (backend.backend.as_str(), backend)).collect();
    assert_eq!(backends.keys().copied().collect::<Vec<_>>(), ["fw-1", "fw-2", "web-1", "web-2"]);
    for backend in backends.values() {
        let off = (backend.expected_share - backend.selection_share).abs();
        assert!(off < 0.1, "{}: {} of {}", backend.backend, backend.selection_share, backend.expected_share);
    }
    assert_eq!(decisions, run(config(), Events::default(), &capture, 3).decisions);
}
