//! Health checks: backends that fail get no new connections, and backends that recover get them again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use guideway::api::view::{self, Health};

use crate::lab::Lab;
use crate::lab::address::{self, DATAGRAMS, Family, GRPC, Vip, WEB, WEB_PROXY, WEB_TLS, WEB_TLS_PROXY};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::datagram_server::DatagramServer;
use crate::lab::grpc_server::{GrpcServer, SERVICE};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::{DeliveryMode, PROBES, Setup, http_check};
use crate::lab::web_server::{ALL_IS_WELL, HEALTH, Probed, TlsPort};

const BACKENDS: usize = 3;
const ALL: [&str; 3] = ["b0", "b1", "b2"];
/// Number of the backend that fails.
const FAILING: usize = 1;
/// Backends that serve meanwhile.
const REST: [&str; 2] = ["b0", "b2"];
/// Setup of three backends under a health check of these keys.
fn checked_by(health_check: String) -> Setup {
    Setup::checked_by(BACKENDS, health_check)
}

/// Keys of a `TCP` or `SSL` check that gets the page without knowing HTTP.
fn exchange() -> String {
    format!("request = \"GET {HEALTH} HTTP/1.0\\r\\n\\r\\n\"\nresponse = \"HTTP/1.1 200 \"")
}

/// Unhealthy backends in the service of a family, each with the last error of every rule whose probes fail.
fn unhealthy(appliance: &Appliance<'_>, family: Family) -> Vec<(String, Vec<String>)> {
    let backends = appliance.backends().into_iter();
    let found =
        backends.filter(|backend| backend.service == family.word() && backend.health == Health::Unhealthy);
    let why = |backend: view::Backend| {
        let check = backend.health_check.expect("the backend is probed");
        let failing = check.rules.into_iter().filter(|rule| !rule.healthy);
        (backend.name, failing.map(|rule| rule.last_error.unwrap_or_default()).collect())
    };
    found.map(why).collect()
}

/// Waits until these backends and no others are unhealthy, each for this reason.
fn wait_for_unhealthy(appliance: &Appliance<'_>, family: Family, who: &[&str], reason: &str) {
    let mut seen = Vec::new();
    let noticed = within(PATIENCE, || {
        seen = unhealthy(appliance, family);
        seen.iter().map(|(name, _)| name).eq(who).then_some(())
    });
    let has_reason =
        |(_, why): &(_, Vec<String>)| !why.is_empty() && why.iter().all(|why| why.contains(reason));
    assert!(
        noticed.is_some() && seen.iter().all(has_reason),
        "{family:?}: not {who:?} for {reason}: {seen:#?}"
    );
}

/// Failure of one backend, which the services of some families notice.
struct Failure<'f> {
    families: &'f [Family],
    begins: &'f dyn Fn(&mut Backend),
    ends: &'f dyn Fn(&mut Backend),
    /// Words of the error that the appliance reports.
    reason: &'f str,
}

impl Failure<'_> {
    /// Makes the backend fail and recover, and checks where new connections go meanwhile and afterwards.
    fn comes_and_goes(&self, lab: &Lab, backends: &mut [Backend], appliance: &Appliance<'_>) {
        (self.begins)(&mut backends[FAILING]);
        for family in self.families {
            wait_for_unhealthy(appliance, *family, &[&Backend::name(FAILING)], self.reason);
            lab.new_connections_go_to(*family, &REST);
        }
        for family in Family::BOTH.iter().filter(|family| !self.families.contains(family)) {
            assert_eq!(unhealthy(appliance, *family), [], "{family:?}");
            lab.new_connections_go_to(*family, &ALL);
        }
        (self.ends)(&mut backends[FAILING]);
        appliance.wait_for_health();
        for family in Family::BOTH {
            lab.new_connections_go_to(family, &ALL);
        }
    }
}

/// Makes one backend of three fail and recover.
fn one_backend_fails(
    setup: &Setup,
    families: &[Family],
    reason: &str,
    begins: impl Fn(&Lab, &mut Backend),
    ends: impl Fn(&Lab, &mut Backend),
) {
    let lab = Lab::new(1, BACKENDS);
    let mut backends = Backend::all(&lab, BACKENDS);
    let appliance = Appliance::start(&lab, 0, setup);
    let failure = Failure {
        families,
        begins: &|backend| begins(&lab, backend),
        ends: &|backend| ends(&lab, backend),
        reason,
    };
    failure.comes_and_goes(&lab, &mut backends, &appliance);
}

#[test]
fn a_backend_whose_server_has_ended_is_unhealthy_until_it_is_back() {
    let back = |lab: &Lab, backend: &mut Backend| backend.web.start_again(lab, FAILING, TlsPort::Tls);
    let reason = "the backend refused a connection to";
    one_backend_fails(
        &checked_by(http_check()),
        &Family::BOTH,
        reason,
        |_, backend| backend.web.stop(),
        back,
    );
}

#[test]
fn a_backend_that_answers_503_is_unhealthy_until_it_answers_200() {
    let reason = "status 503";
    let is = |unavailable| move |_: &Lab, backend: &mut Backend| backend.web.set_unavailable(unavailable);
    one_backend_fails(&checked_by(http_check()), &Family::BOTH, reason, is(true), is(false));
}

#[test]
fn a_backend_with_another_page_is_unhealthy_until_it_has_the_expected_one() {
    let reason = "the answer does not hold the expected text";
    let answers = |rightly| move |_: &Lab, backend: &mut Backend| backend.web.set_right_page(rightly);
    one_backend_fails(&checked_by(http_check()), &Family::BOTH, reason, answers(false), answers(true));
}

#[test]
fn a_backend_that_takes_longer_than_the_timeout_is_unhealthy_until_it_is_quick() {
    let is = |slow| move |_: &Lab, backend: &mut Backend| backend.web.set_slow(slow);
    one_backend_fails(&checked_by(http_check()), &Family::BOTH, "no answer within 1 s", is(true), is(false));
}

#[test]
fn a_backend_without_one_vip_is_unhealthy_in_the_service_of_that_vip() {
    let vip = Vip::Routed.address(Family::V4);
    let lose =
        |lab: &Lab, _: &mut Backend| lab.backend(FAILING).ip(&format!("address delete {vip}/32 dev lo\n"));
    let regain =
        |lab: &Lab, _: &mut Backend| lab.backend(FAILING).ip(&format!("address add {vip}/32 dev lo\n"));
    one_backend_fails(&checked_by(http_check()), &[Family::V4], "no answer within 1 s", lose, regain);
}

/// Ends and restores the tunnel to one backend of three.
fn a_tunnel_ends(kind: &'static str, outer: Family) {
    let setup = Setup { delivery: DeliveryMode::Tunnel(kind, outer), ..checked_by(http_check()) };
    let lose = |_: &Lab, backend: &mut Backend| backend.lose_tunnels();
    let regain = |lab: &Lab, backend: &mut Backend| backend.regain_tunnels(lab, FAILING);
    one_backend_fails(&setup, &Family::BOTH, "no answer within 1 s", lose, regain);
}

#[test]
fn a_backend_whose_ipip_tunnel_has_ended_is_unhealthy_until_it_is_back() {
    a_tunnel_ends("ipip", Family::V4);
}

#[test]
fn a_backend_whose_gre_tunnel_has_ended_is_unhealthy_until_it_is_back() {
    a_tunnel_ends("gre", Family::V6);
}

#[test]
fn a_backend_whose_gue_tunnel_has_ended_is_unhealthy_until_it_is_back() {
    a_tunnel_ends("gue", Family::V4);
}

/// One server of three speaks no TLS for a while.
#[test]
fn tls_servers_are_healthy_to_ssl_https_and_http2_checks_and_others_are_not() {
    let lab = Lab::new(1, BACKENDS);
    let mut backends = Backend::all(&lab, BACKENDS);
    let page = format!("request_path = \"{HEALTH}\"\nresponse = \"{ALL_IS_WELL}\"");
    let exchange = exchange();
    let kinds = [("SSL", &exchange), ("HTTPS", &page), ("HTTP2", &page)];
    let setups = kinds.map(|(kind, keys)| checked_by(format!("type = \"{kind}\"\nport = {WEB_TLS}\n{keys}")));
    let [first, ..] = &setups;
    let appliance = Appliance::start(&lab, 0, first);
    for setup in &setups {
        appliance.reload(setup);
        let failure = Failure {
            families: &Family::BOTH,
            begins: &|backend| backend.web.start_again(&lab, FAILING, TlsPort::Plain),
            ends: &|backend| backend.web.start_again(&lab, FAILING, TlsPort::Tls),
            reason: "TLS: ",
        };
        failure.comes_and_goes(&lab, &mut backends, &appliance);
    }
}

#[test]
fn a_tls_server_without_http2_is_unhealthy_to_an_http2_check() {
    let setup = checked_by(http_check().replace("\"HTTP\"", "\"HTTP2\""));
    let speaks = |tls| move |lab: &Lab, backend: &mut Backend| backend.web.start_again(lab, FAILING, tls);
    one_backend_fails(
        &setup,
        &Family::BOTH,
        "the server does not offer HTTP/2",
        speaks(TlsPort::Http1),
        speaks(TlsPort::Tls),
    );
}

/// The header holds the addresses of the probe itself.
#[test]
fn servers_that_demand_a_proxy_header_are_healthy_only_to_checks_that_send_one() {
    let lab = Lab::new(1, BACKENDS);
    let backends = Backend::all(&lab, BACKENDS);
    let check = |kind: &str, port: u16, keys: &str, header: &str| {
        let keys = format!("type = \"{kind}\"\nport = {port}\nproxy_header = \"{header}\"\n{keys}");
        checked_by(keys + "\nhealthy_threshold = 1")
    };
    let (page, exchange) = (format!("request_path = \"{HEALTH}\""), exchange());
    let kinds = [
        ("HTTP", WEB_PROXY, &page),
        ("TCP", WEB_PROXY, &exchange),
        ("HTTPS", WEB_TLS_PROXY, &page),
        ("SSL", WEB_TLS_PROXY, &exchange),
    ];
    let [(kind, port, keys), ..] = kinds;
    let appliance = Appliance::start(&lab, 0, &check(kind, port, keys, "PROXY_V1"));
    for (kind, port, keys) in kinds {
        appliance.reload(&check(kind, port, keys, "NONE"));
        for family in Family::BOTH {
            wait_for_unhealthy(&appliance, family, &ALL, "the connection ");
        }
        appliance.reload(&check(kind, port, keys, "PROXY_V1"));
        appliance.wait_for_health();
    }
    let vips: BTreeSet<_> =
        Family::BOTH.into_iter().flat_map(|family| Vip::BOTH.map(|vip| vip.address(family))).collect();
    for backend in &backends {
        let probes = backend.web.probes();
        assert!(probes.iter().all(|probe| probe.in_header == Some((probe.from, probe.to))), "{probes:?}");
        assert_eq!(probes.iter().map(|probe| probe.to).collect::<BTreeSet<_>>(), vips);
    }
    // A server that expects no header takes it for a request.
    appliance.reload(&check("HTTP", WEB, &page, "PROXY_V1"));
    for family in Family::BOTH {
        wait_for_unhealthy(&appliance, family, &ALL, "status 400");
    }
}

#[test]
fn a_grpc_server_is_unhealthy_while_it_says_anything_but_that_it_serves() {
    let lab = Lab::new(1, BACKENDS);
    let mut backends = Backend::all(&lab, BACKENDS);
    let servers: Vec<_> = (0..BACKENDS).map(|number| GrpcServer::start(&lab, number)).collect();
    let check = format!("type = \"GRPC\"\nport = {GRPC}");
    let appliance = Appliance::start(&lab, 0, &checked_by(check.clone()));
    for state in ["NOT_SERVING", "UNKNOWN"] {
        let failure = Failure {
            families: &Family::BOTH,
            begins: &|_| servers[FAILING].set_state(state),
            ends: &|_| servers[FAILING].set_state("SERVING"),
            reason: &format!("the service reports {state}"),
        };
        failure.comes_and_goes(&lab, &mut backends, &appliance);
    }
    appliance.reload(&checked_by(format!("{check}\ngrpc_service_name = \"lab.Nobody\"")));
    for family in Family::BOTH {
        wait_for_unhealthy(&appliance, family, &ALL, "gRPC status 5 (NOT_FOUND)");
    }
    appliance.reload(&checked_by(format!("{check}\ngrpc_service_name = \"{SERVICE}\"")));
    appliance.wait_for_health();
}

#[test]
fn a_grpc_server_within_tls_is_healthy_to_its_own_type_of_check_alone() {
    let lab = Lab::new(1, BACKENDS);
    let mut backends = Backend::all(&lab, BACKENDS);
    let servers: Vec<_> = (0..BACKENDS).map(|number| GrpcServer::start_with_tls(&lab, number)).collect();
    let check = |kind| checked_by(format!("type = \"{kind}\"\nport = {GRPC}"));
    let appliance = Appliance::start(&lab, 0, &check("GRPC_WITH_TLS"));
    let failure = Failure {
        families: &Family::BOTH,
        begins: &|_| servers[FAILING].set_state("NOT_SERVING"),
        ends: &|_| servers[FAILING].set_state("SERVING"),
        reason: "the service reports NOT_SERVING",
    };
    failure.comes_and_goes(&lab, &mut backends, &appliance);
    appliance.reload(&check("GRPC"));
    for family in Family::BOTH {
        wait_for_unhealthy(&appliance, family, &ALL, "the connection ");
    }
}

/// Probes by UDP take the way of traffic, or the kernel's, and are judged by what comes back.
#[test]
fn a_dns_server_is_unhealthy_while_it_is_silent_or_answers_with_another_code() {
    let lab = Lab::new(1, BACKENDS);
    lab.manage(0);
    let mut backends = Backend::all(&lab, BACKENDS);
    let servers: Vec<_> = (0..BACKENDS).map(|number| DatagramServer::start(&lab, number)).collect();
    let dns = format!("type = \"DNS\"\nport = {DATAGRAMS}\nquery_name = \"lab.example\"");
    let udp = format!("type = \"UDP\"\nport = {DATAGRAMS}\nrequest = \"PING\"\nresponse = \"PONG\"");
    let appliance = Appliance::start(&lab, 0, &checked_by(dns.clone()));
    for (check, state, reason) in [
        (dns.clone(), "3", "DNS response code 3 (NXDOMAIN)"),
        (udp.clone(), "silent", "no answer within 1 s"),
        (udp + "\ntransport = \"kernel\"", "3", "the answer does not hold the expected text"),
        (dns.clone() + "\ntransport = \"kernel\"", "silent", "no answer within 1 s"),
    ] {
        appliance.reload(&checked_by(check));
        appliance.wait_for_health();
        let failure = Failure {
            families: &Family::BOTH,
            begins: &|_| servers[FAILING].set_state(state),
            ends: &|_| servers[FAILING].set_state("0"),
            reason,
        };
        failure.comes_and_goes(&lab, &mut backends, &appliance);
    }
    servers.iter().for_each(|server| server.set_state("5"));
    appliance.reload(&checked_by(dns + "\nexpected_rcode = \"REFUSED\""));
    appliance.wait_for_health();
}

#[test]
fn probes_of_the_kernel_go_out_by_their_device() {
    let lab = Lab::new(1, BACKENDS);
    lab.manage(0);
    // Probes of sockets without a device would go nowhere.
    lab.appliance(0).ip("route prepend 192.0.2.0/24 dev lo\nroute add 2001:db8:1::/64 dev lo metric 1\n");
    let mut backends = Backend::all(&lab, BACKENDS);
    let setup = checked_by(http_check() + "\ntransport = \"kernel\"\nbind_device = \"eth1\"");
    let appliance = Appliance::start(&lab, 0, &setup);
    let failure = Failure {
        families: &Family::BOTH,
        begins: &|backend| backend.web.set_unavailable(true),
        ends: &|backend| backend.web.set_unavailable(false),
        reason: "status 503",
    };
    failure.comes_and_goes(&lab, &mut backends, &appliance);
    for (number, backend) in backends.iter().enumerate() {
        for Probed { from, to, .. } in backend.web.probes() {
            let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
            assert_eq!((from, to), (address::management(0, family), address::backend(number, family)));
        }
    }

    lab.appliance(0).ip("link set eth1 down\n");
    for family in Family::BOTH {
        wait_for_unhealthy(&appliance, family, &ALL, "cannot connect: ");
        // If nobody is healthy, all backends serve.
        lab.new_connections_go_to(family, &ALL);
    }
    lab.appliance(0).ip("link set eth1 up\n");
    appliance.wait_for_health();
}

#[test]
fn probes_of_the_kernel_come_from_their_source_address() {
    let lab = Lab::new(1, BACKENDS);
    lab.manage(0);
    for family in Family::BOTH {
        let other = address::with_length(address::other_management(0, family));
        // The kernel chooses a deprecated address only if it has no other.
        lab.appliance(0).ip(&format!("address add {other} dev eth1 preferred_lft 0\n"));
    }
    let backends = Backend::all(&lab, BACKENDS);
    let of_kernel = checked_by(http_check() + "\ntransport = \"kernel\"");
    let appliance = Appliance::start(&lab, 0, &of_kernel);
    let sources = |skipped: &[usize]| {
        let probes = backends.iter().zip(skipped).flat_map(|(backend, skipped)| {
            backend.web.probes().split_off(*skipped).into_iter().map(|probe| probe.from)
        });
        probes.collect::<BTreeSet<_>>()
    };
    let of_both =
        |address: fn(usize, Family) -> IpAddr| BTreeSet::from(Family::BOTH.map(|family| address(0, family)));
    assert_eq!(sources(&[0; BACKENDS]), of_both(address::management));

    appliance.reload(&Setup {
        source_ip_address: Some(|family| address::other_management(0, family)),
        ..of_kernel
    });
    let counts = || backends.iter().map(|backend| backend.web.probes().len()).collect::<Vec<_>>();
    let answered = |more: usize, since: &[usize]| {
        within(PATIENCE, || counts().iter().zip(since).all(|(now, then)| *now >= then + more).then_some(()))
            .expect("the backend is probed");
    };
    // By then, the probes that were under way when the configuration changed have been logged.
    answered(PROBES, &counts());
    let since = counts();
    answered(PROBES, &since);
    assert_eq!(sources(&since), of_both(address::other_management));
    assert!(appliance.is_healthy());
}
