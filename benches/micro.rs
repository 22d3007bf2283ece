//! The small things that every request does, and the reading of a configuration.
//!
//! `cargo bench --bench micro [-- FILTER]`; behind `--profile dev-opt` it builds faster.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion};
use moongate::config;
use moongate::http::args;
use moongate::http::cookie;
use moongate::http::headers::Headers;
use moongate::http::uri;
use moongate::shdict::{Dict, Op, Value};
use moongate::snapshot::router::Router;
use std::fmt::Write;
use std::hint::black_box;

/// A configuration of `count` locations, each with Lua.
fn configuration(count: usize) -> String {
    let mut text = "events {} http { upstream pool { server 127.0.0.1:8081; }\n\
         server { listen 8080; server_name example.org;\n"
        .to_owned();
    for number in 0..count {
        let _ = writeln!(
            text,
            "location /api/{number}/ {{ set $backend pool;\n\
             access_by_lua_block {{ if ngx.var.http_x then ngx.var.backend = \"pool\" end }}\n\
             proxy_set_header X-Canary $backend; proxy_pass http://$backend; }}"
        );
    }
    text + "} }\n"
}

fn configurations(c: &mut Criterion) {
    let mut group = c.benchmark_group("config");
    group.sample_size(20);
    for count in [1, 100, 1000] {
        let text = configuration(count);
        group.bench_with_input(BenchmarkId::new("load", count), &text, |b, text| {
            b.iter(|| config::load_text("bench.conf", text, None).expect("it is sound"));
        });
    }
    group.finish();
}

fn targets(c: &mut Criterion) {
    let plain = Bytes::from_static(b"/api/users/42/orders?id=1&page=2");
    let escaped = Bytes::from_static(b"/api//users/./%34%32/../orders%20new?id=1");
    c.bench_function("uri/plain", |b| b.iter(|| uri::parse(black_box(&plain), true)));
    c.bench_function("uri/escaped", |b| b.iter(|| uri::parse(black_box(&escaped), true)));
    let query = b"first=1&second=two&third=3&uid=user-42&last=x";
    c.bench_function("args/find", |b| b.iter(|| args::find(black_box(query), b"uid")));
    let fields: [&[u8]; 1] = [b"a=1; session=0123456789abcdef; canary=always; z=26"];
    c.bench_function("cookie/find", |b| b.iter(|| cookie::find(black_box(fields), b"canary")));
}

fn fields(c: &mut Criterion) {
    let mut headers = Headers::with_capacity(16);
    for (name, value) in [
        ("Host", "example.org"),
        ("User-Agent", "Mozilla/5.0 bench"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip"),
        ("Authorization", "Bearer abcdefg"),
        ("Cookie", "a=1; b=2"),
        ("X-Canary-Version", "v2"),
    ] {
        headers.append(name, value);
    }
    c.bench_function("headers/get", |b| b.iter(|| headers.get(black_box(b"x-canary-version"))));
    c.bench_function("headers/variable", |b| {
        b.iter(|| headers.request_variable(black_box(b"x_canary_version")));
    });
    c.bench_function("headers/missing", |b| b.iter(|| headers.get(black_box(b"x-none"))));
}

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("router");
    for count in [1, 100, 1000] {
        let mut router = Router::default();
        for number in 0..count {
            let text = format!("/api/{number}/");
            router.add_prefix(text.as_bytes(), number, false, true);
        }
        let uri = format!("/api/{}/orders/42", count / 2);
        group.bench_function(BenchmarkId::new("prefix", count), |b| {
            b.iter(|| {
                black_box(router.find(black_box(uri.as_bytes())));
            });
        });
    }
    group.finish();
}

fn dictionaries(c: &mut Criterion) {
    let dict = Dict::new("bench", 1 << 20);
    for number in 0..1000 {
        let key = format!("key{number}");
        let (stored, _) = dict.store(Op::Set, key.as_bytes(), Some(Value::Number(1.0)), 0, 0, 1);
        stored.expect("there is room");
    }
    c.bench_function("shdict/get", |b| {
        b.iter(|| {
            dict.get_with(black_box(b"key500"), 2, |value, _| matches!(value, Value::Number(_)))
        });
    });
    c.bench_function("shdict/incr", |b| {
        b.iter(|| dict.incr(black_box(b"key501"), 1.0, None, 2));
    });
    c.bench_function("shdict/set", |b| {
        b.iter(|| dict.store(Op::Set, b"text", Some(Value::Text(b"some value")), 0, 0, 2));
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for bench in [configurations, targets, fields, routes, dictionaries] {
        bench(&mut criterion);
    }
    criterion.final_summary();
}
