//! How a kernel's work is split, and its scratch memory.

use std::sync::Mutex;

use rayon::prelude::*;

use super::residual::Residual;
use crate::error::Result;
use crate::isa::Cpu;
use crate::network::AlignedBuffer;

/// Scratch memory, one buffer per thread of the pool.
pub(crate) struct Scratch {
    buffers: Vec<Mutex<AlignedBuffer>>,
}

impl Scratch {
    /// Buffers of equal size.
    pub fn new(threads: usize, bytes: usize) -> Result<Self> {
        let buffer = || Ok(Mutex::new(AlignedBuffer::zeroed(bytes, "scratch memory")?));
        Ok(Self { buffers: (0..threads.max(1)).map(|_| buffer()).collect::<Result<_>>()? })
    }

    /// Lends the calling thread's buffer, whose contents are arbitrary.
    pub fn with<R>(&self, bytes: usize, body: impl FnOnce(&mut [u8]) -> R) -> R {
        let thread = rayon::current_thread_index().unwrap_or(0);
        let lock = self.buffers.get(thread).and_then(|buffer| buffer.try_lock().ok());
        match lock {
            Some(mut buffer) if buffer.len() >= bytes => body(&mut buffer.bytes_mut()[..bytes]),
            // Another caller of the engine holds this thread's buffer.
            _ => {
                let mut words = vec![0_u64; bytes.div_ceil(8)];
                body(&mut bytemuck::cast_slice_mut(&mut words)[..bytes])
            }
        }
    }
}

/// What a kernel runs with.
pub(crate) struct Work<'a> {
    /// Instruction set.
    pub cpu: Cpu,
    /// Threads among which a layer may be split; 1 when frames run side by side.
    pub threads: usize,
    /// Scratch memory.
    pub scratch: &'a Scratch,
    /// What a kernel that [`super::Kernel::ends_in_sum`] adds to each part of its output.
    pub residual: Option<Residual<'a>>,
}

impl Work<'_> {
    /// Calls `body(index, chunk)` for consecutive chunks of the output, side by side if allowed.
    pub fn for_each_chunk<T: Send>(
        &self,
        output: &mut [T],
        chunk: usize,
        body: impl Fn(usize, &mut [T]) + Send + Sync,
    ) {
        let chunk = chunk.max(1);
        if self.threads > 1 && output.len() > chunk {
            output.par_chunks_mut(chunk).enumerate().for_each(|(index, chunk)| body(index, chunk));
        } else {
            for (index, chunk) in output.chunks_mut(chunk).enumerate() {
                body(index, chunk);
            }
        }
    }

    /// A chunk of whole `unit`s: about `target` elements, but no fewer chunks than threads when there
    /// is work for them.
    pub fn chunk(&self, elements: usize, unit: usize, target: usize) -> usize {
        let unit = unit.max(1);
        let per_thread = elements.div_ceil(self.threads.max(1));
        target.min(per_thread).div_ceil(unit).max(1) * unit
    }
}
