//! Check of the hooks of announcements: BIRD answers and has the protocol, and programs are there.

use guideway_model::config::Hook;

use super::facts::Facts;
use super::finding::{Finding, quoted};

/// Answer of each hook.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let of_hook = |(hook, answer): &(Hook, Result<String, String>)| {
        let subject = match hook {
            Hook::Bird { protocol, .. } => format!("BIRD protocol {protocol}"),
            Hook::Command(words) => words.join(" "),
        };
        match (answer, hook) {
            (Ok(words), _) => Finding::ok(subject, words),
            (Err(error), Hook::Bird { socket, protocol }) => {
                let remedy = if error.contains("is it running?") {
                    "systemctl enable --now bird".to_owned()
                } else if error.contains("be in its group") {
                    "usermod -aG bird guideway".to_owned()
                } else {
                    format!(
                        "birdc -s {} show protocols {}",
                        quoted(&socket.to_string_lossy()),
                        quoted(protocol)
                    )
                };
                Finding::fault(subject, error).should_be("a BIRD that answers and has the protocol", remedy)
            }
            (Err(error), Hook::Command(words)) => {
                let program = words.first().map_or("", |word| word);
                let remedy = format!("chmod +x {}", quoted(program));
                Finding::fault(subject, error).should_be("a program that can be run", remedy)
            }
        }
    };
    facts.hooks.iter().map(of_hook).collect()
}
