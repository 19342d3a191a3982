//! What the referee remembers: bounded, the oldest forgotten first.

use alloc::collections::{BTreeMap, VecDeque};

use sha2::{Digest as _, Sha256};

/// A map that holds a limited number of entries.
#[derive(Clone, Debug)]
pub(super) struct Memory<K, V> {
    entries: BTreeMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Ord + Clone, V> Memory<K, V> {
    pub(super) const fn new(limit: usize) -> Memory<K, V> {
        Memory { entries: BTreeMap::new(), order: VecDeque::new(), limit }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Sets the entry; gives back what had to be forgotten for it.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        if self.entries.insert(key.clone(), value).is_some() {
            return None;
        }
        self.order.push_back(key);
        if self.order.len() <= self.limit {
            return None;
        }
        let oldest = self.order.pop_front()?;
        self.entries.remove(&oldest).map(|value| (oldest, value))
    }

    /// The entry, made if need be.
    pub(super) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
        if !self.entries.contains_key(&key) {
            self.insert(key.clone(), make());
        }
        self.entries.get_mut(&key)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let value = self.entries.remove(key)?;
        self.order.retain(|other| other != key);
        Some(value)
    }

    /// Something may have been forgotten.
    pub(super) fn is_full(&self) -> bool {
        self.order.len() >= self.limit
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.keys()
    }
}

/// Stands for a text without holding it: an id, or a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Print(u64);

/// Nothing: a short secret could be found from its digest.
impl core::fmt::Debug for Print {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Print(…)")
    }
}

impl Print {
    pub(super) fn of(text: &str) -> Print {
        Print::of_bytes(text.as_bytes())
    }

    pub(super) fn of_bytes(bytes: &[u8]) -> Print {
        let digest = Sha256::digest(bytes);
        let head = digest.first_chunk::<8>().copied().unwrap_or_default();
        Print(u64::from_be_bytes(head))
    }

    /// The same for two objects of equal members, some left aside.
    pub(super) fn of_members(object: &super::object::Object<'_>, aside: &[&str]) -> Print {
        let mut members: alloc::vec::Vec<_> = object.iter().filter(|(name, _)| !aside.contains(name)).collect();
        members.sort_by_key(|(name, _)| *name);
        let mut hash = Sha256::new();
        for (name, value) in members {
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name.as_bytes());
            hash.update(Print::of_json(value.as_written().as_bytes()).0.to_be_bytes());
        }
        let digest = hash.finalize();
        Print(u64::from_be_bytes(digest.first_chunk::<8>().copied().unwrap_or_default()))
    }

    /// The same for two texts that are the same JSON value, whatever the order of members.
    pub(super) fn of_json(text: &[u8]) -> Print {
        match serde_json::from_slice::<serde_json::Value>(text) {
            Ok(value) => {
                let mut hash = Sha256::new();
                feed(&mut hash, &value);
                let digest = hash.finalize();
                Print(u64::from_be_bytes(digest.first_chunk::<8>().copied().unwrap_or_default()))
            }
            Err(_) => Print::of_bytes(text),
        }
    }
}

/// Recursion ends: the parser takes no more than 128 levels.
fn feed(hash: &mut Sha256, value: &serde_json::Value) {
    use serde_json::Value;
    let mut word = |tag: &[u8], text: &[u8]| {
        hash.update(tag);
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    match value {
        Value::Null => word(b"z", b""),
        Value::Bool(value) => word(b"b", &[u8::from(*value)]),
        Value::Number(number) => word(b"n", alloc::string::ToString::to_string(number).as_bytes()),
        Value::String(text) => word(b"s", text.as_bytes()),
        Value::Array(items) => {
            word(b"a", &(items.len() as u64).to_be_bytes());
            items.iter().for_each(|item| feed(hash, item));
        }
        Value::Object(members) => {
            word(b"o", &(members.len() as u64).to_be_bytes());
            let sorted: BTreeMap<&str, &Value> = members.iter().map(|(key, value)| (key.as_str(), value)).collect();
            for (key, value) in sorted {
                hash.update((key.len() as u64).to_be_bytes());
                hash.update(key.as_bytes());
                feed(hash, value);
            }
        }
    }
}
