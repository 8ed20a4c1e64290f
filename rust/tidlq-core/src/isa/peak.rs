//! What the multiplication instructions reach when nothing else is in the way: the measure of kernels.

#![expect(clippy::needless_range_loop, reason = "iterators may keep sums out of registers")]

use std::hint::black_box;

use super::simd::{MAX_LANES, Simd, SimdBody};
use super::tiles::multiply_tiles;
use super::{Cpu, Isa};

/// Accumulators in flight: enough to hide the latency, and within the registers of each instruction set.
const CHAINS: usize = 10;

/// What is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// Unsigned by signed bytes.
    Bytes,
    /// Signed 16-bit numbers.
    Halves,
}

/// Executes `rounds` rounds of independent multiplications on registers, and returns how many products
/// of two elements they added up; `None` when the CPU lacks the instruction set. AVX2, which has no exact
/// product of bytes, multiplies them as 16-bit numbers; AMX multiplies bytes in tiles.
pub fn multiply_registers(isa: Isa, products: Products, rounds: usize) -> Option<u64> {
    let cpu = Cpu::new(isa)?;
    if (isa, products) == (Isa::Amx, Products::Bytes) {
        return multiply_tiles(cpu, rounds);
    }
    let products = if isa == Isa::Avx2 { Products::Halves } else { products };
    black_box(cpu.run_simd(RegistersBody { products, rounds }));
    let elements = match products {
        Products::Bytes => 4,
        Products::Halves => 2,
    };
    Some((rounds * CHAINS * isa.lanes() * elements) as u64)
}

struct RegistersBody {
    products: Products,
    rounds: usize,
}

impl SimdBody for RegistersBody {
    type Output = i32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> i32 {
        let (a, b) = (simd.splat(black_box(0x0102_0304)), simd.splat(black_box(0x0101_0101)));
        let mut acc = [simd.splat(0); CHAINS];
        for _ in 0..self.rounds {
            for chain in 0..CHAINS {
                acc[chain] = match self.products {
                    Products::Bytes => simd.dot4(acc[chain], a, b),
                    // A product of two constants would be computed once, outside of the loop.
                    Products::Halves => simd.dot2(a, acc[chain], b),
                };
            }
        }
        let mut sum = simd.splat(0);
        for acc in acc {
            sum = simd.xor(sum, acc);
        }
        let mut lanes = [0; MAX_LANES];
        simd.store(sum, &mut lanes);
        lanes[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::isa_tests;

    isa_tests! {
        fn products_are_counted(cpu: Cpu) {
            let isa = cpu.isa();
            let lanes = isa.lanes() as u64;
            let bytes = if isa == Isa::Avx2 { 2 } else { 4 };
            let sums = if isa == Isa::Amx { 12 * 16 * 16 * 16 * 4 } else { 30 * lanes * bytes };
            assert_eq!(multiply_registers(isa, Products::Bytes, 3), Some(sums));
            assert_eq!(multiply_registers(isa, Products::Halves, 3), Some(30 * lanes * 2));
        }
    }
}
