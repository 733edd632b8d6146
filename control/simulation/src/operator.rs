//! Operator: writes configurations, right ones and wrong ones, drains backends and appliances, and knows what was answered.

use std::collections::BTreeMap;
use std::time::Duration;

use guideway::api::request::{Refused, Request};
use guideway::api::view;

use crate::appliance::{Answer, Appliance};
use crate::dice::Dice;
use crate::scenario::{Scenario, Service, Setting};

/// Act of an operator on one appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Drains a backend.
    Drain(Service, usize),
    /// Undrains a backend.
    Undrain(Service, usize),
    /// Sets the weight of a backend.
    SetWeight(Service, usize, u16),
    /// Reloads what was written.
    Reload(Edit),
    /// Drains the appliance.
    DrainAppliance,
    /// Undrains the appliance.
    UndrainAppliance,
    /// Stops the appliance, to start it again.
    Stop,
}

/// Text that was written to the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Right configuration.
    Right(Setting),
    /// Text that is no configuration.
    Broken,
    /// Configuration without a rule, which nobody confirms.
    Gutted,
}

/// Answer that an operator waits for.
#[derive(Debug)]
pub enum Pending {
    /// Answer about a backend: its service, its number, and the wish.
    Backend(Service, usize, Wish, Answer<view::Backend>),
    /// Answer to a reload.
    Reload(Edit, Answer<view::Reload>),
}

/// Wish of an operator about a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// True if it is to be drained.
    Drained(bool),
    /// Weight that it is to have.
    Weight(u16),
}

/// Operator's knowledge of one appliance.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// True for each backend that is drained, and none where nobody knows.
    pub drained: BTreeMap<(Service, usize), Option<bool>>,
    /// Weight of each backend that an operator has set, and none where nobody knows.
    pub weights: BTreeMap<(Service, usize), Option<u16>>,
}

impl Knowledge {
    /// Known state of a backend's drain; none where nobody knows.
    pub fn drained(&self, service: Service, backend: usize) -> Option<bool> {
        self.drained.get(&(service, backend)).copied().unwrap_or(Some(false))
    }

    /// Notes that nobody knows a backend's state.
    pub fn doubt(&mut self, service: Service, backend: usize) {
        self.drained.insert((service, backend), None);
        self.weights.insert((service, backend), None);
    }

    /// Known weight of a backend, which is the configured one until an operator sets it; none where nobody knows.
    pub fn weight(&self, service: Service, backend: usize) -> Option<u16> {
        self.weights.get(&(service, backend)).copied().unwrap_or(Some(1))
    }

    /// Takes in the answer about a backend.
    pub fn answered(&mut self, (service, backend): (Service, usize), wish: Wish, answer: &view::Backend) {
        let is_kept = answer.warning.as_deref().is_none_or(|warning| !warning.contains("state file"));
        match wish {
            Wish::Drained(drained) => {
                self.drained.insert((service, backend), is_kept.then_some(drained));
            }
            Wish::Weight(weight) => {
                self.weights.insert((service, backend), is_kept.then_some(weight));
            }
        }
    }
}

/// Kind of a refusal, in words.
pub fn word(refused: &Refused) -> &'static str {
    match refused {
        Refused::Config(_) => "the configuration is wrong",
        Refused::ConfigUnreadable { .. } => "the configuration cannot be read",
        Refused::RemovalsUnconfirmed(_) => "it removes too much",
        Refused::Stopping => "the appliance stops",
        _ => "for another reason",
    }
}

/// Draws an act; `in_force` is the setting that the appliances have.
pub fn draw(dice: &mut Dice, scenario: &Scenario, in_force: &Setting) -> Act {
    let service = Service::ALL[dice.below(3)];
    let backend = dice.below(scenario.backends);
    match dice.below(12) {
        0 | 1 => Act::Drain(service, backend),
        2..=4 => Act::Undrain(service, backend),
        5..=7 => {
            let mut setting = Setting { edition: in_force.edition + 1, ..in_force.clone() };
            setting.has[backend] = !setting.has[backend];
            // Two primaries are left, so that failover is not all that happens.
            let primaries = setting.members().filter(|one| !scenario.is_spare(Service::Web, *one)).count();
            if primaries < 2.min(scenario.backends - scenario.spares) {
                setting.has.clone_from(&in_force.has);
            }
            Act::Reload(Edit::Right(setting))
        }
        8 => Act::Reload(if dice.chance(0.5) { Edit::Broken } else { Edit::Gutted }),
        9 => Act::DrainAppliance,
        10 => Act::UndrainAppliance,
        _ => Act::Stop,
    }
}

impl Edit {
    /// Text of the edit for an appliance.
    pub fn text(&self, scenario: &Scenario, appliance: usize) -> String {
        match self {
            Self::Right(setting) => scenario.config(appliance, setting),
            Self::Broken => "[[forwarding_rule]\n".to_owned(),
            Self::Gutted => {
                let own = appliance + 1;
                format!(
                    "[conntrack]\nmax_entries = 10_000\n[[port]]\nname = \"lan\"\ndevice = \"net_null0\"\n\
                     ip_addresses = [\"192.0.2.{own}/24\", \"2001:db8:2::{own}/64\"]\n"
                )
            }
        }
    }

    /// Error in an answer to a reload of this, if there is one.
    pub fn misanswered(&self, answer: &Result<view::Reload, Refused>) -> Option<String> {
        match (self, answer) {
            (Self::Right(_), Ok(_))
            | (Self::Broken, Err(Refused::Config(_)))
            | (Self::Gutted, Err(Refused::RemovalsUnconfirmed(_)))
            | (_, Err(Refused::Stopping)) => None,
            // A disk that takes longer than the reader's patience.
            (_, Err(Refused::ConfigUnreadable { .. })) => None,
            _ => Some(format!("a reload of {self:?} is answered by {answer:?}")),
        }
    }
}

impl Act {
    /// Asks the appliance; returns the answer that is waited for, if any is.
    pub fn ask(&self, appliance: &Appliance) -> Option<Pending> {
        let name = |backend: usize| format!("b{backend}");
        match self.clone() {
            Self::Drain(service, backend) => {
                let answer = appliance.ask(|reply| Request::BackendDrain {
                    service: service.name().to_owned(),
                    backend: name(backend),
                    deadline: None,
                    reply,
                });
                Some(Pending::Backend(service, backend, Wish::Drained(true), answer?))
            }
            Self::Undrain(service, backend) => {
                let answer = appliance.ask(|reply| Request::BackendUndrain {
                    service: service.name().to_owned(),
                    backend: name(backend),
                    reply,
                });
                Some(Pending::Backend(service, backend, Wish::Drained(false), answer?))
            }
            Self::SetWeight(service, backend, weight) => {
                let answer = appliance.ask(|reply| Request::BackendSetWeight {
                    service: service.name().to_owned(),
                    backend: name(backend),
                    weight,
                    reply,
                });
                Some(Pending::Backend(service, backend, Wish::Weight(weight), answer?))
            }
            Self::Reload(edit) => {
                let confirms_removals = edit != Edit::Gutted;
                let answer = appliance.ask(|reply| Request::Reload { confirms_removals, reply })?;
                Some(Pending::Reload(edit, answer))
            }
            Self::DrainAppliance => {
                let deadline = Duration::from_secs(60);
                appliance.ask(|reply| Request::Drain { deadline, stop: false, reply });
                None
            }
            Self::UndrainAppliance => {
                appliance.ask(|reply| Request::Undrain { reply });
                None
            }
            Self::Stop => {
                appliance.ask(|reply| Request::Stop { reply });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_a_reload_may_not_have_is_seen() {
        let refused = Err(Refused::Stopping);
        assert_eq!(Edit::Broken.misanswered(&refused), None);
        let taken = Ok(view::Reload {
            config_path: String::new(),
            configuration_generation: 2,
            changes: Vec::new(),
            warnings: Vec::new(),
        });
        assert!(Edit::Broken.misanswered(&taken).is_some());
        assert!(Edit::Gutted.misanswered(&taken).is_some());
        let setting = Setting { edition: 1, has: Vec::new() };
        assert_eq!(Edit::Right(setting).misanswered(&taken), None);
    }
}
