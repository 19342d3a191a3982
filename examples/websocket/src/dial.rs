//! From an address to a WebSocket: TCP, TLS where it is `wss://`, and the upgrade.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::http::uri::PathAndQuery;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::meter::Meter;
use crate::upgrade::PATH;

/// Where a runtime is.
#[derive(Clone, Debug)]
pub struct Address {
    uri: Uri,
    host: String,
    port: u16,
    is_secure: bool,
}

impl Address {
    /// `ws://HOST[:PORT][/PATH]`, or `wss://`. Without a path it is the one that ARCP has (D38).
    pub fn parse(text: &str) -> Result<Address, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        let is_secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err("expected ws://… or wss://…".to_owned()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("there is no host in it")?;
        // An IPv6 address has brackets in a URL, and nowhere else.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let mut parts = uri.into_parts();
        if parts.path_and_query.as_ref().is_none_or(|path| path == "/") {
            parts.path_and_query = Some(PathAndQuery::from_static(PATH));
        }
        let uri = Uri::from_parts(parts).map_err(|error| format!("{error}"))?;
        Ok(Address { uri, host, port, is_secure })
    }
}

/// Makes connections, one after the other, to the same place.
pub struct Dialer {
    address: Address,
    tls: TlsConnector,
    config: WebSocketConfig,
}

impl Dialer {
    /// One that trusts the usual authorities, and those in the PEM file `ca`. No message may be longer than `max_frame`.
    pub fn new(address: Address, ca: Option<&Path>, max_frame: usize) -> io::Result<Dialer> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(ca) = ca {
            let unreadable = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", ca.display()));
            for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .write_buffer_size(16 << 10)
            .max_frame_size(Some(max_frame))
            .max_message_size(Some(max_frame));
        Ok(Dialer { address, tls: TlsConnector::from(Arc::new(tls)), config })
    }

    /// Connects. How long that may take is for the caller to bound.
    pub async fn dial(&self) -> io::Result<WebSocketStream<Meter>> {
        let Address { uri, host, port, is_secure } = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        let stream = if *is_secure {
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            Meter::new(self.tls.connect(name, stream).await?)
        } else {
            Meter::new(stream)
        };
        let upgraded = client_async_with_config(uri, stream, Some(self.config)).await;
        upgraded.map(|(stream, _)| stream).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String, u16, bool) {
        let Address { uri, host, port, is_secure } = Address::parse(text).unwrap();
        (uri.to_string(), host, port, is_secure)
    }

    #[test]
    fn an_address_is_read_with_what_is_left_out() {
        let host = "localhost".to_owned();
        assert_eq!(parsed("ws://localhost:7777/arcp"), ("ws://localhost:7777/arcp".into(), host.clone(), 7777, false));
        assert_eq!(parsed("ws://localhost"), ("ws://localhost/arcp".into(), host.clone(), 80, false));
        assert_eq!(parsed("wss://localhost/"), ("wss://localhost/arcp".into(), host.clone(), 443, true));
        assert_eq!(parsed("wss://localhost/other?a=b"), ("wss://localhost/other?a=b".into(), host, 443, true));
        assert_eq!(parsed("ws://[::1]:7777"), ("ws://[::1]:7777/arcp".into(), "::1".into(), 7777, false));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["http://localhost/arcp", "localhost:7777", "ws://", "ws:///arcp", "", "ws://a b/"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
