//! A client's WebSocket, between the socket and the session.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use arcp_proto::wire::FrameFault;
use arcp_proto::{Client, Clock, Session};
use futures_util::{Sink, Stream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::decoder::close_frame;
use crate::meter::Meter;

/// So many messages are read before their events are attended to.
const READ: usize = 256;

pub struct Wire {
    socket: WebSocketStream<Meter>,
    max_frame: usize,
    /// The runtime did what WebSocket does not allow, or we do not: how it is told.
    complaint: Option<CloseFrame>,
}

impl Wire {
    pub fn new(socket: WebSocketStream<Meter>, max_frame: usize) -> Wire {
        Wire { socket, max_frame, complaint: None }
    }

    /// Sends what there is to send, as far as the socket takes it, and feeds in what comes: returns once it did either, for
    /// both may have moved the session's deadline. Dropped before that, it has lost nothing.
    pub async fn exchange(&mut self, clock: &Clock, session: &mut Session<Client>) {
        poll_fn(|cx| {
            let mut has_sent = false;
            if let Poll::Ready(Err(_)) = self.poll_send(cx, clock, session, &mut has_sent) {
                session.handle_disconnect(clock.now());
                return Poll::Ready(());
            }
            if has_sent { Poll::Ready(()) } else { self.poll_receive(cx, clock, session) }
        })
        .await;
    }

    /// Sends the last of the session, and closes with this frame, if any, or as it has to be.
    pub async fn finish(
        mut self,
        clock: &Clock,
        session: &mut Session<Client>,
        close: Option<CloseFrame>,
    ) -> Result<(), Error> {
        let Some(close) = self.complaint.take().or(close) else { return Ok(()) };
        poll_fn(|cx| self.poll_send(cx, clock, session, &mut false)).await?;
        self.socket.close(Some(close)).await?;
        // Until the runtime closes, too.
        while poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).await.transpose()?.is_some() {}
        Ok(())
    }

    /// Ready once everything is sent. What the socket does not take stays with the session, but for a message or so.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock,
        session: &mut Session<Client>,
        has_sent: &mut bool,
    ) -> Poll<Result<(), Error>> {
        let mut socket = Pin::new(&mut self.socket);
        loop {
            ready!(socket.as_mut().poll_ready(cx))?;
            let Some(message) = session.poll_transmit(clock.now()) else { break };
            *has_sent = true;
            // As a frame: a session's messages are UTF-8, and need not be searched for what is not.
            let frame = Frame::message(message, OpCode::Data(Data::Text), true);
            socket.as_mut().start_send(Message::Frame(frame))?;
        }
        socket.poll_flush(cx)
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, clock: &Clock, session: &mut Session<Client>) -> Poll<()> {
        let mut has_heard = false;
        for _ in 0..READ {
            if !session.wants_input() {
                break;
            }
            let Poll::Ready(message) = Pin::new(&mut self.socket).poll_next(cx) else {
                if self.socket.get_mut().has_read() && !has_heard {
                    session.handle_activity(clock.now());
                    has_heard = true;
                }
                break;
            };
            // WebSocket's own pings and pongs do not count as life (D21): they come from a library, or a proxy.
            self.socket.get_mut().has_read();
            match message {
                Some(Ok(Message::Text(text))) => session.handle_input(clock.now(), text.into()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Binary(_))) => {
                    let close = close_frame(CloseCode::Unsupported, "an envelope is a text message");
                    self.complain(clock, session, FrameFault::Binary, close);
                }
                Some(Err(Error::Capacity(_))) => {
                    let close =
                        close_frame(CloseCode::Size, format!("a message is longer than {} bytes", self.max_frame));
                    self.complain(clock, session, FrameFault::TooLarge { limit: self.max_frame }, close);
                }
                Some(Err(Error::Utf8(_))) => {
                    let close = close_frame(CloseCode::Invalid, "a text message is not UTF-8");
                    self.complain(clock, session, FrameFault::NotUtf8, close);
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => session.handle_disconnect(clock.now()),
            }
            has_heard = true;
            if !session.phase().is_attached() {
                break;
            }
        }
        if has_heard { Poll::Ready(()) } else { Poll::Pending }
    }

    fn complain(&mut self, clock: &Clock, session: &mut Session<Client>, fault: FrameFault, close: CloseFrame) {
        self.complaint = Some(close);
        session.handle_malformed(clock.now(), fault);
        session.handle_disconnect(clock.now());
    }
}
