//! Element-wise operations and softmax.

use super::check_cases;
use crate::element::ElementType;
use crate::fixed::{Requantizer, Rounding};
use crate::isa::isa_tests;
use crate::network::proto::{self, layer::Op, reduce::Kind};
use crate::network::sample::{Random, Sample, requantize};

const WIDE: [ElementType; 2] = [ElementType::U16, ElementType::S16];

const MODES: [&str; 5] = ["shift", "fixed", "float", "twice", "double"];

fn shape(random: &mut Random) -> Vec<usize> {
    let rank = random.size(0, 4);
    (0..rank).map(|_| random.pick(&[1, 2, 3, 5, 16, 37])).collect()
}

/// A shape that broadcasts to another.
fn broadcast_shape(random: &mut Random, shape: &[usize]) -> Vec<usize> {
    let keep = random.size(0, shape.len());
    let one = |&size: &usize, random: &mut Random| if random.one_in(3) { 1 } else { size };
    shape[shape.len() - keep..].iter().map(|size| one(size, random)).collect()
}

/// A layer of one integer input and one integer output of one shape.
fn unary(
    random: &mut Random,
    op: impl Fn(&mut Random, ElementType, ElementType, i32) -> Op,
) -> Sample {
    let mut sample = Sample::default();
    let (from, to) = (random.integer_type(), random.integer_type());
    let (zero_in, zero_out) = (random.value(from), random.value(to));
    let shape = shape(random);
    let x = sample.input(from, &shape, zero_in);
    let y = sample.tensor(to, &shape, zero_out);
    let op = op(random, from, to, zero_out);
    sample.output_layer(&[x], y, op);
    sample
}

fn rescale(random: &mut Random) -> Sample {
    unary(random, |random, _, to, zero_point| {
        let requantizer = random.requantizer(to, zero_point, &MODES, 1);
        Op::Rescale(proto::Rescale { requantize: requantize(&requantizer) })
    })
}

/// Between types of bytes of one scale, whose zero points may differ by what the types do.
fn rescale_of_one_scale(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let byte = |random: &mut Random| random.pick(&[ElementType::U8, ElementType::S8]);
    let (from, to) = (byte(random), byte(random));
    let ((least_in, most_in), (least, most)) = (from.range().unwrap(), to.range().unwrap());
    let zero_in = random.within(least_in.into(), most_in.into()) as i32;
    let zero_out = random.pick(&[zero_in - least_in + least, least, most]);
    let shape = [random.size(1, 90)];
    let x = sample.input(from, &shape, zero_in);
    let y = sample.tensor(to, &shape, zero_out);
    let rounding = match random.next() % 3 {
        0 => Rounding::Shift(vec![0]),
        1 => Rounding::Fixed { multiplier: vec![1 << 30], shift: vec![30] },
        _ => Rounding::Twice { left_shift: vec![1], multiplier: vec![1 << 30], shift: vec![0] },
    };
    let (clamp_min, clamp_max) = (random.pick(&[least, zero_out]), most);
    let requantizer = Requantizer { rounding, zero_point: zero_out, clamp_min, clamp_max };
    let op = Op::Rescale(proto::Rescale { requantize: requantize(&requantizer) });
    sample.output_layer(&[x], y, op);
    sample
}

fn lookup(random: &mut Random) -> Sample {
    unary(random, |random, from, to, _| {
        let (low, high) = from.range().unwrap();
        Op::Lookup(proto::Lookup { value: random.values(to, (high - low) as usize + 1) })
    })
}

fn quantize(random: &mut Random) -> Sample {
    let mut sample = unary(random, |random, _, _, _| {
        Op::Quantize(proto::Quantize { half_away: random.one_in(2) })
    });
    as_float(&mut sample.network.tensors[0]);
    sample
}

fn dequantize(random: &mut Random) -> Sample {
    let mut sample = unary(random, |_, _, _, _| Op::Dequantize(proto::Dequantize {}));
    as_float(&mut sample.network.tensors[1]);
    sample
}

fn softmax(random: &mut Random) -> Sample {
    let mut sample = unary(random, |_, from, _, _| {
        let (low, high) = from.range().unwrap();
        let exponential = (0..=(high - low)).map(|d| (f64::from(-d) * 0.03).exp() as f32).collect();
        Op::Softmax(proto::Softmax { exponential, requantize: None })
    });
    as_float(&mut sample.network.tensors[1]);
    sample
}

fn softmax_to_integers(random: &mut Random) -> Sample {
    let mut sample = softmax(random);
    let to = random.integer_type();
    let zero_point = random.value(to);
    let y = sample.tensor(to, &[1], zero_point) as usize;
    let mut tensor = sample.network.tensors.remove(y);
    (tensor.name, tensor.shape) = ("t1".to_owned(), sample.network.tensors[1].shape.clone());
    sample.network.tensors[1] = tensor;
    let mut requantizer = random.requantizer(to, zero_point, &["float"], 1);
    requantizer.rounding = Rounding::Real(vec![random.pick(&[254.0, 255.0, 70_000.0])]);
    if let Some(Op::Softmax(message)) = &mut sample.network.layers[0].op {
        message.requantize = requantize(&requantizer);
    }
    sample
}

/// An exponential of any steepness with `bits` fractional bits, and any table of reciprocals.
fn integer_softmax(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let from = random.integer_type();
    let is_wide = from.size_bytes() == 2;
    let to = if is_wide { random.pick(&WIDE) } else { random.integer_type() };
    let shape = [random.size(1, 5), random.pick(&[1, 2, 10, 33, 1001])];
    let zero_point = random.value(from);
    let x = sample.input(from, &shape, zero_point);
    let y = sample.tensor(to, &shape, 0);
    let (low, high) = from.range().unwrap();
    let (one, steepness) = (if is_wide { 32_767.0 } else { 2_147_483_647.0 }, random.value(from));
    let steepness = f64::from(steepness).abs() / 1000.0 / f64::from(high - low);
    let entry = |d: i32| ((f64::from(-d) * steepness).exp() * one) as i32;
    let exponential = (0..=(high - low)).map(entry).collect();
    let count = if is_wide { 513 } else { 0 };
    let reciprocal = (0..count).map(|_| random.within(0, 32_767) as i32).collect();
    let op = Op::IntegerSoftmax(proto::IntegerSoftmax { exponential, reciprocal });
    sample.output_layer(&[x], y, op);
    sample
}

fn as_float(tensor: &mut proto::Tensor) {
    tensor.set_element_type(proto::ElementType::F32);
    (tensor.zero_point, tensor.scale) = (0, 0.0);
}

/// A layer of `operands` that broadcast, some of them constants.
fn operands(random: &mut Random, sample: &mut Sample, operands: usize) -> (Vec<u32>, Vec<usize>) {
    let shape = shape(random);
    let mut inputs = Vec::new();
    for _ in 0..operands {
        let element_type = random.integer_type();
        let zero_point = random.value(element_type);
        let own = broadcast_shape(random, &shape);
        let values = random.values(element_type, own.iter().product());
        inputs.push(if random.one_in(3) {
            sample.constant(element_type, &own, zero_point, &values)
        } else {
            sample.input(element_type, &own, zero_point)
        });
    }
    (inputs, shape)
}

fn sum(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let count = random.pick(&[2, 2, 3, 9]);
    let (inputs, shape) = operands(random, &mut sample, count);
    let to = random.integer_type();
    let zero_point = random.value(to);
    let mode = random.pick(&["fixed", "float", "twice", "real"]);
    let is_twice = mode == "twice";
    let entries = count + usize::from(is_twice);
    let mut requantizer = random.requantizer(to, zero_point, &[mode], entries);
    if let Rounding::Fixed { shift, .. } = &mut requantizer.rounding {
        shift.truncate(1);
    }
    if mode == "real" && count == 2 {
        requantizer.rounding = Rounding::Real(vec![random.pick(&[0.5, 0.0371]), 0.31, -3.25]);
    }
    let has_signs = is_twice && random.one_in(2);
    let signs = if has_signs { count } else { 0 };
    let subtracted = (0..signs).map(|_| random.one_in(2)).collect();
    let y = sample.tensor(to, &shape, zero_point);
    let op = Op::Sum(proto::Sum { requantize: requantize(&requantizer), subtracted });
    sample.output_layer(&inputs, y, op);
    sample
}

/// A sum of bytes of one shape whose parts fit their widths, and now and then do not.
fn residual(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let shape = [random.size(1, 3), random.size(1, 90)];
    let byte = |random: &mut Random| random.pick(&[ElementType::U8, ElementType::S8]);
    let mut inputs = Vec::new();
    for _ in 0..2 {
        let element_type = byte(random);
        let zero_point = random.value(element_type);
        inputs.push(sample.input(element_type, &shape, zero_point));
    }
    let to = byte(random);
    let zero_point = random.value(to);
    let mut requantizer = random.requantizer(to, zero_point, &["fixed"], 2);
    let bound = random.pick(&[1 << 15, (1 << 30) - 1, 1 << 30]);
    let multiplier = (0..2).map(|_| random.within(-bound, bound) as i32).collect();
    let shift = vec![random.within(14, 47) as u32];
    requantizer.rounding = Rounding::Fixed { multiplier, shift };
    let y = sample.tensor(to, &shape, zero_point);
    let op = Op::Sum(proto::Sum { requantize: requantize(&requantizer), subtracted: Vec::new() });
    sample.output_layer(&inputs, y, op);
    sample
}

fn extremum(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let element_type = random.integer_type();
    let zero_point = random.value(element_type);
    let shape = shape(random);
    let mut inputs = Vec::new();
    for _ in 0..random.size(2, 4) {
        let own = broadcast_shape(random, &shape);
        inputs.push(sample.input(element_type, &own, zero_point));
    }
    let y = sample.tensor(element_type, &shape, zero_point);
    let op = Op::Extremum(proto::Extremum { least: random.one_in(2) });
    sample.output_layer(&inputs, y, op);
    sample
}

fn division(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (inputs, shape) = operands(random, &mut sample, 2);
    let to = random.integer_type();
    let zero_point = random.value(to);
    let mode = random.pick(&["fixed", "float"]);
    let mut requantizer = random.requantizer(to, zero_point, &[mode], 1);
    match &mut requantizer.rounding {
        Rounding::Float(scales) => *scales = vec![random.pick(&[0.5, 0.037]), 0.125],
        Rounding::Fixed { shift, .. } => shift[0] = random.pick(&[0, 9, 20, 31, 44, 45, 49, 62]),
        _ => {}
    }
    let y = sample.tensor(to, &shape, zero_point);
    let op = Op::Division(proto::Division { requantize: requantize(&requantizer) });
    sample.output_layer(&inputs, y, op);
    sample
}

fn reduce(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let element_type = random.integer_type();
    let zero_point = random.value(element_type);
    let (rows, columns) = (random.pick(&[1, 2, 9, 700]), random.pick(&[1, 1, 3, 40, 600]));
    let x = sample.input(element_type, &[random.size(1, 5), rows, columns], zero_point);
    let kind = random.pick(&[
        Kind::Sum,
        Kind::Magnitudes,
        Kind::Squares,
        Kind::RootOfSquares,
        Kind::Greatest,
        Kind::Least,
    ]);
    let selects = matches!(kind, Kind::Greatest | Kind::Least);
    let to = if selects { element_type } else { random.integer_type() };
    let zero_out = if selects { zero_point } else { random.value(to) };
    let modes: &[&str] = match kind {
        Kind::RootOfSquares => &["double"],
        _ => &["shift", "fixed", "float", "double"],
    };
    let requantizer = random.requantizer(to, zero_out, modes, 1);
    let shape = [sample.network.tensors[0].shape[0] as usize, columns];
    let y = sample.tensor(to, &shape, zero_out);
    let requantize = if selects { None } else { requantize(&requantizer) };
    let mut op = proto::Reduce { requantize, ..Default::default() };
    op.set_kind(kind);
    sample.output_layer(&[x], y, Op::Reduce(op));
    sample
}

fn product(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (inputs, shape) = operands(random, &mut sample, 2);
    let to = random.integer_type();
    let zero_point = random.value(to);
    let mode = random.pick(&MODES);
    let entries = if mode == "float" { 2 } else { 1 };
    let requantizer = random.requantizer(to, zero_point, &[mode], entries);
    let y = sample.tensor(to, &shape, zero_point);
    let op = Op::Product(proto::Product { requantize: requantize(&requantizer) });
    sample.output_layer(&inputs, y, op);
    sample
}

fn prelu(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (from, to) = (random.integer_type(), random.integer_type());
    let (zero_in, zero_out) = (random.value(from), random.value(to));
    let shape = [random.size(1, 40), random.pick(&[1, 2, 16, 33, 600])];
    let x = sample.input(from, &shape, zero_in);
    let slopes = random.pick(&[1, shape[1]]);
    let slope_type = random.pick(&[ElementType::S8, ElementType::S16]);
    let values = random.values(slope_type, slopes);
    let slope = sample.constant(slope_type, &[slopes], 0, &values);
    let y = sample.tensor(to, &shape, zero_out);
    let positive = random.requantizer(to, zero_out, &MODES, 1);
    let mut negative = random.requantizer(to, zero_out, &MODES, 1);
    negative.clamp_min = positive.clamp_min;
    let (positive, negative) = (requantize(&positive), requantize(&negative));
    sample.output_layer(&[x], y, Op::Prelu(proto::PRelu { slope, positive, negative }));
    sample
}

fn power(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let types = [random.integer_type(), random.integer_type(), random.integer_type()];
    let zeros = types.map(|element_type| random.value(element_type));
    let shape = [random.size(1, 3), random.size(1, 40), random.size(1, 9)];
    let base = sample.input(types[0], &shape, zeros[0]);
    let own: Vec<usize> = shape.iter().map(|&size| random.pick(&[1, size])).collect();
    let exponent = sample.input(types[1], &own, zeros[1]);
    let y = sample.tensor(types[2], &shape, zeros[2]);
    let entries = |kind: ElementType| 1 << (8 * kind.size_bytes());
    let real = |random: &mut Random, reach: i64| random.within(-reach, reach) as f64 / 64.0;
    let (bases, exponents) = (entries(types[0]), entries(types[1]));
    let reach = random.pick(&[64, 64, 30_000]);
    let op = proto::Power {
        logarithm: (0..bases).map(|_| real(random, 400)).collect(),
        sign: (0..bases).map(|_| random.within(-1, 1) as i32).collect(),
        exponent: (0..exponents).map(|_| real(random, reach)).collect(),
        parity: (0..exponents).map(|_| random.within(0, 2) as u32).collect(),
        gain: random.pick(&[1.0, 0.037, 77.7, 3.0e30]),
    };
    sample.output_layer(&[base, exponent], y, Op::Power(op));
    sample
}

fn scattered_product(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let types = [random.integer_type(), random.integer_type(), random.integer_type()];
    let zeros = types.map(|element_type| random.value(element_type));
    let shape = [random.size(1, 4), random.size(1, 40)];
    let elements = shape.iter().product::<usize>();
    let x = sample.input(types[0], &shape, zeros[0]);
    let updates = random.size(1, 90);
    let given = sample.input(types[1], &[updates], zeros[1]);
    for (tensor, scales) in [(x, [0.5, 3.0e-30, 1.0e30]), (given, [0.05, 0.37, 1.0e30])] {
        sample.network.tensors[tensor as usize].scale = random.pick(&scales);
    }
    let y = sample.tensor(types[2], &shape, zeros[2]);
    let places = random.pick(&[1, 3, elements]).min(elements);
    let op = proto::ScatteredProduct {
        target: (0..updates).map(|_| random.within(0, places as i64 - 1) as u32).collect(),
        gain: random.pick(&[1.0, 0.037, 77.7, 3.0e30]),
    };
    sample.output_layer(&[x, given], y, Op::ScatteredProduct(op));
    sample
}

isa_tests! {
    fn scattered_product_equals_reference(cpu: Cpu) {
        check_cases(cpu, scattered_product);
    }

    fn power_equals_reference(cpu: Cpu) {
        check_cases(cpu, power);
    }

    fn rescale_equals_reference(cpu: Cpu) {
        check_cases(cpu, rescale);
    }

    fn rescale_of_one_scale_equals_reference(cpu: Cpu) {
        check_cases(cpu, rescale_of_one_scale);
    }

    fn lookup_equals_reference(cpu: Cpu) {
        check_cases(cpu, lookup);
    }

    fn quantize_equals_reference(cpu: Cpu) {
        check_cases(cpu, quantize);
    }

    fn dequantize_equals_reference(cpu: Cpu) {
        check_cases(cpu, dequantize);
    }

    fn softmax_equals_reference(cpu: Cpu) {
        check_cases(cpu, softmax);
    }

    fn softmax_to_integers_equals_reference(cpu: Cpu) {
        check_cases(cpu, softmax_to_integers);
    }

    fn integer_softmax_equals_reference(cpu: Cpu) {
        check_cases(cpu, integer_softmax);
    }

    fn residual_sum_equals_reference(cpu: Cpu) {
        check_cases(cpu, residual);
    }

    fn sum_equals_reference(cpu: Cpu) {
        check_cases(cpu, sum);
    }

    fn extremum_equals_reference(cpu: Cpu) {
        check_cases(cpu, extremum);
    }

    fn product_equals_reference(cpu: Cpu) {
        check_cases(cpu, product);
    }

    fn division_equals_reference(cpu: Cpu) {
        check_cases(cpu, division);
    }

    fn reduce_equals_reference(cpu: Cpu) {
        check_cases(cpu, reduce);
    }

    fn prelu_equals_reference(cpu: Cpu) {
        check_cases(cpu, prelu);
    }
}
