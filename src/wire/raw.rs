//! JSON that the session layer carries and does not read.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// A JSON text that is passed on as it stands: a job's input, an event's body, a lease.
///
/// Two are equal when their texts are, byte for byte.
///
/// ```
/// use arcp_proto::wire::RawJson;
///
/// let input = RawJson::new(&serde_json::json!({ "path": "/tmp" }))?;
/// assert_eq!(input.text(), r#"{"path":"/tmp"}"#);
/// assert_eq!(input.parse::<serde_json::Value>()?["path"], "/tmp");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// The JSON of `value`.
    ///
    /// # Errors
    ///
    /// When `value` cannot be written as JSON, for example a map with keys that are no strings.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<RawJson, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(RawJson)
    }

    /// The text, if it is JSON.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn from_text(text: &str) -> Result<RawJson, serde_json::Error> {
        serde_json::from_str(text).map(RawJson)
    }

    /// `{}`.
    #[must_use]
    pub fn empty_object() -> RawJson {
        serde_json::from_str("{}").map_or_else(|_| RawJson::null(), RawJson)
    }

    /// Reads null like a member that is not there, which stands for `{}`.
    pub(super) fn or_empty_object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RawJson, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or_else(RawJson::empty_object))
    }

    /// `null`.
    #[must_use]
    pub fn null() -> RawJson {
        RawJson(ToOwned::to_owned(RawValue::NULL))
    }

    /// Whether a member of this value says nothing (D2).
    pub(super) fn is_nothing(value: &Option<RawJson>) -> bool {
        value.as_ref().is_none_or(|value| value.text() == "null")
    }

    /// The JSON text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Reads the text as a `T`.
    ///
    /// # Errors
    ///
    /// When it has another shape.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &RawJson) -> bool {
        self.text() == other.text()
    }
}

/// The length only: it may hold secrets.
impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.text().len())
    }
}
