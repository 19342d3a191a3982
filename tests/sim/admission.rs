//! Who is let in: the verdict of the application, and whether the model expects it to stand.

use std::sync::Arc;

use arcp_proto::endpoint::{AdmitError, Applicant, Durability};
use arcp_proto::wire::{AgentInfo, ErrorCode, Principal, ResumeToken, SessionId, WireError};
use arcp_proto::{Grant, Phase, RefusedBecause};

use super::mark::Mark;
use super::model::Hosted;
use super::world::World;

impl World {
    pub(crate) fn give_verdict(&mut self, idx: usize, applicant: &Applicant) {
        let now = self.now;
        let local = self.nodes[idx].clock.at(now);
        let bearer = applicant.credentials.token.as_ref().map(|token| token.reveal().to_owned()).unwrap_or_default();
        let Some(name) = bearer.strip_prefix("secret-") else {
            let error = WireError::new(ErrorCode::Unauthenticated, "who are you?");
            let _ = self.ep(idx).reject(local, applicant.conn, error);
            return;
        };
        let principal = Principal::from(name);
        let link = self.by_conn[&(idx, applicant.conn)];
        if let Some(wish) = &applicant.resume
            && !self.is_known(idx, &wish.token_digest)
            && let Some(id) = self.store.by_token(&wish.token_digest)
        {
            self.adopt(idx, &id);
        }
        self.tokens += 1;
        let token = format!("rt_{:032x}", self.tokens);
        self.sessions += u64::from(applicant.resume.is_none());
        let grant = Grant {
            principal: principal.clone(),
            session_id: SessionId::from(format!("sess_{}", self.sessions).as_str()),
            resume_token: ResumeToken::new(token.clone()),
            agents: Arc::from([AgentInfo::new("sim-agent", ["1.0.0"])]),
        };
        // What is due goes first, also in the model.
        self.ep(idx).handle_timeout(local);
        self.look_at_node(idx);
        let expected = self.links[link].claim.clone().map(|(token, last)| self.expects(idx, &token, last, &principal));
        let before = self.standing(idx, &expected);
        let verdict = self.ep(idx).admit(local, applicant.conn, grant);
        self.transcript.note(now, || format!("node {idx} lets link {link} in: {verdict:?}, expected {expected:?}"));
        match verdict {
            Ok(admitted) => {
                let id = admitted.session;
                let peer = self.links[link].peer.unwrap_or(usize::MAX);
                if self.model.adopters.get(&id).is_some_and(|adopter| *adopter != idx) {
                    // It believes to have what another has by now, and goes on as that one does: same numbers, same ids.
                    // To the referee, who knows of no processes, the two are one.
                    self.close_judged(link);
                    self.look_away(link);
                }
                let (presented, last) = self.links[link].claim.clone().unwrap_or_default();
                if admitted.resumed {
                    let is_expected =
                        expected.as_ref().is_some_and(|(of, may)| *of == Some(id.clone()) && *may != Some(false));
                    assert!(is_expected, "{id} was resumed by {presented} from {last}: {expected:?}");
                }
                let hosted =
                    self.model.hosted.entry((idx, id.clone())).or_insert_with(|| Hosted::new(peer, Vec::new(), 0));
                if peer != usize::MAX {
                    hosted.peer = peer;
                    self.model.owners.insert(id.clone(), peer);
                    // An attempt that it had given up is taken after all, after the one that it is on.
                    let of = &mut self.peers[peer];
                    of.may_be_sent_away |= of.link != Some(link);
                    of.was_overtaken |= of.admitted > Some(link);
                    of.admitted = of.admitted.max(Some(link));
                } else if let Some(of) = self.peers.get_mut(hosted.peer) {
                    // Somebody with a token of its that is good again, or not known to be old here.
                    of.may_be_sent_away = true;
                }
                hosted.tokens = if admitted.resumed { vec![presented, token.clone()] } else { vec![token.clone()] };
                (hosted.link, hosted.cursor, hosted.gone_at) = (Some(link), last, None);
                hosted.transmitted = hosted.transmitted.max(last);
                (hosted.lost_at, hosted.is_adopted, hosted.was_elapsed) = (None, false, false);
                hosted.phase = Phase::Open;
                if let Some(session) = self.nodes[idx].endpoint.as_ref().and_then(|endpoint| endpoint.session(&id)) {
                    self.model.owned.insert(id.clone(), session.features().clone());
                }
                self.model.tokens.entry(id.clone()).or_default().push(token);
                self.links[link].session = Some(id);
                self.links[link].heard_at = now;
            }
            Err(AdmitError::NobodyWaits) => {}
            Err(AdmitError::ResumeRefused(reason)) => {
                self.links[link].was_refused = true;
                let must = expected.as_ref().is_some_and(|(_, may)| *may == Some(true));
                let is_busy = reason == RefusedBecause::Busy;
                assert!(!must || is_busy, "a resume was refused that had to be taken: {reason}, {expected:?}");
                assert!(before == self.standing(idx, &expected), "a refused resume changed something");
                self.transcript.reached(match reason {
                    RefusedBecause::Principal => Mark::OtherPrincipalRefused,
                    _ if self.plan.endpoint.durability == Durability::Batched => Mark::RefusedAfterALoss,
                    _ => Mark::ResumeRefused,
                });
                if self.links[link].peer.is_none() && reason == RefusedBecause::Token {
                    self.transcript.reached(Mark::OldTokenRefused);
                }
            }
            Err(AdmitError::NoPlace(_)) => self.transcript.reached(Mark::PlaceTaken),
            Err(error) => panic!("node {idx} cannot let link {link} in: {error}"),
        }
        self.look_at_node(idx);
    }

    /// Which session a token is for, and whether a resume from there must be taken (`Some(true)`) or refused.
    fn expects(
        &mut self,
        idx: usize,
        token: &str,
        last: u64,
        principal: &Principal,
    ) -> (Option<SessionId>, Option<bool>) {
        let has = |hosted: &Hosted| hosted.gone_at.is_none() && hosted.tokens.iter().any(|other| other == token);
        let mut found = self.model.hosted.iter().filter(|((node, _), hosted)| *node == idx && has(hosted));
        let Some(((_, id), hosted)) = found.next() else { return (None, Some(false)) };
        let (id, transmitted) = (id.clone(), hosted.transmitted);
        let Some(session) = self.nodes[idx].endpoint.as_ref().and_then(|endpoint| endpoint.session(&id)) else {
            return (Some(id), Some(false));
        };
        let is_theirs = session.principal() == principal;
        let covers = session.replay_floor() <= last && last <= session.last_event_seq();
        // What is behind the last transmission nobody can have; what was restored may have been sent.
        let is_sure = last <= transmitted;
        let is_open = session.phase() != Phase::Closed && !hosted.may_go;
        let may = match (is_theirs && covers && session.phase() != Phase::Closed, is_sure && is_open) {
            (false, _) => Some(false),
            (true, true) => Some(true),
            (true, false) => None,
        };
        (Some(id), may)
    }

    fn standing(&self, idx: usize, of: &Option<(Option<SessionId>, Option<bool>)>) -> Option<(Phase, u64)> {
        let id = of.as_ref()?.0.as_ref()?;
        let session = self.nodes[idx].endpoint.as_ref()?.session(id)?;
        Some((session.phase(), session.attachment()))
    }

    fn is_known(&self, idx: usize, digest: &[u8; 32]) -> bool {
        self.model.hosted.iter().any(|((node, _), hosted)| {
            let has = |token: &String| ResumeToken::new(token.clone()).digest() == *digest;
            *node == idx && hosted.gone_at.is_none() && hosted.tokens.iter().any(has)
        })
    }
}
