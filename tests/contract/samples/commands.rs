//! Command lines and REST paths in the documentation exist.

use std::fs;

use clap::{Parser, error::ErrorKind};
use http::Method;
use jitney_cli::Cli;
use jitney_gateway::{
    route::{Found, Routes},
    template::Path,
};

use super::{Code, assert_none, guides, root};

/// The simple commands of a shell text, as words: quotes are taken off, comments and redirections left
/// out, commands inside `$(…)` stand for themselves.
fn commands(shell: &str) -> Vec<Vec<String>> {
    let mut reader = Reader {
        rest: shell.chars().collect(),
        commands: Vec::new(),
    };
    reader.rest.reverse();
    reader.read();
    reader.commands.retain(|words| !words.is_empty());
    reader.commands
}

struct Reader {
    /// What is left, the next character last.
    rest: Vec<char>,
    commands: Vec<Vec<String>>,
}

impl Reader {
    /// Reads to the end, or to the parenthesis that closes a substitution.
    fn read(&mut self) {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut is_redirected = false;
        loop {
            let next = self.rest.pop();
            match next {
                Some('\\') if self.rest.last() == Some(&'\n') => {
                    self.rest.pop();
                }
                Some('\\') => word.get_or_insert_default().extend(self.rest.pop()),
                Some('\'') => word.get_or_insert_default().push_str(&self.until('\'')),
                Some('"') => {
                    let text = self.quoted();
                    word.get_or_insert_default().push_str(&text);
                }
                Some('$') if self.rest.last() == Some(&'(') => {
                    self.rest.pop();
                    self.read();
                    word.get_or_insert_default().push_str("VALUE");
                }
                Some('#') if word.is_none() => drop(self.until('\n')),
                Some(c) if !c.is_whitespace() && !";&|()<>".contains(c) => {
                    word.get_or_insert_default().push(c);
                }
                end => {
                    // The word after a redirection is a file.
                    if let Some(word) = word.take()
                        && !std::mem::take(&mut is_redirected)
                    {
                        words.push(word);
                    }
                    match end {
                        Some('<' | '>') => is_redirected = true,
                        Some(' ' | '\t') => {}
                        _ => self.commands.push(std::mem::take(&mut words)),
                    }
                    if matches!(end, None | Some(')')) {
                        return;
                    }
                }
            }
        }
    }

    fn until(&mut self, end: char) -> String {
        let mut text = String::new();
        while let Some(c) = self.rest.pop().filter(|c| *c != end) {
            text.push(c);
        }
        if end == '\n' {
            self.rest.push(end);
        }
        text
    }

    fn quoted(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.rest.pop().filter(|c| *c != '"') {
            if c == '$' && self.rest.last() == Some(&'(') {
                self.rest.pop();
                self.read();
            } else if c == '\\' {
                text.extend(self.rest.pop());
            } else {
                text.push(c);
            }
        }
        text
    }
}

/// The program and its arguments, without variables set before it and words that only start it.
fn program(words: &[String]) -> &[String] {
    let is_before = |word: &String| {
        ["exec", "export", "sudo", "env", "time"].contains(&word.as_str())
            || word
                .split_once('=')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    let start = words.iter().position(|word| !is_before(word));
    &words[start.unwrap_or(words.len())..]
}

/// Why a command line of `jitney` cannot be, if it cannot. Inside a sentence its options may be left
/// to the imagination.
fn refusal(arguments: &[String], is_sentence: bool) -> Option<String> {
    let line = std::iter::once("jitney").chain(arguments.iter().map(String::as_str));
    let error = Cli::try_parse_from(line).err()?;
    let is_fine = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => is_sentence,
        _ => false,
    };
    (!is_fine).then(|| error.to_string())
}

/// Code that a shell, or systemd, could be given.
fn shell(code: &Code) -> Option<String> {
    match code.language.as_deref() {
        None | Some("sh") => Some(code.text.clone()),
        Some("ini") => Some(code.text.replace("ExecStart=", "")),
        Some(_) => None,
    }
}

#[test]
fn command_lines_are_read_as_a_shell_does() {
    let read = |text: &str| -> Vec<String> {
        let found = commands(text);
        found.iter().map(|words| program(words).join("·")).collect()
    };
    assert_eq!(
        read(
            "A=1 B='x y' jitney serve all # now\ncurl -s \"a $(jitney token) b\" | wc > x \\\n -l"
        ),
        ["jitney·serve·all", "jitney·token", "curl·-s·a  b", "wc·-l"]
    );
    assert!(refusal(&["serve".into(), "all".into()], false).is_none());
    assert!(refusal(&["token".into()], true).is_none());
    assert!(refusal(&["token".into()], false).is_some());
    assert!(refusal(&["sreve".into()], true).is_some());
    assert!(refusal(&["serve".into(), "--fast".into()], true).is_some());
}

#[test]
fn every_command_line_in_the_documentation_is_one() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let (mut walked, mut wrong) = (0, Vec::new());
    for page in guides() {
        for code in page.blocks().iter().chain(&page.inline()) {
            let Some(text) = shell(code) else { continue };
            for words in commands(&text) {
                let [name, arguments @ ..] = program(&words) else {
                    continue;
                };
                let problem = match (name.rsplit('/').next(), arguments.first()) {
                    (Some("jitney"), Some(_)) => refusal(arguments, code.language.is_none()),
                    (Some("make"), Some(target)) => (!makefile.contains(&format!("\n{target}:")))
                        .then(|| format!("the Makefile has no target {target}")),
                    _ => continue,
                };
                walked += 1;
                let shown = words.join(" ");
                wrong
                    .extend(problem.map(|told| format!("{}: {shown}: {told}", page.at(code.line))));
            }
        }
    }
    assert!(walked > 30, "the walk finds the command lines: {walked}");
    assert_none(&wrong);
}

#[test]
fn every_rest_path_in_the_documentation_is_served() {
    let routes = Routes::from_descriptors(&jitney_proto::descriptor_pool()).unwrap();
    let (mut walked, mut wrong) = (0, Vec::new());
    for page in guides() {
        for (number, line) in (1..).zip(page.text.lines()) {
            let is_end = |c: char| c.is_whitespace() || "`\"'()<>|,;".contains(c);
            let words: Vec<_> = line.split(is_end).filter(|word| !word.is_empty()).collect();
            for (place, word) in words.iter().enumerate() {
                let (Some(at), false) = (word.find("/v1/"), word.contains("proto")) else {
                    continue;
                };
                let path = word[at..].split(['?', '#']).next().unwrap_or_default();
                let path = path.trim_end_matches(['.', ':']);
                walked += 1;
                if jitney_gateway::OWN_PATHS.contains(&path) {
                    continue;
                }
                let path = Path::cut(path);
                // The verb counts where it is said.
                let before = place.checked_sub(1).map(|before| words[before]);
                let verb = before.and_then(|word| match word {
                    "GET" | "PUT" | "POST" | "PATCH" | "DELETE" => word.parse::<Method>().ok(),
                    _ => None,
                });
                let is_served = match routes.find(verb.as_ref().unwrap_or(&Method::GET), &path) {
                    Found::Route(_) => true,
                    Found::OtherMethods(_) => verb.is_none(),
                    Found::Nothing => false,
                };
                if !is_served {
                    wrong.push(format!("{}: {word} is not served", page.at(number)));
                }
            }
        }
    }
    assert!(walked > 30, "the walk finds the paths: {walked}");
    assert_none(&wrong);
}
