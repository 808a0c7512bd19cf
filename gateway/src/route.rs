//! The table of routes: which HTTP verb and path reaches which rpc, read from the descriptors.
//!
//! Paths are kept in a tree of segments. Where several templates fit a path the most particular one
//! is taken: a literal before `*`, `*` before `**`, decided from the left. How a request's parts
//! become fields is [`crate::transcode`]'s.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use axum::http::{Method, uri::PathAndQuery};
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, OneofDescriptor, Value,
};

use crate::{
    document,
    template::{Path, Step, Template},
    wire::Plan,
};

/// How messages travel between a caller and an rpc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One message each way.
    Unary,
    /// One message up, many down: server-sent events or JSON lines.
    ServerStream,
    /// Many up, one message down: a WebSocket.
    ClientStream,
    /// Many each way: a WebSocket.
    Bidirectional,
}

impl Shape {
    /// Whether it is served as a WebSocket.
    pub fn is_socket(self) -> bool {
        matches!(self, Shape::ClientStream | Shape::Bidirectional)
    }
}

/// An rpc that can be reached over HTTP.
#[derive(Debug)]
pub struct Rpc {
    /// For people: `jitney.trips.v1.TripsService.GetTrip`.
    pub name: String,
    /// The full name of its service.
    pub service: String,
    /// Its gRPC path: `/jitney.trips.v1.TripsService/GetTrip`.
    pub path: PathAndQuery,
    /// How messages travel.
    pub shape: Shape,
    /// The request message.
    pub input: MessageDescriptor,
    /// The response message.
    pub output: MessageDescriptor,
    /// The request field the `Idempotency-Key` header is read into.
    pub idempotency_key: Option<FieldDescriptor>,
    /// The request field the `Last-Event-ID` header is read into.
    pub resume_from: Option<FieldDescriptor>,
    /// The response field that names a place to resume from.
    pub resume_token: Option<FieldDescriptor>,
    /// How long phones may use an answer without asking again.
    pub cache_seconds: Option<u32>,
    /// The response's first oneof; the member that is set names the event.
    pub event: Option<OneofDescriptor>,
    /// How a response becomes JSON.
    pub(crate) plan: Plan,
}

/// What the body of a request is read into.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// There is none.
    None,
    /// The whole message.
    Whole,
    /// One field.
    Field(FieldDescriptor),
}

/// One way to reach an rpc.
#[derive(Debug)]
pub struct Binding {
    /// The rpc.
    pub rpc: Arc<Rpc>,
    /// The HTTP verb.
    pub method: Method,
    /// The path.
    pub template: Template,
    /// The same as text.
    pub route: String,
    /// Per variable of the template, the field it is read into, outermost first.
    pub variables: Vec<Vec<FieldDescriptor>>,
    /// Where the body goes.
    pub body: Body,
    /// The request's field that says what a change is about, where a PATCH leaves it to the body.
    pub mask: Option<FieldDescriptor>,
    /// The field that holds the file which is the answer.
    pub document: Option<FieldDescriptor>,
    /// The field that is the answer as JSON; without one and without a document it is the whole message.
    pub answer: Option<FieldDescriptor>,
}

/// The method of a rule for every method.
pub const ANY_METHOD: &str = "*";

/// What was found for a verb and a path.
#[derive(Debug)]
pub enum Found<'a> {
    /// A route.
    Route(&'a Arc<Binding>),
    /// The path is known, the verb is not one of its.
    OtherMethods(Vec<Method>),
    /// No route has this path.
    Nothing,
}

/// Every route.
#[derive(Debug, Default)]
pub struct Routes {
    bindings: Vec<Arc<Binding>>,
    by_rpc: HashMap<String, Arc<Rpc>>,
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    one: Option<Box<Node>>,
    rest: Option<Box<Node>>,
    /// By verb of the template and HTTP method, a place in `Routes::bindings`.
    ends: HashMap<Option<String>, BTreeMap<String, usize>>,
}

impl Routes {
    /// Reads the routes of every service in a pool. Fails, naming the rpc, where an annotation
    /// cannot be followed or two rpcs want the same route.
    pub fn from_descriptors(pool: &DescriptorPool) -> Result<Routes> {
        let http = pool
            .get_extension_by_name("google.api.http")
            .context("the descriptors do not declare google.api.http")?;
        let mut routes = Routes::default();
        for service in pool.services() {
            for method in service.methods() {
                routes
                    .add_rpc(&method, &http)
                    .with_context(|| format!("the HTTP binding of {}", method.full_name()))?;
            }
        }
        Ok(routes)
    }

    /// Every route, in the order of the descriptors.
    pub fn all(&self) -> &[Arc<Binding>] {
        &self.bindings
    }

    /// The rpc with a gRPC path, if it has a route.
    pub fn rpc(&self, path: &str) -> Option<&Arc<Rpc>> {
        self.by_rpc.get(path)
    }

    /// Finds the route of a verb and a path. `HEAD` is served where `GET` is, save for streams.
    pub fn find(&self, method: &Method, path: &Path<'_>) -> Found<'_> {
        let mut ends = Vec::new();
        self.root.collect(&path.segments, path.verb, &mut ends);
        let asked = if method == Method::HEAD {
            "GET"
        } else {
            method.as_str()
        };
        for &by_method in &ends {
            let named = by_method.get(asked).or_else(|| by_method.get(ANY_METHOD));
            if let Some(binding) = named.and_then(|&at| self.bindings.get(at))
                && (method != Method::HEAD || binding.rpc.shape == Shape::Unary)
            {
                return Found::Route(binding);
            }
        }
        let allowed: BTreeSet<&str> = ends
            .iter()
            .flat_map(|by_method| by_method.keys())
            .map(String::as_str)
            .collect();
        if allowed.is_empty() {
            return Found::Nothing;
        }
        Found::OtherMethods(
            allowed
                .into_iter()
                .filter_map(|name| Method::from_bytes(name.as_bytes()).ok())
                .collect(),
        )
    }

    fn add_rpc(&mut self, method: &MethodDescriptor, http: &ExtensionDescriptor) -> Result<()> {
        let options = method.options();
        if !options.has_extension(http) {
            return Ok(());
        }
        let rule = options.get_extension(http).into_owned();
        let rule = rule
            .as_message()
            .context("google.api.http is not a message")?;
        let rpc = Arc::new(Rpc::read(method)?);
        self.add(Binding::read(&rpc, rule)?)?;
        for further in list(rule, "additional_bindings") {
            let further = further
                .as_message()
                .context("an additional binding is not a message")?;
            ensure!(
                list(further, "additional_bindings").is_empty(),
                "an additional binding has bindings of its own"
            );
            self.add(Binding::read(&rpc, further)?)?;
        }
        Ok(())
    }

    fn add(&mut self, binding: Binding) -> Result<()> {
        let mut node = &mut self.root;
        for step in &binding.template.steps {
            node = match step {
                Step::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Step::One => node.one.get_or_insert_default(),
                Step::Rest => node.rest.get_or_insert_default(),
            };
        }
        let by_method = node.ends.entry(binding.template.verb.clone()).or_default();
        let method = binding.method.to_string();
        if let Some(taken) = by_method.get(&method).and_then(|&at| self.bindings.get(at)) {
            bail!(
                "{method} {} is {}'s already",
                binding.template,
                taken.rpc.name
            );
        }
        by_method.insert(method, self.bindings.len());
        self.by_rpc
            .insert(binding.rpc.path.to_string(), binding.rpc.clone());
        self.bindings.push(Arc::new(binding));
        Ok(())
    }
}

impl Node {
    /// Everything that fits, the most particular first.
    fn collect<'a>(
        &'a self,
        segments: &[&str],
        verb: Option<&str>,
        into: &mut Vec<&'a BTreeMap<String, usize>>,
    ) {
        let end = |node: &'a Node| {
            node.ends
                .iter()
                .find(|(own, _)| own.as_deref() == verb)
                .map(|(_, by_method)| by_method)
        };
        match segments.split_first() {
            None => into.extend(end(self)),
            Some((first, left)) => {
                if let Some(node) = self.literals.get(*first) {
                    node.collect(left, verb, into);
                }
                if let Some(node) = &self.one
                    && !first.is_empty()
                {
                    node.collect(left, verb, into);
                }
            }
        }
        if let Some(node) = &self.rest
            && segments.iter().all(|segment| !segment.is_empty())
        {
            into.extend(end(node));
        }
    }
}

impl Rpc {
    fn read(method: &MethodDescriptor) -> Result<Rpc> {
        let shape = match (method.is_client_streaming(), method.is_server_streaming()) {
            (false, false) => Shape::Unary,
            (false, true) => Shape::ServerStream,
            (true, true) => Shape::Bidirectional,
            (true, false) => Shape::ClientStream,
        };
        let service = method.parent_service().full_name().to_owned();
        let path = format!("/{service}/{}", method.name());
        let (input, output) = (method.input(), method.output());
        let event = output.oneofs().find(|oneof| !oneof.is_synthetic());
        if shape != Shape::Unary {
            for taken in ["error", "end"] {
                ensure!(
                    output.get_field_by_json_name(taken).is_none(),
                    "the field {taken:?} of {} would read as the gateway's own",
                    output.full_name()
                );
            }
        }
        Ok(Rpc {
            name: method.full_name().to_owned(),
            path: path
                .parse()
                .with_context(|| format!("the gRPC path {path:?}"))?,
            shape,
            idempotency_key: text_field(&input, "idempotency_key"),
            resume_from: text_field(&input, "resume_token"),
            resume_token: text_field(&output, "resume_token"),
            cache_seconds: cache_seconds(method),
            event,
            plan: Plan::of(&output),
            service,
            input,
            output,
        })
    }
}

impl Binding {
    fn read(rpc: &Arc<Rpc>, rule: &DynamicMessage) -> Result<Binding> {
        let verbs = [
            ("get", Method::GET),
            ("put", Method::PUT),
            ("post", Method::POST),
            ("delete", Method::DELETE),
            ("patch", Method::PATCH),
        ];
        let (method, template) = verbs
            .into_iter()
            .find_map(|(name, method)| text(rule, name).map(|template| (method, template)))
            .map_or_else(|| custom(rule), Ok)?;
        let template = Template::parse(&template)?;
        let variables = template
            .variables
            .iter()
            .map(|variable| scalar_path(&rpc.input, &variable.field))
            .collect::<Result<Vec<_>>>()?;
        let body = match text(rule, "body").as_deref() {
            None => Body::None,
            Some("*") => Body::Whole,
            Some(name) => Body::Field(body_field(&rpc.input, name)?),
        };
        let answer = text(rule, "response_body")
            .map(|name| {
                let field = rpc.output.get_field_by_name(&name);
                field.with_context(|| format!("{} has no field {name:?}", rpc.output.full_name()))
            })
            .transpose()?;
        ensure!(
            answer.is_none() || rpc.shape == Shape::Unary,
            "one field is the answer of a call, not of a stream"
        );
        let (document, answer) = match answer {
            Some(field) if is_document(&field) => (Some(field), None),
            other => (None, other),
        };
        let mask = (method == Method::PATCH && body != Body::None)
            .then(|| mask_field(&rpc.input))
            .flatten();
        if matches!(method, Method::GET | Method::DELETE) {
            ensure!(body == Body::None, "{method} takes no body");
        }
        if rpc.shape.is_socket() {
            ensure!(
                method == Method::GET && variables.is_empty(),
                "a stream of requests is a WebSocket: GET and a path without variables"
            );
        }
        Ok(Binding {
            rpc: rpc.clone(),
            method,
            route: template.to_string(),
            template,
            variables,
            body,
            mask,
            document,
            answer,
        })
    }
}

/// The fields a dotted path leads through; the last one is a single value that text can stand for.
fn scalar_path(message: &MessageDescriptor, names: &[String]) -> Result<Vec<FieldDescriptor>> {
    let mut fields: Vec<FieldDescriptor> = Vec::with_capacity(names.len());
    for name in names {
        let parent = match fields.last().map(FieldDescriptor::kind) {
            None => message.clone(),
            Some(Kind::Message(inner)) => inner,
            Some(_) => bail!(
                "{:?} goes into a field that is not a message",
                names.join(".")
            ),
        };
        let field = parent
            .get_field_by_name(name)
            .with_context(|| format!("{} has no field {name:?}", parent.full_name()))?;
        ensure!(
            !field.is_list() && !field.is_map(),
            "{:?} goes through a field of many values",
            names.join(".")
        );
        fields.push(field);
    }
    ensure!(
        !matches!(
            fields.last().map(FieldDescriptor::kind),
            Some(Kind::Message(_))
        ),
        "{:?} is a message, which no path can hold",
        names.join(".")
    );
    Ok(fields)
}

/// A rule with a method of its own name; `*` is for every method.
fn custom(rule: &DynamicMessage) -> Result<(Method, String)> {
    let custom = rule
        .get_field_by_name("custom")
        .filter(|_| rule.has_field_by_name("custom"));
    let custom = custom.as_deref().and_then(Value::as_message);
    let custom = custom.context("names none of get, put, post, delete, patch, custom")?;
    let method = text(custom, "kind").context("custom: no kind")?;
    let path = text(custom, "path").context("custom: no path")?;
    let method = Method::from_bytes(method.as_bytes());
    Ok((method.context("custom: the kind is no HTTP method")?, path))
}

fn body_field(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor> {
    message
        .get_field_by_name(name)
        .with_context(|| format!("body: {} has no field {name:?}", message.full_name()))
}

/// Whether a field holds a file, which is then the whole answer.
fn is_document(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(kind) => kind.full_name() == document::MESSAGE && !field.is_list(),
        _ => false,
    }
}

/// The field `update_mask`, if there is one.
fn mask_field(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    message.get_field_by_name("update_mask").filter(|field| {
        let kind = field.kind();
        kind.as_message()
            .is_some_and(|kind| kind.full_name() == "google.protobuf.FieldMask")
    })
}

/// The option of our own that says so.
fn cache_seconds(method: &MethodDescriptor) -> Option<u32> {
    let pool = method.parent_pool();
    let option = pool.get_extension_by_name("jitney.common.v1.cache_seconds")?;
    let seconds = method.options().get_extension(&option).as_u32();
    seconds.filter(|seconds| *seconds > 0)
}

fn text_field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message
        .get_field_by_name(name)
        .filter(|field| field.kind() == Kind::String && !field.is_list())
}

fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    let value = message.get_field_by_name(field)?;
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn list(message: &DynamicMessage, field: &str) -> Vec<Value> {
    message
        .get_field_by_name(field)
        .and_then(|value| value.as_list().map(<[Value]>::to_vec))
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
