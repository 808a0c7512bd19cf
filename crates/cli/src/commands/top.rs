//! `jitney top`: a running city at a glance. Reads the page of metrics of one process or of several, and asks
//! the gateway, as an operator of this data folder, for the last rounds.

mod page;
mod view;

use std::{
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use jitney_platform::{
    auth::{Role, TokenKeys},
    clock::Clock,
};
use page::{Between, Page};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{self, Event, KeyCode, KeyModifiers},
};
use serde_json::Value;

use crate::Config;

/// Rounds that are shown.
const ROUNDS_SHOWN: u32 = 5;
/// How long one question may take.
const ASK_MAX: Duration = Duration::from_secs(5);
/// How long the operator's token lasts; it is made anew for every run.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
/// The size of the picture that `--once` prints, unless the terminal's is known.
const ONCE_COLUMNS: u16 = 110;
/// Enough for every table, with ten services.
const ONCE_ROWS: u16 = 40;

/// Arguments of `jitney top`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  jitney top\n  jitney top --once\n  \
    jitney top --metrics http://10.0.0.5:9464,http://10.0.0.6:9464 --url https://city.example --interval 5s")]
pub struct Args {
    /// Pages of metrics, one for each process; without them, listen.metrics of the configuration.
    #[arg(long, value_delimiter = ',', value_name = "URL")]
    metrics: Vec<String>,
    /// Where the gateway is; without it, the address of the configuration.
    #[arg(long)]
    url: Option<String>,
    /// How often to look; rates are of what happened in between.
    #[arg(long, default_value = "1s", value_parser = crate::commands::duration)]
    interval: Duration,
    /// Print one picture as text and end, for scripts.
    #[arg(long)]
    once: bool,
}

/// Shows the city until `q`, Escape or Ctrl-C.
pub fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    ensure!(!args.interval.is_zero(), "--interval must be above zero");
    let mut source = Source::new(args, config)?;
    let runtime = super::runtime()?;
    let before = runtime.block_on(source.look())?;
    if args.once {
        std::thread::sleep(args.interval);
        let now = runtime.block_on(source.look())?;
        print!("{}", picture(&view::City::of(&source, before.until(now)))?);
        return Ok(ExitCode::SUCCESS);
    }
    if !std::io::stdout().is_terminal() {
        bail!("this is not a terminal; --once prints one picture");
    }
    let mut terminal = ratatui::init();
    let shown = show(args, &runtime, &mut source, before, &mut terminal);
    ratatui::restore();
    shown.map(|()| ExitCode::SUCCESS)
}

fn show(
    args: &Args,
    runtime: &tokio::runtime::Runtime,
    source: &mut Source,
    mut before: Look,
    terminal: &mut ratatui::DefaultTerminal,
) -> anyhow::Result<()> {
    while !quits_within(args.interval)? {
        // A city that is being restarted is waited for.
        let (between, problem) = match runtime.block_on(source.look()) {
            Ok(now) => (std::mem::replace(&mut before, now.clone()).until(now), None),
            Err(error) => (
                before.clone().until(before.clone()),
                Some(format!("{error:#}")),
            ),
        };
        let mut city = view::City::of(source, between);
        city.problem = problem;
        terminal.draw(|frame| city.draw(frame))?;
    }
    Ok(())
}

/// Waits for a key that ends it.
fn quits_within(interval: Duration) -> anyhow::Result<bool> {
    let until = Instant::now() + interval;
    while event::poll(until.saturating_duration_since(Instant::now()))? {
        if let Event::Key(key) = event::read()? {
            let is_interrupt =
                key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What would be on a terminal, as text.
fn picture(city: &view::City) -> anyhow::Result<String> {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(ONCE_COLUMNS, ONCE_ROWS));
    let Ok(_) = terminal.draw(|frame| city.draw(frame));
    let cells = &terminal.backend().buffer().content;
    let mut text = String::new();
    for row in cells.chunks(usize::from(ONCE_COLUMNS)) {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// One look at everything.
#[derive(Clone)]
struct Look {
    page: Page,
    at: Instant,
}

impl Look {
    fn until(self, now: Look) -> Between {
        Between {
            seconds: (now.at - self.at).as_secs_f64(),
            before: self.page,
            now: now.page,
        }
    }
}

/// Where it all comes from.
struct Source {
    http: reqwest::Client,
    pages: Vec<String>,
    gateway: String,
    token: String,
    /// The last rounds, newest first, or why nobody knows.
    rounds: Result<Vec<Value>, String>,
}

impl Source {
    fn new(args: &Args, config: &Config) -> anyhow::Result<Self> {
        let pages = match &args.metrics[..] {
            [] if config.is_scraped() => vec![format!("http://{}", config.listen.metrics)],
            [] => bail!("listen.metrics is off; name a page with --metrics"),
            given => given.to_vec(),
        };
        let keys = TokenKeys::load_or_create(&config.key_folder())?;
        let gateway = args.url.clone();
        Ok(Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(ASK_MAX)
                .build()?,
            pages,
            gateway: gateway.unwrap_or_else(|| format!("http://{}", config.listen.gateway)),
            token: keys.mint(Role::Operator, "top", TOKEN_TTL, Clock::system().now())?,
            rounds: Ok(Vec::new()),
        })
    }

    async fn look(&mut self) -> anyhow::Result<Look> {
        let mut all = Page::default();
        for url in &self.pages {
            let url = format!(
                "{}/metrics",
                url.trim_end_matches("/metrics").trim_end_matches('/')
            );
            let asked = async {
                let answer = self.http.get(&url).send().await?.error_for_status()?;
                answer.text().await
            };
            let text = asked
                .await
                .with_context(|| format!("no metrics at {url}; see listen.metrics"))?;
            all.add(Page::parse(&text));
        }
        self.rounds = self
            .ask_rounds()
            .await
            .map_err(|error| format!("{error:#}"));
        Ok(Look {
            page: all,
            at: Instant::now(),
        })
    }

    async fn ask_rounds(&self) -> anyhow::Result<Vec<Value>> {
        let url = format!("{}/v1/rounds?limit={ROUNDS_SHOWN}", self.gateway);
        let answer = self.http.get(&url).bearer_auth(&self.token).send();
        let answer = answer.await.context("no gateway answers")?;
        ensure!(
            answer.status().is_success(),
            "the gateway refused: {}",
            answer.status()
        );
        let mut answer: Value = answer.json().await.context("the answer is not JSON")?;
        Ok(match answer["rounds"].take() {
            Value::Array(rounds) => rounds,
            _ => Vec::new(),
        })
    }
}
