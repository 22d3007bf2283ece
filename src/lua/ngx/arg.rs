//! `ngx.arg`, and the synchronous entries of the phases that read it: `set_by_lua*` and
//! `body_filter_by_lua*`.

use crate::lua::chunk::Handler;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::balancer::BalancerTurn;
use crate::lua::ngx::client::BAD_CONTEXT;
use crate::lua::ngx::client::client;
use crate::lua::ngx::client::only_in;
use crate::lua::ngx::output::append_table;
use crate::lua::ngx::state;
use crate::lua::outcome::Failure;
use crate::lua::phase::Phase;
use crate::lua::phase::Phases;
use crate::lua::run::SyncEnd;
use crate::lua::vm::Vm;
use crate::request::Request;
use bytes::Bytes;
use std::rc::Rc;

functions! {
    /// The metamethods of `ngx.arg`.
    pub NATIVE "native.arg" {
        get: ANY => get,
        set: ANY => set,
    }
}

/// What the running synchronous phase works on.
#[derive(Debug, Default)]
pub enum Turn {
    /// Nothing of the kind.
    #[default]
    None,
    /// The arguments of `set_by_lua*`.
    Set(Vec<Bytes>),
    /// A chunk of the response.
    Body(BodyFilterChunk),
    /// A choice of a peer.
    Balancer(Box<BalancerTurn>),
}

/// What `body_filter_by_lua*` reads and writes as `ngx.arg[1]` and `ngx.arg[2]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyFilterChunk {
    /// The bytes.
    pub bytes: Bytes,
    /// No chunk follows.
    pub last: bool,
}

impl Vm {
    /// Runs `handler` as `body_filter_by_lua*` over a chunk of the response; gives what it made of
    /// chunk and end.
    ///
    /// # Errors
    /// An error that the script did not catch.
    pub fn filter_body(
        &self,
        handler: &Handler,
        request: &Rc<Request>,
        chunk: Bytes,
        last: bool,
    ) -> Result<(Bytes, bool), Failure> {
        let turn = Turn::Body(BodyFilterChunk { bytes: chunk, last });
        match self.take_turn(handler, request, Phase::BodyFilter, turn)? {
            (_, Turn::Body(chunk)) => Ok((chunk.bytes, chunk.last)),
            _ => Ok((Bytes::new(), last)),
        }
    }

    /// Runs `handler` as `set_by_lua*` with `args` as `ngx.arg`; gives what it returned, nothing
    /// being an empty text as there.
    ///
    /// # Errors
    /// An error that the script did not catch.
    pub fn set_by_lua(
        &self,
        handler: &Handler,
        request: &Rc<Request>,
        args: Vec<Bytes>,
    ) -> Result<Option<Bytes>, Failure> {
        let (end, _) = self.take_turn(handler, request, Phase::Set, Turn::Set(args))?;
        Ok(Some(end.value.map(Bytes::from).unwrap_or_default()))
    }

    /// Runs `handler` as `balancer_by_lua*`, which chooses by what it writes into `turn`.
    ///
    /// # Errors
    /// An error that the script did not catch.
    pub fn balance(
        &self,
        handler: &Handler,
        request: &Rc<Request>,
        turn: &mut BalancerTurn,
    ) -> Result<SyncEnd, Failure> {
        let given = Turn::Balancer(Box::new(std::mem::take(turn)));
        let (end, given) = self.take_turn(handler, request, Phase::Balancer, given)?;
        if let Turn::Balancer(given) = given {
            *turn = *given;
        }
        Ok(end)
    }

    /// Takes the `ngx.ctx` of `request` away: an internal redirect begins with a new one.
    pub fn forget_context(&self, request: &Rc<Request>) {
        state::forget_ctx(request);
    }

    /// Runs `handler` on `turn`, nested in whatever runs; gives it back as the script left it.
    fn take_turn(
        &self,
        handler: &Handler,
        request: &Rc<Request>,
        phase: Phase,
        turn: Turn,
    ) -> Result<(SyncEnd, Turn), Failure> {
        let outer = self.api().turn.replace(turn);
        let result = self.call_sync(handler, Some(Rc::clone(request)), phase);
        let turn = self.api().turn.replace(outer);
        result.map(|end| (end, turn))
    }
}

fn get(call: &Call<'_>) -> ApiResult {
    client(call)?;
    let index = match call.value(2) {
        Value::Number(number) => number as i64,
        _ => 0,
    };
    let turn = call.vm().api().turn.borrow();
    match (call.vm().phase(), &*turn) {
        (Phase::Set, Turn::Set(args)) => {
            let place = usize::try_from(index).ok().and_then(|it| it.checked_sub(1));
            let value = place.and_then(|it| args.get(it)).filter(|it| !it.is_empty());
            call.reply(value.cloned())
        }
        (Phase::BodyFilter, Turn::Body(chunk)) => match index {
            1 => call.reply(chunk.bytes.clone()),
            2 => call.reply(chunk.last),
            _ => call.reply(None::<bool>),
        },
        _ => Err(BAD_CONTEXT.into()),
    }
}

fn set(call: &Call<'_>) -> ApiResult {
    only_in(call, Phases::of(&[Phase::BodyFilter]))?;
    let index = call.integer(2)?;
    let mut bytes = Vec::new();
    match (index, call.value(3)) {
        (2, _) | (1, Value::Nil) => {}
        (1, Value::Bytes(text)) => bytes.extend_from_slice(text),
        (1, Value::Number(number)) => call.stack().append_number(number, &mut bytes),
        (1, Value::Table(table)) => {
            append_table(&table, true, 0, &mut bytes).map_err(|text| ApiError::argument(3, text))?
        }
        (1, other) => {
            return Err(format!("bad chunk data type: {}", other.kind().name()).into());
        }
        _ => return Err(format!("bad index: {index}").into()),
    }
    if let Turn::Body(chunk) = &mut *call.vm().api().turn.borrow_mut() {
        match index {
            2 => chunk.last = call.boolean(3),
            _ => chunk.bytes = bytes.into(),
        }
    }
    call.reply(())
}
