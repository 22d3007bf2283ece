//! What makes a configuration one that could take over, and what does not.

use super::*;
use crate::control::Origin;
use std::future::Future;

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

fn known() -> Known {
    Known {
        registry: Arc::default(),
        rollouts: Arc::default(),
        limits: Arc::default(),
        dicts: Arc::default(),
        generation: 7,
    }
}

fn build(text: &'static str) -> Result<Candidate, Diagnostics> {
    let prefix = tempfile::tempdir().unwrap();
    let source = Source {
        origin: Origin::Embedded("test.conf", text),
        prefix: prefix.path().to_owned(),
        globals: Some("worker_processes 3;".to_owned()),
        error_log: Some("stderr".into()),
    };
    run(Candidate::build(&source, known()))
}

#[track_caller]
fn refused(text: &'static str) -> String {
    match build(text) {
        Ok(_) => panic!("{text} is taken"),
        Err(diagnostics) => diagnostics.to_string(),
    }
}

#[test]
fn what_is_sound_could_take_over() {
    let text = "events {} http { access_log off; lua_shared_dict d 1m;\n\
                init_by_lua_block { ngx.shared.d:set(\"n\", 1) }\n\
                server { listen 127.0.0.1:1; return 200; } }";
    let candidate = build(text).unwrap_or_else(|it| panic!("{it}"));
    assert_eq!((candidate.snapshot.generation, candidate.workers()), (7, 3));
    assert_eq!(candidate.snapshot.listeners.len(), 1);
    let now_ms = crate::clock::unix_ms();
    let dict = candidate.dicts.get("d").unwrap();
    assert!(dict.keys(0, now_ms).is_empty(), "the trial wrote into the real dictionary");
}

#[test]
fn faults_of_text_lua_and_names_have_their_place() {
    let fault = refused("events {} http {\n lissen 1; }");
    assert!(fault.starts_with("test.conf:2: unknown directive \"lissen\""), "{fault}");
    let fault = refused(
        "events {} http { access_log off; server { listen 127.0.0.1:1; location / {\n\
         content_by_lua_block { x = = 1 } } } }",
    );
    assert!(fault.starts_with("test.conf:2: ") && fault.contains("unexpected symbol"), "{fault}");
    let fault =
        refused("events {} http { access_log off;\n\n init_by_lua_block { error(\"no good\") } }");
    assert!(fault.starts_with("test.conf:3: ") && fault.contains("no good"), "{fault}");
}

#[test]
fn a_code_cache_that_is_off_is_a_warning() {
    let text =
        "events {} http { access_log off; lua_code_cache off; server { listen 127.0.0.1:1; } }";
    let candidate = build(text).unwrap_or_else(|it| panic!("{it}"));
    let said = candidate.diagnostics.to_string();
    assert!(said.contains("lua_code_cache is off; this will hurt performance"), "{said}");
}

#[test]
fn a_compiler_that_panics_refuses_the_configuration() {
    let panics = || -> Result<(), Diagnostics> { panic!("the test asks for it") };
    let fault = run(on_a_thread("compiler", panics)).unwrap_err().to_string();
    assert!(fault.contains("the compiler panicked: a fault of this program"), "{fault}");
}
