//! Least time of whole runs of a `.tidlq` file, one frame:
//! `cargo run --release --example run_times -- FILE [THREADS]`. For every line N on its input it runs N times
//! and prints the least microseconds, so that builds and files can be measured in turn.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::io::BufRead;
use std::time::Instant;

use tidlq_core::element::ElementType;
use tidlq_core::isa::Isa;
use tidlq_core::network::{Engine, Values};

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

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = std::fs::read(arguments.next().ok_or("a .tidlq file is needed")?)?;
    let threads: usize = arguments.next().map_or(Ok(1), |threads| threads.parse())?;
    let pin = std::env::var("TIDLQ_ISA").ok();
    let engine = Engine::load(&file, Isa::select(pin.as_deref())?, threads)?;
    let program = engine.program();
    let tensors = program.inputs.iter().map(|&index| &program.tensors[index]);
    let inputs: Vec<Values> =
        tensors.map(|tensor| input(tensor.element_type, tensor.elements())).collect();
    let views: Vec<_> = inputs.iter().map(Values::view).collect();
    for line in std::io::stdin().lock().lines() {
        let mut least = f64::MAX;
        for _ in 0..line?.trim().parse::<usize>()? {
            let start = Instant::now();
            engine.run(&views, 1)?;
            least = least.min(start.elapsed().as_secs_f64());
        }
        println!("{:.1}", least * 1e6);
    }
    Ok(())
}
