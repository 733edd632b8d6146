//! DPDK ports: start-up, the control thread and the workers each get what they may call, and nothing that they may
//! not.
//!
//! | who | has | may |
//! |---|---|---|
//! | start-up | [`Eal`] | make mempools, open ports |
//! | control thread | [`Port`], [`Mempool`] | read addresses, link and statistics; make frames |
//! | worker | [`Lcore`], [`LiveQueues`] | poll its own queues of every port |
//!
//! DPDK checks little of this; the types do. All that comes out of EAL borrows it, so EAL ends last. A [`QueuePair`]
//! goes to one worker, and is polled by a thread that is registered with EAL, or not at all:
//!
//! ```compile_fail,E0382
//! # use guideway_engine::driver::dpdk::{Lcore, QueuePair};
//! fn two_workers_one_queue<'l>(first: &'l Lcore<'l>, second: &'l Lcore<'l>, queues: QueuePair<'l>) {
//!     let mine = first.attach(queues);
//!     let yours = second.attach(queues);
//! }
//! ```
//!
//! ```compile_fail,E0277
//! # use guideway_engine::driver::dpdk::{Lcore, LiveQueues};
//! fn polled_queues_stay_on_their_thread(queues: LiveQueues<'_, '_>) {
//!     std::thread::scope(|scope| { scope.spawn(move || drop(queues)); });
//! }
//! ```
//!
//! ```compile_fail,E0599
//! # use guideway_engine::driver::{Burst, QueuePair as _, dpdk::{DpdkMbuf, QueuePair}};
//! fn unregistered_threads_do_not_poll<'eal>(mut queues: QueuePair<'eal>, burst: &mut Burst<DpdkMbuf<'eal>>) {
//!     queues.rx_burst(burst);
//! }
//! ```
//!
//! ```compile_fail,E0505
//! # use guideway_engine::driver::dpdk::{Eal, EalOptions, MempoolOptions};
//! # let eal = Eal::init(&EalOptions::default()).unwrap();
//! let pool = eal.mempool("frames", &MempoolOptions::default()).unwrap();
//! let frame = pool.frame(b"outlives its memory");
//! drop(eal);
//! drop(frame);
//! ```

mod address_filter;
mod bond_members;
mod dpdk_log;
mod eal;
mod ethdev;
mod kernel_drops;
mod kernel_interface;
mod kernel_interfaces;
mod lcore;
mod link_return;
mod log_cause;
mod mbuf;
mod mempool;
mod open_files;
mod open_port;
mod port;
mod port_addresses;
mod port_options;
mod port_restart;
mod port_setup;
mod port_stats;
mod preflight;
mod queue;
mod queue_counts;
mod rss;
mod signals;
mod start_error;
mod vlan_filter;

pub use bond_members::Member;
pub use eal::{Eal, EalOptions, Memory, version};
pub use ethdev::Offloads;
pub use kernel_interface::InterfaceState;
pub use lcore::{Lcore, Running};
pub use mbuf::DpdkMbuf;
pub use mempool::Mempool;
pub use port::{Link, Port};
pub use port_options::PortOptions;
pub use port_restart::{Reset, ResetOutcome};
pub use port_stats::PortStats;
pub use queue::{LiveQueues, QueuePair};
pub use queue_counts::{QueueCounts, Refusal};
pub use rss::Rss;
pub use signals::Signals;
pub use start_error::StartError;

pub use super::MempoolOptions;
