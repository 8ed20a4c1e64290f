//! From the decoded message to a [`Program`]: everything that can be wrong is refused here, before
//! anything is allocated by a size that the file states.

mod check;
mod deformable;
mod grid_sample;
mod layer;
mod movement;
mod order;
mod reduce;
mod requantize;
mod rows;
mod window;
mod windowed_resize;

use std::collections::HashMap;

use self::check::{Checked, MAX_BYTES, count, floats, in_range, index};
pub(super) use self::deformable::shift;
use self::layer::Scope;
pub(super) use self::layer::bias;
use super::buffer::AlignedBuffer;
use super::program::{LayerSpec, Program, TensorSpec};
use super::proto::{self, layer::Op as Message};
use crate::element::ElementType;
use crate::error::{Error, Fault, Result};

/// Greatest rank of a tensor.
const MAX_RANK: usize = 8;

/// Checks a message.
pub(super) fn program(message: proto::Network) -> Result<Program> {
    let mut names = HashMap::with_capacity(message.tensors.len());
    let mut tensors = Vec::with_capacity(message.tensors.len());
    for (position, tensor) in message.tensors.into_iter().enumerate() {
        let label = label(&tensor.name, position);
        let fail = |fault| Error::Tensor { tensor: label.clone(), fault };
        if let Some(first) = names.insert(tensor.name.clone(), position) {
            return Err(fail(Fault::Duplicate { first, second: position }));
        }
        tensors.push(self::tensor(tensor).map_err(fail)??);
    }
    let network = |fault| Error::Network { fault };
    let indices = |what, list: &[u32]| -> Checked<Vec<usize>> {
        list.iter().map(|&entry| index(what, entry, tensors.len())).collect()
    };
    let inputs = indices("inputs", &message.inputs).map_err(network)?;
    let outputs = indices("outputs", &message.outputs).map_err(network)?;
    let layers = layers(message.layers, &tensors)?;
    order(&tensors, &inputs, &outputs, &layers)?;
    total_bytes(&tensors).map_err(network)?;
    Ok(Program {
        name: message.name,
        graph_fingerprint: message.graph_fingerprint,
        tensors,
        inputs,
        outputs,
        layers,
        names,
    })
}

fn label(name: &str, position: usize) -> String {
    if name.is_empty() { format!("#{position}") } else { name.to_owned() }
}

/// The inner result is the allocation of the constant.
fn tensor(message: proto::Tensor) -> Checked<Result<TensorSpec>> {
    if message.name.is_empty() {
        return Err(Fault::Missing { what: "name" });
    }
    let element_type = match message.element_type() {
        proto::ElementType::U8 => ElementType::U8,
        proto::ElementType::S8 => ElementType::S8,
        proto::ElementType::U16 => ElementType::U16,
        proto::ElementType::S16 => ElementType::S16,
        proto::ElementType::F32 => ElementType::F32,
        proto::ElementType::S32 => ElementType::S32,
        proto::ElementType::S64 => ElementType::S64,
        proto::ElementType::Unspecified => return Err(Fault::Missing { what: "element_type" }),
    };
    in_range("the rank", message.shape.len(), 0, MAX_RANK as i128)?;
    let mut bytes = element_type.size_bytes() as u128;
    for &size in &message.shape {
        in_range("shape", size, 1, i128::from(u32::MAX))?;
        bytes = bytes.saturating_mul(u128::from(size));
    }
    if bytes > MAX_BYTES {
        return Err(Fault::TooLarge { what: "the tensor", got: bytes, bound: MAX_BYTES });
    }
    if element_type.range().is_none() {
        in_range("zero_point of a tensor without scale", message.zero_point, 0, 0)?;
    } else {
        let is_good = |scale: f32| scale.is_finite() && scale > 0.0;
        floats("scale", &[message.scale], "a positive finite number", is_good)?;
    }
    if let Some((low, high)) = element_type.range() {
        in_range("zero_point", message.zero_point, i128::from(low), i128::from(high))?;
    }
    if let Some(constant) = &message.constant {
        if element_type.is_position() {
            return Err(no_positions("a constant's element type", element_type));
        }
        count("the constant's byte string", constant.len(), bytes as usize)?;
    }
    let constant =
        message.constant.map(|bytes| AlignedBuffer::copy_of(&bytes, "a constant")).transpose();
    Ok(constant.map(|constant| TensorSpec {
        name: message.name,
        element_type,
        shape: message.shape.into_iter().map(|size| size as usize).collect(),
        scale: message.scale,
        zero_point: message.zero_point,
        constant,
    }))
}

fn layers(messages: Vec<proto::Layer>, tensors: &[TensorSpec]) -> Result<Vec<LayerSpec>> {
    let mut names = HashMap::with_capacity(messages.len());
    let mut layers = Vec::with_capacity(messages.len());
    for (position, message) in messages.into_iter().enumerate() {
        let label = label(&message.name, position);
        let fail = |fault| Error::Layer { layer: label.clone(), fault };
        if message.name.is_empty() {
            return Err(fail(Fault::Missing { what: "name" }));
        }
        if let Some(first) = names.insert(message.name.clone(), position) {
            return Err(fail(Fault::Duplicate { first, second: position }));
        }
        layers.push(layer(message, tensors).map_err(fail)?);
    }
    Ok(layers)
}

fn layer(message: proto::Layer, tensors: &[TensorSpec]) -> Checked<LayerSpec> {
    let inputs = message
        .inputs
        .iter()
        .map(|&input| index("inputs", input, tensors.len()))
        .collect::<Checked<Vec<usize>>>()?;
    let output = index("output", message.output, tensors.len())?;
    let scope = Scope { tensors, inputs: &inputs, output };
    positions(&scope, message.op.as_ref())?;
    let op = layer::op(&scope, message.op)?;
    Ok(LayerSpec { name: message.name, inputs, output, op })
}

fn no_positions(what: &'static str, got: ElementType) -> Fault {
    let want = "a quantized or float type".to_owned();
    Fault::Mismatch { what, want, got: got.name().to_owned() }
}

/// Positions are written by a TopK and read by a Reshape alone.
fn positions(scope: &Scope<'_>, op: Option<&Message>) -> Checked<()> {
    let is_reshape = matches!(op, Some(Message::Reshape(_)));
    let inputs = (0..scope.inputs.len()).map(|position| scope.input(position).element_type);
    if let Some(input) = inputs.filter(|_| !is_reshape).find(|input| input.is_position()) {
        return Err(no_positions("an input's element type", input));
    }
    let output = scope.output().element_type;
    let is_writer = is_reshape || matches!(op, Some(Message::TopK(_)));
    if output.is_position() && !is_writer {
        return Err(no_positions("the output's element type", output));
    }
    Ok(())
}

/// Every tensor has one source, and every reader comes after it.
fn order(
    tensors: &[TensorSpec],
    inputs: &[usize],
    outputs: &[usize],
    layers: &[LayerSpec],
) -> Result<()> {
    let name = |tensor: usize| tensors[tensor].name.clone();
    let fault = |tensor, state| Fault::Order { tensor: name(tensor), state };
    let mut has_value: Vec<bool> = tensors.iter().map(|tensor| tensor.constant.is_some()).collect();
    for &input in inputs {
        if tensors[input].element_type.is_position() {
            let fault = no_positions("an input's element type", tensors[input].element_type);
            return Err(Error::Network { fault });
        }
        if std::mem::replace(&mut has_value[input], true) {
            let fault = fault(input, "is an input twice, or an input and a constant");
            return Err(Error::Network { fault });
        }
    }
    for layer in layers {
        let fail = |fault| Error::Layer { layer: layer.name.clone(), fault };
        if let Some(&input) = layer.inputs.iter().find(|&&input| !has_value[input]) {
            return Err(fail(fault(input, "is read before a layer has written it")));
        }
        if std::mem::replace(&mut has_value[layer.output], true) {
            return Err(fail(fault(
                layer.output,
                "already has a value: it is an input, a constant or an earlier layer's output",
            )));
        }
    }
    if let Some(tensor) = has_value.iter().position(|has_value| !has_value) {
        let fault = fault(tensor, "is neither an input nor a constant nor a layer's output");
        return Err(Error::Network { fault });
    }
    count("outputs", outputs.len().max(1), outputs.len())
        .map_err(|_| Error::Network { fault: Fault::Missing { what: "outputs" } })
}

fn total_bytes(tensors: &[TensorSpec]) -> Checked<()> {
    let features = tensors.iter().filter(|tensor| tensor.constant.is_none());
    let got: u128 = features.map(|tensor| tensor.size_bytes() as u128).sum();
    if got > MAX_BYTES {
        return Err(Fault::TooLarge { what: "all features together", got, bound: MAX_BYTES });
    }
    Ok(())
}
