//! Lua values as JSON text.

use crate::lua::cjson::EMPTY_ARRAY;
use crate::lua::cjson::Marks;
use crate::lua::cjson::settings::Invalid;
use crate::lua::cjson::settings::Settings;
use crate::lua::ffi::stack::Table;
use crate::lua::ffi::value::Value;
use crate::lua::ngx::number;

/// The text of `value`.
///
/// # Errors
/// lua-cjson's words on what cannot be encoded.
pub(super) fn encode(
    settings: &Settings,
    marks: &Marks,
    value: &Value<'_>,
) -> Result<Vec<u8>, String> {
    let mut encoder = Encoder { settings, marks, out: Vec::with_capacity(128) };
    encoder.value(value, 0)?;
    Ok(encoder.out)
}

struct Encoder<'a> {
    settings: &'a Settings,
    marks: &'a Marks,
    out: Vec<u8>,
}

/// How a table is written.
enum Shape {
    Array(usize),
    Object,
}

impl Encoder<'_> {
    fn value(&mut self, value: &Value<'_>, depth: usize) -> Result<(), String> {
        match value {
            Value::Nil | Value::Light(0) => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Number(number) => self.number(*number)?,
            Value::Bytes(text) => self.string(text),
            Value::Light(at) if *at == std::ptr::from_ref(&EMPTY_ARRAY) as usize => {
                self.out.extend_from_slice(b"[]");
            }
            Value::Table(table) => self.table(table, depth + 1)?,
            other => {
                let kind = other.kind().name();
                return Err(format!("Cannot serialise {kind}: type not supported"));
            }
        }
        Ok(())
    }

    fn number(&mut self, value: f64) -> Result<(), String> {
        if !value.is_finite() {
            match self.settings.encode_invalid {
                Invalid::Refuse => {
                    return Err("Cannot serialise number: must not be NaN or Infinity".to_owned());
                }
                Invalid::Null => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
                Invalid::Write if value.is_nan() => {
                    self.out.extend_from_slice(b"nan");
                    return Ok(());
                }
                Invalid::Write => {}
            }
        }
        let text = number::with_digits(value, self.settings.precision);
        // Where Lua writes whole numbers in full, `%.14g` has an exponent from 1e14 on.
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        let mut from = 0;
        for (at, &byte) in text.iter().enumerate() {
            let short: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'/' if self.settings.escape_forward_slash => b"\\/",
                8 => b"\\b",
                12 => b"\\f",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                0..32 | 127 => b"",
                _ => continue,
            };
            self.out.extend_from_slice(&text[from..at]);
            from = at + 1;
            if short.is_empty() {
                self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
            } else {
                self.out.extend_from_slice(short);
            }
        }
        self.out.extend_from_slice(&text[from..]);
        self.out.push(b'"');
    }

    fn table(&mut self, table: &Table<'_>, depth: usize) -> Result<(), String> {
        if depth > self.settings.encode_max_depth {
            return Err(format!("Cannot serialise, excessive nesting ({depth})"));
        }
        match self.shape(table)? {
            Shape::Array(length) => self.array(table, length, depth),
            Shape::Object => self.object(table, depth),
        }
    }

    fn shape(&self, table: &Table<'_>) -> Result<Shape, String> {
        let mark = table.metatable_address();
        if mark == self.marks.array_address {
            return Ok(Shape::Array(table.len()));
        }
        let (mut most, mut entries, mut is_array) = (0_usize, 0_usize, true);
        table.each(|key, _| {
            match key {
                Value::Number(key) if key >= 1.0 && key.trunc() == key => {
                    most = most.max(key as usize);
                    entries += 1;
                }
                _ => is_array = false,
            }
            is_array
        });
        if !is_array {
            return Ok(Shape::Object);
        }
        if entries == 0 {
            let as_array = mark == self.marks.empty_array_address && mark != 0;
            let as_array = as_array || !self.settings.empty_table_as_object;
            return Ok(if as_array { Shape::Array(0) } else { Shape::Object });
        }
        let ratio = self.settings.sparse_ratio;
        let is_sparse = ratio > 0 && most > entries * ratio && most > self.settings.sparse_safe;
        match (is_sparse, self.settings.sparse_convert) {
            (false, _) => Ok(Shape::Array(most)),
            (true, true) => Ok(Shape::Object),
            (true, false) => Err("Cannot serialise table: excessively sparse array".to_owned()),
        }
    }

    fn array(&mut self, table: &Table<'_>, length: usize, depth: usize) -> Result<(), String> {
        self.out.push(b'[');
        let mut result = Ok(());
        let mut is_first = true;
        table.each_index(length, |_, value| {
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            result = self.value(&value, depth);
            result.is_ok()
        });
        self.out.push(b']');
        result
    }

    fn object(&mut self, table: &Table<'_>, depth: usize) -> Result<(), String> {
        self.out.push(b'{');
        let mut result = Ok(());
        let mut is_first = true;
        table.each(|key, value| {
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            result = self.member(&key, &value, depth);
            result.is_ok()
        });
        self.out.push(b'}');
        result
    }

    fn member(&mut self, key: &Value<'_>, value: &Value<'_>, depth: usize) -> Result<(), String> {
        match key {
            Value::Bytes(key) => self.string(key),
            Value::Number(key) => {
                self.out.push(b'"');
                self.number(*key)?;
                self.out.push(b'"');
            }
            _ => {
                let text = "Cannot serialise table: table key must be a number or string";
                return Err(text.to_owned());
            }
        }
        self.out.push(b':');
        self.value(value, depth)
    }
}
