//! AMX: products of bytes in tile registers of 16 rows of 64 bytes.

use std::marker::PhantomData;

use super::{Cpu, Isa};

/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 16;

/// Words of 32 bits in a row of a tile.
pub(crate) const TILE_WORDS: usize = 16;

/// Vectors of sums that one product has at most.
pub(crate) const TILE_VECTORS: usize = 4;

/// Tile registers of this thread, configured for segments of one length. They are given back when
/// this is dropped. Compiled code has no use for them: what is configured stays until then.
pub(crate) struct Tiles {
    words: usize,
    /// The configuration is the thread's.
    thread: PhantomData<*const ()>,
}

/// [`TILE_ROWS`] rows of unsigned bytes times a panel of signed ones.
pub(crate) struct TileProduct<'a> {
    pub bytes: &'a [u8],
    /// Where the first row begins.
    pub start: usize,
    /// Distance of the rows.
    pub stride: usize,
    /// Where each segment begins, from the row's beginning.
    pub segments: &'a [usize],
    /// `[segment][word][vector][lane]`.
    pub panel: &'a [i32],
    /// Vectors of the panel, 1 to [`TILE_VECTORS`].
    pub vectors: usize,
    /// What the sums of every row begin with: `[vector][lane]`.
    pub bias: &'a [i32],
    /// `[row][vector][lane]`.
    pub sums: &'a mut [i32],
}

impl Tiles {
    /// Configures the thread's tiles for segments of so many words, at least one; `None` where the
    /// instruction set has none.
    pub fn configure(cpu: Cpu, words: usize) -> Option<Self> {
        if cpu.isa() != Isa::Amx || words == 0 {
            return None;
        }
        let rest = words % TILE_WORDS;
        // Sums, rows of input and weights, and both again for what is left of a segment.
        let mut shapes = [(16, 64); 8];
        shapes[6] = if rest > 0 { (16, rest * 4) } else { (0, 0) };
        shapes[7] = if rest > 0 { (rest, 64) } else { (0, 0) };
        let mut configuration = Configuration([0; 64]);
        configuration.0[0] = 1;
        for (tile, (rows, row_bytes)) in shapes.into_iter().enumerate() {
            configuration.0[16 + 2 * tile] = row_bytes as u8;
            configuration.0[48 + tile] = rows as u8;
        }
        // SAFETY: a `Cpu` of AMX proves that the CPU has tiles and that this process may use them;
        // the configuration is one of palette 1 with rows up to 16 of up to 64 bytes.
        unsafe { machine::load(&configuration) };
        Some(Self { words, thread: PhantomData })
    }

    /// Multiplies; sums wrap in 32 bits.
    ///
    /// # Panics
    ///
    /// There is no segment, or a row, the panel, the bias or the sums do not lie in their slice.
    pub fn multiply(&self, product: TileProduct<'_>) {
        let TileProduct { bytes, start, stride, segments, panel, vectors, .. } = product;
        let lanes = vectors * TILE_WORDS;
        assert!((1..=TILE_VECTORS).contains(&vectors), "{vectors} vectors");
        let end = segments.iter().max().and_then(|&last| {
            let begin = (TILE_ROWS - 1).checked_mul(stride)?.checked_add(start)?;
            begin.checked_add(last)?.checked_add(self.words * 4)
        });
        assert!(end.is_some_and(|end| end <= bytes.len()), "rows end at {end:?}");
        assert!(panel.len() >= segments.len() * self.words * lanes, "panel of {}", panel.len());
        assert!(product.bias.len() >= lanes && product.sums.len() >= TILE_ROWS * lanes);
        // SAFETY: the configuration is for segments of `self.words` words and still this thread's;
        // there are up to four vectors and a segment; rows, panel, bias and sums lie in their slices.
        unsafe { machine::multiply(self.words, product) }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: that a `Tiles` exists proves that the CPU has tiles.
        unsafe { machine::release() };
    }
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Configuration([u8; 64]);

/// Whether the CPU has tiles and this process may use them; asks the kernel for the permission.
pub(super) fn are_available() -> bool {
    machine::are_available()
}

/// Adds up so many rounds of products of tiles, and returns how many products of two bytes they were.
pub(super) fn multiply_tiles(cpu: Cpu, rounds: usize) -> Option<u64> {
    let tiles = Tiles::configure(cpu, TILE_WORDS)?;
    // SAFETY: the tiles are configured on this thread, and whole.
    unsafe { machine::multiply_registers(rounds) };
    drop(tiles);
    Some((rounds * 4 * TILE_ROWS * TILE_WORDS * TILE_WORDS * 4) as u64)
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod machine {
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;
    use std::sync::OnceLock;

    use super::{Configuration, TILE_WORDS, TileProduct};

    /// `ARCH_REQ_XCOMP_PERM` of `arch_prctl`, and the state of tiles: Linux, `Documentation/arch/x86/
    /// xstate.rst`.
    const REQUEST_PERMISSION: i32 = 0x1023;
    const TILE_DATA: usize = 18;

    pub(super) fn are_available() -> bool {
        static ARE_AVAILABLE: OnceLock<bool> = OnceLock::new();
        *ARE_AVAILABLE.get_or_init(|| {
            #[allow(unused_unsafe, reason = "older compilers want it")]
            // SAFETY: leaf 7 exists where AVX2 does, without which nobody asks.
            let features = unsafe { __cpuid_count(7, 0) }.edx;
            let has = |bit: u32| features >> bit & 1 == 1;
            // SAFETY: the call changes nothing but what this process is permitted.
            has(24)
                && has(25)
                && 0 == unsafe {
                    libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA)
                }
        })
    }

    /// # Safety
    ///
    /// The process may use tiles; the configuration is valid.
    pub(super) unsafe fn load(configuration: &Configuration) {
        // SAFETY: the caller's.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) configuration, options(nostack, preserves_flags));
        }
    }

    /// # Safety
    ///
    /// The CPU has tiles.
    pub(super) unsafe fn release() {
        // SAFETY: the caller's.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
    }

    /// The product for the tiles of sums that are listed, each with its place in a row of them. They begin
    /// with biases, read at a distance of zero: the same row for all. Whole stretches of a segment go
    /// through tiles 4 and 5, what is left of it through 6 and 7.
    macro_rules! product {
        ($words:expr, $product:expr, $tile_bytes:literal, $(($tile:literal, $place:literal)),+) => {{
            let (words, product): (usize, TileProduct<'_>) = ($words, $product);
            let step = product.vectors * 64;
            asm!(
                $(concat!("tileloadd tmm", $tile, ", [{row} + {count}*1 + ", $place, "]"),)+
                "2:",
                "mov {row}, [{segment}]",
                "add {segment}, 8",
                "add {row}, {rows}",
                "mov {count}, {whole}",
                "test {count}, {count}",
                "jz 4f",
                "3:",
                "tileloadd tmm4, [{row} + {stride}*1]",
                $(
                    concat!("tileloadd tmm5, [{panel} + {step}*1 + ", $place, "]"),
                    concat!("tdpbusd tmm", $tile, ", tmm4, tmm5"),
                )+
                "add {row}, 64",
                concat!("add {panel}, ", $tile_bytes),
                "dec {count}",
                "jnz 3b",
                "4:",
                "test {rest}, {rest}",
                "jz 5f",
                "tileloadd tmm6, [{row} + {stride}*1]",
                $(
                    concat!("tileloadd tmm7, [{panel} + {step}*1 + ", $place, "]"),
                    concat!("tdpbusd tmm", $tile, ", tmm6, tmm7"),
                )+
                "add {panel}, {rest}",
                "5:",
                "dec {segments}",
                "jnz 2b",
                $(concat!("tilestored [{sums} + {step}*1 + ", $place, "], tmm", $tile),)+
                row = inout(reg) product.bias.as_ptr() => _,
                count = inout(reg) 0_usize => _,
                segment = inout(reg) product.segments.as_ptr() => _,
                rows = in(reg) product.bytes.as_ptr().add(product.start),
                whole = in(reg) words / TILE_WORDS,
                stride = in(reg) product.stride,
                panel = inout(reg) product.panel.as_ptr() => _,
                step = in(reg) step,
                rest = in(reg) words % TILE_WORDS * step,
                segments = inout(reg) product.segments.len() => _,
                sums = in(reg) product.sums.as_mut_ptr(),
                options(nostack),
            );
        }};
    }

    /// # Safety
    ///
    /// Tiles are configured on this thread for segments of so many words; there are one to four
    /// vectors and a segment, and rows, panel, bias and sums lie in their slices.
    pub(super) unsafe fn multiply(words: usize, of: TileProduct<'_>) {
        // SAFETY: the caller's.
        unsafe {
            match of.vectors {
                1 => product!(words, of, "1024", ("0", "0")),
                2 => product!(words, of, "2048", ("0", "0"), ("1", "64")),
                3 => product!(words, of, "3072", ("0", "0"), ("1", "64"), ("2", "128")),
                _ => {
                    product!(words, of, "4096", ("0", "0"), ("1", "64"), ("2", "128"), ("3", "192"))
                }
            }
        }
    }

    /// # Safety
    ///
    /// Four tiles of sums, and tiles 4 and 5, are configured on this thread.
    pub(super) unsafe fn multiply_registers(rounds: usize) {
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "2:",
                "tdpbusd tmm0, tmm4, tmm5",
                "tdpbusd tmm1, tmm4, tmm5",
                "tdpbusd tmm2, tmm4, tmm5",
                "tdpbusd tmm3, tmm4, tmm5",
                "dec {rounds}",
                "jnz 2b",
                rounds = inout(reg) rounds.max(1) => _,
                options(nostack, nomem),
            );
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod machine {
    use super::{Configuration, TileProduct};

    pub(super) fn are_available() -> bool {
        false
    }

    pub(super) unsafe fn load(_: &Configuration) {}

    pub(super) unsafe fn release() {}

    pub(super) unsafe fn multiply(_: usize, _: TileProduct<'_>) {}

    pub(super) unsafe fn multiply_registers(_: usize) {}
}
