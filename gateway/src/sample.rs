//! For tests: descriptors of small protos written in place, beside the API's own.

use std::fs;

use prost_reflect::DescriptorPool;

/// The pool of a proto3 file `x.proto`, package `x`, with this content.
#[allow(clippy::unwrap_used)]
pub(crate) fn pool(content: &str) -> DescriptorPool {
    let dir = tempfile::tempdir().unwrap();
    let source = format!(
        "syntax = \"proto3\";\npackage x;\n\
         import \"google/api/annotations.proto\";\n\
         import \"google/protobuf/timestamp.proto\";\n\
         import \"google/protobuf/duration.proto\";\n\
         import \"google/protobuf/field_mask.proto\";\n\
         import \"google/protobuf/wrappers.proto\";\n\
         import \"google/protobuf/any.proto\";\n\
         import \"google/protobuf/empty.proto\";\n\
         import \"google/protobuf/struct.proto\";\n{content}"
    );
    fs::write(dir.path().join("x.proto"), source).unwrap();
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto");
    let mut compiler = protox::Compiler::new([dir.path(), std::path::Path::new(proto)]).unwrap();
    compiler.include_imports(true).open_file("x.proto").unwrap();
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}
