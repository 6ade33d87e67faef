#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scrollback_fuzz::bounded(data, scrollback_api::fuzzing::arvados));
