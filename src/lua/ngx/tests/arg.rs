//! `ngx.arg`: `set_by_lua*` and `body_filter_by_lua*`.

use crate::lua::fixture;
use crate::lua::ngx::fixture::World;
use crate::lua::ngx::fixture::plain;
use crate::lua::phase::Phase;
use bytes::Bytes;

const AT: &str = "body_filter_by_lua(nginx.conf:1):1: ";

fn filter(world: &World, code: &str, chunk: &str, last: bool) -> (String, bool) {
    let handler = world.vm.handler(&fixture::chunk("body_filter_by_lua", code)).unwrap();
    let chunk = Bytes::copy_from_slice(chunk.as_bytes());
    let (chunk, last) = world.vm.filter_body(&handler, &world.request, chunk, last).unwrap();
    (String::from_utf8(chunk.to_vec()).unwrap(), last)
}

#[test]
fn chunks_are_read_and_changed() {
    let cases = [
        ("", "ab", false, ("ab", false)),
        ("ngx.arg[1] = ngx.arg[1]:upper()", "ab", true, ("AB", true)),
        ("ngx.arg[1] = nil", "ab", true, ("", true)),
        ("ngx.arg[1] = {'<', {1, ngx.arg[1]}, '>'}", "ab", false, ("<1ab>", false)),
        ("ngx.arg[1] = 5 ngx.arg[2] = true", "ab", false, ("5", true)),
        ("ngx.arg[2] = false", "ab", true, ("ab", false)),
        ("ngx.arg[1] = tostring(ngx.arg[2]) .. tostring(ngx.arg[3])", "", true, ("truenil", true)),
    ];
    for (code, chunk, last, (bytes, end)) in cases {
        assert_eq!(filter(&plain(), code, chunk, last), (bytes.to_owned(), end), "{code}");
    }
}

#[test]
fn other_chunks_are_refused() {
    let cases = [
        ("ngx.arg[3] = 1", "bad index: 3"),
        ("ngx.arg.x = 1", "bad argument #2 to '__newindex' (number expected, got string)"),
        ("ngx.arg[1] = true", "bad chunk data type: boolean"),
        ("ngx.arg[1] = {a = 1}", "bad argument #3 to '__newindex' (non-array table found)"),
        ("ngx.arg[1] = {true}", "bad argument #3 to '__newindex' (bad data type boolean found)"),
    ];
    for (code, want) in cases {
        let code = format!("local ok, err = pcall(function() {code} end) ngx.arg[1] = err");
        assert_eq!(filter(&plain(), &code, "ab", false).0, format!("{AT}{want}"));
    }
}

#[test]
fn an_error_in_a_filter_is_the_callers() {
    let world = plain();
    let chunk = fixture::chunk("body_filter_by_lua", "error('no', 0)");
    let handler = world.vm.handler(&chunk).unwrap();
    let result = world.vm.filter_body(&handler, &world.request, Bytes::new(), false);
    assert_eq!(result.unwrap_err().message, b"no");
    assert_eq!(filter(&world, "", "next", true), ("next".to_owned(), true));
}

#[test]
fn set_by_lua_has_its_arguments() {
    let set = |code: &str, args: &[&'static str]| {
        let world = plain();
        let handler = world.vm.handler(&fixture::chunk("set_by_lua", code)).unwrap();
        let args = args.iter().map(|it| Bytes::from_static(it.as_bytes())).collect();
        world.vm.set_by_lua(&handler, &world.request, args).unwrap().unwrap()
    };
    let code = "local t = {} for i = 0, 4 do t[#t + 1] = tostring(ngx.arg[i]) end \
                return table.concat(t, ',')";
    assert_eq!(set(code, &["a", ""]), "nil,a,nil,nil,nil");
    assert_eq!(set("return 12", &[]), "12");
    assert_eq!(set("return nil", &[]), "");
    assert_eq!(set("return true", &[]), "");
}

#[test]
fn elsewhere_there_are_no_arguments() {
    let world = plain();
    let at = "content_by_lua(nginx.conf:1):1: ";
    let got = world.eval("return ngx.arg[1]");
    assert_eq!(got, format!("ERROR {at}API disabled in the current context"));
    let got = world.eval("ngx.arg[1] = 2");
    assert_eq!(got, format!("ERROR {at}API disabled in the context of content_by_lua*"));
    let got = world.eval_in(Phase::HeaderFilter, "return ngx.arg[1]");
    assert!(got.ends_with("API disabled in the current context"), "{got}");
}
