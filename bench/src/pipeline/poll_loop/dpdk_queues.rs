//! DPDK's virtual devices, measured on a thread that is registered with EAL.

use std::fs;
use std::path::PathBuf;

use guideway_dataplane::frame::Frame as _;
use guideway_dataplane::pipeline::BURST;
use guideway_engine::driver::dpdk::{
    DpdkMbuf, Eal, EalOptions, Lcore, Memory, MempoolOptions, PortOptions, QueuePair, Running,
};
use guideway_engine::driver::{Burst, QueuePair as _, device::Device};
use pcap_fixtures::capture::capture;

use super::by_turns::{ByTurns, pass_through};
use super::{Args, Effort, Measured, alone, scenario};
use crate::pipeline::slot::Slot;
use crate::pipeline::traffic::{Sent, Traffic};

/// Mebibytes of memory that EAL takes from the operating system, in pages of 4 KiB.
const MEBIBYTES: u32 = 512;

/// Frames that go round in `net_ring`.
const IN_RING: usize = 256;

/// Core that polls, the one to which the calling thread is pinned.
const CORE: usize = 0;

/// Measures `net_pcap` with every number of flows, and `net_ring` and `net_null` alone.
pub(super) fn measure(args: &Args, effort: Effort) -> Result<Vec<Measured>, String> {
    let folder = Folder::new()?;
    let mut devices = Vec::new();
    for (index, flows) in args.flows.iter().enumerate() {
        let file = folder.0.join(format!("{flows}.pcap"));
        fs::write(&file, packets(*flows, args)).map_err(|error| format!("{}: {error}", file.display()))?;
        devices.push(format!("net_pcap{index},rx_pcap={},infinite_rx=1", file.display()));
    }
    devices.extend(["net_ring0".to_owned(), "net_null0,size=60".to_owned()]);
    let devices: Vec<Device> = devices
        .iter()
        .map(|device| device.parse().map_err(|error| format!("{device}: {error}")))
        .collect::<Result<_, _>>()?;
    let memory = Memory::NoHuge { mebibytes: MEBIBYTES };
    let options = EalOptions { memory, devices: devices.clone(), ..EalOptions::default() };
    let eal = Eal::init(&options).map_err(|error| error.to_string())?;
    let pool = eal
        .mempool("frames", &MempoolOptions { mbufs: 65_535, ..MempoolOptions::default() })
        .map_err(|error| error.to_string())?;
    let mut pairs = Vec::new();
    for device in &devices {
        let (_, queues) =
            eal.open(device, &PortOptions::default(), pool).map_err(|error| error.to_string())?;
        pairs.extend(queues);
    }
    let running = eal.running();
    let ring_frames: Vec<_> = (0..IN_RING).filter_map(|_| pool.frame(&[0; 60])).collect();
    std::thread::scope(|scope| {
        let poll = || poll(running, args, effort, pairs, ring_frames);
        scope.spawn(poll).join().map_err(|_| "the polling thread panicked".to_owned())?
    })
}

/// Polls the devices one after the other.
fn poll<'eal>(
    running: Running<'eal>,
    args: &Args,
    effort: Effort,
    pairs: Vec<QueuePair<'eal>>,
    mut ring_frames: Vec<DpdkMbuf<'eal>>,
) -> Result<Vec<Measured>, String> {
    let lcore = Lcore::register(running, CORE).map_err(|error| error.to_string())?;
    let mut pairs = pairs.into_iter().map(|pair| lcore.attach(pair));
    let mut measured = Vec::new();
    for (queues, &flows) in pairs.by_ref().take(args.flows.len()).zip(&args.flows) {
        let scenario = scenario(flows, args.delivery);
        let traffic = Traffic::new(&scenario);
        let by_turns = ByTurns::new(&scenario, queues).measure(effort, &mut alone(&scenario, &traffic));
        measured.push(Measured::new("net_pcap", Some(flows), by_turns));
    }
    for (name, mut queues) in ["net_ring", "net_null"].into_iter().zip(pairs) {
        let mut burst = Burst::new();
        if name == "net_ring" {
            while !ring_frames.is_empty() {
                burst.extend(ring_frames.drain(ring_frames.len().saturating_sub(BURST)..));
                queues.tx_burst(&mut burst);
            }
        }
        let least = (0..effort.runs)
            .map(|_| pass_through(&mut queues, &mut burst, effort.bursts) / (effort.bursts * BURST) as f64)
            .fold(f64::INFINITY, f64::min);
        measured.push(Measured::new(name, None, [least, 0.0, 0.0, 0.0]));
    }
    Ok(measured)
}

/// Makes a capture of a packet of each flow, in random order.
fn packets(flows: u32, args: &Args) -> Vec<u8> {
    let traffic = Traffic::new(&scenario(flows, args.delivery));
    let mut order: Vec<u32> = (0..flows).collect();
    fastrand::Rng::with_seed(0).shuffle(&mut order);
    let frames: Vec<Vec<u8>> = order
        .into_iter()
        .map(|flow| {
            let mut slot = Slot::empty();
            traffic.receive(&mut slot, flow, Sent::InForm);
            slot.bytes().to_vec()
        })
        .collect();
    capture(frames.iter().map(|frame| (0, frame.as_slice())))
}

/// Folder for the captures, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("guideway-bench-loop-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
