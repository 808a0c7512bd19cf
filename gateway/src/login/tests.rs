//! Codes, sessions, and those who try what is not theirs.

use chrono::{DateTime, Utc};
use jitney_platform::clock::ManualClock;

use super::*;

struct Desk {
    login: Login,
    codes: Arc<Mutex<Vec<(String, String)>>>,
    keys: Arc<TokenKeys>,
    clock: Clock,
    hand: ManualClock,
}

const PHONE: &str = "+377 93 15 00 00";

fn desk(config: Config, file: Option<&Path>) -> Desk {
    let keys = Arc::new(TokenKeys::generate());
    let (clock, hand) = Clock::manual(DateTime::<Utc>::UNIX_EPOCH);
    let codes = Arc::<Mutex<Vec<(String, String)>>>::default();
    let login = opened(config, &keys, &clock, &codes, file).unwrap();
    Desk {
        login,
        codes,
        keys,
        clock,
        hand,
    }
}

fn opened(
    config: Config,
    keys: &Arc<TokenKeys>,
    clock: &Clock,
    codes: &Arc<Mutex<Vec<(String, String)>>>,
    file: Option<&Path>,
) -> anyhow::Result<Login> {
    let codes = codes.clone();
    let deliver: Deliver = Arc::new(move |id, code| {
        codes.lock().unwrap().push((id.to_owned(), code.to_owned()));
    });
    Login::open(config, keys.clone(), clock.clone(), file, deliver)
}

impl Desk {
    fn start(&self, phone: &str) -> (String, String) {
        let started = self.login.start(phone).unwrap();
        let sent = self.codes.lock().unwrap().last().cloned().unwrap();
        assert_eq!(sent.0, started.login_id);
        sent
    }

    fn log_in(&self, phone: &str) -> Tokens {
        let (id, code) = self.start(phone);
        self.login.finish(&id, &code, Role::Rider).unwrap()
    }

    fn who(&self, tokens: &Tokens) -> Result<String, String> {
        let caller = self.keys.verify(&tokens.access_token, self.clock.now());
        caller
            .map(|caller| caller.id)
            .map_err(|status| status.message().to_owned())
    }
}

fn told<T: fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (Code::of(&status).unwrap(), status.message().to_owned())
}

#[test]
fn a_phone_number_and_its_code_make_a_person() {
    let desk = desk(Config::default(), None);
    let tokens = desk.log_in(PHONE);
    assert_eq!(desk.who(&tokens).unwrap(), tokens.id);
    assert_eq!((tokens.role, tokens.expires_in), (Role::Rider, 600));
    // However it is written, it is the same person; another number is another.
    assert_eq!(desk.log_in("+37793150000").id, tokens.id);
    assert_eq!(desk.log_in("+377-93.15/(00)00").id, tokens.id);
    assert_ne!(desk.log_in("+37793150001").id, tokens.id);
    assert!(!tokens.id.contains("9315"));
    let (id, code) = desk.start(PHONE);
    let driver = desk.login.finish(&id, &code, Role::Driver).unwrap();
    assert_eq!((driver.role, &driver.id), (Role::Driver, &tokens.id));
    desk.hand.advance(Duration::from_secs(600));
    assert_eq!(desk.who(&tokens).unwrap_err(), "the token has expired");
}

#[test]
fn what_is_no_phone_number_gets_no_code() {
    let desk = desk(Config::default(), None);
    let long = format!("+{}", "1".repeat(1_000_000));
    for phone in [
        "",
        "+",
        "93150000",
        "+123456",
        "+1234567890123456",
        "+0377931500",
        "+37793x50000",
        &long,
    ] {
        assert_eq!(
            told(desk.login.start(phone)).0,
            Code::InvalidRequest,
            "{phone:.40}"
        );
    }
    assert!(desk.codes.lock().unwrap().is_empty());
}

#[test]
fn a_code_is_good_once_for_a_while_and_for_few_guesses() {
    let desk = desk(Config::default(), None);
    let (id, code) = desk.start(PHONE);
    desk.login.finish(&id, &code, Role::Rider).unwrap();
    assert_eq!(
        told(desk.login.finish(&id, &code, Role::Rider)).0,
        Code::Unauthenticated
    );

    let (id, code) = desk.start(PHONE);
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for _ in 0..5 {
        assert_eq!(
            told(desk.login.finish(&id, wrong, Role::Rider)).0,
            Code::Unauthenticated
        );
    }
    let late = told(desk.login.finish(&id, &code, Role::Rider));
    assert_eq!(late.0, Code::Unauthenticated, "the guesses are used up");

    let (id, code) = desk.start(PHONE);
    desk.hand.advance(Duration::from_secs(300));
    assert_eq!(
        told(desk.login.finish(&id, &code, Role::Rider)).0,
        Code::Unauthenticated
    );

    // A role that nobody may give themselves costs no guess and opens nothing.
    let (id, code) = desk.start(PHONE);
    for role in [Role::Operator, Role::Service, Role::Guest] {
        assert_eq!(
            told(desk.login.finish(&id, &code, role)).0,
            Code::InvalidRequest
        );
    }
    desk.login.finish(&id, &code, Role::Rider).unwrap();
}

#[test]
fn codes_for_a_number_are_bounded() {
    let desk = desk(Config::default(), None);
    for _ in 0..CODES_PER_HOUR {
        desk.start(PHONE);
    }
    assert_eq!(told(desk.login.start(PHONE)).0, Code::Overloaded);
    desk.start("+37793150001");
    desk.hand.advance(Duration::from_secs(3600));
    desk.start(PHONE);
}

#[test]
fn a_refresh_token_that_comes_back_ends_its_session() {
    let desk = desk(Config::default(), None);
    let (first, other) = (desk.log_in(PHONE), desk.log_in(PHONE));
    let second = desk.login.refresh(&first.refresh_token).unwrap();
    let third = desk.login.refresh(&second.refresh_token).unwrap();
    assert_eq!(desk.who(&third).unwrap(), first.id);
    // Somebody shows an old one: nobody can tell who the thief is.
    let (code, message) = told(desk.login.refresh(&first.refresh_token));
    assert_eq!(code, Code::Unauthenticated);
    assert!(message.contains("used before"), "{message}");
    assert!(
        told(desk.login.refresh(&third.refresh_token))
            .1
            .contains("has ended")
    );
    for tokens in [&first, &second, &third] {
        assert_eq!(
            desk.who(tokens).unwrap_err(),
            "the token's session has ended"
        );
    }
    // Another session of the same person is not touched.
    assert!(desk.who(&other).is_ok());
    desk.login.refresh(&other.refresh_token).unwrap();
}

#[test]
fn made_up_refresh_tokens_end_nothing() {
    let desk = desk(Config::default(), None);
    let tokens = desk.log_in(PHONE);
    let [session, turn, mac] = tokens.refresh_token.split('.').collect::<Vec<_>>()[..] else {
        panic!()
    };
    let old = format!("{session}.0.{mac}");
    let next = format!("{session}.2.{mac}");
    let cut = &tokens.refresh_token[..tokens.refresh_token.len() - 1];
    let signed = format!("{session}.+{turn}.{mac}");
    for bad in [
        "",
        "x",
        "a.b.c",
        &old,
        &next,
        cut,
        &tokens.access_token,
        &signed,
    ] {
        let (code, message) = told(desk.login.refresh(bad));
        assert_eq!(code, Code::Unauthenticated);
        assert!(bad.is_empty() || !message.contains(bad), "{message}");
        assert_eq!(told(desk.login.logout(bad)).0, Code::Unauthenticated);
    }
    assert!(desk.who(&tokens).is_ok());
    desk.login.refresh(&tokens.refresh_token).unwrap();
}

#[test]
fn a_lost_answer_may_be_asked_for_again_where_that_is_allowed() {
    let config = Config {
        reuse_grace: Duration::from_secs(10),
        ..Config::default()
    };
    let desk = desk(config, None);
    let first = desk.log_in(PHONE);
    let second = desk.login.refresh(&first.refresh_token).unwrap();
    desk.hand.advance(Duration::from_secs(9));
    let again = desk.login.refresh(&first.refresh_token).unwrap();
    assert_eq!(again.refresh_token, second.refresh_token);
    desk.hand.advance(Duration::from_secs(1));
    assert!(
        told(desk.login.refresh(&first.refresh_token))
            .1
            .contains("used before")
    );
}

#[test]
fn a_logout_holds_over_a_restart_and_so_does_a_session() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sessions");
    let Desk {
        login,
        codes,
        keys,
        clock,
        hand,
    } = desk(Config::default(), Some(&file));
    let log_in = |login: &Login| {
        login.start(PHONE).unwrap();
        let (id, code) = codes.lock().unwrap().last().cloned().unwrap();
        login.finish(&id, &code, Role::Rider).unwrap()
    };
    let (kept, left) = (log_in(&login), log_in(&login));
    let turned = login.refresh(&kept.refresh_token).unwrap();
    login.logout(&left.refresh_token).unwrap();
    login.logout(&left.refresh_token).unwrap();
    assert!(keys.verify(&left.access_token, clock.now()).is_err());

    // A second gateway beside it goes without the file.
    let beside = opened(Config::default(), &keys, &clock, &codes, Some(&file)).unwrap();
    assert!(beside.refresh(&turned.refresh_token).is_err());
    log_in(&beside);
    drop(login);
    // The power went while a line was being written.
    let mut text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("931500"), "{text}");
    text.push_str("{\"open\":[\"half");
    std::fs::write(&file, text).unwrap();

    // Another process: it knows nothing but the key and the file.
    let seen = Arc::new(TokenKeys::generate());
    assert!(seen.verify(&left.access_token, clock.now()).is_err());
    let login = opened(Config::default(), &keys, &clock, &codes, Some(&file)).unwrap();
    assert!(keys.verify(&left.access_token, clock.now()).is_err());
    assert!(
        told(login.refresh(&left.refresh_token))
            .1
            .contains("has ended")
    );
    let next = login.refresh(&turned.refresh_token).unwrap();
    assert!(
        told(login.refresh(&kept.refresh_token))
            .1
            .contains("used before")
    );
    assert!(
        told(login.refresh(&next.refresh_token))
            .1
            .contains("has ended")
    );
    drop(login);

    hand.advance(Duration::from_secs(601));
    drop(opened(Config::default(), &keys, &clock, &codes, Some(&file)).unwrap());
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "",
        "what is over is forgotten"
    );
    std::fs::write(&file, "nonsense\n").unwrap();
    let broken = opened(Config::default(), &keys, &clock, &codes, Some(&file));
    assert!(broken.unwrap_err().to_string().contains(":1 is no session"));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_session_that_is_not_used_runs_out() {
    let desk = desk(Config::default(), None);
    let tokens = desk.log_in(PHONE);
    desk.hand.advance(Duration::from_secs(30 * 86_400));
    assert!(
        told(desk.login.refresh(&tokens.refresh_token))
            .1
            .contains("has ended")
    );
}
