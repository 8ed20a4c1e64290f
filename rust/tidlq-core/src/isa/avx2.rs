//! AVX2.

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm_storel_epi64, _mm_storeu_si128, _mm_unpacklo_epi32,
    _mm_unpacklo_epi64, _mm256_add_epi32, _mm256_add_epi64, _mm256_add_ps, _mm256_and_si256,
    _mm256_blend_epi32, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_castsi256_si128,
    _mm256_cvtepi16_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32, _mm256_cvtps_epi32,
    _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_max_epi8,
    _mm256_max_epi32, _mm256_max_epu8, _mm256_max_ps, _mm256_min_epi8, _mm256_min_epi32,
    _mm256_min_epu8, _mm256_min_ps, _mm256_mul_epi32, _mm256_mul_ps, _mm256_packs_epi16,
    _mm256_packs_epi32, _mm256_packus_epi16, _mm256_packus_epi32, _mm256_permutevar8x32_epi32,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_setr_epi32,
    _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_slli_epi64, _mm256_srai_epi16,
    _mm256_srav_epi32, _mm256_srli_epi16, _mm256_srli_epi64, _mm256_srlv_epi64,
    _mm256_storeu_si256, _mm256_sub_epi32, _mm256_unpackhi_epi8, _mm256_unpackhi_epi16,
    _mm256_unpacklo_epi8, _mm256_unpacklo_epi16, _mm256_xor_si256,
};

use super::simd::{ByteLimits, Simd};

/// Proof that the CPU has AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof.
    ///
    /// # Safety
    ///
    /// The CPU has AVX2.
    pub(super) const unsafe fn new() -> Self {
        Self(())
    }
}

impl Simd for Avx2 {
    type I32 = __m256i;
    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, value: i32) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set1_epi32(value) }
    }

    #[inline(always)]
    fn splat_pairs(self, value: u64) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_set1_epi64x(value as i64) }
    }

    #[inline(always)]
    fn load(self, from: &[i32]) -> __m256i {
        let from = &from[..Self::LANES];
        // SAFETY: `self` proves AVX2; the slice holds 32 bytes.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, vector: __m256i, to: &mut [i32]) {
        let to = &mut to[..Self::LANES];
        // SAFETY: `self` proves AVX2; the slice holds 32 bytes.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn dot4(self, acc: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
        // Even and odd bytes widened to 16 bits: `vpmaddubsw`, which needs no widening, saturates.
        // SAFETY: `self` proves AVX2.
        unsafe {
            let even = _mm256_and_si256(unsigned, _mm256_set1_epi16(0xff));
            let odd = _mm256_srli_epi16::<8>(unsigned);
            let even_signed = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(signed));
            let odd_signed = _mm256_srai_epi16::<8>(signed);
            let acc = _mm256_add_epi32(acc, _mm256_madd_epi16(even, even_signed));
            _mm256_add_epi32(acc, _mm256_madd_epi16(odd, odd_signed))
        }
    }

    #[inline(always)]
    fn dot2(self, acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)) }
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_sub_epi32(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_max_epi32(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_min_epi32(a, b) }
    }

    #[inline(always)]
    fn shift(self, a: __m256i, by: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_srav_epi32(a, by) }
    }

    #[inline(always)]
    fn scale(self, a: __m256i, scale: __m256i, (low, high): (__m256i, __m256i)) -> __m256i {
        // The second operand of a maximum or minimum is the result when either is NaN.
        // SAFETY: `self` proves AVX2.
        unsafe {
            let value = _mm256_mul_ps(_mm256_cvtepi32_ps(a), _mm256_castsi256_ps(scale));
            let value = _mm256_max_ps(value, _mm256_castsi256_ps(low));
            _mm256_castps_si256(_mm256_min_ps(value, _mm256_castsi256_ps(high)))
        }
    }

    #[inline(always)]
    fn scale_to_nearest(self, a: __m256i, scale: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let value = _mm256_mul_ps(_mm256_cvtepi32_ps(a), _mm256_castsi256_ps(scale));
            _mm256_cvtps_epi32(value)
        }
    }

    #[inline(always)]
    fn add_float(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            _mm256_castps_si256(_mm256_add_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b)))
        }
    }

    #[inline(always)]
    fn multiply(self, a: __m256i, factor: __m256i, addend: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_epi64(_mm256_mul_epi32(a, factor), addend) }
    }

    #[inline(always)]
    fn multiply_high(self, a: __m256i, factor: __m256i, odd_factor: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let even = _mm256_mul_epi32(a, factor);
            let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(a), odd_factor);
            self.merge_upper(even, odd)
        }
    }

    #[inline(always)]
    fn shift_pairs(self, a: __m256i, by: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_srlv_epi64(a, by) }
    }

    #[inline(always)]
    fn odd(self, a: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_srli_epi64::<32>(a) }
    }

    #[inline(always)]
    fn interleave(self, [a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let (low, high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
            let (low_rest, high_rest) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
            [
                _mm256_unpacklo_epi16(low, low_rest),
                _mm256_unpackhi_epi16(low, low_rest),
                _mm256_unpacklo_epi16(high, high_rest),
                _mm256_unpackhi_epi16(high, high_rest),
            ]
        }
    }

    #[inline(always)]
    fn pack(self, words: [__m256i; 4], limits: ByteLimits<Self>, to: &mut [u8]) {
        store_first(packed(words, limits), to);
    }

    #[inline(always)]
    fn pack_in_order(self, words: [__m256i; 4], limits: ByteLimits<Self>, to: &mut [u8]) {
        let bytes = packed(words, limits);
        // SAFETY: `self` proves AVX2.
        let bytes = unsafe {
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            _mm256_permutevar8x32_epi32(bytes, order)
        };
        store_first(bytes, to);
    }

    #[inline(always)]
    fn load_bytes(self, from: &[u8]) -> __m256i {
        let from = &from[..4 * Self::LANES];
        // SAFETY: `self` proves AVX2; the slice holds a vector.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn merge(self, even: __m256i, odd: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_blend_epi32::<0xaa>(even, _mm256_slli_epi64::<32>(odd)) }
    }

    #[inline(always)]
    fn merge_upper(self, even: __m256i, odd: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_blend_epi32::<0xaa>(_mm256_srli_epi64::<32>(even), odd) }
    }

    #[inline(always)]
    fn store_bytes(self, vector: __m256i, to: &mut [u8]) {
        let to = &mut to[..Self::LANES];
        // SAFETY: `self` proves AVX2; the slice holds 8 bytes.
        unsafe {
            let low = _mm256_set1_epi32(0x0c08_0400);
            let low = _mm256_shuffle_epi8(vector, low);
            let (first, second) = (_mm256_castsi256_si128(low), _mm256_extracti128_si256::<1>(low));
            _mm_storel_epi64(to.as_mut_ptr().cast(), _mm_unpacklo_epi32(first, second));
        }
    }

    #[inline(always)]
    fn store_halves(self, vector: __m256i, to: &mut [u8]) {
        let to = &mut to[..2 * Self::LANES];
        // SAFETY: `self` proves AVX2; the slice holds 16 bytes.
        unsafe {
            let low = _mm256_set1_epi64x(0x0d0c_0908_0504_0100);
            let low = _mm256_shuffle_epi8(vector, low);
            let (first, second) = (_mm256_castsi256_si128(low), _mm256_extracti128_si256::<1>(low));
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_unpacklo_epi64(first, second));
        }
    }

    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_and_si256(a, b) }
    }

    #[inline(always)]
    fn add_pairs(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_add_epi64(a, b) }
    }

    #[inline(always)]
    fn widen_halves(self, from: &[u8], signed: bool) -> __m256i {
        let from = &from[..2 * Self::LANES];
        // SAFETY: `self` proves AVX2; the slice holds 16 bits for every lane.
        unsafe {
            let halves = _mm_loadu_si128(from.as_ptr().cast());
            if signed { _mm256_cvtepi16_epi32(halves) } else { _mm256_cvtepu16_epi32(halves) }
        }
    }

    #[inline(always)]
    fn interleave_halves(self, [a, b]: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)] }
    }

    #[inline(always)]
    fn pack_halves(self, [a, b]: [__m256i; 2], signed: bool, to: &mut [u8]) {
        let to = &mut to[..4 * Self::LANES];
        // SAFETY: `self` proves AVX2; the slice holds a vector.
        unsafe {
            let halves = if signed { _mm256_packs_epi32(a, b) } else { _mm256_packus_epi32(a, b) };
            _mm256_storeu_si256(to.as_mut_ptr().cast(), halves);
        }
    }
}

/// Four vectors as bytes, stretches of 16 bytes holding four lanes of each.
#[inline(always)]
fn packed([a, b, c, d]: [__m256i; 4], limits: ByteLimits<Avx2>) -> __m256i {
    // SAFETY: the limits' type proves AVX2.
    unsafe {
        let (low, high) = (_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        if limits.is_signed {
            let bytes = _mm256_packs_epi16(low, high);
            _mm256_min_epi8(_mm256_max_epi8(bytes, limits.low), limits.high)
        } else {
            let bytes = _mm256_packus_epi16(low, high);
            _mm256_min_epu8(_mm256_max_epu8(bytes, limits.low), limits.high)
        }
    }
}

/// Writes as many bytes as the slice holds.
#[inline(always)]
fn store_first(bytes: __m256i, to: &mut [u8]) {
    if let Some(to) = to.first_chunk_mut::<32>() {
        // SAFETY: the callers prove AVX2; the array holds a vector.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), bytes) }
        return;
    }
    if to.len() == 16 {
        // SAFETY: the callers prove AVX2; the slice holds what is written.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes)) }
        return;
    }
    let mut whole = [0_u8; 32];
    // SAFETY: the callers prove AVX2; the array holds a vector.
    unsafe { _mm256_storeu_si256(whole.as_mut_ptr().cast(), bytes) }
    to.copy_from_slice(&whole[..to.len()]);
}
