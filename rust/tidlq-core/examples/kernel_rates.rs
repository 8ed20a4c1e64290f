//! Products per second of kernels beside what the multiplication instructions reach, one thread, every
//! instruction set in turn: `cargo run --release --example kernel_rates -- ROUNDS FILE...`.
//!
//! Each `.tidlq` file has one layer that is looked at: the one of most products. Prints tab-separated
//! lines, rates in 1e9 products per second: `peak ISA PRODUCTS RATE`,
//! `kernel ISA FILE RATE MICROSECONDS TYPES SHARE`, and `selected ISA`. TYPES are those of features and
//! weights; SHARE is of the peak of what multiplies them: bytes for 8 against 8 bits, else 16-bit
//! numbers, of which a product of 16 with 16 bits takes two where its sum exceeds 32 bits.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

mod noise;

use std::time::Instant;

use noise::inputs;
use tidlq_core::element::ElementType;
use tidlq_core::isa::{Isa, Products, multiply_registers};
use tidlq_core::network::{Engine, Stepper, Values};

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Rounds of [`multiply_registers`] that take some tenths of a millisecond.
const REGISTER_ROUNDS: usize = 100_000;

/// Layers that are timed at a time; the least time of so many counts.
const REPEATS: usize = 5;

/// A loaded file, and the layer of most products.
struct Subject {
    name: String,
    isa: Isa,
    stepper: Stepper,
    layer: usize,
    products: usize,
    /// Of features and weights.
    types: [ElementType; 2],
    least: f64,
}

impl Subject {
    fn load(name: &str, isa: Isa) -> Outcome<Self> {
        let engine = Engine::load(&std::fs::read(name)?, isa, 1)?;
        let inputs = inputs(&engine);
        let views: Vec<_> = inputs.iter().map(Values::view).collect();
        let stepper = Stepper::new(engine, &views, 1)?;
        let program = stepper.engine().program();
        let layers = 0..stepper.layers().len();
        let layer = layers.max_by_key(|&layer| program.products(layer)).ok_or("no layer")?;
        let products = program.products(layer);
        let weights = program.weight_type(layer).ok_or("no layer has weights")?;
        let types = [program.layer_ends(layer).0.element_type, weights];
        Ok(Self { name: name.to_owned(), isa, stepper, layer, products, types, least: f64::MAX })
    }

    /// What multiplies features with weights.
    fn factors(&self) -> Products {
        let is_bytes = self.types.iter().all(|of| of.size_bytes() == 1);
        if is_bytes { Products::Bytes } else { Products::Halves }
    }

    fn measure(&mut self) -> Outcome<()> {
        for _ in 0..REPEATS {
            self.stepper.restart()?;
            self.stepper.advance(0..1, self.layer)?;
            let start = Instant::now();
            self.stepper.advance(0..1, self.layer + 1)?;
            self.least = self.least.min(start.elapsed().as_secs_f64());
        }
        Ok(())
    }
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().ok_or("a number of rounds is needed")?.parse()?;
    let mut peaks = Vec::new();
    let mut subjects = Vec::new();
    let files: Vec<String> = arguments.collect();
    for isa in Isa::available() {
        peaks.extend([(isa, Products::Bytes, 0.0_f64), (isa, Products::Halves, 0.0)]);
        for file in &files {
            subjects.push(Subject::load(file, isa)?);
        }
    }
    for _ in 0..rounds {
        for (isa, products, rate) in &mut peaks {
            let start = Instant::now();
            let count = multiply_registers(*isa, *products, REGISTER_ROUNDS).unwrap_or(0);
            *rate = rate.max(count as f64 / start.elapsed().as_secs_f64() / 1e9);
        }
        for subject in &mut subjects {
            subject.measure()?;
        }
    }
    for (isa, products, rate) in &peaks {
        println!("peak\t{isa}\t{products:?}\t{rate:.1}");
    }
    for subject in subjects {
        let Subject { name, isa, products, least, types: [features, weights], .. } = &subject;
        let rate = *products as f64 / least / 1e9;
        let is_peak = |of: &&(Isa, Products, f64)| (of.0, of.1) == (*isa, subject.factors());
        let share = peaks.iter().find(is_peak).map_or(0.0, |peak| rate / peak.2);
        let types = format!("{}x{}", features.name(), weights.name());
        let microseconds = least * 1e6;
        println!("kernel\t{isa}\t{name}\t{rate:.1}\t{microseconds:.1}\t{types}\t{share:.2}");
    }
    println!("selected\t{}", Isa::select(None)?);
    Ok(())
}
