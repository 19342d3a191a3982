//! Between a process and the store: what is written, confirmed, refused and taken over.

use std::collections::BTreeSet;

use arcp_proto::endpoint::Durability;
use arcp_proto::wire::{JobId, ResumeToken, SessionId};

use super::mark::Mark;
use super::model::Hosted;
use super::stream::Stream;
use super::worker::Worker;
use super::world::World;

impl World {
    pub(crate) fn take_changes(&mut self, idx: usize) -> bool {
        let now = self.now;
        let mut moved = false;
        while let Some(change) = self.ep(idx).poll_change() {
            moved = true;
            let node = &mut self.nodes[idx];
            let takes = match now < node.slow_store_until {
                true => node.slow_store_until - now,
                false => node.dice.pick(&[0, 0, 1, 30]),
            };
            let at = node.to_write.back().map_or(0, |(at, _, _)| *at).max(now + takes);
            // The application's own progress, in the same transaction.
            let is_streaming = |(job, _): &(&JobId, &Worker)| {
                Stream::of(job).is_some()
                    && self.model.jobs.get(*job).is_some_and(|model| model.owner == change.session)
            };
            let streaming = node.workers.iter().filter(is_streaming);
            let progress = streaming.map(|(job, worker)| (job.clone(), worker.next)).collect();
            node.to_write.push_back((at, change, progress));
        }
        moved
    }

    pub(crate) fn work_of_store(&mut self, idx: usize) {
        let now = self.now;
        while let Some((_, change, progress)) = self.nodes[idx].to_write.pop_front_if(|(at, _, _)| *at <= now) {
            let is_written = self.store.apply(&change, &progress);
            self.transcript.note(now, || format!("node {idx} stores {change:?}: {is_written}"));
            let node = &mut self.nodes[idx];
            let at = node.to_confirm.back().map_or(0, |(at, _, _)| *at).max(now + node.dice.pick(&[0, 0, 2, 40]));
            node.to_confirm.push_back((at, change, is_written));
        }
        while let Some((_, change, is_written)) = self.nodes[idx].to_confirm.pop_front_if(|(at, _, _)| *at <= now) {
            let local = self.nodes[idx].clock.at(now);
            if is_written {
                self.ep(idx).stored(local, &change.id);
            } else {
                self.ep(idx).fenced(local, &change.id);
                // It is another's now: here it is at most what was taken over since.
                let id = change.session;
                let since = self.model.hosted.get(&(idx, id.clone())).map_or(0, |hosted| hosted.generation);
                let is_here = self.ep(idx).session(&id).is_some();
                assert!(!is_here || since > change.generation, "node {idx} goes on with {id}, which was refused");
            }
        }
    }

    /// Takes a session over that is in the store.
    pub(crate) fn adopt(&mut self, idx: usize, id: &SessionId) {
        let Some(adoption) = self.store.take(id) else { return };
        let now = self.now;
        let local = self.nodes[idx].clock.at(now);
        let generation = adoption.generation;
        let digests: BTreeSet<[u8; 32]> = adoption.state.token_digests().collect();
        let adopted = self.ep(idx).adopt(local, adoption);
        self.transcript.note(now, || format!("node {idx} adopts {id}: {adopted:?}"));
        let adopted = adopted.unwrap_or_else(|error| panic!("node {idx} cannot adopt {id}: {error}"));
        assert!(adopted.refused_jobs.is_empty());
        self.transcript.reached(Mark::Adopted);
        for job in &adopted.jobs {
            let next = self.store.items_of(id, job);
            let total = next + self.nodes[idx].dice.below(6);
            let total = Stream::of(job).map_or(total, |stream| stream.pieces);
            let worker = Worker { next, total, gap: 50, at: Some(now + 10) };
            self.nodes[idx].workers.insert(job.clone(), worker);
        }
        let all = self.model.tokens.get(id).cloned().unwrap_or_default();
        let tokens =
            all.into_iter().filter(|token| digests.contains(&ResumeToken::new(token.clone()).digest())).collect();
        let peer = self.model.owners[id];
        let mut hosted = Hosted::new(peer, tokens, 0);
        (hosted.is_adopted, hosted.was_adopted, hosted.lost_at) = (true, true, Some(now));
        hosted.generation = generation;
        hosted.jobs = adopted.jobs.iter().cloned().collect();
        self.model.hosted.insert((idx, id.clone()), hosted);
        self.model.adopters.insert(id.clone(), idx);
        // A welcome of the process that had it may still come, behind the ones of this one: to the referee, who knows of
        // no processes, it would be the newer.
        for link in 0..self.links.len() {
            let of = &self.links[link];
            if of.node != idx && of.session.as_ref() == Some(id) && !of.has_welcome {
                self.close_judged(link);
                self.look_away(link);
            }
        }
        if self.plan.endpoint.durability == Durability::Batched {
            let last = self.store.last_of(id);
            self.model.contents.retain(|(of, seq), _| of != id || *seq <= last);
        }
    }
}
