//! Endpoints by DNS: they follow the records, and a failure keeps the last good answer.

use guideway::api::request::Request;
use guideway::api::view::{EndpointsDns, EventKind, PlanVerdict, Status};
use guideway::run::assemble::Probing;
use guideway_model::config::Sources;

use crate::dns_server::*;
use crate::operator::*;

const WEB: &str = "web.example.com";

/// The configuration of an appliance whose group asks for A records of `web.example.com`.
fn config(server: &DnsServer) -> String {
    let start = CONFIG.find("endpoints = [").unwrap();
    format!(
        "{}endpoints_dns = {{ name = \"{WEB}\", servers = [\"{}\"] }}\n",
        &CONFIG[..start],
        server.address
    )
}

fn web(status: &Status) -> &EndpointsDns {
    status.endpoints_dns.iter().find(|question| question.name == WEB).expect("the question is known")
}

impl Operator {
    /// Waits for these backends, some of which may drain.
    async fn backends_when(&self, wanted: &[&str]) {
        for _ in 0..60_000 {
            let mut backends = self.backends().await;
            backends.sort();
            if backends == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("the backends are {:?}", self.backends().await);
    }
}

#[test]
fn endpoints_follow_the_records_and_outlive_a_failure() {
    let server = DnsServer::new();
    let config = config(&server);
    server.reply(WEB, A, Reply::Code(NXDOMAIN));
    let result = run("endpoints-dns", &config.clone(), Probing::Off, None, |operator| async move {
        // An appliance starts without an answer, and says so.
        let status = operator
            .status_when(|status| web(status).last_error.as_ref().is_some_and(|e| e.contains("NXDOMAIN")))
            .await;
        assert_eq!(web(&status).answered_at_unix_sec, None);
        assert_eq!(web(&status).backend_groups, ["web"]);
        let reasons = status.condition.reasons.join("; ");
        assert!(reasons.contains("endpoints of group web are unknown: DNS fails"), "{reasons}");
        assert_eq!(operator.backends().await, [""; 0]);

        server.records(WEB, A, addresses(WEB, 1, &["192.0.2.12", "192.0.2.11"]));
        operator.backends_when(&["ip-192-0-2-11", "ip-192-0-2-12"]).await;
        let status = operator.status_when(|status| web(status).last_error.is_none()).await;
        assert!(web(&status).answered_at_unix_sec.is_some());
        assert_eq!(status.configuration_generation, 2);

        // The records change places, which changes nothing; then one of them is another.
        let asked = server.asked(WEB, A);
        server.records(WEB, A, addresses(WEB, 1, &["192.0.2.11", "192.0.2.12"]));
        operator.status_when(|_| server.asked(WEB, A) >= asked + 3).await;
        assert_eq!(operator.status().await.configuration_generation, 2);
        server.records(WEB, A, addresses(WEB, 1, &["192.0.2.11", "192.0.2.13"]));
        operator.status_when(|status| status.configuration_generation == 3).await;
        let backends = operator.backends().await;
        assert!(backends.contains(&"ip-192-0-2-13".to_owned()), "{backends:?}");

        // Failures keep what was answered last: an empty answer, no such name, a server at a loss or silent, loopback.
        let failures = [
            (Reply::Records(Vec::new()), "there is no A record of that name"),
            (Reply::Code(NXDOMAIN), "there is no such name (NXDOMAIN)"),
            (Reply::Code(SERVFAIL), "the server answers SERVFAIL"),
            (Reply::Silence, "no server answers within 2 seconds"),
            (Reply::Records(addresses(WEB, 1, &["127.0.0.1"])), "`targets` must be a unicast address"),
        ];
        for (failure, told) in failures {
            server.reply(WEB, A, failure);
            let is_told = |status: &Status| web(status).last_error.as_ref().is_some_and(|e| e.contains(told));
            let status = operator.status_when(is_told).await;
            assert!(status.condition.degraded);
            assert_eq!(status.configuration_generation, 3);
            assert_eq!(operator.backends().await, backends);
        }

        // A reload, or a plan of the same configuration, goes by the last good answer.
        let reload = |reply| Request::Reload { confirms_removals: false, reply };
        assert_eq!(operator.ask(reload).await.unwrap().configuration_generation, 3);
        assert_eq!(operator.backends().await, backends);
        let plan = operator
            .ask(|reply| Request::Plan { config: Some(Sources::of_text("new.toml", &config)), reply })
            .await
            .unwrap();
        assert_eq!(plan.verdict, PlanVerdict::Nothing, "{plan:?}");
        let status = operator.status().await;
        assert!(web(&status).last_error.is_some() && web(&status).answered_at_unix_sec.is_some());

        server.records(WEB, A, addresses(WEB, 1, &["192.0.2.11", "192.0.2.13"]));
        operator.status_when(|status| web(status).last_error.is_none()).await;
        assert_eq!(operator.backends().await, backends);
        let events = operator.events_after(0).await;
        let count = |kind| events.iter().filter(|(event, _)| *event == kind).count();
        assert!(count(EventKind::EndpointsDnsFailed) >= 5, "{events:?}");
        assert!(count(EventKind::EndpointsDnsAnswered) >= 3, "{events:?}");

        std::fs::write(&operator.config_path, CONFIG).unwrap();
        operator.ask(|reply| Request::Reload { confirms_removals: true, reply }).await.unwrap();
        assert!(operator.status().await.endpoints_dns.is_empty());
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn answers_hold_for_the_time_of_their_records() {
    let server = DnsServer::new();
    server.records(WEB, A, addresses(WEB, 0, &["192.0.2.11"]));
    server.records("long.example.com", A, addresses("long.example.com", 86_400, &["192.0.2.12"]));
    let config = config(&server)
        + &format!(
            "[[backend_group]]\nname = \"long\"\nendpoints_dns = {{ name = \"long.example.com\", servers = [\"{}\"] }}\n",
            server.address
        );
    let result = run("endpoints-dns-ttl", &config, Probing::Off, None, |operator| async move {
        operator.status_when(|_| server.asked(WEB, A) >= 4).await;
        assert_eq!(server.asked("long.example.com", A), 1);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn aliases_services_and_long_answers_are_followed() {
    let server = DnsServer::new();
    server.records(
        WEB,
        A,
        [
            vec![alias(WEB, 300, "pool.example.com")],
            addresses("pool.example.com", 300, &["192.0.2.21", "192.0.2.21"]),
            // A record of another name, which nobody has asked for.
            addresses("stranger.example.com", 300, &["192.0.2.66"]),
        ]
        .concat(),
    );
    server.records(
        "_http._tcp.example.com",
        SRV,
        vec![
            service("_http._tcp.example.com", 300, "one.example.com"),
            service("_http._tcp.example.com", 300, "two.example.com"),
            service("_http._tcp.example.com", 300, "gone.example.com"),
        ],
    );
    server.records("one.example.com", A, addresses("one.example.com", 300, &["192.0.2.31"]));
    server.records("two.example.com", AAAA, addresses("two.example.com", 300, &["2001:db8::2"]));
    let many: Vec<_> = (0..100).map(|i| format!("198.51.100.{i}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    server.reply("many.example.com", A, Reply::ByTcp(addresses("many.example.com", 300, &many)));
    let group = |name: &str, asked: &str, kind: &str| {
        format!(
            "[[backend_group]]\nname = \"{name}\"\ndelivery = \"gue\"\nendpoints_dns = \
             {{ name = \"{asked}\", type = \"{kind}\", servers = [\"{}\"] }}\n",
            server.address
        )
    };
    let config = config(&server)
        + "[network]\nipv4_address = \"192.0.2.1\"\nipv6_address = \"2001:db8:9::1\"\n"
        + &group("service", "_http._tcp.example.com", "SRV")
        + &group("many", "many.example.com", "A")
        + &group("none", "none.example.com", "SRV");
    let result = run("endpoints-dns-kinds", &config, Probing::Off, None, |operator| async move {
        let is_asked = |status: &Status| {
            let failed: Vec<_> =
                status.endpoints_dns.iter().filter_map(|one| one.last_error.as_deref()).collect();
            failed == ["there is no such name (NXDOMAIN)"]
        };
        operator.status_when(is_asked).await;
        assert_eq!(operator.backends().await, ["ip-192-0-2-21"]);
        let list = operator.ask(|reply| Request::Events { limit: 100, after: Some(0), reply }).await.unwrap();
        let texts: Vec<_> = list.events.iter().map(|event| &*event.text).collect();
        for told in ["web has 1 endpoints", "service has 2 endpoints", "many has 100 endpoints"] {
            assert!(texts.iter().any(|text| text.contains(told)), "{texts:?}");
        }
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
