//! A lab: a switch with a client, appliances and backends on it, each a network namespace.
//!
//! ```text
//!   client 192.0.2.100       appliance 192.0.2.1, .2       backend 192.0.2.11, .12, …
//!          2001:db8:1::64              2001:db8:1::1, ::2          2001:db8:1::b, ::c, … ; the VIPs on `lo`
//!        │ eth0                      │ eth0                      │ eth0
//!  ──────┴───────────────────────────┴───────────────────────────┴────── switch: a bridge
//! ```
//!
//! The appliance's kernel has no address: only Guideway answers for the appliance's addresses.

pub(crate) mod address;
pub(crate) mod appliance;
pub(crate) mod backend;
pub(crate) mod bird;
pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod conversation;
pub(crate) mod datagram_server;
mod decapsulation;
pub(crate) mod document;
pub(crate) mod grpc_server;
pub(crate) mod kernel;
pub(crate) mod load;
pub(crate) mod namespace;
pub(crate) mod networkd;
pub(crate) mod patience;
pub(crate) mod process;
pub(crate) mod scratch;
mod server;
pub(crate) mod setup;
pub(crate) mod shifted_clock;
pub(crate) mod small_disk;
pub(crate) mod twin;
pub(crate) mod web_server;
pub(crate) mod wire;

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use address::{BEHIND_GATEWAY, Family, Vip, with_length};
use namespace::{Namespace, prefix};

/// One lab; its namespaces, devices and files are removed with the value.
#[derive(Debug)]
pub(crate) struct Lab {
    directory: TempDir,
    client: Namespace,
    appliances: Vec<Namespace>,
    backends: Vec<Namespace>,
    /// Namespace of the bridge and of one end of every cable.
    switch: Namespace,
}

impl Lab {
    /// Makes the namespaces of this many appliances and backends, which have the VIPs; nothing runs in them yet.
    pub(crate) fn new(appliances: usize, backends: usize) -> Self {
        let lab = Self::bare(appliances, backends);
        lab.backends.iter().for_each(prepare_backend);
        lab
    }

    /// Makes the namespaces like [`Lab::new`], with backends that have their own addresses and nothing else.
    pub(crate) fn bare(appliances: usize, backends: usize) -> Self {
        let number = next_number();
        let namespace = |role: &str| Namespace::new(number, role);

        let switch = namespace("switch");
        switch.set("ipv6/conf/default/disable_ipv6", "1");
        switch.ip("link add br0 type bridge\nlink set br0 up\n");

        let client = namespace("client");
        plug(&switch, "client", &client, "eth0");
        client.ip(&own_addresses("eth0", address::client));
        client.set("ipv4/ip_local_port_range", "10000 65000");
        // If a VIP has two next hops, each connection takes one of them.
        client.set("ipv4/fib_multipath_hash_policy", "1");
        client.set("ipv6/fib_multipath_hash_policy", "1");

        let appliance = |number| {
            let appliance = namespace(&format!("appliance{number}"));
            appliance.set("ipv6/conf/default/disable_ipv6", "1");
            plug(&switch, &format!("appliance{number}"), &appliance, "eth0");
            appliance
        };
        let backend = |number| {
            let backend = namespace(&format!("backend{number}"));
            plug(&switch, &format!("backend{number}"), &backend, "eth0");
            backend.ip(&own_addresses("eth0", |family| address::backend(number, family)));
            backend
        };
        let lab = Self {
            directory: TempDir::with_prefix(prefix()).expect("there is a directory for such"),
            client,
            appliances: (0..appliances).map(appliance).collect(),
            backends: (0..backends).map(backend).collect(),
            switch,
        };
        lab.route_by(&[0]);
        lab
    }

    /// Directory of the lab's files.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn client(&self) -> &Namespace {
        &self.client
    }

    pub(crate) fn appliance(&self, number: usize) -> &Namespace {
        &self.appliances[number]
    }

    pub(crate) fn backend(&self, number: usize) -> &Namespace {
        &self.backends[number]
    }

    /// Routes the client's traffic to the routed VIPs by these appliances, which share the connections.
    pub(crate) fn route_by(&self, appliances: &[usize]) {
        for family in Family::BOTH {
            let hops = appliances.iter().fold(String::new(), |mut hops, number| {
                let _ = write!(hops, " nexthop via {} dev eth0", address::appliance(*number, family));
                hops
            });
            self.client.ip(&format!("route replace {}{hops}\n", Vip::Routed.address(family)));
        }
    }

    /// Adds a device with addresses for the kernel of an appliance on the link: `eth1`.
    pub(crate) fn manage(&self, number: usize) {
        let appliance = self.appliance(number);
        // The kernel answers for these addresses on that device alone.
        appliance.set("ipv4/conf/all/arp_ignore", "1");
        appliance.set("ipv4/conf/all/arp_announce", "2");
        plug(&self.switch, &format!("management{number}"), appliance, "eth1");
        appliance.set("ipv6/conf/eth1/disable_ipv6", "0");
        appliance.set("ipv6/conf/eth1/keep_addr_on_down", "1");
        appliance.ip(&own_addresses("eth1", |family| address::management(number, family)));
    }

    /// Makes the cable of an appliance anew, whose device was deleted.
    pub(crate) fn connect_again(&self, number: usize) {
        plug(&self.switch, &format!("appliance{number}"), self.appliance(number), "eth0");
    }

    /// Makes the cable of an appliance's second device, `eth1`, which sends alone: answers come by the first one, as the switch does
    /// not learn where they are sent from.
    pub(crate) fn connect_pair(&self, number: usize) {
        plug(&self.switch, &format!("sender{number}"), self.appliance(number), "eth1");
        self.switch.ip(&format!("link set sender{number} type bridge_slave learning off\n"));
    }

    /// Moves a device of an appliance to another namespace with its index, and after `meanwhile` back.
    pub(crate) fn move_away_and_back(&self, number: usize, device: &str, meanwhile: impl FnOnce()) {
        let appliance = self.appliance(number);
        let away = Namespace::new(next_number(), "away");
        let before = appliance.index(device);
        appliance.ip(&format!("link set {device} netns {}\n", away.name()));
        meanwhile();
        away.ip(&format!("link set {device} netns {}\n", appliance.name()));
        appliance.ip(&format!("link set {device} up\n"));
        assert_eq!(appliance.index(device), before, "another interface by its index is another matter");
    }

    /// Pulls a cable out of the switch: the host at its other end has no carrier any more.
    pub(crate) fn unplug(&self, port: &str) {
        self.switch.ip(&format!("link set {port} down\n"));
    }

    /// Plugs a cable in again.
    pub(crate) fn plug_in(&self, port: &str) {
        self.switch.ip(&format!("link set {port} up\n"));
    }

    /// Gives a backend another interface with the same addresses, and another MAC address.
    pub(crate) fn replace_backend_device(&self, number: usize) {
        let backend = self.backend(number);
        backend.ip("link delete eth0\n");
        plug(&self.switch, &format!("backend{number}"), backend, "eth0");
        backend.ip(&own_addresses("eth0", |family| address::backend(number, family)));
    }

    /// Puts a backend behind a router, which is the namespace of another backend that serves nothing.
    pub(crate) fn put_behind_gateway(&self, backend: usize, router: usize) {
        let gateway = self.backend(router);
        gateway.set("ipv4/ip_forward", "1");
        gateway.set("ipv4/conf/all/send_redirects", "0");
        gateway.set("ipv4/conf/eth0/send_redirects", "0");
        self.backend(backend).ip(&format!("address add {BEHIND_GATEWAY}/32 dev lo\n"));
        self.route_behind_gateway(backend, router);
    }

    fn route_behind_gateway(&self, backend: usize, router: usize) {
        let hop = address::backend(backend, Family::V4);
        self.backend(router).ip(&format!("route replace {BEHIND_GATEWAY} via {hop}\n"));
    }

    /// Takes the router away.
    pub(crate) fn lose_gateway(&self, router: usize) {
        self.backend(router).ip("link set eth0 down\n");
    }

    /// Brings another router of the same address, and another MAC address.
    pub(crate) fn regain_gateway(&self, backend: usize, router: usize) {
        static ROUTERS: AtomicUsize = AtomicUsize::new(0);
        let mac = ROUTERS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mac = format!("02:00:00:00:{:02x}:{:02x}", mac[6], mac[7]);
        self.backend(router).ip(&format!("link set eth0 address {mac} up\n"));
        self.route_behind_gateway(backend, router);
    }

    /// MAC address of an appliance.
    pub(crate) fn appliance_mac(&self, number: usize) -> String {
        self.appliance(number).mac("eth0")
    }
}

/// Gives a backend the VIPs, for which only the appliance answers ARP. IPv6 needs no such settings: a kernel answers for
/// an address on that address's own device only.
fn prepare_backend(backend: &Namespace) {
    backend.set("ipv4/conf/all/arp_ignore", "1");
    backend.set("ipv4/conf/all/arp_announce", "2");
    for vip in Vip::BOTH.into_iter().flat_map(|vip| Family::BOTH.map(|family| vip.address(family))) {
        let (length, nodad) = if vip.is_ipv4() { (32, "") } else { (128, "nodad") };
        backend.ip(&format!("address add {vip}/{length} dev lo {nodad}\n"));
    }
}

/// Connects a port of the switch to a device of a host.
fn plug(switch: &Namespace, port: &str, host: &Namespace, device: &str) {
    cable(switch, port, host, device);
    switch.ip(&format!("link set {port} master br0 up\n"));
}

/// Makes a cable between a device of one host and a device of another, and brings the latter up.
pub(crate) fn cable(far: &Namespace, far_device: &str, host: &Namespace, device: &str) {
    far.ip(&format!("link add {far_device} type veth peer name {device} netns {}\n", host.name()));
    far.without_offloads(far_device);
    host.without_offloads(device);
    host.ip(&format!("link set {device} up\n"));
}

/// Number for the names of a lab's namespaces.
pub(crate) fn next_number() -> usize {
    static LABS: AtomicUsize = AtomicUsize::new(0);
    LABS.fetch_add(1, Ordering::Relaxed)
}

fn own_addresses(device: &str, address: impl Fn(Family) -> std::net::IpAddr) -> String {
    let own = |family| format!("address add {} dev {device}\n", with_length(address(family)));
    Family::BOTH.map(own).concat()
}
