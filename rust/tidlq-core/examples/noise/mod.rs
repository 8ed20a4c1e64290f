//! Made-up inputs for the programs that measure, the same in every run.

use tidlq_core::element::ElementType;
use tidlq_core::network::{Engine, Values};

/// One frame for a network.
pub fn inputs(engine: &Engine) -> Vec<Values> {
    let program = engine.program();
    let tensors = program.inputs.iter().map(|&index| &program.tensors[index]);
    tensors.map(|tensor| input(tensor.element_type, tensor.elements())).collect()
}

fn input(element_type: ElementType, elements: usize) -> Values {
    let noise = |index: usize| (index.wrapping_mul(2_654_435_761) >> 7) as u32;
    match element_type {
        ElementType::U8 => Values::U8((0..elements).map(|index| noise(index) as u8).collect()),
        ElementType::S8 => Values::S8((0..elements).map(|index| noise(index) as i8).collect()),
        ElementType::U16 => Values::U16((0..elements).map(|index| noise(index) as u16).collect()),
        ElementType::S16 => Values::S16((0..elements).map(|index| noise(index) as i16).collect()),
        ElementType::F32 => {
            let value = |index| (noise(index) % 1000) as f32 / 250.0 - 2.0;
            Values::F32((0..elements).map(value).collect())
        }
        // No input of a network has them.
        ElementType::S32 => Values::S32(vec![0; elements]),
        ElementType::S64 => Values::S64(vec![0; elements]),
    }
}
