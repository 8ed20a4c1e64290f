//! TopK by sorting.

use super::{Data, Step};
use crate::network::TopK;

impl Step<'_> {
    pub(super) fn top_k(&self, spec: &TopK) -> Data {
        let (input, output) = (&self.spec(0).shape, self.output());
        let (rows, columns, count) = (input[1], input[2], output.shape[1]);
        let values = self.raw(0);
        let mut result = vec![0; output.elements()];
        for place in 0..input[0] * columns {
            let (outer, column) = (place / columns, place % columns);
            let value = |row: usize| values[(outer * rows + row) * columns + column];
            let mut order: Vec<usize> = (0..rows).collect();
            if spec.higher_first {
                order.reverse();
            }
            // Stable, so that equal elements stay as they are.
            order.sort_by_key(|&row| if spec.least { value(row) } else { -value(row) });
            for (rank, &row) in order[..count].iter().enumerate() {
                let picked =
                    if output.element_type.is_position() { row as i64 } else { value(row) };
                result[(outer * count + rank) * columns + column] = picked as i32;
            }
        }
        Data::Integers(result)
    }
}
