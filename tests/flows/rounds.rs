//! Why no driver was found, as an operator asks for it on the command line.

use serde_json::{Value, json};

use crate::support::{DriverApp, Process, eventually, places::*, point};

/// What `jitney replay` prints, and whether it succeeded.
fn replay(folder: &std::path::Path, url: &str, args: &[&str]) -> (String, bool) {
    let output = Process::command(folder)
        .args(["replay", "--url", url])
        .args(args)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn jitney_replay_says_why_it_was_them_or_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let program = Process::serve_all(folder.path(), None);
    let url = format!("http://{}", program.gateway);
    let mut near = DriverApp::connect(&program.phone("driver", "near")).await;
    near.go_online(STATION, &["economy"]).await;
    let mut van = DriverApp::connect(&program.phone("driver", "van")).await;
    van.go_online(PORT, &["van"]).await;
    let anna = program.phone("rider", "anna");
    let body = json!({"pickup": point(CASINO), "dropoff": point(PORT), "product": "economy"});
    let trip = anna.post_keyed("/v1/trips", "ride", body).await.ok()["trip"].clone();
    let trip_id = trip["tripId"].as_str().unwrap();
    near.next("offer").await;

    let operator = program.phone("operator", "olga");
    let listed = format!("/v1/rounds?tripId={trip_id}");
    let round: Value = eventually("the round is kept", || async {
        let rounds = operator.get(&listed).await.ok();
        rounds["rounds"]
            .as_array()
            .and_then(|rounds| rounds.last().cloned())
    })
    .await;
    let id = round["roundId"].as_str().unwrap();
    let (text, is_well) = replay(folder.path(), &url, &["--trip", trip_id]);
    assert!(is_well && text.contains(id), "{text}");
    let (text, is_well) = replay(folder.path(), &url, &[id]);
    assert!(is_well, "{text}");
    for part in [
        "near in",
        "chosen",
        "van",
        "product",
        "decided again under immediate: the same",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let (text, is_well) = replay(folder.path(), &url, &[id, "--policy", "wild"]);
    assert!(!is_well && text.contains("batched, immediate"), "{text}");
    // It is nobody else's business.
    anna.get(&listed).await.refused(403, "PERMISSION_DENIED");
}
