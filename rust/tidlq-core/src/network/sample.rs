//! Networks for tests.

use super::file::with_header;
use super::proto::{self, layer::Op};
use crate::element::ElementType;
use crate::fixed::{Requantizer, Rounding};
use prost::Message as _;

/// A deterministic source of numbers (SplitMix64).
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// True once in `count` times.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    /// Uniform in `low..=high`.
    pub fn within(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    pub fn size(&mut self, low: usize, high: usize) -> usize {
        self.within(low as i64, high as i64) as usize
    }

    pub fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.size(0, list.len() - 1)].clone()
    }

    pub fn integer_type(&mut self) -> ElementType {
        self.pick(&ElementType::INTEGERS)
    }

    /// A value of an integer type: its ends often, else anything. 0 for float.
    pub fn value(&mut self, element_type: ElementType) -> i32 {
        let Some((low, high)) = element_type.range() else { return 0 };
        match self.next() % 8 {
            0 => low,
            1 => high,
            _ => self.within(low.into(), high.into()) as i32,
        }
    }

    pub fn values(&mut self, element_type: ElementType, count: usize) -> Vec<i32> {
        (0..count).map(|_| self.value(element_type)).collect()
    }

    /// A requantization into a type; `modes` of "shift", "fixed", "float", "twice", "double", "biased";
    /// lists of 1 or `entries`. Into float, there is one mode and no clamp.
    pub fn requantizer(
        &mut self,
        output: ElementType,
        zero_point: i32,
        modes: &[&str],
        entries: usize,
    ) -> Requantizer {
        let count = self.pick(&[1, entries]);
        let modes = if output == ElementType::F32 { &["unrounded"] } else { modes };
        let rounding = match self.pick(modes) {
            "shift" => Rounding::Shift(self.list(count, |random| random.pick(&[0, 1, 7, 13, 62]))),
            "fixed" => Rounding::Fixed {
                multiplier: self.list(count, Self::multiplier),
                shift: {
                    let count = self.pick(&[1, entries]);
                    let low = self.pick(&[0, 31]);
                    self.list(count, |random| random.within(low, 62) as u32)
                },
            },
            "twice" => Rounding::Twice {
                left_shift: self.list(count, |random| random.pick(&[0, 0, 1, 9, 31])),
                multiplier: {
                    let count = self.pick(&[1, entries]);
                    self.list(count, Self::multiplier)
                },
                shift: {
                    let count = self.pick(&[1, entries]);
                    self.list(count, |random| random.pick(&[0, 1, 5, 9, 14, 31]))
                },
            },
            "double" => Rounding::Double(
                self.list(count, |random| random.pick(&[1.0, 0.5, -0.5, 0.037, 3.0e-4, 7.7e-7])),
            ),
            "unrounded" => Rounding::Unrounded {
                scale: self.list(count, |random| random.pick(&[1.0, 0.037, -0.5, 7.7e-7])),
                bias: {
                    let count = self.pick(&[0, 1, entries]);
                    self.list(count, |random| random.pick(&[0.0, -0.0, 1.0, -77.7, 3.0e-5]))
                },
            },
            "biased" => Rounding::Biased {
                scale: self.list(count, |random| random.pick(&[1.0, 0.037, -0.5, 7.7e-7])),
                bias: {
                    let count = self.pick(&[1, entries]);
                    self.list(count, |random| random.pick(&[0.5, -0.0, 1.25, -77.7, 1.0e9]))
                },
            },
            _ => Rounding::Float(
                self.list(count, |random| random.pick(&[1.0, 0.037, -0.5, 3.0e-4, 7.7e-7]) as f32),
            ),
        };
        let (low, high) = output.range().unwrap_or((0, 0));
        let clamp_min = self.pick(&[low, zero_point]);
        Requantizer { rounding, zero_point, clamp_min, clamp_max: high }
    }

    fn multiplier(&mut self) -> i32 {
        match self.next() % 8 {
            0 => self.pick(&[0, 1 << 30, i32::MAX, -i32::MAX]),
            _ => self.within(-i64::from(i32::MAX), i32::MAX.into()) as i32,
        }
    }

    fn list<T>(&mut self, count: usize, mut entry: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..count).map(|_| entry(self)).collect()
    }
}

/// The message of a requantizer.
pub(crate) fn requantize(requantizer: &Requantizer) -> Option<proto::Requantize> {
    let mut message = proto::Requantize {
        zero_point: requantizer.zero_point,
        clamp_min: requantizer.clamp_min,
        clamp_max: requantizer.clamp_max,
        ..Default::default()
    };
    match &requantizer.rounding {
        Rounding::Shift(shift) => {
            message.set_mode(proto::requantize::Mode::Shift);
            message.shift = shift.clone();
        }
        Rounding::Fixed { multiplier, shift } => {
            message.set_mode(proto::requantize::Mode::Fixed);
            message.multiplier = multiplier.clone();
            message.shift = shift.clone();
        }
        Rounding::Float(scale) => {
            message.set_mode(proto::requantize::Mode::Float);
            message.scale = scale.clone();
        }
        Rounding::Twice { left_shift, multiplier, shift } => {
            message.set_mode(proto::requantize::Mode::TwiceRounded);
            message.left_shift = left_shift.clone();
            message.multiplier = multiplier.clone();
            message.shift = shift.clone();
        }
        Rounding::Double(scale) => {
            message.set_mode(proto::requantize::Mode::Double);
            message.double_scale = scale.clone();
        }
        Rounding::Biased { scale, bias } | Rounding::Unrounded { scale, bias } => {
            message.set_mode(proto::requantize::Mode::Float);
            message.scale = scale.clone();
            message.real_bias = bias.clone();
        }
        Rounding::Quotient(_) => message.set_mode(proto::requantize::Mode::Quotient),
        Rounding::Real(scale) => {
            message.set_mode(proto::requantize::Mode::Real);
            message.scale = scale.clone();
        }
    }
    Some(message)
}

/// Little-endian elements of an integer type.
pub(crate) fn bytes_of(element_type: ElementType, values: &[i32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| i64::from(*value).to_le_bytes()[..element_type.size_bytes()].to_vec())
        .collect()
}

/// A network under construction.
#[derive(Clone, Default)]
pub(crate) struct Sample {
    pub network: proto::Network,
}

impl Sample {
    /// Adds a tensor and returns its index.
    pub fn tensor(&mut self, element_type: ElementType, shape: &[usize], zero_point: i32) -> u32 {
        let index = self.network.tensors.len() as u32;
        let mut tensor = proto::Tensor {
            name: format!("t{index}"),
            shape: shape.iter().map(|&size| size as u32).collect(),
            scale: if element_type.range().is_none() { 0.0 } else { 0.125 },
            zero_point,
            ..Default::default()
        };
        tensor.set_element_type(match element_type {
            ElementType::U8 => proto::ElementType::U8,
            ElementType::S8 => proto::ElementType::S8,
            ElementType::U16 => proto::ElementType::U16,
            ElementType::S16 => proto::ElementType::S16,
            ElementType::F32 => proto::ElementType::F32,
            ElementType::S32 => proto::ElementType::S32,
            ElementType::S64 => proto::ElementType::S64,
        });
        self.network.tensors.push(tensor);
        index
    }

    /// Adds a network input.
    pub fn input(&mut self, element_type: ElementType, shape: &[usize], zero_point: i32) -> u32 {
        let index = self.tensor(element_type, shape, zero_point);
        self.network.inputs.push(index);
        index
    }

    /// Adds a constant.
    pub fn constant(
        &mut self,
        element_type: ElementType,
        shape: &[usize],
        zero_point: i32,
        values: &[i32],
    ) -> u32 {
        let index = self.tensor(element_type, shape, zero_point);
        self.network.tensors[index as usize].constant = Some(bytes_of(element_type, values));
        index
    }

    /// Adds a layer.
    pub fn layer(&mut self, inputs: &[u32], output: u32, op: Op) {
        let name = format!("layer{}", self.network.layers.len());
        self.network.layers.push(proto::Layer {
            name,
            inputs: inputs.to_vec(),
            output,
            op: Some(op),
        });
    }

    /// Adds a layer whose output is the network's.
    pub fn output_layer(&mut self, inputs: &[u32], output: u32, op: Op) {
        self.layer(inputs, output, op);
        self.network.outputs.push(output);
    }

    /// Replaces the bias of a layer with weights.
    pub fn set_bias(&mut self, layer: usize, entries: &[i64]) {
        match &mut self.network.layers[layer].op {
            Some(Op::Convolution(proto::Convolution { bias, .. }))
            | Some(Op::InnerProduct(proto::InnerProduct { bias, .. })) => *bias = entries.to_vec(),
            _ => panic!("layer {layer} has no bias"),
        }
    }

    /// The bytes of the file.
    pub fn file(&self) -> Vec<u8> {
        with_header(&self.network.encode_to_vec())
    }
}
