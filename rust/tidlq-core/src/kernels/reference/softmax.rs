//! Softmax to floats and to integers.

use super::{Data, Step};
use crate::fixed::Rounding;
use crate::network::{IntegerSoftmax, Softmax};

/// The integer nearest to `value / 2^shift`, halves away from zero.
fn divide(value: i128, shift: u32) -> i128 {
    let magnitude = (value.abs() + ((1 << shift) >> 1)) >> shift;
    if value < 0 { -magnitude } else { magnitude }
}

fn high(left: i128, right: i128) -> i128 {
    (left * right + (1 << 30)) >> 31
}

fn low32(value: i128) -> i128 {
    i128::from(value as i32)
}

fn saturate(value: i128) -> i128 {
    value.clamp(i32::MIN.into(), i32::MAX.into())
}

fn reciprocal(x: i128) -> i128 {
    let half = divide(x + (1 << 31) - 1, 1);
    let mut y = 1_515_870_810 + high(half, -1_010_580_540);
    for _ in 0..3 {
        y = low32(y + saturate(4 * high(y, (1 << 29) - high(half, y))));
    }
    saturate(2 * y)
}

impl Step<'_> {
    pub(super) fn softmax(&self, softmax: &Softmax) -> Data {
        let Some(requantizer) = &softmax.requantizer else {
            return self.float_softmax(&softmax.exponential);
        };
        let Rounding::Real(scale) = &requantizer.rounding else { panic!("no other is allowed") };
        let rows = self.value(0).integers().chunks(self.spec(0).last_axis());
        let row = |row: &[i32]| {
            let largest = row.iter().max().unwrap();
            let terms: Vec<f32> =
                row.iter().map(|q| softmax.exponential[(largest - q) as usize]).collect();
            let mut sum = 0.0_f32;
            for term in &terms {
                sum += term;
            }
            let value = |term: f32| requantizer.apply_float(term * scale[0] / sum);
            terms.into_iter().map(value).collect::<Vec<i32>>()
        };
        Data::Integers(rows.flat_map(row).collect())
    }

    fn float_softmax(&self, exponential: &[f32]) -> Data {
        let rows = self.value(0).integers().chunks(self.spec(0).last_axis());
        let softmax = |row: &[i32]| {
            let largest = row.iter().max().unwrap();
            let terms: Vec<f64> =
                row.iter().map(|q| exponential[(largest - q) as usize].into()).collect();
            let mut sum = 0.0;
            for term in &terms {
                sum += term;
            }
            terms.into_iter().map(|term| (term / sum) as f32).collect::<Vec<f32>>()
        };
        Data::Floats(rows.flat_map(softmax).collect())
    }

    pub(super) fn integer_softmax(&self, softmax: &IntegerSoftmax) -> Data {
        let (lowest, highest) = self.output().element_type.range().unwrap();
        let bits = 8 * self.output().element_type.size_bytes() as u32;
        let rows = self.value(0).integers().chunks(self.spec(0).last_axis());
        let row = |row: &[i32]| {
            let largest = row.iter().max().unwrap();
            let entry = |q: &i32| i128::from(softmax.exponential[(largest - q) as usize]);
            let entries: Vec<i128> = row.iter().map(entry).collect();
            let values = if softmax.reciprocal.is_empty() {
                narrow(&entries, bits, (lowest.into(), highest.into()))
            } else {
                wide(&entries, &softmax.reciprocal)
            };
            values.into_iter().map(|value| value as i32).collect::<Vec<i32>>()
        };
        Data::Integers(rows.flat_map(row).collect())
    }
}

fn narrow(entries: &[i128], bits: u32, (lowest, highest): (i128, i128)) -> Vec<i128> {
    let sum: i128 = entries.iter().map(|&entry| divide(entry, 12)).sum();
    let zeros = (sum as u32).leading_zeros();
    let scale = reciprocal(low32((sum << zeros) - (1 << 31)));
    let value = |&entry: &i128| divide(high(scale, entry), 43 - zeros - bits);
    entries.iter().map(|entry| (lowest + value(entry)).min(highest)).collect()
}

fn wide(entries: &[i128], table: &[i32]) -> Vec<i128> {
    let sum: i128 = entries.iter().sum();
    let zeros = (sum as u32).leading_zeros();
    let place = ((((sum << (zeros - 1)) + (1 << 13)) >> 14) - (1 << 16)).min(65_535);
    let (index, offset) = ((place >> 7) as usize, place & 127);
    let (base, next) = (i128::from(table[index]), i128::from(table[index + 1]));
    let scale = base + (((next - base) * offset + 64) >> 7);
    let value = |entry: &i128| (entry * scale + (1 << (30 - zeros))) >> (31 - zeros);
    entries.iter().map(|entry| value(entry).clamp(0, 32_767)).collect()
}
