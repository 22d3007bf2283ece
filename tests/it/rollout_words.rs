//! What operators are told when a rollout does not do what they say.

use crate::harness::client::request;
use crate::harness::server::{Kind, Setup};
use crate::rollout_control::{STEPS, conf, rollout_command};
use serde_json::Value;

#[test]
fn where_nobody_answers_it_says_what_to_do() {
    let server = Setup::new(Kind::Moongate).start(&conf(STEPS));
    let (code, said) = rollout_command(&server, "list --admin 127.0.0.1:1");
    assert_eq!(code, Some(1));
    assert!(said.starts_with("moongate: no Moongate answers at 127.0.0.1:1 ("), "{said}");
    assert!(said.contains("is it running?") && said.contains("--admin ADDRESS:PORT"), "{said}");
    let (code, said) =
        rollout_command(&server, &format!("list --admin 127.0.0.1:{}", server.port()));
    assert!(code == Some(1) && said.contains("is no Moongate"), "{said}");
    let (code, said) = rollout_command(&server, "set-weight api lots");
    assert!(code == Some(1) && said.contains("write 0% to 100%"), "{said}");
}

#[test]
fn what_cannot_be_done_is_refused_with_what_can() {
    let lines = "canary one version=v3 weight=10%; steps 1% 5m, 5% 5m, 90%;";
    let server = Setup::new(Kind::Moongate).start(&conf(lines));
    let refusals = [
        ("set-weight api 95%", "that is more than 100%: the other canaries have 10%"),
        ("set-weight api 5% --canary v4", "no canary \"v4\"; there is v2, v3"),
        ("resume api", "the rollout is running; there is nothing to resume"),
        ("abort shop", "no rollout \"shop\"; there is api"),
    ];
    let closed = "the rollout is aborted; resume it first";
    let of_an_aborted = [
        ("abort api", "the rollout is aborted; there is nothing to abort"),
        ("promote api", closed),
        ("pause api", closed),
        ("set-weight api 5%", closed),
    ];
    let refuses = |words: &str, text: &str| {
        let (code, said) = rollout_command(&server, words);
        assert_eq!((code, said), (Some(1), format!("moongate: {text}\n")), "{words}");
    };
    for (words, text) in refusals {
        refuses(words, text);
    }
    assert_eq!(rollout_command(&server, "abort api").0, Some(0));
    for (words, text) in of_an_aborted {
        refuses(words, text);
    }
    let admin = server.named_port("ADMIN");
    for (path, status, text) in [
        ("api/promote", 409, closed),
        (
            "api/set-weight?weight=20000bp",
            400,
            "invalid weight \"20000bp\"; write 0% to 100%, or 25bp",
        ),
        (
            "api/stop",
            400,
            "no command \"stop\"; there is promote, pause, resume, abort or set-weight",
        ),
        ("shop/abort", 404, "no rollout \"shop\"; there is api"),
    ] {
        let answer = request(admin, "POST", &format!("/rollouts/{path}"), "Content-Length: 0\r\n");
        let said: Value = serde_json::from_str(&answer.text()).expect("JSON");
        assert_eq!((answer.status(), said["error"].as_str()), (status, Some(text)), "{path}");
    }
}
