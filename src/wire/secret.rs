//! Secrets: never printed, compared in constant time, wiped when dropped.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Zeroizing<Box<str>>);

        impl $name {
            /// Takes the secret over. What the text had of the heap is wiped, too.
            #[must_use]
            pub fn new(secret: impl Into<String>) -> $name {
                let secret = secret.into();
                if secret.len() == secret.capacity() {
                    return $name(Zeroizing::new(secret.into_boxed_str()));
                }
                // To shrink it could leave a copy behind.
                let roomy = Zeroizing::new(secret);
                $name(Zeroizing::new(Box::from(roomy.as_str())))
            }

            /// The secret itself. Whoever calls this answers for where it goes.
            #[must_use]
            pub fn reveal(&self) -> &str {
                &self.0
            }

            /// Whether there is nothing in it.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        /// In time that does not depend on where two texts of one length differ.
        impl PartialEq for $name {
            fn eq(&self, other: &$name) -> bool {
                self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
            }
        }

        impl Eq for $name {}

        impl From<&str> for $name {
            fn from(secret: &str) -> $name {
                $name::new(secret)
            }
        }

        impl From<String> for $name {
            fn from(secret: String) -> $name {
                $name::new(secret)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(***)"))
            }
        }

        /// The secret itself: this is how it gets onto the wire.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.reveal())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map($name::new)
            }
        }
    };
}

secret! {
    /// What proves, at a resume, that the client is the one that held the session (§6.3): `rt_…`, at least 128
    /// bits from a cryptographic source, rotated at every welcome (D3).
    ResumeToken
}

impl ResumeToken {
    /// The token's SHA-256: what a registry of sessions keeps in place of the token, as the key to look it up by (D3).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.reveal().as_bytes()).into()
    }
}

secret! {
    /// The bearer token of `session.hello` (§6.1).
    BearerToken
}

secret! {
    /// The value of a provisioned credential (§9.8).
    CredentialValue
}
