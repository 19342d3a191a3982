//! The client of an emitter.

use std::sync::Arc;

use arcp_proto::wire::{Credentials, PeerInfo};
use arcp_proto::{Client, ClientConfig, ClientEvent, FeatureSet, Now, Session};
use bytes::Bytes;
use serde_json::json;

use super::{SESSION, START};

pub(crate) fn client_config() -> Arc<ClientConfig> {
    Arc::new(ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer("secret-bearer")))
}

pub(crate) fn welcome(features: &FeatureSet) -> Bytes {
    let welcome = json!({
        "id": "w", "type": "session.welcome", "session_id": SESSION,
        "payload": {
            "runtime": {"name": "my-runtime", "version": "1"}, "resume_token": "rt_1", "resume_window_sec": 600,
            "heartbeat_interval_sec": 30, "capabilities": {"encodings": ["json"], "features": features},
        },
    });
    welcome.to_string().into()
}

/// A client that was welcomed.
pub(crate) fn connected(config: Arc<ClientConfig>, welcome: Bytes) -> Session<Client> {
    let mut client = Session::connect(START, config);
    assert!(client.poll_transmit(START).is_some());
    client.handle_input(START, welcome);
    while client.poll_event().is_some() {}
    client
}

/// A client of a runtime with these features.
pub(crate) fn client(features: &FeatureSet) -> Session<Client> {
    connected(client_config(), welcome(features))
}

/// The client's part, acknowledgements included, which are given out.
pub(crate) fn take(client: &mut Session<Client>, now: Now, frame: Bytes) -> Option<Bytes> {
    client.handle_input(now, frame);
    let Some(ClientEvent::Event(delivery)) = client.poll_event() else { panic!("no event") };
    client.mark_processed(now, delivery.seq().unwrap()).unwrap();
    client.poll_transmit(now)
}
