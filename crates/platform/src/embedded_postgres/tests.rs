//! Starts real servers, and kills the programs that started them.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, PgConnection};

use super::*;
use crate::testing::eventually;

/// Tells the test binary, started again, to be the program that is killed.
const VICTIM: &str = "JITNEY_TEST_VICTIM_DIR";

fn quick() -> EmbeddedOptions {
    EmbeddedOptions {
        fsync: false,
        ..EmbeddedOptions::default()
    }
}

async fn count_rows(postgres: &EmbeddedPostgres) -> i64 {
    let mut connection = PgConnection::connect_with(&postgres.options())
        .await
        .unwrap();
    let sql = "CREATE TABLE IF NOT EXISTS started (at timestamptz DEFAULT now());
               INSERT INTO started DEFAULT VALUES";
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM started")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

fn is_running(pid: u32) -> bool {
    kill(Pid::from_raw(pid.try_into().unwrap()), None).is_ok()
}

#[tokio::test]
async fn what_was_stored_is_there_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let postgres = EmbeddedPostgres::start(dir.path(), EmbeddedOptions::default())
        .await
        .unwrap();
    assert_eq!(count_rows(&postgres).await, 1);
    postgres.stop().await.unwrap();

    let begin = Instant::now();
    let postgres = EmbeddedPostgres::start(dir.path(), EmbeddedOptions::default())
        .await
        .unwrap();
    let warm = begin.elapsed();
    println!("warm start: {warm:?}");
    assert!(warm < Duration::from_secs(5), "a warm start took {warm:?}");
    assert_eq!(count_rows(&postgres).await, 2);

    let problem = EmbeddedPostgres::start(dir.path(), quick())
        .await
        .unwrap_err()
        .to_string();
    assert!(problem.contains("another jitney"), "{problem}");

    // Dropping it ends it, too.
    let pid = postgres.pid().unwrap();
    drop(postgres);
    eventually("the server's end", async || !is_running(pid)).await;
}

#[tokio::test]
async fn it_listens_on_its_own_socket_only() {
    let dir = tempfile::tempdir().unwrap();
    let postgres = EmbeddedPostgres::start(dir.path(), quick()).await.unwrap();
    let mut connection = PgConnection::connect_with(&postgres.options())
        .await
        .unwrap();
    let setting = |name: &'static str| sqlx::query_scalar("SELECT current_setting($1)").bind(name);
    let listen: String = setting("listen_addresses")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(listen, "");
    let encoding: String = setting("server_encoding")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(encoding, "UTF8");
    let socket = postgres.options().get_socket().unwrap().clone();
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        socket.metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
    postgres.stop().await.unwrap();
}

/// Only root lends the server another user, who may not get to the data folder.
#[tokio::test]
async fn a_folder_out_of_reach_is_replaced() {
    use std::os::unix::fs::PermissionsExt;
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let postgres = EmbeddedPostgres::start(dir.path(), quick()).await.unwrap();
    let cluster = postgres.server.cluster().to_owned();
    assert!(cluster.starts_with("/var/lib/jitney"), "{cluster:?}");
    assert_eq!(count_rows(&postgres).await, 1);
    postgres.stop().await.unwrap();
    let postgres = EmbeddedPostgres::start(dir.path(), quick()).await.unwrap();
    assert_eq!(
        count_rows(&postgres).await,
        2,
        "the same folder stands in again"
    );
    postgres.stop().await.unwrap();
    std::fs::remove_dir_all(cluster.ancestors().nth(2).unwrap()).unwrap();
    // Others may be in there.
    let _ = std::fs::remove_dir("/var/lib/jitney");
}

#[tokio::test]
async fn data_of_another_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let postgres = EmbeddedPostgres::start(dir.path(), quick()).await.unwrap();
    let cluster = postgres.server.cluster().to_owned();
    postgres.stop().await.unwrap();
    std::fs::write(cluster.join("PG_VERSION"), "12\n").unwrap();
    let problem = EmbeddedPostgres::start(dir.path(), quick())
        .await
        .unwrap_err()
        .to_string();
    assert!(problem.contains("made by PostgreSQL 12"), "{problem}");
    assert!(problem.contains("install postgresql-12"), "{problem}");
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let postgres = EmbeddedPostgres::start(dir.path(), quick()).await.unwrap();
    let cluster = postgres.server.cluster().to_owned();
    postgres.stop().await.unwrap();
    std::fs::write(cluster.join("postgresql.conf"), "wrong_setting = 1\n").unwrap();
    let begin = Instant::now();
    let problem = EmbeddedPostgres::start(dir.path(), quick())
        .await
        .unwrap_err()
        .to_string();
    assert!(problem.contains("wrong_setting"), "{problem}");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn missing_programs_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        binaries: Some("/nonexistent".into()),
        ..quick()
    };
    let problem = EmbeddedPostgres::start(dir.path(), options)
        .await
        .unwrap_err();
    assert!(
        format!("{problem:#}").contains("/nonexistent/postgres is not there"),
        "{problem:#}"
    );
}

#[tokio::test]
async fn an_ephemeral_one_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("gone");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let options = EmbeddedOptions::for_tests();
    let postgres = EmbeddedPostgres::start(&data_dir, options).await.unwrap();
    assert!(data_dir.join("postgres").exists());
    postgres.stop().await.unwrap();
    assert!(!data_dir.exists());
}

/// Not a test by itself: the program that is killed.
#[tokio::test]
#[ignore = "started by the tests that kill it"]
async fn victim() {
    let Some(dir) = std::env::var_os(VICTIM) else {
        return;
    };
    let postgres = EmbeddedPostgres::start(Path::new(&dir), quick())
        .await
        .unwrap();
    let rows = count_rows(&postgres).await;
    println!("\nready {} {rows}", postgres.pid().unwrap());
    std::future::pending::<()>().await;
}

/// Starts a victim and returns it with its server's pid and how often the data was used.
fn start_victim(dir: &Path) -> (Child, u32, i64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "embedded_postgres::tests::victim",
            "--ignored",
            "--nocapture",
        ])
        .env(VICTIM, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        let words: Vec<_> = line.split(' ').collect();
        if let ["ready", pid, rows] = words[..] {
            return (child, pid.parse().unwrap(), rows.parse().unwrap());
        }
    }
    let _ = child.kill();
    panic!("the victim did not start: {:?}", child.wait());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_its_program_is_killed_and_the_next_start_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let (mut victim, server, rows) = start_victim(dir.path());
    assert_eq!(rows, 1);
    victim.kill().unwrap(); // SIGKILL
    victim.wait().unwrap();

    // At once: the old server is still on its way out.
    let begin = Instant::now();
    let postgres = EmbeddedPostgres::start(dir.path(), quick()).await.unwrap();
    println!("start after a kill: {:?}", begin.elapsed());
    assert!(!is_running(server));
    assert_eq!(count_rows(&postgres).await, 2);
    let log = std::fs::read_to_string(postgres.log()).unwrap();
    assert!(!log.contains("not properly shut down"), "{log}");
    postgres.stop().await.unwrap();

    // Nobody starts anew: it ends all the same.
    let (mut victim, server, _) = start_victim(dir.path());
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("the orphan's end", async || !is_running(server)).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn it_ends_when_its_guardian_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let postgres = EmbeddedPostgres::start(dir.path(), quick()).await.unwrap();
    let server = postgres.pid().unwrap();
    let guardian = postgres.server.guardian_pid();
    kill(guardian, Signal::SIGKILL).unwrap();
    eventually("the server's end", async || !is_running(server)).await;
    // And data survives the server being killed outright.
    drop(postgres);
    let postgres = EmbeddedPostgres::start(dir.path(), quick()).await.unwrap();
    kill(
        Pid::from_raw(postgres.pid().unwrap().try_into().unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    drop(postgres);
    let postgres = EmbeddedPostgres::start(dir.path(), quick()).await.unwrap();
    assert_eq!(count_rows(&postgres).await, 1);
    postgres.stop().await.unwrap();
}
