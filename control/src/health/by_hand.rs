//! Probes by hand: one question to a backend at once, beside the schedule, and what shows why it has no answer.

use std::net::IpAddr;
use std::time::Duration;

use guideway_model::config::{Exchange, HealthCheck, Probe, ProxyHeader, Transport};
use tokio::time::{Instant, timeout};

use super::probe::ProbeResult;
use super::probe_job::{self, ProbeJob};
use crate::net::probe_tcp;

/// Longest time of a probe by hand, whatever the check's timeout is: somebody waits for it.
const LONGEST: Duration = Duration::from_secs(10);

/// TCP port on which nobody listens as a rule (tcpmux, RFC 1078): a reset from it shows that packets arrive.
const CLOSED_PORT: u16 = 1;

/// Probe by hand that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct HandProbe {
    /// Name of the forwarding rule that was probed through.
    pub rule: String,
    /// Question that was asked.
    pub check: HealthCheck,
    /// Address that was asked.
    pub address: IpAddr,
    /// Answer.
    pub result: ProbeResult,
    /// Moment at which the probe began.
    pub began: Instant,
    /// Time that the probe took.
    pub latency: Duration,
    /// Answer of a port on which nobody listens, of a probe in the path of traffic that has failed.
    pub closed_port: Option<ProbeResult>,
}

/// Asks a backend once through a rule.
pub(super) async fn probe(rule: String, job: &ProbeJob, stack: &probe_tcp::Handle) -> HandProbe {
    let began = Instant::now();
    let result = in_time(&job.check, job.run(stack)).await;
    let latency = began.elapsed();
    let in_path = job.check.transport == Transport::InPath;
    let closed_port = match result {
        ProbeResult::Unwell { .. } if in_path => {
            let other = ProbeJob { check: to_closed_port(&job.check), ..job.clone() };
            Some(in_time(&other.check, other.run(stack)).await)
        }
        _ => None,
    };
    let address = if in_path { job.vip } else { job.address };
    HandProbe { rule, check: job.check.clone(), address, result, began, latency, closed_port }
}

/// Asks the question of a check by the kernel, at a backend's own address.
pub async fn by_kernel(check: &HealthCheck, address: IpAddr) -> ProbeResult {
    let (device, source) = match &check.transport {
        Transport::Kernel { bind_device, source } => (bind_device.as_deref(), *source),
        Transport::InPath => (None, None),
    };
    in_time(check, probe_job::by_kernel(check, address, device, source)).await
}

async fn in_time(check: &HealthCheck, probe: impl Future<Output = ProbeResult>) -> ProbeResult {
    let time = check.timeout.min(LONGEST);
    let late = || ProbeResult::unwell(format!("no answer within {} s", time.as_secs()));
    timeout(time, probe).await.unwrap_or_else(|_| late())
}

/// Check that connects to a port on which nobody listens.
fn to_closed_port(check: &HealthCheck) -> HealthCheck {
    let nothing =
        Exchange { request: String::new(), response: String::new(), proxy_header: ProxyHeader::None };
    HealthCheck { port: CLOSED_PORT, probe: Probe::Tcp(nothing), ..check.clone() }
}
