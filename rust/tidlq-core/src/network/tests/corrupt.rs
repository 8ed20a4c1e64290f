//! Corrupt and hostile files are refused or run; nothing panics and nothing allocates without bound.

use proptest::prelude::*;

use super::small_network;
use crate::isa::Isa;
use crate::network::Engine;
use crate::network::file::with_header;
use crate::network::values::Values;

/// Networks whose features need more are not run by these tests.
const RUN_BYTES: usize = 1 << 22;

/// Most multiplications and the like that these tests spend on one network.
const RUN_ELEMENTS: usize = 1 << 20;

/// Loads a file and, if that succeeds, runs it on zeros.
fn load_and_run(file: &[u8]) {
    let Ok(engine) = Engine::load(file, Isa::Scalar, 1) else {
        return;
    };
    let program = engine.program();
    let tensors = program.inputs.iter().map(|&input| &program.tensors[input]);
    let elements: usize = tensors.clone().map(|tensor| tensor.elements()).sum();
    if engine.feature_bytes() > RUN_BYTES || elements > RUN_ELEMENTS {
        return;
    }
    let arrays: Vec<Values> = tensors
        .map(|tensor| Values::zeroed(tensor.element_type, tensor.elements()).unwrap())
        .collect();
    let views: Vec<_> = arrays.iter().map(Values::view).collect();
    engine.run(&views, 1).unwrap();
}

#[test]
fn every_truncation_is_refused() {
    let file = small_network().file();
    for length in 0..file.len() {
        assert!(Engine::load(&file[..length], Isa::Scalar, 1).is_err(), "{length} bytes");
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let mut file = small_network().file();
    file.push(0);
    assert!(Engine::load(&file, Isa::Scalar, 1).is_err());
}

#[test]
fn every_flipped_bit_is_refused() {
    let file = small_network().file();
    for bit in 0..8 * file.len() {
        let mut file = file.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        assert!(Engine::load(&file, Isa::Scalar, 1).is_err(), "bit {bit}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_are_refused(file in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Engine::load(&file, Isa::Scalar, 1).is_err());
    }

    #[test]
    fn a_changed_payload_with_a_right_checksum_never_panics(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut payload = small_network().file()[24..].to_vec();
        for (index, value) in changes {
            let at = index.index(payload.len());
            payload[at] = value;
        }
        load_and_run(&with_header(&payload));
    }

    #[test]
    fn a_spliced_payload_with_a_right_checksum_never_panics(
        cut in any::<prop::sample::Index>(), length in 0..12_usize,
        inserted in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut payload = small_network().file()[24..].to_vec();
        let start = cut.index(payload.len());
        let end = payload.len().min(start + length);
        payload.splice(start..end, inserted);
        load_and_run(&with_header(&payload));
    }
}
