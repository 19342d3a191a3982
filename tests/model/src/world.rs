//! A client, a runtime, what is between them, and what must be true of them: one state of the search.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arcp_proto::{Client, Digest, Instant, Now, Phase, Runtime, Session, Timestamp};
use bytes::Bytes;

use crate::client_book::{ClientBook, Stand};
use crate::configuration::Configuration;
use crate::link::Link;
use crate::rule::{Breach, Rule};
use crate::runtime_book::RuntimeBook;
use crate::stock::Stock;

/// Transports at once, at most: old ones that the runtime has not done with, and a new one.
pub(crate) const LINKS: usize = 3;

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) client: Arc<Session<Client>>,
    /// `None` before a hello was taken.
    pub(crate) runtime: Option<Arc<Session<Runtime>>>,
    /// The oldest first. The client is on the last one, where it has its end open.
    pub(crate) links: Vec<Link>,
    pub(crate) stock: Stock,
    pub(crate) client_book: ClientBook,
    pub(crate) runtime_book: RuntimeBook,
    /// Something failed or was late.
    pub(crate) is_disturbed: bool,
    /// Whether there is nothing to be written.
    pub(crate) client_is_idle: bool,
    pub(crate) runtime_is_idle: bool,
    pub(crate) breach: Option<Arc<Breach>>,
    /// Tokens that were minted.
    pub(crate) tokens: u32,
    /// What is being read, by its type.
    pub(crate) reading: Option<Box<str>>,
    /// The transcript, where one is wanted.
    pub(crate) log: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(configuration: &Configuration) -> World {
        let now = Now::new(Instant::from_millis(1_000_000), Timestamp::from_unix_millis(1_778_701_333_000));
        let client = Session::connect(now, Arc::clone(&configuration.client));
        World {
            now,
            client: Arc::new(client),
            runtime: None,
            links: vec![Link::new()],
            stock: configuration.stock,
            client_book: ClientBook::new(),
            runtime_book: RuntimeBook::new(),
            is_disturbed: false,
            client_is_idle: false,
            runtime_is_idle: true,
            breach: None,
            tokens: 0,
            reading: None,
            log: None,
        }
    }

    pub(crate) fn breaks(&self, rule: Rule) -> bool {
        self.breach.as_ref().is_some_and(|breach| breach.rule == rule)
    }

    /// Only the first counts: what comes behind may follow from it.
    pub(crate) fn broken(&mut self, rule: Rule, what: impl Into<String>) {
        let what = what.into();
        self.note(|| format!("    !! {what}"));
        if self.breach.is_none() {
            self.breach = Some(Arc::new(Breach { rule, what }));
        }
    }

    pub(crate) fn check(&mut self, holds: bool, rule: Rule, what: impl FnOnce() -> String) {
        if !holds {
            self.broken(rule, what());
        }
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(text());
        }
    }

    /// The link that the client is on.
    pub(crate) fn client_link(&mut self) -> Option<&mut Link> {
        self.links.last_mut().filter(|link| link.client_end)
    }

    /// The link that the runtime's session is on.
    pub(crate) fn runtime_link(&self) -> Option<usize> {
        self.links.iter().position(|link| link.opened && link.runtime_end)
    }

    pub(crate) fn runtime_phase(&self) -> Option<Phase> {
        self.runtime.as_ref().map(|runtime| runtime.phase())
    }

    /// Something could be written, or read: time is not to pass before.
    pub(crate) fn is_busy(&self) -> bool {
        let writes = |end: bool, idle: bool| end && !idle;
        writes(self.links.last().is_some_and(|link| link.client_end), self.client_is_idle)
            || writes(self.runtime_link().is_some(), self.runtime_is_idle)
            || self.links.iter().any(|link| {
                (link.runtime_end && !link.up.is_empty())
                    || (link.client_end && !link.down.is_empty())
                    || link.client_sees_end()
                    || link.runtime_sees_end()
            })
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let runtime = self.runtime.as_ref().and_then(|runtime| runtime.poll_timeout());
        [self.client.poll_timeout(), runtime].into_iter().flatten().min()
    }

    /// Whether the client may be restored from a snapshot: one that ended, within its window.
    pub(crate) fn client_can_crash(&self) -> bool {
        let book = &self.client_book;
        let can_come_back = book.can_come_back && book.window_end.is_some_and(|end| end > self.now.mono);
        self.client.info().is_some() && (book.stand != Stand::Closed || can_come_back)
    }

    fn digest(&self, digest: &mut Digest<'_>) {
        self.client.digest(digest);
        digest.flag(self.runtime.is_some());
        if let Some(runtime) = &self.runtime {
            runtime.digest(digest);
        }
        digest.number(self.links.len() as u64);
        self.links.iter().for_each(|link| link.digest(digest));
        self.client_book.digest(digest);
        self.runtime_book.digest(digest);
        self.stock.digest(digest);
        digest.flag(self.is_disturbed);
        digest.flag(self.breach.is_some());
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest(&mut Digest::new(self.now.mono, state));
    }
}

pub(crate) fn epoch_of(id: &str, letter: char) -> Option<u64> {
    let rest = id.strip_prefix("msg_")?.strip_prefix(letter)?;
    rest.split_once('_')?.0.parse().ok()
}

/// For the transcript.
pub(crate) fn printed(frame: &Bytes) -> String {
    String::from_utf8_lossy(frame).into_owned()
}
