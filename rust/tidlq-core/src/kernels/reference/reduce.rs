//! Gather, Reduce and Division as loops.

use super::{Data, Step, indices};
use crate::fixed::{Requantizer, Rounding, entry, round_away};
use crate::network::{Reduce, ReduceKind};

impl Step<'_> {
    pub(super) fn gather_axis(&self, axis: usize, index: &[usize]) -> Data {
        self.gather(
            |position| {
                let mut source = position.to_vec();
                source[axis] = index[position[axis]];
                Some(source)
            },
            0,
        )
    }

    pub(super) fn reduce(&self, reduce: &Reduce) -> Data {
        let shape = &self.spec(0).shape;
        let (rows, columns) = (shape[1], shape[2]);
        let selects = reduce.requantizer.is_none();
        let values = if selects { self.raw(0) } else { self.centred(0) };
        let result = indices(&self.output().shape).into_iter().map(|index| {
            let at = |row| values[(index[0] * rows + row) * columns + index[1]];
            let terms = (0..rows).map(at);
            match (reduce.kind, &reduce.requantizer) {
                (ReduceKind::Greatest, _) => terms.max().unwrap() as i32,
                (ReduceKind::Least, _) => terms.min().unwrap() as i32,
                (ReduceKind::Sum, Some(by)) => by.apply(terms.sum(), 0),
                (ReduceKind::Magnitudes, Some(by)) => by.apply(terms.map(i64::abs).sum(), 0),
                (ReduceKind::Squares, Some(by)) => by.apply(terms.map(|x| x * x).sum(), 0),
                (_, Some(by)) => root(by, terms.map(|x| x * x).sum()),
                (_, None) => panic!("a sum needs a requantization"),
            }
        });
        Data::Integers(result.collect())
    }

    pub(super) fn division(&self, requantizer: &Requantizer) -> Data {
        let scale = self.output().scale;
        let q = |operands: Vec<i64>| {
            let (a, b) = (operands[0], operands[1]);
            match &requantizer.rounding {
                Rounding::Fixed { multiplier, shift } => {
                    let dividend = i128::from(a) * i128::from(entry(multiplier, 0));
                    // 2^62 times 2^17 and less: exact in 128 bits.
                    let divisor = i128::from(b) << entry(shift, 0);
                    requantizer.saturate(match divisor {
                        0 => dividend.signum() << 64,
                        _ => {
                            let (n, d) = (dividend * divisor.signum(), divisor.abs());
                            (2 * n + d).div_euclid(2 * d)
                        }
                    })
                }
                Rounding::Float(_) if a == 0 && b == 0 => requantizer.apply_float(0.0),
                Rounding::Float(scales) => {
                    let dividend = entry(scales, 0) * a as f32;
                    requantizer.apply_float(dividend / (entry(scales, 1) * b as f32) / scale)
                }
                _ => panic!("a mode that a division does not have"),
            }
        };
        Data::Integers(self.operands().into_iter().map(q).collect())
    }
}

fn root(requantizer: &Requantizer, acc: i64) -> i32 {
    let Rounding::Double(scale) = &requantizer.rounding else { panic!("a root is DOUBLE") };
    let zero_point = requantizer.zero_point;
    let (low, high) = (requantizer.clamp_min - zero_point, requantizer.clamp_max - zero_point);
    round_away((acc as f64).sqrt() * entry(scale, 0), low, high) + zero_point
}
