//! The loops over elements: branch-free bodies over fixed lanes, which compile to vector code in
//! whatever instruction set the caller is instantiated for. Lanes make the order of additions one.

use crate::isa::Body;

pub(super) const LANES: usize = 16;

/// Brings elements and moments to parts of the largest ones; the padding becomes zeros.
pub(super) struct Prepare<'a, T> {
    pub values: &'a [T],
    pub moments: Option<&'a [f64]>,
    pub largest: f64,
    pub largest_moment: f64,
    pub ready: &'a mut [f32],
    pub factors: &'a mut [f32],
}

impl<T: Copy + Into<f64>> Body for Prepare<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let length = self.values.len();
        self.ready[length..].fill(0.0);
        for (ready, &value) in self.ready.iter_mut().zip(self.values) {
            *ready = (value.into() / self.largest) as f32;
        }
        let Some(moments) = self.moments else { return self.factors.fill(1.0) };
        self.factors[length..].fill(0.0);
        for (factor, &moment) in self.factors.iter_mut().zip(moments) {
            *factor = (moment / self.largest_moment) as f32;
        }
    }
}

/// Adding and taking away 1.5 * 2^23 rounds a single-precision number below 2^22 to an integer.
const ROUND_F32: f32 = 12_582_912.0;
/// The same in double precision, below 2^51.
const ROUND_F64: f64 = 6_755_399_441_055_744.0;

/// Adds to each sum the weighted squared errors of a block, in steps of its candidate.
pub(super) struct Sweep<'a> {
    pub values: &'a [f32],
    pub moments: &'a [f32],
    pub inverses: &'a [f32],
    pub bounds: [f32; 2],
    pub sums: &'a mut [f64],
}

impl Body for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let [lowest, highest] = self.bounds;
        let values = self.values.as_chunks::<LANES>().0;
        let moments = self.moments.as_chunks::<LANES>().0;
        for (sum, &inverse) in self.sums.iter_mut().zip(self.inverses) {
            let mut lanes = [0f32; LANES];
            for (values, moments) in values.iter().zip(moments) {
                for lane in 0..LANES {
                    let steps = values[lane] * inverse;
                    let code = (steps + ROUND_F32) - ROUND_F32;
                    let code = if code > lowest { code } else { lowest };
                    let code = if code < highest { code } else { highest };
                    let error = steps - code;
                    lanes[lane] += error * error * moments[lane];
                }
            }
            *sum += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
        }
    }
}

/// Weighted squared errors of a block in double precision, in steps.
pub(super) struct Exact<'a, T> {
    pub values: &'a [T],
    pub moments: Option<&'a [f64]>,
    pub largest_moment: f64,
    pub scale: f64,
    pub bounds: [f64; 2],
}

impl<T: Copy + Into<f64>> Body for Exact<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let [lowest, highest] = self.bounds;
        let mut lanes = [0f64; LANES];
        let mut add = |lane: usize, value: T, moment: f64| {
            let steps = value.into() / self.scale;
            let code = (steps + ROUND_F64) - ROUND_F64;
            let code = if code > lowest { code } else { lowest };
            let code = if code < highest { code } else { highest };
            let error = steps - code;
            lanes[lane] += error * error * moment;
        };
        match self.moments {
            None => {
                for values in self.values.chunks(LANES) {
                    for (lane, &value) in values.iter().enumerate() {
                        add(lane, value, 1.0);
                    }
                }
            }
            Some(moments) => {
                for (values, moments) in self.values.chunks(LANES).zip(moments.chunks(LANES)) {
                    for (lane, (&value, &moment)) in values.iter().zip(moments).enumerate() {
                        add(lane, value, moment / self.largest_moment);
                    }
                }
            }
        }
        lanes.iter().sum()
    }
}
