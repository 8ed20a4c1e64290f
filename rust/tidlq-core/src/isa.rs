//! Instruction sets: which exist, which this CPU runs, and the one way into code compiled for one.
//!
//! A kernel body is a [`Body`]: plain Rust, `#[inline(always)]` throughout. [`Cpu::run`] inlines it
//! into a function that enables the instruction set, so that the compiler vectorises the same
//! source for each. A [`Cpu`] exists only for an instruction set that the CPU has; this is the
//! proof that the call is sound.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod peak;
pub(crate) mod simd;
pub(crate) mod tiles;

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
pub use peak::{Products, multiply_registers};
use simd::{Scalar, SimdBody};

/// Instruction sets, slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// The target's baseline.
    Scalar,
    /// 256-bit integer vectors, and multiplications fused with additions.
    Avx2,
    /// 512-bit integer vectors with the dot products of VNNI.
    Avx512,
    /// The same, and products of bytes in tiles.
    Amx,
}

impl Isa {
    /// Every instruction set, slowest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Amx];

    /// The name that `TIDLQ_ISA` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    /// Whether this CPU runs it.
    pub fn is_available(self) -> bool {
        Cpu::new(self).is_some()
    }

    /// Instruction sets that this CPU runs, slowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The instruction set to use: the pinned one, or else the best available.
    ///
    /// # Errors
    ///
    /// The pinned name is unknown, or the CPU lacks the instruction set.
    pub fn select(pin: Option<&str>) -> Result<Self> {
        let Some(name) = pin.filter(|name| !name.is_empty()) else {
            return Ok(Self::available().into_iter().max().unwrap_or(Self::Scalar));
        };
        let isa: Self = name.parse()?;
        if isa.is_available() { Ok(isa) } else { Err(Error::UnsupportedIsa { name: isa.name() }) }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|isa| isa.name() == name);
        found.ok_or_else(|| Error::UnknownIsa { name: name.to_owned() })
    }
}

/// Code that is compiled once per instruction set.
///
/// `run` and everything it calls must be `#[inline(always)]`, or it is compiled for the baseline.
pub trait Body {
    /// What the body returns.
    type Output;

    /// Runs it.
    fn run(self) -> Self::Output;
}

/// Proof that this CPU runs an instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    isa: Isa,
}

impl Cpu {
    /// The proof, or `None` when the CPU lacks the instruction set.
    pub fn new(isa: Isa) -> Option<Self> {
        let is_available = match isa {
            Isa::Scalar => true,
            Isa::Avx2 => has_avx2(),
            Isa::Avx512 => has_avx512(),
            Isa::Amx => has_avx512() && tiles::are_available(),
        };
        is_available.then_some(Self { isa })
    }

    /// The instruction set.
    pub const fn isa(self) -> Isa {
        self.isa
    }

    /// Runs a body compiled for the instruction set.
    pub fn run<B: Body>(self, body: B) -> B::Output {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` found AVX2 and FMA on this CPU.
            Isa::Avx2 => unsafe { run_avx2(body) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` found AVX2, FMA, AVX-512 F, BW, VL, DQ and VNNI on this CPU.
            Isa::Avx512 | Isa::Amx => unsafe { run_avx512(body) },
            _ => body.run(),
        }
    }

    /// Runs a body over the instruction set's vectors.
    pub(crate) fn run_simd<B: SimdBody>(self, body: B) -> B::Output {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` found AVX2 and FMA on this CPU.
            Isa::Avx2 => unsafe { run_simd_avx2(body) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `new` found AVX2, FMA, AVX-512 F, BW, VL, DQ and VNNI on this CPU.
            Isa::Avx512 | Isa::Amx => unsafe { run_simd_avx512(body) },
            _ => body.run(Scalar),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_simd_avx2<B: SimdBody>(body: B) -> B::Output {
    // SAFETY: this function is only called on a CPU with AVX2.
    body.run(unsafe { avx2::Avx2::new() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn run_simd_avx512<B: SimdBody>(body: B) -> B::Output {
    // SAFETY: this function is only called on a CPU with these.
    body.run(unsafe { avx512::Avx512::new() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<B: Body>(body: B) -> B::Output {
    body.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn run_avx512<B: Body>(body: B) -> B::Output {
    body.run()
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vnni")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

/// Turns `fn fact(cpu: Cpu) { .. }` into one test per instruction set. A set that the CPU lacks is
/// printed as skipped, so that a green run shows what it exercised (`--nocapture`).
#[cfg(test)]
macro_rules! isa_tests {
    ($($(#[$meta:meta])* fn $name:ident($cpu:ident: Cpu) $body:block)+) => {$(
        mod $name {
            #[allow(unused_imports, reason = "the enclosing tests decide what a body needs")]
            use super::*;

            $(#[$meta])*
            fn body($cpu: $crate::isa::Cpu) $body

            fn on(isa: $crate::isa::Isa) {
                match $crate::isa::Cpu::new(isa) {
                    Some(cpu) => {
                        println!("{}: exercised on {isa}", stringify!($name));
                        body(cpu);
                    }
                    None => println!("{}: SKIPPED on {isa}", stringify!($name)),
                }
            }

            #[test]
            fn scalar() {
                on($crate::isa::Isa::Scalar);
            }

            #[test]
            fn avx2() {
                on($crate::isa::Isa::Avx2);
            }

            #[test]
            fn avx512() {
                on($crate::isa::Isa::Avx512);
            }

            #[test]
            fn amx() {
                on($crate::isa::Isa::Amx);
            }
        }
    )+};
}

#[cfg(test)]
pub(crate) use isa_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalar_is_always_available_and_first() {
        assert_eq!(Isa::available().first(), Some(&Isa::Scalar));
    }

    #[test]
    fn no_pin_selects_the_best() {
        assert_eq!(Isa::select(None).ok(), Isa::available().last().copied());
        assert_eq!(Isa::select(Some("")).ok(), Isa::available().last().copied());
    }

    #[test]
    fn a_pin_selects_by_name() {
        assert_eq!(Isa::select(Some("scalar")), Ok(Isa::Scalar));
    }

    #[test]
    fn an_unknown_pin_is_refused() {
        let error = Isa::select(Some("sse9")).unwrap_err();
        assert_eq!(error, Error::UnknownIsa { name: "sse9".into() });
        assert!(error.to_string().contains("\"sse9\""));
    }
}
