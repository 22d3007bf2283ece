//! The options of a subrequest, as a script's table gives them.

use crate::lua::ffi::call::ApiError;
use crate::lua::ffi::call::Call;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::args::query_string;
use bytes::Bytes;
use std::ffi::c_int;

/// Fields by name: `vars` and `headers`.
pub type Pairs = Vec<(Vec<u8>, Bytes)>;

/// The options of one subrequest.
#[derive(Default)]
pub struct Options {
    /// `ngx.HTTP_…`; `None` is GET.
    pub method: Option<u32>,
    /// Arguments behind those of the URI.
    pub args: Vec<u8>,
    /// The body; `None` is the parent's where the method has one.
    pub body: Option<Bytes>,
    /// Variables to be set.
    pub vars: Pairs,
    /// Header fields to be set.
    pub headers: Pairs,
    /// It begins with the parent's variables.
    pub copies_vars: bool,
    /// The parent's variables are its own.
    pub shares_vars: bool,
    /// The parent's body goes along whatever the method.
    pub forwards_body: bool,
    /// The slot of the stack that holds the table which is to be its `ngx.ctx`.
    pub ctx: Option<c_int>,
}

impl Options {
    /// What the table `given` asks for; `index` counts subrequests from 0.
    ///
    /// # Errors
    /// OpenResty's text for an option that is none.
    pub fn read(call: &Call<'_>, given: Value<'_>, index: usize) -> Result<Self, ApiError> {
        let Value::Table(table) = given else {
            let kind = given.kind().name();
            return Err(format!(
                "expecting table as the 2nd argument for subrequest {index}, but got {kind}"
            )
            .into());
        };
        let stack = call.stack();
        let mut options = Self {
            args: match table.get("args") {
                Value::Nil => Vec::new(),
                Value::Table(args) => query_string(&args)?,
                Value::Bytes(_) | Value::Number(_) => text_on_top(call),
                _ => return Err("Bad args option value".into()),
            },
            vars: pairs(&table, "vars", "Bad vars option value")?,
            headers: pairs(&table, "headers", "Bad headers option value")?,
            shares_vars: flag(&table, "share_all_vars", "Bad share_all_vars option value")?,
            copies_vars: flag(&table, "copy_all_vars", "Bad copy_all_vars option value")?,
            ..Self::default()
        };
        table.get("always_forward_body");
        options.forwards_body = stack.boolean(-1);
        options.method = match table.get("method") {
            Value::Nil => None,
            Value::Number(number) => Some(number as u32),
            _ => return Err("Bad http request method".into()),
        };
        options.ctx = match table.get("ctx") {
            Value::Nil => None,
            Value::Table(ctx) => Some(ctx.index()),
            other => {
                let kind = other.kind().name();
                let text = format!("Bad ctx option value type {kind}, expected a Lua table");
                return Err(text.into());
            }
        };
        options.body = match table.get("body") {
            Value::Nil => None,
            Value::Bytes(_) | Value::Number(_) => Some(text_on_top(call).into()),
            _ => return Err("Bad http request body".into()),
        };
        Ok(options)
    }
}

fn text_on_top(call: &Call<'_>) -> Vec<u8> {
    call.stack().text(-1).unwrap_or_default().to_vec()
}

/// # Errors
/// `refusal` for anything but a boolean.
fn flag(table: &Table<'_>, name: &str, refusal: &'static str) -> Result<bool, ApiError> {
    match table.get(name) {
        Value::Nil => Ok(false),
        Value::Boolean(value) => Ok(value),
        _ => Err(refusal.into()),
    }
}

/// # Errors
/// `refusal` for anything but a table, and nginx's words for what is no text in it.
fn pairs(table: &Table<'_>, name: &str, refusal: &'static str) -> Result<Pairs, ApiError> {
    let found = match table.get(name) {
        Value::Nil => return Ok(Pairs::new()),
        Value::Table(found) => found,
        _ => return Err(refusal.into()),
    };
    let mut pairs = Pairs::new();
    let mut fault = None;
    found.each(|key, value| {
        let Value::Bytes(key) = key else {
            fault = Some("attempt to use a non-string key in the \"vars\" option table".into());
            return false;
        };
        let value = match value {
            Value::Bytes(text) => Bytes::copy_from_slice(text),
            Value::Number(number) => crate::lua::ngx::args::number_text(number).into(),
            other => {
                let kind = other.kind().name();
                fault = Some(format!("attempt to use bad variable value type {kind}"));
                return false;
            }
        };
        pairs.push((key.to_vec(), value));
        true
    });
    fault.map_or(Ok(pairs), |text| Err(text.into()))
}
