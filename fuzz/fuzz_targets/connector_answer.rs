#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    obo_gateway::fuzzing::connector_answer(data);
});
