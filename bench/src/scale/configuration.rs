//! A configuration of many services, backends and rules, as an operator would write it.

use std::fmt::Write;

/// Numbers of the things that are configured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// Number of backend services, each with a group of its own.
    pub(super) services: u16,
    /// Number of backends of each service.
    pub(super) backends: u16,
    /// Number of forwarding rules, each with an address and five ports of its own; services take turns.
    pub(super) rules: u16,
    /// Number of connections that can be tracked.
    pub(super) max_entries: u32,
}

impl Counts {
    /// Text of the configuration; the backends of the first service have this weight, the others 1.
    pub(super) fn text(self, first_weight: u16) -> String {
        let mut text = format!(
            "[network]\nipv4_address = \"192.0.2.1\"\n\
             [conntrack]\nmax_entries = {}\n\
             [[port]]\nname = \"lan\"\ndevice = \"net_null0\"\nip_addresses = [\"192.0.2.1/24\"]\n\
             gateways = [\"192.0.2.254\"]\n\
             [[health_check]]\nname = \"tcp\"\ntype = \"TCP\"\nport = 80\n",
            self.max_entries
        );
        for number in 0..self.rules {
            let ([high, low], service) = (number.to_be_bytes(), name(number % self.services));
            write!(
                text,
                "[[forwarding_rule]]\nname = \"rule-{number:05}\"\nip_address = \"198.18.{high}.{low}\"\n\
                 ports = [80, 443, 8080, 8443, 9000]\nbackend_service = \"{service}\"\n"
            )
            .expect("a text takes all");
        }
        for number in 0..self.services {
            let (service, weight) = (name(number), if number == 0 { first_weight } else { 1 });
            write!(
                text,
                "[[backend_service]]\nname = \"{service}\"\nlocality_lb_policy = \"WEIGHTED_MAGLEV\"\n\
                 weight_source = \"CONFIGURED\"\nhealth_checks = [\"tcp\"]\nbackends = [{{ group = \"{service}\" }}]\n\
                 [[backend_group]]\nname = \"{service}\"\ndelivery = \"ipip\"\nendpoints = [\n"
            )
            .expect("a text takes all");
            for index in 0..self.backends {
                let address = u32::from(number) * u32::from(self.backends) + u32::from(index);
                let [_, second, third, fourth] = address.to_be_bytes();
                writeln!(
                    text,
                    "  {{ name = \"{}\", ip_address = \"10.{second}.{third}.{fourth}\", weight = {weight} }},",
                    backend(index)
                )
                .expect("a text takes all");
            }
            text += "]\n";
        }
        text
    }

    /// Number of backends of all services.
    pub(super) fn all_backends(self) -> usize {
        usize::from(self.services) * usize::from(self.backends)
    }
}

/// Name of a service, and of its group.
pub(super) fn name(service: u16) -> String {
    format!("service-{service:04}")
}

/// Name of a backend of any service.
pub(super) fn backend(index: u16) -> String {
    format!("backend-{index:04}")
}
