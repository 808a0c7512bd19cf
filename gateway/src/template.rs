//! Path templates as `google.api.http` writes them: `/v1/trips/{trip_id}/offers/{offer_id}:accept`.
//!
//! A template is parsed once, at start. Matching a request's path against all of them is
//! [`crate::route`]'s; this file knows one template at a time and no HTTP verb.
//!
//! ```text
//! template = "/" segment { "/" segment } [ ":" literal ]
//! segment  = "*" | "**" | literal | "{" field { "." field } [ "=" segment { "/" segment } ] "}"
//! ```
//!
//! `*` is one segment, `**` (only at the end) any number of them, none included. A variable without
//! a pattern is `*`. A bare `:` in a path's last segment always begins the verb: a value that holds
//! a colon is written `%3A`.

use std::fmt;

/// One step of a template, variables laid flat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Exactly this text.
    Literal(String),
    /// Any one segment that is not empty.
    One,
    /// All that is left.
    Rest,
}

/// A named stretch of a template's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The request field it is read into, outermost name first.
    pub field: Vec<String>,
    /// The first step it covers.
    pub first: usize,
    /// How many steps it covers.
    pub steps: usize,
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What a path must look like.
    pub steps: Vec<Step>,
    /// Which parts of the path are values.
    pub variables: Vec<Variable>,
    /// What stands after the last colon.
    pub verb: Option<String>,
}

/// A template that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path template {template:?}: {problem}")]
pub struct TemplateError {
    template: String,
    problem: String,
}

impl Template {
    /// Reads a template; the error names it and says what is wrong.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        Parser {
            rest: text,
            steps: Vec::new(),
            variables: Vec::new(),
        }
        .template()
        .map_err(|problem| TemplateError {
            template: text.to_owned(),
            problem,
        })
    }

    /// The values of the variables in a path that was found to match.
    ///
    /// A value of one segment is decoded whole. A value of several keeps its slashes, and a slash
    /// that was escaped stays `%2F`, so that the two can be told apart. The error is a value that is
    /// not well-formed.
    pub fn values(&self, path: &Path<'_>) -> Result<Vec<String>, PathError> {
        self.variables
            .iter()
            .map(|variable| self.value(variable, path))
            .collect()
    }

    fn value(&self, variable: &Variable, path: &Path<'_>) -> Result<String, PathError> {
        let end = variable.first + variable.steps;
        let open = self.steps.get(end.wrapping_sub(1)) == Some(&Step::Rest);
        let segments = if open {
            path.segments.get(variable.first..)
        } else {
            path.segments.get(variable.first..end)
        };
        match segments.unwrap_or_default() {
            [one] if !open && variable.steps == 1 => decode(one, false),
            several => {
                let decoded: Result<Vec<_>, _> = several
                    .iter()
                    .map(|segment| decode(segment, true))
                    .collect();
                Ok(decoded?.join("/"))
            }
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = 0;
        while at < self.steps.len() {
            f.write_str("/")?;
            match self.variables.iter().find(|variable| variable.first == at) {
                Some(variable) => {
                    let covered = &self.steps[at..at + variable.steps];
                    write!(f, "{{{}", variable.field.join("."))?;
                    if covered != [Step::One] {
                        let parts: Vec<_> = covered.iter().map(Step::to_string).collect();
                        write!(f, "={}", parts.join("/"))?;
                    }
                    f.write_str("}")?;
                    at += variable.steps;
                }
                None => {
                    write!(f, "{}", self.steps[at])?;
                    at += 1;
                }
            }
        }
        match &self.verb {
            Some(verb) => write!(f, ":{verb}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Literal(text) => f.write_str(text),
            Step::One => f.write_str("*"),
            Step::Rest => f.write_str("**"),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    steps: Vec<Step>,
    variables: Vec<Variable>,
}

impl Parser<'_> {
    fn template(mut self) -> Result<Template, String> {
        if !self.take("/") {
            return Err("does not begin with '/'".to_owned());
        }
        loop {
            if self.take("{") {
                self.variable()?;
            } else {
                self.step()?;
            }
            if !self.take("/") {
                break;
            }
        }
        let verb = if self.take(":") {
            Some(self.literal()?)
        } else {
            None
        };
        if !self.rest.is_empty() {
            return Err(format!("cannot read on at {:?}", self.rest));
        }
        let last = self.steps.len() - 1;
        if self.steps.iter().take(last).any(|step| *step == Step::Rest) {
            return Err("'**' is not at the end".to_owned());
        }
        Ok(Template {
            steps: self.steps,
            variables: self.variables,
            verb,
        })
    }

    fn variable(&mut self) -> Result<(), String> {
        let mut field = vec![self.name()?];
        while self.take(".") {
            field.push(self.name()?);
        }
        if self.variables.iter().any(|other| other.field == field) {
            return Err(format!("binds {:?} twice", field.join(".")));
        }
        let first = self.steps.len();
        if self.take("=") {
            self.step()?;
            while self.take("/") {
                self.step()?;
            }
        } else {
            self.steps.push(Step::One);
        }
        if !self.take("}") {
            return Err(format!(
                "the variable {:?} is not closed by '}}'",
                field.join(".")
            ));
        }
        let steps = self.steps.len() - first;
        self.variables.push(Variable {
            field,
            first,
            steps,
        });
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        let step = if self.take("**") {
            Step::Rest
        } else if self.take("*") {
            Step::One
        } else if self.rest.starts_with('{') {
            return Err("a variable holds another variable".to_owned());
        } else {
            Step::Literal(self.literal()?)
        };
        self.steps.push(step);
        Ok(())
    }

    /// Unreserved characters only, so that a literal never needs escaping in a request.
    fn literal(&mut self) -> Result<String, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
        self.taken_while(allowed)
            .ok_or_else(|| self.missing("a literal"))
    }

    fn name(&mut self) -> Result<String, String> {
        let name = self.taken_while(|c| c.is_ascii_alphanumeric() || c == '_');
        let name = name.ok_or_else(|| self.missing("a field name"))?;
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("the field name {name:?} begins with a digit"));
        }
        Ok(name)
    }

    fn taken_while(&mut self, allowed: impl Fn(char) -> bool) -> Option<String> {
        let end = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!taken.is_empty()).then(|| taken.to_owned())
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn missing(&self, what: &str) -> String {
        if self.rest.is_empty() {
            format!("lacks {what} at the end")
        } else {
            format!("lacks {what} at {:?}", self.rest)
        }
    }
}

/// A request's path, cut but not yet decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// The raw segments, without the verb.
    pub segments: Vec<&'a str>,
    /// What stands after the last bare colon of the last segment.
    pub verb: Option<&'a str>,
}

/// A path whose escapes do not make text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path holds an escape that is not '%' and two hex digits, or that is not UTF-8")]
pub struct PathError;

impl<'a> Path<'a> {
    /// Cuts a raw path; a path that does not begin with a slash has no segments.
    pub fn cut(path: &'a str) -> Path<'a> {
        let mut segments: Vec<_> = path
            .strip_prefix('/')
            .map(|rest| rest.split('/').collect())
            .unwrap_or_default();
        let mut verb = None;
        if let Some(last) = segments.last_mut()
            && let Some((value, after)) = last.rsplit_once(':')
        {
            (*last, verb) = (value, Some(after));
        }
        Path { segments, verb }
    }
}

/// Decodes percent escapes; with `keep_slash`, `%2F` stays as it is.
pub fn decode(segment: &str, keep_slash: bool) -> Result<String, PathError> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (&[high, low], after) = rest.split_first_chunk().ok_or(PathError)?;
        rest = after;
        match hex(high)? << 4 | hex(low)? {
            b'/' if keep_slash => bytes.extend([b'%', high, low]),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| PathError)
}

fn hex(digit: u8) -> Result<u8, PathError> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
        .ok_or(PathError)
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
