//! Fuzz target: the stage that takes envelopes off. Any bytes give elements within the limits, or an error that says why.

#![no_main]

use schemas::envelope::{self, Element, MAX_LAYERS, MAX_UNPACKED_BYTES};
use schemas::json::MAX_ELEMENTS;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let unpacked = match envelope::unpack(bytes) {
        Ok(unpacked) => unpacked,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(unpacked.taken_off.len() <= MAX_LAYERS);
    assert!(unpacked.bytes.len() as u64 <= MAX_UNPACKED_BYTES.max(bytes.len() as u64));
    match envelope::elements(&unpacked.bytes, &[]) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(elements) => {
            assert!(elements.len() <= MAX_ELEMENTS);
            for element in elements {
                if let Element::Good { json, .. } = element {
                    let printed = json.compact();
                    let again = schemas::json::parse(printed.as_bytes()).expect("what is printed is JSON");
                    assert!(again == json, "what is printed reads as what was read");
                }
            }
        }
    }
});
