//! AVX2.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_slli_epi16, _mm256_srai_epi16, _mm256_srli_epi16,
    _mm256_storeu_si256, _mm256_xor_si256,
};

use super::simd::Simd;

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
}
