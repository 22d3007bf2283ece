//! Any bytes are read as a request target: what is accepted never leaves the root.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use moongate::http::uri;

fuzz_target!(|input: (bool, &[u8])| {
    let (merge_slashes, bytes) = input;
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(target) = uri::parse(&bytes, merge_slashes) else { return };
    assert!(target.path.starts_with(b"/"));
    assert!(!target.path.contains(&0));
    assert!(target.path.split(|it| *it == b'/').all(|it| it != b".." && it != b"."));
    assert!(!merge_slashes || !target.path.windows(2).any(|it| it == b"//"));
});
