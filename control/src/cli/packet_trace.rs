//! Traces of packets in lines for people: one stage a line.

use guideway_model::trace::{DeliveryStep, EgressStep, EntryFound, FrameStep, PacketStep, PacketTrace};

use super::steps::Steps;

/// Writes a trace under its title, `packet 12  +3.205113 s`.
pub(super) fn lines(trace: &PacketTrace, title: &str) -> String {
    let mut steps = Steps::default();
    steps.line("frame", &frame(&trace.frame));
    if let Some(packet) = &trace.packet {
        steps.line("packet", &packet_words(packet));
    }
    if let Some(quoted) = &trace.quoted {
        steps.line("quotes", &format!("{quoted}: the error goes where that packet goes"));
    }
    if let Some(way) = &trace.later_fragment {
        steps.line("fragment", fragment(way));
    }
    match &trace.forwarding_rule {
        Some(rule) => steps.rule(rule),
        None if trace.packet.is_some() && trace.verdict == "pass" => {
            steps.line("rule", no_rule(trace.reason.as_deref()));
            steps.vip_takes(&trace.vip_takes);
        }
        None => {}
    }
    if let Some(tracking) = &trace.tracking {
        steps.tracking(tracking);
    }
    if let Some(entry) = &trace.entry {
        steps.line("entry", &entry.words);
    }
    if let Some(selection) = &trace.selection {
        steps.selection(selection);
    }
    if let Some(chosen) = choice(trace) {
        steps.line("choice", &chosen);
    }
    if let Some(backend) = &trace.backend {
        steps.backend(backend, trace.backend_standing.as_deref());
    }
    if let Some(words) = trace.delivery.as_ref().map(delivery) {
        steps.line("delivery", &words);
    }
    if let Some(words) = trace.delivery.as_ref().and_then(|delivery| delivery.too_long.as_ref()) {
        steps.line("too long", words);
    }
    if let Some(words) = trace.egress.as_ref().map(egress) {
        steps.line("egress", &words);
    }
    if let Some(words) = &trace.conntrack {
        steps.line("conntrack", words);
    }
    steps.verdict(&trace.verdict, trace.reason.as_ref());
    for note in &trace.notes {
        steps.line("note", note);
    }
    format!("{title}\n{}", steps.into_text())
}

fn frame(frame: &FrameStep) -> String {
    let port = port(frame.port, frame.port_name.as_deref());
    let addresses = match (&frame.source_mac, &frame.destination_mac) {
        (Some(source), Some(destination)) => format!(", {source} > {destination}"),
        _ => String::new(),
    };
    let vlan = match frame.vlan {
        None => String::new(),
        Some(4095) => ", several VLAN tags".to_owned(),
        Some(vlan) => format!(", VLAN {vlan}"),
    };
    let network = frame.network.as_ref().map(|network| format!(", network {network}")).unwrap_or_default();
    format!("{port}{addresses}{vlan}{network}, {} bytes", frame.bytes)
}

fn port(index: u8, name: Option<&str>) -> String {
    name.map_or_else(|| format!("port {index}"), |name| format!("port {name}"))
}

fn packet_words(packet: &PacketStep) -> String {
    let mut words = format!("{}, {} bytes, TTL {}", packet.flow, packet.bytes, packet.ttl);
    for flag in &packet.tcp_flags {
        words += ", ";
        words += flag;
    }
    for (holds, word) in
        [(packet.icmp_error, ", ICMP error"), (packet.dont_fragment, ", not to be fragmented")]
    {
        if holds {
            words += word;
        }
    }
    words
}

fn no_rule(reason: Option<&str>) -> &'static str {
    match reason {
        Some("outside_region") => {
            "none but those for clients of the region, and the client is outside of `region_ranges`"
        }
        Some("neighbor_discovery") => "none: neighbour discovery is for the appliance itself",
        _ => {
            "none takes the packet by destination, protocol, port and client, and no route holds its destination"
        }
    }
}

fn fragment(way: &str) -> &'static str {
    match way {
        "follows" => "goes where the first fragment of its datagram went",
        _ => "decides for itself: its worker forwarded no first fragment of its datagram in the last 30 s",
    }
}

/// Backend that the hash chooses, and whether that counts.
fn choice(trace: &PacketTrace) -> Option<String> {
    let entry = trace.entry.as_ref()?;
    let chosen = trace.selected.as_deref().unwrap_or("nobody");
    Some(match entry.found {
        EntryFound::Valid => format!("{chosen} by the hash; not asked, as the entry decides"),
        _ => format!("{chosen} by the hash, which decides"),
    })
}

fn delivery(delivery: &DeliveryStep) -> String {
    let mode = delivery.mode.as_deref().unwrap_or("delivery mode not known");
    let length = match delivery.largest_packet {
        Some(largest) => format!("; {} of at most {largest} bytes", delivery.packet_bytes),
        None => format!("; {} bytes", delivery.packet_bytes),
    };
    let outer = delivery.outer.as_ref().map(|outer| format!(", {outer}")).unwrap_or_default();
    let sent = delivery.sent_bytes.map(|bytes| format!("; frame of {bytes} bytes")).unwrap_or_default();
    let cut = delivery.fragment_mtu.map(|mtu| format!(", in fragments of {mtu}")).unwrap_or_default();
    format!("{mode}{outer}{length}{sent}{cut}")
}

fn egress(egress: &EgressStep) -> String {
    let port = port(egress.port, egress.port_name.as_deref());
    match (&egress.next_hop_mac, &egress.source_mac) {
        (Some(next_hop), Some(source)) => format!("{port}, {source} > {next_hop}"),
        (Some(next_hop), None) => format!("{port}, to {next_hop}"),
        (None, _) => format!("{port}; nobody has answered for the next hop's address"),
    }
}
