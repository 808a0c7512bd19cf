//! Compiles `proto/` into Rust and a descriptor set, with a compiler written in Rust: no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = [
        "jitney/common/v1/access.proto",
        "jitney/common/v1/document.proto",
        "jitney/common/v1/geo.proto",
        "jitney/common/v1/money.proto",
        "jitney/matching/v1/matching.proto",
        "jitney/trips/v1/events.proto",
        "jitney/trips/v1/trips.proto",
        "jitney/billing/v1/billing.proto",
        "jitney/billing/v1/events.proto",
    ];
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    compiler.open_files(files)?;
    // The raw bytes keep the options of our own (access, http), which prost's own types drop.
    fs::write(
        out.join("jitney.fds.bin"),
        compiler.encode_file_descriptor_set(),
    )?;

    let mut config = prost_build::Config::new();
    config.enable_type_names();
    let descriptors = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .generate_default_stubs(false)
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
