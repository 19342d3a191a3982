//! The client: what it does with a connection, and TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod demo;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use demo::{LONG, Runtime, client};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

#[test]
fn a_script_is_carried_out_over_a_cut_connection() {
    let runtime = Runtime::start(&[]);
    let (code, events) =
        client(&[&runtime.url(), "--do", "submit echo 1", "--do", "drop", "--do", "submit echo 2", "--do", "wait"]);
    assert_eq!(code, Some(0), "{events:?}");
    let results: Vec<_> =
        events.iter().filter(|event| event["ev"] == "finished").map(|event| &event["result"]).collect();
    assert_eq!(results, [&json!(1), &json!(2)]);
    assert_eq!(events.iter().filter(|event| event["ev"] == "resumed").count(), 1);
}

/// A runtime of one's own: what it does with the first connection.
fn with_runtime(
    script: &[&str],
    serve: impl FnOnce(WebSocket<TcpStream>) + Send + 'static,
) -> (Option<i32>, Vec<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        serve(tungstenite::accept(stream).unwrap());
    });
    let mut arguments = vec![url.as_str()];
    arguments.extend(script.iter().flat_map(|command| ["--do", command]));
    let ended = client(&arguments);
    serving.join().unwrap();
    ended
}

fn welcome(socket: &mut WebSocket<TcpStream>) {
    let hello: Value = serde_json::from_str(&socket.read().unwrap().into_text().unwrap()).unwrap();
    assert_eq!(hello["type"], "session.hello");
    let welcome = json!({"arcp": "1.1", "id": "msg_1", "type": "session.welcome", "session_id": "sess_1", "payload": {
        "runtime": {"name": "test", "version": "1.0.0"},
        "resume_token": "rt_1",
        "resume_window_sec": 1,
        "capabilities": {"encodings": ["json"], "features": [], "agents": []},
    }});
    socket.send(Message::text(welcome.to_string())).unwrap();
}

/// The code by which the client closes.
fn close_code(socket: &mut WebSocket<TcpStream>) -> CloseCode {
    loop {
        if let Message::Close(frame) = socket.read().unwrap() {
            return frame.unwrap().code;
        }
    }
}

#[test]
fn d38_a_binary_message_is_closed_with_1003() {
    let (_, events) = with_runtime(&["sleep 60000"], |mut socket| {
        welcome(&mut socket);
        socket.send(Message::binary(&b"{}"[..])).unwrap();
        assert_eq!(close_code(&mut socket), CloseCode::Unsupported);
    });
    assert!(events.iter().any(|event| event["ev"] == "detached"), "{events:?}");
}

#[test]
fn d38_a_message_over_the_limit_is_closed_with_1009() {
    with_runtime(&["sleep 60000"], |mut socket| {
        welcome(&mut socket);
        socket.send(Message::text(" ".repeat((1 << 20) + 1))).unwrap();
        assert_eq!(close_code(&mut socket), CloseCode::Size);
    });
}

#[test]
fn a_drop_cuts_the_connection_and_a_goodbye_closes_it() {
    with_runtime(&["drop"], |mut socket| {
        welcome(&mut socket);
        let cut = socket.read();
        assert!(!matches!(cut, Ok(_) | Err(Error::ConnectionClosed)), "{cut:?}");
    });
    let (code, _) = with_runtime(&["bye"], |mut socket| {
        welcome(&mut socket);
        let bye: Value = serde_json::from_str(&socket.read().unwrap().into_text().unwrap()).unwrap();
        assert_eq!(bye["type"], "session.bye");
        let closed =
            json!({"arcp": "1.1", "id": "msg_2", "type": "session.closed", "session_id": "sess_1", "payload": {}});
        socket.send(Message::text(closed.to_string())).unwrap();
        assert_eq!(close_code(&mut socket), CloseCode::Normal);
    });
    assert_eq!(code, Some(0));
}

/// Ends TLS in front of a runtime, as a deployment's proxy does; gives its port. It lives as long as the test does.
fn proxy(runtime: &Runtime, certified: &CertifiedKey<rcgen::KeyPair>) -> u16 {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, behind) = (listener.local_addr().unwrap().port(), runtime.port);
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // Whoever does not trust us goes.
                    let Ok(mut front) = acceptor.accept(stream).await else { return };
                    let mut back = tokio::net::TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut front, &mut back).await;
                });
            }
        });
    });
    port
}

#[test]
fn wss_goes_through_a_proxy_that_ends_tls() {
    let runtime = Runtime::start(&[]);
    let certified = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut ca, certified.cert.pem().as_bytes()).unwrap();
    let url = format!("wss://localhost:{}/arcp", proxy(&runtime, &certified));
    let ca = ca.path().to_str().unwrap();

    let (code, events) =
        client(&[&url, "--ca", ca, "--do", "submit echo \"sealed\"", "--do", "drop", "--do", "wait", "--do", "bye"]);
    assert_eq!(code, Some(0), "{events:?}");
    assert!(events.iter().any(|event| event["result"] == "sealed"), "{events:?}");
    assert!(events.iter().any(|event| event["ev"] == "resumed"), "{events:?}");

    // Nobody vouches for it otherwise, and not under another name.
    let other_name = url.replace("localhost", "127.0.0.1");
    for arguments in [&[url.as_str(), "--do", "bye"][..], &[&other_name, "--ca", ca, "--do", "bye"]] {
        let (code, events) = client(arguments);
        assert_eq!(code, Some(1), "{events:?}");
        assert!(events[0]["message"].as_str().unwrap().contains("certificate"), "{events:?}");
    }
}
