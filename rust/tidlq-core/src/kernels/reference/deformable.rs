//! Convolution at places that have moved.

use super::{Data, Step, flat, indices};
use crate::fixed::entry;
use crate::network::DeformableConvolution;

impl Step<'_> {
    pub(super) fn deformable_convolution(&self, spec: &DeformableConvolution) -> Data {
        let (map, out) = self.maps();
        let (x, offsets) = (self.centred(0), self.centred(1));
        let mask = (self.layer.inputs.len() > 2).then(|| self.centred(2));
        let weights = self.values[spec.weight].integers();
        let scale = f64::from(self.spec(1).scale);
        let taps = spec.window.kernel[0] * spec.window.kernel[1];
        let depth = map.channels / spec.groups;
        let [low, high] = spec.clamp;
        let z = self.output().zero_point;
        let element = |index: Vec<usize>| {
            let [n, y, x_out, o] = index[..] else { unreachable!() };
            let pixel = (n * out.height + y) * out.width + x_out;
            let mut acc = 0.0;
            for tap in 0..taps {
                let k = [tap / spec.window.kernel[1], tap % spec.window.kernel[1]];
                for i in 0..depth {
                    let c = o / (out.channels / spec.groups) * depth + i;
                    let b = c / (map.channels / spec.offset_groups) * taps + tap;
                    let place = |axis: usize, position: usize| {
                        let offset = offsets[(pixel * spec.offset_groups * taps + b) * 2 + axis];
                        spec.window.coordinate(axis, position, k[axis]) as f64
                            + scale * offset as f64
                    };
                    let (h, w) = (place(0, y), place(1, x_out));
                    let (share_h, share_w) = (h - h.floor(), w - w.floor());
                    let value = |row: f64, column: f64| {
                        let is_inside = (0.0..map.height as f64).contains(&row)
                            && (0.0..map.width as f64).contains(&column);
                        let at = [n, row as usize, column as usize, c];
                        let shape = [0, map.height, map.width, map.channels];
                        if is_inside { x[flat(&at, &shape)] as f64 } else { 0.0 }
                    };
                    let mut s = value(h.floor(), w.floor()) * ((1.0 - share_h) * (1.0 - share_w))
                        + value(h.floor(), w.floor() + 1.0) * ((1.0 - share_h) * share_w)
                        + value(h.floor() + 1.0, w.floor()) * (share_h * (1.0 - share_w))
                        + value(h.floor() + 1.0, w.floor() + 1.0) * (share_h * share_w);
                    if let Some(mask) = &mask {
                        s *= mask[pixel * spec.offset_groups * taps + b] as f64;
                    }
                    acc += s * f64::from(weights[(o * taps + tap) * depth + i]);
                }
            }
            let v = (acc * entry(&spec.gain, o) + entry(&spec.shift, o)).round_ties_even();
            v.clamp(f64::from(low - z), f64::from(high - z)) as i32 + z
        };
        let shape = [out.count, out.height, out.width, out.channels];
        Data::Integers(indices(&shape).into_iter().map(element).collect())
    }
}
