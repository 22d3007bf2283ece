//! What a script can set of an instance of `cjson`.

use crate::lua::cjson::with_settings;
use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::ApiResult;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::value::Value;
use std::ffi::c_int;

/// How a number that JSON has no word for is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Refused.
    Refuse,
    /// As Lua writes it.
    Write,
    /// As `null`.
    Null,
}

/// The settings of one instance.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Tables within tables when encoding.
    pub encode_max_depth: usize,
    /// The same when decoding.
    pub decode_max_depth: usize,
    /// Significant digits.
    pub precision: usize,
    /// Too sparse arrays become objects rather than errors.
    pub sparse_convert: bool,
    /// An array is too sparse with more than so many places an entry …
    pub sparse_ratio: usize,
    /// … and more places than this.
    pub sparse_safe: usize,
    /// NaN and infinities when encoding.
    pub encode_invalid: Invalid,
    /// NaN, infinities and hexadecimal numbers are read.
    pub decode_invalid: bool,
    /// Accepted, without effect.
    pub keep_buffer: bool,
    /// An empty table is `{}`.
    pub empty_table_as_object: bool,
    /// Arrays get `cjson.array_mt`.
    pub decode_array_with_array_mt: bool,
    /// `/` is written as `\\/`.
    pub escape_forward_slash: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            encode_max_depth: 1000,
            decode_max_depth: 1000,
            precision: 14,
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_invalid: Invalid::Refuse,
            decode_invalid: true,
            keep_buffer: true,
            empty_table_as_object: true,
            decode_array_with_array_mt: false,
            escape_forward_slash: true,
        }
    }
}

/// # Errors
/// More arguments than that.
fn at_most(call: &Call<'_>, count: usize) -> Result<(), ApiError> {
    if call.count() <= count {
        return Ok(());
    }
    Err(ApiError::argument(count as c_int + 1, "found too many arguments"))
}

/// # Errors
/// Not a number from `least` to `most`.
fn integer(
    call: &Call<'_>,
    index: c_int,
    least: usize,
    most: usize,
    slot: &mut usize,
) -> Result<(), ApiError> {
    if call.is_none(index) {
        return Ok(());
    }
    let given = usize::try_from(call.integer(index)?).ok();
    *slot = given.filter(|it| (least..=most).contains(it)).ok_or_else(|| {
        ApiError::argument(index, format!("expected integer between {least} and {most}"))
    })?;
    Ok(())
}

/// # Errors
/// Neither a boolean nor `on` or `off`.
fn boolean(call: &Call<'_>, index: c_int, slot: &mut bool) -> Result<(), ApiError> {
    *slot = match call.value(index) {
        Value::Nil => return Ok(()),
        Value::Boolean(given) => given,
        _ => match call.bytes(index)? {
            b"on" => true,
            b"off" => false,
            other => {
                let other = String::from_utf8_lossy(other).into_owned();
                return Err(ApiError::argument(index, format!("invalid option '{other}'")));
            }
        },
    };
    Ok(())
}

const MAX: usize = i32::MAX as usize;

macro_rules! setters {
    ($($name:ident: $check:ident($($bound:expr),*) $field:ident;)*) => {
        $(pub(super) fn $name(call: &Call<'_>) -> ApiResult {
            at_most(call, 1)?;
            let mut value = with_settings(call, |it| it.$field);
            $check(call, 1, $($bound,)* &mut value)?;
            with_settings(call, |it| it.$field = value);
            call.reply(value)
        })*
    };
}

setters! {
    encode_max_depth: integer(1, MAX) encode_max_depth;
    decode_max_depth: integer(1, MAX) decode_max_depth;
    encode_number_precision: integer(1, 16) precision;
    decode_invalid_numbers: boolean() decode_invalid;
    encode_keep_buffer: boolean() keep_buffer;
    encode_empty_table_as_object: boolean() empty_table_as_object;
    decode_array_with_array_mt: boolean() decode_array_with_array_mt;
    encode_escape_forward_slash: boolean() escape_forward_slash;
}

pub(super) fn encode_sparse_array(call: &Call<'_>) -> ApiResult {
    at_most(call, 3)?;
    let (mut convert, mut ratio, mut safe) =
        with_settings(call, |it| (it.sparse_convert, it.sparse_ratio, it.sparse_safe));
    boolean(call, 1, &mut convert)?;
    integer(call, 2, 0, MAX, &mut ratio)?;
    integer(call, 3, 0, MAX, &mut safe)?;
    with_settings(call, |it| {
        (it.sparse_convert, it.sparse_ratio, it.sparse_safe) = (convert, ratio, safe);
    });
    call.reply((convert, ratio, safe))
}

pub(super) fn encode_invalid_numbers(call: &Call<'_>) -> ApiResult {
    at_most(call, 1)?;
    let mut value = with_settings(call, |it| it.encode_invalid);
    if matches!(call.value(1), Value::Bytes(b"null")) {
        value = Invalid::Null;
    } else if !call.is_none(1) {
        let mut writes = false;
        boolean(call, 1, &mut writes)?;
        value = if writes { Invalid::Write } else { Invalid::Refuse };
    }
    with_settings(call, |it| it.encode_invalid = value);
    match value {
        Invalid::Null => call.reply("null"),
        other => call.reply(other == Invalid::Write),
    }
}
