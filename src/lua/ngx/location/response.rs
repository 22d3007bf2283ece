//! What a script gets of a subrequest: `{ status, truncated, body, header }`.

use crate::http::headers::Headers;
use crate::lua::ffi::value::Owned;
use crate::lua::host::Captured;
use crate::request::Request;

/// The table that a script gets of a subrequest.
pub fn table(request: &Request, captured: Captured) -> Owned {
    let fields = [
        ("status", Owned::Number(request.response.borrow().status.into())),
        ("truncated", Owned::Boolean(captured.truncated)),
        ("body", Owned::Bytes(captured.body)),
        ("header", header(request)),
    ];
    Owned::Map(fields.into_iter().map(|(name, value)| (Owned::Text(name), value)).collect())
}

/// `res.header`: fields by their spelling; one that is there several times is an array.
fn header(request: &Request) -> Owned {
    let response = request.response.borrow();
    let mut fields: Vec<(Owned, Owned)> = Vec::with_capacity(response.headers.len() + 4);
    add_fields(&mut fields, &response.headers);
    let mut set = |name: &'static str, value: Owned| fields.push((Owned::Text(name), value));
    if let Some(kind) = response.content_type.as_ref().filter(|it| !it.is_empty()) {
        set("Content-Type", Owned::Bytes(kind.to_vec()));
    }
    if let Some(length) = response.content_length {
        set(
            "Content-Length",
            match response.content_length_place {
                None => Owned::Number(length as f64),
                Some(_) => Owned::Bytes(length.to_string().into_bytes()),
            },
        );
    }
    if let Some(location) = &response.location {
        set("Location", Owned::Bytes(location.to_vec()));
    }
    let tells = matches!(response.status, 200 | 204 | 206 | 304);
    if let Some(modified) = response.last_modified.filter(|_| tells) {
        let date = crate::clock::http_date_of(modified);
        set("Last-Modified", Owned::Bytes(date.as_bytes().to_vec()));
    }
    Owned::Map(fields)
}

fn add_fields(fields: &mut Vec<(Owned, Owned)>, headers: &Headers) {
    for (name, value) in headers.iter() {
        let value = Owned::Bytes(value.to_vec());
        let known = fields.iter_mut().find(|(it, _)| matches!(it, Owned::Bytes(it) if it == name));
        match known {
            None => fields.push((Owned::Bytes(name.to_vec()), value)),
            Some((_, Owned::Array(values))) => values.push(value),
            Some((_, first)) => {
                let before = std::mem::replace(first, Owned::Nil);
                *first = Owned::Array(vec![before, value]);
            }
        }
    }
}
