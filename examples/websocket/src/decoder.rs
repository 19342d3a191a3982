//! What a client sends, taken apart: bytes in, messages out. `tungstenite` without any IO, as the session is.

use std::io::{self, Read, Write};

use arcp_proto::Limits;
use arcp_proto::wire::FrameFault;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

/// What a connection at rest holds to read into; a longer message gets what it needs.
const BUFFER: usize = 1 << 10;
/// So much of WebSocket's own answers may wait to be written. Of the pongs beyond it only the last is kept, as the RFC
/// allows (5.5.3): a client that pings and does not read costs no more.
const REPLIES: usize = 256;

/// How a client's messages end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It said goodbye to the connection.
    Closed,
    /// It sent what is no message of ours, or none of WebSocket. The endpoint has an answer to a fault; the connection is
    /// closed by this frame.
    Fault(Option<FrameFault>, CloseFrame),
}

/// What came out of some bytes.
#[derive(Debug, Default)]
pub struct Decoded {
    pub messages: Vec<Bytes>,
    /// They were part of a message, and completed none.
    pub is_partial: bool,
    pub ending: Option<Ending>,
}

/// Joins fragments, answers WebSocket's own pings and closes, and holds everybody to the limits.
pub struct Decoder {
    context: WebSocketContext,
    max_frame: usize,
    /// What there is to be sent back, by WebSocket's own rules.
    replies: Vec<u8>,
}

impl Decoder {
    pub fn new(limits: &Limits) -> Decoder {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(REPLIES)
            .max_frame_size(Some(limits.opening_frame))
            .max_message_size(Some(limits.opening_frame));
        Decoder {
            context: WebSocketContext::new(Role::Server, Some(config)),
            max_frame: limits.max_frame,
            replies: Vec::new(),
        }
    }

    /// Takes what was read. After an ending nothing may follow.
    pub fn decode(&mut self, input: &[u8]) -> Decoded {
        let mut decoded = Decoded::default();
        let mut has_control = false;
        let mut wire = Wire { input, replies: &mut self.replies };
        while decoded.ending.is_none() {
            match self.context.read(&mut wire) {
                Ok(Message::Text(text)) => {
                    decoded.messages.push(text.into());
                    // The first message of a transport is held to less than those after it (D9).
                    let limit = Some(self.max_frame);
                    self.context.set_config(|config| (config.max_frame_size, config.max_message_size) = (limit, limit));
                }
                Ok(Message::Binary(_)) => {
                    let close = close_frame(CloseCode::Unsupported, "an envelope is a text message");
                    decoded.ending = Some(Ending::Fault(Some(FrameFault::Binary), close));
                }
                Ok(Message::Close(_)) => {
                    // The reply is ready; what it cannot be written to is closed without.
                    let _ = self.context.flush(&mut wire);
                    decoded.ending = Some(Ending::Closed);
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => has_control = true,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => decoded.ending = Some(ending(&error, self.context.get_config().max_message_size)),
            }
        }
        // WebSocket's own pings and pongs do not count as life (D21): they come from a library, or a proxy, whose client
        // may long have stopped.
        decoded.is_partial = decoded.messages.is_empty() && !has_control && decoded.ending.is_none();
        decoded
    }

    /// What there is to be sent back, in whole frames; nothing, mostly.
    pub fn take_replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies)
    }

    /// The frame that closes the connection, unless the client has closed it already. What still comes is to be fed in
    /// until an ending.
    pub fn close(&mut self, frame: CloseFrame) -> Vec<u8> {
        let mut closing = self.take_replies();
        if self.context.can_write() {
            // Writing to memory does not fail.
            let _ = Frame::close(Some(frame)).format(&mut closing);
        }
        closing
    }
}

/// What an error amounts to, where messages may be so long.
fn ending(error: &Error, limit: Option<usize>) -> Ending {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Ending::Closed,
        Error::Capacity(_) => {
            let limit = limit.unwrap_or(usize::MAX);
            let close = close_frame(CloseCode::Size, format!("a message is longer than {limit} bytes"));
            Ending::Fault(Some(FrameFault::TooLarge { limit }), close)
        }
        Error::Utf8(_) => {
            let close = close_frame(CloseCode::Invalid, "a text message is not UTF-8");
            Ending::Fault(Some(FrameFault::NotUtf8), close)
        }
        _ => Ending::Fault(None, close_frame(CloseCode::Protocol, "this is not WebSocket")),
    }
}

pub fn close_frame(code: CloseCode, reason: impl Into<String>) -> CloseFrame {
    CloseFrame { code, reason: reason.into().into() }
}

/// What `tungstenite` takes for a socket.
struct Wire<'a> {
    input: &'a [u8],
    replies: &'a mut Vec<u8>,
}

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.input.read(into) }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.replies.len() >= REPLIES {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.replies.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ping of a client, with a mask that leaves its payload as it is.
    fn ping(number: u32) -> Vec<u8> {
        let mut frame = vec![0x89, 0x84, 0, 0, 0, 0];
        frame.extend_from_slice(&number.to_be_bytes());
        frame
    }

    #[test]
    fn pings_of_a_client_that_does_not_read_cost_no_more_and_the_last_is_answered() {
        let mut decoder = Decoder::new(&Limits::default());
        for number in 0..100_000 {
            let decoded = decoder.decode(&ping(number));
            assert!(decoded.ending.is_none() && !decoded.is_partial, "{decoded:?}");
            assert!(decoder.replies.len() <= 2 * REPLIES, "{}", decoder.replies.len());
        }
        let mut answers = decoder.take_replies();
        // What is kept back comes as soon as there is room for it.
        decoder.decode(&ping(100_000));
        answers.extend(decoder.take_replies());
        assert!(answers.len() <= 4 * REPLIES, "{}", answers.len());
        assert!(answers.ends_with(&100_000_u32.to_be_bytes()), "{answers:?}");
    }

    #[test]
    fn a_close_frame_goes_behind_the_pongs_and_only_once() {
        let mut decoder = Decoder::new(&Limits::default());
        for number in 0..1_000 {
            decoder.decode(&ping(number));
        }
        let closing = decoder.close(close_frame(CloseCode::Size, "x"));
        assert!(closing.ends_with(&[0x88, 3, 0x03, 0xf1, b'x']), "{closing:?}");
        // The client's part of it is understood.
        assert_eq!(decoder.decode(&[0x88, 0x80, 0, 0, 0, 0]).ending, Some(Ending::Closed));
        assert_eq!(decoder.close(close_frame(CloseCode::Size, "x")).windows(2).position(|at| at == [0x88, 3]), None);
    }
}
