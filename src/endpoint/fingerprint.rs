//! What makes two submits the same (D41).

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use crate::wire::JobSubmit;

/// The parameters of a submit: agent, input, lease request, constraints and time limit, as JSON values. A digest, so that
/// what is kept does not grow with the input.
///
/// Two values are the same when serde_json's `Value`s are: the order of members does not count, of a member that is there
/// twice the last counts, `1` and `1.0` are different, `1.0` and `1.00` are not, and a number that no 64-bit integer holds
/// is the nearest double. What cannot be read so (a lone surrogate, 1e999: D39) is the same when its text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(submit: &JobSubmit) -> Fingerprint {
        let JobSubmit { agent, input, lease_request, lease_constraints, idempotency_key: _, max_runtime_sec } = submit;
        let mut hash = Sha256::new();
        hash.update(b"arcp submit 1");
        put_text(&mut hash, agent);
        hash.update(of_json(input.text()));
        put_option(&mut hash, lease_request.as_ref().map(|lease| of_json(lease.text())));
        let expires_at = lease_constraints.and_then(|constraints| constraints.expires_at);
        put_option(&mut hash, expires_at.map(|at| at.as_unix_millis().to_be_bytes()));
        put_option(&mut hash, max_runtime_sec.map(u64::to_be_bytes));
        Fingerprint(hash.finalize().into())
    }
}

fn put_option<const N: usize>(hash: &mut Sha256, value: Option<[u8; N]>) {
    match value {
        None => hash.update([0]),
        Some(bytes) => {
            hash.update([1]);
            hash.update(bytes);
        }
    }
}

fn put_text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

/// The digest of a JSON value. serde_json goes 128 levels deep, so this does.
fn of_json(text: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    if Canonical(&mut hash).deserialize(&mut reader).is_err() {
        hash = Sha256::new();
        hash.update(b"text");
        hash.update(text.as_bytes());
    }
    hash.finalize().into()
}

/// Feeds a value to the hash as it is read, without building it: a tree of a hostile megabyte takes a hundred.
struct Canonical<'h>(&'h mut Sha256);

impl<'de> DeserializeSeed<'de> for Canonical<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Canonical<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.update(b"n");
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.update(if value { b"t" } else { b"f" });
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.0.update(b"u");
        self.0.update(value.to_be_bytes());
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.update(b"i");
        self.0.update(value.to_be_bytes());
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // Both zeros are equal.
        let value = if value == 0.0 { 0.0 } else { value };
        self.0.update(b"d");
        self.0.update(value.to_bits().to_be_bytes());
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.update(b"s");
        put_text(self.0, text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.0.update(b"[");
        while elements.next_element_seed(Canonical(self.0))?.is_some() {}
        self.0.update(b"]");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut read: Vec<(Cow<'de, str>, [u8; 32])> = Vec::new();
        while let Some(name) = members.next_key_seed(Name)? {
            let mut hash = Sha256::new();
            members.next_value_seed(Canonical(&mut hash))?;
            read.push((name, hash.finalize().into()));
        }
        // Stable, so that of those with one name the last stays the last.
        read.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.0.update(b"{");
        for (at, (name, value)) in read.iter().enumerate() {
            if read.get(at + 1).is_some_and(|(next, _)| next == name) {
                continue;
            }
            self.0.update(b",");
            put_text(self.0, name);
            self.0.update(value);
        }
        self.0.update(b"}");
        Ok(())
    }
}

/// A member's name, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }

    fn visit_string<E: Error>(self, name: String) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::wire::{Lease, LeaseConstraints, RawJson};
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;
    use serde_json::Value;

    fn same(a: &str, b: &str) -> bool {
        of_json(a) == of_json(b)
    }

    #[test]
    fn d41_values_are_compared_and_not_texts() {
        assert!(same(r#"{"a":1,"b":{"c":[],"d":null}}"#, "{ \"b\": {\"d\":null, \"c\":[ ]},\n\"\\u0061\":1 }"));
        assert!(same("1.0", "1.00") && same("1e2", "100.0") && same("-0.0", "0.0") && same(r#""é""#, r#""\u00e9""#));
        assert!(same(r#"{"a":1,"a":2}"#, r#"{"a":2}"#));
        for (a, b) in [
            ("1", "1.0"),
            ("1", "-1"),
            ("0", "-0"),
            ("1", "\"1\""),
            ("null", "{}"),
            ("null", "false"),
            ("[]", "{}"),
            ("[]", "[[]]"),
            ("[1,[2]]", "[[1],2]"),
            ("[[1],2]", "[[1,2]]"),
            ("[1,2]", "[2,1]"),
            (r#"["a","b"]"#, r#"["ab"]"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#),
            (r#"{"a":"b"}"#, r#"{"ab":""}"#),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn d41_what_is_no_value_is_compared_as_text() {
        for odd in [r#"{"a":"\ud800"}"#, "[1e999]"] {
            assert!(serde_json::from_str::<Value>(odd).is_err(), "{odd}");
            assert!(same(odd, odd));
            assert!(!same(odd, &odd.replace(':', ": ").replace('[', "[ ")), "{odd}");
        }
        assert!(!same(r#""\ud800""#, r#""\ud801""#));
    }

    #[test]
    fn d41_depth_and_width_have_no_price() {
        let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
        assert!(same(&deep, &format!(" {deep}")));
        let deeper = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(same(&deeper, &deeper));
        let mut names: Vec<String> = (0..20_000).map(|n| format!("\"{n}\":{{\"a\":{n}}}")).collect();
        let forward = format!("{{{}}}", names.join(","));
        names.reverse();
        assert!(same(&forward, &format!("{{{}}}", names.join(","))));
    }

    #[test]
    fn d41_every_parameter_counts_and_the_key_does_not() {
        let base = JobSubmit::new("code@2", RawJson::new(&serde_json::json!({"a": 1})).unwrap());
        let mut all = vec![base.clone()];
        let mut put = |change: &dyn Fn(&mut JobSubmit)| {
            let mut other = base.clone();
            change(&mut other);
            all.push(other);
        };
        put(&|submit| submit.agent = "code".into());
        put(&|submit| submit.input = RawJson::null());
        put(&|submit| submit.lease_request = Some(Lease::default()));
        put(&|submit| submit.lease_request = Some(Lease::new([("fs.read", vec![])])));
        put(&|submit| submit.max_runtime_sec = Some(0));
        put(&|submit| submit.max_runtime_sec = Some(1));
        put(&|submit| submit.lease_constraints = Some(LeaseConstraints { expires_at: Some(Timestamp::EPOCH) }));
        for (at, a) in all.iter().enumerate() {
            for (other, b) in all.iter().enumerate() {
                assert_eq!(Fingerprint::of(a) == Fingerprint::of(b), at == other, "{a:?} {b:?}");
            }
        }
        let keyed = base.clone().with_idempotency_key("k");
        assert_eq!(Fingerprint::of(&base), Fingerprint::of(&keyed));
        let mut unbound = base.clone();
        unbound.lease_constraints = Some(LeaseConstraints::default());
        assert_eq!(Fingerprint::of(&base), Fingerprint::of(&unbound));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-2_i64..3).prop_map(Value::from),
            prop_oneof![Just(0.0), Just(-0.0), Just(1.0), Just(1.5)].prop_map(Value::from),
            "[ab\"]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab]{0,1}", inner, 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn d41_digests_are_equal_exactly_when_values_are(a in any_json(), b in any_json()) {
            prop_assert_eq!(same(&a.to_string(), &b.to_string()), a == b);
            prop_assert!(same(&a.to_string(), &serde_json::to_string_pretty(&a).unwrap()));
        }
    }
}
