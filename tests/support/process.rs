//! The real program in a process of its own, so that it can be killed.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::Phone;

/// What the program has logged since its last start, in its data folder.
const LOG: &str = "test.log";

/// `jitney serve …` on a data folder.
pub struct Process {
    child: Child,
    data_dir: PathBuf,
    /// The gateway's address.
    pub gateway: SocketAddr,
    /// Where it tells what is measured, if it was asked to.
    pub metrics: Option<SocketAddr>,
}

/// The program, built beside this test binary.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("jitney");
    assert!(
        program.exists(),
        "{} is not built: run `cargo build` first",
        program.display()
    );
    program
}

impl Process {
    /// A command on the program with a clean environment and this data folder.
    pub fn command(data_dir: &Path) -> Command {
        let mut command = Command::new(program());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("JITNEY_")) {
            command.env_remove(name);
        }
        command
            .env_remove("DATABASE_URL")
            .env("JITNEY_DATA_DIR", data_dir)
            .env("JITNEY_LISTEN__METRICS", "")
            .current_dir(data_dir)
            .stdin(Stdio::null());
        command
    }

    /// Starts `serve all` on free ports; `gateway` fixes the gateway's, for a second start.
    pub fn serve_all(data_dir: &Path, gateway: Option<SocketAddr>) -> Self {
        Self::serve_all_with(data_dir, gateway, &[])
    }

    /// As [`Process::serve_all`] with settings of the test's own as variables.
    pub fn serve_all_with(
        data_dir: &Path,
        gateway: Option<SocketAddr>,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut command = Self::command(data_dir);
        command
            .args(["serve", "all"])
            .envs(settings.iter().copied())
            .env(
                "JITNEY_LISTEN__GATEWAY",
                gateway.map_or("127.0.0.1:0".into(), |at| at.to_string()),
            )
            .env("JITNEY_LISTEN__MATCHING", "127.0.0.1:0")
            .env("JITNEY_LISTEN__TRIPS", "127.0.0.1:0")
            .env("JITNEY_LISTEN__BILLING", "127.0.0.1:0");
        let (child, gateway) = start(command, "gateway", data_dir);
        Self {
            child,
            metrics: told_before(data_dir, "metrics"),
            data_dir: data_dir.to_owned(),
            gateway,
        }
    }

    /// Where its log is, a JSON object per line.
    pub fn log(&self) -> PathBuf {
        self.data_dir.join(LOG)
    }

    /// SIGKILL: nothing gets to finish.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit status once it has drained.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        self.child.wait().unwrap()
    }

    /// What it tells of what is measured.
    pub async fn scrape(&self) -> String {
        let at = self.metrics.expect("it was started with listen.metrics");
        let page = reqwest::get(format!("http://{at}/metrics")).await.unwrap();
        assert_eq!(page.status(), 200);
        page.text().await.unwrap()
    }

    /// A phone with a token that `jitney token` made.
    pub fn phone(&self, role: &str, id: &str) -> Phone {
        let output = Self::command(&self.data_dir)
            .args(["token", "--role", role, "--id", id])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Phone::new(&format!("http://{}", self.gateway), id, token)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `jitney serve billing` on somebody else's database.
pub struct BillingProcess {
    child: Child,
    /// Where it takes calls.
    pub address: SocketAddr,
}

impl BillingProcess {
    /// Starts it on a free port, or on that one.
    pub fn serve(data_dir: &Path, database_url: &str, address: Option<SocketAddr>) -> Self {
        let mut command = Process::command(data_dir);
        let address = address.map_or("127.0.0.1:0".into(), |at| at.to_string());
        command
            .args(["serve", "billing"])
            .env("DATABASE_URL", database_url)
            .env("JITNEY_LISTEN__BILLING", address);
        let (child, address) = start(command, "billing", data_dir);
        Self { child, address }
    }

    /// SIGKILL: nothing gets to finish.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for BillingProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a service is that the log names before the one that was waited for.
fn told_before(data_dir: &Path, service: &str) -> Option<SocketAddr> {
    let log = std::fs::read_to_string(data_dir.join(LOG)).ok()?;
    let records = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut told = records.filter(|record: &Value| record["service"] == service);
    told.next()?["address"].as_str()?.parse().ok()
}

/// Starts the program, keeps its log in the data folder, and waits until it says where a service is.
fn start(mut command: Command, service: &'static str, data_dir: &Path) -> (Child, SocketAddr) {
    let mut child = command
        .env("JITNEY_TELEMETRY__LOG_FORMAT", "json")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (found, address) = mpsc::channel();
    let log = BufReader::new(child.stderr.take().unwrap());
    let mut kept = File::create(data_dir.join(LOG)).unwrap();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let text = line.as_str();
            writeln!(kept, "{text}").unwrap();
            let record: Value = serde_json::from_str(text).unwrap_or_default();
            if record["service"] == service {
                let address = record["address"].as_str().unwrap_or_default();
                let _ = found.send(address.parse().unwrap());
            } else if record["level"] == "ERROR" || record["level"] == "WARN" || record.is_null() {
                eprintln!("{text}");
            }
        }
    });
    let Ok(address) = address.recv_timeout(Duration::from_secs(60)) else {
        let _ = child.kill();
        panic!("the program did not say where its {service} is");
    };
    (child, address)
}
