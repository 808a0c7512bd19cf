//! The sessions of the development login, kept in a file of JSON lines: what was begun, renewed and
//! closed, in order. A line is on the disk before its answer leaves. At each start the file is written
//! anew with what still counts.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use jitney_platform::auth::Role;
use jitney_proto::Code;
use serde::{Deserialize, Serialize};
use tonic::Status;

/// Sessions at once, at most.
const SESSIONS_MAX: usize = 100_000;

/// A session that may be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub role: Role,
    pub id: String,
    /// Which refresh token is the next one to be used.
    pub turn: u32,
    /// When it became so.
    pub turned: i64,
    /// When the session is over for want of use.
    pub ends: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Open(String, Session),
    Closed(String, i64),
}

pub(super) struct Sessions {
    open: HashMap<String, Session>,
    closed: HashMap<String, i64>,
    file: Option<File>,
}

impl Sessions {
    /// Reads the file, unless another process has it. Sessions that were closed are remembered for as
    /// long as their last access token may be good.
    pub(super) fn open(file: Option<&Path>, now: i64, access_s: i64) -> anyhow::Result<Sessions> {
        let mut sessions = Sessions {
            open: HashMap::new(),
            closed: HashMap::new(),
            file: None,
        };
        let Some(path) = file else {
            return Ok(sessions);
        };
        let mut file = open(path)?;
        if file.try_lock().is_err() {
            let file = path.display();
            tracing::warn!(%file, "another gateway has the sessions' file: sessions end with this one");
            return Ok(sessions);
        }
        let mut text = String::new();
        file.read_to_string(&mut text)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        // What stands after the last line's end was being written when the power went: nobody was told.
        for (number, line) in (1..).zip(whole.lines()) {
            let line = serde_json::from_str(line)
                .with_context(|| format!("{}:{number} is no session", path.display()))?;
            sessions.take(line);
        }
        sessions.forget(now);
        sessions
            .closed
            .retain(|_, at| now < at.saturating_add(access_s));
        sessions.file = Some(sessions.rewrite(path, file)?);
        Ok(sessions)
    }

    /// Those that were closed, and when.
    pub(super) fn closed(&self) -> impl Iterator<Item = (&str, i64)> {
        self.closed.iter().map(|(id, at)| (id.as_str(), *at))
    }

    pub(super) fn get(&self, id: &str) -> Option<&Session> {
        self.open.get(id)
    }

    pub(super) fn begin(&mut self, id: &str, session: Session, now: i64) -> Result<(), Status> {
        if self.open.len() >= SESSIONS_MAX {
            self.forget(now);
        }
        if self.open.len() >= SESSIONS_MAX {
            return Err(Code::Overloaded.status("too many sessions are open"));
        }
        self.turn(id, session)
    }

    pub(super) fn turn(&mut self, id: &str, session: Session) -> Result<(), Status> {
        self.write(Line::Open(id.to_owned(), session))
    }

    pub(super) fn close(&mut self, id: &str, now: i64) -> Result<(), Status> {
        self.write(Line::Closed(id.to_owned(), now))
    }

    fn forget(&mut self, now: i64) {
        self.open.retain(|_, session| now < session.ends);
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Open(id, session) => {
                self.open.insert(id, session);
            }
            Line::Closed(id, at) => {
                self.open.remove(&id);
                self.closed.insert(id, at);
            }
        }
    }

    /// On the disk first, then in memory.
    fn write(&mut self, line: Line) -> Result<(), Status> {
        if let Some(file) = &mut self.file {
            let written = text(&line).and_then(|text| {
                file.write_all(text.as_bytes())?;
                Ok(file.sync_data()?)
            });
            written.map_err(|error| {
                tracing::error!(%error, "sessions cannot be written");
                Code::Unavailable.status("the session cannot be kept; try again later")
            })?;
        }
        self.take(line);
        Ok(())
    }

    /// Puts a file with what still counts in the place of the old one.
    fn rewrite(&self, path: &Path, _locked: File) -> anyhow::Result<File> {
        let draft = PathBuf::from(format!("{}.draft", path.display()));
        let _ = std::fs::remove_file(&draft);
        let mut file = open(&draft)?;
        file.try_lock()
            .with_context(|| format!("cannot lock {}", draft.display()))?;
        let opened = self.open.iter();
        let closed = self.closed.iter();
        let lines = opened
            .map(|(id, session)| Line::Open(id.clone(), session.clone()))
            .chain(closed.map(|(id, at)| Line::Closed(id.clone(), *at)));
        let mut all = String::new();
        for line in lines {
            all.push_str(&text(&line)?);
        }
        file.write_all(all.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(file)
    }
}

fn text(line: &Line) -> anyhow::Result<String> {
    Ok(serde_json::to_string(line)? + "\n")
}

fn open(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    options
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}
