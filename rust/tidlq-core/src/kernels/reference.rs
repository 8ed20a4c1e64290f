//! Plain versions of every operation: the semantics of `proto/network.proto` written down as loops,
//! without a thought for speed. Tests compare the kernels against them, bit for bit.

mod deformable;
mod grid_sample;
mod order;
mod power;
mod reduce;
mod resize;
mod rows;
mod scattered_product;
mod softmax;
mod transposed;

use crate::element::ElementType;
use crate::fixed::{
    Requantizer, Rounding, dequantize, entry, multiply_twice_rounded, quantize, quantize_away,
};
use crate::network::{
    AveragePool, Convolution, InnerProduct, LayerSpec, Map2d, Op, PRelu, Pad, PadMode, Program,
    Sum, TensorSpec, Window,
};

/// Elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Integers(Vec<i32>),
    Floats(Vec<f32>),
}

impl Data {
    fn integers(&self) -> &[i32] {
        match self {
            Self::Integers(values) => values,
            Self::Floats(_) => panic!("an integer tensor is expected"),
        }
    }

    fn floats(&self) -> &[f32] {
        match self {
            Self::Floats(values) => values,
            Self::Integers(_) => panic!("a float tensor is expected"),
        }
    }
}

/// Reads the elements of a tensor from bytes.
pub(crate) fn data(tensor: &TensorSpec, bytes: &[u8]) -> Data {
    let Some((low, _)) = tensor.element_type.range() else {
        let words = bytes.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
        return Data::Floats(words.map(f32::from_le_bytes).collect());
    };
    let size = tensor.element_type.size_bytes();
    let elements = bytes.chunks_exact(size).map(|bytes| {
        let unsigned = bytes.iter().rev().fold(0_i32, |sum, &byte| sum << 8 | i32::from(byte));
        let range = 1 << (8 * size);
        if low < 0 && unsigned >= range / 2 { unsigned - range } else { unsigned }
    });
    Data::Integers(elements.collect())
}

/// Values of all tensors, given those of the inputs.
pub(crate) fn run(program: &Program, inputs: &[Data]) -> Vec<Data> {
    let constants = program.tensors.iter().map(|tensor| {
        let bytes = tensor.constant.as_ref().map_or(&[][..], |constant| constant.bytes());
        data(tensor, bytes)
    });
    let mut values: Vec<Data> = constants.collect();
    for (&tensor, input) in program.inputs.iter().zip(inputs) {
        values[tensor] = input.clone();
    }
    for layer in &program.layers {
        values[layer.output] = Step { program, layer, values: &values }.run();
    }
    values
}

struct Step<'a> {
    program: &'a Program,
    layer: &'a LayerSpec,
    values: &'a [Data],
}

/// All index tuples of a shape, row-major.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![Vec::new()], |tuples, &size| {
        let extend =
            |tuple: &Vec<usize>| (0..size).map(|i| [&tuple[..], &[i]].concat()).collect::<Vec<_>>();
        tuples.iter().flat_map(extend).collect()
    })
}

fn flat(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |sum, (&i, &size)| sum * size + i)
}

impl Step<'_> {
    fn spec(&self, input: usize) -> &TensorSpec {
        &self.program.tensors[self.layer.inputs[input]]
    }

    fn output(&self) -> &TensorSpec {
        &self.program.tensors[self.layer.output]
    }

    fn value(&self, input: usize) -> &Data {
        &self.values[self.layer.inputs[input]]
    }

    /// Elements of an input less its zero point.
    fn centred(&self, input: usize) -> Vec<i64> {
        let zero_point = i64::from(self.spec(input).zero_point);
        let values = self.value(input).integers();
        values.iter().map(|&q| i64::from(q) - zero_point).collect()
    }

    /// Elements of an input as they are.
    fn raw(&self, input: usize) -> Vec<i64> {
        self.value(input).integers().iter().map(|&q| i64::from(q)).collect()
    }

    fn maps(&self) -> (Map2d, Map2d) {
        (Map2d::of(&self.spec(0).shape).unwrap(), Map2d::of(&self.output().shape).unwrap())
    }

    fn run(&self) -> Data {
        let output = self.output();
        match &self.layer.op {
            Op::Quantize { half_away } => {
                let (low, high) = output.element_type.range().unwrap();
                let round = if *half_away { quantize_away } else { quantize };
                let q = |&x: &f32| round(x, output.scale, output.zero_point, low, high);
                Data::Integers(self.value(0).floats().iter().map(q).collect())
            }
            Op::Dequantize => {
                let (scale, zero_point) = (self.spec(0).scale, self.spec(0).zero_point);
                let values = self.value(0).integers();
                Data::Floats(values.iter().map(|&q| dequantize(q, scale, zero_point)).collect())
            }
            Op::Rescale(requantizer) => {
                let values = self.centred(0);
                Data::Integers(values.iter().map(|&x| requantizer.apply(x, 0)).collect())
            }
            Op::Convolution(convolution) => self.convolution(convolution),
            Op::InnerProduct(product) => self.inner_product(product),
            Op::Sum(sum) => self.sum(sum),
            Op::Product(requantizer) => self.product(requantizer),
            Op::MaxPool(window) => self.max_pool(window),
            Op::AveragePool(pool) => self.average_pool(pool),
            Op::Lookup(table) => {
                let (low, _) = self.spec(0).element_type.range().unwrap();
                let values = self.value(0).integers();
                Data::Integers(values.iter().map(|&q| table[(q - low) as usize]).collect())
            }
            Op::PRelu(prelu) => self.prelu(prelu),
            Op::Concat { axis } => self.concat(*axis),
            Op::Reshape => self.value(0).clone(),
            Op::Transpose { perm } => self.gather(
                |index| {
                    let mut source = vec![0; perm.len()];
                    for (&axis, &i) in perm.iter().zip(index) {
                        source[axis] = i;
                    }
                    Some(source)
                },
                0,
            ),
            Op::Pad(pad) => self.pad(pad),
            Op::Slice { start, step } => self.gather(
                |index| {
                    let at = |axis: usize| start[axis] as isize + index[axis] as isize * step[axis];
                    Some((0..index.len()).map(|axis| at(axis) as usize).collect())
                },
                0,
            ),
            Op::Resize(resize) => self.resize(resize),
            Op::GridSample(spec) => self.grid_sample(spec),
            Op::DeformableConvolution(spec) => self.deformable_convolution(spec),
            Op::WindowedResize(spec) => self.windowed_resize(spec),
            Op::Softmax(softmax) => self.softmax(softmax),
            Op::IntegerSoftmax(softmax) => self.integer_softmax(softmax),
            Op::MatrixProduct(requantizer) => self.matrix_product(requantizer),
            Op::Normalization(spec) => self.normalization(spec),
            Op::TransposedConvolution(convolution) => self.transposed_convolution(convolution),
            Op::Extremum { least } => {
                let best =
                    |q: Vec<i64>| if *least { q.into_iter().min() } else { q.into_iter().max() };
                let zero_point = i64::from(output.zero_point);
                let q = |operands| (best(operands).unwrap() + zero_point) as i32;
                Data::Integers(self.operands().into_iter().map(q).collect())
            }
            Op::Gather { axis, index } => self.gather_axis(*axis, index),
            Op::Reduce(reduce) => self.reduce(reduce),
            Op::Division(requantizer) => self.division(requantizer),
            Op::Power(spec) => self.power(spec),
            Op::ScatteredProduct(spec) => self.scattered_product(spec),
            Op::TopK(spec) => self.top_k(spec),
        }
    }

    /// Each output element is the input's at `source(index)`, or the constant.
    fn gather(&self, source: impl Fn(&[usize]) -> Option<Vec<usize>>, constant: i32) -> Data {
        let shape = &self.spec(0).shape;
        let sources: Vec<Option<usize>> = indices(&self.output().shape)
            .iter()
            .map(|index| source(index).map(|source| flat(&source, shape)))
            .collect();
        match self.value(0) {
            Data::Integers(values) => {
                let pick = |source: &Option<usize>| source.map_or(constant, |at| values[at]);
                Data::Integers(sources.iter().map(pick).collect())
            }
            Data::Floats(values) => {
                let pick = |source: &Option<usize>| source.map_or(0.0, |at| values[at]);
                Data::Floats(sources.iter().map(pick).collect())
            }
        }
    }

    fn inner_product(&self, product: &InnerProduct) -> Data {
        let output = self.output();
        let (x, weights) = (self.centred(0), self.values[product.weight].integers());
        let depth = self.spec(0).last_axis();
        let columns = output.last_axis();
        let dot = |position: usize| {
            let (row, n) = (position / columns, position % columns);
            (0..depth).fold(product.bias[n], |sum, k| {
                sum + x[row * depth + k] * i64::from(weights[n * depth + k])
            })
        };
        let sums = (0..output.elements()).map(|position| (dot(position), position % columns));
        self.scaled(&product.requantizer, sums.collect())
    }

    /// Output elements of (accumulator, channel) pairs.
    fn scaled(&self, requantizer: &Requantizer, sums: Vec<(i64, usize)>) -> Data {
        let sums = sums.into_iter();
        if self.output().element_type == ElementType::F32 {
            return Data::Floats(sums.map(|(acc, c)| requantizer.real(acc, c).unwrap()).collect());
        }
        Data::Integers(sums.map(|(acc, c)| requantizer.apply(acc, c)).collect())
    }

    fn convolution(&self, spec: &Convolution) -> Data {
        let (map, out) = self.maps();
        let (x, weights) = (self.centred(0), self.values[spec.weight].integers());
        let (depth, columns) = (map.channels / spec.groups, out.channels / spec.groups);
        let mut sums = Vec::new();
        for index in indices(&[out.count, out.height, out.width, out.channels]) {
            let [n, y, x_out, o] = index[..] else { unreachable!() };
            let mut acc = spec.bias[o];
            for tap in indices(&spec.window.kernel) {
                let Some((iy, ix)) = inside(&spec.window, &map, (y, x_out), (tap[0], tap[1]))
                else {
                    continue;
                };
                for i in 0..depth {
                    let channel = o / columns * depth + i;
                    let at = ((n * map.height + iy) * map.width + ix) * map.channels + channel;
                    let [height, width] = spec.window.kernel;
                    let weight = flat(&[o, tap[0], tap[1], i], &[0, height, width, depth]);
                    acc += x[at] * i64::from(weights[weight]);
                }
            }
            sums.push((acc, o));
        }
        self.scaled(&spec.requantizer, sums)
    }

    /// For each output element, the input elements (less the zero point) that its window covers.
    fn windows(&self, window: &Window, values: &[i64]) -> Vec<((usize, usize), Vec<i64>)> {
        let (map, out) = self.maps();
        let covered = |index: Vec<usize>| {
            let taps = indices(&window.kernel);
            let elements = taps.iter().filter_map(|tap| {
                let position = (index[1], index[2]);
                let (iy, ix) = inside(window, &map, position, (tap[0], tap[1]))?;
                let at = ((index[0] * map.height + iy) * map.width + ix) * map.channels + index[3];
                Some(values[at])
            });
            ((index[1], index[2]), elements.collect())
        };
        let shape = [out.count, out.height, out.width, out.channels];
        indices(&shape).into_iter().map(covered).collect()
    }

    fn max_pool(&self, window: &Window) -> Data {
        let values: Vec<i64> = self.value(0).integers().iter().map(|&q| q.into()).collect();
        let windows = self.windows(window, &values);
        let greatest = |(_, elements): &(_, Vec<i64>)| *elements.iter().max().unwrap() as i32;
        Data::Integers(windows.iter().map(greatest).collect())
    }

    fn average_pool(&self, pool: &AveragePool) -> Data {
        let (map, _) = self.maps();
        let elements = match pool.requantizer.rounding {
            Rounding::Quotient(_) => self.raw(0),
            _ => self.centred(0),
        };
        let windows = self.windows(&pool.window, &elements);
        // With padding counted: the same window over an input extended on all sides.
        let [top, left] = pool.window.pad;
        let extended = Map2d {
            height: map.height + top + pool.pad_end[0],
            width: map.width + left + pool.pad_end[1],
            ..map
        };
        let unpadded = Window { pad: [0, 0], ..pool.window };
        let divisor = |(y, x), elements: &[i64]| {
            if !pool.count_include_pad {
                return elements.len() as u64;
            }
            let taps = indices(&pool.window.kernel);
            let is_inside = |tap: &&Vec<usize>| {
                inside(&unpadded, &extended, (y, x), (tap[0], tap[1])).is_some()
            };
            taps.iter().filter(is_inside).count() as u64
        };
        let average = |((y, x), elements): &((usize, usize), Vec<i64>)| {
            let divisor = divisor((*y, *x), elements);
            let entry = pool.count.iter().position(|&count| count == divisor).unwrap();
            if let Rounding::Real(_) = pool.requantizer.rounding {
                let (from, to) = (self.spec(0), self.output());
                let sum = elements.iter().fold(0.0, |sum, &steps| sum + from.scale * steps as f32);
                let value = sum / divisor as f32 / to.scale + to.zero_point as f32;
                return pool.requantizer.apply_placed(value);
            }
            pool.requantizer.apply(elements.iter().sum(), entry)
        };
        Data::Integers(windows.iter().map(average).collect())
    }

    /// For each output element, the operands' elements less their zero points.
    fn operands(&self) -> Vec<Vec<i64>> {
        let inputs: Vec<Vec<i64>> =
            (0..self.layer.inputs.len()).map(|input| self.centred(input)).collect();
        let element = |index: &Vec<usize>| {
            let pick = |input: usize| {
                let shape = &self.spec(input).shape;
                let index = &index[index.len() - shape.len()..];
                let index: Vec<usize> = index
                    .iter()
                    .zip(shape)
                    .map(|(&i, &size)| if size == 1 { 0 } else { i })
                    .collect();
                inputs[input][flat(&index, shape)]
            };
            (0..inputs.len()).map(pick).collect()
        };
        indices(&self.output().shape).iter().map(element).collect()
    }

    fn sum(&self, spec: &Sum) -> Data {
        let requantizer = &spec.requantizer;
        let scale_out = self.output().scale;
        let sum = |operands: Vec<i64>| match &requantizer.rounding {
            Rounding::Fixed { multiplier, shift } => {
                let terms = operands.iter().enumerate();
                let sum: i64 = terms.map(|(i, &x)| x * i64::from(entry(multiplier, i))).sum();
                let shifted =
                    Requantizer { rounding: Rounding::Shift(shift.clone()), ..requantizer.clone() };
                shifted.apply(sum, 0)
            }
            Rounding::Float(scale) => {
                let terms = operands.iter().enumerate();
                let sum = terms.fold(0.0_f32, |sum, (i, &x)| sum + entry(scale, i) * x as f32);
                requantizer.apply_float(sum / scale_out)
            }
            Rounding::Twice { left_shift, multiplier, shift } => {
                let terms = operands.iter().enumerate().map(|(i, &x)| {
                    let (left, multiplier) = (entry(left_shift, i), entry(multiplier, i));
                    let term = multiply_twice_rounded(x as i32, left, multiplier, entry(shift, i));
                    if spec.subtracted[i] { -i64::from(term) } else { i64::from(term) }
                });
                requantizer.apply(terms.sum(), operands.len())
            }
            Rounding::Real(scale) => {
                let raw = |i: usize| (operands[i] + i64::from(self.spec(i).zero_point)) as f32;
                let inner = raw(1).mul_add(scale[1], scale[2]);
                requantizer.apply_placed(raw(0).mul_add(scale[0], inner))
            }
            _ => panic!("no other mode is allowed"),
        };
        Data::Integers(self.operands().into_iter().map(sum).collect())
    }

    fn product(&self, requantizer: &Requantizer) -> Data {
        let scale_out = self.output().scale;
        let product = |x: Vec<i64>| match &requantizer.rounding {
            Rounding::Float(scale) => {
                let (left, right) = (entry(scale, 0) * x[0] as f32, entry(scale, 1) * x[1] as f32);
                requantizer.apply_float(left * right / scale_out)
            }
            _ => requantizer.apply(x[0] * x[1], 0),
        };
        Data::Integers(self.operands().into_iter().map(product).collect())
    }

    fn prelu(&self, prelu: &PRelu) -> Data {
        let (values, slopes) = (self.centred(0), self.values[prelu.slope].integers());
        let channels = self.spec(0).last_axis();
        let apply = |(position, &x): (usize, &i64)| {
            let slope = i64::from(entry(slopes, position % channels));
            if x >= 0 { prelu.positive.apply(x, 0) } else { prelu.negative.apply(x * slope, 0) }
        };
        Data::Integers(values.iter().enumerate().map(apply).collect())
    }

    fn concat(&self, axis: usize) -> Data {
        let element = |index: &Vec<usize>| {
            let mut index = index.clone();
            let mut input = 0;
            while index[axis] >= self.spec(input).shape[axis] {
                index[axis] -= self.spec(input).shape[axis];
                input += 1;
            }
            (input, flat(&index, &self.spec(input).shape))
        };
        let places = indices(&self.output().shape);
        let pick = |(input, at): (usize, usize)| self.value(input).integers()[at];
        Data::Integers(places.iter().map(|index| pick(element(index))).collect())
    }

    fn pad(&self, pad: &Pad) -> Data {
        let shape = &self.spec(0).shape;
        let source = |index: &[usize]| {
            let mut source = Vec::new();
            for axis in 0..shape.len() {
                let (size, i) = (shape[axis] as i64, index[axis] as i64 - pad.begin[axis] as i64);
                source.push(match pad.mode {
                    _ if (0..size).contains(&i) => i,
                    PadMode::Constant(_) => return None,
                    PadMode::Edge => i.clamp(0, size - 1),
                    PadMode::Reflect if i < 0 => -i,
                    PadMode::Reflect => 2 * (size - 1) - i,
                } as usize);
            }
            Some(source)
        };
        let constant = if let PadMode::Constant(value) = pad.mode { value } else { 0 };
        self.gather(source, constant)
    }
}

/// The input position of a tap, if it is inside.
fn inside(
    window: &Window,
    map: &Map2d,
    (y, x): (usize, usize),
    (ky, kx): (usize, usize),
) -> Option<(usize, usize)> {
    let at = |axis: usize, position: usize, tap: usize| {
        (position * window.stride[axis] + tap * window.dilation[axis]) as i64
            - window.pad[axis] as i64
    };
    let (y, x) = (at(0, y, ky), at(1, x, kx));
    let is_inside = (0..map.height as i64).contains(&y) && (0..map.width as i64).contains(&x);
    is_inside.then_some((y as usize, x as usize))
}
