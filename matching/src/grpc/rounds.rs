//! ListRounds, ExplainRound, ReplayRound, GetPolicy and UsePolicy: what an operator may know of dispatch
//! decisions, and how they change the way decisions are made.

use jitney_proto::{
    ids::{RoundId, TripId},
    matching::v1 as wire,
    time::{moment, timestamp},
};
use tonic::Status;

use super::{read_id, read_id_if_any};
use crate::{
    error::Refusal,
    policy::{Method, Policy, millis},
    round::{Choice, Gate, Reason, Round, Verdict, record::Record},
    service::Service,
    store::RoundRow,
};

/// Rounds of a list when the request does not say.
const LIMIT_DEFAULT: u32 = 50;
/// Rounds of a list, at most.
const LIMIT_MAX: u32 = 500;

/// The rounds that are kept.
pub async fn list(
    service: &Service,
    request: &wire::ListRoundsRequest,
) -> Result<wire::ListRoundsResponse, Status> {
    let trip: Option<TripId> = read_id_if_any(&request.trip_id, "trip_id")?;
    let before = match &request.decided_before {
        Some(before) => moment(before, "decided_before")?,
        None => service.clock.now(),
    };
    let limit = match request.limit {
        0 => LIMIT_DEFAULT,
        limit if limit <= LIMIT_MAX => limit,
        _ => {
            let problem = format!("must be at most {LIMIT_MAX}");
            return Err(Refusal::bad_field("limit", problem).into());
        }
    };
    let rounds = service.store().list_rounds(trip, before, limit).await;
    let rounds = rounds.map_err(Refusal::Database)?;
    Ok(wire::ListRoundsResponse {
        rounds: rounds.into_iter().map(listed).collect(),
    })
}

/// Why a round was decided as it was.
pub async fn explain(
    service: &Service,
    request: &wire::ExplainRoundRequest,
) -> Result<wire::ExplainRoundResponse, Status> {
    let record = kept(service, &request.round_id).await?;
    let outcomes = (0..record.round.requests.len() as u32).map(|request| outcome(&record, request));
    Ok(wire::ExplainRoundResponse {
        round: Some(summary(&record)),
        map_id: record.map.to_string(),
        outcomes: outcomes.collect(),
    })
}

/// Decides a round again.
pub async fn replay(
    service: &Service,
    request: &wire::ReplayRoundRequest,
) -> Result<wire::ReplayRoundResponse, Status> {
    let record = kept(service, &request.round_id).await?;
    let (name, policy) = if request.policy.is_empty() {
        (&record.policy_name, &record.policy)
    } else {
        let policies = &service.config.policies;
        policies
            .get_key_value(&request.policy)
            .ok_or_else(|| unknown_policy(service, &request.policy))?
    };
    let replayed = record.round.decide(policy);
    let requests = record
        .round
        .requests
        .iter()
        .enumerate()
        .map(|(place, request)| {
            let (driver_id, pickup_duration_ms) = chosen(&record.round, &record.choice, place);
            let (replayed_driver_id, replayed_pickup_duration_ms) =
                chosen(&record.round, &replayed, place);
            wire::ReplayedRequest {
                trip_id: request.trip.to_string(),
                driver_id,
                pickup_duration_ms,
                replayed_driver_id,
                replayed_pickup_duration_ms,
            }
        });
    Ok(wire::ReplayRoundResponse {
        round: Some(summary(&record)),
        policy: name.clone(),
        is_identical: replayed == record.choice,
        requests: requests.collect(),
    })
}

/// The policies, and the one in use.
pub fn policies(service: &Service) -> wire::GetPolicyResponse {
    let policies = service.config.policies.iter();
    wire::GetPolicyResponse {
        policy: service.look().policy().name.clone(),
        policies: policies
            .map(|(name, policy)| spelled(name, policy))
            .collect(),
    }
}

/// Uses another policy.
pub async fn use_policy(
    service: &Service,
    request: &wire::UsePolicyRequest,
) -> Result<wire::UsePolicyResponse, Status> {
    if !service.config.policies.contains_key(&request.policy) {
        return Err(unknown_policy(service, &request.policy).into());
    }
    service.use_policy(&request.policy).await?;
    Ok(wire::UsePolicyResponse {
        policy: request.policy.clone(),
    })
}

async fn kept(service: &Service, id: &str) -> Result<Record, Status> {
    let id: RoundId = read_id(id, "round_id")?;
    let record = service.store().load_round(id).await;
    let record = record.map_err(Refusal::Database)?;
    Ok(record.ok_or(Refusal::UnknownRound)?)
}

fn unknown_policy(service: &Service, name: &str) -> Refusal {
    let known: Vec<&str> = service.config.policies.keys().map(String::as_str).collect();
    let problem = format!("{name:?} is not configured; there are {}", known.join(", "));
    Refusal::bad_field("policy", problem)
}

fn outcome(record: &Record, request: u32) -> wire::RequestOutcome {
    let Record {
        round,
        choice,
        policy,
        ..
    } = record;
    let asked = &round.requests[request as usize];
    let (driver_id, pickup_duration_ms) = chosen(round, choice, request as usize);
    let pair = choice[request as usize].map(|number| round.pairs[number as usize]);
    let verdicts = round.verdicts(policy, choice, request);
    wire::RequestOutcome {
        trip_id: asked.trip.to_string(),
        waited_ms: i64::from(asked.waited_ms),
        reach_ms: i64::from(asked.reach_ms),
        driver_id,
        waits_for_driver: pair.is_some_and(|pair| pair.frees_in_ms > 0),
        pickup_duration_ms,
        drivers: verdicts
            .iter()
            .map(|verdict| verdict_of(round, verdict))
            .collect(),
        shares_with_trip_id: pair
            .and_then(|pair| pair.beside)
            .filter(|beside| beside.shared)
            .map(|beside| beside.trip.to_string())
            .unwrap_or_default(),
    }
}

fn verdict_of(round: &Round, verdict: &Verdict) -> wire::DriverVerdict {
    use wire::VerdictReason as Spelled;
    let driver = &round.drivers[verdict.driver as usize];
    let taken_by = match verdict.reason {
        Reason::TakenBy(other) => round.requests[other as usize].trip.to_string(),
        _ => String::new(),
    };
    let reason = match verdict.reason {
        Reason::Chosen => Spelled::Chosen,
        Reason::TakenBy(_) => Spelled::Taken,
        Reason::Dearer => Spelled::Dearer,
        Reason::Gate(Gate::OnTrip) => Spelled::OnTrip,
        Reason::Gate(Gate::SetAside) => Spelled::SetAside,
        Reason::Gate(Gate::Product) => Spelled::Product,
        Reason::Gate(Gate::Declined) => Spelled::Declined,
        Reason::Gate(Gate::OutOfReach) => Spelled::OutOfReach,
        Reason::Gate(Gate::NotNearest) => Spelled::NotNearest,
        Reason::Gate(Gate::Queue) => Spelled::Queue,
        Reason::Gate(Gate::GoingHome) => Spelled::GoingHome,
        Reason::Gate(Gate::Seats) => Spelled::Seats,
        Reason::Gate(Gate::Detour) => Spelled::Detour,
    };
    wire::DriverVerdict {
        driver_id: driver.id.to_string(),
        reason: reason.into(),
        taken_by_trip_id: taken_by,
        pickup_duration_ms: verdict.time_ms.map(i64::from),
        cost_ms: verdict.cost,
        idle_ms: i64::from(driver.idle_ms),
    }
}

/// The driver a request gets and how soon they can be there; empty when there is none.
fn chosen(round: &Round, choice: &Choice, place: usize) -> (String, i64) {
    choice[place].map_or_else(Default::default, |number| {
        let pair = &round.pairs[number as usize];
        let id = round.drivers[pair.driver as usize].id.to_string();
        (id, i64::from(pair.time_ms))
    })
}

fn summary(record: &Record) -> wire::Round {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    wire::Round {
        round_id: record.id.to_string(),
        decided_at: Some(timestamp(record.decided_at)),
        policy: record.policy_name.clone(),
        requests: count(record.choice.len()),
        assigned: count(record.assigned()),
    }
}

fn listed(row: RoundRow) -> wire::Round {
    wire::Round {
        round_id: row.id.to_string(),
        decided_at: Some(timestamp(row.decided_at)),
        policy: row.policy,
        requests: row.requests,
        assigned: row.assigned,
    }
}

fn spelled(name: &str, policy: &Policy) -> wire::Policy {
    let method = match policy.method {
        Method::Immediate => "immediate",
        Method::Batched => "batched",
    };
    let ms = |time| i64::try_from(millis(time)).unwrap_or(i64::MAX);
    wire::Policy {
        name: name.to_owned(),
        method: method.to_owned(),
        window_ms: ms(policy.window),
        candidates: policy.candidates,
        reach_ms: ms(policy.reach),
        reach_growth_ms: ms(policy.reach_growth),
        reach_max_ms: ms(policy.reach_max),
        waiting_percent: policy.waiting_percent,
        idle_percent: policy.idle_percent,
        idle_max_ms: ms(policy.idle_max),
        chain_ahead_ms: ms(policy.chain_ahead),
    }
}
