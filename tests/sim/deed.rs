//! What befalls a world.

use arcp_proto::Phase;
use arcp_proto::endpoint::Durability;
use arcp_proto::wire::JobId;

use super::action::Action;
use super::dice::Dice;
use super::hostile;
use super::link::{Ms, Tamper};
use super::mark::Mark;
use super::node;
use super::world::World;

impl World {
    fn who(&self, who: u64) -> usize {
        (who % self.peers.len() as u64) as usize
    }

    fn node_of(&self, node: u64) -> usize {
        (node % self.nodes.len() as u64) as usize
    }

    fn job_of(&self, job: u64) -> Option<JobId> {
        let len = self.model.jobs.len() as u64;
        self.model.jobs.keys().nth(job.checked_rem(len)? as usize).cloned()
    }

    /// The link that a client is on.
    pub(crate) fn link_of(&self, idx: usize) -> Option<usize> {
        self.peers[idx].link.filter(|link| self.links[*link].client_is_here)
    }

    fn trouble(&mut self, idx: usize, until: Ms) {
        let peer = &mut self.peers[idx];
        peer.troubled_until = peer.troubled_until.max(until);
    }

    fn excuse(&mut self, idx: usize, client: bool, runtime: bool) {
        if let Some(link) = self.peers[idx].link {
            self.links[link].client_is_excused |= client;
            self.links[link].runtime_is_excused |= runtime;
        }
    }

    pub(crate) fn act(&mut self, action: &Action) {
        let now = self.now;
        match *action {
            Action::Submit(who) => self.ask(self.who(who), "submit", None, None),
            Action::List(who) => self.ask(self.who(who), "list", None, None),
            Action::Cancel(who, job) => {
                if let Some(job) = self.job_of(job) {
                    self.ask(self.who(who), "cancel", Some(&job), None);
                }
            }
            Action::Subscribe { who, job, history } => self.subscribe(self.who(who), job, history),
            Action::Unsubscribe(who, job) => {
                if let Some(job) = self.job_of(job) {
                    self.unsubscribe(self.who(who), &job);
                }
            }
            Action::Burst { job, count } => self.burst(job, count),
            Action::Huge(job) => self.huge(job),
            Action::Cut { who, client, node, keeps } => self.cut(self.who(who), client, node, keeps),
            Action::OneWay { who, is_up } => {
                let idx = self.who(who);
                if let Some(link) = self.link_of(idx) {
                    self.trouble(idx, Ms::MAX / 2);
                    self.excuse(idx, true, true);
                    self.links[link].way(is_up).is_dead = true;
                }
            }
            Action::Stall { who, is_up, lasts } => {
                let idx = self.who(who);
                if let Some(link) = self.link_of(idx) {
                    self.trouble(idx, now + lasts);
                    self.excuse(idx, true, true);
                    let way = self.links[link].way(is_up);
                    way.stalled_until = way.stalled_until.max(now + lasts);
                }
            }
            Action::Unwritable { who, lasts } => self.unwritable(self.who(who), lasts),
            Action::Sleep { who, lasts } => {
                let idx = self.who(who);
                self.trouble(idx, now + lasts);
                self.excuse(idx, true, true);
                self.peers[idx].asleep_until = now + lasts;
                self.peers[idx].absent_at = now.max(1);
            }
            Action::SleepNode { node, lasts } => self.sleep_node(self.node_of(node), lasts),
            Action::Deaf { who, lasts } => {
                let idx = self.who(who);
                self.trouble(idx, now + lasts);
                self.excuse(idx, true, true);
                self.peers[idx].deaf_until = now + lasts;
                self.peers[idx].absent_at = now.max(1);
            }
            Action::DeafNode { node, lasts } => {
                let node = self.node_of(node);
                self.nodes[node].deaf_until = now + lasts;
                self.nodes[node].absent_at = now.max(1);
                self.trouble_node(node, now + lasts);
            }
            Action::Mute { who, lasts } => {
                let idx = self.who(who);
                self.trouble(idx, now + lasts);
                self.excuse(idx, true, true);
                self.peers[idx].mute_until = now + lasts;
            }
            Action::Careless { who, lasts } => {
                let idx = self.who(who);
                self.trouble(idx, now + lasts);
                self.peers[idx].careless_until = now + lasts;
            }
            Action::Crash { who, lasts } => self.crash(self.who(who), lasts),
            Action::Close(who) => self.close(self.who(who)),
            Action::Return(who) => self.come_back(self.who(who)),
            Action::StayAway { who, lasts } => {
                let idx = self.who(who);
                self.peers[idx].away_until = now + lasts;
                self.cut(idx, Some(0), Some(0), false);
            }
            Action::Poke(who) => self.poke(self.who(who)),
            Action::ClockBack { who, by } => self.clock_back(self.who(who), by),
            Action::WallStep { who, by } => {
                let idx = self.who(who);
                self.peers[idx].clock.wall += by;
            }
            Action::OldToken(who) => self.old_token(self.who(who)),
            Action::OtherPrincipal(who) => self.other_principal(self.who(who)),
            Action::LoseWelcome { who, client, node } => {
                let idx = self.who(who);
                self.peers[idx].lose_welcome = Some((client, node));
                self.cut(idx, Some(0), node, false);
            }
            Action::Tamper { who, how } => self.tamper(self.who(who), how),
            Action::Evict(who) => self.send_away(self.who(who), true),
            Action::Shutdown(who) => self.send_away(self.who(who), false),
            Action::Newcomer if self.peers.len() < 60 => self.newcomer(),
            Action::Newcomer => {}
            Action::Kill { node, lasts } => self.kill(self.node_of(node), lasts),
            Action::SlowStore { node, lasts } => {
                let node = self.node_of(node);
                self.nodes[node].slow_store_until = now + lasts;
                self.trouble_node(node, now + 2 * lasts);
            }
            Action::Race { who, after } => self.race(self.who(who), after),
            Action::Inject { who, is_up, kind, count } => self.inject(self.who(who), is_up, kind, count),
        }
    }

    fn subscribe(&mut self, idx: usize, job: u64, history: Option<u64>) {
        let Some(job) = self.job_of(job) else { return };
        // Its own events come anyway.
        if self.model.jobs[&job].peer != idx && self.peers[idx].session.phase() == Phase::Open {
            if let Some(session) = self.peers[idx].session.session_id().cloned() {
                for node in 0..self.nodes.len() {
                    if let Some(hosted) = self.model.hosted.get_mut(&(node, session.clone())) {
                        hosted.has_subscribed = true;
                    }
                }
            }
            self.ask(idx, "subscribe", Some(&job), history);
        }
    }

    pub(crate) fn cut(&mut self, idx: usize, client: Option<Ms>, node: Option<Ms>, keeps: bool) {
        let now = self.now;
        let Some(link) = self.link_of(idx) else { return };
        self.excuse(idx, true, true);
        self.trouble(idx, now + client.unwrap_or(0).max(node.unwrap_or(0)));
        let link = &mut self.links[link];
        link.kill(true, keeps);
        link.kill(false, keeps);
        client.into_iter().for_each(|after| link.down.end_at(now + after));
        node.into_iter().for_each(|after| link.up.end_at(now + after));
    }

    fn unwritable(&mut self, idx: usize, lasts: Ms) {
        let Some(link) = self.link_of(idx).filter(|link| self.links[*link].node_is_here) else { return };
        let (node, conn, until) = (self.links[link].node, self.links[link].conn, self.now + lasts);
        if self.nodes[node].is_awake(self.now) {
            self.trouble(idx, until);
            self.excuse(idx, true, true);
            (self.links[link].writable_at, self.links[link].was_unwritable) = (until, true);
            self.ep(node).set_writable(conn, false);
        }
    }

    fn trouble_node(&mut self, node: usize, until: Ms) {
        self.nodes[node].troubled_until = self.nodes[node].troubled_until.max(until);
        for link in self.links.iter_mut().filter(|link| link.node == node && link.node_is_here) {
            (link.client_is_excused, link.runtime_is_excused) = (true, true);
        }
    }

    fn sleep_node(&mut self, node: usize, lasts: Ms) {
        let now = self.now;
        if self.nodes[node].is_awake(now) {
            self.nodes[node].asleep_until = now + lasts;
            self.nodes[node].absent_at = now.max(1);
            self.trouble_node(node, now + lasts);
        }
    }

    pub(crate) fn close(&mut self, idx: usize) {
        let now = self.now;
        let peer = &mut self.peers[idx];
        if peer.is_awake(now) && !peer.is_closed {
            peer.close_called = true;
            peer.session.close(peer.clock.at(now), "done");
        }
    }

    /// A client that has said goodbye, or does so now, goes on from its snapshot within the window.
    fn come_back(&mut self, idx: usize) {
        if !self.peers[idx].is_closed {
            self.close(idx);
            self.advance_to(self.now + 6_000);
        }
        let peer = &mut self.peers[idx];
        if peer.is_closed && peer.has_snapshot() && peer.down_until.is_none() {
            (peer.is_closed, peer.close_called) = (false, false);
            self.transcript.reached(Mark::CameBack);
            self.crash(idx, 1);
        }
    }

    /// Early, and twice: nothing is due, so nothing happens.
    fn poke(&mut self, idx: usize) {
        let now = self.now;
        let peer = &mut self.peers[idx];
        if !peer.is_awake(now) {
            return;
        }
        let local = peer.clock.at(now);
        let before = (peer.session.phase(), peer.session.poll_timeout());
        let is_due = before.1.is_some_and(|at| at <= local.mono);
        peer.session.handle_timeout(local);
        peer.session.handle_timeout(local);
        let after = (peer.session.phase(), peer.session.poll_timeout());
        assert!(is_due || peer.absent_at > 0 || before == after, "a call that was early did something");
        for node in self.nodes.iter_mut().filter(|node| node.is_awake(now)) {
            let local = node.clock.at(now);
            let endpoint = node.endpoint.as_mut().expect("it is awake");
            endpoint.handle_timeout(local);
            let once = endpoint.poll_timeout();
            endpoint.handle_timeout(local);
            assert_eq!(once, endpoint.poll_timeout(), "the second call did something");
        }
    }

    /// 11: a clock that goes back changes nothing.
    fn clock_back(&mut self, idx: usize, by: Ms) {
        let now = self.now;
        let peer = &mut self.peers[idx];
        // Whoever is served late has deadlines that are due.
        if !peer.is_awake(now) || self.plan.late > 0 {
            return;
        }
        let past = peer.clock.at(now.saturating_sub(by));
        let before = (peer.session.phase(), peer.session.poll_timeout(), peer.session.attachment());
        peer.session.handle_timeout(past);
        let after = (peer.session.phase(), peer.session.poll_timeout(), peer.session.attachment());
        assert_eq!(before, after, "a clock that went back did something");
        for node in self.nodes.iter_mut().filter(|node| node.is_awake(now)) {
            let past = node.clock.at(now.saturating_sub(by));
            let endpoint = node.endpoint.as_mut().expect("it is awake");
            let before = (endpoint.poll_timeout(), endpoint.session_count(), endpoint.connection_count());
            endpoint.handle_timeout(past);
            let after = (endpoint.poll_timeout(), endpoint.session_count(), endpoint.connection_count());
            assert_eq!(before, after, "a clock that went back did something");
        }
    }

    fn tamper(&mut self, idx: usize, how: Tamper) {
        if let Some(link) = self.link_of(idx) {
            self.trouble(idx, self.now + 3_000);
            self.excuse(idx, true, true);
            self.peers[idx].tampered = true;
            self.links[link].tamper = Some(how);
        }
    }

    fn send_away(&mut self, idx: usize, is_eviction: bool) {
        let Some((node, id)) = self.home_of(idx) else { return };
        let local = self.nodes[node].clock.at(self.now);
        // A store has it still, and it goes on elsewhere (D32).
        if self.plan.endpoint.durability != Durability::Volatile {
            return;
        }
        self.peers[idx].may_be_sent_away = true;
        if let Some(hosted) = self.model.hosted.get_mut(&(node, id.clone())) {
            hosted.may_go = true;
        }
        match is_eviction {
            true => self.ep(node).evict(local, &id),
            false => self.ep(node).shutdown(local, &id, "maintenance"),
        };
        self.look_at_node(node);
    }

    fn kill(&mut self, node: usize, lasts: Ms) {
        let now = self.now;
        if self.nodes[node].endpoint.is_none() {
            return;
        }
        self.transcript.reached(Mark::Killed);
        self.trouble_node(node, now + lasts);
        self.nodes[node].die();
        self.nodes[node].back_at = Some(now + lasts);
        self.model.hosted.retain(|(of, _), _| *of != node);
        for idx in 0..self.links.len() {
            let link = &mut self.links[idx];
            // The next process counts its transports anew.
            link.was_given_up &= link.node != node;
            if link.node == node && link.node_is_here {
                link.node_is_here = false;
                link.up.items.clear();
                (link.client_is_excused, link.runtime_is_excused) = (true, true);
                link.end_down(now);
                self.forget_link(idx);
            }
        }
    }

    pub(crate) fn start_node(&mut self, idx: usize) {
        let endpoint = node::endpoint(&self.plan);
        let node = &mut self.nodes[idx];
        (node.back_at, node.asleep_until, node.deaf_until) = (None, 0, 0);
        node.clock = super::clock::Clock::new(&mut self.dice);
        node.endpoint = Some(endpoint);
    }

    fn race(&mut self, idx: usize, after: Ms) {
        if self.peers[idx].is_awake(self.now) {
            self.peers[idx].retry_delay = 0;
            self.cut(idx, Some(0), None, true);
            self.peers[idx].race_at = Some(self.now + after);
        }
    }

    /// It does not wait for the first, and goes to another.
    pub(crate) fn race_on(&mut self, idx: usize) {
        self.peers[idx].race_at = None;
        self.cut(idx, Some(0), None, true);
    }

    fn inject(&mut self, idx: usize, is_up: bool, kind: u64, count: u64) {
        let now = self.now;
        let Some(link) = self.link_of(idx) else { return };
        let mut dice = Dice::new(kind);
        for _ in 0..count {
            let session = self.peers[idx].session.session_id().cloned();
            let near = match is_up {
                true => self.peers[idx].session.last_processed_seq(),
                false => self.peers[idx].session.last_event_seq(),
            };
            let frame = hostile::frame(&mut dice, is_up, session.as_ref(), near, &self.seen);
            self.transcript.frame(now, link, "injected    ", &frame);
            self.links[link].send(now, is_up, &frame);
        }
    }
}
