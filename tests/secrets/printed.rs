//! What was printed, searched for secrets in every form in which they could stand there.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::{Debug, Display};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// Collects what was printed, and of which types.
#[derive(Default)]
pub(crate) struct Printed {
    needles: Vec<(String, String)>,
    pub(crate) types: BTreeSet<String>,
}

fn listed(bytes: &[u8]) -> String {
    bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Printed {
    /// Must not be in anything that is shown from here on; nor must its digest.
    pub(crate) fn hide(&mut self, secret: &str) {
        let digest = Sha256::digest(secret.as_bytes());
        let forms = [
            ("itself", secret.to_owned()),
            ("escaped", secret.escape_debug().to_string()),
            ("in bytes", listed(secret.as_bytes())),
            ("in hex", hex(secret.as_bytes())),
            ("its digest, in bytes", listed(&digest)),
            ("its digest, in hex", hex(&digest)),
        ];
        self.needles.extend(forms.map(|(form, needle)| (form.to_owned(), needle)));
        // Wherever among other bytes it begins: by whole groups of three.
        for skip in 0..3 {
            let inner = &secret.as_bytes()[skip..];
            let whole = &inner[..inner.len() / 3 * 3];
            self.needles.push(("in base64".to_owned(), STANDARD.encode(whole)));
        }
    }

    /// How a secret is found, if it is.
    pub(crate) fn found_in(&self, text: &str) -> Option<&str> {
        let lower = text.to_lowercase();
        let packed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let is_in = |needle: &str| [text, &lower, &packed].iter().any(|text| text.contains(needle));
        self.needles.iter().find(|(_, needle)| is_in(needle)).map(|(form, _)| form.as_str())
    }

    #[track_caller]
    fn search(&self, what: &str, text: &str) {
        if let Some(form) = self.found_in(text) {
            panic!("{what} prints a secret ({form}): {text}");
        }
    }

    #[track_caller]
    pub(crate) fn debug<T: Debug + ?Sized>(&mut self, value: &T) {
        let what = std::any::type_name::<T>();
        let name = what.split('<').next().unwrap_or(what).rsplit("::").next().unwrap_or(what);
        self.types.insert(name.to_owned());
        self.search(what, &format!("{value:?}"));
        self.search(what, &format!("{value:#?}"));
    }

    #[track_caller]
    pub(crate) fn display<T: Debug + Display + ?Sized>(&mut self, value: &T) {
        self.debug(value);
        self.search(std::any::type_name::<T>(), &value.to_string());
    }

    /// An error, and all that is behind it.
    #[track_caller]
    pub(crate) fn error<T: Error>(&mut self, error: &T) {
        self.display(error);
        let mut source = error.source();
        while let Some(error) = source {
            self.search("a source", &format!("{error} {error:?} {error:#?}"));
            source = error.source();
        }
    }
}

#[test]
fn every_form_is_found() {
    let mut printed = Printed::default();
    printed.hide("hunter2-\"secret\"");
    let secret = "hunter2-\"secret\"";
    for text in [
        secret.to_owned(),
        format!("{secret:?}"),
        format!("{:?}", bytes::Bytes::from_static(secret.as_bytes())),
        format!("{:#?}", secret.as_bytes()),
        STANDARD.encode(secret),
        STANDARD.encode(format!("x{secret}xx")),
        format!("{:?}", Sha256::digest(secret).as_slice()),
        hex(secret.as_bytes()).to_uppercase(),
    ] {
        assert!(printed.found_in(&text).is_some(), "{text}");
    }
    assert_eq!(printed.found_in("ResumeToken(***)"), None);
}
