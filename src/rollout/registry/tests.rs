//! What outlives a configuration, and what does not.

use super::*;
use crate::config;

fn rollouts(blocks: &str) -> Vec<model::Rollout> {
    let text = format!(
        "http {{ upstream a {{ server 127.0.0.1; }} upstream b {{ server 127.0.0.1; }} {blocks} }}
         events {{ }}"
    );
    config::load_text("conf", &text, None).unwrap().model.http.unwrap().rollouts
}

fn api(lines: &str) -> Vec<model::Rollout> {
    rollouts(&format!("rollout api {{ stable a; canary b version=v2; {lines} }}"))
}

fn built(registry: &Registry, rollouts: &[model::Rollout], prefix: &Path) -> Rollouts {
    let mut diagnostics = Diagnostics::default();
    let built = registry.build(rollouts, prefix, &mut diagnostics);
    assert_eq!(diagnostics.to_string(), "");
    built
}

#[test]
fn a_rollout_keeps_its_entry_while_canaries_and_latency_limit_are_the_same() {
    let (registry, dir) = (Registry::default(), tempfile::tempdir().unwrap());
    let entry = |lines: &str| {
        let built = built(&registry, &api(lines), dir.path());
        Arc::clone(&built.get("api").unwrap().entry)
    };
    let first = entry("weight 5%;");
    assert!(Arc::ptr_eq(&first, &entry("steps 1% 5m, 100%; limit 5xx_rate > 2%;")));
    let slower = entry("limit p99 > 3s;");
    assert!(!Arc::ptr_eq(&first, &slower));
    assert!(!Arc::ptr_eq(&first, &entry("canary b version=v3;")));
    assert!(Arc::ptr_eq(&first, &entry("")), "it is still known");
    let address = Arc::as_ptr(first.evidence());
    drop((first, slower));
    let again = entry("");
    assert_eq!(again.evidence().totals(1), Default::default());
    assert_ne!(address, std::ptr::null());
    assert_eq!(registry.known.lock().len(), 1, "what nobody has is forgotten");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was written");
}

#[test]
fn another_shape_of_a_live_rollout_keeps_its_secret() {
    let (registry, dir) = (Registry::default(), tempfile::tempdir().unwrap());
    let first = Arc::clone(&built(&registry, &api(""), dir.path()).get("api").unwrap().entry);
    registry.set_live(vec![Arc::clone(&first)]);
    let built = built(&registry, &api("limit p99 > 3s; journal other;"), dir.path());
    let other = &built.get("api").unwrap().entry;
    assert!(!Arc::ptr_eq(&first, other) && other.has_secret(&first.secret));
    let id = [7; 16];
    let cookie = first.own_secret().cookie("api", &id);
    assert_eq!(other.own_secret().user("api", cookie.as_bytes()), Some(id));
}

#[test]
fn a_secret_comes_from_the_journal() {
    let (registry, dir) = (Registry::default(), tempfile::tempdir().unwrap());
    let path = dir.path().join("rollouts/api.journal");
    let (mut journal, _, secret) = Journal::open(&path, "api", &[7; 32]).unwrap();
    let plan = Plan::new(&api("")[0]);
    let state = crate::rollout::state::State::begin(&plan);
    let event = crate::rollout::journal::checkpoint(&state);
    journal.append(&crate::rollout::journal::record(1, event, &state, vec![])).unwrap();
    let built = built(&registry, &api(""), dir.path());
    assert!(built.get("api").unwrap().entry.has_secret(&secret));
}

#[test]
fn journals_that_cannot_be_are_faults() {
    let (registry, dir) = (Registry::default(), tempfile::tempdir().unwrap());
    let faults = |rollouts: &[model::Rollout]| {
        let mut diagnostics = Diagnostics::default();
        registry.build(rollouts, dir.path(), &mut diagnostics);
        diagnostics.to_string()
    };
    let text = faults(&api("journal none/x;"));
    assert!(text.contains("the journal of rollout \"api\": there is no folder"), "{text}");
    let two = rollouts(
        "rollout api { stable a; canary b; } \
         rollout shop { stable a; canary b; journal ./rollouts/api.journal; }",
    );
    let text = faults(&two);
    assert!(text.contains("rollouts/api.journal\" is another rollout's"), "{text}");
}

#[test]
fn commands_wait_in_a_queue_with_a_limit() {
    let (registry, dir) = (Registry::default(), tempfile::tempdir().unwrap());
    let entry = Arc::clone(&built(&registry, &api(""), dir.path()).get("api").unwrap().entry);
    let inbox = registry.inbox().unwrap();
    assert!(registry.inbox().is_none());
    for _ in 0..MOST_WAITING {
        entry.send(Command::Pause).unwrap();
    }
    assert_eq!(entry.send(Command::Pause), Err(Busy));
    let Order::Command { entry: to, command, answer } = inbox.recv().unwrap() else { panic!() };
    assert!(Arc::ptr_eq(&to, &entry) && command == Command::Pause && answer.is_none());
    to.taken();
    entry.send(Command::Abort).unwrap();
}
