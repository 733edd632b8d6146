//! Files of endpoints: a change is taken over by itself, and one that fails keeps the last good answer.

use std::path::{Path, PathBuf};

use guideway::api::request::Request;
use guideway::api::view::{EndpointsFile, EventKind, Status};
use guideway::run::assemble::Probing;
use pcap_fixtures::packet::Packet;

use crate::operator::*;

/// A folder with a file of endpoints, and the configuration of an appliance that has them from there.
struct Discovery {
    folder: tempfile::TempDir,
}

impl Discovery {
    fn new(targets: &str) -> Self {
        let discovery = Self { folder: tempfile::tempdir().unwrap() };
        discovery.write(targets);
        discovery
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("web.json")
    }

    /// Writes the file as discovery tools do: a new one takes the place of the old one.
    fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    fn config(&self) -> String {
        let start = CONFIG.find("endpoints = [").unwrap();
        format!("{}endpoints_file = {:?}\n", &CONFIG[..start], self.path())
    }
}

const A: &str = r#"{"targets": ["192.0.2.11"], "labels": {"name": "a", "mac_address": "02:00:00:00:00:0a"}}"#;
const B: &str = r#"{"targets": ["192.0.2.12"], "labels": {"name": "b"}}"#;
const C: &str = r#"{"targets": ["192.0.2.13"], "labels": {"name": "c"}}"#;

impl Operator {
    pub(crate) async fn status(&self) -> Status {
        self.ask(|reply| Request::Status { reply }).await.unwrap()
    }

    /// Status, once it is as `wanted`: files are looked at once a second.
    pub(crate) async fn status_when(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        for _ in 0..60_000 {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("the status is {:?}", self.status().await);
    }

    pub(crate) async fn backends(&self) -> Vec<String> {
        let list = self.ask(|reply| Request::BackendList { service: None, reply }).await.unwrap();
        list.backends.into_iter().map(|backend| backend.name).collect()
    }
}

fn fault(status: &Status) -> Option<&str> {
    let [EndpointsFile { last_error, .. }] = &status.endpoints_files[..] else { panic!("{status:?}") };
    last_error.as_deref()
}

#[test]
fn a_change_is_taken_over_with_drains_and_not_what_else_the_file_says() {
    let discovery = Discovery::new(&format!("[{A}, {B}]"));
    let result = run("endpoints-file", &discovery.config(), Probing::Off, None, |mut operator| async move {
        operator.answer_arp().await;
        operator.drain("a", None).await.unwrap();
        // A flow on b, which drains for a minute once it is gone.
        operator.send(&to_vip(1_000));
        assert_eq!(operator.receive(|frame| frame[12..14] == [8, 0]).await[5], 0xb);
        // The configuration is edited, and not reloaded.
        std::fs::write(&operator.config_path, "half =").unwrap();
        discovery.write(&format!("[{A}, {C}]"));
        let status = operator.status_when(|status| status.configuration_generation == 2).await;
        assert_eq!(status.endpoints_files[0].backend_groups, ["web"]);
        let backends = operator.backends().await;
        assert!(backends.contains(&"c".to_owned()), "{backends:?}");
        assert!(operator.backend("a").await.operator_drained, "an operator's word stays");
        let kept = operator.backend("b").await;
        assert!(kept.draining, "{kept:?}");
        // A SYN would open another connection.
        operator.send(&Packet::between("192.0.2.50", "192.0.2.100").tcp(1_000, 80, 0x10));
        assert_eq!(operator.receive(|frame| frame[12..14] == [8, 0]).await[5], 0xb);
        let events = operator.events_after(0).await;
        assert!(events.contains(&(EventKind::EndpointsFileRead, None)), "{events:?}");
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_file_that_fails_keeps_the_last_good_answer() {
    let discovery = Discovery::new(&format!("[{A}, {B}]"));
    let result = run("endpoints-fail", &discovery.config(), Probing::Off, None, |operator| async move {
        let both = operator.backends().await;
        let faults: [(&dyn Fn(), &str); 5] = [
            (&|| discovery.write("[{"), "no list of targets in JSON"),
            (&|| discovery.write("[]"), "it has no target"),
            (&|| std::fs::remove_file(discovery.path()).unwrap(), "No such file"),
            (&|| discovery.write(&format!("[{A}, {A}]")), "two endpoints are named `a`"),
            (&|| discovery.write(&format!("{}[]", " ".repeat(4 << 20))), "more than 4194304 bytes"),
        ];
        for (damage, told) in faults {
            damage();
            let is_told = |status: &Status| fault(status).is_some_and(|fault| fault.contains(told));
            let status = operator.status_when(is_told).await;
            assert!(status.condition.degraded);
            assert_eq!(status.configuration_generation, 1);
            assert_eq!(operator.backends().await, both);
        }
        // A reload goes by the last good answer as well, and says so.
        let reload =
            |confirms_removals| operator.ask(move |reply| Request::Reload { confirms_removals, reply });
        let reloaded = reload(false).await.unwrap();
        assert_eq!(reloaded.configuration_generation, 1);
        assert!(reloaded.warnings.iter().any(|warning| warning.contains("last good answer")), "{reloaded:?}");
        discovery.write(&format!("[{A}]"));
        let status = operator.status_when(|status| fault(status).is_none()).await;
        assert_eq!(status.configuration_generation, 2);
        let events = operator.events_after(0).await;
        let failed = events.iter().filter(|(kind, _)| *kind == EventKind::EndpointsFileFailed).count();
        assert!(failed >= 5, "{events:?}");
        // A group that has its endpoints from another file, which is not there, is no reload at all.
        let other = discovery.config().replace("web.json", "other.json");
        std::fs::write(&operator.config_path, other).unwrap();
        assert!(reload(true).await.is_err());
        std::fs::write(&operator.config_path, CONFIG).unwrap();
        reload(true).await.unwrap();
        assert!(operator.status().await.endpoints_files.is_empty());
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn an_endpoint_moves_from_one_file_to_another_whichever_is_written_first() {
    let discovery = Discovery::new(&format!("[{A}, {B}]"));
    let spare = discovery.folder.path().join("spare.json");
    std::fs::write(&spare, format!("[{C}]")).unwrap();
    let config =
        discovery.config().replace("{ group = \"web\" }", "{ group = \"web\" }, { group = \"spare\" }")
            + &format!("[[backend_group]]\nname = \"spare\"\nendpoints_file = {spare:?}\n");
    let result = run("endpoints-move", &config, Probing::Off, None, |operator| async move {
        let spare: &Path = &spare;
        std::fs::write(spare, format!("[{B}, {C}]")).unwrap();
        let is_twice = |status: &Status| {
            status
                .endpoints_files
                .iter()
                .any(|file| file.last_error.as_ref().is_some_and(|e| e.contains('b')))
        };
        operator.status_when(is_twice).await;
        discovery.write(&format!("[{A}]"));
        let is_right = |status: &Status| status.endpoints_files.iter().all(|file| file.last_error.is_none());
        operator.status_when(is_right).await;
        let mut backends = operator.backends().await;
        backends.sort();
        assert_eq!(backends, ["a", "b", "c"]);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
