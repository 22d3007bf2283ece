//! `require "moongate.rollout"`: what rollouts decide, and commands to them.
//!
//! A command is queued and followed within milliseconds; nothing here waits. What cannot be done is
//! `nil` and a text.

use super::client::client;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::function::functions;
use crate::lua::ffi::value::Value;
use crate::rollout::controller::Command;
use crate::rollout::hash::BUCKETS;
use crate::snapshot::Snapshot;
use crate::snapshot::rollout::Rollout;
use bytes::Bytes;
use std::ffi::c_int;
use std::sync::Arc;

functions! {
    /// `moongate.rollout`.
    pub NATIVE "native.rollout" {
        pick: ANY => pick,
        weight: ANY => weight,
        state: ANY => state,
        set_weight: ANY => set_weight,
        promote: ANY => promote,
        pause: ANY => pause,
        resume: ANY => resume,
        abort: ANY => abort,
    }
}

/// Why there is no result: what Lua gets behind `nil`.
type Refused = String;

fn answer<T>(call: &Call<'_>, result: Result<T, Refused>) -> ApiResult
where
    T: crate::lua::ffi::value::Push,
{
    match result {
        Ok(values) => call.reply(values),
        Err(text) => call.reply((None::<bool>, text)),
    }
}

/// Calls `body` with the rollout that argument 1 names, and its number.
fn with_rollout<T>(
    call: &Call<'_>,
    body: impl FnOnce(u16, &Rollout) -> Result<T, Refused>,
) -> Result<Result<T, Refused>, crate::lua::ffi::call::ApiError> {
    let name = call.bytes(1)?;
    let Some(snapshot) = snapshot(call) else {
        return Ok(Err("no configuration serves yet".to_owned()));
    };
    let mut numbered = (0u16..).zip(&snapshot.assignments);
    let Some((number, rollout)) = numbered.find(|it| it.1.name.as_bytes() == name) else {
        return Ok(Err(format!("no rollout \"{}\"", String::from_utf8_lossy(name))));
    };
    Ok(body(number, rollout))
}

fn snapshot(call: &Call<'_>) -> Option<Arc<Snapshot>> {
    call.vm().host().and_then(|it| it.snapshot())
}

/// The number of the variant that argument `index` names; without one the first canary.
fn variant(call: &Call<'_>, index: c_int, rollout: &Rollout) -> Result<u8, Refused> {
    let Value::Bytes(label) = call.value(index) else { return Ok(1) };
    rollout.labelled(label).ok_or_else(|| {
        let label = String::from_utf8_lossy(label);
        format!("no version \"{label}\" in rollout \"{}\"", rollout.name)
    })
}

/// `pick(name, key?)`: version, upstream and reason. Within a request it is what `$rollout_NAME`
/// then says, too: a rollout decides once.
fn pick(call: &Call<'_>) -> ApiResult {
    let key = call.opt_bytes(2)?;
    let request = client(call).ok();
    let picked = with_rollout(call, |number, rollout| {
        let shown = |variant: u8, reason: &'static str| -> Option<(Bytes, Bytes, &'static str)> {
            let it = rollout.variants.get(usize::from(variant))?;
            Some((it.label.clone(), it.upstream.clone(), reason))
        };
        let found = match (&request, key) {
            (Some(request), key) => request
                .picked_with(number, key)
                .and_then(|it| shown(it.pick.variant, it.pick.reason.as_str())),
            (None, Some(key)) => {
                let shares = rollout.live.shares();
                let owner = shares.layout.owner(rollout.assign.bucket_of(key));
                let variant = if shares.is_closed(owner) { 0 } else { owner };
                shown(variant, "weight")
            }
            (None, None) => return Err("no request, and no key".to_owned()),
        };
        found.ok_or_else(|| format!("rollout \"{}\" decides nothing here", rollout.name))
    })?;
    answer(call, picked)
}

/// `weight(name, version?)`: percent; the first canary's without a version.
fn weight(call: &Call<'_>) -> ApiResult {
    let weight = with_rollout(call, |_, rollout| {
        let variant = variant(call, 2, rollout)?;
        Ok(f64::from(rollout.live.shares().layout.share(variant)) / 100.0)
    })?;
    answer(call, weight)
}

/// `state(name)`: a word.
fn state(call: &Call<'_>) -> ApiResult {
    let state = with_rollout(call, |_, rollout| Ok(rollout.live.status().state.as_str()))?;
    answer(call, state)
}

/// `set_weight(name, share, version?)`: a number of percent, `"10%"` or `"25bp"`.
fn set_weight(call: &Call<'_>) -> ApiResult {
    let points = match call.value(2) {
        Value::Number(percent) => of_percent(percent),
        Value::Bytes(text) => of_text(&String::from_utf8_lossy(text)),
        _ => return Err(call.expected("number or string", 2)),
    };
    let sent = with_rollout(call, |_, rollout| {
        let weight = points.ok_or("a weight is 0 to 100 percent")?;
        let variant = variant(call, 3, rollout)?;
        if variant == 0 {
            return Err("stable has what is left".to_owned());
        }
        let label = rollout.variants.get(usize::from(variant));
        let canary = label.map(|it| String::from_utf8_lossy(&it.label).into_owned());
        send(rollout, Command::SetWeight { canary, weight })
    })?;
    answer(call, sent)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10000")]
fn of_percent(percent: f64) -> Option<u16> {
    (0.0..=100.0).contains(&percent).then(|| (percent * 100.0).round() as u16)
}

fn of_text(text: &str) -> Option<u16> {
    let points = match text.strip_suffix("bp") {
        Some(digits) => digits.parse().ok()?,
        None => {
            let digits = text.strip_suffix('%').unwrap_or(text);
            of_percent(digits.parse().ok()?)?
        }
    };
    (points <= BUCKETS).then_some(points)
}

fn send(rollout: &Rollout, command: Command) -> Result<bool, Refused> {
    rollout.live.send(command).map(|()| true).map_err(|it| it.to_string())
}

fn order(call: &Call<'_>, command: Command) -> ApiResult {
    let sent = with_rollout(call, |_, rollout| send(rollout, command))?;
    answer(call, sent)
}

fn promote(call: &Call<'_>) -> ApiResult {
    order(call, Command::Promote)
}

fn pause(call: &Call<'_>) -> ApiResult {
    order(call, Command::Pause)
}

fn resume(call: &Call<'_>) -> ApiResult {
    order(call, Command::Resume)
}

fn abort(call: &Call<'_>) -> ApiResult {
    order(call, Command::Abort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percent_or_basis_points() {
        for (text, points) in
            [("10%", Some(1000)), ("0.25", Some(25)), ("25bp", Some(25)), ("101%", None)]
        {
            assert_eq!(of_text(text), points, "{text}");
        }
        for text in ["", "%", "-1", "10001bp", "nan", "1e9", "x"] {
            assert_eq!(of_text(text), None, "{text}");
        }
        assert_eq!((of_percent(f64::NAN), of_percent(0.005)), (None, Some(1)));
    }
}
