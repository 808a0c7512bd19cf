//! How refusals read as JSON, and which words never leave the house.

#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_status_keeps_its_details() {
    let status = Code::IllegalTransition.status_with("no", [("state", "COMPLETED".to_owned())]);
    let problem = Problem::from(status);
    assert_eq!(problem.http(), StatusCode::BAD_REQUEST);
    assert_eq!(
        problem.json(),
        json!({"code": 9, "message": "no", "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "ILLEGAL_TRANSITION",
            "domain": "jitney",
            "metadata": {"state": "COMPLETED"},
        }]})
    );
    let problem = Problem::from(Code::InvalidRequest.bad_field("pickup", "is required"));
    assert_eq!(
        problem.json()["details"][1],
        json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "pickup", "description": "is required"}],
        })
    );
}

#[test]
fn a_wait_is_told_in_both_places() {
    for (wait, header, json) in [
        (Duration::from_secs(2), "2", "2s"),
        (Duration::from_millis(1500), "2", "1.500s"),
        (Duration::from_nanos(1), "1", "0.000000001s"),
    ] {
        let response = Problem::from(Code::Overloaded.retry_after("later", wait)).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], header);
        let problem = Problem::from(Code::Overloaded.retry_after("later", wait));
        assert_eq!(problem.json()["details"][1]["retryDelay"], json);
    }
    // Whoever finds a service away may come back, told or not.
    let response = Problem::from(Code::Unavailable.status("away")).into_response();
    assert_eq!(response.headers()[RETRY_AFTER], "1");
}

#[test]
fn a_librarys_words_do_not_reach_the_caller() {
    for (status, code, http) in [
        (
            Status::unavailable("tcp 10.0.0.7:7001 refused"),
            Code::Unavailable,
            503,
        ),
        (Status::internal("h2 at 10.0.0.7"), Code::Internal, 500),
        (Status::unknown("10.0.0.7"), Code::Internal, 500),
        (Status::unimplemented("10.0.0.7"), Code::Internal, 500),
        (Status::cancelled("10.0.0.7"), Code::DeadlineExceeded, 504),
        (
            Status::deadline_exceeded("10.0.0.7"),
            Code::DeadlineExceeded,
            504,
        ),
        (
            Status::out_of_range("message of 99 bytes at 10.0.0.7"),
            Code::Internal,
            500,
        ),
    ] {
        let problem = Problem::from(status);
        assert_eq!(Code::of(problem.status()), Some(code));
        assert_eq!(problem.http().as_u16(), http);
        assert!(!problem.json().to_string().contains("10.0.0.7"));
    }
}

#[test]
fn every_code_has_a_json_form_with_its_reason() {
    for &code in Code::ALL {
        let problem = Problem::from(code.status("x"));
        assert_eq!(problem.http().as_u16(), code.http());
        assert_eq!(problem.json()["details"][0]["reason"], code.reason());
        assert_eq!(problem.json()["code"], code.grpc() as i32);
    }
}

#[test]
fn the_gateways_own_refusals_have_the_same_form() {
    let problems = [
        (Problem::no_route("/x"), 404),
        (
            Problem::wrong_method(&Method::PUT, &[Method::GET, Method::POST]),
            405,
        ),
        (Problem::too_large(10), 413),
        (Problem::headers_too_large(10), 431),
        (Problem::slow_body(Duration::from_secs(1)), 408),
        (Problem::not_json(), 415),
        (Problem::upgrade_required(), 426),
        (Problem::full("full", Duration::from_secs(1)), 503),
    ];
    for (problem, http) in problems {
        assert_eq!(problem.http().as_u16(), http);
        assert!(Code::of(problem.status()).is_some());
        assert!(problem.into_response().headers().contains_key(CONTENT_TYPE));
    }
    let response =
        Problem::wrong_method(&Method::PUT, &[Method::GET, Method::POST]).into_response();
    assert_eq!(response.headers()[ALLOW], "GET, POST");
    let response = Problem::from(Code::Unauthenticated.status("who?")).into_response();
    assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
}
