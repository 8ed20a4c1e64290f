//! Sums of two features of one shape, as residual connections have them.

use super::Kernel;
use super::broadcast::Broadcast;
use super::elementwise::ElementwiseKernel;
use super::pair_sum::PairSumKernel;
use super::pair_sum_halves::PairSumHalvesKernel;
use super::pair_sum_twice::PairSumTwiceKernel;
use crate::isa::Isa;
use crate::network::{Sum, TensorSpec};

/// A sum of two features of one shape.
pub(crate) enum PairSum {
    Bytes(PairSumKernel),
    Halves(PairSumHalvesKernel),
    Twice(PairSumTwiceKernel),
    /// Any types and rounding.
    Any(ElementwiseKernel),
}

impl PairSum {
    /// For the operands of a layer; `None` where they are not two, or one is repeated.
    pub fn new(isa: Isa, operands: &[&TensorSpec], output: &TensorSpec, sum: &Sum) -> Option<Self> {
        let &[first, second] = operands else { return None };
        if first.shape != output.shape || second.shape != output.shape {
            return None;
        }
        let TensorSpec { element_type, scale, ref shape, .. } = *output;
        let requantizer = &sum.requantizer;
        let pair = [first, second].map(|operand| (operand.element_type, operand.zero_point));
        if let Some(kernel) = PairSumKernel::new(pair, element_type, requantizer) {
            return Some(Self::Bytes(kernel));
        }
        if let Some(kernel) = PairSumHalvesKernel::new(pair, element_type, requantizer) {
            return Some(Self::Halves(kernel));
        }
        let is_subtracted = |operand: usize| sum.subtracted.get(operand).is_some_and(|&it| it);
        if let Some(kernel) = PairSumTwiceKernel::new(
            isa,
            pair,
            [is_subtracted(0), is_subtracted(1)],
            element_type,
            requantizer,
        ) {
            return Some(Self::Twice(kernel));
        }
        let inputs = pair.map(|(of, zero_point)| (of, zero_point, &shape[..]));
        let broadcast = Broadcast::new(&inputs, shape);
        Some(Self::Any(ElementwiseKernel::sum(broadcast, element_type, scale, sum)))
    }

    /// As a layer of its own.
    pub fn boxed(self) -> Box<dyn Kernel> {
        match self {
            Self::Bytes(kernel) => Box::new(kernel),
            Self::Halves(kernel) => Box::new(kernel),
            Self::Twice(kernel) => Box::new(kernel),
            Self::Any(kernel) => Box::new(kernel),
        }
    }
}
