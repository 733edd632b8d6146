//! World of a seed: steps of a millisecond, in which machines, networks, workers and operators act, and invariants are checked.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::oneshot::error::TryRecvError;

#[cfg(test)]
mod broken;
mod faults;
mod looks;
mod packets;

use crate::appliance::{Appliance, Files};
use crate::backend::Backend;
use crate::client::{self, Clients};
use crate::dice::Dice;
use crate::fault::{Fault, schedule};
use crate::frame;
use crate::invariant::{Invariant, Precedents, Violation};
use crate::network::{Network, Node};
use crate::operator::{self, Act, Edit, Pending};
use crate::report::{Outcome, Report};
use crate::router::{self, Routes};
use crate::scenario::{Scenario, Service, Setting};
use crate::site::Site;
use crate::tunnel;
use crate::virtual_time::{self, elapsed, moment};

/// Step of the world, and the turn of a control thread.
const STEP: Duration = Duration::from_millis(1);

/// Steps between two looks at what changes slowly.
const STEPS_A_LOOK: u64 = 50;

/// Longest time that a stop takes: withdrawals have five seconds, and the state file two.
const LONGEST_STOP: Duration = Duration::from_secs(9);

/// World of a seed.
pub struct World {
    scenario: Scenario,
    dice: Dice,
    report: Report,
    network: Network,
    backends: Vec<Backend>,
    clients: Clients,
    routes: Routes,
    sites: Vec<Site>,
    faults: VecDeque<(Duration, Fault)>,
    /// Setting that operators have written last.
    setting: Setting,
    precedents: Precedents,
    slow_disk: Duration,
    macs: u8,
    now: Duration,
    steps: u64,
    /// Time at which all faults have ended.
    healed_at: Option<Duration>,
    /// Time at which all was well, and the last flow that was opened before.
    well_since: Option<(Duration, u64)>,
    /// Appliances, services and backends that new connections have reached since.
    reached: BTreeSet<(usize, Service, usize)>,
    violation: Option<Violation>,
    folder: TempDir,
}

/// Runs the simulation of a seed.
pub fn simulate(seed: u64) -> Outcome {
    // Probes' jitter, ports and keys are drawn from the thread's own generator.
    fastrand::seed(seed);
    virtual_time::run(World::new(seed).run())
}

/// Folder in memory, where there is one: state files are synchronized with their disk.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder can be made")
}

impl World {
    /// World of a seed at time zero.
    pub fn new(seed: u64) -> Self {
        let scenario = Scenario::new(seed);
        let folder = folder();
        let setting = Setting::whole(&scenario);
        let site = |number| Site::new(Files::new(folder.path(), number), &setting);
        Self {
            dice: Dice::new(seed, "world"),
            report: Report::default(),
            network: Network::new(Dice::new(seed, "network")),
            backends: (0..scenario.backends).map(Backend::new).collect(),
            clients: Clients::new(Dice::new(seed, "clients"), scenario.pause),
            routes: Routes::default(),
            sites: (0..scenario.appliances).map(site).collect(),
            faults: schedule(&scenario).into(),
            precedents: Precedents::new(),
            slow_disk: Duration::ZERO,
            macs: 0,
            now: Duration::ZERO,
            steps: 0,
            healed_at: None,
            well_since: None,
            reached: BTreeSet::new(),
            violation: None,
            setting,
            scenario,
            folder,
        }
    }

    /// Runs to the end: until an invariant does not hold, or all is well after the last fault.
    pub async fn run(mut self) -> Outcome {
        self.begin();
        while self.violation.is_none() && !self.is_over() {
            self.advance().await;
        }
        self.end().await
    }

    fn begin(&mut self) {
        self.report.tell(Duration::ZERO, format_args!("{:?}", self.scenario));
        for number in 0..self.sites.len() {
            self.write(number, &Edit::Right(self.setting.clone()));
        }
    }

    /// Takes the next step, at its time.
    async fn advance(&mut self) {
        tokio::time::sleep_until(moment(self.now + STEP)).await;
        self.now = elapsed();
        self.steps += 1;
        self.step().await;
    }

    async fn end(mut self) -> Outcome {
        for site in &mut self.sites {
            if let Some(running) = site.running.take() {
                running.kill().await;
            }
            self.report.counts.choices += site.choices.chosen;
            self.report.counts.kept += site.choices.kept;
        }
        self.report.counts.lost = self.network.lost;
        drop(self.folder);
        self.report.end(self.scenario.seed, self.violation, self.now)
    }

    fn is_over(&self) -> bool {
        self.well_since.is_some_and(|(since, _)| self.now > since + Duration::from_millis(500))
    }

    fn break_off(&mut self, site: usize, invariant: Invariant, text: String) {
        let violation = invariant.violated(site, self.now, text);
        self.report.tell(self.now, format_args!("{violation}"));
        self.violation.get_or_insert(violation);
    }

    fn write(&mut self, site: usize, edit: &Edit) {
        let text = edit.text(&self.scenario, site);
        self.sites[site].written = match edit {
            Edit::Right(setting) => Some(setting.clone()),
            Edit::Broken | Edit::Gutted => None,
        };
        std::fs::write(&self.sites[site].files.config, text).expect("the folder can be written to");
    }

    async fn step(&mut self) {
        while let Some((_, fault)) = self.faults.pop_front_if(|(at, _)| *at <= self.now) {
            self.strike(fault).await;
        }
        if self.healed_at.is_none() && self.now >= self.scenario.chaos && self.faults.is_empty() {
            self.heal();
        }
        for number in 0..self.sites.len() {
            self.tend(number).await;
        }
        self.send_of_clients();
        self.deliver();
        for number in 0..self.sites.len() {
            self.step_site(number).await;
            // In each step: an appliance may serve for a few of them alone.
            let finding = self.sites[number].compare_routes(number, &self.scenario, &self.routes, self.now);
            if let Some((invariant, text)) = finding {
                self.break_off(number, invariant, text);
            }
        }
        if self.steps.is_multiple_of(STEPS_A_LOOK) {
            self.look();
        }
    }

    /// Sends what clients have to send by an appliance that announces the address.
    fn send_of_clients(&mut self) {
        for (_, frame) in self.clients.due(self.now) {
            self.send_of_client(&frame);
        }
    }

    fn send_of_client(&mut self, frame: &[u8]) {
        let Some(ip) = frame::ip(frame) else { return };
        self.report.counts.packets += 1;
        if let Some(appliance) = self.routes.choose(ip.destination, client::hash(frame)) {
            let frame = client::addressed(frame, router::MAC, Scenario::mac(appliance));
            self.network.send(Node::Appliance(appliance), &frame, self.now);
        }
    }

    /// Takes frames that have arrived to their machines.
    fn deliver(&mut self) {
        while let Some(delivery) = self.network.arrived(self.now) {
            self.report.frame(self.now, &delivery.bytes);
            match delivery.to {
                Node::Appliance(index) => {
                    let Some(running) = &mut self.sites[index].running else { continue };
                    let is_taken = running.receive(&delivery.bytes);
                    if !is_taken {
                        self.sites[index].sights.iter_mut().for_each(|sight| sight.note_trouble(self.now));
                    }
                    if is_taken
                        && let Some(number) = client::number(&delivery.bytes)
                        && let Some(offered) = self.clients.offered.get_mut(&number)
                    {
                        self.sites[index].waiting.push(number);
                        offered.received += 1;
                        offered.damaged |= delivery.damaged;
                    }
                }
                _ if delivery.damaged => {}
                Node::Backend(number) => self.receive_at_backend(number, &delivery.bytes),
                Node::Router => {
                    if let Some(answer) = router::answer(&delivery.bytes) {
                        self.switch(&answer, Node::Router);
                    }
                }
            }
        }
    }

    fn receive_at_backend(&mut self, number: usize, bytes: &[u8]) {
        let opened = tunnel::open(bytes);
        let bytes = opened.as_ref().map_or(bytes, |opened| &opened.frame);
        let backend = &mut self.backends[number];
        if let Some(packet) = client::number(bytes) {
            backend.received += 1;
            // The answer goes to the client by the router alone.
            if backend.is_up && backend.serves && !self.dice.chance(self.network.weather.loss) {
                self.clients.answered(packet);
            }
            return;
        }
        for (frame, after) in backend.answer(bytes, &[80]) {
            self.switch_later(&frame, Node::Backend(number), after);
        }
    }

    fn switch(&mut self, frame: &[u8], from: Node) {
        self.switch_later(frame, from, Duration::ZERO);
    }

    /// Sends a frame to the machines that its destination names.
    fn switch_later(&mut self, frame: &[u8], from: Node, after: Duration) {
        let Some(destination) = frame::destination(frame) else { return };
        let is_for = |mac: frame::Mac| destination == mac || destination[0] & 1 == 1;
        let mut to = Vec::new();
        to.extend((0..self.sites.len()).filter(|number| is_for(Scenario::mac(*number))).map(Node::Appliance));
        let backends = self.backends.iter().filter(|backend| is_for(backend.mac));
        to.extend(backends.map(|backend| Node::Backend(backend.number)));
        to.extend(is_for(router::MAC).then_some(Node::Router));
        for node in to.into_iter().filter(|node| *node != from) {
            let is_whole = self.network.send(node, frame, self.now + after);
            if !is_whole && frame::resolution(frame).is_some() {
                self.note_loss(from, node);
            }
        }
    }

    /// Notes the loss of a question or of an answer; a claim that is damaged may be one to any backend's address.
    fn note_loss(&mut self, from: Node, to: Node) {
        let ((Node::Appliance(site), other) | (other, Node::Appliance(site))) = (from, to) else { return };
        for (number, sight) in self.sites[site].sights.iter_mut().enumerate() {
            if other == Node::Backend(number) || other == Node::Router {
                sight.note_trouble(self.now);
            }
        }
    }

    /// Starts, restarts and looks after an appliance.
    async fn tend(&mut self, number: usize) {
        let (now, slow_disk) = (self.now, self.slow_disk);
        let site = &mut self.sites[number];
        if let Some(running) = &mut site.running {
            let dice = std::cell::RefCell::new(&mut self.dice);
            running.work(|| dice.borrow_mut().time(0, 20 + slow_disk.as_millis() as u64), now);
            if running.has_ended() {
                let is_told = site.stops_since.is_some();
                self.report.tell(now, format_args!("appliance {number} has ended"));
                self.end_process(number, Duration::from_millis(200)).await;
                if !is_told {
                    self.break_off(
                        number,
                        Invariant::Alive,
                        "it has ended, and nobody has told it to".to_owned(),
                    );
                }
            } else if site.stops_since.is_some_and(|since| now > since.max(site.stalled_until) + LONGEST_STOP)
            {
                self.break_off(number, Invariant::Alive, "it was told to stop, and does not end".to_owned());
            }
        } else if now >= site.starts_at {
            let dice = Dice::new(self.dice.number(), "router");
            site.running = Appliance::start(&self.scenario, number, &site.files, &self.routes, dice);
            site.starts_at = now + Duration::from_millis(500);
            site.in_force.clone_from(&site.written);
            let how = if site.running.is_some() { "starts" } else { "cannot start: its file is wrong" };
            self.report.tell(now, format_args!("appliance {number} {how}"));
        }
        self.sites[number].note_stalls(now);
        self.sites[number].note_trouble(&self.backends, now);
        self.take_in_answers(number);
    }

    /// Ends a process, and withdraws what it has announced, as its guard does.
    async fn end_process(&mut self, number: usize, starts_after: Duration) {
        let site = &mut self.sites[number];
        if let Some(running) = site.running.take() {
            running.kill().await;
        }
        site.forget_process(self.now + starts_after);
        self.routes.withdraw_all(number, self.now);
    }

    /// Takes in answers that operators wait for.
    fn take_in_answers(&mut self, number: usize) {
        let pending = std::mem::take(&mut self.sites[number].pending);
        for mut one in pending {
            match &mut one {
                Pending::Backend(service, backend, wish, answer) => {
                    let site = &mut self.sites[number];
                    match answer.try_recv() {
                        Err(TryRecvError::Empty) => site.pending.push(one),
                        Ok(Ok(answer)) => {
                            self.report.counts.acts += 1;
                            site.knowledge.answered((*service, *backend), *wish, &answer);
                        }
                        // A backend that is not configured.
                        Ok(Err(_)) => self.report.counts.acts += 1,
                        Err(TryRecvError::Closed) => site.knowledge.doubt(*service, *backend),
                    }
                }
                Pending::Reload(edit, answer) => match answer.try_recv() {
                    Err(TryRecvError::Empty) => self.sites[number].pending.push(one),
                    Ok(answer) => {
                        self.report.counts.acts += 1;
                        let edit = edit.clone();
                        self.reloaded(number, &edit, &answer);
                    }
                    Err(TryRecvError::Closed) => self.sites[number].in_force = None,
                },
            }
        }
    }

    /// Takes in the answer to a reload.
    fn reloaded(
        &mut self,
        number: usize,
        edit: &Edit,
        answer: &Result<guideway::api::view::Reload, guideway::api::request::Refused>,
    ) {
        let words = match answer {
            Ok(reload) => format!("is taken over, {} changes", reload.changes.len()),
            Err(refused) => format!("is refused: {}", operator::word(refused)),
        };
        self.report.tell(self.now, format_args!("appliance {number}: the reload {words}"));
        if let Some(text) = edit.misanswered(answer) {
            self.break_off(number, Invariant::Reload, text);
        }
        let site = &mut self.sites[number];
        match (edit, answer) {
            (Edit::Right(setting), Ok(_)) => {
                for service in Service::ALL {
                    for backend in 0..setting.has.len() {
                        if !setting.has[backend] {
                            // A setting goes with its backend, and a state file that is not written yet may bring it back.
                            site.knowledge.doubt(service, backend);
                        }
                    }
                }
                site.in_force = Some(setting.clone());
            }
            (Edit::Right(_), Err(_)) => {}
            // The operator puts the right text back.
            (Edit::Broken | Edit::Gutted, _) => self.write(number, &Edit::Right(self.setting.clone())),
        }
    }

    /// Lets an operator act on an appliance.
    fn act(&mut self, act: &Act, number: usize) {
        if self.sites[number].running.is_none() || self.sites[number].stops_since.is_some() {
            return;
        }
        self.report.tell(self.now, format_args!("appliance {number}: {act:?}"));
        if let Act::Reload(edit) = act {
            self.write(number, edit);
        }
        let site = &mut self.sites[number];
        let pending = site.running.as_ref().and_then(|running| act.ask(running));
        match act {
            Act::DrainAppliance => site.is_drained = true,
            Act::UndrainAppliance => site.is_drained = false,
            Act::Stop => site.stops_since = Some(self.now),
            _ => {}
        }
        site.pending.extend(pending);
    }
}
