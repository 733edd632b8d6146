//! Queues of one DPDK port for one worker: an inert pair that can be sent to the worker, and the live one that it
//! polls. A pair may have one direction alone, on a device that has more queues of it than of the other.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::{mem, ptr};

use guideway_dpdk_sys as sys;

use super::open_port::OpenPort;
use super::{DpdkMbuf, Lcore};
use crate::driver::{self, Burst};

/// Polls of a bond after which it gets to send its own messages: some 0.1 ms, or 10 ms of a worker that polls slow devices.
const POLLS_PER_MESSAGES: u32 = 1024;

/// Receive and transmit queue of a port, for one worker to take to its thread.
///
/// There is one of each, and it cannot be cloned or shared, so no two threads poll the same queue.
pub struct QueuePair<'eal> {
    port: Arc<OpenPort<'eal>>,
    /// Number of the pair on its port, that of its queues, by which it is a user of the port's gate.
    number: u16,
    rx_queue: Option<u16>,
    tx_queue: Option<u16>,
    not_sync: PhantomData<Cell<()>>,
}

impl<'eal> QueuePair<'eal> {
    /// Makes one of a port's queue pairs, which has the queue of its number of one direction or of both; only `Eal::open` does,
    /// once for each number.
    pub(super) fn new(port: Arc<OpenPort<'eal>>, number: u16, receives: bool, sends: bool) -> Self {
        let (rx_queue, tx_queue) = (receives.then_some(number), sends.then_some(number));
        Self { port, number, rx_queue, tx_queue, not_sync: PhantomData }
    }

    /// Number of the receive queue on its port; None if the pair receives nothing.
    pub fn rx_queue(&self) -> Option<u16> {
        self.rx_queue
    }

    /// Number of the transmit queue on its port; None if the pair sends nothing.
    pub fn tx_queue(&self) -> Option<u16> {
        self.tx_queue
    }
}

impl fmt::Debug for QueuePair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuePair")
            .field("port", &self.port.id())
            .field("rx_queue", &self.rx_queue)
            .field("tx_queue", &self.tx_queue)
            .finish()
    }
}

/// Queue pair on the thread that polls it.
#[derive(Debug)]
pub struct LiveQueues<'l, 'eal> {
    pair: QueuePair<'eal>,
    /// Number of the port, beside those of the queues.
    port: u16,
    /// True unless received frames are known to be as they are to be: whole, each in one mbuf, and with their VLAN tags.
    looks_at_headers: bool,
    may_strip_tags: bool,
    /// Polls until a bond gets to send its own messages; None for other devices, and for a pair that sends nothing.
    until_messages: Option<u32>,
    refused: u64,
    joined: u64,
    /// Registration of the thread, which the queues do not leave and do not outlive.
    lcore: PhantomData<&'l Lcore<'eal>>,
}

impl<'eal> Lcore<'eal> {
    /// Takes a queue pair to poll on this thread.
    pub fn attach<'l>(&'l self, queues: QueuePair<'eal>) -> LiveQueues<'l, 'eal> {
        LiveQueues {
            port: queues.port.id(),
            looks_at_headers: queues.port.may_segment() || queues.port.may_strip_tags(),
            may_strip_tags: queues.port.may_strip_tags(),
            until_messages: (queues.port.is_bond() && queues.tx_queue.is_some())
                .then_some(POLLS_PER_MESSAGES),
            pair: queues,
            refused: 0,
            joined: 0,
            lcore: PhantomData,
        }
    }
}

impl<'eal> LiveQueues<'_, 'eal> {
    /// Returns the queue pair, to be attached to another thread.
    pub fn detach(self) -> QueuePair<'eal> {
        self.pair
    }

    /// True if the port's gate lets this pair poll its queues, until it looks again.
    #[inline]
    fn is_let_in(&self) -> bool {
        self.pair.port.gate().lets_in(self.pair.number.into())
    }

    /// Lets a bond send its LACP messages now and then, which it does within a transmit burst: an idle worker sends none, and
    /// the partner would give the bond up.
    // DPDK's guide of the bonding driver: bursts of both kinds at least every 100 ms.
    fn let_bond_talk(&mut self) {
        let (Some(left), Some(queue)) = (&mut self.until_messages, self.pair.tx_queue) else { return };
        *left -= 1;
        if *left == 0 {
            *left = POLLS_PER_MESSAGES;
            // SAFETY: as in `tx_burst`, and no mbuf is handed over.
            unsafe { sys::guideway_tx_burst(self.port, queue, ptr::null_mut(), 0) };
        }
    }

    /// Puts back the VLAN tags that the device has taken off, which tell networks apart; frees and counts the frames that have
    /// no room for one. The first `before` frames of the burst came by another port.
    fn restore_tags(&mut self, burst: &mut Burst<DpdkMbuf<'eal>>, before: usize) {
        let (mut index, refused) = (0, &mut self.refused);
        burst.retain(|frame| {
            index += 1;
            let is_whole = index <= before || frame.restore_tag();
            *refused += u64::from(!is_whole);
            is_whole
        });
    }

    /// Joins the frames that lie in several segments, each in its first mbuf; frees those that do not fit. Counts both.
    #[cold]
    fn join_segmented(&mut self, burst: &mut Burst<DpdkMbuf<'eal>>) {
        let (joined, refused) = (&mut self.joined, &mut self.refused);
        burst.retain(|frame| {
            if frame.segments_but_one() == 0 {
                return true;
            }
            let fits = frame.join_segments();
            *if fits { &mut *joined } else { &mut *refused } += 1;
            fits
        });
    }
}

impl<'eal> driver::QueuePair for LiveQueues<'_, 'eal> {
    type Frame = DpdkMbuf<'eal>;

    /// Frames in several segments are joined, or freed where they do not fit one mbuf, and counted: the port is set up so
    /// that each fits one.
    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<DpdkMbuf<'eal>>) {
        let Some(queue) = self.pair.rx_queue else { return self.attend() };
        if !self.is_let_in() {
            return;
        }
        let before = burst.len();
        let room = burst.remaining_capacity();
        // SAFETY: the offset is at most the capacity of `burst`.
        let spare = unsafe { burst.as_mut_ptr().add(before) };
        // SAFETY: the port is started and the queue set up as long as `pair.port` lives and its gate lets this pair in, and
        // nobody else polls this queue. A `DpdkMbuf` is a pointer in memory, and there is room for so many behind those that `burst` holds.
        let count = unsafe { sys::guideway_rx_burst(self.port, queue, spare.cast(), room as u16) };
        // SAFETY: the driver has written `count` pointers, at most `room`, and handed over their mbufs, which are
        // initialised; each comes from the pool that its queue was set up with, or from one of the same EAL that another
        // port sent it from. Each lies in one segment: the driver makes no others, or the look below joins or frees those that do not.
        unsafe { burst.set_len(before + usize::from(count)) };
        if !self.looks_at_headers {
            return;
        }
        // A bond may segment, as far as is known, so that its headers are looked at.
        self.let_bond_talk();
        // All of them, without a branch for each: their headers come from memory side by side.
        let extra = burst[before..].iter().fold(0, |extra, frame| extra | frame.segments_but_one());
        if extra != 0 {
            self.join_segmented(burst);
        }
        if self.may_strip_tags && self.pair.port.restores_tags() {
            self.restore_tags(burst, before);
        }
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<DpdkMbuf<'eal>>) {
        let Some(queue) = self.pair.tx_queue else { return };
        // The device is being reset, or gone: it takes nothing.
        if !self.is_let_in() {
            return;
        }
        let count = burst.len();
        let mbufs = burst.as_mut_ptr().cast::<*mut sys::rte_mbuf>();
        // SAFETY: the port is started and the queue set up as long as `pair.port` lives and its gate lets this pair in, and
        // nobody else polls this queue. A `DpdkMbuf` is a pointer in memory, and `burst` holds `count` of them.
        let sent = unsafe { sys::guideway_tx_burst(self.port, queue, mbufs, count as u16) };
        // The driver has taken these over and frees them once they are sent.
        if usize::from(sent) == count {
            // SAFETY: nothing has zero elements to be initialised.
            unsafe { burst.set_len(0) };
        } else {
            burst.drain(..usize::from(sent)).for_each(mem::forget);
        }
    }

    #[inline]
    fn attend(&mut self) {
        if self.is_let_in() {
            self.let_bond_talk();
        }
    }

    fn refused(&self) -> u64 {
        self.refused
    }

    fn joined(&self) -> u64 {
        self.joined
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use guideway_dataplane::frame::Frame;

    use super::*;
    use crate::driver::QueuePair as _;
    use crate::driver::device::Device;
    use crate::driver::dpdk::{Eal, EalOptions, Memory, MempoolOptions, PortOptions};

    /// A ring hands over mbufs as they were sent, in chains if they are. EAL starts once in a process, and no other test of
    /// the library starts it.
    #[test]
    fn a_chain_of_mbufs_is_joined_where_it_fits_the_first_and_a_tag_is_put_back() {
        let [device, trunk] = ["net_ring0", "net_ring1"].map(|name| name.parse::<Device>().unwrap());
        let eal = Eal::init(&EalOptions {
            memory: Memory::NoHuge { mebibytes: 64 },
            devices: vec![device.clone(), trunk.clone()],
            ..EalOptions::default()
        })
        .unwrap();
        let mbufs = MempoolOptions { mbufs: 2047, ..MempoolOptions::default() };
        let pool = eal.mempool("frames", &mbufs).unwrap();
        let (_port, pairs) = eal.open(&device, &PortOptions::default(), pool).unwrap();
        let running = eal.running();
        let chain = |parts: [&[u8]; 2]| {
            let [first, second] = parts.map(|part| pool.frame(part).expect("2,047 mbufs"));
            first.followed_by(second)
        };
        thread::scope(|scope| {
            for pair in pairs {
                scope.spawn(|| {
                    let lcore = Lcore::register(running, 0).unwrap();
                    let mut queues = lcore.attach(pair);
                    let mut burst = Burst::new();
                    burst.extend(pool.frame(b"alone"));
                    burst.push(chain([&[1; 1500], &[2; 548]]));
                    burst.push(chain([&[1; 1500], &[2; 549]]));
                    burst.extend(pool.frame(b"alone, too"));
                    queues.tx_burst(&mut burst);
                    assert!(burst.is_empty());
                    queues.rx_burst(&mut burst);
                    let joined = [[1; 1500].as_slice(), &[2; 548]].concat();
                    assert!(burst.iter().map(Frame::bytes).eq([b"alone".as_slice(), &joined, b"alone, too"]));
                    assert_eq!((queues.joined(), queues.refused()), (1, 1));
                });
            }
        });
        assert_eq!(pool.available(), 2047);

        // A PF may have a VF's tags taken off: they are put back where the port's networks are in VLANs.
        let options = PortOptions { filters_vlans: true, ..PortOptions::default() };
        let (port, pairs) = eal.open(&trunk, &options, pool).unwrap();
        thread::scope(|scope| {
            for pair in pairs {
                scope.spawn(|| {
                    let lcore = Lcore::register(running, 0).unwrap();
                    let mut queues = lcore.attach(pair);
                    let addresses = [0xaa, 0xbb].map(|byte| [byte; 6]).concat();
                    let untagged = [&addresses[..], &[8, 0, 0x45]].concat();
                    let of_another_port = pool.frame(&untagged).unwrap().stripped_of(100);
                    let mut burst = Burst::new();
                    burst.push(pool.frame(&untagged).unwrap().stripped_of(0x6064));
                    burst.extend(pool.frame(&untagged));
                    burst.push(pool.frame(b"short").unwrap().stripped_of(100));
                    queues.tx_burst(&mut burst);
                    burst.push(of_another_port);
                    queues.rx_burst(&mut burst);
                    let tagged = [&addresses[..], &[0x81, 0, 0x60, 0x64, 8, 0, 0x45]].concat();
                    assert!(burst.iter().map(Frame::bytes).eq([&untagged, &tagged, &untagged]));
                    assert_eq!(queues.refused(), 1);
                });
            }
        });

        // Without a network in a VLAN, a tag is of the VLAN that the PF keeps its VF in, and of no frame.
        for (vlans, is_tagged) in [(&[][..], false), (&[100], true)] {
            port.take_vlans(&vlans.iter().copied().collect());
            assert_eq!(port.open_port().restores_tags(), is_tagged);
        }
        assert_eq!(pool.available(), 2047);
    }
}
