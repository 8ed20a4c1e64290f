//! Integer engine and tensor statistics of `tidlq`: no Python, no I/O, no globals.
//!
//! | module | role |
//! |---|---|
//! | [`fixed`] | the one definition of the arithmetic |
//! | `coverage` | which positions the taps of a sliding window visit |
//! | [`element`] | element types |
//! | [`isa`] | instruction sets and the way into code compiled for one |
//! | [`network`] | the `.tidlq` file, its validation, the memory plan, the executor |
//! | [`stats`] | statistics of float tensors |
//! | [`analysis`] | error measures |
//! | [`text_proto`] | text form of protobuf messages |
//! | [`error`] | everything that is refused |

// The one exception is `isa`: its calls of functions that enable an instruction set.
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!("the .tidlq format is little-endian and is read in place");

pub mod analysis;
mod coverage;
pub mod element;
pub mod error;
pub mod fixed;
#[allow(unsafe_code, reason = "calls of functions that enable an instruction set")]
pub mod isa;
mod kernels;
pub mod network;
pub mod stats;
pub mod text_proto;
