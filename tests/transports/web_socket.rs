//! One message a WebSocket message.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use tungstenite::{Error, Message};

use crate::PATIENCE;
use crate::transport::{Received, Transport, at_least_a_moment, is_timeout};

pub(crate) struct WebSocket {
    socket: tungstenite::WebSocket<TcpStream>,
    /// The code by which the other side closes.
    code: Option<u16>,
}

impl WebSocket {
    pub(crate) fn connect(port: u16) -> WebSocket {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (socket, _) =
            tungstenite::client(format!("ws://127.0.0.1:{port}/arcp"), stream).expect("the connection is upgraded");
        WebSocket { socket, code: None }
    }

    pub(crate) fn send_message(&mut self, message: Message) {
        self.socket.send(message).expect("the message goes out");
    }

    /// Whatever bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).expect("bytes go out");
    }
}

impl Transport for WebSocket {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let text = str::from_utf8(message).expect("a message is text");
        match self.socket.send(Message::text(text)) {
            Ok(()) => Ok(()),
            Err(Error::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn receive(&mut self, wait: Duration) -> Received {
        self.socket.get_ref().set_read_timeout(Some(at_least_a_moment(wait))).expect("a timeout");
        match self.socket.read() {
            Ok(Message::Text(text)) => Received::Message(Bytes::from(text)),
            Ok(Message::Close(frame)) => {
                self.code = frame.map(|frame| frame.code.into());
                Received::Part
            }
            Ok(Message::Binary(_)) => panic!("a runtime sends no binary frames (D38)"),
            Ok(_) => Received::Part,
            Err(Error::Io(error)) if is_timeout(&error) => Received::Nothing,
            Err(_) => Received::End(self.code),
        }
    }
}
