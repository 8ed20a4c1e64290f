//! Vectors of 32-bit lanes: what a kernel is written against once, and each instruction set implements.

use super::Isa;

/// Greatest number of lanes.
pub(crate) const MAX_LANES: usize = 16;

/// An instruction set's vectors. A value of an implementing type proves that the CPU has them.
///
/// Methods are `#[inline(always)]` and only for code that [`super::Cpu::run_simd`] has entered.
pub(crate) trait Simd: Copy {
    /// A vector of 32-bit integers.
    type I32: Copy;
    /// Lanes of a vector.
    const LANES: usize;
    /// Vector registers.
    const REGISTERS: usize;

    /// Every lane the same.
    fn splat(self, value: i32) -> Self::I32;
    /// The first `LANES` integers.
    fn load(self, from: &[i32]) -> Self::I32;
    /// Writes to the first `LANES` integers.
    fn store(self, vector: Self::I32, to: &mut [i32]);
    /// Exclusive or.
    fn xor(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Adds the four products of unsigned with signed bytes of each lane; wraps.
    fn dot4(self, acc: Self::I32, unsigned: Self::I32, signed: Self::I32) -> Self::I32;
    /// Adds the two products of signed 16-bit halves of each lane; wraps.
    fn dot2(self, acc: Self::I32, a: Self::I32, b: Self::I32) -> Self::I32;
}

/// Code over vectors, compiled once per instruction set; as [`super::Body`] otherwise.
pub(crate) trait SimdBody {
    /// What the body returns.
    type Output;

    /// Runs it.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// Lanes of a vector.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Self::Scalar => Scalar::LANES,
            Self::Avx2 => 8,
            Self::Avx512 => 16,
        }
    }

    /// Vector registers.
    pub(crate) const fn registers(self) -> usize {
        match self {
            Self::Scalar | Self::Avx2 => 16,
            Self::Avx512 => 32,
        }
    }
}

/// Plain Rust: the definition of every method.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

impl Simd for Scalar {
    type I32 = [i32; 4];
    const LANES: usize = 4;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, value: i32) -> [i32; 4] {
        [value; 4]
    }

    #[inline(always)]
    fn load(self, from: &[i32]) -> [i32; 4] {
        [from[0], from[1], from[2], from[3]]
    }

    #[inline(always)]
    fn store(self, vector: [i32; 4], to: &mut [i32]) {
        to[..4].copy_from_slice(&vector);
    }

    #[inline(always)]
    fn xor(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        [a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]]
    }

    #[inline(always)]
    fn dot4(self, mut acc: [i32; 4], unsigned: [i32; 4], signed: [i32; 4]) -> [i32; 4] {
        for lane in 0..4 {
            let (a, b) = (unsigned[lane].to_le_bytes(), signed[lane].to_le_bytes());
            for byte in 0..4 {
                let product = i32::from(a[byte]) * i32::from(b[byte] as i8);
                acc[lane] = acc[lane].wrapping_add(product);
            }
        }
        acc
    }

    #[inline(always)]
    fn dot2(self, mut acc: [i32; 4], a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        for lane in 0..4 {
            let low = i32::from(a[lane] as i16) * i32::from(b[lane] as i16);
            let high = (a[lane] >> 16) * (b[lane] >> 16);
            acc[lane] = acc[lane].wrapping_add(low).wrapping_add(high);
        }
        acc
    }
}
