//! Text with fields in double braces, as ghz's scenarios have it, filled anew for every call; and the
//! variables of the environment, which are filled once.

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Utc};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

/// What `randomString` is made of.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// The longest `randomString`, characters.
const STRING_MAX: usize = 1_000;
/// The fields there are, for who named another.
const KNOWN: &str = ".RequestNumber, .WorkerID, .UUID, .TimestampUnixMilli, newUUID, \
    randomInt FROM TO and randomString LENGTH";

/// A text with fields.
#[derive(Clone, Debug)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    RequestNumber,
    Worker,
    CallUuid,
    UnixMs,
    NewUuid,
    /// From the first to below the second.
    Number(i64, i64),
    /// Of this length.
    Letters(usize),
}

/// One call, as its templates see it.
pub struct Call<'a> {
    /// Its number in the scenario, from 0.
    pub number: u64,
    /// Who makes it.
    pub worker: usize,
    /// When it is made.
    pub now: DateTime<Utc>,
    /// Names it.
    pub uuid: Uuid,
    /// Where chance comes from.
    pub chance: &'a mut ChaCha8Rng,
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// When a field is not closed or is none that is known.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("{{") {
            let (field, after) = from
                .split_once("}}")
                .with_context(|| format!("\"{{{{{from}\" has no closing \"}}}}\""))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::parse(field)?);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The text of one call.
    pub fn fill(&self, call: &mut Call<'_>) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(own) => text.push_str(own),
                Piece::RequestNumber => text.push_str(&call.number.to_string()),
                Piece::Worker => text.push_str(&call.worker.to_string()),
                Piece::CallUuid => text.push_str(&call.uuid.to_string()),
                Piece::UnixMs => text.push_str(&call.now.timestamp_millis().to_string()),
                Piece::NewUuid => text.push_str(&random_uuid(call.chance).to_string()),
                Piece::Number(from, to) => {
                    text.push_str(&call.chance.random_range(*from..*to).to_string());
                }
                Piece::Letters(length) => text.extend(
                    (0..*length)
                        .map(|_| char::from(LETTERS[call.chance.random_range(0..LETTERS.len())])),
                ),
            }
        }
        text
    }
}

impl Piece {
    fn parse(field: &str) -> anyhow::Result<Self> {
        let words: Vec<&str> = field.split_whitespace().collect();
        Ok(match words[..] {
            [".RequestNumber"] => Self::RequestNumber,
            [".WorkerID"] => Self::Worker,
            [".UUID"] => Self::CallUuid,
            [".TimestampUnixMilli"] => Self::UnixMs,
            ["newUUID"] => Self::NewUuid,
            ["randomInt", from, to] => {
                let number = |text: &str| {
                    text.parse::<i64>()
                        .with_context(|| format!("{{{{{field}}}}}: {text:?} is not a whole number"))
                };
                let (from, to) = (number(from)?, number(to)?);
                ensure!(from < to, "{{{{{field}}}}}: {from} is not below {to}");
                Self::Number(from, to)
            }
            ["randomString", length] => {
                let length = length.parse().unwrap_or(0);
                ensure!(
                    (1..=STRING_MAX).contains(&length),
                    "{{{{{field}}}}}: the length is not 1 to {STRING_MAX}"
                );
                Self::Letters(length)
            }
            _ => bail!("{{{{{field}}}}} is not known; there are {KNOWN}"),
        })
    }
}

/// A UUID of the fourth version.
pub fn random_uuid(chance: &mut ChaCha8Rng) -> Uuid {
    uuid::Builder::from_random_bytes(chance.random()).into_uuid()
}

/// The text with every `${NAME}` replaced by what `variable` says.
///
/// # Errors
/// When a variable is not closed or is not there.
pub fn with_variables(
    text: &str,
    variable: &dyn Fn(&str) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("${") {
        let (name, after) = from
            .split_once('}')
            .with_context(|| format!("\"${{{from}\" has no closing brace"))?;
        filled.push_str(before);
        filled.push_str(&variable(name)?);
        rest = after;
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn filled(text: &str) -> String {
        let call = &mut Call {
            number: 7,
            worker: 3,
            now: DateTime::UNIX_EPOCH,
            uuid: Uuid::nil(),
            chance: &mut ChaCha8Rng::seed_from_u64(1),
        };
        Template::parse(text).unwrap().fill(call)
    }

    #[test]
    fn fields_are_filled() {
        assert_eq!(filled("plain"), "plain");
        let text = filled("a{{.RequestNumber}}b{{ .WorkerID }}c{{.UUID}} {{.TimestampUnixMilli}}");
        assert_eq!(text, "a7b3c00000000-0000-0000-0000-000000000000 0");
        let uuid = Uuid::parse_str(&filled("{{newUUID}}")).unwrap();
        assert_eq!(uuid.get_version_num(), 4);
        assert_eq!(filled("{{randomInt -3 -2}}"), "-3");
        let number: i64 = filled("{{randomInt 100 200}}").parse().unwrap();
        assert!((100..200).contains(&number));
        assert_eq!(filled("{{randomString 12}}").len(), 12);
    }

    #[test]
    fn a_field_that_is_not_known_is_refused() {
        for (text, told) in [
            ("{{.Requestnumber}}", "{{.Requestnumber}} is not known"),
            ("{{env \"HOME\"}}", "is not known; there are .RequestNumber"),
            ("x{{newUUID", "has no closing"),
            ("{{randomInt 1}}", "is not known"),
            ("{{randomInt 1 x}}", "\"x\" is not a whole number"),
            ("{{randomInt 5 5}}", "5 is not below 5"),
            ("{{randomString 0}}", "the length is not 1 to 1000"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(format!("{error:#}").contains(told), "{text}: {error:#}");
        }
    }

    #[test]
    fn variables_are_filled_once() {
        let variable = |name: &str| {
            ensure!(name == "A", "{name} is not set");
            Ok("${B}".to_owned())
        };
        assert_eq!(with_variables("x${A}y$", &variable).unwrap(), "x${B}y$");
        let error = with_variables("${B}", &variable).unwrap_err();
        assert_eq!(error.to_string(), "B is not set");
        assert!(with_variables("${A", &variable).is_err());
    }
}
