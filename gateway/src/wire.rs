//! Answers as JSON straight from the bytes they come in, without a message in between.
//!
//! It writes what [`crate::writer`] writes, and knows only what services usually send: fields in the order of
//! their numbers, each once, lists of numbers packed. Of anything else it makes nothing, and the answer is
//! read as a message first, which is slower and knows everything. Messages that have maps, and those that
//! proto3 JSON writes in a form of their own, are read that way where they stand; times are not, since nearly
//! every answer has some.

use std::{collections::HashMap, io::Write, ops::RangeInclusive};

use base64::{display::Base64Display, prelude::BASE64_STANDARD};
use chrono::{DateTime, SecondsFormat};
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use crate::writer::{Form, Json, default_json, is_null, no_number};

/// Messages in messages: fewer than what prost reads.
const DEPTH_MAX: u32 = 64;
/// The seconds that a time may have: of the years 1 to 9999.
const SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// How messages of one type are written.
#[derive(Debug)]
pub struct Plan {
    /// The message first, then those inside it.
    messages: Vec<Message>,
}

#[derive(Debug)]
struct Message {
    descriptor: MessageDescriptor,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// By the field, in the order of their numbers.
    Fields(Vec<Field>),
    Timestamp,
    /// As a message.
    Read,
}

#[derive(Debug)]
struct Field {
    number: u32,
    /// `"name":`
    key: Vec<u8>,
    /// What is written where it is absent; nothing for fields that are left out then.
    default: Option<Vec<u8>>,
    is_list: bool,
    /// Which of the message's oneofs it is in.
    choice: Option<usize>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    String,
    Bytes,
    /// The names, as JSON.
    Enum(HashMap<i32, Vec<u8>>),
    /// Which of the plan's messages.
    Message(usize),
}

/// How a value is kept in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Varint,
    Fixed64,
    Bytes,
    Fixed32,
}

impl Plan {
    /// How messages of this type are written.
    pub fn of(descriptor: &MessageDescriptor) -> Plan {
        let mut plan = Plan {
            messages: Vec::new(),
        };
        plan.place(descriptor, &mut HashMap::new());
        plan
    }

    fn place(
        &mut self,
        descriptor: &MessageDescriptor,
        known: &mut HashMap<String, usize>,
    ) -> usize {
        if let Some(place) = known.get(descriptor.full_name()) {
            return *place;
        }
        let place = self.messages.len();
        known.insert(descriptor.full_name().to_owned(), place);
        self.messages.push(Message {
            descriptor: descriptor.clone(),
            way: match Form::of(descriptor) {
                Form::Timestamp => Way::Timestamp,
                _ => Way::Read,
            },
        });
        if Form::of(descriptor) == Form::Fields {
            let fields = descriptor.fields().map(|field| self.field(&field, known));
            if let Some(fields) = fields.collect() {
                self.messages[place].way = Way::Fields(fields);
            }
        }
        place
    }

    /// How a field is written; `None` where that is left to whoever knows everything.
    fn field(
        &mut self,
        field: &FieldDescriptor,
        known: &mut HashMap<String, usize>,
    ) -> Option<Field> {
        if field.is_map() || field.is_group() {
            return None;
        }
        let value = match field.kind() {
            Kind::Bool => Value::Bool,
            Kind::Int32 => Value::Int32,
            Kind::Int64 => Value::Int64,
            Kind::Uint32 => Value::Uint32,
            Kind::Uint64 => Value::Uint64,
            Kind::Sint32 => Value::Sint32,
            Kind::Sint64 => Value::Sint64,
            Kind::Fixed32 => Value::Fixed32,
            Kind::Fixed64 => Value::Fixed64,
            Kind::Sfixed32 => Value::Sfixed32,
            Kind::Sfixed64 => Value::Sfixed64,
            Kind::Float => Value::Float,
            Kind::Double => Value::Double,
            Kind::String => Value::String,
            Kind::Bytes => Value::Bytes,
            Kind::Enum(known) if is_null(&known) => return None,
            Kind::Enum(known) => Value::Enum(names(&known)),
            Kind::Message(inner) => Value::Message(self.place(&inner, known)),
        };
        let default = match field.supports_presence() {
            true => None,
            false => Some(default_json(field).ok()?),
        };
        let choice = field.containing_oneof();
        let choice = choice.and_then(|choice| {
            let mut all = field
                .parent_message()
                .oneofs()
                .collect::<Vec<_>>()
                .into_iter();
            all.position(|one| one == choice)
        });
        let mut key = serde_json::to_vec(field.json_name()).ok()?;
        key.push(b':');
        Some(Field {
            number: field.number(),
            key,
            default,
            is_list: field.is_list(),
            choice,
            value,
        })
    }

    /// A message as JSON on one line; `None` where it has to be read first.
    pub fn json(&self, wire: &[u8]) -> Option<Vec<u8>> {
        // Names and quotes take about as much as what is between them.
        let mut json = Vec::with_capacity(256.max(wire.len() * 3));
        self.message(0, wire, DEPTH_MAX, &mut json)?;
        Some(json)
    }

    fn message(&self, place: usize, wire: &[u8], depth: u32, json: &mut Vec<u8>) -> Option<()> {
        let message = self.messages.get(place)?;
        match &message.way {
            Way::Fields(fields) => {
                json.push(b'{');
                self.fields(fields, wire, depth.checked_sub(1)?, json)?;
                json.push(b'}');
                Some(())
            }
            Way::Timestamp if timestamp(wire, json).is_some() => Some(()),
            Way::Timestamp | Way::Read => {
                let message = DynamicMessage::decode(message.descriptor.clone(), wire).ok()?;
                serde_json::to_writer(json, &Json(&message)).ok()
            }
        }
    }

    fn fields(
        &self,
        fields: &[Field],
        mut wire: &[u8],
        depth: u32,
        json: &mut Vec<u8>,
    ) -> Option<()> {
        let mut next = key(&mut wire)?;
        let mut behind = 0;
        let mut chosen = 0_u64;
        let mut is_first = true;
        for field in fields {
            // What nobody knows is passed over. What is known and comes late, or again, may be anything.
            while let Some((number, kept)) = next
                && number < field.number
            {
                pass(number, kept, behind, &mut wire)?;
                next = key(&mut wire)?;
            }
            behind = field.number;
            let here = next.filter(|(number, _)| *number == field.number);
            if here.is_none() && field.default.is_none() {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                json.push(b',');
            }
            json.extend_from_slice(&field.key);
            let Some((_, kept)) = here else {
                json.extend_from_slice(field.default.as_deref()?);
                continue;
            };
            if let Some(choice) = field.choice {
                let choice = 1_u64.checked_shl(choice.try_into().ok()?)?;
                if chosen & choice != 0 {
                    return None;
                }
                chosen |= choice;
            }
            if field.is_list {
                next = self.list(field, kept, &mut wire, depth, json)?;
            } else {
                self.value(&field.value, kept, &mut wire, depth, json)?;
                next = key(&mut wire)?;
            }
        }
        while let Some((number, kept)) = next {
            pass(number, kept, behind, &mut wire)?;
            next = key(&mut wire)?;
        }
        Some(())
    }

    /// Writes a list, whose first key has been read; answers what comes after it.
    fn list(
        &self,
        field: &Field,
        kept: Wire,
        wire: &mut &[u8],
        depth: u32,
        json: &mut Vec<u8>,
    ) -> Option<Option<(u32, Wire)>> {
        let one = field.value.kept();
        json.push(b'[');
        let next = if one == Wire::Bytes {
            let mut next = Some((field.number, kept));
            while let Some((number, kept)) = next
                && number == field.number
            {
                if json.last() != Some(&b'[') {
                    json.push(b',');
                }
                self.value(&field.value, kept, wire, depth, json)?;
                next = key(wire)?;
            }
            next
        } else {
            if kept != Wire::Bytes {
                return None;
            }
            let mut packed = bytes(wire)?;
            while !packed.is_empty() {
                if json.last() != Some(&b'[') {
                    json.push(b',');
                }
                self.value(&field.value, one, &mut packed, depth, json)?;
            }
            key(wire)?
        };
        json.push(b']');
        Some(next)
    }

    fn value(
        &self,
        value: &Value,
        kept: Wire,
        wire: &mut &[u8],
        depth: u32,
        json: &mut Vec<u8>,
    ) -> Option<()> {
        if kept != value.kept() {
            return None;
        }
        // Too large numbers are cut off, as prost does.
        #[allow(clippy::cast_possible_truncation)]
        let narrow = |wide: u64| wide as u32;
        match value {
            Value::Bool => {
                let text: &[u8] = if varint(wire)? == 0 {
                    b"false"
                } else {
                    b"true"
                };
                json.extend_from_slice(text);
            }
            Value::Int32 => number(json, narrow(varint(wire)?).cast_signed())?,
            Value::Uint32 => number(json, narrow(varint(wire)?))?,
            Value::Sint32 => {
                let folded = narrow(varint(wire)?);
                number(
                    json,
                    (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed(),
                )?;
            }
            Value::Fixed32 => number(json, u32::from_le_bytes(take(wire)?))?,
            Value::Sfixed32 => number(json, i32::from_le_bytes(take(wire)?))?,
            Value::Int64 => quoted(json, varint(wire)?.cast_signed())?,
            Value::Uint64 => quoted(json, varint(wire)?)?,
            Value::Sint64 => {
                let folded = varint(wire)?;
                quoted(
                    json,
                    (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed(),
                )?;
            }
            Value::Fixed64 => quoted(json, u64::from_le_bytes(take(wire)?))?,
            Value::Sfixed64 => quoted(json, i64::from_le_bytes(take(wire)?))?,
            Value::Float => {
                let value = f32::from_le_bytes(take(wire)?);
                real(json, value, value.into())?;
            }
            Value::Double => {
                let value = f64::from_le_bytes(take(wire)?);
                real(json, value, value)?;
            }
            Value::String => {
                let text = std::str::from_utf8(bytes(wire)?).ok()?;
                serde_json::to_writer(json, text).ok()?;
            }
            Value::Bytes => {
                let text = Base64Display::new(bytes(wire)?, &BASE64_STANDARD);
                write!(json, "\"{text}\"").ok()?;
            }
            Value::Enum(names) => {
                let value = narrow(varint(wire)?).cast_signed();
                match names.get(&value) {
                    Some(name) => json.extend_from_slice(name),
                    None => number(json, value)?,
                }
            }
            Value::Message(place) => {
                let inner = bytes(wire)?;
                self.message(*place, inner, depth, json)?;
            }
        }
        Some(())
    }
}

impl Value {
    fn kept(&self) -> Wire {
        match self {
            Value::Bool
            | Value::Int32
            | Value::Int64
            | Value::Uint32
            | Value::Uint64
            | Value::Sint32
            | Value::Sint64
            | Value::Enum(_) => Wire::Varint,
            Value::Fixed64 | Value::Sfixed64 | Value::Double => Wire::Fixed64,
            Value::Fixed32 | Value::Sfixed32 | Value::Float => Wire::Fixed32,
            Value::String | Value::Bytes | Value::Message(_) => Wire::Bytes,
        }
    }
}

/// The names of an enum's values, in quotes. Of several for one number it is the one that is read back.
fn names(known: &EnumDescriptor) -> HashMap<i32, Vec<u8>> {
    let numbers = known.values().map(|value| value.number());
    let named = numbers.filter_map(|number| {
        let name = known.get_value(number)?;
        Some((number, serde_json::to_vec(name.name()).ok()?))
    });
    named.collect()
}

/// Writes a time; `None`, and nothing is written, where it is none, or says more than a time does.
fn timestamp(mut wire: &[u8], json: &mut Vec<u8>) -> Option<()> {
    let (mut seconds, mut nanos) = (None, None);
    while let Some((number, kept)) = key(&mut wire)? {
        let part = match number {
            1 => &mut seconds,
            2 => &mut nanos,
            _ => return None,
        };
        if kept != Wire::Varint || part.is_some() {
            return None;
        }
        *part = Some(varint(&mut wire)?.cast_signed());
    }
    let seconds = seconds.unwrap_or(0);
    let nanos = u32::try_from(nanos.unwrap_or(0)).ok()?;
    // A leap second is no time here.
    if !SECONDS.contains(&seconds) || nanos >= 1_000_000_000 {
        return None;
    }
    let time = DateTime::from_timestamp(seconds, nanos)?;
    let text = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    write!(json, "\"{text}\"").ok()
}

fn number(json: &mut Vec<u8>, number: impl serde::Serialize) -> Option<()> {
    serde_json::to_writer(json, &number).ok()
}

/// Writes a float in its own width, or the name of what is no number.
fn real(json: &mut Vec<u8>, value: impl serde::Serialize, wide: f64) -> Option<()> {
    if wide.is_finite() {
        number(json, value)
    } else {
        number(json, no_number(wide))
    }
}

fn quoted(json: &mut Vec<u8>, number: impl serde::Serialize) -> Option<()> {
    json.push(b'"');
    serde_json::to_writer(&mut *json, &number).ok()?;
    json.push(b'"');
    Some(())
}

/// The next key; none at the end.
#[allow(clippy::option_option)] // No key is not a wrong key.
fn key(wire: &mut &[u8]) -> Option<Option<(u32, Wire)>> {
    if wire.is_empty() {
        return Some(None);
    }
    let key = varint(wire)?;
    let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0)?;
    let kept = match key & 7 {
        0 => Wire::Varint,
        1 => Wire::Fixed64,
        2 => Wire::Bytes,
        5 => Wire::Fixed32,
        _ => return None,
    };
    Some(Some((number, kept)))
}

/// Passes over a field that nobody knows: one that comes after those that have been (`behind`).
fn pass(number: u32, kept: Wire, behind: u32, wire: &mut &[u8]) -> Option<()> {
    if number <= behind {
        return None;
    }
    match kept {
        Wire::Varint => varint(wire).map(drop),
        Wire::Fixed64 => take::<8>(wire).map(drop),
        Wire::Fixed32 => take::<4>(wire).map(drop),
        Wire::Bytes => bytes(wire).map(drop),
    }
}

fn varint(wire: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = wire.split_first()?;
        *wire = rest;
        let part = u64::from(byte & 0x7f);
        // Of the tenth byte one bit is left.
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn bytes<'a>(wire: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(wire)?).ok()?;
    let (bytes, rest) = wire.split_at_checked(length)?;
    *wire = rest;
    Some(bytes)
}

fn take<const N: usize>(wire: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = wire.split_first_chunk()?;
    *wire = rest;
    Some(*bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "wire_tests.rs"]
mod tests;
