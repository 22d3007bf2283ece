//! `ngx.balancer`.

use crate::lua::fixture;
use crate::lua::ngx::balancer::BalancerTurn;
use crate::lua::ngx::balancer::ChosenPeer;
use crate::lua::ngx::balancer::PeerFailure;
use crate::lua::ngx::fixture::World;
use crate::lua::ngx::fixture::plain;
use crate::lua::outcome::Outcome;

/// Runs a turn; `code` keeps in `OUT` what it wants to show.
fn balance(world: &World, turn: &mut BalancerTurn, code: &str) -> Option<Outcome> {
    let code = format!("local b = require 'ngx.balancer' {code}");
    let handler = world.vm.handler(&fixture::chunk("balancer_by_lua", &code)).unwrap();
    world.vm.balance(&handler, &world.request, turn).unwrap().outcome
}

/// The results of `call` in a turn.
fn results(turn: &mut BalancerTurn, call: &str) -> String {
    let world = plain();
    let code = format!(
        "local t = {{pcall(function() return {call} end)}} for i = 1, 4 do t[i] = tostring(t[i]) \
         end rawset(_G, 'OUT', table.concat(t, ' | ', 2, 4))"
    );
    balance(&world, turn, &code);
    fixture::global(&world.vm, "OUT")
}

#[test]
fn peers_are_chosen_by_address() {
    let cases = [
        ("'127.0.0.1', 80", Ok("127.0.0.1:80")),
        ("'127.0.0.1:81'", Ok("127.0.0.1:81")),
        ("'127.0.0.1:81', 80", Ok("127.0.0.1:81")),
        ("'[::1]', '80'", Ok("[::1]:80")),
        ("'[::1]:82'", Ok("[::1]:82")),
        ("'localhost', 80", Err("no host allowed")),
        ("'1.2.3', 80", Err("no host allowed")),
        ("'', 80", Err("no host")),
        ("'[::g]', 80", Err("invalid IPv6 address")),
        ("'[::1', 80", Err("invalid host")),
        ("'::1', 80", Err("invalid port")),
        ("'127.0.0.1:x', 80", Err("invalid port")),
        ("'127.0.0.1:0', 80", Err("invalid port")),
        ("'127.0.0.1:99999', 80", Err("invalid port")),
        ("'127.0.0.1:81/x'", Err("invalid host")),
        ("'unix:'", Err("no path in the unix domain socket")),
    ];
    for (arguments, want) in cases {
        let mut turn = BalancerTurn::default();
        let got = results(&mut turn, &format!("b.set_current_peer({arguments})"));
        match want {
            Ok(address) => {
                assert_eq!(got, "true | nil | nil", "{arguments}");
                let address = address.parse().unwrap();
                assert_eq!(turn.peer, Some(ChosenPeer::Inet(address)), "{arguments}");
            }
            Err(text) => {
                assert_eq!(got, format!("nil | {text} | nil"), "{arguments}");
                assert_eq!(turn.peer, None, "{arguments}");
            }
        }
    }
    let mut turn = BalancerTurn::default();
    results(&mut turn, "b.set_current_peer('unix:/run/x.sock')");
    assert_eq!(turn.peer, Some(ChosenPeer::Unix("/run/x.sock".into())));
    let got = results(&mut turn, "b.set_current_peer()");
    assert!(got.contains("attempt to get length of local 'addr' (a nil value)"), "{got}");
}

#[test]
fn tries_are_limited() {
    let mut turn =
        BalancerTurn { total_tries: 1, tries_left: 1, max_tries: 3, ..BalancerTurn::default() };
    assert_eq!(results(&mut turn, "b.set_more_tries(2)"), "true | nil | nil");
    assert_eq!(turn.more_tries, 2);
    let got = results(&mut turn, "b.set_more_tries(5)");
    assert_eq!(got, "true | reduced tries due to limit | nil");
    assert_eq!(turn.more_tries, 2);
    let got = results(&mut turn, "b.set_more_tries('x')");
    assert!(got.contains("(cannot convert 'string' to 'int')"), "{got}");
}

#[test]
fn the_last_failure_is_told() {
    let mut turn = BalancerTurn::default();
    assert_eq!(results(&mut turn, "b.get_last_failure()"), "nil | nil | nil");
    turn.last_failure = Some((PeerFailure::Failed, 502));
    assert_eq!(results(&mut turn, "b.get_last_failure()"), "failed | 502 | nil");
    turn.last_failure = Some((PeerFailure::Next, 404));
    assert_eq!(results(&mut turn, "b.get_last_failure()"), "next | 404 | nil");
}

#[test]
fn timeouts_are_set() {
    let mut turn = BalancerTurn::default();
    assert_eq!(results(&mut turn, "b.set_timeouts(1, nil, 0.5)"), "true | nil | nil");
    assert_eq!((turn.connect_timeout_ms, turn.send_timeout_ms), (Some(1000), None));
    assert_eq!(turn.read_timeout_ms, Some(500));
    for (arguments, text) in [("1, nil, 0", "bad read timeout"), ("'1'", "bad connect timeout")] {
        let got = results(&mut turn, &format!("b.set_timeouts({arguments})"));
        assert!(got.contains(text), "{got}");
    }
    assert_eq!(results(&mut turn, "b.recreate_request()"), "true | nil | nil");
    assert!(turn.recreate);
    assert_eq!(results(&mut turn, "b.enable_keepalive()"), "true | nil | nil");
    assert!(results(&mut turn, "b.set_upstream_tls(true)").contains("not supported"));
}

#[test]
fn a_turn_may_end_the_request() {
    let outcome = balance(&plain(), &mut BalancerTurn::default(), "ngx.exit(503)");
    assert_eq!(outcome, Some(Outcome::Exit(503)));
}

#[test]
fn elsewhere_there_is_no_turn() {
    let code = "return require 'ngx.balancer'.set_current_peer('127.0.0.1', 1)";
    assert_eq!(plain().eval(code), "nil | no upstream found");
}
