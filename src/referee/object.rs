//! A shallow look at JSON: the members of an object, each left as text until someone asks.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::time::Timestamp;

/// A JSON value as it is written.
#[derive(Clone, Copy)]
pub(super) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    pub(super) const fn as_written(self) -> &'a str {
        self.0
    }

    pub(super) fn is_null(self) -> bool {
        self.0 == "null"
    }

    pub(super) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(super) fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        if !self.0.starts_with('"') {
            return None;
        }
        let plain = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if plain.contains('\\') {
            serde_json::from_str::<String>(self.0).ok().map(Cow::Owned)
        } else {
            Some(plain.into())
        }
    }

    /// A string with something in it.
    pub(super) fn word(self) -> Option<Cow<'a, str>> {
        self.text().filter(|text| !text.is_empty())
    }

    /// An integer written as one.
    pub(super) fn integer(self) -> Option<u64> {
        self.0.parse().ok()
    }

    pub(super) fn number(self) -> Option<f64> {
        if self.0.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
            self.0.parse().ok()
        } else {
            None
        }
    }

    pub(super) fn boolean(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    pub(super) fn time(self) -> Option<Timestamp> {
        Timestamp::parse(&self.text()?).ok()
    }

    pub(super) fn object(self) -> Option<Object<'a>> {
        if self.is_object() { Object::parse(self.0) } else { None }
    }

    pub(super) fn array(self) -> Option<Vec<Json<'a>>> {
        if !self.is_array() {
            return None;
        }
        let items: Vec<&'a RawValue> = serde_json::from_str(self.0).ok()?;
        Some(items.into_iter().map(|item| Json(item.get())).collect())
    }
}

/// The members of a JSON object, in the order in which they stand.
#[derive(Default)]
pub(super) struct Object<'a> {
    members: Vec<(Cow<'a, str>, Json<'a>)>,
}

impl<'a> Object<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Object<'a>> {
        serde_json::from_str(text).ok()
    }

    /// The member, unless it is absent or null. Of two of one name the last.
    pub(super) fn get(&self, name: &str) -> Option<Json<'a>> {
        self.written(name).filter(|value| !value.is_null())
    }

    /// The member, which may be null.
    pub(super) fn written(&self, name: &str) -> Option<Json<'a>> {
        self.members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?.text()
    }

    pub(super) fn word(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?.word()
    }

    pub(super) fn integer(&self, name: &str) -> Option<u64> {
        self.get(name)?.integer()
    }

    pub(super) fn object(&self, name: &str) -> Option<Object<'a>> {
        self.get(name)?.object()
    }

    pub(super) fn array(&self, name: &str) -> Option<Vec<Json<'a>>> {
        self.get(name)?.array()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Json<'a>)> {
        self.members.iter().map(|(key, value)| (&**key, *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Cow<'de, str>, Json<'de>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((Cow::Owned(key), Json(value.get())));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(|members| Object { members })
    }
}
