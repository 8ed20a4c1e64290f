//! AVX-512 with VNNI.

use std::arch::x86_64::{
    __m512i, _mm_storeu_si128, _mm256_loadu_si256, _mm256_storeu_si256, _mm512_add_epi32,
    _mm512_add_epi64, _mm512_add_ps, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps,
    _mm512_cvtepi16_epi32, _mm512_cvtepi32_epi8, _mm512_cvtepi32_epi16, _mm512_cvtepi32_ps,
    _mm512_cvtepu16_epi32, _mm512_cvtps_epi32, _mm512_dpbusd_epi32, _mm512_dpwssd_epi32,
    _mm512_loadu_si512, _mm512_mask_shuffle_epi32, _mm512_mask_storeu_epi8, _mm512_max_epi8,
    _mm512_max_epi32, _mm512_max_epu8, _mm512_max_ps, _mm512_min_epi8, _mm512_min_epi32,
    _mm512_min_epu8, _mm512_min_ps, _mm512_mul_epi32, _mm512_mul_ps, _mm512_packs_epi16,
    _mm512_packs_epi32, _mm512_packus_epi16, _mm512_packus_epi32, _mm512_permutexvar_epi32,
    _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setr_epi32, _mm512_srav_epi32, _mm512_srli_epi64,
    _mm512_srlv_epi64, _mm512_storeu_si512, _mm512_sub_epi32, _mm512_unpackhi_epi8,
    _mm512_unpackhi_epi16, _mm512_unpacklo_epi8, _mm512_unpacklo_epi16, _mm512_xor_si512,
};

use super::simd::{ByteLimits, Simd};

/// Proof that the CPU has AVX-512 F, BW, VL, DQ and VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The proof.
    ///
    /// # Safety
    ///
    /// The CPU has AVX-512 F, BW, VL, DQ and VNNI.
    pub(super) const unsafe fn new() -> Self {
        Self(())
    }
}

impl Simd for Avx512 {
    type I32 = __m512i;
    const LANES: usize = 16;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, value: i32) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    fn splat_pairs(self, value: u64) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_set1_epi64(value as i64) }
    }

    #[inline(always)]
    fn load(self, from: &[i32]) -> __m512i {
        let from = &from[..Self::LANES];
        // SAFETY: `self` proves AVX-512 F; the slice holds 64 bytes.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, vector: __m512i, to: &mut [i32]) {
        let to = &mut to[..Self::LANES];
        // SAFETY: `self` proves AVX-512 F; the slice holds 64 bytes.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn dot4(self, acc: __m512i, unsigned: __m512i, signed: __m512i) -> __m512i {
        // SAFETY: `self` proves VNNI.
        unsafe { _mm512_dpbusd_epi32(acc, unsigned, signed) }
    }

    #[inline(always)]
    fn dot2(self, acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves VNNI.
        unsafe { _mm512_dpwssd_epi32(acc, a, b) }
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_sub_epi32(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_max_epi32(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_min_epi32(a, b) }
    }

    #[inline(always)]
    fn shift(self, a: __m512i, by: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_srav_epi32(a, by) }
    }

    #[inline(always)]
    fn scale(self, a: __m512i, scale: __m512i, (low, high): (__m512i, __m512i)) -> __m512i {
        // The second operand of a maximum or minimum is the result when either is NaN.
        // SAFETY: `self` proves AVX-512.
        unsafe {
            let value = _mm512_mul_ps(_mm512_cvtepi32_ps(a), _mm512_castsi512_ps(scale));
            let value = _mm512_max_ps(value, _mm512_castsi512_ps(low));
            _mm512_castps_si512(_mm512_min_ps(value, _mm512_castsi512_ps(high)))
        }
    }

    #[inline(always)]
    fn scale_to_nearest(self, a: __m512i, scale: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe {
            let value = _mm512_mul_ps(_mm512_cvtepi32_ps(a), _mm512_castsi512_ps(scale));
            _mm512_cvtps_epi32(value)
        }
    }

    #[inline(always)]
    fn add_float(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe {
            _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)))
        }
    }

    #[inline(always)]
    fn multiply(self, a: __m512i, factor: __m512i, addend: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_add_epi64(_mm512_mul_epi32(a, factor), addend) }
    }

    #[inline(always)]
    fn multiply_high(self, a: __m512i, factor: __m512i, odd_factor: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe {
            let even = _mm512_mul_epi32(a, factor);
            let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(a), odd_factor);
            self.merge_upper(even, odd)
        }
    }

    #[inline(always)]
    fn shift_pairs(self, a: __m512i, by: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_srlv_epi64(a, by) }
    }

    #[inline(always)]
    fn odd(self, a: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_srli_epi64::<32>(a) }
    }

    #[inline(always)]
    fn interleave(self, [a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
        // SAFETY: `self` proves AVX-512.
        unsafe {
            let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            let (low_rest, high_rest) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
            [
                _mm512_unpacklo_epi16(low, low_rest),
                _mm512_unpackhi_epi16(low, low_rest),
                _mm512_unpacklo_epi16(high, high_rest),
                _mm512_unpackhi_epi16(high, high_rest),
            ]
        }
    }

    #[inline(always)]
    fn pack(self, words: [__m512i; 4], limits: ByteLimits<Self>, to: &mut [u8]) {
        store_first(packed(words, limits), to);
    }

    #[inline(always)]
    fn pack_in_order(self, words: [__m512i; 4], limits: ByteLimits<Self>, to: &mut [u8]) {
        let bytes = packed(words, limits);
        // SAFETY: `self` proves AVX-512.
        let bytes = unsafe {
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_permutexvar_epi32(order, bytes)
        };
        store_first(bytes, to);
    }

    #[inline(always)]
    fn load_bytes(self, from: &[u8]) -> __m512i {
        let from = &from[..4 * Self::LANES];
        // SAFETY: `self` proves AVX-512; the slice holds a vector.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn merge(self, even: __m512i, odd: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_mask_shuffle_epi32::<0b10_10_00_00>(even, 0xaaaa, odd) }
    }

    #[inline(always)]
    fn merge_upper(self, even: __m512i, odd: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_mask_shuffle_epi32::<0b11_11_01_01>(odd, 0x5555, even) }
    }

    #[inline(always)]
    fn store_bytes(self, vector: __m512i, to: &mut [u8]) {
        let to = &mut to[..Self::LANES];
        // SAFETY: `self` proves AVX-512; the slice holds 16 bytes.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(vector)) }
    }

    #[inline(always)]
    fn store_halves(self, vector: __m512i, to: &mut [u8]) {
        let to = &mut to[..2 * Self::LANES];
        // SAFETY: `self` proves AVX-512; the slice holds 32 bytes.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(vector)) }
    }

    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    fn add_pairs(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_add_epi64(a, b) }
    }

    #[inline(always)]
    fn widen_halves(self, from: &[u8], signed: bool) -> __m512i {
        let from = &from[..2 * Self::LANES];
        // SAFETY: `self` proves AVX-512; the slice holds 16 bits for every lane.
        unsafe {
            let halves = _mm256_loadu_si256(from.as_ptr().cast());
            if signed { _mm512_cvtepi16_epi32(halves) } else { _mm512_cvtepu16_epi32(halves) }
        }
    }

    #[inline(always)]
    fn interleave_halves(self, [a, b]: [__m512i; 2]) -> [__m512i; 2] {
        // SAFETY: `self` proves AVX-512.
        unsafe { [_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)] }
    }

    #[inline(always)]
    fn pack_halves(self, [a, b]: [__m512i; 2], signed: bool, to: &mut [u8]) {
        let to = &mut to[..4 * Self::LANES];
        // SAFETY: `self` proves AVX-512; the slice holds a vector.
        unsafe {
            let halves = if signed { _mm512_packs_epi32(a, b) } else { _mm512_packus_epi32(a, b) };
            _mm512_storeu_si512(to.as_mut_ptr().cast(), halves);
        }
    }
}

/// Four vectors as bytes, stretches of 16 bytes holding four lanes of each.
#[inline(always)]
fn packed([a, b, c, d]: [__m512i; 4], limits: ByteLimits<Avx512>) -> __m512i {
    // SAFETY: the limits' type proves AVX-512.
    unsafe {
        let (low, high) = (_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
        if limits.is_signed {
            let bytes = _mm512_packs_epi16(low, high);
            _mm512_min_epi8(_mm512_max_epi8(bytes, limits.low), limits.high)
        } else {
            let bytes = _mm512_packus_epi16(low, high);
            _mm512_min_epu8(_mm512_max_epu8(bytes, limits.low), limits.high)
        }
    }
}

/// Writes as many bytes as the slice holds.
#[inline(always)]
fn store_first(bytes: __m512i, to: &mut [u8]) {
    if let Some(to) = to.first_chunk_mut::<64>() {
        // SAFETY: the callers prove AVX-512; the array holds a vector.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), bytes) }
        return;
    }
    let mask = (1 << to.len()) - 1;
    // SAFETY: the callers prove AVX-512; what is written is as long as the slice.
    unsafe { _mm512_mask_storeu_epi8(to.as_mut_ptr().cast(), mask, bytes) }
}
