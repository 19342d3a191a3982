//! The same submit twice is one job (§7.2, D41).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use crate::wire::{JobAccepted, JobId, JobSubmit, Principal};

/// The keys under which submits are known, by principal.
///
/// A key is open while its first submit has no answer, then kept with the answer until the directory drops the job: there
/// are never more keys than open submits and jobs together. `A` is who asks, so that those who repeat a submit that is still
/// open can be answered with it.
#[derive(Clone)]
pub(crate) struct IdempotencyKeys<A> {
    keys: BTreeMap<Principal, BTreeMap<Arc<str>, Known<A>>>,
    by_job: BTreeMap<JobId, (Principal, Arc<str>)>,
}

#[derive(Clone)]
struct Known<A> {
    fingerprint: Fingerprint,
    state: State<A>,
}

#[derive(Clone)]
enum State<A> {
    /// No answer yet; these asked again.
    Open(Vec<A>),
    Accepted(Box<JobAccepted>),
}

/// What a submit with a key is.
#[derive(Debug, PartialEq)]
pub(crate) enum Entry<'a> {
    /// The first of its key, which is open now.
    New,
    /// The same as one that is still open; who asks is answered with it.
    Open,
    /// The same as one that was accepted so.
    Accepted(&'a JobAccepted),
    /// Another than the one of this key: DUPLICATE_KEY.
    Conflict,
    /// The same as one that is still open and waited for by as many as may; who asks may try again.
    TooManyWait,
    /// The key is too long to be kept: INVALID_REQUEST.
    TooLong,
}

/// An accepted submit's key, as it moves to another machine with its job.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct KeptKey {
    principal: Principal,
    #[serde(deserialize_with = "shared_text", serialize_with = "as_text")]
    key: Arc<str>,
    fingerprint: Fingerprint,
    accepted: JobAccepted,
}

impl KeptKey {
    /// Whether it is this job's: a store could have mixed them up, and it would never be free again.
    pub(crate) fn is_of(&self, job: &JobId, principal: &Principal) -> bool {
        self.accepted.job_id == *job && self.principal == *principal
    }
}

impl<A> IdempotencyKeys<A> {
    /// The longest key, in bytes: as long as an id may be.
    pub(crate) const MAX_KEY_LEN: usize = 256;
    /// How many may wait for the answer to one open submit.
    pub(crate) const MAX_WAITING: usize = 64;

    pub(crate) fn new() -> IdempotencyKeys<A> {
        IdempotencyKeys { keys: BTreeMap::new(), by_job: BTreeMap::new() }
    }

    /// A submit of `principal` with `key` came in, asked by `asker`.
    pub(crate) fn enter(&mut self, principal: &Principal, key: &str, submit: &JobSubmit, asker: A) -> Entry<'_> {
        if key.len() > Self::MAX_KEY_LEN {
            return Entry::TooLong;
        }
        let fingerprint = Fingerprint::of(submit);
        let keys = self.keys.entry(principal.clone()).or_default();
        if !keys.contains_key(key) {
            keys.insert(key.into(), Known { fingerprint, state: State::Open(Vec::new()) });
            return Entry::New;
        }
        match keys.get_mut(key) {
            Some(known) if known.fingerprint == fingerprint => match &mut known.state {
                State::Accepted(accepted) => Entry::Accepted(accepted),
                State::Open(waiting) if waiting.len() >= Self::MAX_WAITING => Entry::TooManyWait,
                State::Open(waiting) => {
                    waiting.push(asker);
                    Entry::Open
                }
            },
            _ => Entry::Conflict,
        }
    }

    /// The open submit of this key was accepted so. Gives those who wait for the same answer.
    pub(crate) fn accepted(&mut self, principal: &Principal, key: &str, mut accepted: JobAccepted) -> Vec<A> {
        let Some(keys) = self.keys.get_mut(principal) else { return Vec::new() };
        let Some((key, _)) = keys.get_key_value(key) else { return Vec::new() };
        let key = Arc::clone(key);
        let Some(Known { state: state @ State::Open(_), .. }) = keys.get_mut(&key) else { return Vec::new() };
        // These are of the one request.
        (accepted.request_id, accepted.reply_to) = (None, None);
        self.by_job.insert(accepted.job_id.clone(), (principal.clone(), key));
        match core::mem::replace(state, State::Accepted(Box::new(accepted))) {
            State::Open(waiting) => waiting,
            State::Accepted(_) => Vec::new(),
        }
    }

    /// The open submit of this key was refused, or there is nobody left to answer it: the key is free. Gives those who wait
    /// for the same answer.
    pub(crate) fn refused(&mut self, principal: &Principal, key: &str) -> Vec<A> {
        let Some(keys) = self.keys.get_mut(principal) else { return Vec::new() };
        if !matches!(keys.get(key), Some(Known { state: State::Open(_), .. })) {
            return Vec::new();
        }
        let waiting = match keys.remove(key).map(|known| known.state) {
            Some(State::Open(waiting)) => waiting,
            _ => Vec::new(),
        };
        if keys.is_empty() {
            self.keys.remove(principal);
        }
        waiting
    }

    /// The directory has dropped this job: its key is free.
    pub(crate) fn forget_job(&mut self, job_id: &JobId) {
        let Some((principal, key)) = self.by_job.remove(job_id) else { return };
        if let Some(keys) = self.keys.get_mut(&principal) {
            keys.remove(&key);
            if keys.is_empty() {
                self.keys.remove(&principal);
            }
        }
    }

    /// The key of a job, to go to another machine with it.
    pub(crate) fn of_job(&self, job_id: &JobId) -> Option<KeptKey> {
        let (principal, key) = self.by_job.get(job_id)?;
        let Known { fingerprint, state: State::Accepted(accepted) } = self.keys.get(principal)?.get(key)? else {
            return None;
        };
        let (principal, key, accepted) = (principal.clone(), Arc::clone(key), JobAccepted::clone(accepted));
        Some(KeptKey { principal, key, fingerprint: *fingerprint, accepted })
    }

    /// Takes over the key of a job from another machine. False when the key is in use here, which then stands, or the
    /// job has one.
    pub(crate) fn adopt(&mut self, kept: KeptKey) -> bool {
        let KeptKey { principal, key, fingerprint, accepted } = kept;
        let taken = self.keys.get(&principal).is_some_and(|keys| keys.contains_key(&key));
        if taken || self.by_job.contains_key(&accepted.job_id) {
            return false;
        }
        self.by_job.insert(accepted.job_id.clone(), (principal.clone(), Arc::clone(&key)));
        let known = Known { fingerprint, state: State::Accepted(Box::new(accepted)) };
        self.keys.entry(principal).or_default().insert(key, known);
        true
    }

    /// How many keys there are, open ones included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.keys.values().map(BTreeMap::len).sum()
    }
}

/// How many: keys are the application's and answers hold secrets.
impl<A> fmt::Debug for IdempotencyKeys<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKeys({} of jobs, {} principals)", self.by_job.len(), self.keys.len())
    }
}

fn as_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn shared_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    Box::<str>::deserialize(deserializer).map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::wire::{Credential, CredentialValue, RawJson};
    use alloc::format;
    use alloc::vec;

    fn submit(input: &str) -> JobSubmit {
        JobSubmit::new("code", RawJson::from_text(input).unwrap())
    }

    fn accepted(job_id: &str) -> JobAccepted {
        let mut accepted = JobAccepted::new(job_id.into(), "code@2", Timestamp::from_unix_millis(7));
        accepted.credentials = Some(vec![Credential {
            id: "cred_1".into(),
            scheme: "bearer".into(),
            value: CredentialValue::from("sk-virt-1"),
            endpoint: None,
            profile: None,
            constraints: None,
        }]);
        accepted
    }

    fn alice() -> Principal {
        "alice".into()
    }

    #[test]
    fn d41_the_same_submit_gets_the_same_acceptance() {
        let mut keys = IdempotencyKeys::new();
        assert_eq!(keys.enter(&alice(), "k", &submit(r#"{"a":1,"b":2}"#), 1), Entry::New);
        let answer = JobAccepted { request_id: Some("msg_1".into()), ..accepted("job_1") };
        assert!(keys.accepted(&alice(), "k", answer).is_empty());
        assert_eq!(
            keys.enter(&alice(), "k", &submit(r#"{ "b":2,"a":1}"#), 2),
            Entry::Accepted(&accepted("job_1")),
            "without the first one's request id"
        );
    }

    #[test]
    fn d41_another_submit_under_the_key_is_a_conflict_open_or_answered() {
        let mut keys = IdempotencyKeys::new();
        keys.enter(&alice(), "k", &submit("1"), 1);
        assert_eq!(keys.enter(&alice(), "k", &submit("2"), 2), Entry::Conflict);
        keys.accepted(&alice(), "k", accepted("job_1"));
        assert_eq!(keys.enter(&alice(), "k", &submit("2"), 3), Entry::Conflict);
    }

    #[test]
    fn d41_keys_are_a_principal_s_own() {
        let mut keys = IdempotencyKeys::new();
        keys.enter(&alice(), "k", &submit("1"), 1);
        keys.accepted(&alice(), "k", accepted("job_1"));
        assert_eq!(keys.enter(&"bob".into(), "k", &submit("1"), 2), Entry::New);
        assert!(keys.accepted(&"bob".into(), "k", accepted("job_2")).is_empty());
        keys.forget_job(&"job_2".into());
        assert_eq!(keys.enter(&alice(), "k", &submit("1"), 3), Entry::Accepted(&accepted("job_1")));
    }

    #[test]
    fn d41_who_repeats_an_open_submit_waits_for_its_answer() {
        let mut keys = IdempotencyKeys::new();
        keys.enter(&alice(), "k", &submit("1"), 0);
        for asker in 1..=64 {
            assert_eq!(keys.enter(&alice(), "k", &submit("1"), asker), Entry::Open);
        }
        assert_eq!(keys.enter(&alice(), "k", &submit("1"), 65), Entry::TooManyWait);
        assert_eq!(keys.accepted(&alice(), "k", accepted("job_1")), (1..=64).collect::<Vec<_>>());
        assert!(keys.accepted(&alice(), "k", accepted("job_2")).is_empty(), "it was answered");
        assert_eq!(keys.enter(&alice(), "k", &submit("1"), 1), Entry::Accepted(&accepted("job_1")));
    }

    #[test]
    fn d41_a_refused_submit_frees_its_key() {
        let mut keys = IdempotencyKeys::new();
        keys.enter(&alice(), "k", &submit("1"), 0);
        keys.enter(&alice(), "k", &submit("1"), 1);
        assert_eq!(keys.refused(&alice(), "k"), [1]);
        assert_eq!(keys.len(), 0);
        assert!(keys.keys.is_empty());
        assert_eq!(keys.enter(&alice(), "k", &submit("2"), 2), Entry::New);
    }

    #[test]
    fn d41_an_accepted_submit_is_not_refused_afterwards() {
        let mut keys = IdempotencyKeys::new();
        keys.enter(&alice(), "k", &submit("1"), 0);
        keys.accepted(&alice(), "k", accepted("job_1"));
        assert!(keys.refused(&alice(), "k").is_empty() && keys.refused(&"bob".into(), "k").is_empty());
        assert_eq!(keys.enter(&alice(), "k", &submit("1"), 1), Entry::Accepted(&accepted("job_1")));
    }

    #[test]
    fn d41_a_key_lives_as_long_as_its_job() {
        let mut keys = IdempotencyKeys::new();
        keys.enter(&alice(), "k", &submit("1"), 0);
        keys.accepted(&alice(), "k", accepted("job_1"));
        keys.forget_job(&"job_2".into());
        assert_eq!(keys.len(), 1);
        keys.forget_job(&"job_1".into());
        assert!(keys.keys.is_empty() && keys.by_job.is_empty());
        assert_eq!(keys.enter(&alice(), "k", &submit("2"), 1), Entry::New);
    }

    #[test]
    fn d41_the_longest_key_has_256_bytes() {
        let mut keys = IdempotencyKeys::new();
        assert_eq!(keys.enter(&alice(), &"k".repeat(257), &submit("1"), 0), Entry::TooLong);
        assert_eq!(keys.len(), 0);
        assert_eq!(keys.enter(&alice(), &"k".repeat(256), &submit("1"), 0), Entry::New);
        assert_eq!(keys.enter(&alice(), "", &submit("1"), 0), Entry::New, "an empty one is one");
    }

    #[test]
    fn d41_a_key_moves_to_another_machine_with_its_job() {
        let mut here = IdempotencyKeys::new();
        here.enter(&alice(), "k", &submit("1"), 0);
        assert_eq!(here.of_job(&"job_1".into()), None);
        here.accepted(&alice(), "k", accepted("job_1"));
        let text = serde_json::to_string(&here.of_job(&"job_1".into()).unwrap()).unwrap();

        let kept: KeptKey = serde_json::from_str(&text).unwrap();
        let mut there = IdempotencyKeys::new();
        assert!(there.adopt(kept.clone()));
        assert!(!there.adopt(kept.clone()), "it is there");
        assert_eq!(there.enter(&alice(), "k", &submit("1"), 0), Entry::Accepted(&accepted("job_1")));
        assert_eq!(there.enter(&alice(), "k", &submit("2"), 0), Entry::Conflict);
        there.forget_job(&"job_1".into());
        there.enter(&alice(), "k", &submit("3"), 0);
        assert!(!there.adopt(kept), "the key is in use here");
    }

    #[test]
    fn nothing_that_it_prints_is_secret() {
        fn check<T: Clone + Send + 'static>(_: &T) {}
        let mut keys = IdempotencyKeys::new();
        keys.enter(&alice(), "k-secret", &submit("1"), 0);
        keys.accepted(&alice(), "k-secret", accepted("job_1"));
        check(&keys);
        let printed = format!("{keys:?} {:?}", keys.of_job(&"job_1".into()));
        assert!(!printed.contains("sk-virt-1"), "{printed}");
        assert!(!format!("{keys:?}").contains("k-secret"));
    }
}
