//! What puts elements in order.

use super::check_cases;
use crate::element::ElementType;
use crate::isa::isa_tests;
use crate::network::proto::{self, layer::Op};
use crate::network::sample::{Random, Sample};

fn top_k(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let element_type = random.integer_type();
    let zero_point = random.value(element_type);
    let (rows, columns) = (random.pick(&[1_usize, 2, 21, 300]), random.pick(&[1, 1, 3, 40]));
    let outer = random.pick(&[1, 3, 250]);
    let count = random.pick(&[1, 1, rows.div_ceil(2), rows]);
    let x = sample.input(element_type, &[outer, rows, columns], zero_point);
    let own = random.pick(&[element_type, ElementType::S32, ElementType::S64]);
    let y = sample.tensor(own, &[outer, count, columns], zero_point);
    let tensor = &mut sample.network.tensors[y as usize];
    if own.is_position() {
        tensor.zero_point = 0;
    }
    let op = proto::TopK { least: random.one_in(2), higher_first: random.one_in(2) };
    sample.output_layer(&[x], y, Op::TopK(op));
    sample
}

isa_tests! {
    fn top_k_equals_reference(cpu: Cpu) {
        check_cases(cpu, top_k);
    }
}
