//! Least time of each layer of a `.tidlq` file, one frame, one thread:
//! `cargo run --release --example layer_times -- FILE [ROUNDS]`.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

mod noise;

use std::time::Instant;

use noise::inputs;
use tidlq_core::isa::Isa;
use tidlq_core::network::{Engine, Stepper, Values};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = std::fs::read(arguments.next().ok_or("a .tidlq file is needed")?)?;
    let rounds: usize = arguments.next().map_or(Ok(20), |rounds| rounds.parse())?;
    let pin = std::env::var("TIDLQ_ISA").ok();
    let engine = Engine::load(&file, Isa::select(pin.as_deref())?, 1)?;
    let inputs = inputs(&engine);
    let views: Vec<_> = inputs.iter().map(Values::view).collect();
    let mut stepper = Stepper::new(engine, &views, 1)?;
    let names: Vec<String> = stepper.layers().into_iter().map(str::to_owned).collect();
    let mut least = vec![f64::MAX; names.len()];
    for _ in 0..rounds {
        stepper.restart()?;
        for (layer, least) in least.iter_mut().enumerate() {
            let start = Instant::now();
            stepper.advance(0..1, layer + 1)?;
            *least = least.min(start.elapsed().as_secs_f64());
        }
    }
    let program = stepper.engine().program();
    for (index, (name, seconds)) in names.iter().zip(&least).enumerate() {
        let (input, output) = program.layer_ends(index);
        let rate = program.products(index) as f64 / seconds / 1e9;
        let ends = format!(
            "{} {:?} -> {} {:?}",
            input.element_type.name(),
            input.shape,
            output.element_type.name(),
            output.shape
        );
        println!("{:9.1} us  {rate:7.1} GMAC/s  {ends}  {name}", seconds * 1e6);
    }
    println!("{:9.1} us", least.iter().sum::<f64>() * 1e6);
    Ok(())
}
