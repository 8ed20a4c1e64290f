//! A run that is not the first allocates no memory in the engine's threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::small_network;
use crate::element::ElementType;
use crate::isa::Isa;
use crate::network::sample::Random;
use crate::network::{Engine, ValuesView};

const IMAGE: usize = 6 * 6 * 3;

/// Runs that count.
const RUNS: usize = 20;

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Of the calling thread.
fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

// SAFETY: everything is the system allocator's; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counter any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer comes from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[test]
fn the_allocator_counts() {
    let before = allocations();
    let boxed = std::hint::black_box(Box::new(7));
    assert_eq!((allocations() - before, *boxed), (1, 7));
}

#[test]
fn a_run_that_is_not_the_first_allocates_nothing_in_the_engines_threads() {
    for isa in Isa::available() {
        for threads in [1, 2] {
            let engine = Engine::load(&small_network().file(), isa, threads).unwrap();
            let values = Random(11).values(ElementType::U8, IMAGE);
            let frame: Vec<u8> = values.into_iter().map(|value| value as u8).collect();
            let inputs = [ValuesView::U8(&frame)];
            let mut outputs = engine.allocate_outputs(1).unwrap();
            engine.run_into(&inputs, 1, 0..1, &mut outputs).unwrap();
            let before: Vec<usize> = engine.pool.broadcast(|_| allocations());
            for _ in 0..RUNS {
                engine.run_into(&inputs, 1, 0..1, &mut outputs).unwrap();
            }
            let after: Vec<usize> = engine.pool.broadcast(|_| allocations());
            assert_eq!(after, before, "{isa}, {threads} threads");
        }
    }
}
