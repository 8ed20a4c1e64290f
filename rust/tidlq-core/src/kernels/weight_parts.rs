//! Weights of 16 bits as two parts, `2^bits * high + low`, and what is proven of sums of products with
//! them.
//!
//! A sum of full 16-bit products leaves 32 bits after a few; the sum with the low parts does not for
//! long, and that with the high parts may wrap, because the whole accumulator, shifted by `bits`, fits.

use super::gemm::Storage;

/// Greatest number of bits of the lower part: what is left of 16 bits is as many again.
pub(crate) const MAX_BITS: u32 = 8;

/// Lower part, rounded so that it is at most half of `2^bits` in magnitude, and higher part.
#[inline(always)]
pub(crate) const fn parts_of(weight: i16, bits: u32) -> [i16; 2] {
    let weight = weight as i32;
    let low = (weight << (32 - bits)) >> (32 - bits);
    [low as i16, ((weight - low) >> bits) as i16]
}

/// Greatest magnitude of a stored element.
pub(crate) const fn magnitude(storage: Storage) -> u64 {
    let (low, high) = (storage.range.0.unsigned_abs(), storage.range.1.unsigned_abs());
    if low > high { low as u64 } else { high as u64 }
}

/// Greatest magnitude of the sum with the lower parts of one channel.
pub(crate) fn low_bound(storage: Storage, weights: &[i16], bits: u32) -> u64 {
    let low = |&weight: &i16| u64::from(parts_of(weight, bits)[0].unsigned_abs());
    magnitude(storage) * weights.iter().map(low).sum::<u64>()
}

/// A bias with offset and zero point folded in, and the greatest magnitude of the accumulator.
pub(crate) fn fold(storage: Storage, zero_point: i32, bias: i64, weights: &[i16]) -> (i64, u64) {
    let zero = i64::from(zero_point - storage.offset);
    let (low, high) = storage.range;
    let (low, high) = (i64::from(low) - zero, i64::from(high) - zero);
    let (mut sum, mut least, mut most) = (0, bias, bias);
    for &weight in weights {
        let weight = i64::from(weight);
        sum += weight;
        least += (weight * low).min(weight * high);
        most += (weight * low).max(weight * high);
    }
    (bias - zero * sum, least.unsigned_abs().max(most.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_weight_and_the_lower_is_small() {
        for bits in 1..=MAX_BITS {
            for weight in i16::MIN..=i16::MAX {
                let [low, high] = parts_of(weight, bits);
                assert_eq!(i32::from(weight), (i32::from(high) << bits) + i32::from(low));
                assert!(low.unsigned_abs() <= 1 << (bits - 1));
            }
        }
    }
}
