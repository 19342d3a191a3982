//! Somebody with a token that is not theirs, or not good any more.

use arcp_proto::wire::SessionId;
use bytes::Bytes;
use serde_json::json;

use super::world::World;

impl World {
    /// A hand that holds the client's token says hello. It asks for what the client agreed on: a token that is good
    /// after all (another process may not know better) gives it the session, and without `ack` or streams it would lose
    /// what the client is owed.
    fn intrude(&mut self, idx: usize, node: usize, bearer: &str, token: &str) {
        let now = self.now;
        let session = &self.peers[idx].session;
        let (last, features) = (session.last_event_seq(), session.features().clone());
        let local = self.nodes[node].clock.at(now);
        let conn = self.ep(node).connect(local);
        let dice = self.dice.fork();
        let link = self.open_link(None, node, conn, false, dice);
        self.links[link].is_judged = false;
        let hello = json!({
            "arcp": "1.1", "id": "intruder", "type": "session.hello",
            "payload": {
                "client": {"name": "hand", "version": "1"},
                "auth": {"scheme": "bearer", "token": bearer},
                "capabilities": {"encodings": ["json"], "features": features},
                "resume_token": token, "last_event_seq": last,
            },
        });
        self.links[link].send(now, true, &Bytes::from(hello.to_string()));
        // Whatever it is told, it does not hear.
        self.links[link].up.end_at(now + 30_000);
        self.links[link].down.is_dead = true;
        self.links[link].client_is_here = false;
    }

    /// Where a client's session lives, and what the model has of its tokens.
    pub(crate) fn home_of(&self, idx: usize) -> Option<(usize, SessionId)> {
        let id = self.peers[idx].session.session_id()?.clone();
        let is_home = |node: &usize| {
            let hosted = self.model.hosted.get(&(*node, id.clone()));
            self.nodes[*node].is_awake(self.now) && hosted.is_some_and(|hosted| hosted.gone_at.is_none())
        };
        let node = (0..self.nodes.len()).find(is_home)?;
        Some((node, id))
    }

    pub(crate) fn old_token(&mut self, idx: usize) {
        let Some((node, id)) = self.home_of(idx) else { return };
        let all = self.model.tokens.get(&id).cloned().unwrap_or_default();
        let good = &self.model.hosted[&(node, id.clone())].tokens;
        let Some(old) = all.into_iter().rev().find(|token| !good.contains(token)) else { return };
        let bearer = format!("secret-p{}", idx % 3);
        self.intrude(idx, node, &bearer, &old);
    }

    pub(crate) fn other_principal(&mut self, idx: usize) {
        let Some((node, id)) = self.home_of(idx) else { return };
        let Some(token) = self.model.hosted[&(node, id)].tokens.last().cloned() else { return };
        self.intrude(idx, node, "secret-mallory", &token);
    }
}
