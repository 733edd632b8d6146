//! Connections and rates of a running appliance, as backends, services and rules show them.

use std::time::Duration;

use guideway::api::request::Request;

use crate::operator::*;

#[test]
fn connections_are_counted_by_backend_service_and_rule_and_end_with_a_drain() {
    let result = with_appliance("connections", |mut operator| async move {
        operator.answer_arp().await;
        // Rates begin with the second sample.
        let mut sent = 0;
        loop {
            for src_port in 1_000..1_040 {
                operator.send(&to_vip(src_port));
                operator.receive(|frame| frame[12..14] == [8, 0]).await;
            }
            sent += 40;
            let rules = operator.ask(|reply| Request::RuleList { reply }).await.unwrap().rules;
            if rules[0].stats.arrivals.rates.packets_per_sec > 0.0 {
                break;
            }
        }
        let [a, b] = [operator.backend("a").await, operator.backend("b").await];
        assert!(a.connections > 0 && b.connections > 0);
        assert_eq!(a.connections + b.connections, 40);
        // A SYN begins its connection anew.
        assert_eq!(a.arrivals.new_connections + b.arrivals.new_connections, sent);
        assert!(b.arrivals.rates.bytes_per_sec > b.arrivals.rates.packets_per_sec);
        let services = operator.ask(|reply| Request::ServiceList { reply }).await.unwrap().services;
        assert_eq!((services[0].connections, services[0].arrivals.new_connections), (40, sent));
        assert_eq!((services[0].state.name.as_str(), services[0].forwarded.packets), ("web", sent));
        let rules = operator.ask(|reply| Request::RuleList { reply }).await.unwrap().rules;
        assert_eq!((rules[0].address.as_str(), rules[0].ip_protocol.as_str()), ("192.0.2.100", "TCP"));
        assert_eq!((rules[0].ports.as_str(), rules[0].stats.arrivals.new_connections), ("80", sent));
        let stats = operator.ask(|reply| Request::Stats { reply }).await.unwrap();
        assert_eq!((stats.services[0].connections, stats.conntrack.entries), (40, 40));
        assert_eq!(stats.backends[1].connections, b.connections);
        assert!(stats.rates.new_connections_per_sec > 0.0);

        operator.drain("b", Some(Duration::ZERO)).await.unwrap();
        operator.backend_when("b", |backend| backend.connections == 0).await;
        assert_eq!(operator.backend("a").await.connections, a.connections);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
