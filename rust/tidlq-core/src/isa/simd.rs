//! Vectors of 32-bit lanes: what a kernel is written against once, and each instruction set implements.

use super::Isa;
use crate::element::ElementType;

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
    /// Every pair of lanes the same 64 bits.
    fn splat_pairs(self, value: u64) -> Self::I32;
    /// The first `LANES` integers.
    fn load(self, from: &[i32]) -> Self::I32;
    /// Writes to the first `LANES` integers.
    fn store(self, vector: Self::I32, to: &mut [i32]);
    /// The first `4 * LANES` bytes.
    fn load_bytes(self, from: &[u8]) -> Self::I32;
    /// Exclusive or.
    fn xor(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Adds the four products of unsigned with signed bytes of each lane; wraps.
    fn dot4(self, acc: Self::I32, unsigned: Self::I32, signed: Self::I32) -> Self::I32;
    /// Adds the two products of signed 16-bit halves of each lane; wraps.
    fn dot2(self, acc: Self::I32, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Sum; wraps.
    fn add(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Difference; wraps.
    fn sub(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The greater of each lane.
    fn max(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The lesser of each lane.
    fn min(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Arithmetic shift to the right, by 0 to 31 for each lane.
    fn shift(self, a: Self::I32, by: Self::I32) -> Self::I32;
    /// `float32(a) * scale`, limited to `low..=high`; `scale` and the limits are bits of float32.
    /// A NaN gives `low`.
    fn scale(self, a: Self::I32, scale: Self::I32, limits: (Self::I32, Self::I32)) -> Self::I32;
    /// `float32(a) * scale`, below 2^31 in magnitude, rounded to an integer, halves to even.
    fn scale_to_nearest(self, a: Self::I32, scale: Self::I32) -> Self::I32;
    /// Sum of float32, as bits.
    fn add_float(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// For each pair of lanes, in 64 bits: the product of the even lanes, plus the pair of `addend`.
    fn multiply(self, a: Self::I32, factor: Self::I32, addend: Self::I32) -> Self::I32;
    /// Upper 32 bits of the products of the lanes; `odd_factor` has the odd lanes' factors in the
    /// even lanes before them.
    fn multiply_high(self, a: Self::I32, factor: Self::I32, odd_factor: Self::I32) -> Self::I32;
    /// Pairs of lanes shifted to the right, logically.
    fn shift_pairs(self, a: Self::I32, by: Self::I32) -> Self::I32;
    /// Odd lanes moved to the even lanes before them.
    fn odd(self, a: Self::I32) -> Self::I32;
    /// Even lanes of `even`, and the even lanes of `odd` in odd places.
    fn merge(self, even: Self::I32, odd: Self::I32) -> Self::I32;
    /// Odd lanes of `even` in the places before them, and the odd lanes of `odd`.
    fn merge_upper(self, even: Self::I32, odd: Self::I32) -> Self::I32;
    /// Writes the lowest byte of each lane.
    fn store_bytes(self, vector: Self::I32, to: &mut [u8]);
    /// Writes the lower 16 bits of each lane.
    fn store_halves(self, vector: Self::I32, to: &mut [u8]);
    /// Words of the bytes at the same place of four vectors. With places counted within stretches of
    /// 16 bytes, vector u of the result holds places 4 u to 4 u + 3 of every stretch.
    fn interleave(self, bytes: [Self::I32; 4]) -> [Self::I32; 4];
    /// Writes the first lanes of four vectors that are ordered as [`Simd::interleave`] orders them, in
    /// the order of places, clamped to bytes; as many as `to` holds.
    fn pack(self, words: [Self::I32; 4], limits: ByteLimits<Self>, to: &mut [u8]);
    /// Writes the first lanes of four vectors, clamped to bytes, as many as `to` holds.
    fn pack_in_order(self, words: [Self::I32; 4], limits: ByteLimits<Self>, to: &mut [u8]);
    /// Bitwise and.
    fn and(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Sum of pairs of lanes, in 64 bits; wraps.
    fn add_pairs(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Elements of 16 bits, one a lane.
    fn widen_halves(self, from: &[u8], signed: bool) -> Self::I32;
    /// Words of the 16-bit halves at the same place of two vectors. With places counted within
    /// stretches of 8 halves, vector u of the result holds places 4 u to 4 u + 3 of every stretch.
    fn interleave_halves(self, halves: [Self::I32; 2]) -> [Self::I32; 2];
    /// Writes the lower halves of two vectors that are ordered as [`Simd::interleave_halves`] orders
    /// them, in the order of places. Lanes are within the range of 16 bits, signed or not.
    fn pack_halves(self, words: [Self::I32; 2], signed: bool, to: &mut [u8]);
}

/// What clamps packed bytes; every byte of a vector the same.
#[derive(Clone, Copy)]
pub(crate) struct ByteLimits<S: Simd> {
    pub low: S::I32,
    pub high: S::I32,
    pub is_signed: bool,
}

impl<S: Simd> ByteLimits<S> {
    /// For clamps within the range of a type of bytes.
    #[inline(always)]
    pub fn new(simd: S, element_type: ElementType, (low, high): (i32, i32)) -> Self {
        let low = simd.splat(i32::from_ne_bytes([low as u8; 4]));
        let high = simd.splat(i32::from_ne_bytes([high as u8; 4]));
        Self { low, high, is_signed: element_type == ElementType::S8 }
    }
}

impl ByteLimits<Scalar> {
    #[inline(always)]
    fn clamp(self, lane: i32) -> u8 {
        let limit = |bytes: [i32; 4]| match self.is_signed {
            true => i32::from(bytes[0] as i8),
            false => i32::from(bytes[0] as u8),
        };
        lane.max(limit(self.low)).min(limit(self.high)) as u8
    }
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
            Self::Avx512 | Self::Amx => 16,
        }
    }

    /// Vector registers.
    pub(crate) const fn registers(self) -> usize {
        match self {
            Self::Scalar | Self::Avx2 => 16,
            Self::Avx512 | Self::Amx => 32,
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
    fn splat_pairs(self, value: u64) -> [i32; 4] {
        narrow(value, value)
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

    #[inline(always)]
    fn load_bytes(self, from: &[u8]) -> [i32; 4] {
        let (words, _) = from.as_chunks::<4>();
        let word = |lane: usize| i32::from_le_bytes(words[lane]);
        [word(0), word(1), word(2), word(3)]
    }

    #[inline(always)]
    fn add(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| a[lane].wrapping_add(b[lane]))
    }

    #[inline(always)]
    fn sub(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| a[lane].wrapping_sub(b[lane]))
    }

    #[inline(always)]
    fn max(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| a[lane].max(b[lane]))
    }

    #[inline(always)]
    fn min(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| a[lane].min(b[lane]))
    }

    #[inline(always)]
    fn shift(self, a: [i32; 4], by: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| a[lane] >> by[lane])
    }

    #[inline(always)]
    fn scale(self, a: [i32; 4], scale: [i32; 4], limits: ([i32; 4], [i32; 4])) -> [i32; 4] {
        let float = |bits: i32| f32::from_bits(bits as u32);
        std::array::from_fn(|lane| {
            let value = a[lane] as f32 * float(scale[lane]);
            let (low, high) = (float(limits.0[lane]), float(limits.1[lane]));
            let value = if value > low { value } else { low };
            let value = if value < high { value } else { high };
            value.to_bits() as i32
        })
    }

    #[inline(always)]
    fn scale_to_nearest(self, a: [i32; 4], scale: [i32; 4]) -> [i32; 4] {
        let value = |lane: usize| a[lane] as f32 * f32::from_bits(scale[lane] as u32);
        std::array::from_fn(|lane| value(lane).round_ties_even() as i32)
    }

    #[inline(always)]
    fn add_float(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        let float = |bits: i32| f32::from_bits(bits as u32);
        std::array::from_fn(|lane| (float(a[lane]) + float(b[lane])).to_bits() as i32)
    }

    #[inline(always)]
    fn multiply(self, a: [i32; 4], factor: [i32; 4], addend: [i32; 4]) -> [i32; 4] {
        let pair = |lane: usize| {
            let product = i64::from(a[lane]) * i64::from(factor[lane]);
            (product as u64).wrapping_add(wide(addend, lane))
        };
        narrow(pair(0), pair(2))
    }

    #[inline(always)]
    fn multiply_high(self, a: [i32; 4], factor: [i32; 4], odd_factor: [i32; 4]) -> [i32; 4] {
        let factors = [factor[0], odd_factor[0], factor[2], odd_factor[2]];
        let product = |lane: usize| i64::from(a[lane]) * i64::from(factors[lane]);
        std::array::from_fn(|lane| (product(lane) >> 32) as i32)
    }

    #[inline(always)]
    fn shift_pairs(self, a: [i32; 4], by: [i32; 4]) -> [i32; 4] {
        narrow(wide(a, 0) >> wide(by, 0), wide(a, 2) >> wide(by, 2))
    }

    #[inline(always)]
    fn odd(self, a: [i32; 4]) -> [i32; 4] {
        [a[1], 0, a[3], 0]
    }

    #[inline(always)]
    fn merge(self, even: [i32; 4], odd: [i32; 4]) -> [i32; 4] {
        [even[0], odd[0], even[2], odd[2]]
    }

    #[inline(always)]
    fn merge_upper(self, even: [i32; 4], odd: [i32; 4]) -> [i32; 4] {
        [even[1], odd[1], even[3], odd[3]]
    }

    #[inline(always)]
    fn store_bytes(self, vector: [i32; 4], to: &mut [u8]) {
        for (byte, lane) in to[..4].iter_mut().zip(vector) {
            *byte = lane as u8;
        }
    }

    #[inline(always)]
    fn store_halves(self, vector: [i32; 4], to: &mut [u8]) {
        for (half, lane) in to[..8].chunks_exact_mut(2).zip(vector) {
            half.copy_from_slice(&(lane as u16).to_le_bytes());
        }
    }

    #[inline(always)]
    fn interleave(self, bytes: [[i32; 4]; 4]) -> [[i32; 4]; 4] {
        let byte = |vector: usize, place: usize| bytes[vector][place / 4].to_le_bytes()[place % 4];
        let word = |place| i32::from_le_bytes(std::array::from_fn(|vector| byte(vector, place)));
        std::array::from_fn(|vector| std::array::from_fn(|lane| word(4 * vector + lane)))
    }

    #[inline(always)]
    fn pack(self, words: [[i32; 4]; 4], limits: ByteLimits<Self>, to: &mut [u8]) {
        self.pack_in_order(words, limits, to);
    }

    #[inline(always)]
    fn pack_in_order(self, words: [[i32; 4]; 4], limits: ByteLimits<Self>, to: &mut [u8]) {
        for (byte, lane) in to.iter_mut().zip(words.as_flattened()) {
            *byte = limits.clamp(*lane);
        }
    }

    #[inline(always)]
    fn and(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| a[lane] & b[lane])
    }

    #[inline(always)]
    fn add_pairs(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        let pair = |lane: usize| wide(a, lane).wrapping_add(wide(b, lane));
        narrow(pair(0), pair(2))
    }

    #[inline(always)]
    fn widen_halves(self, from: &[u8], signed: bool) -> [i32; 4] {
        let (halves, _) = from.as_chunks::<2>();
        let widen = |half: [u8; 2]| match signed {
            true => i32::from(i16::from_le_bytes(half)),
            false => i32::from(u16::from_le_bytes(half)),
        };
        [widen(halves[0]), widen(halves[1]), widen(halves[2]), widen(halves[3])]
    }

    #[inline(always)]
    fn interleave_halves(self, halves: [[i32; 4]; 2]) -> [[i32; 4]; 2] {
        let half = |vector: usize, place: usize| {
            (halves[vector][place / 2] as u32 >> (place % 2 * 16)) & 0xffff
        };
        let word = |place| (half(0, place) | half(1, place) << 16) as i32;
        std::array::from_fn(|vector| std::array::from_fn(|lane| word(4 * vector + lane)))
    }

    #[inline(always)]
    fn pack_halves(self, [first, second]: [[i32; 4]; 2], _: bool, to: &mut [u8]) {
        self.store_halves(first, &mut to[..8]);
        self.store_halves(second, &mut to[8..16]);
    }
}

/// A pair of lanes.
#[inline(always)]
fn wide(vector: [i32; 4], lane: usize) -> u64 {
    u64::from(vector[lane] as u32) | u64::from(vector[lane + 1] as u32) << 32
}

/// Lanes of two pairs.
#[inline(always)]
fn narrow(first: u64, second: u64) -> [i32; 4] {
    [first as i32, (first >> 32) as i32, second as i32, (second >> 32) as i32]
}
