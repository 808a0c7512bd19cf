//! A login for development: a phone number, a code that is written to the log instead of being sent,
//! and sessions of short access tokens with a refresh token that changes at every use.
//!
//! A city in production has its own login service, whose tokens `auth.issuers` names; this one is not
//! served there. It is whole all the same, so that apps are written against the real thing: codes run
//! out and bear few guesses, a refresh token that comes back after it was used ends its session, and
//! so does a logout, at once and over restarts.
//!
//! Phone numbers are kept nowhere. The id of a person is derived from theirs and from the token key.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use jitney_platform::{
    auth::{Role, TokenKeys},
    clock::Clock,
};
use jitney_proto::Code;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tonic::Status;
use uuid::Uuid;

pub mod routes;
mod sessions;

use sessions::{Session, Sessions};

/// Logins that are waiting for their codes, at most.
const WAITING_MAX: usize = 10_000;
/// Codes for one phone number within an hour.
const CODES_PER_HOUR: usize = 10;
/// The hour of the line before.
const HOUR_S: i64 = 3600;

/// The settings of the login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a code may be used.
    #[serde(with = "humantime_serde")]
    pub code_ttl: Duration,
    /// How often a code may be guessed.
    pub code_tries: u32,
    /// How long an access token is good for.
    #[serde(with = "humantime_serde")]
    pub access_ttl: Duration,
    /// How long a session may go unused.
    #[serde(with = "humantime_serde")]
    pub refresh_ttl: Duration,
    /// How long after its use a refresh token may be used again, for an answer that got lost; the
    /// answer is the same. Longer is kinder to phones and to thieves.
    #[serde(with = "humantime_serde")]
    pub reuse_grace: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            code_ttl: Duration::from_secs(5 * 60),
            code_tries: 5,
            access_ttl: Duration::from_secs(10 * 60),
            refresh_ttl: Duration::from_secs(30 * 86_400),
            reuse_grace: Duration::ZERO,
        }
    }
}

impl Config {
    /// Refuses values nothing could work with; the error names the key.
    pub fn check(&self) -> anyhow::Result<()> {
        for (key, duration) in [
            ("code_ttl", self.code_ttl),
            ("access_ttl", self.access_ttl),
            ("refresh_ttl", self.refresh_ttl),
        ] {
            let second = Duration::from_secs(1);
            let year = Duration::from_secs(366 * 86_400);
            anyhow::ensure!(
                (second..=year).contains(&duration),
                "gateway.login.{key} is not between a second and a year"
            );
        }
        anyhow::ensure!(self.code_tries > 0, "gateway.login.code_tries is zero");
        anyhow::ensure!(
            self.reuse_grace <= Duration::from_secs(60),
            "gateway.login.reuse_grace is above a minute"
        );
        Ok(())
    }
}

/// Takes a code to its person.
pub type Deliver = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Writes the code to the log, under the login's id. The phone number is not written.
pub fn to_log() -> Deliver {
    Arc::new(|login_id, code| tracing::info!(login_id, code, "the code of a login"))
}

/// The login service.
pub struct Login {
    config: Config,
    keys: Arc<TokenKeys>,
    clock: Clock,
    deliver: Deliver,
    secret: [u8; 32],
    waiting: Mutex<Waiting>,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Waiting {
    logins: HashMap<Uuid, Attempt>,
    sent: HashMap<String, Vec<i64>>,
}

struct Attempt {
    person: String,
    code: String,
    tries_left: u32,
    ends: i64,
}

/// A login that waits for its code.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// To be sent with the code.
    pub login_id: String,
    /// Seconds until the code runs out.
    pub expires_in: u64,
}

/// What an app works with after a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// Goes into `Authorization`.
    pub access_token: String,
    /// How: `Bearer`.
    pub token_type: &'static str,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    /// Gets the next pair, once.
    pub refresh_token: String,
    /// Seconds until the refresh token expires.
    pub refresh_expires_in: u64,
    /// What the person is.
    pub role: Role,
    /// Who.
    pub id: String,
}

impl Login {
    /// Opens the sessions in `file`; without one they end with the process.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(
        config: Config,
        keys: Arc<TokenKeys>,
        clock: Clock,
        file: Option<&Path>,
        deliver: Deliver,
    ) -> anyhow::Result<Login> {
        config.check()?;
        let now = clock.now().timestamp();
        let access = seconds(config.access_ttl);
        let sessions = Sessions::open(file, now, access)?;
        for (id, at) in sessions.closed() {
            let until = at.saturating_add(access);
            if let Some(until) = chrono::DateTime::from_timestamp(until, 0) {
                keys.end_session(id, until, clock.now());
            }
        }
        Ok(Login {
            secret: keys.login_secret(),
            config,
            keys,
            clock,
            deliver,
            waiting: Mutex::default(),
            sessions: Mutex::new(sessions),
        })
    }

    /// Makes a code for a phone number.
    pub fn start(&self, phone: &str) -> Result<Started, Status> {
        let phone = number(phone).ok_or_else(|| {
            let told = "is not a phone number like +377 93 15 00 00";
            Code::InvalidRequest.bad_field("phone", told)
        })?;
        let person = self.person(&phone);
        let now = self.clock.now().timestamp();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.forget(now);
        if waiting.logins.len() >= WAITING_MAX {
            let told = "too many logins are waiting for their codes";
            return Err(Code::Overloaded.retry_after(told, self.config.code_ttl));
        }
        let sent = waiting.sent.entry(person.clone()).or_default();
        if let [first, ..] = sent[..]
            && sent.len() >= CODES_PER_HOUR
        {
            let wait = u64::try_from(first + HOUR_S - now).unwrap_or_default();
            let told = "too many codes were made for this number; wait";
            return Err(Code::Overloaded.retry_after(told, Duration::from_secs(wait.max(1))));
        }
        sent.push(now);
        let id = Uuid::new_v4();
        let code = format!("{:06}", rand::random_range(0..1_000_000_u32));
        (self.deliver)(&id.to_string(), &code);
        let attempt = Attempt {
            person,
            code,
            tries_left: self.config.code_tries,
            ends: now.saturating_add(seconds(self.config.code_ttl)),
        };
        waiting.logins.insert(id, attempt);
        Ok(Started {
            login_id: id.to_string(),
            expires_in: self.config.code_ttl.as_secs(),
        })
    }

    /// Opens a session for whoever has the code.
    pub fn finish(&self, login_id: &str, code: &str, role: Role) -> Result<Tokens, Status> {
        if !matches!(role, Role::Rider | Role::Driver) {
            let told = "is not rider or driver: others get their tokens elsewhere";
            return Err(Code::InvalidRequest.bad_field("role", told));
        }
        let person = self.proven(login_id, code)?;
        let now = self.clock.now().timestamp();
        let session = Session {
            role,
            id: person,
            turn: 1,
            turned: now,
            ends: now.saturating_add(seconds(self.config.refresh_ttl)),
        };
        let session_id = Uuid::new_v4().simple().to_string();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.begin(&session_id, session.clone(), now)?;
        self.tokens(&session_id, &session)
    }

    /// The next pair of tokens of a session. A token that was used before ends the session.
    pub fn refresh(&self, token: &str) -> Result<Tokens, Status> {
        let (session_id, turn) = self.genuine(token)?;
        let now = self.clock.now().timestamp();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions
            .get(session_id)
            .filter(|session| now < session.ends);
        let Some(session) = session.cloned() else {
            return Err(Code::Unauthenticated.status("the session has ended; log in again"));
        };
        if turn == session.turn {
            let next = Session {
                turn: turn + 1,
                turned: now,
                ends: now.saturating_add(seconds(self.config.refresh_ttl)),
                ..session
            };
            sessions.turn(session_id, next.clone())?;
            return self.tokens(session_id, &next);
        }
        let is_lost_answer = turn + 1 == session.turn
            && now
                < session
                    .turned
                    .saturating_add(seconds(self.config.reuse_grace));
        if is_lost_answer {
            return self.tokens(session_id, &session);
        }
        self.end(&mut sessions, session_id)?;
        tracing::warn!("a refresh token came back after its use; its session was ended");
        let told = "the refresh token was used before; its session has ended: log in again";
        Err(Code::Unauthenticated.status(told))
    }

    /// Ends a session, whichever of its refresh tokens is shown. Once more is as good as once.
    pub fn logout(&self, token: &str) -> Result<(), Status> {
        let (session_id, _) = self.genuine(token)?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.get(session_id).is_some() {
            self.end(&mut sessions, session_id)?;
        }
        Ok(())
    }

    fn end(&self, sessions: &mut Sessions, session_id: &str) -> Result<(), Status> {
        let now = self.clock.now();
        // Refused here first: should the file fail, the session is at least over until a restart.
        self.keys
            .end_session(session_id, now + self.config.access_ttl, now);
        sessions.close(session_id, now.timestamp())
    }

    /// Whose login it is, if the code is right. A code is good once.
    fn proven(&self, login_id: &str, code: &str) -> Result<String, Status> {
        let wrong = || Code::Unauthenticated.status("the code is wrong, used or too old");
        let id: Uuid = login_id.parse().map_err(|_| wrong())?;
        let now = self.clock.now().timestamp();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.forget(now);
        let attempt = waiting.logins.get_mut(&id).ok_or_else(wrong)?;
        if bool::from(attempt.code.as_bytes().ct_eq(code.as_bytes())) {
            let attempt = waiting.logins.remove(&id).ok_or_else(wrong)?;
            return Ok(attempt.person);
        }
        attempt.tries_left -= 1;
        if attempt.tries_left == 0 {
            waiting.logins.remove(&id);
        }
        Err(wrong())
    }

    fn tokens(&self, session_id: &str, session: &Session) -> Result<Tokens, Status> {
        let Session { role, id, .. } = session;
        let ttl = self.config.access_ttl;
        let access = self
            .keys
            .mint_in(Some(session_id), *role, id, ttl, self.clock.now());
        let access_token = access.map_err(|error| {
            tracing::error!(%error, "no token could be made");
            Code::Internal.status("no token could be made")
        })?;
        let mac = self.mac(session_id, session.turn);
        Ok(Tokens {
            access_token,
            token_type: "Bearer",
            expires_in: ttl.as_secs(),
            refresh_token: format!("{session_id}.{}.{mac}", session.turn),
            refresh_expires_in: self.config.refresh_ttl.as_secs(),
            role: *role,
            id: id.clone(),
        })
    }

    /// The session and the turn of a refresh token that we made. Nothing else can end a session.
    fn genuine<'a>(&self, token: &'a str) -> Result<(&'a str, u32), Status> {
        let read = || {
            let (session_id, rest) = token.split_once('.')?;
            let (turn, mac) = rest.split_once('.')?;
            let text = turn;
            let turn: u32 = text
                .parse()
                .ok()
                .filter(|turn: &u32| turn.to_string() == text)?;
            let ours = self.mac(session_id, turn);
            bool::from(ours.as_bytes().ct_eq(mac.as_bytes())).then_some((session_id, turn))
        };
        read().ok_or_else(|| Code::Unauthenticated.status("the refresh token is not ours"))
    }

    fn mac(&self, session_id: &str, turn: u32) -> String {
        URL_SAFE_NO_PAD.encode(self.keyed(&format!("refresh {session_id} {turn}")))
    }

    /// The id of whoever has a phone number: always the same, and nobody can tell the number from it.
    fn person(&self, phone: &str) -> String {
        let hash = self.keyed(&format!("person {phone}"));
        let hex: String = hash
            .iter()
            .take(10)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("p-{hex}")
    }

    fn keyed(&self, text: &str) -> Vec<u8> {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else {
            unreachable!("any key does");
        };
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Waiting {
    fn forget(&mut self, now: i64) {
        self.logins.retain(|_, attempt| now < attempt.ends);
        self.sent.retain(|_, sent| {
            sent.retain(|at| now < at + HOUR_S);
            !sent.is_empty()
        });
    }
}

/// A phone number as all write it alike: `+` and 7 to 15 digits.
fn number(text: &str) -> Option<String> {
    if text.len() > 40 {
        return None;
    }
    let digits = text.strip_prefix('+')?;
    let plain: String = digits.chars().filter(|c| !" -.()/".contains(*c)).collect();
    let is_number = (7..=15).contains(&plain.len())
        && plain.bytes().all(|byte| byte.is_ascii_digit())
        && !plain.starts_with('0');
    is_number.then(|| format!("+{plain}"))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "login/tests.rs"]
mod tests;
