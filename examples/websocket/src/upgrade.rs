//! From HTTP to WebSocket.

use tokio::net::TcpStream;
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use tokio_tungstenite::tungstenite::http::{Response as HttpResponse, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// The only path there is (D38).
pub const PATH: &str = "/arcp";

/// Answers a client's request; gives the stream back when it is one of WebSocket. `tungstenite` bounds how long a request
/// may be; how much time it takes is for the caller to bound.
///
/// # Errors
///
/// The request was none for us, or the stream broke: the client has its answer, if there is any.
pub async fn upgrade(stream: TcpStream) -> Result<TcpStream, Error> {
    let config = WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0);
    // Boxed: what it needs is needed once, and not as long as the connection lives.
    let stream = Box::pin(accept_hdr_async_with_config(stream, check, Some(config))).await?;
    // A request with anything behind it is refused, so nothing that was read is lost here.
    Ok(stream.into_inner())
}

#[expect(clippy::result_large_err, reason = "the callback's type is not ours")]
fn check(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() == PATH {
        return Ok(response);
    }
    let mut response = HttpResponse::new(None);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Err(response)
}
