//! `ngx.shared.DICT`: the methods of shared dictionaries, as lua-resty-core has them.

use crate::clock;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Kind;
use crate::lua::ffi::value::Light;
use crate::lua::ffi::value::Owned;
use crate::lua::ffi::value::Value;
use crate::lua::vm::Vm;
use crate::shdict::Dict;
use crate::shdict::End;
use crate::shdict::Error;
use crate::shdict::Item;
use crate::shdict::Op;
use std::ffi::c_int;
use std::sync::Arc;

functions! {
    /// Methods of each dictionary.
    pub METHODS "native.shared" {
        get: ANY => get,
        get_stale: ANY => get_stale,
        set: ANY => set,
        safe_set: ANY => safe_set,
        add: ANY => add,
        safe_add: ANY => safe_add,
        replace: ANY => replace,
        delete: ANY => delete,
        incr: ANY => incr,
        lpush: ANY => lpush,
        rpush: ANY => rpush,
        lpop: ANY => lpop,
        rpop: ANY => rpop,
        llen: ANY => llen,
        ttl: ANY => ttl,
        expire: ANY => expire,
        flush_all: ANY => flush_all,
        flush_expired: ANY => flush_expired,
        get_keys: ANY => get_keys,
        capacity: ANY => capacity,
        free_space: ANY => free_space,
    }
}

/// Fills `ngx.shared` with the VM's dictionaries; `methods` becomes their metatable.
pub fn fill(vm: &Vm, shared: &Table<'_>, methods: &Table<'_>) {
    methods.set("__index", methods);
    for (name, dict) in vm.options().dicts.iter() {
        let object = shared.stack().new_table(1, 0);
        object.set_index(1, Light(address(dict)));
        object.set_metatable(methods);
        shared.set(name, &object);
    }
}

fn address(dict: &Arc<Dict>) -> usize {
    Arc::as_ptr(dict) as usize
}

/// The dictionary that the method is called on.
///
/// # Errors
/// `bad "zone" argument`.
fn zone<'a>(call: &Call<'a>) -> Result<&'a Dict, ApiError> {
    let wrong = || ApiError::from("bad \"zone\" argument");
    let Value::Table(object) = call.value(1) else { return Err(wrong()) };
    let Value::Light(at) = object.get(1) else { return Err(wrong()) };
    let mut dicts = call.vm().options().dicts.iter();
    dicts.find(|(_, dict)| address(dict) == at).map(|(_, dict)| &**dict).ok_or_else(wrong)
}

/// The key, through `tostring` if it is not a string; `None` for nil.
///
/// # Errors
/// Whatever `__tostring` raises.
fn key<'a>(call: &Call<'a>) -> Result<Option<&'a [u8]>, ApiError> {
    if call.is_none(2) { Ok(None) } else { call.tostring(2).map(Some) }
}

fn nil_key(call: &Call<'_>) -> ApiResult {
    call.reply((None::<bool>, "nil key"))
}

fn failed(call: &Call<'_>, error: Error) -> ApiResult {
    call.reply((None::<bool>, error.to_string()))
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

/// A value copied out of the dictionary: nothing of Lua runs under its lock.
fn owned(value: crate::shdict::Value<'_>) -> Owned {
    match value {
        crate::shdict::Value::Text(text) => Owned::Bytes(text.to_vec()),
        crate::shdict::Value::Number(number) => Owned::Number(number),
        crate::shdict::Value::Boolean(value) => Owned::Boolean(value),
    }
}

fn get(call: &Call<'_>) -> ApiResult {
    let dict = zone(call)?;
    let Some(key) = key(call)? else { return nil_key(call) };
    let found = dict.get_with(key, clock::cached_ms(), |value, flags| (owned(value), flags));
    match found {
        Ok(Some((value, 0))) => call.reply(value),
        Ok(Some((value, flags))) => call.reply((value, flags)),
        Ok(None) => call.reply(None::<bool>),
        Err(error) => failed(call, error),
    }
}

fn get_stale(call: &Call<'_>) -> ApiResult {
    let dict = zone(call)?;
    let Some(key) = key(call)? else { return nil_key(call) };
    let read = |value: crate::shdict::Value<'_>, flags, stale| (owned(value), flags, stale);
    match dict.get_stale_with(key, clock::cached_ms(), read) {
        Ok(Some((value, flags, stale))) => {
            call.reply((value, (flags != 0).then_some(flags), stale))
        }
        Ok(None) => call.reply(None::<bool>),
        Err(error) => failed(call, error),
    }
}

fn set(call: &Call<'_>) -> ApiResult {
    store(call, Op::Set)
}

fn safe_set(call: &Call<'_>) -> ApiResult {
    store(call, Op::SafeSet)
}

fn add(call: &Call<'_>) -> ApiResult {
    store(call, Op::Add)
}

fn safe_add(call: &Call<'_>) -> ApiResult {
    store(call, Op::SafeAdd)
}

fn replace(call: &Call<'_>) -> ApiResult {
    store(call, Op::Replace)
}

/// `dict:op(key, value, exptime, flags)`.
fn store(call: &Call<'_>, op: Op) -> ApiResult {
    let dict = zone(call)?;
    let ttl_ms = match call.value(4) {
        Value::Nil | Value::Boolean(false) => 0,
        _ => match call.number(4)? {
            seconds if seconds < 0.0 => return Err("bad \"exptime\" argument".into()),
            seconds => milliseconds(seconds),
        },
    };
    let flags = call.opt_number(5)?.unwrap_or(0.0) as i64 as u32;
    let Some(key) = key(call)? else { return nil_key(call) };
    if let Err(error @ (Error::EmptyKey | Error::KeyTooLong)) = crate::shdict::check_key(key) {
        return failed(call, error);
    }
    let value = match call.value(3) {
        Value::Nil => None,
        Value::Bytes(text) => Some(crate::shdict::Value::Text(text)),
        Value::Number(number) => Some(crate::shdict::Value::Number(number)),
        Value::Boolean(value) => Some(crate::shdict::Value::Boolean(value)),
        _ => return call.reply((None::<bool>, "bad value type")),
    };
    put(call, dict, op, (key, value), ttl_ms, flags)
}

fn put(
    call: &Call<'_>,
    dict: &Dict,
    op: Op,
    (key, value): (&[u8], Option<crate::shdict::Value<'_>>),
    ttl_ms: u64,
    flags: u32,
) -> ApiResult {
    let (result, forcible) = dict.store(op, key, value, ttl_ms, flags, clock::cached_ms());
    match result {
        Ok(()) => call.reply((true, None::<bool>, forcible)),
        Err(error) => call.reply((false, error.to_string(), forcible)),
    }
}

fn delete(call: &Call<'_>) -> ApiResult {
    let dict = zone(call)?;
    let Some(key) = key(call)? else { return nil_key(call) };
    if let Err(error) = crate::shdict::check_key(key) {
        return failed(call, error);
    }
    put(call, dict, Op::Set, (key, None), 0, 0)
}

/// A number, or what `tonumber` makes of it.
///
/// # Errors
/// `bad NAME arg: number expected, got …`.
fn number(call: &Call<'_>, index: c_int, name: &str) -> Result<f64, ApiError> {
    call.number(index).map_err(|_| {
        let got = call.kind(index).name();
        format!("bad {name} arg: number expected, got {got}").into()
    })
}

/// `dict:incr(key, value, init, init_ttl)`.
fn incr(call: &Call<'_>) -> ApiResult {
    let dict = zone(call)?;
    let Some(key) = key(call)? else { return nil_key(call) };
    let step = call.number(3)?;
    let init = match call.value(4) {
        Value::Nil | Value::Boolean(false) => None,
        _ => Some(number(call, 4, "init")?),
    };
    let mut ttl_ms = 0;
    if !call.is_none(5) {
        let seconds = number(call, 5, "init_ttl")?;
        if seconds < 0.0 {
            return Err("bad \"init_ttl\" argument".into());
        }
        if init.is_none() {
            return Err("must provide \"init\" when providing \"init_ttl\"".into());
        }
        ttl_ms = milliseconds(seconds);
    }
    match dict.incr(key, step, init.map(|init| (init, ttl_ms)), clock::cached_ms()) {
        Ok((value, _)) if init.is_none() => call.reply(value),
        Ok((value, forcible)) => call.reply((value, None::<bool>, forcible)),
        Err(error) => failed(call, error),
    }
}

fn lpush(call: &Call<'_>) -> ApiResult {
    push(call, End::Left)
}

fn rpush(call: &Call<'_>) -> ApiResult {
    push(call, End::Right)
}

/// # Errors
/// Another number of arguments.
fn expect(call: &Call<'_>, count: usize) -> Result<(), ApiError> {
    let given = call.count();
    if given == count {
        return Ok(());
    }
    Err(format!("expecting {count} arguments, but only seen {given}").into())
}

fn push(call: &Call<'_>, end: End) -> ApiResult {
    expect(call, 3)?;
    let dict = zone(call)?;
    let Some(key) = key(call)? else { return nil_key(call) };
    let item = match call.value(3) {
        Value::Bytes(text) => Item::Text(text.into()),
        Value::Number(number) => Item::Number(number),
        _ => return call.reply((None::<bool>, "bad value type")),
    };
    match dict.push(key, end, item, clock::cached_ms()) {
        Ok(length) => call.reply(length),
        Err(error @ Error::NoMemoryForList) => call.reply((false, error.to_string())),
        Err(error) => failed(call, error),
    }
}

fn lpop(call: &Call<'_>) -> ApiResult {
    pop(call, End::Left)
}

fn rpop(call: &Call<'_>) -> ApiResult {
    pop(call, End::Right)
}

fn pop(call: &Call<'_>, end: End) -> ApiResult {
    expect(call, 2)?;
    let dict = zone(call)?;
    let Some(key) = key(call)? else { return nil_key(call) };
    match dict.pop(key, end, clock::cached_ms()) {
        Ok(Some(Item::Text(text))) => call.reply(&*text),
        Ok(Some(Item::Number(number))) => call.reply(number),
        Ok(None) => call.reply(None::<bool>),
        Err(error) => failed(call, error),
    }
}

fn llen(call: &Call<'_>) -> ApiResult {
    expect(call, 2)?;
    let dict = zone(call)?;
    let Some(key) = key(call)? else { return nil_key(call) };
    match dict.list_len(key, clock::cached_ms()) {
        Ok(length) => call.reply(length),
        Err(error) => failed(call, error),
    }
}

fn ttl(call: &Call<'_>) -> ApiResult {
    let dict = zone(call)?;
    let Some(key) = key(call)? else { return nil_key(call) };
    match dict.ttl_ms(key, clock::cached_ms()) {
        Ok(ms) => call.reply(ms as f64 / 1000.0),
        Err(error) => failed(call, error),
    }
}

fn expire(call: &Call<'_>) -> ApiResult {
    let dict = zone(call)?;
    let seconds = match call.value(3) {
        Value::Nil | Value::Boolean(false) => return Err("bad \"exptime\" argument".into()),
        _ => call.number(3)?,
    };
    let Some(key) = key(call)? else { return nil_key(call) };
    match dict.expire(key, milliseconds(seconds), clock::cached_ms()) {
        Ok(()) => call.reply(true),
        Err(error) => failed(call, error),
    }
}

fn flush_all(call: &Call<'_>) -> ApiResult {
    zone(call)?.flush_all(clock::cached_ms());
    call.reply(())
}

fn flush_expired(call: &Call<'_>) -> ApiResult {
    let dict = zone(call)?;
    let max = if call.kind(2) == Kind::Number { call.number(2)? as usize } else { 0 };
    call.reply(dict.flush_expired(max, clock::cached_ms()))
}

fn get_keys(call: &Call<'_>) -> ApiResult {
    const DEFAULT_MAX: usize = 1024;
    let dict = zone(call)?;
    let max = if call.is_none(2) { DEFAULT_MAX } else { call.number(2)? as usize };
    let keys = dict.keys(max, clock::cached_ms());
    call.reply(Owned::Array(keys.into_iter().map(|key| Owned::Bytes(key.into())).collect()))
}

fn capacity(call: &Call<'_>) -> ApiResult {
    call.reply(zone(call)?.capacity())
}

fn free_space(call: &Call<'_>) -> ApiResult {
    call.reply(zone(call)?.free_space())
}

#[cfg(test)]
mod tests;
