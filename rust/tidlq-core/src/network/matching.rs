//! Biases of a variant that bring the means of its accumulators where they are wanted.

use super::baseline::Baseline;
use super::patch::Patch;
use super::program::{LayerSpec, Op, Program};
use crate::error::{Error, PatchFault, Result, StepFault};
use crate::kernels::InputSums;

/// Greatest magnitude of a bias.
const LARGEST_BIAS: f64 = (1_i64 << 47) as f64;

/// A convolution or inner product of a patch, and where its channels' means are to be.
pub struct MatchedLayer {
    /// Index among the patch's layers.
    pub layer: usize,
    /// By output channel: real value of one unit of the accumulator.
    pub steps: Vec<f64>,
    /// By output channel: wanted mean before the non-linearity, real value.
    pub means: Vec<f64>,
    /// By output channel: the largest bias, real value.
    pub limits: Vec<f64>,
}

impl Baseline {
    /// Moves the biases of layers of a patch, in its order, so that the mean of each output channel
    /// before its non-linearity is as wanted, over the first `frames` frames. Each layer sees the
    /// corrected ones before it.
    ///
    /// # Errors
    ///
    /// A layer does not exist or has no bias, or numbers of channels differ; there are fewer frames,
    /// they have not been run, or memory is not to be had.
    pub fn match_means(
        &self,
        patch: &mut Patch,
        frames: usize,
        layers: &[MatchedLayer],
    ) -> Result<()> {
        self.check(patch, &(0..frames))?;
        for layer in layers {
            self.check_matched(patch, layer)?;
        }
        let views = self.views();
        let kept: Vec<_> = (0..frames)
            .map(|frame| {
                let views = &views;
                move |tensor: usize| self.bytes(views, frame, tensor)
            })
            .collect();
        let wanted: Vec<usize> = layers.iter().map(|matched| matched.layer).collect();
        let engine = self.engine();
        patch.step_by_step(engine, &kept, &wanted, |program, layer, inputs| {
            let Some(matched) = layers.iter().find(|matched| matched.layer == layer) else {
                return Ok(None);
            };
            let spec = &program.layers[layer];
            let sums = self.sums(program, spec, inputs)?;
            let means = channel_means(program, spec, &sums, frames);
            Ok(Some(moved(spec, matched, &means)))
        })
    }

    /// Sums of what a layer's window sees, over frames.
    fn sums(&self, program: &Program, layer: &LayerSpec, inputs: &[&[u8]]) -> Result<Vec<i64>> {
        let sums = InputSums::of(program, layer).ok_or_else(|| unweighted(layer))?;
        let mut total = vec![0; sums.len()];
        for input in inputs {
            sums.add(self.engine().cpu, input, &mut total);
        }
        Ok(total)
    }

    fn check_matched(&self, patch: &Patch, matched: &MatchedLayer) -> Result<()> {
        let layers = &patch.program().layers;
        let fault = StepFault::Layer { got: matched.layer as i128, layers: layers.len() };
        let layer = layers.get(matched.layer).ok_or(fault)?;
        let want = layer.op.bias().ok_or_else(|| unweighted(layer))?.len();
        let given = [matched.steps.len(), matched.means.len(), matched.limits.len()];
        if let Some(&got) = given.iter().find(|&&count| count != want) {
            return Err(PatchFault::Channels { layer: layer.name.clone(), want, got }.into());
        }
        Ok(())
    }
}

/// The bias that takes the difference of the means away.
fn moved(layer: &LayerSpec, matched: &MatchedLayer, means: &[f64]) -> Vec<i64> {
    let bias = layer.op.bias().unwrap_or_default();
    let moved = bias.iter().enumerate().map(|(channel, &bias)| {
        let step = matched.steps[channel];
        let limit = (matched.limits[channel] / step).min(LARGEST_BIAS).max(bias.abs() as f64);
        let change = matched.means[channel] / step - means[channel];
        let value = (bias as f64 + change).round_ties_even();
        if value.is_finite() { value.clamp(-limit, limit) as i64 } else { bias }
    });
    moved.collect()
}

/// Mean accumulator of each output channel, its bias included.
fn channel_means(program: &Program, layer: &LayerSpec, sums: &[i64], frames: usize) -> Vec<f64> {
    let (weight, bias, groups) = match &layer.op {
        Op::Convolution(op) | Op::TransposedConvolution(op) => (op.weight, &op.bias, op.groups),
        Op::InnerProduct(op) => (op.weight, &op.bias, 1),
        _ => return Vec::new(),
    };
    let tensor = &program.tensors[weight];
    let bytes = tensor.constant.as_ref().map_or(&[][..], |constant| constant.bytes());
    let value = |index: usize| match tensor.element_type.size_bytes() {
        1 => i64::from(bytes[index] as i8),
        _ => i64::from(i16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]])),
    };
    let channels = bias.len();
    let positions = frames * program.tensors[layer.output].elements() / channels;
    let (row, per_group) = (tensor.elements() / channels, tensor.last_axis());
    let inputs = per_group * groups;
    let means = bias.iter().enumerate().map(|(channel, &bias)| {
        let first = channel / (channels / groups) * per_group;
        // Exact: a row's products with its sums are far below 2^127.
        let sum: i128 = (0..row)
            .map(|index| {
                let place = index / per_group * inputs + first + index % per_group;
                i128::from(value(channel * row + index)) * i128::from(sums[place])
            })
            .sum();
        bias as f64 + sum as f64 / positions as f64
    });
    means.collect()
}

fn unweighted(layer: &LayerSpec) -> Error {
    StepFault::NotWeighted { layer: layer.name.clone() }.into()
}
