//! Any text is read as a configuration: it is refused with places, or it survives JSON unchanged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use moongate::config;

fuzz_target!(|text: &str| {
    match config::load_text("fuzz.conf", text, None) {
        Ok(loaded) => {
            let json = config::to_json(&loaded.model);
            let again = config::from_json(&json).expect("what was written can be read");
            assert_eq!(again, loaded.model);
        }
        Err(diagnostics) => {
            let lines = text.lines().count() + 1;
            assert!(diagnostics.has_faults());
            assert!(diagnostics.0.iter().all(|it| it.at.line as usize <= lines));
        }
    }
});
