//! Memory that frames hand to each other, so that it follows what they hold and not what they could.

use std::sync::Mutex;

use super::buffer::AlignedBuffer;
use super::frame::Workspace;
use crate::error::Result;

/// How many times as large as needed a buffer may be.
const LOOSEST_FIT: usize = 2;

/// Buffers that no frame uses now.
#[derive(Default)]
pub(super) struct BufferPool {
    free: Mutex<Vec<AlignedBuffer>>,
}

impl BufferPool {
    /// Gives a slot at least this many bytes: the smallest free buffer that holds them and is not far
    /// too large, else a new one in the place of the largest.
    pub fn fill(&self, workspace: &mut Workspace, slot: usize, bytes: usize) -> Result<()> {
        if workspace.slots[slot].len() < bytes {
            workspace.slots[slot] = AlignedBuffer::default();
            workspace.slots[slot] = match self.take(bytes) {
                Some(buffer) => buffer,
                None => AlignedBuffer::zeroed(bytes, "features")?,
            };
        }
        Ok(())
    }

    /// Takes the memory of a slot back.
    pub fn empty(&self, workspace: &mut Workspace, slot: usize) {
        let buffer = std::mem::take(&mut workspace.slots[slot]);
        if let Ok(mut free) = self.free.lock() {
            free.push(buffer);
        }
    }

    fn take(&self, bytes: usize) -> Option<AlignedBuffer> {
        let mut free = self.free.lock().ok()?;
        let sizes = || free.iter().map(AlignedBuffer::len).enumerate();
        let is_fitting = |size: usize| (bytes..=LOOSEST_FIT * bytes).contains(&size);
        let fitting = sizes().filter(|&(_, size)| is_fitting(size)).min_by_key(|&(_, size)| size);
        match fitting {
            Some((index, _)) => Some(free.swap_remove(index)),
            None => {
                let largest = sizes().max_by_key(|&(_, size)| size)?.0;
                drop(free.swap_remove(largest));
                None
            }
        }
    }
}
