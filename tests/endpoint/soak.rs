//! Many clients doing what they like for long, beside a model of what each has to hear (D14, D19, D27, D31, D36).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arcp_proto::endpoint::{Endpoint, Policy, PublishError, Scope};
use arcp_proto::wire::{ErrorCode, JobError, JobId, JobQuery, JobResult, JobSubmit, Principal, RawJson, WireError};
use arcp_proto::{AckPolicy, ClientConfig, ClientEvent, Feature, Overflow, RequestId, RuntimeConfig, SendError};
use serde_json::{Value, json};

use super::contract::Dice;
use super::questions::*;
use super::world::*;

/// Principals stand in a ring, and see their own jobs and those of the next.
const PRINCIPALS: usize = 3;

struct Ring;

impl Policy for Ring {
    fn scope(&self, viewer: &Principal) -> Scope {
        let own: usize = viewer.as_str().strip_prefix('p').unwrap().parse().unwrap();
        Scope::Principals(Arc::from([principal(&format!("p{}", (own + 1) % PRINCIPALS))]))
    }
}

/// A job, as it was published.
struct Job {
    owner: ClientIdx,
    principal: usize,
    /// Its history has no progress: its owner is not given any.
    is_plain: bool,
    /// Of each event, whether it needs `progress`.
    events: Vec<bool>,
    has_ended: bool,
}

impl Job {
    /// The first from `n` on that a session can hear of, with `progress` or without; the end is behind all events.
    fn next(&self, n: usize, is_plain: bool) -> usize {
        let skipped = self.events.iter().skip(n).take_while(|needs_progress| is_plain && **needs_progress);
        n + skipped.count()
    }

    /// The same where what is below `past` may have come as history.
    fn next_behind(&self, n: usize, is_plain: bool, past: usize) -> usize {
        let history = self.events.iter().take(past).skip(n);
        let skipped = history.take_while(|needs_progress| self.is_plain && **needs_progress).count();
        self.next(n + skipped, is_plain)
    }

    fn len(&self) -> usize {
        self.events.len() + usize::from(self.has_ended)
    }
}

/// What a client hears of a job.
#[derive(Default)]
struct Hearing {
    next: Option<usize>,
    /// Subscribes that may yet begin a stretch of their own.
    beginnings: usize,
    request: Option<RequestId>,
    /// How much had been published when it was last told of history.
    past: usize,
    /// How much had been published when it was told that its subscription stands; `None` while none is sure to.
    follows: Option<usize>,
}

struct Who {
    principal: usize,
    /// It never follows anything, so nothing can make it fall.
    is_pure: bool,
    is_plain: bool,
    is_gone: bool,
    hears: BTreeMap<JobId, Hearing>,
}

#[derive(Default)]
struct Model {
    whos: Vec<Who>,
    jobs: BTreeMap<JobId, Job>,
    delivered: usize,
    fallen: usize,
    replayed: usize,
}

impl Model {
    fn may_see(&self, idx: ClientIdx, job: &JobId) -> bool {
        let viewer = self.whos[idx.0].principal;
        let owner = self.jobs[job].principal;
        owner == viewer || owner == (viewer + 1) % PRINCIPALS
    }

    fn told(&mut self, idx: ClientIdx, event: &ClientEvent) {
        match event {
            ClientEvent::Event(delivery) => {
                let body: Value = delivery.body().unwrap();
                let n = body.get("current").and_then(Value::as_u64);
                let n = n.unwrap_or_else(|| match body["message"].as_str().unwrap().parse() {
                    Ok(n) => n,
                    Err(_) => panic!("{body}"),
                });
                self.heard(idx, &delivery.to_job_id().unwrap(), n as usize);
            }
            ClientEvent::Finished { delivery, .. } | ClientEvent::Failed { delivery, .. } => {
                let job = delivery.to_job_id().unwrap();
                self.heard(idx, &job, self.jobs[&job].events.len());
            }
            ClientEvent::Subscribed { request, subscribed } => {
                assert!(self.may_see(idx, &subscribed.job_id), "{idx:?} follows {}", subscribed.job_id);
                self.replayed += usize::from(subscribed.replayed);
                let len = self.jobs[&subscribed.job_id].len();
                let hearing = self.whos[idx.0].hears.entry(subscribed.job_id.clone()).or_default();
                if subscribed.replayed {
                    hearing.past = len;
                }
                if request.is_some() && hearing.request == *request {
                    hearing.follows = Some(len);
                }
            }
            ClientEvent::Jobs { page, .. } => {
                assert!(page.jobs.iter().all(|entry| self.may_see(idx, &entry.job_id)));
            }
            ClientEvent::Closed(_) => {
                let who = &mut self.whos[idx.0];
                assert!(!who.is_pure, "{idx:?} has lost its session: {event:?}");
                self.fallen += usize::from(!who.is_gone);
                who.is_gone = true;
            }
            ClientEvent::EventsLost { .. } | ClientEvent::Violation(_) => panic!("{idx:?}: {event:?}"),
            _ => {}
        }
    }

    fn heard(&mut self, idx: ClientIdx, job: &JobId, n: usize) {
        assert!(self.may_see(idx, job), "{idx:?} hears of {job}");
        self.delivered += 1;
        let of = &self.jobs[job];
        let who = &mut self.whos[idx.0];
        let hearing = who.hears.entry(job.clone()).or_default();
        if of.owner == idx {
            assert_eq!(n, of.next(hearing.next.unwrap_or(0), who.is_plain), "{idx:?} of its own {job}");
        } else if hearing.next.is_none_or(|next| {
            n != of.next(next, who.is_plain) && n != of.next_behind(next, who.is_plain, hearing.past)
        }) {
            assert!(hearing.beginnings > 0, "{idx:?} hears {n} of {job} after {:?}", hearing.next);
            hearing.beginnings -= 1;
        }
        hearing.next = Some(n + 1);
    }

    /// Nobody misses anything at the end.
    fn check(&self) {
        for (idx, who) in self.whos.iter().enumerate().filter(|(_, who)| !who.is_gone) {
            for (job, of) in &self.jobs {
                let hearing = who.hears.get(job);
                let heard = hearing.and_then(|hearing| hearing.next);
                if of.owner == ClientIdx(idx) {
                    assert_eq!(of.next(heard.unwrap_or(0), who.is_plain), of.len(), "{idx} of its own {job}");
                } else if let Some((from, past)) = hearing.and_then(|it| Some((it.follows?, it.past))) {
                    // What it heard may be of a subscription before this one.
                    let next = of.next_behind(heard.unwrap_or(from).max(from), who.is_plain, past);
                    assert!(next >= of.len(), "{idx} heard of {job} up to {next}, not to {}", of.len());
                }
            }
        }
    }
}

struct Soak {
    world: World,
    model: Rc<RefCell<Model>>,
    dice: Dice,
    by_session: BTreeMap<arcp_proto::wire::SessionId, ClientIdx>,
    jobs_known: u64,
    live: Vec<JobId>,
    blocked: usize,
}

impl Soak {
    fn new(seed: u64, clients: usize) -> Soak {
        let runtime = runtime().with_replay(32, 1 << 20, Overflow::Block);
        let endpoint = Endpoint::new(over(runtime)).with_policy(Ring);
        // The referee expects every resume to be taken.
        let mut world = World::over(endpoint).unjudged().at_large(0);
        let model: Rc<RefCell<Model>> = Rc::default();
        let told = Rc::clone(&model);
        world.watch(move |_, idx, event| told.borrow_mut().told(idx, event));
        let dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (seed + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
        let (by_session, live) = (BTreeMap::new(), Vec::new());
        let mut soak = Soak { world, model, dice, by_session, jobs_known: 0, live, blocked: 0 };
        for _ in 0..clients {
            soak.newcomer();
        }
        soak
    }

    fn newcomer(&mut self) {
        let n = self.world.len();
        let (is_pure, is_plain) = (n.is_multiple_of(3), self.dice.roll(4) == 0);
        let own = n % PRINCIPALS;
        let who = Who { principal: own, is_pure, is_plain, is_gone: false, hears: BTreeMap::new() };
        self.model.borrow_mut().whos.push(who);
        let features = if is_plain { all_but(&[Feature::Progress]) } else { all_but(&[]) };
        let config = client(&format!("p{own}")).with_features(features).with_ack_policy(AckPolicy::OnPoll);
        let idx = self.world.connect(ClientConfig { ack_delay: millis(50), ..config });
        let delay = millis(self.dice.roll(20_000) + 1);
        self.world.reconnect_after(idx, delay);
        self.by_session.insert(self.world.session_of(idx), idx);
    }

    /// What the application has done by itself is noted.
    fn look(&mut self) {
        self.world.flush();
        let mut model = self.model.borrow_mut();
        while let Some(record) = self.world.endpoint.jobs().get(&job(self.jobs_known + 1)) {
            self.jobs_known += 1;
            let owner = self.by_session[record.session.as_ref().unwrap()];
            let Who { principal, is_plain, .. } = model.whos[owner.0];
            let of = Job { owner, principal, is_plain, events: Vec::new(), has_ended: false };
            model.jobs.insert(record.job_id.clone(), of);
            self.live.push(record.job_id.clone());
        }
        let jobs = self.world.endpoint.jobs();
        self.live.retain(|job| {
            let has_ended = jobs.get(job).is_none_or(|record| record.status.is_terminal());
            model.jobs.get_mut(job).unwrap().has_ended = has_ended;
            !has_ended
        });
    }

    fn somebody(&mut self) -> ClientIdx {
        ClientIdx(self.dice.roll(self.world.len() as u64) as usize)
    }

    fn some_job(&mut self) -> Option<JobId> {
        let at = self.dice.roll(self.live.len().max(1) as u64) as usize;
        self.live.get(at).cloned()
    }

    /// One that may have ended long ago.
    fn any_job(&mut self) -> JobId {
        job(self.dice.roll(self.jobs_known.max(1)) + 1)
    }

    fn is_here(&mut self, idx: ClientIdx) -> bool {
        self.world.client(idx).phase().is_attached()
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..46 => self.publish_some(),
            46..54 => self.submit(),
            54..72 => self.subscribe(),
            72..77 => self.unsubscribe(),
            77..80 => self.cancel(),
            80..83 => self.end_some_job(),
            83..91 => self.cut(),
            91..97 => self.stall(),
            97..99 => self.list(),
            _ => self.leave(),
        }
        self.look();
        let gone = self.model.borrow().whos.iter().filter(|who| who.is_gone).count();
        if self.world.len() - gone < 40 {
            self.newcomer();
        }
    }

    fn publish_some(&mut self) {
        // Mostly a few, here and there many of one job, more than a window holds.
        let burst = self.some_job().filter(|_| self.dice.roll(12) == 0);
        let count = if burst.is_some() { 40 } else { self.dice.roll(8) };
        for _ in 0..count {
            let Some(job) = burst.clone().or_else(|| self.some_job()) else { return };
            let n = self.model.borrow().jobs[&job].events.len();
            let needs_progress = self.dice.roll(3) == 0;
            let (kind, body) = match needs_progress {
                true => ("progress", json!({"current": n})),
                false => ("log", json!({"level": "info", "message": n.to_string()})),
            };
            match self.world.endpoint.publish(self.world.now, &job, kind, &body) {
                Ok(_) => self.model.borrow_mut().jobs.get_mut(&job).unwrap().events.push(needs_progress),
                Err(PublishError::Send(SendError::Blocked)) => self.blocked += 1,
                Err(error) => panic!("{error}"),
            }
            if self.dice.roll(4) == 0 {
                self.world.flush();
            }
        }
    }

    fn submit(&mut self) {
        let idx = self.somebody();
        if self.live.len() < 60 && self.is_here(idx) {
            let submit = match self.dice.roll(3) {
                0 => submit_with(&format!("k{}", self.dice.roll(8)), "1"),
                _ => JobSubmit::new("code-refactor", RawJson::empty_object()),
            };
            let now = self.world.now;
            let _ = self.world.client(idx).submit(now, &submit);
        }
    }

    fn subscribe(&mut self) {
        let idx = self.somebody();
        let live = self.some_job().filter(|_| self.dice.roll(4) > 0);
        let job = live.unwrap_or_else(|| self.any_job());
        if self.jobs_known == 0 || self.model.borrow().whos[idx.0].is_pure || !self.is_here(idx) {
            return;
        }
        let history = match self.dice.roll(3) {
            0 => None,
            1 => Some(0),
            _ => Some(self.dice.roll(100)),
        };
        let now = self.world.now;
        if let Ok(request) = self.world.client(idx).subscribe(now, &job, history) {
            let mut model = self.model.borrow_mut();
            let hearing = model.whos[idx.0].hears.entry(job).or_default();
            hearing.beginnings += 1;
            hearing.request = Some(request);
        }
    }

    fn unsubscribe(&mut self) {
        let idx = self.somebody();
        let hears: Vec<JobId> = self.model.borrow().whos[idx.0].hears.keys().cloned().collect();
        let at = self.dice.roll(hears.len().max(1) as u64) as usize;
        let Some(job) = hears.get(at) else { return };
        let now = self.world.now;
        if self.world.client(idx).unsubscribe(now, job).is_ok() {
            let mut model = self.model.borrow_mut();
            let hearing = model.whos[idx.0].hears.get_mut(job).unwrap();
            (hearing.request, hearing.follows) = (None, None);
        }
    }

    fn cancel(&mut self) {
        let (idx, job) = (self.somebody(), self.any_job());
        let owner = self.model.borrow().jobs.get(&job).map(|job| job.owner);
        // Mostly by who may.
        let idx = owner.filter(|_| self.dice.roll(4) > 0).unwrap_or(idx);
        let now = self.world.now;
        let _ = self.world.client(idx).cancel(now, &job, None);
    }

    fn end_some_job(&mut self) {
        let Some(job) = self.some_job() else { return };
        let now = self.world.now;
        let _ = match self.dice.roll(2) {
            0 => self.world.endpoint.finish(now, &job, JobResult::inline(RawJson::empty_object())),
            _ => {
                let error = JobError::new(WireError::new(ErrorCode::Timeout, "it took too long"));
                self.world.endpoint.fail(now, &job, error)
            }
        };
        // What it was is noted before anybody hears of it.
        let has_ended = self.world.endpoint.jobs().get(&job).is_none_or(|record| record.status.is_terminal());
        self.model.borrow_mut().jobs.get_mut(&job).unwrap().has_ended = has_ended;
    }

    fn cut(&mut self) {
        let idx = self.somebody();
        if self.is_here(idx) {
            match self.dice.roll(6) {
                0 => self.world.half_open(idx),
                1 => self.world.cut_unseen_by_client(idx),
                2 | 3 => self.world.cut_unseen_by_endpoint(idx),
                _ => self.world.cut(idx),
            }
        }
    }

    /// It does not read for a while.
    fn stall(&mut self) {
        let idx = self.somebody();
        let link = self.world.link_of(idx);
        self.world.set_writable(link, false);
        let delay = millis(self.dice.roll(40_000));
        self.world.after(delay, move |world| world.set_writable(link, true));
    }

    fn list(&mut self) {
        let idx = self.somebody();
        let now = self.world.now;
        let _ = self.world.client(idx).list_jobs(now, &JobQuery::default().with_limit(20));
    }

    /// Its client closes, or the runtime ends its session.
    fn leave(&mut self) {
        let idx = self.somebody();
        let can_go = |who: &Who| !who.is_pure && !who.is_gone;
        if !can_go(&self.model.borrow().whos[idx.0]) || !self.is_here(idx) {
            return;
        }
        self.model.borrow_mut().whos[idx.0].is_gone = true;
        let now = self.world.now;
        if self.dice.roll(2) == 0 {
            self.world.client(idx).close(now, "done");
        } else {
            let session = self.world.session_of(idx);
            self.world.endpoint.shutdown(now, &session, "done");
        }
    }
}

/// Gives how many sessions fell.
fn soak(seed: u64) -> usize {
    let mut soak = Soak::new(seed, 40);
    let end = soak.world.now.mono + secs(3_600);
    while soak.world.now.mono < end {
        soak.step();
        let pause = millis(soak.dice.roll(1_800));
        soak.world.advance(pause);
        soak.look();
    }
    // All come back and read, and nothing more happens.
    soak.world.advance(secs(300));
    soak.look();
    let model = soak.model.borrow();
    model.check();
    let counters = soak.world.counters();
    println!(
        "seed {seed}: {} sessions, {} jobs, {} deliveries, {} resumes ({} takeovers), {} replays, {} blocked, {} fell",
        model.whos.len(),
        model.jobs.len(),
        model.delivered,
        counters.resumed,
        counters.takeovers,
        model.replayed,
        soak.blocked,
        model.fallen,
    );
    assert!(model.delivered > 5_000 && counters.takeovers > 20 && model.replayed > 50);
    assert!(soak.blocked > 20);
    model.fallen
}

#[test]
fn d31_forty_clients_do_as_they_like_for_an_hour_and_hear_what_they_have_to() {
    let seeds = std::env::var("ARCP_SOAK_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2);
    let fallen: usize = (0..seeds).map(soak).sum();
    assert!(fallen > 0, "nobody was too slow");
}

/// Cuts somebody every few seconds.
fn cut_somebody(world: &mut World, mut dice: Dice, until: arcp_proto::Instant) {
    let idx = ClientIdx(dice.roll(world.len() as u64) as usize);
    if world.client(idx).phase().is_attached() {
        match dice.roll(8) {
            0 => world.half_open(idx),
            1 => world.cut_unseen_by_client(idx),
            2 | 3 => world.cut_unseen_by_endpoint(idx),
            _ => world.cut(idx),
        }
    }
    if world.now.mono < until {
        world.after(millis(dice.roll(10_000) + 1), move |world| cut_somebody(world, dice, until));
    }
}

#[test]
fn d14_a_thousand_sessions_are_cut_at_random_for_a_day_and_no_event_is_lost_or_doubled() {
    const CLIENTS: usize = 1_000;
    // Few heartbeats and few events, so that a day takes seconds.
    let runtime = RuntimeConfig { heartbeat_interval: secs(1_800), resume_window: secs(7_200), ..runtime() };
    let mut world = World::new(over(runtime)).at_large(0);
    let heard: Rc<RefCell<BTreeMap<(ClientIdx, JobId), u64>>> = Rc::default();
    let told = Rc::clone(&heard);
    world.watch(move |_, idx, event| match event {
        ClientEvent::Event(delivery) => {
            let mut heard = told.borrow_mut();
            let of = heard.entry((idx, delivery.to_job_id().unwrap())).or_default();
            let n = delivery.body::<Value>().unwrap()["message"].as_str().unwrap().parse::<u64>().unwrap();
            assert_eq!(n, *of, "{idx:?}");
            *of += 1;
        }
        ClientEvent::Closed(_) | ClientEvent::EventsLost { .. } => panic!("{idx:?}: {event:?}"),
        _ => {}
    });
    for n in 0..CLIENTS {
        let idx = world.connect(client("alice").with_ack_policy(AckPolicy::OnPoll));
        world.reconnect_after(idx, millis(200 + n as u64 * 7));
        let submit = JobSubmit::new("code-refactor", RawJson::empty_object());
        world.request(idx, |client, now| client.submit(now, &submit));
    }
    // Every tenth follows its neighbour's job as well.
    for n in (0..CLIENTS).step_by(10) {
        let followed = job(n as u64 + 2);
        world.request(ClientIdx(n), |client, now| client.subscribe(now, &followed, None));
    }
    let end = world.now.mono + secs(86_400);
    cut_somebody(&mut world, Dice(0x9e37_79b9_7f4a_7c15), end);
    // Each job has ten events within the day, at times of its own.
    for n in 0..CLIENTS as u64 {
        for event in 0..10 {
            let at = millis(event * 8_640_000 + n * 7_919 % 8_640_000);
            world.after(at, move |world| {
                world.publish_unsent(&job(n + 1), &event.to_string()).expect("it can be published");
            });
        }
    }
    world.advance(secs(86_400));
    let counters = world.counters();
    println!("{} resumes, {} of them takeovers", counters.resumed, counters.takeovers);
    assert!(counters.resumed > 10_000 && counters.takeovers > 1_000);
    // Whoever is away, or believes in a link that is dead, comes back.
    world.advance(secs(7_200));
    let heard = heard.borrow();
    for n in 0..CLIENTS {
        let (idx, own, next) = (ClientIdx(n), job(n as u64 + 1), job(n as u64 + 2));
        assert_eq!(heard.get(&(idx, own)), Some(&10), "{n}");
        assert_eq!(heard.get(&(idx, next)), (n % 10 == 0).then_some(&10), "{n}");
    }
}
