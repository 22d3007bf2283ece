//! Until the API has them: body filter, set_by_lua, context.

use crate::lua::chunk::Handler;
use crate::lua::outcome::Failure;
use crate::lua::vm::Vm;
use crate::request::Request;
use bytes::Bytes;
use std::rc::Rc;

/// Entries that the API will have.
pub(super) trait Pending {
    fn filter_body(
        &self,
        handler: &Handler,
        request: &Rc<Request>,
        chunk: Bytes,
        last: bool,
    ) -> Result<(Bytes, bool), Failure>;
    fn set_by_lua(
        &self,
        handler: &Handler,
        request: &Rc<Request>,
        args: Vec<Bytes>,
    ) -> Result<Option<Bytes>, Failure>;
    fn forget_context(&self, request: &Rc<Request>);
}

impl Pending for Vm {
    fn filter_body(
        &self,
        _handler: &Handler,
        _request: &Rc<Request>,
        chunk: Bytes,
        last: bool,
    ) -> Result<(Bytes, bool), Failure> {
        Ok((chunk, last))
    }
    fn set_by_lua(
        &self,
        handler: &Handler,
        request: &Rc<Request>,
        _args: Vec<Bytes>,
    ) -> Result<Option<Bytes>, Failure> {
        let phase = crate::lua::phase::Phase::Set;
        let end = self.call_sync(handler, Some(request.clone()), phase)?;
        Ok(end.value.map(Bytes::from))
    }
    fn forget_context(&self, _request: &Rc<Request>) {}
}
