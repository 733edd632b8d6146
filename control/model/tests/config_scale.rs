//! The limit on the backends of all services together: a million of them can be written, and what is more is told.

use guideway_model::config::Config;

/// Configuration of so many services, each with the same thousand endpoints.
fn many_backends(services: usize) -> String {
    let endpoint = |i| format!("{{ name = \"e{i}\", ip_address = \"10.0.{}.{}\" }}, ", i / 256, i % 256);
    let group = format!(
        "[network]\nipv4_address = \"192.0.2.1\"\n[[health_check]]\nname = \"tcp\"\ntype = \"TCP\"\n\
         [[backend_group]]\nname = \"all\"\ndelivery = \"ipip\"\nendpoints = [{}]\n",
        (0..1_000).map(endpoint).collect::<String>()
    );
    let service = |i| {
        format!(
            "[[backend_service]]\nname = \"s{i}\"\nload_balancing_scheme = \"EXTERNAL\"\n\
             health_checks = [\"tcp\"]\nbackends = [{{ group = \"all\" }}]\n"
        )
    };
    group + &(0..services).map(service).collect::<String>()
}

#[test]
fn a_thousand_services_of_a_thousand_backends_are_accepted() {
    let config = Config::parse("scale", &many_backends(1_048)).unwrap_or_else(|errors| panic!("{errors}"));
    let backends: usize = config.services.iter().map(|service| service.endpoints(&config).count()).sum();
    assert_eq!(backends, 1_048_000);
}

#[test]
fn the_service_that_has_one_backend_too_many_is_told_once() {
    let errors = Config::parse("scale", &many_backends(1_060)).expect_err("they are too many");
    let [error] = errors.errors() else { panic!("{errors}") };
    assert_eq!(
        (error.line, error.message.as_str()),
        (9 + 5 * 1_048 + 5, "1049000 backends up to this service, and at most 1048576 are allowed")
    );
}
