//! Least time of whole runs of a `.tidlq` file, one frame:
//! `cargo run --release --example run_times -- FILE [THREADS]`. For every line N on its input it runs N times
//! and prints the least microseconds, so that builds and files can be measured in turn.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

mod noise;

use std::io::BufRead;
use std::time::Instant;

use noise::inputs;
use tidlq_core::isa::Isa;
use tidlq_core::network::{Engine, Values};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = std::fs::read(arguments.next().ok_or("a .tidlq file is needed")?)?;
    let threads: usize = arguments.next().map_or(Ok(1), |threads| threads.parse())?;
    let pin = std::env::var("TIDLQ_ISA").ok();
    let engine = Engine::load(&file, Isa::select(pin.as_deref())?, threads)?;
    let inputs = inputs(&engine);
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
