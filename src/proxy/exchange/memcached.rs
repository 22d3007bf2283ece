//! One try at a memcached: the same connections, another protocol.

use super::{Exchange, Failed};
use crate::http::h1::response_head::ReceivedHead;
use crate::http::memcached::{Command, Reply};
use bytes::Buf;

/// What a memcached was asked, and with what flags it answered.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Asked {
    pub command: Command,
    /// The key as it is sent.
    pub key: Box<[u8]>,
    /// The flags of the value that came.
    pub flags: Option<Box<[u8]>>,
}

impl Exchange {
    /// The peer is a memcached, which is asked this.
    pub fn ask_memcached(&mut self, asked: Asked) {
        self.memcached = Some(Box::new(asked));
    }

    /// What the memcached was asked, if it is one.
    pub fn asked(&self) -> Option<&Asked> {
        self.memcached.as_deref()
    }

    /// Takes the begin of a reply, as a head without fields.
    pub(super) fn take_reply(&mut self, limit: usize) -> Result<Option<ReceivedHead>, Failed> {
        let Some(asked) = &self.memcached else { return Ok(None) };
        let read = Reply::read(asked.command, &asked.key, &self.connection.input, limit);
        let Some(reply) = read.map_err(|error| self.invalid(&error))? else { return Ok(None) };
        if let Some(asked) = &mut self.memcached {
            asked.flags = reply.flags;
        }
        self.connection.input.advance(reply.head);
        self.heads += reply.head as u64;
        let mut head = ReceivedHead::default();
        head.status = reply.status;
        head.content_length = Some(reply.body);
        Ok(Some(head))
    }
}
