//! Transposed convolution: every input element adds to every output that its kernel reaches.

use super::{Data, Step, flat, indices};
use crate::network::Convolution;

impl Step<'_> {
    pub(super) fn transposed_convolution(&self, spec: &Convolution) -> Data {
        let (map, out) = self.maps();
        let (x, weights) = (self.centred(0), self.values[spec.weight].integers());
        let (depth, columns) = (map.channels / spec.groups, out.channels / spec.groups);
        let [height, width] = spec.window.kernel;
        let shape = [out.count, out.height, out.width, out.channels];
        let mut acc: Vec<i64> = indices(&shape).iter().map(|index| spec.bias[index[3]]).collect();
        let place = |axis: usize, position: usize, tap: usize, size: usize| {
            let moved = position * spec.window.stride[axis] + tap * spec.window.dilation[axis];
            moved.checked_sub(spec.window.pad[axis]).filter(|&place| place < size)
        };
        for index in indices(&[map.count, map.height, map.width, map.channels]) {
            let [n, y, x_in, channel] = index[..] else { unreachable!() };
            let value = x[flat(&index, &[0, map.height, map.width, map.channels])];
            for tap in indices(&[height, width, columns]) {
                let (group, o) = (channel / depth, channel / depth * columns + tap[2]);
                let at = (place(0, y, tap[0], out.height), place(1, x_in, tap[1], out.width));
                let (Some(to_y), Some(to_x)) = at else { continue };
                let inner = channel - group * depth;
                let weight = flat(&[o, tap[0], tap[1], inner], &[0, height, width, depth]);
                acc[flat(&[n, to_y, to_x, o], &shape)] += value * i64::from(weights[weight]);
            }
        }
        let sums = acc.into_iter().enumerate().map(|(at, acc)| (acc, at % out.channels));
        self.scaled(&spec.requantizer, sums.collect())
    }
}
