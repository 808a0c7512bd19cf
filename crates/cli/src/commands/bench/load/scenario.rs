//! Scenarios: files in the form that `ghz --config` reads, of which we take the fields below and refuse
//! every other, so that both clients do the same.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail, ensure};
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Map, Value};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};

use super::template::{Call, Template, with_variables};

/// Calls where a scenario says nothing, as ghz has it.
const TOTAL: u64 = 200;
/// Calls at a time where a scenario says nothing, as ghz has it.
const CONCURRENCY: u64 = 50;
/// How long a call may take where a scenario says nothing, as ghz has it.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The most calls, and the most at a time.
const TOTAL_MAX: u64 = 10_000_000;
const CONCURRENCY_MAX: u64 = 10_000;

/// What is called, how often and with what.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What the report calls it.
    pub name: String,
    /// The rpc.
    pub method: MethodDescriptor,
    /// Host and port.
    pub host: String,
    /// When it is over.
    pub end: End,
    /// Calls at a time.
    pub concurrency: usize,
    /// Connections they share.
    pub connections: usize,
    /// How long one call may take.
    pub timeout: Duration,
    metadata: Vec<(AsciiMetadataKey, Template)>,
    data: Template,
}

/// When a scenario is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// After so many calls.
    Calls(u64),
    /// After this time.
    Time(Duration),
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// Naming the file, and the field that cannot be used.
    pub fn read(
        file: &Path,
        variable: &dyn Fn(&str) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        let read = || {
            let text = std::fs::read_to_string(file)?;
            let value = serde_json::from_str(&text).context("it is not JSON")?;
            let Value::Object(fields) = value else {
                bail!("it is not a JSON object");
            };
            Self::from_fields(Fields(fields), file, variable)
        };
        read().with_context(|| format!("scenario {}", file.display()))
    }

    fn from_fields(
        mut fields: Fields,
        file: &Path,
        variable: &dyn Fn(&str) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        let stem = || file.file_stem().unwrap_or_default().to_string_lossy();
        let name = fields.text("name")?;
        let name = name.unwrap_or_else(|| stem().into_owned());
        let call = fields.text("call")?.context("field call is missing")?;
        let method = method(&call).context("field call")?;
        let host = fields.text("host")?.context("field host is missing")?;
        let host = with_variables(&host, variable).context("field host")?;
        ensure!(
            is_address(&host),
            "field host: {host:?} is not like 127.0.0.1:50051"
        );
        let insecure = fields.take("insecure");
        ensure!(
            insecure == Some(Value::Bool(true)),
            "field insecure has to be true: only plain gRPC is spoken"
        );
        let total = fields.number("total", TOTAL_MAX)?.unwrap_or(TOTAL);
        let end = fields
            .duration("duration")?
            .map_or(End::Calls(total), End::Time);
        let concurrency = fields
            .number("concurrency", CONCURRENCY_MAX)?
            .unwrap_or(CONCURRENCY);
        let connections = fields.number("connections", concurrency)?.unwrap_or(1);
        let timeout = fields.duration("timeout")?.unwrap_or(TIMEOUT);
        let metadata = match fields.take("metadata") {
            None => Vec::new(),
            Some(Value::Object(entries)) => entries
                .iter()
                .map(|(key, text)| {
                    entry(key, text, variable).with_context(|| format!("field metadata.{key}"))
                })
                .collect::<anyhow::Result<_>>()?,
            Some(_) => bail!("field metadata is not an object"),
        };
        let data = fields.take("data").unwrap_or_else(|| Map::new().into());
        ensure!(data.is_object(), "field data is not an object");
        let data = Template::parse(&data.to_string()).context("field data")?;
        fields.none_left()?;
        Ok(Self {
            name,
            method,
            host,
            end,
            concurrency: usize::try_from(concurrency)?,
            connections: usize::try_from(connections)?,
            timeout,
            metadata,
            data,
        })
    }

    /// The message of one call.
    ///
    /// # Errors
    /// When the data is none of the rpc's request.
    pub fn message(&self, call: &mut Call<'_>) -> anyhow::Result<DynamicMessage> {
        let text = self.data.fill(call);
        let mut json = serde_json::Deserializer::from_str(&text);
        let input = self.method.input();
        let name = input.full_name().to_owned();
        let message = DynamicMessage::deserialize(input, &mut json)
            .and_then(|message| json.end().map(|()| message));
        message.with_context(|| format!("field data: it is no {name}"))
    }

    /// The metadata of one call.
    ///
    /// # Errors
    /// When a value cannot be sent.
    pub fn metadata(&self, call: &mut Call<'_>) -> anyhow::Result<MetadataMap> {
        let mut map = MetadataMap::new();
        for (key, text) in &self.metadata {
            let text = Some(text.fill(call)).filter(|text| text.is_ascii());
            let value = text.and_then(|text| AsciiMetadataValue::try_from(text).ok());
            let value = value
                .with_context(|| format!("field metadata.{key}: it is not printable ASCII"))?;
            map.append(key.clone(), value);
        }
        Ok(map)
    }
}

/// The fields of a file that nobody has taken yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    fn text(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => bail!("field {name}: {other} is not a text"),
        }
    }

    fn number(&mut self, name: &str, most: u64) -> anyhow::Result<Option<u64>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_u64().filter(|number| (1..=most).contains(number));
        let number = number.with_context(|| format!("field {name}: {value} is not 1 to {most}"))?;
        Ok(Some(number))
    }

    fn duration(&mut self, name: &str) -> anyhow::Result<Option<Duration>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let duration = crate::commands::duration(&text).ok();
        let duration = duration.filter(|duration| !duration.is_zero());
        let duration = duration
            .with_context(|| format!("field {name}: {text:?} is not a time like \"5s\""))?;
        Ok(Some(duration))
    }

    fn none_left(self) -> anyhow::Result<()> {
        match self.0.keys().next() {
            Some(name) => bail!("field {name} is not known here"),
            None => Ok(()),
        }
    }
}

/// The rpc that a scenario names, as `package.Service.Rpc` or `package.Service/Rpc`.
fn method(call: &str) -> anyhow::Result<MethodDescriptor> {
    let (service, rpc) = call
        .rsplit_once('/')
        .or_else(|| call.rsplit_once('.'))
        .with_context(|| format!("{call:?} is not like package.Service.Rpc"))?;
    let service = jitney_proto::descriptor_pool()
        .get_service_by_name(service)
        .with_context(|| format!("there is no service {service:?}"))?;
    let method = service.methods().find(|method| method.name() == rpc);
    let method = method.with_context(|| format!("{} has no {rpc:?}", service.full_name()))?;
    ensure!(
        !method.is_client_streaming() && !method.is_server_streaming(),
        "{call} is a stream; only calls with one answer are made"
    );
    Ok(method)
}

fn entry(
    key: &str,
    text: &Value,
    variable: &dyn Fn(&str) -> anyhow::Result<String>,
) -> anyhow::Result<(AsciiMetadataKey, Template)> {
    let text = text.as_str().context("it is not a text")?;
    let key = AsciiMetadataKey::from_bytes(key.as_bytes()).ok();
    let key = key.context("it cannot be the name of ASCII metadata")?;
    Ok((key, Template::parse(&with_variables(text, variable)?)?))
}

fn is_address(host: &str) -> bool {
    let parts = host.rsplit_once(':');
    parts.is_some_and(|(name, port)| {
        !name.is_empty() && !name.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}
