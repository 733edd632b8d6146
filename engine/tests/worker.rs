//! Worker without DPDK: its poll loop and its tap on queues in memory, and their allocations, which are counted by thread.

mod appliance;

/// Tests in the folder of this name, which is no target of its own.
mod worker {
    mod lines;
    mod poll_loop;
    mod poll_loop_allocations;
    mod tap;
    mod tap_allocations;
}
