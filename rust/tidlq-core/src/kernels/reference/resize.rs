//! Interpolation, by integer and by real weights.

use super::{Data, Step, indices};
use crate::fixed::Rounding;
use crate::network::{AxisWindows, Resize, ResizeAxis, WindowedResize};

impl Step<'_> {
    pub(super) fn resize(&self, resize: &Resize) -> Data {
        if let Some(fractions) = &resize.fractions {
            return self.real_resize(resize, fractions);
        }
        let (map, out) = self.maps();
        let values = match resize.requantizer.rounding {
            Rounding::Quotient(_) => self.raw(0),
            _ => self.centred(0),
        };
        let whole = 1_i64 << resize.weight_bits;
        let taps = |axis: &Option<ResizeAxis>, i: usize| match axis {
            None => vec![(i, 1)],
            Some(axis) => {
                let high = i64::from(axis.weight_high[i]);
                vec![(axis.low[i] as usize, whole - high), (axis.high[i] as usize, high)]
            }
        };
        let element = |index: Vec<usize>| {
            let mut acc = 0;
            for (y, weight_y) in taps(&resize.height, index[1]) {
                for (x, weight_x) in taps(&resize.width, index[2]) {
                    let at =
                        ((index[0] * map.height + y) * map.width + x) * map.channels + index[3];
                    acc += values[at] * weight_y * weight_x;
                }
            }
            resize.requantizer.apply(acc, 0)
        };
        let shape = [out.count, out.height, out.width, out.channels];
        Data::Integers(indices(&shape).into_iter().map(element).collect())
    }

    pub(super) fn windowed_resize(&self, spec: &WindowedResize) -> Data {
        let (map, out) = self.maps();
        let values = self.centred(0);
        let taps = |axis: &Option<AxisWindows>, i: usize| match axis {
            None => vec![(i, 1)],
            Some(axis) => (i * axis.taps..(i + 1) * axis.taps)
                .map(|tap| (axis.position[tap] as usize, i64::from(axis.weight[tap])))
                .collect(),
        };
        let element = |index: Vec<usize>| {
            let mut acc = 0;
            for (y, weight_y) in taps(&spec.axes[0], index[1]) {
                for (x, weight_x) in taps(&spec.axes[1], index[2]) {
                    let line = index[0] * map.height + y;
                    let at = (line * map.width + x) * map.channels + index[3];
                    acc += values[at] * weight_y * weight_x;
                }
            }
            spec.requantizer.apply(acc, 0)
        };
        let shape = [out.count, out.height, out.width, out.channels];
        Data::Integers(indices(&shape).into_iter().map(element).collect())
    }

    fn real_resize(&self, resize: &Resize, fractions: &[Vec<f32>; 2]) -> Data {
        let (map, out) = self.maps();
        if let Rounding::Real(_) = resize.requantizer.rounding {
            return self.unquantized_resize(resize, fractions);
        }
        let values = self.raw(0);
        let (vertical, horizontal) =
            (resize.height.as_ref().unwrap(), resize.width.as_ref().unwrap());
        let element = |index: Vec<usize>| {
            let at = |y: u32, x: u32| {
                let line = (index[0] * map.height + y as usize) * map.width;
                values[(line + x as usize) * map.channels + index[3]] as f32
            };
            let (f, g) = (fractions[0][index[1]], fractions[1][index[2]]);
            let (top, bottom) = (vertical.low[index[1]], vertical.high[index[1]]);
            let (left, right) = (horizontal.low[index[2]], horizontal.high[index[2]]);
            let terms = [
                at(top, left) * (1.0 - f) * (1.0 - g),
                at(bottom, left) * f * (1.0 - g),
                at(top, right) * (1.0 - f) * g,
                at(bottom, right) * f * g,
                0.5,
            ];
            let sum = terms[1..].iter().fold(terms[0], |sum, term| sum + term);
            (sum.trunc() as i32).clamp(resize.requantizer.clamp_min, resize.requantizer.clamp_max)
        };
        let shape = [out.count, out.height, out.width, out.channels];
        Data::Integers(indices(&shape).into_iter().map(element).collect())
    }

    fn unquantized_resize(&self, resize: &Resize, fractions: &[Vec<f32>; 2]) -> Data {
        let (map, out) = self.maps();
        let (input, output) = (self.spec(0), self.output());
        let values: Vec<f32> =
            self.centred(0).into_iter().map(|steps| input.scale * steps as f32).collect();
        let (vertical, horizontal) =
            (resize.height.as_ref().unwrap(), resize.width.as_ref().unwrap());
        let element = |index: Vec<usize>| {
            let (f, g) = (fractions[0][index[1]], fractions[1][index[2]]);
            let mut sum = 0.0_f32;
            for (line, tall) in [(vertical.low[index[1]], 1.0 - f), (vertical.high[index[1]], f)] {
                let columns = [(horizontal.low[index[2]], 1.0 - g), (horizontal.high[index[2]], g)];
                for (column, wide) in columns {
                    let at = (index[0] * map.height + line as usize) * map.width + column as usize;
                    sum += values[at * map.channels + index[3]] * (wide * tall);
                }
            }
            resize.requantizer.apply_float(sum / output.scale)
        };
        let shape = [out.count, out.height, out.width, out.channels];
        Data::Integers(indices(&shape).into_iter().map(element).collect())
    }
}
