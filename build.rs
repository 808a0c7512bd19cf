//! Compiles `proto/` into Rust and a descriptor set, with a compiler written in Rust: no `protoc`.

use protox::prost_reflect::DescriptorPool;
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
    let encoded = compiler.encode_file_descriptor_set();
    every_rpc_says_who_may_call(&encoded)?;
    fs::write(out.join("jitney.fds.bin"), encoded)?;

    let mut config = prost_build::Config::new();
    config.enable_type_names();
    let descriptors = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .codec_path("crate::codec::Protobuf")
        .generate_default_stubs(false)
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

/// Fails the build for an rpc without an access rule: nobody could call it, and nobody would have
/// thought about who may.
fn every_rpc_says_who_may_call(descriptors: &[u8]) -> Result<(), Box<dyn Error>> {
    let pool = DescriptorPool::decode(descriptors)?;
    let access = pool
        .get_extension_by_name("jitney.common.v1.access")
        .ok_or("the option jitney.common.v1.access is not declared")?;
    for service in pool.services() {
        for method in service.methods() {
            let options = method.options();
            let rule = options.get_extension(&access);
            let grants = rule
                .as_message()
                .and_then(|rule| rule.get_field_by_name("grants"));
            let is_granted = grants
                .is_some_and(|grants| grants.as_list().is_some_and(|grants| !grants.is_empty()));
            if !is_granted {
                return Err(format!("{} has no access rule", method.full_name()).into());
            }
        }
    }
    Ok(())
}
