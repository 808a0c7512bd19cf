//! What is written from bytes, against what is written of the message they are.

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MapKey, Value};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{
    route::{Routes, Shape},
    sample,
    transcode::to_json,
};

/// Every kind of field, alone, in lists and in a choice.
const SAMPLE: &str = r#"
    enum Colour { COLOUR_NONE = 0; COLOUR_RED = 1; COLOUR_BLUE = -2; }
    message Q {
        bool yes = 1; int32 i32 = 2; int64 i64 = 3; uint32 u32 = 4; uint64 u64 = 5; sint32 s32 = 6;
        sint64 s64 = 7; fixed32 f32 = 8; fixed64 f64 = 9; sfixed32 sf32 = 10; sfixed64 sf64 = 11;
        float thin = 12; double wide = 13; string text = 14; bytes raw = 15; Colour colour = 16;
        Q inner = 17; google.protobuf.Timestamp at = 18; google.protobuf.Duration took = 19;
        repeated bool yeses = 21; repeated int32 i32s = 22; repeated int64 i64s = 23;
        repeated uint32 u32s = 24; repeated uint64 u64s = 25; repeated sint32 s32s = 26;
        repeated sint64 s64s = 27; repeated fixed32 f32s = 28; repeated fixed64 f64s = 29;
        repeated sfixed32 sf32s = 30; repeated sfixed64 sf64s = 31; repeated float thins = 32;
        repeated double wides = 33; repeated string texts = 34; repeated bytes raws = 35;
        repeated Colour colours = 36; repeated Q inners = 37;
        repeated google.protobuf.Timestamp ats = 38;
        optional bool maybe_yes = 41; optional int64 maybe_i64 = 42; optional string maybe_text = 43;
        oneof choice { string left = 50; Q middle = 52; double right = 51; }
        Mapped mapped = 60; google.protobuf.StringValue wrapped = 61;
        google.protobuf.Value free = 62; google.protobuf.FieldMask mask = 63;
    }
    message Mapped { map<string, int32> counts = 1; string text = 2; }
    message Loose { repeated int32 numbers = 1 [packed = false]; }
"#;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| sample::pool(SAMPLE));

fn named(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(name).unwrap()
}

fn scalar(kind: &Kind, dice: &mut ChaCha8Rng) -> Value {
    // Small ones and all sizes.
    let bits = dice.random::<u64>() >> dice.random_range(0..64);
    #[allow(clippy::cast_possible_truncation)]
    match kind {
        Kind::Bool => Value::Bool(dice.random()),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32((bits as u32).cast_signed()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(bits.cast_signed()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(bits as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(bits),
        Kind::Float => Value::F32(f32::from_bits(dice.random())),
        Kind::Double => Value::F64(match dice.random_range(0..4) {
            0 => f64::NAN,
            1 => f64::NEG_INFINITY,
            2 => dice.random_range(-90.0..90.0),
            _ => f64::from_bits(dice.random()),
        }),
        Kind::String => {
            let letters = [
                "a", "\"", "\\", "\n", "\u{7f}", "é", "東", "🚕", "\u{1}", "/",
            ];
            let long = dice.random_range(0..6);
            let text = (0..long).map(|_| letters[dice.random_range(0..letters.len())]);
            Value::String(text.collect())
        }
        Kind::Bytes => {
            let mut raw = vec![0; dice.random_range(0..5)];
            dice.fill_bytes(&mut raw);
            Value::Bytes(raw.into())
        }
        Kind::Enum(known) => {
            let numbers: Vec<_> = known.values().map(|value| value.number()).collect();
            let known = numbers[dice.random_range(0..numbers.len())];
            Value::EnumNumber(if dice.random_bool(0.8) { known } else { -77 })
        }
        Kind::Message(_) => unreachable!("is no scalar"),
    }
}

fn value(kind: &Kind, deep: u32, dice: &mut ChaCha8Rng) -> Value {
    match kind {
        Kind::Message(inner) => Value::Message(message(inner, deep, dice)),
        other => scalar(other, dice),
    }
}

fn message(descriptor: &MessageDescriptor, deep: u32, dice: &mut ChaCha8Rng) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let mut set = |number, value| message.set_field_by_number(number, value);
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            let edges = [-62_135_596_800, 253_402_300_799, 0, -1, 253_402_300_800];
            let seconds = match dice.random_range(0..8) {
                0 => edges[dice.random_range(0..edges.len())],
                _ => dice.random_range(-62_135_596_800..253_402_300_800),
            };
            set(1, Value::I64(seconds));
            let nanos = [0, 1, 120_000, 5_000_000, 999_999_999, 1_000_000_000, -1];
            let usual = if dice.random_bool(0.9) {
                5
            } else {
                nanos.len()
            };
            set(2, Value::I32(nanos[dice.random_range(0..usual)]));
        }
        "google.protobuf.Duration" => set(1, Value::I64(dice.random_range(-9..9))),
        // What is in there has to fit: it is written as a message anyway.
        name if name.starts_with("google.protobuf.") && !name.ends_with("StringValue") => {}
        _ => {
            for field in descriptor.fields() {
                let is_deep = matches!(field.kind(), Kind::Message(_));
                if dice.random_bool(0.5) || is_deep && (deep == 0 || dice.random_bool(0.5)) {
                    continue;
                }
                let kind = field.kind();
                let many = dice.random_range(0..4);
                let set = if field.is_map() {
                    let entry = kind.as_message().unwrap();
                    let (key, kind) = (entry.map_entry_key_field(), entry.map_entry_value_field());
                    if key.kind() != Kind::String {
                        continue;
                    }
                    let value = value(&kind.kind(), deep - 1, dice);
                    Value::Map([(MapKey::String("k".to_owned()), value)].into())
                } else if field.is_list() {
                    let down = deep.saturating_sub(1);
                    Value::List((0..many).map(|_| value(&kind, down, dice)).collect())
                } else {
                    value(&kind, deep.saturating_sub(1), dice)
                };
                message.set_field(&field, set);
            }
        }
    }
    message
}

fn slowly(descriptor: &MessageDescriptor, wire: &[u8]) -> Option<String> {
    let message = DynamicMessage::decode(descriptor.clone(), wire).ok()?;
    Some(String::from_utf8(to_json(&message).ok()?).unwrap())
}

fn quickly(plan: &Plan, wire: &[u8]) -> Option<String> {
    plan.json(wire).map(|json| String::from_utf8(json).unwrap())
}

#[test]
fn what_is_written_at_once_is_what_is_written_of_the_message() {
    let routes = Routes::from_descriptors(&jitney_proto::descriptor_pool()).unwrap();
    let unary = routes
        .all()
        .iter()
        .filter(|one| one.rpc.shape == Shape::Unary);
    let mut all: Vec<_> = unary.map(|one| one.rpc.output.clone()).collect();
    all.extend(std::iter::repeat_n(named("x.Q"), 300));
    let mut dice = ChaCha8Rng::seed_from_u64(7);
    let (mut quick, mut none) = (0, 0);
    for descriptor in all {
        let plan = Plan::of(&descriptor);
        for _ in 0..20 {
            let wire = message(&descriptor, 3, &mut dice).encode_to_vec();
            let (expected, written) = (slowly(&descriptor, &wire), quickly(&plan, &wire));
            assert_eq!(written, expected, "{} {wire:?}", descriptor.full_name());
            quick += u32::from(written.is_some());
            none += u32::from(written.is_none());
        }
    }
    // Times that are none have no JSON.
    assert!(none > 100 && quick > 10 * none, "{quick} {none}");
}

#[test]
fn of_broken_bytes_nothing_is_made_that_the_message_is_not() {
    let descriptor = named("x.Q");
    let plan = Plan::of(&descriptor);
    let mut dice = ChaCha8Rng::seed_from_u64(8);
    let (mut quick, mut left) = (0, 0);
    for _ in 0..8_000 {
        let mut wire = message(&descriptor, 2, &mut dice).encode_to_vec();
        for _ in 0..dice.random_range(1..4) {
            let place = dice.random_range(0..=wire.len());
            match dice.random_range(0..4) {
                0 => wire.truncate(place),
                1 => wire.insert(place, dice.random()),
                2 if place < wire.len() => drop(wire.remove(place)),
                _ if place < wire.len() => wire[place] = dice.random(),
                _ => {}
            }
        }
        match quickly(&plan, &wire) {
            Some(written) => {
                assert_eq!(Some(written), slowly(&descriptor, &wire), "{wire:?}");
                quick += 1;
            }
            None => left += 1,
        }
    }
    assert!(quick > 400 && left > 400, "{quick} {left}");
}

#[test]
fn what_is_unusual_is_left_to_who_knows_everything() {
    let descriptor = named("x.Q");
    let plan = Plan::of(&descriptor);
    let usual: &[&[u8]] = &[
        b"",
        // Of fields that nobody knows: before, between, behind.
        &[0xa0, 0x01, 0x05, 0xc0, 0x02, 0x00],
        &[0x08, 0x01, 0xa2, 0x01, 0x01, 0x61],
        &[0x08, 0x01, 0xa2, 0x06, 0x01, 0x61, 0xa5, 0x06, 1, 2, 3, 4],
        // Zero, said.
        &[0x08, 0x00],
    ];
    for wire in usual {
        let written = quickly(&plan, wire);
        assert!(written.is_some(), "{wire:?}");
        assert_eq!(written, slowly(&descriptor, wire), "{wire:?}");
    }
    let loose = named("x.Loose");
    let unusual: &[(&MessageDescriptor, &[u8])] = &[
        // Twice.
        (&descriptor, &[0x08, 0x01, 0x08, 0x00]),
        // Late.
        (&descriptor, &[0x10, 0x07, 0x08, 0x01]),
        // A list in two parts.
        (
            &descriptor,
            &[0xb2, 0x01, 0x01, 0x05, 0xb2, 0x01, 0x01, 0x06],
        ),
        // Both of a choice.
        (&descriptor, &[0x92, 0x03, 0x01, 0x61, 0xa2, 0x03, 0x00]),
        // Numbers one by one.
        (&loose, &[0x08, 0x01, 0x08, 0x02]),
        (&descriptor, &[0xb0, 0x01, 0x05]),
    ];
    for (descriptor, wire) in unusual {
        assert_eq!(quickly(&Plan::of(descriptor), wire), None, "{wire:?}");
        assert!(slowly(descriptor, wire).is_some(), "{wire:?}");
    }
    // In itself too often.
    let mut deep = Vec::new();
    for _ in 0..DEPTH_MAX {
        let mut outer = vec![0x8a, 0x01];
        prost::encoding::encode_varint(deep.len() as u64, &mut outer);
        outer.append(&mut deep);
        deep = outer;
    }
    assert_eq!(quickly(&plan, &deep), None);
    assert!(slowly(&descriptor, &deep).is_some());
}
