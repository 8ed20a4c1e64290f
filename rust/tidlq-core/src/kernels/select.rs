//! From a layer of the program to its kernel.

use bytemuck::cast_slice;

use super::Kernel;
use super::broadcast::Broadcast;
use super::convolution::ConvolutionKernel;
use super::deformable::DeformableKernel;
use super::depthwise::{DepthwiseKernel, DepthwiseSource};
use super::depthwise_bytes::DepthwiseBytesKernel;
use super::depthwise_halves::DepthwiseHalvesKernel;
use super::division::DivisionKernel;
use super::elementwise::ElementwiseKernel;
use super::extremum::ExtremumKernel;
use super::gemm::{PackedWeights, Storage, WeightSource};
use super::grid_sample::GridSampleKernel;
use super::integer_softmax::IntegerSoftmaxKernel;
use super::lookup::LookupKernel;
use super::matrix_product::MatrixProductKernel;
use super::movement::{ConcatKernel, GatherKernel, PadKernel, StridedKernel};
use super::normalization::NormalizationKernel;
use super::plain_sum::PairSum;
use super::pool::{AveragePoolKernel, MaxPoolKernel, PoolShape};
use super::power::PowerKernel;
use super::prelu::PReluKernel;
use super::real_pool::RealAveragePoolKernel;
use super::real_resize::{RealResizeKernel, Truncated, Unquantized};
use super::reduce::ReduceKernel;
use super::requantize::RowRequantizer;
use super::rescale::{DequantizeKernel, QuantizeKernel, RescaleKernel, byte_offset};
use super::resize::ResizeKernel;
use super::scattered_product::ScatteredProductKernel;
use super::softmax::{RealSoftmaxKernel, SoftmaxKernel};
use super::top_k::TopKKernel;
use super::transposed::{TransposedKernel, TransposedSource};
use super::windowed_resize::WindowedResizeKernel;
use super::windows::{WindowSource, Windows};
use crate::element::ElementType;
use crate::fixed::{Requantizer, Rounding};
use crate::isa::Isa;
use crate::network::{
    AveragePool, Convolution, GridSample, InnerProduct, LayerSpec, Map2d, Op, PRelu, Pad, Program,
    Resize, ResizeAxis, Softmax, Sum, TensorSpec, Window,
};

/// Greatest magnitude of a 16-bit element less a zero point, times a 16-bit slope.
const GREATEST_SLOPED: u64 = 1 << 33;

/// The kernel of a layer; `None` for a reshape, which shares its input's memory.
pub(crate) fn kernel_for(
    isa: Isa,
    program: &Program,
    layer: &LayerSpec,
) -> Option<Box<dyn Kernel>> {
    let scope = Scope { isa, program, layer };
    let (input, output) = (scope.input(0), scope.output());
    Some(match &layer.op {
        Op::Reshape => return None,
        Op::Quantize { half_away } => scope.quantize(*half_away),
        Op::Dequantize => scope.dequantize(),
        Op::Rescale(requantizer) => Box::new(RescaleKernel {
            input_type: input.element_type,
            output_type: output.element_type,
            zero_point: input.zero_point,
            requantizer: RowRequantizer::new(requantizer, u64::from(u16::MAX)),
            offset: byte_offset(input, output, requantizer),
        }),
        Op::Convolution(convolution) => scope.convolution(convolution),
        Op::InnerProduct(product) => scope.inner_product(product),
        Op::Sum(sum) => scope.sum(sum),
        Op::Product(requantizer) => Box::new(ElementwiseKernel::product(
            scope.broadcast(),
            output.element_type,
            output.scale,
            requantizer,
        )),
        Op::MaxPool(window) => scope.max_pool(*window),
        Op::AveragePool(pool) => scope.average_pool(pool),
        Op::Lookup(values) => {
            Box::new(LookupKernel::new(input.element_type, output.element_type, values))
        }
        Op::PRelu(prelu) => scope.prelu(prelu),
        Op::Concat { axis } => scope.concat(*axis),
        Op::Transpose { perm } => {
            Box::new(StridedKernel::transpose(input.element_type, &input.shape, perm))
        }
        Op::Pad(pad) => scope.pad(pad),
        Op::Slice { start, step } => Box::new(StridedKernel::slice(
            input.element_type,
            &input.shape,
            &output.shape,
            start,
            step,
        )),
        Op::Resize(resize) => scope.resize(resize),
        Op::GridSample(spec) => scope.grid_sample(spec),
        Op::DeformableConvolution(spec) => {
            let weights = weights(&program.tensors[spec.weight]);
            Box::new(DeformableKernel::new(spec, &scope.inputs(), output, &weights))
        }
        Op::WindowedResize(spec) => Box::new(WindowedResizeKernel::new(spec, input, output)),
        Op::Softmax(softmax) => scope.softmax(softmax),
        Op::TransposedConvolution(convolution) => scope.transposed_convolution(convolution),
        Op::Extremum { least } => scope.extremum(*least),
        Op::Gather { axis, index } => {
            Box::new(GatherKernel::new(input.element_type, &input.shape, *axis, index))
        }
        Op::Reduce(reduce) => Box::new(ReduceKernel {
            reduce: reduce.clone(),
            input_type: input.element_type,
            zero_point: if reduce.requantizer.is_some() { input.zero_point } else { 0 },
            output_type: output.element_type,
            rows: input.shape[1],
            columns: input.shape[2],
        }),
        Op::TopK(spec) => Box::new(TopKKernel {
            spec: *spec,
            input_type: input.element_type,
            output_type: output.element_type,
            rows: input.shape[1],
            columns: input.shape[2],
            count: output.shape[1],
        }),
        Op::Division(requantizer) => Box::new(DivisionKernel {
            broadcast: scope.broadcast(),
            output_type: output.element_type,
            output_scale: output.scale,
            requantizer: requantizer.clone(),
        }),
        Op::Power(power) => Box::new(PowerKernel {
            power: power.clone(),
            broadcast: scope.broadcast_from_lowest(),
            output_type: output.element_type,
            zero_point: output.zero_point,
        }),
        Op::ScatteredProduct(spec) => {
            Box::new(ScatteredProductKernel::new(spec, &scope.inputs(), output))
        }
        Op::MatrixProduct(requantizer) => Box::new(MatrixProductKernel::new(
            scope.input(0),
            scope.input(1),
            scope.output(),
            requantizer,
        )),
        Op::Normalization(normalization) => Box::new(
            NormalizationKernel {
                input_type: scope.input(0).element_type,
                output_type: scope.output().element_type,
                zero_points: [scope.input(0).zero_point, scope.output().zero_point],
                row: scope.input(0).last_axis(),
                spec: normalization.clone(),
            }
            .with_whole_lists(),
        ),
        Op::IntegerSoftmax(softmax) => Box::new(IntegerSoftmaxKernel {
            input_type: input.element_type,
            output_type: output.element_type,
            row: input.last_axis(),
            softmax: softmax.clone(),
        }),
    })
}

/// The sum of a layer that adds two features of one shape.
pub(crate) fn residual_sum(isa: Isa, program: &Program, layer: &LayerSpec) -> Option<PairSum> {
    let Op::Sum(sum) = &layer.op else { return None };
    let operands: Vec<_> = layer.inputs.iter().map(|&input| &program.tensors[input]).collect();
    PairSum::new(isa, &operands, &program.tensors[layer.output], sum)
}

struct Scope<'a> {
    isa: Isa,
    program: &'a Program,
    layer: &'a LayerSpec,
}

/// Sizes of a tensor that validation has found to be of rank 3 or 4.
fn map(tensor: &TensorSpec) -> Map2d {
    let empty = Map2d { count: 0, height: 0, width: 0, channels: 0 };
    Map2d::of(&tensor.shape).unwrap_or(empty)
}

/// Elements of an S8 or S16 constant.
fn weights(tensor: &TensorSpec) -> Vec<i16> {
    let bytes = tensor.constant.as_ref().map_or(&[][..], |constant| constant.bytes());
    match tensor.element_type {
        ElementType::S8 => cast_slice::<u8, i8>(bytes).iter().map(|&value| value.into()).collect(),
        _ => cast_slice::<u8, i16>(bytes).to_vec(),
    }
}

impl<'a> Scope<'a> {
    fn input(&self, position: usize) -> &'a TensorSpec {
        &self.program.tensors[self.layer.inputs[position]]
    }

    fn output(&self) -> &'a TensorSpec {
        &self.program.tensors[self.layer.output]
    }

    fn inputs(&self) -> Vec<&'a TensorSpec> {
        (0..self.layer.inputs.len()).map(|position| self.input(position)).collect()
    }

    fn quantize(&self, half_away: bool) -> Box<dyn Kernel> {
        let TensorSpec { element_type, scale, zero_point, .. } = *self.output();
        Box::new(QuantizeKernel { output_type: element_type, scale, zero_point, half_away })
    }

    fn dequantize(&self) -> Box<dyn Kernel> {
        let TensorSpec { element_type, scale, zero_point, .. } = *self.input(0);
        Box::new(DequantizeKernel { input_type: element_type, scale, zero_point })
    }

    fn pad(&self, pad: &Pad) -> Box<dyn Kernel> {
        Box::new(PadKernel {
            pad: pad.clone(),
            element_bytes: self.input(0).element_type.size_bytes(),
            input: self.input(0).shape.clone(),
            output: self.output().shape.clone(),
        })
    }

    fn convolution(&self, spec: &Convolution) -> Box<dyn Kernel> {
        let (input, output) = (map(self.input(0)), map(self.output()));
        let (from, to) = (self.input(0).element_type, self.output().element_type);
        let weights = weights(&self.program.tensors[spec.weight]);
        let zero_point = self.input(0).zero_point;
        if spec.groups == input.channels && spec.groups == output.channels {
            let weight_type = self.program.tensors[spec.weight].element_type;
            let source = DepthwiseSource {
                window: spec.window,
                input,
                output,
                input_type: from,
                output_type: to,
                weights: &weights,
                bias: &spec.bias,
                zero_point,
                requantizer: &spec.requantizer,
            };
            if let Some(kernel) = DepthwiseBytesKernel::new(self.isa, &source, weight_type) {
                return Box::new(kernel);
            }
            return match DepthwiseHalvesKernel::new(self.isa, &source) {
                Some(kernel) => Box::new(kernel),
                None => Box::new(DepthwiseKernel::new(&source)),
            };
        }
        let source = WindowSource {
            window: spec.window,
            input,
            output,
            groups: spec.groups,
            input_type: from,
            storage: Storage::of(from, self.program.tensors[spec.weight].element_type),
            zero_point,
        };
        let shape = (spec.groups, output.channels / spec.groups);
        self.product(&source, shape, &weights, (&spec.bias, &spec.requantizer))
    }

    /// Packs weights of (groups, outputs of a group).
    fn product(
        &self,
        windows: &WindowSource,
        (groups, columns): (usize, usize),
        weights: &[i16],
        (bias, requantizer): (&[i64], &Requantizer),
    ) -> Box<dyn Kernel> {
        let source = WeightSource {
            groups,
            columns,
            depth: weights.len() / (groups * columns),
            segments: windows.segments(),
            weights,
            bias,
            requantizer,
            output_type: self.output().element_type,
            storage: windows.storage,
            zero_point: windows.zero_point,
        };
        Box::new(ConvolutionKernel {
            weights: PackedWeights::new(self.isa, &source),
            windows: Windows::new(windows),
            output_type: self.output().element_type,
        })
    }

    fn transposed_convolution(&self, spec: &Convolution) -> Box<dyn Kernel> {
        let (input, output) = (map(self.input(0)), map(self.output()));
        let weights = weights(&self.program.tensors[spec.weight]);
        let input_type = self.input(0).element_type;
        let zero_point = self.input(0).zero_point;
        let depth = spec.window.kernel[0] * spec.window.kernel[1] * (input.channels / spec.groups);
        Box::new(TransposedKernel::new(&TransposedSource {
            isa: self.isa,
            window: spec.window,
            input,
            output,
            input_type,
            output_type: self.output().element_type,
            zero_point,
            weights: WeightSource {
                groups: spec.groups,
                columns: output.channels / spec.groups,
                depth,
                segments: 1,
                weights: &weights,
                bias: &spec.bias,
                requantizer: &spec.requantizer,
                output_type: self.output().element_type,
                storage: Storage::halves(input_type),
                zero_point,
            },
        }))
    }

    fn inner_product(&self, spec: &InnerProduct) -> Box<dyn Kernel> {
        let tensor = &self.program.tensors[spec.weight];
        let input = self.input(0);
        let (columns, depth) = (tensor.shape[0], tensor.shape[1]);
        let storage = Storage::of(input.element_type, tensor.element_type);
        let stored = (input.element_type, storage, input.zero_point);
        let windows = WindowSource::of_rows(input.elements() / depth, depth, stored);
        self.product(&windows, (1, columns), &weights(tensor), (&spec.bias, &spec.requantizer))
    }

    fn broadcast(&self) -> Broadcast {
        let inputs: Vec<(ElementType, i32, &[usize])> = (0..self.layer.inputs.len())
            .map(|position| self.input(position))
            .map(|tensor| (tensor.element_type, tensor.zero_point, &tensor.shape[..]))
            .collect();
        Broadcast::new(&inputs, &self.output().shape)
    }

    /// Integers less the lowest of their types: where a table has them.
    fn broadcast_from_lowest(&self) -> Broadcast {
        let inputs = self.inputs();
        let lowest = |tensor: &TensorSpec| tensor.element_type.range().map_or(0, |(low, _)| low);
        let inputs: Vec<_> = inputs
            .iter()
            .map(|tensor| (tensor.element_type, lowest(tensor), &tensor.shape[..]))
            .collect();
        Broadcast::new(&inputs, &self.output().shape)
    }

    fn sum(&self, sum: &Sum) -> Box<dyn Kernel> {
        if let Some(pair) = residual_sum(self.isa, self.program, self.layer) {
            return pair.boxed();
        }
        let TensorSpec { element_type, scale, .. } = *self.output();
        Box::new(ElementwiseKernel::sum(self.broadcast(), element_type, scale, sum))
    }

    fn extremum(&self, least: bool) -> Box<dyn Kernel> {
        let inputs: Vec<(ElementType, i32, &[usize])> = (0..self.layer.inputs.len())
            .map(|position| self.input(position))
            .map(|tensor| (tensor.element_type, 0, &tensor.shape[..]))
            .collect();
        let broadcast = Broadcast::new(&inputs, &self.output().shape);
        Box::new(ExtremumKernel { broadcast, output_type: self.output().element_type, least })
    }

    fn pool_shape(&self) -> PoolShape {
        PoolShape { input: map(self.input(0)), output: map(self.output()) }
    }

    fn max_pool(&self, window: Window) -> Box<dyn Kernel> {
        let element_type = self.input(0).element_type;
        Box::new(MaxPoolKernel { shape: self.pool_shape(), window, element_type })
    }

    fn average_pool(&self, pool: &AveragePool) -> Box<dyn Kernel> {
        let shape = self.pool_shape();
        if matches!(pool.requantizer.rounding, Rounding::Real(_)) {
            return Box::new(RealAveragePoolKernel {
                shape,
                pool: pool.clone(),
                input_type: self.input(0).element_type,
                output_type: self.output().element_type,
                input_scale: self.input(0).scale,
                input_zero_point: self.input(0).zero_point,
                output_scale: self.output().scale,
            });
        }
        let bound = AveragePoolKernel::bound(&shape, &pool.window);
        let is_raw = matches!(pool.requantizer.rounding, Rounding::Quotient(_));
        Box::new(AveragePoolKernel {
            shape,
            pool: pool.clone(),
            input_type: self.input(0).element_type,
            output_type: self.output().element_type,
            zero_point: if is_raw { 0 } else { self.input(0).zero_point },
            is_narrow: bound <= i32::MAX as u64,
            requantizer: RowRequantizer::new(&pool.requantizer, bound),
        })
    }

    fn prelu(&self, prelu: &PRelu) -> Box<dyn Kernel> {
        Box::new(PReluKernel {
            input_type: self.input(0).element_type,
            output_type: self.output().element_type,
            zero_point: self.input(0).zero_point,
            slope: weights(&self.program.tensors[prelu.slope]),
            positive: RowRequantizer::new(&prelu.positive, u64::from(u16::MAX)),
            negative: RowRequantizer::new(&prelu.negative, GREATEST_SLOPED),
        })
    }

    fn concat(&self, axis: usize) -> Box<dyn Kernel> {
        let stretch = |tensor: &TensorSpec| {
            tensor.shape[axis..].iter().product::<usize>() * tensor.element_type.size_bytes()
        };
        let stretches =
            (0..self.layer.inputs.len()).map(|input| stretch(self.input(input))).collect();
        Box::new(ConcatKernel { stretches })
    }

    fn softmax(&self, softmax: &Softmax) -> Box<dyn Kernel> {
        let input_type = self.input(0).element_type;
        let (row, exponential) = (self.input(0).last_axis(), softmax.exponential.clone());
        match &softmax.requantizer {
            None => Box::new(SoftmaxKernel { input_type, row, exponential }),
            Some(requantizer) => Box::new(RealSoftmaxKernel {
                input_type,
                output_type: self.output().element_type,
                row,
                exponential,
                requantizer: requantizer.clone(),
            }),
        }
    }

    fn real_resize(
        &self,
        resize: &Resize,
        axes: [ResizeAxis; 2],
        fractions: [Vec<f32>; 2],
    ) -> Box<dyn Kernel> {
        let (input, output) = (map(self.input(0)), map(self.output()));
        let (from, to) = (self.input(0).element_type, self.output().element_type);
        let requantizer = &resize.requantizer;
        if let Rounding::Real(_) = requantizer.rounding {
            let rule = Unquantized {
                input_scale: self.input(0).scale,
                input_zero_point: self.input(0).zero_point,
                output_scale: self.output().scale,
                requantizer: requantizer.clone(),
            };
            return Box::new(RealResizeKernel { axes, fractions, input, output, from, to, rule });
        }
        let rule = Truncated { low: requantizer.clamp_min, high: requantizer.clamp_max };
        Box::new(RealResizeKernel { axes, fractions, input, output, from, to, rule })
    }

    fn grid_sample(&self, spec: &GridSample) -> Box<dyn Kernel> {
        let (input, grid, output) = (self.input(0), self.input(1), self.output());
        let bound = GridSampleKernel::bound(spec, input.element_type);
        Box::new(GridSampleKernel {
            spec: spec.clone(),
            input: map(input),
            output: map(output),
            input_type: input.element_type,
            grid_type: grid.element_type,
            output_type: output.element_type,
            zero_points: [input.zero_point, grid.zero_point],
            requantizer: RowRequantizer::new(&spec.requantizer, bound),
        })
    }

    fn resize(&self, resize: &Resize) -> Box<dyn Kernel> {
        if let (Some(fractions), Some(height), Some(width)) =
            (&resize.fractions, &resize.height, &resize.width)
        {
            let axes = [height.clone(), width.clone()];
            return self.real_resize(resize, axes, fractions.clone());
        }
        let is_raw = matches!(resize.requantizer.rounding, Rounding::Quotient(_));
        let bound = ResizeKernel::bound(resize, self.input(0).element_type);
        Box::new(ResizeKernel {
            resize: resize.clone(),
            input: map(self.input(0)),
            output: map(self.output()),
            input_type: self.input(0).element_type,
            output_type: self.output().element_type,
            zero_point: if is_raw { 0 } else { self.input(0).zero_point },
            is_narrow: bound <= i32::MAX as u64,
            requantizer: RowRequantizer::new(&resize.requantizer, bound),
        })
    }
}
