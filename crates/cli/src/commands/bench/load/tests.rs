//! The scenario files in `tests/load` can be played; bad ones are refused by file and field.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::*;

/// What stands for every variable.
fn stand_in(name: &str) -> anyhow::Result<String> {
    match name {
        TOKEN => Ok("token".to_owned()),
        MATCHING | TRIPS | BILLING => Ok("127.0.0.1:1".to_owned()),
        _ => bail!("the variable {name} is not set"),
    }
}

fn read(file: &Path) -> anyhow::Result<Scenario> {
    let scenario = Scenario::read(file, &stand_in)?;
    for number in 0..20 {
        let chance = &mut ChaCha8Rng::seed_from_u64(number);
        request(&scenario, number, 0, chance)?;
    }
    Ok(scenario)
}

#[test]
fn every_scenario_fits_the_rpc_it_names() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/load");
    for service in ["matching", "trips", "billing"] {
        let mut found = 0;
        for entry in fs::read_dir(folder.join(service)).expect("there are scenarios") {
            let file = entry.expect("it can be read").path();
            let scenario = read(&file).unwrap_or_else(|error| panic!("{error:#}"));
            let of = scenario.method.parent_service().package_name().to_owned();
            assert_eq!(of, format!("jitney.{service}.v1"), "{}", file.display());
            found += 1;
        }
        assert!(found > 0, "{service} has no scenario");
    }
}

#[test]
fn a_bad_scenario_is_refused_by_file_and_field() {
    let good = json!({
        "call": "jitney.billing.v1.BillingService.GetBalance",
        "host": "${LOAD_BILLING}",
        "insecure": true,
        "metadata": {"authorization": "Bearer ${LOAD_TOKEN}"},
        "data": {"driver_id": "a{{.RequestNumber}}"},
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("balance.json");
    let written = |value: &Value| {
        fs::write(&file, value.to_string()).expect("it is written");
        read(&file)
    };
    let scenario = written(&good).expect("it is good");
    assert_eq!(scenario.name, "balance");
    assert_eq!(scenario.end, End::Calls(200));

    for (field, value, told) in [
        ("call", json!(null), "field call: null is not a text"),
        ("call", json!("Balance"), "is not like package.Service.Rpc"),
        ("call", json!("jitney.A.B"), "no service \"jitney.A\""),
        (
            "call",
            json!("jitney.billing.v1.BillingService/Steal"),
            "field call: jitney.billing.v1.BillingService has no \"Steal\"",
        ),
        (
            "call",
            json!("jitney.trips.v1.TripsService.WatchTrip"),
            "is a stream",
        ),
        ("host", json!("${HOST}"), "field host: the variable HOST is"),
        ("host", json!("here"), "field host: \"here\" is not like"),
        ("insecure", json!(false), "field insecure has to be true"),
        ("total", json!("many"), "field total: \"many\" is not 1 to"),
        ("concurrency", json!(0), "field concurrency: 0 is not 1 to"),
        (
            "connections",
            json!(51),
            "field connections: 51 is not 1 to 50",
        ),
        (
            "duration",
            json!("soon"),
            "field duration: \"soon\" is not a time",
        ),
        (
            "timeout",
            json!("0s"),
            "field timeout: \"0s\" is not a time",
        ),
        ("metadata", json!([]), "field metadata is not an object"),
        (
            "metadata",
            json!({"a": 1}),
            "field metadata.a: it is not a text",
        ),
        ("metadata", json!({"a b": "c"}), "field metadata.a b"),
        (
            "metadata",
            json!({"a": "ä"}),
            "field metadata.a: it is not printable",
        ),
        ("data", json!([{}]), "field data is not an object"),
        (
            "data",
            json!({"driver": "a"}),
            "field data: it is no jitney.billing.v1.GetBalanceRequest",
        ),
        ("data", json!({"driver_id": 1}), "field data: it is no"),
        (
            "data",
            json!({"driver_id": "{{uuidv4}}"}),
            "field data: {{uuidv4}} is not known",
        ),
        ("rps", json!(5), "field rps is not known here"),
    ] {
        let mut bad = good.clone();
        bad[field] = value.clone();
        let error = written(&bad).map(|_| ()).expect_err(field);
        let error = format!("{error:#}");
        assert!(error.contains(told), "{field} {value}: {error}");
    }
    fs::write(&file, "{").expect("it is written");
    let error = format!("{:#}", read(&file).expect_err("it is not JSON"));
    assert!(error.contains("balance.json: it is not JSON"), "{error}");
}

#[test]
fn the_configuration_stands_for_variables_that_are_not_set() {
    let config = Config::default();
    assert_eq!(
        variable(TRIPS, &config).expect("an address"),
        "127.0.0.1:50052"
    );
    let error = variable("LOAD_OTHER", &config).expect_err("it is not set");
    assert_eq!(error.to_string(), "the variable LOAD_OTHER is not set");
}
