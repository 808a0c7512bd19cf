//! The shell lines of the documentation: where they stand, and how a shell would read them.

use std::{fs, path::Path};

/// A command line of the documentation.
#[derive(Debug)]
pub struct Line {
    /// The file and the line it begins on.
    pub at: String,
    /// As it is written, over several lines where it is.
    pub text: String,
    /// The lines before it in its block that only export a variable.
    pub exports: Vec<String>,
}

impl Line {
    /// Its words without the variables that are set for it alone.
    pub fn words(&self) -> Vec<String> {
        let words = words(&self.text).unwrap_or_default();
        let is_setting = |word: &String| {
            let name = word.split_once('=').map(|(name, _)| name);
            name.is_some_and(|name| {
                name.chars()
                    .all(|c| c.is_ascii_uppercase() || "_".contains(c))
            })
        };
        words.into_iter().skip_while(is_setting).collect()
    }

    /// Its words from the program's name on, without the folder the program is in.
    pub fn jitney(&self) -> Option<Vec<String>> {
        let mut words = self.words();
        let name = words.first_mut()?;
        let is_ours = name == "jitney" || name == "target/debug/jitney";
        "jitney".clone_into(name);
        is_ours.then_some(words)
    }
}

/// The words of a command line; none when a quote or the line is still open.
pub fn words(text: &str) -> Option<Vec<String>> {
    let (mut found, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        match (quote, next) {
            (None, '#') if word.is_none() => while chars.next().is_some_and(|c| c != '\n') {},
            (None, space) if space.is_whitespace() => found.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(next);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => match chars.next()? {
                '\n' => {}
                escaped => word.get_or_insert_default().push(escaped),
            },
            (Some(open), close) if open == close => quote = None,
            (_, plain) => word.get_or_insert_default().push(plain),
        }
    }
    found.extend(word);
    quote.is_none().then_some(found)
}

/// The command lines of a page: those of its `sh` blocks, and the calls with curl in its sentences.
pub fn lines(page: &str, text: &str) -> Vec<Line> {
    let (mut found, mut fence) = (Vec::new(), None::<&str>);
    let (mut open, mut begun, mut exports) = (String::new(), 0, Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            assert!(open.is_empty(), "{page}:{begun}: a command is not closed");
            let shells = ["bash", "console", "shell", "zsh"];
            assert!(
                !shells.contains(&language.trim()),
                "{page}:{number}: commands stand in blocks of `sh`"
            );
            fence = fence.is_none().then_some(language.trim());
            exports.clear();
        } else if fence == Some("sh") {
            if open.is_empty() {
                begun = number;
            }
            open.extend([line, "\n"]);
            // A line that ends with a backslash goes on.
            let Some(words) = words(open.trim_end_matches('\n')) else {
                continue;
            };
            let text = std::mem::take(&mut open).trim_end().to_owned();
            if words.is_empty() {
                continue;
            }
            found.push(Line {
                at: format!("{page}:{begun}"),
                text: text.clone(),
                exports: exports.clone(),
            });
            if words[0] == "export" {
                exports.push(text);
            }
        } else if fence.is_none() {
            let inline = line.split('`').skip(1).step_by(2);
            let calls = inline.filter(|code| code.starts_with("curl "));
            found.extend(calls.map(|call| Line {
                at: format!("{page}:{number}"),
                text: call.to_owned(),
                exports: Vec::new(),
            }));
        }
    }
    found
}

/// Every command line of the README, of the guide for contributors and of `docs`.
pub fn documented() -> Vec<Line> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec!["CONTRIBUTING.md".to_owned(), "README.md".to_owned()];
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            pages.push(format!("docs/{name}"));
        }
    }
    pages.sort();
    let read = |page: &String| lines(page, &fs::read_to_string(root.join(page)).unwrap());
    pages.iter().flat_map(read).collect()
}

#[test]
fn lines_are_read_as_a_shell_does() {
    let text = "Ask `curl -s $API/`.\n\n```sh\n# it's here\nexport A=1\n\nB=2 jitney token \\\n  --role rider \
                # one's own\ncurl -d '{\"a\":\n 1}'\n```\n```text\ncurl x\n```\n";
    let lines = lines("x.md", text);
    let seen: Vec<_> = lines
        .iter()
        .map(|line| (line.at.as_str(), line.words()))
        .collect();
    let words = |text: &str| text.split('·').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        seen,
        [
            ("x.md:1", words("curl·-s·$API/")),
            ("x.md:5", words("export·A=1")),
            ("x.md:7", words("jitney·token·--role·rider")),
            ("x.md:9", words("curl·-d·{\"a\":\n 1}")),
        ]
    );
    assert_eq!(lines[2].exports, ["export A=1"]);
}
