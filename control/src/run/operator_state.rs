//! The state that operators set by hand, drains and weights of backends: as a value, and as the text that keeps it over a
//! restart.
//!
//! No I/O and no clock. The services are what counts; this remembers since when, and what a restart must set again.
//!
//! ```text
//!  a command ──▶ record ─┐
//!  a reload ───▶ reconcile ─┴─▶ OperatorState ──▶ encode ──▶ the file ──▶ decode ──▶ restore, at the next start
//! ```

use std::collections::BTreeMap;

use guideway_model::forwarding_state::StateChange;
use guideway_model::service::{BackendState, Services, WeightSource};
use serde::{Deserialize, Serialize};

/// Version of the text's form.
const VERSION: u32 = 1;

/// Remark at the head of the text.
const HEAD: &str =
    "# Written by guideway at each change: what operators have set by hand, for the next start.\n";

/// Remark at the end of the text, which tells a whole text from a part of it.
const END: &str = "# End of what operators have set by hand.\n";

/// Service and name of a backend.
type BackendName = (String, String);

/// Settings of operators, by backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorState {
    backends: BTreeMap<BackendName, Setting>,
}

/// Settings of one backend; at least one of them is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Time of the drain, in seconds since 1970; `None` where the backend is not drained.
    pub drained_at_unix_sec: Option<u64>,
    /// Weight that an operator has set.
    pub weight: Option<SetWeight>,
}

/// Weight that an operator has set, until the configured number changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetWeight {
    /// Weight in force.
    pub weight: u16,
    /// Configured weight that it takes the place of.
    pub configured: u16,
    /// Time of the command, in seconds since 1970.
    pub set_at_unix_sec: u64,
}

/// Setting that holds no more, because the configuration has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Service of the backend.
    pub service: String,
    /// Name of the backend.
    pub backend: String,
    /// Words for the setting and for the cause.
    pub text: String,
}

/// Text of an [`OperatorState`], as TOML.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default, rename = "backend")]
    backends: Vec<WrittenBackend>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WrittenBackend {
    service: String,
    backend: String,
    drained_at_unix_sec: Option<u64>,
    weight: Option<u16>,
    configured_weight: Option<u16>,
    weight_set_at_unix_sec: Option<u64>,
}

impl OperatorState {
    /// Settings by service and name of the backend.
    pub fn backends(&self) -> impl Iterator<Item = (&str, &str, &Setting)> {
        self.backends.iter().map(|((service, backend), setting)| (&**service, &**backend, setting))
    }

    /// Records what an operator's command at `now_unix_sec` has made of a backend.
    pub fn record(&mut self, services: &Services, service: &str, backend: &str, now_unix_sec: u64) {
        let name = (service.to_owned(), backend.to_owned());
        let before = self.backends.remove(&name).unwrap_or_default();
        let Some(state) = configured(services, &name) else { return };
        let drained_at_unix_sec =
            state.operator_drained.then(|| before.drained_at_unix_sec.unwrap_or(now_unix_sec));
        let weight = (state.weight_source == WeightSource::Operator).then(|| {
            let (weight, configured) = (state.weight, state.endpoint.weight);
            let same = before.weight.filter(|set| (set.weight, set.configured) == (weight, configured));
            same.unwrap_or(SetWeight { weight, configured, set_at_unix_sec: now_unix_sec })
        });
        if drained_at_unix_sec.is_some() || weight.is_some() {
            self.backends.insert(name, Setting { drained_at_unix_sec, weight });
        }
    }

    /// Drops what a reload has ended: settings of backends that are not configured any more, and weights whose configured
    /// number has changed.
    pub fn reconcile(&mut self, services: &Services) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        self.backends.retain(|name, setting| {
            let state = configured(services, name);
            let holds = |backend: &BackendState| backend.weight_source == WeightSource::Operator;
            if state.is_some_and(|backend| !backend.operator_drained)
                && setting.drained_at_unix_sec.take().is_some()
            {
                let (service, backend) = name.clone();
                let text = "the operator's drain ends: its service has moved to another network".to_owned();
                dropped.push(Dropped { service, backend, text });
            }
            // A setting of a drain alone is empty now.
            !setting.is_empty() && setting.keep(name, state, holds, &mut dropped)
        });
        dropped
    }

    /// Changes that set everything again at the start, where the configuration still has it; what it has no more is
    /// dropped.
    pub fn restore(&mut self, services: &Services) -> (Vec<StateChange>, Vec<Dropped>) {
        let (mut changes, mut dropped) = (Vec::new(), Vec::new());
        self.backends.retain(|name, setting| {
            let was = setting.weight.map(|set| set.configured);
            let holds = |backend: &BackendState| was == Some(backend.endpoint.weight);
            setting.keep(name, configured(services, name), holds, &mut dropped)
        });
        for ((service, backend), setting) in &self.backends {
            if setting.drained_at_unix_sec.is_some() {
                let (service, backend) = (service.clone(), backend.clone());
                // The table is empty after a start: no entry is left that could end.
                changes.push(StateChange::OperatorDrain { service, backend, entries_end_at: None });
            }
            if let Some(set) = setting.weight {
                let (service, backend) = (service.clone(), backend.clone());
                changes.push(StateChange::OperatorWeight { service, backend, weight: set.weight });
            }
        }
        (changes, dropped)
    }

    /// Text of the state.
    pub fn encode(&self) -> String {
        let backends = self.backends().map(|(service, backend, setting)| WrittenBackend {
            service: service.to_owned(),
            backend: backend.to_owned(),
            drained_at_unix_sec: setting.drained_at_unix_sec,
            weight: setting.weight.map(|set| set.weight),
            configured_weight: setting.weight.map(|set| set.configured),
            weight_set_at_unix_sec: setting.weight.map(|set| set.set_at_unix_sec),
        });
        let written = Written { version: VERSION, backends: backends.collect() };
        let text = toml::to_string(&written).expect("numbers and names are TOML");
        format!("{HEAD}{text}{END}")
    }

    /// State that a text holds.
    ///
    /// # Errors
    /// Words for what is wrong, where it is not what [`OperatorState::encode`] writes.
    pub fn decode(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        if !text.ends_with(END) {
            return Err("its end is missing".to_owned());
        }
        if written.version != VERSION {
            return Err(format!("version {} of the form, and this program knows {VERSION}", written.version));
        }
        let mut backends = BTreeMap::new();
        for one in written.backends {
            let weight = match (one.weight, one.configured_weight, one.weight_set_at_unix_sec) {
                (None, None, None) => None,
                (Some(weight), Some(configured), Some(set_at_unix_sec)) => {
                    Some(SetWeight { weight, configured, set_at_unix_sec })
                }
                _ => return Err(format!("half of a weight of backend {}/{}", one.service, one.backend)),
            };
            if let Some(set) = weight.filter(|set| set.weight > guideway_model::config::MAX_WEIGHT) {
                return Err(format!("a weight of {} of backend {}/{}", set.weight, one.service, one.backend));
            }
            let setting = Setting { drained_at_unix_sec: one.drained_at_unix_sec, weight };
            if setting.is_empty() || backends.insert((one.service, one.backend), setting).is_some() {
                return Err("a backend without a setting, or one that is there twice".to_owned());
            }
        }
        Ok(Self { backends })
    }
}

impl Setting {
    fn is_empty(&self) -> bool {
        self.drained_at_unix_sec.is_none() && self.weight.is_none()
    }

    /// Drops what the backend, if it is configured, has no more; false if nothing is left.
    fn keep(
        &mut self,
        (service, backend): &BackendName,
        state: Option<&BackendState>,
        weight_holds: impl Fn(&BackendState) -> bool,
        dropped: &mut Vec<Dropped>,
    ) -> bool {
        let mut drop = |text: String| {
            dropped.push(Dropped { service: service.clone(), backend: backend.clone(), text });
        };
        let Some(state) = state else {
            let drained = self.drained_at_unix_sec.map(|_| "drain".to_owned());
            let weight = self.weight.map(|set| format!("weight of {}", set.weight));
            let what: Vec<_> = drained.into_iter().chain(weight).collect();
            drop(format!("the operator's {} ends: it is not configured any more", what.join(" and ")));
            return false;
        };
        if let Some(set) = self.weight.take_if(|_| !weight_holds(state)) {
            let (configured, weight) = (state.endpoint.weight, set.weight);
            drop(format!("the operator's weight of {weight} ends: {configured} is configured now"));
        }
        !self.is_empty()
    }
}

fn configured<'s>(services: &'s Services, (service, backend): &BackendName) -> Option<&'s BackendState> {
    services.get(service)?.configured().find(|known| known.endpoint.name == *backend)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guideway_model::config::Config;
    use guideway_model::forwarding_state::ForwardingState;

    use super::*;

    fn config(endpoints: &[(&str, u16)]) -> Config {
        Config::parse("test", &text(endpoints)).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Text of a weighted service with these endpoints.
    fn text(endpoints: &[(&str, u16)]) -> String {
        let endpoints: Vec<_> = endpoints
            .iter()
            .enumerate()
            .map(|(index, (name, weight))| {
                format!("{{ name = \"{name}\", ip_address = \"10.1.0.{}\", weight = {weight} }}", index + 1)
            })
            .collect();
        format!(
            "[[forwarding_rule]]\nname = \"web\"\nip_address = \"203.0.113.10\"\nports = [80]\n\
             backend_service = \"web\"\n[[backend_service]]\nname = \"web\"\nhealth_checks = [\"alive\"]\n\
             locality_lb_policy = \"WEIGHTED_MAGLEV\"\nbackends = [{{ group = \"web\" }}]\n\
             [[backend_group]]\nname = \"web\"\nendpoints = [{}]\n\
             [[health_check]]\nname = \"alive\"\ntype = \"HTTP\"\n",
            endpoints.join(", ")
        )
    }

    fn drain(backend: &str) -> StateChange {
        let (service, backend) = ("web".to_owned(), backend.to_owned());
        StateChange::OperatorDrain { service, backend, entries_end_at: None }
    }

    fn weigh(backend: &str, weight: u16) -> StateChange {
        StateChange::OperatorWeight { service: "web".to_owned(), backend: backend.to_owned(), weight }
    }

    fn apply(state: &mut ForwardingState, changes: impl IntoIterator<Item = StateChange>) {
        state.apply(changes, Duration::ZERO).all_known().expect("every name is known");
    }

    /// Backend a drained at 100 and weighed at 200, b weighed at 300.
    fn set_by_hand() -> (ForwardingState, OperatorState) {
        let mut state = ForwardingState::offline(config(&[("a", 1), ("b", 2)]));
        let mut operator_state = OperatorState::default();
        for (change, backend, now) in
            [(drain("a"), "a", 100), (weigh("a", 7), "a", 200), (weigh("b", 0), "b", 300)]
        {
            apply(&mut state, [change]);
            operator_state.record(state.services(), "web", backend, now);
        }
        (state, operator_state)
    }

    fn texts(dropped: &[Dropped]) -> Vec<&str> {
        dropped.iter().map(|one| one.text.as_str()).collect()
    }

    #[test]
    fn a_setting_keeps_the_time_of_its_command_and_goes_with_it() {
        let (mut state, mut operator_state) = set_by_hand();
        // The same command again is the same setting.
        apply(&mut state, [drain("a")]);
        operator_state.record(state.services(), "web", "a", 900);
        let setting = operator_state.backends[&("web".to_owned(), "a".to_owned())];
        let weight = SetWeight { weight: 7, configured: 1, set_at_unix_sec: 200 };
        assert_eq!(setting, Setting { drained_at_unix_sec: Some(100), weight: Some(weight) });
        let (service, backend) = ("web".to_owned(), "a".to_owned());
        let undo = [
            StateChange::OperatorUndrain { service: service.clone(), backend: backend.clone() },
            StateChange::ConfiguredWeight { service, backend },
        ];
        apply(&mut state, undo);
        operator_state.record(state.services(), "web", "a", 900);
        assert_eq!(operator_state.backends().map(|(_, backend, _)| backend).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_state_is_the_same_after_it_was_written_and_read() {
        let (_, operator_state) = set_by_hand();
        let text = operator_state.encode();
        assert_eq!(OperatorState::decode(&text), Ok(operator_state), "{text}");
        let empty = OperatorState::default();
        assert_eq!(OperatorState::decode(&empty.encode()), Ok(empty));
    }

    #[test]
    fn a_start_sets_again_what_the_configuration_still_has() {
        let (before, mut kept) = set_by_hand();
        // While nobody looked, the configured weight of b has changed.
        let mut state = ForwardingState::offline(config(&[("a", 1), ("b", 3)]));
        let (changes, dropped) = kept.restore(state.services());
        assert_eq!(texts(&dropped), ["the operator's weight of 0 ends: 3 is configured now"]);
        apply(&mut state, changes);
        let shown = |state: &ForwardingState, name: &str| {
            let service = state.services().get("web").expect("it is configured");
            let backend =
                service.backends().find(|backend| backend.endpoint.name == name).expect("it is there");
            (backend.operator_drained, backend.weight, backend.weight_source)
        };
        assert_eq!(shown(&state, "a"), shown(&before, "a"));
        assert_eq!(shown(&state, "b"), (false, 3, WeightSource::Configured));
        let mut gone = set_by_hand().1;
        let other = ForwardingState::offline(config(&[("b", 2)]));
        let (changes, dropped) = gone.restore(other.services());
        assert_eq!(changes.len(), 1);
        let text = "the operator's drain and weight of 7 ends: it is not configured any more";
        assert_eq!(texts(&dropped), [text]);
    }

    #[test]
    fn a_reload_drops_what_it_has_ended_and_says_so() {
        let (mut state, mut operator_state) = set_by_hand();
        apply(&mut state, [StateChange::Config(Box::new(config(&[("a", 1), ("b", 2)])))]);
        assert_eq!(operator_state.reconcile(state.services()), [], "the same file ends nothing");
        apply(&mut state, [StateChange::Config(Box::new(config(&[("a", 5)])))]);
        let dropped = operator_state.reconcile(state.services());
        assert_eq!(
            texts(&dropped),
            [
                "the operator's weight of 7 ends: 5 is configured now",
                "the operator's weight of 0 ends: it is not configured any more"
            ]
        );
        let left: Vec<_> = operator_state.backends().collect();
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].1, left[0].2.drained_at_unix_sec, left[0].2.weight), ("a", Some(100), None));
    }

    #[test]
    fn a_drain_ends_where_its_service_moves_to_another_network() {
        let moved = |network: &str| {
            let head = "[[port]]\nname = \"trunk\"\ndevice = \"net_null0\"\n\
                        [[network]]\nname = \"blue\"\nvlan = 100\n[[network]]\nname = \"red\"\nvlan = 200\n";
            let own = format!("name = \"web\"\nnetwork = \"{network}\"\n");
            Config::parse("test", &(head.to_owned() + &text(&[("a", 1)]).replace("name = \"web\"\n", &own)))
                .unwrap_or_else(|errors| panic!("{errors}"))
        };
        let mut state = ForwardingState::offline(moved("blue"));
        let mut operator_state = OperatorState::default();
        apply(&mut state, [drain("a")]);
        operator_state.record(state.services(), "web", "a", 100);
        apply(&mut state, [StateChange::Config(Box::new(moved("blue")))]);
        assert_eq!(operator_state.reconcile(state.services()), []);
        apply(&mut state, [StateChange::Config(Box::new(moved("red")))]);
        let dropped = operator_state.reconcile(state.services());
        assert_eq!(texts(&dropped), ["the operator's drain ends: its service has moved to another network"]);
        assert_eq!(operator_state, OperatorState::default(), "the next start drains nobody");
    }

    #[test]
    fn a_text_that_is_not_ours_is_refused_whole() {
        for (text, why) in [
            ("", "version"),
            ("version = 1", "its end is missing"),
            ("version = 2", "version 2"),
            ("version = 1\nstray = 1", "stray"),
            ("version = 1\n[[backend]]\nservice = \"web\"", "backend"),
            ("version = 1\n[[backend]]\nservice = \"web\"\nbackend = \"a\"", "without a setting"),
            ("version = 1\n[[backend]]\nservice = \"web\"\nbackend = \"a\"\nweight = 1", "half of a weight"),
            (
                "version = 1\n[[backend]]\nservice = \"web\"\nbackend = \"a\"\nweight = 1001\n\
                 configured_weight = 1\nweight_set_at_unix_sec = 1",
                "a weight of 1001",
            ),
        ] {
            let end = if why == "its end is missing" { "" } else { END };
            let error = OperatorState::decode(&format!("{text}\n{end}")).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        let (_, operator_state) = set_by_hand();
        let text = operator_state.encode();
        for len in 0..text.len() {
            assert!(OperatorState::decode(&text[..len]).is_err(), "the first {len} bytes of a file");
        }
    }
}
