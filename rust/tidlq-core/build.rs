//! Compiles `proto/network.proto` without needing protoc.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let file = folder.join("network.proto");
    println!("cargo::rerun-if-changed={}", file.display());
    let descriptors = protox::compile([&file], [&folder])?;
    prost_build::Config::new()
        // Indented lines of the comments would turn into documentation tests.
        .disable_comments(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
