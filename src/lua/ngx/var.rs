//! `ngx.var`.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::client::client;
use crate::lua::ngx::client::text_of;
use crate::lua::ngx::names::Name;
use crate::lua::ngx::state::of_request;
use crate::lua::vm::Vm;
use crate::request::Request;
use crate::snapshot::location::Content;
use crate::snapshot::proxy_target::TargetKind;
use crate::vars::Source;
use crate::vars::Var;
use bytes::Bytes;

functions! {
    /// The metamethods of `ngx.var`.
    pub NATIVE "native.var" {
        get: ANY => get,
        set: ANY => set,
    }
}

/// Request headers with a variable of their own in nginx: they can be named for writing, which
/// then is refused with other words.
const KNOWN_HTTP: [&[u8]; 6] =
    [b"host", b"user_agent", b"referer", b"via", b"x_forwarded_for", b"cookie"];
/// The same of response headers.
const KNOWN_SENT: [&[u8]; 9] = [
    b"content_type",
    b"content_length",
    b"location",
    b"last_modified",
    b"connection",
    b"keep_alive",
    b"transfer_encoding",
    b"cache_control",
    b"link",
];
/// A value longer than this takes its buffer with it.
const MAX_SCRATCH: usize = 64 * 1024;

fn get(call: &Call<'_>) -> ApiResult {
    let request = client(call)?;
    match call.value(2) {
        Value::Number(number) => call.reply(capture(&request, number)),
        Value::Bytes(_) => {
            let name = call.vm().api().names.resolve(call, 2, &request);
            read(call, &request, &name)
        }
        _ => Err("bad variable name".into()),
    }
}

/// `ngx.var[n]`: a group that took no part is empty, one beyond the last that did is nil.
fn capture(request: &Request, number: f64) -> Option<Bytes> {
    let number = usize::try_from(number as i64).ok().filter(|it| *it > 0)?;
    let captures = request.captures.borrow();
    let last = captures.groups.iter().rposition(Option::is_some)?;
    (number <= last).then(|| captures.group(number).unwrap_or_default())
}

fn read(call: &Call<'_>, request: &Request, name: &Name) -> ApiResult {
    match &name.var {
        None => call.reply(None::<bool>),
        Some(var @ Var::Slot(slot)) => {
            let value = read_slot(call, request, name, *slot);
            if request.is_traced() {
                request.note_read(var, value.as_deref());
            }
            call.reply(value)
        }
        Some(var) => {
            let scratch = &call.vm().api().scratch;
            let mut value = scratch.take();
            value.clear();
            let found = request.append(var, &mut value);
            let reply = call.reply(found.then_some(value.as_slice()));
            if value.capacity() <= MAX_SCRATCH {
                scratch.set(value);
            }
            reply
        }
    }
}

/// Appends the value of the variable whose name is the string at `address`, and says whether it has
/// one; `None` where the function must be called.
pub fn read_known(vm: &Vm, request: &Request, address: usize, value: &mut Vec<u8>) -> Option<bool> {
    if request.is_traced() {
        return None;
    }
    let name = vm.api().names.known(address, request)?;
    match &name.var {
        None => Some(false),
        Some(Var::Slot(slot)) => {
            value.extend_from_slice(&request.slot(*slot)?);
            Some(true)
        }
        Some(var) => Some(request.append(var, value)),
    }
}

/// Assigns the declared variable whose name is the string at `address`; `false` where the function
/// must be called.
pub fn write_known(vm: &Vm, request: &Request, address: usize, value: &[u8]) -> bool {
    let Some(name) = vm.api().names.known(address, request) else { return false };
    let Some(var @ Var::Slot(slot)) = &name.var else { return false };
    if is_proxied_to(request, var) {
        return false;
    }
    note_unset(vm, request, *slot, false);
    request.assign(var, Some(Bytes::copy_from_slice(value))).is_ok()
}

/// A declared variable that nothing has set yet is empty, and nginx warns once.
fn read_slot(call: &Call<'_>, request: &Request, name: &Name, slot: u16) -> Option<Bytes> {
    if let Some(value) = request.slot(slot) {
        return Some(value);
    }
    if of_request(call.vm(), request, |state| state.unset.contains(&slot)) {
        return None;
    }
    request.warn_unset(&String::from_utf8_lossy(&name.text));
    request.set_slot(slot, Some(Bytes::new()));
    Some(Bytes::new())
}

fn set(call: &Call<'_>) -> ApiResult {
    let request = client(call)?;
    let Value::Bytes(_) = call.value(2) else { return Err("bad variable name".into()) };
    let name = call.vm().api().names.resolve(call, 2, &request);
    let value = match call.is_none(3) {
        true => None,
        false => Some(Bytes::copy_from_slice(text_of(call, 3)?)),
    };
    let var = writable(&name)?;
    if let Var::Slot(slot) = var {
        note_unset(call.vm(), &request, *slot, value.is_none());
    }
    request.assign(var, value).map_err(|_| not_changeable(&name))?;
    if is_proxied_to(&request, var) {
        let at = call.location();
        let at = String::from_utf8_lossy(&at).trim_end_matches(": ").into();
        request.decision.borrow_mut().source = Some(at);
    }
    call.reply(())
}

/// What `name` denotes, if a script may assign it.
fn writable(name: &Name) -> Result<&Var, ApiError> {
    match &name.var {
        Some(Var::Builtin(builtin)) if !builtin.is_writable() => Err(not_changeable(name)),
        Some(Var::Http(header)) if KNOWN_HTTP.contains(&&**header) => Err(not_changeable(name)),
        Some(Var::SentHttp(header)) if KNOWN_SENT.contains(&&**header) => Err(not_changeable(name)),
        Some(
            var @ (Var::Builtin(_) | Var::Slot(_) | Var::Map(..) | Var::Geo(..) | Var::Split(..)),
        ) => Ok(var),
        _ => Err(not_found(name)),
    }
}

fn not_changeable(name: &Name) -> ApiError {
    let name = &*name.text;
    [b"variable \"", name, b"\" not changeable"].concat().into()
}

fn not_found(name: &Name) -> ApiError {
    let name = &*name.text;
    let mut text = [
        b"variable \"",
        name,
        b"\" not found for writing; maybe it is a built-in variable that is not changeable or you \
          forgot to use \"set $",
        name,
        b" '';\" in the config file to define it first",
    ]
    .concat();
    // The buffer that lua-resty-core gives for the message.
    text.truncate(256);
    text.into()
}

fn note_unset(vm: &Vm, request: &Request, slot: u16, is_nil: bool) {
    if !is_nil && request.lua.borrow().is_none() {
        return;
    }
    of_request(vm, request, |state| {
        state.unset.retain(|it| *it != slot);
        if is_nil {
            state.unset.push(slot);
        }
    });
}

/// Whether the location's `proxy_pass` reads `var`.
fn is_proxied_to(request: &Request, var: &Var) -> bool {
    let Content::Proxy(target) = &request.location().content else { return false };
    match &target.kind {
        TargetKind::Variable(template) => template.variables().any(|it| it == var),
        TargetKind::Static { .. } | TargetKind::Rollout { .. } => false,
    }
}
