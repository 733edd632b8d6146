//! DPDK ports of the tester, on NICs or virtual devices, with the device under test beyond their cables.

use std::thread;
use std::time::{Duration, Instant};

use guideway_dataplane::frame::Frame as _;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::driver::device::Device;
use guideway_engine::driver::dpdk::{
    DpdkMbuf, Eal, EalOptions, Lcore, LiveQueues, Memory as EalMemory, Mempool, MempoolOptions, Port,
    PortOptions, QueuePair, Running, StartError,
};
use guideway_engine::driver::{Burst, QueuePair as _};

use super::responder::{answered, question};
use super::rig::{Cores, Rig};
use super::traffic::Traffic;
use super::trial::{End, Memory, Progress, Run, Seen, alone, receive, send};

/// MAC address of a port whose device has none.
const STAND_IN_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

/// MTU of a PCI function's port: room for an outer header before a packet of 1500 bytes.
const NIC_MTU: u16 = 1600;

/// Time that a link has to come up.
const LINK_PATIENCE: Duration = Duration::from_secs(10);

/// Time between two questions for the device's MAC address, and their number.
const QUESTION_PATIENCE: Duration = Duration::from_millis(200);
const QUESTIONS: usize = 25;

/// Tester's ports and the facts that a measurement needs to know of them.
pub(super) struct PortsRig<'eal> {
    near: TesterPort<'eal>,
    far: Option<TesterPort<'eal>>,
    pool: Mempool<'eal>,
    running: Running<'eal>,
    cores: Cores,
}

/// One port of the tester.
struct TesterPort<'eal> {
    port: Port<'eal>,
    /// Queues while no thread polls them.
    queues: Option<QueuePair<'eal>>,
    mac: MacAddress,
}

/// Settings of the tester's ports.
#[derive(Clone, Debug)]
pub(super) struct PortsOptions<'a> {
    /// Device that sends, and the one that receives; one alone does both.
    pub(super) devices: &'a [Device],
    /// MiB of ordinary pages in place of huge pages.
    pub(super) no_huge: Option<u32>,
    pub(super) cores: Cores,
}

impl<'eal> Memory for Mempool<'eal> {
    type Frame = DpdkMbuf<'eal>;

    #[inline]
    fn frame(&self, bytes: &[u8]) -> Option<DpdkMbuf<'eal>> {
        Mempool::frame(self, bytes)
    }
}

/// Opens the ports and runs `measure`.
///
/// # Errors
/// If DPDK or a port does not start, no link comes up, or `measure` fails.
pub(super) fn with_ports<T>(
    options: &PortsOptions<'_>,
    measure: impl FnOnce(&mut PortsRig<'_>) -> Result<T, String>,
) -> Result<T, String> {
    let memory = options.no_huge.map_or(EalMemory::HugePages, |mebibytes| EalMemory::NoHuge { mebibytes });
    let eal = Eal::init(&EalOptions { memory, devices: options.devices.to_vec(), ..EalOptions::default() })
        .map_err(said)?;
    let port_options = |device: &Device| PortOptions {
        mtu: matches!(device, Device::Pci(_)).then_some(NIC_MTU),
        promiscuous: true,
        ..PortOptions::default()
    };
    let count = options.devices.len() as u32;
    let mempool_options = MempoolOptions::holding(count, PortOptions::default().descriptors(), 2, 0);
    let pool = eal.mempool("rfc2544", &mempool_options).map_err(said)?;
    let mut ports = Vec::new();
    for device in options.devices {
        let (port, queues) = eal.open(device, &port_options(device), pool).map_err(said)?;
        let mac = if port.mac() == MacAddress([0; 6]) { STAND_IN_MAC } else { port.mac() };
        ports.push(TesterPort { port, queues: queues.into_iter().next(), mac });
    }
    await_links(&ports)?;
    let mut ports = ports.into_iter();
    let near = ports.next().ok_or("name a port")?;
    let mut rig = PortsRig { near, far: ports.next(), pool, running: eal.running(), cores: options.cores };
    measure(&mut rig)
}

fn said(error: StartError) -> String {
    error.to_string()
}

fn await_links(ports: &[TesterPort<'_>]) -> Result<(), String> {
    let deadline = Instant::now() + LINK_PATIENCE;
    while let Some(down) = ports.iter().find(|tester| !tester.port.link().up) {
        if Instant::now() >= deadline {
            return Err(format!(
                "the link of `{}` is down: check its cable, and the device",
                down.port.device()
            ));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

impl<'eal> PortsRig<'eal> {
    /// MAC address of the port that sends.
    pub(super) fn mac(&self) -> MacAddress {
        self.near.mac
    }

    /// Speed of the slower link in bits per second; none if a device does not know it, or has made it up.
    pub(super) fn link_bits(&self) -> Option<f64> {
        let speeds = [Some(&self.near), self.far.as_ref()].into_iter().flatten().map(|tester| {
            let speed = tester.port.link().speed_mbps;
            let is_real = matches!(tester.port.device(), Device::Pci(_)) && ![0, u32::MAX].contains(&speed);
            is_real.then(|| f64::from(speed) * 1e6)
        });
        speeds.reduce(|one, other| Some(one?.min(other?))).flatten()
    }

    /// Frames that the tester's own ports lost for want of descriptors or memory: no loss of the device.
    fn missed(&self) -> u64 {
        let ports = [Some(&self.near), self.far.as_ref()].into_iter().flatten();
        ports.map(|tester| tester.port.stats()).map(|stats| stats.missed + stats.no_mbuf).sum()
    }

    /// Asks the device for its MAC address.
    ///
    /// # Errors
    /// If nobody answers.
    pub(super) fn ask_for_mac(&mut self, asked: [u8; 4]) -> Result<MacAddress, String> {
        let (core, near) = (self.cores.sender, [self.near.take()]);
        let (pairs, answer) = on_core(self.running, core, self.pool, near, |ends| {
            (0..QUESTIONS).find_map(|_| ask(&mut ends[0], asked))
        })?;
        self.give_back(pairs);
        answer.ok_or_else(|| {
            let [a, b, c, d] = asked;
            format!("no device answers for {a}.{b}.{c}.{d}: state its MAC address (`--device-mac`)")
        })
    }

    /// Takes back the queues that threads have polled, the near port's first.
    fn give_back(&mut self, pairs: impl IntoIterator<Item = QueuePair<'eal>>) {
        let ports = [Some(&mut self.near), self.far.as_mut()].into_iter().flatten();
        for (tester, pair) in ports.zip(pairs) {
            tester.queues = Some(pair);
        }
    }
}

/// Port of the tester on the thread that polls it.
type LiveEnd<'l, 'eal> = End<LiveQueues<'l, 'eal>, Mempool<'eal>>;

/// Sends a question and waits a little for its answer.
fn ask(near: &mut LiveEnd<'_, '_>, asked: [u8; 4]) -> Option<MacAddress> {
    let mut burst: Burst<_> = near.memory.frame(&question(near.mac, [0; 4], asked)).into_iter().collect();
    near.queues.tx_burst(&mut burst);
    burst.clear();
    let deadline = Instant::now() + QUESTION_PATIENCE;
    while Instant::now() < deadline {
        near.queues.rx_burst(&mut burst);
        let answer = burst.drain(..).find_map(|frame| answered(frame.bytes(), asked));
        if answer.is_some() {
            return answer;
        }
    }
    None
}

impl<'eal> TesterPort<'eal> {
    fn take(&mut self) -> (QueuePair<'eal>, MacAddress) {
        (self.queues.take().expect("a trial gives back its queues, or ends the measurement"), self.mac)
    }
}

/// Runs `work` with these ports on a thread of its own, registered on this core; gives their queues back.
fn on_core<'eal, T: Send>(
    running: Running<'eal>,
    core: usize,
    pool: Mempool<'eal>,
    pairs: impl IntoIterator<Item = (QueuePair<'eal>, MacAddress)> + Send,
    work: impl for<'l> FnOnce(&mut [LiveEnd<'l, 'eal>]) -> T + Send,
) -> Result<(Vec<QueuePair<'eal>>, T), String> {
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let lcore = Lcore::register(running, core).map_err(said)?;
            let end = |(pair, mac)| End { queues: lcore.attach(pair), memory: pool, mac };
            let mut ends: Vec<LiveEnd<'_, 'eal>> = pairs.into_iter().map(end).collect();
            let result = work(&mut ends);
            Ok((ends.into_iter().map(|end| end.queues.detach()).collect(), result))
        });
        thread.join().expect("the tester has no reason to panic")
    })
}

impl Rig for PortsRig<'_> {
    fn trial(&mut self, traffic: &Traffic, run: &Run) -> Result<Seen, String> {
        let missed_before = self.missed();
        let (cores, running, pool) = (self.cores, self.running, self.pool);
        let near = self.near.take();
        let far = self.far.as_mut().map(TesterPort::take);
        let (pairs, seen) = match (far, cores.receiver) {
            (Some(far), Some(receiver)) => {
                let progress = &Progress::new();
                let (sent, received) = thread::scope(|scope| {
                    let receiving = scope.spawn(move || {
                        on_core(running, receiver, pool, [far], |ends| {
                            receive(&mut ends[0], traffic, run, progress)
                        })
                    });
                    let sent =
                        on_core(running, cores.sender, pool, [near], |ends| send(&mut ends[0], traffic, run));
                    progress.finish(sent.as_ref().map_or(0, |(_, sent)| sent.frames()));
                    (sent, receiving.join().expect("the receiver has no reason to panic"))
                });
                let ((near, sent), (far, received)) = (sent?, received?);
                (near.into_iter().chain(far).collect(), Seen::new(sent, received))
            }
            (far, _) => {
                let pairs = [Some(near), far].into_iter().flatten();
                on_core(running, cores.sender, pool, pairs, |ends| match ends {
                    [near, far] => alone(near, Some(far), traffic, run),
                    ends => alone(&mut ends[0], None, traffic, run),
                })?
            }
        };
        self.give_back(pairs);
        Ok(Seen { missed: self.missed() - missed_before, ..seen })
    }
}
