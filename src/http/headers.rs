//! Header fields of one message: an ordered list that keeps the spelling of each name and finds
//! them without regard to ASCII case.

use bytes::Bytes;
use std::borrow::Cow;

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name as it was spelled.
    pub name: Bytes,
    /// The value, without surrounding white space.
    pub value: Bytes,
}

impl Field {
    fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// The fields of a request or of a response in the order of the wire. A message has 5 to 20 of
/// them, so that looking one up is a walk over the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<Field>);

impl Headers {
    /// No fields; allocates nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// No fields, with room for `capacity` of them.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// The value of the first field called `name`.
    pub fn get(&self, name: &[u8]) -> Option<&Bytes> {
        self.0.iter().find(|it| it.is(name)).map(|it| &it.value)
    }

    /// The values of all fields called `name`, in order.
    pub fn all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a Bytes> + 'a {
        self.0.iter().filter(move |it| it.is(name)).map(|it| &it.value)
    }

    /// Whether there is a field called `name`.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.0.iter().any(|it| it.is(name))
    }

    /// Gives the first field called `name` this value and drops the others; appends it where there
    /// is none. The field keeps its place and the spelling it had, as with nginx's
    /// `ngx.req.set_header` and `ngx.header` (see [`Headers::respell`] for the exceptions).
    pub fn set(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.replace(name.into(), value.into(), false);
    }

    /// As [`Headers::set`], but the field takes the new spelling too. So do `Server`, `Date`,
    /// `Content-Encoding`, `Location`, `Refresh`, `Content-Range`, `Accept-Ranges`,
    /// `WWW-Authenticate`, `Expires` and `ETag` when a script sets them on a response.
    pub fn respell(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.replace(name.into(), value.into(), true);
    }

    fn replace(&mut self, name: Bytes, value: Bytes, respell: bool) {
        let Some(first) = self.0.iter().position(|it| it.is(&name)) else {
            return self.0.push(Field { name, value });
        };
        let mut index = 0;
        self.0.retain(|it| {
            index += 1;
            index <= first + 1 || !it.is(&name)
        });
        let field = &mut self.0[first];
        field.value = value;
        if respell {
            field.name = name;
        }
    }

    /// Adds a field at the end, whatever is there already.
    pub fn append(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.0.push(Field { name: name.into(), value: value.into() });
    }

    /// Drops all fields called `name`; returns how many there were.
    pub fn remove(&mut self, name: &[u8]) -> usize {
        let before = self.0.len();
        self.0.retain(|it| !it.is(name));
        before - self.0.len()
    }

    /// The fields in order: (name as spelled, value).
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Bytes, &Bytes)> + ExactSizeIterator {
        self.0.iter().map(|it| (&it.name, &it.value))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops all fields and keeps the room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps the fields for which `keep(name, value)` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&Bytes, &Bytes) -> bool) {
        self.0.retain(|it| keep(&it.name, &it.value));
    }

    /// The value of `$http_<name>` on a request's fields: `name` in lower case with `_` for `-`.
    /// As in nginx 1.22, several `Cookie` fields are joined with `"; "`, several `X-Forwarded-For`
    /// with `", "`, and of any other name the first one is taken.
    pub fn request_variable(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        match name {
            b"cookie" => self.joined(b"cookie", b"; "),
            b"x_forwarded_for" => self.joined(b"x-forwarded-for", b", "),
            _ => self.by_variable(name).map(|it| Cow::Borrowed(&it[..])),
        }
    }

    /// The value of `$sent_http_<name>` (and `$upstream_http_<name>`) on a response's fields: as
    /// [`Headers::request_variable`], where `Cache-Control` and `Link` are joined with `", "`.
    /// Fields that the server itself makes (`Content-Length`, `Connection`, …) are the caller's.
    pub fn response_variable(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        match name {
            b"cache_control" => self.joined(b"cache-control", b", "),
            b"link" => self.joined(b"link", b", "),
            _ => self.by_variable(name).map(|it| Cow::Borrowed(&it[..])),
        }
    }

    /// The first field whose name in a variable's spelling is `name`.
    pub fn by_variable(&self, name: &[u8]) -> Option<&Bytes> {
        self.0.iter().find(|it| is_variable(&it.name, name)).map(|it| &it.value)
    }

    /// All values of `name` with `separator` between them; borrowed when there is just one.
    pub fn joined<'a>(&'a self, name: &'a [u8], separator: &[u8]) -> Option<Cow<'a, [u8]>> {
        joined(self.all(name).map(|it| &it[..]), separator)
    }
}

/// All `values` with `separator` between them; borrowed when there is just one.
pub(super) fn joined<'a>(
    mut values: impl Iterator<Item = &'a [u8]>,
    separator: &[u8],
) -> Option<Cow<'a, [u8]>> {
    let mut joined = Cow::Borrowed(values.next()?);
    for value in values {
        let text = joined.to_mut();
        text.extend_from_slice(separator);
        text.extend_from_slice(value);
    }
    Some(joined)
}

/// Whether header `name` is spelled `variable` in a variable: lower case, `_` for `-`. A header
/// name with a real underscore matches as well.
pub(super) fn is_variable(name: &[u8], variable: &[u8]) -> bool {
    name.len() == variable.len()
        && name.iter().zip(variable).all(|(&have, &want)| want == SPELLED[usize::from(have)])
}

/// How a byte of a name is spelled in a variable.
const SPELLED: [u8; 256] = {
    let mut spelled = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        spelled[byte] =
            if byte == b'-' as usize { b'_' } else { (byte as u8).to_ascii_lowercase() };
        byte += 1;
    }
    spelled
};

impl<N: Into<Bytes>, V: Into<Bytes>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let fields = fields.into_iter();
        Self(fields.map(|(name, value)| Field { name: name.into(), value: value.into() }).collect())
    }
}

impl<N: Into<Bytes>, V: Into<Bytes>> Extend<(N, V)> for Headers {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, fields: I) {
        for (name, value) in fields {
            self.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Headers {
        [("Host", "h"), ("X-A", "1"), ("accept", "*/*"), ("x-a", "2"), ("X_B", "3")]
            .into_iter()
            .collect()
    }

    fn text(headers: &Headers) -> String {
        let line = |(name, value): (&Bytes, &Bytes)| {
            format!("{}={}", name.escape_ascii(), value.escape_ascii())
        };
        headers.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn finds_without_case_and_keeps_the_order() {
        let headers = sample();
        assert_eq!(headers.get(b"x-A").unwrap(), "1");
        assert_eq!(headers.all(b"X-a").collect::<Vec<_>>(), ["1", "2"]);
        assert!(headers.contains(b"ACCEPT") && !headers.contains(b"accep"));
        assert_eq!(text(&headers), "Host=h X-A=1 accept=*/* x-a=2 X_B=3");
    }

    #[test]
    fn set_keeps_place_and_spelling_and_drops_the_others() {
        let mut headers = sample();
        headers.set("x-a", "9");
        assert_eq!(text(&headers), "Host=h X-A=9 accept=*/* X_B=3");
        headers.respell("ACCEPT", "b");
        assert_eq!(text(&headers), "Host=h X-A=9 ACCEPT=b X_B=3");
        headers.set("New", "n");
        assert_eq!(text(&headers), "Host=h X-A=9 ACCEPT=b X_B=3 New=n");
    }

    #[test]
    fn remove_counts_and_append_repeats() {
        let mut headers = sample();
        assert_eq!((headers.remove(b"X-a"), headers.remove(b"X-a")), (2, 0));
        headers.append("HOST", "i");
        headers.retain(|_, value| value != "3");
        assert_eq!(text(&headers), "Host=h accept=*/* HOST=i");
        headers.clear();
        assert!(headers.is_empty() && headers.get(b"host").is_none());
    }

    #[test]
    fn variables_join_only_what_nginx_1_22_joins() {
        let headers: Headers = [
            ("Cookie", "a=1"),
            ("cookie", "b=2"),
            ("X-Forwarded-For", "1.1.1.1"),
            ("X-Forwarded-For", "2.2.2.2"),
            ("X-Two", "1"),
            ("X-Two", "2"),
            ("X_Odd-Name", "o"),
            ("Cache-Control", "a"),
            ("Cache-Control", "b"),
        ]
        .into_iter()
        .collect();
        let request = |name: &str| {
            headers.request_variable(name.as_bytes()).map(|it| it.escape_ascii().to_string())
        };
        assert_eq!(request("cookie").unwrap(), "a=1; b=2");
        assert_eq!(request("x_forwarded_for").unwrap(), "1.1.1.1, 2.2.2.2");
        assert_eq!(request("x_two").unwrap(), "1");
        assert_eq!(request("x_odd_name").unwrap(), "o");
        assert_eq!(request("cache_control").unwrap(), "a");
        assert_eq!(request("x-two"), None);
        assert_eq!(request("x_tw"), None);
        assert_eq!(headers.response_variable(b"cache_control").unwrap(), &b"a, b"[..]);
        assert_eq!(headers.response_variable(b"x_two").unwrap(), &b"1"[..]);
    }
}
