//! The rpcs that tell what happened to somebody's money.

use jitney_platform::auth::{Caller, Role};
use jitney_proto::{Code, billing::v1 as pb, common::v1::Document, time};
use tonic::{Request, Response, Status};

use super::{
    Grpc,
    wire::{Page, driver_id, money, rider_id},
};
use crate::{
    Error, csv,
    ledger::Account,
    statement::{Month, NotAMonth, Place, Posted, Statement, Sums},
    store::Listed,
};

/// Rows of a table, at most.
const ROWS_MAX: i64 = 20_000;

/// The accounts of a driver.
const DRIVERS: [Account; 2] = [Account::DriverPayable, Account::DriverCashDue];
/// The accounts of a rider.
const RIDERS: [Account; 2] = [Account::RiderReceivable, Account::RiderCredit];

/// Whose postings are asked for.
enum Whose {
    Driver(String),
    Rider(String),
}

impl Whose {
    /// Checks that they are the caller's to read. What is not reads as what is not there.
    fn read_by(self, caller: &Caller) -> Result<(String, &'static [Account]), Status> {
        let (role, owner, accounts) = match self {
            Whose::Driver(id) => (Role::Driver, driver_id(&id)?.to_string(), &DRIVERS),
            Whose::Rider(id) => (Role::Rider, rider_id(&id)?.to_string(), &RIDERS),
        };
        if caller.is_staff() || (caller.role == role && caller.id == owner) {
            Ok((owner, accounts))
        } else {
            Err(Code::NotFound.status("there is no such account"))
        }
    }
}

/// A span of time, open where it is not given.
pub(super) fn span(
    from: Option<&prost_types::Timestamp>,
    to: Option<&prost_types::Timestamp>,
) -> Result<[Option<chrono::DateTime<chrono::Utc>>; 2], Status> {
    let from = from.map(|at| time::moment(at, "from")).transpose()?;
    let to = to.map(|at| time::moment(at, "to")).transpose()?;
    match (from, to) {
        (Some(from), Some(to)) if to < from => {
            Err(Code::InvalidRequest.bad_field("to", "is before `from`"))
        }
        _ => Ok([from, to]),
    }
}

impl Grpc {
    pub(super) async fn posted(
        &self,
        request: Request<pb::ListPostingsRequest>,
    ) -> Result<Response<pb::ListPostingsResponse>, Status> {
        use pb::list_postings_request::Owner;
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let whose = match asked.owner {
            Some(Owner::DriverId(id)) => Whose::Driver(id),
            Some(Owner::RiderId(id)) => Whose::Rider(id),
            None => return Err(Code::InvalidRequest.bad_field("owner", "is required")),
        };
        let (owner, accounts) = whose.read_by(&caller)?;
        let [from, to] = span(asked.from.as_ref(), asked.to.as_ref())?;
        let page = Page::of(asked.page_size, &asked.page_token, Place::from_token)?;
        let listed = Listed {
            owner: &owner,
            accounts,
            from,
            to,
        };
        let store = &self.0.store;
        let after = page.after.as_ref();
        let found = store.postings(&listed, after, page.asks_for()).await?;
        let (found, next_page_token) = page.cut(found, |last| last.place.token());
        Ok(Response::new(pb::ListPostingsResponse {
            postings: found.into_iter().map(posting).collect(),
            next_page_token,
        }))
    }

    pub(super) async fn posted_table(
        &self,
        request: Request<pb::GetPostingsDocumentRequest>,
    ) -> Result<Document, Status> {
        use pb::get_postings_document_request::Owner;
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let whose = match asked.owner {
            Some(Owner::DriverId(id)) => Whose::Driver(id),
            Some(Owner::RiderId(id)) => Whose::Rider(id),
            None => return Err(Code::InvalidRequest.bad_field("owner", "is required")),
        };
        let (owner, accounts) = whose.read_by(&caller)?;
        let [from, to] = span(asked.from.as_ref(), asked.to.as_ref())?;
        let listed = Listed {
            owner: &owner,
            accounts,
            from,
            to,
        };
        let postings = self.0.store.postings(&listed, None, ROWS_MAX + 1).await?;
        if i64::try_from(postings.len()).unwrap_or(i64::MAX) > ROWS_MAX {
            let problem = format!("there are more than {ROWS_MAX} postings; ask for less time");
            return Err(Code::InvalidRequest.bad_field("from", problem));
        }
        Ok(csv::postings(&owner, &postings))
    }

    pub(super) async fn month(
        &self,
        request: Request<pb::GetDriverStatementRequest>,
    ) -> Result<Response<pb::GetDriverStatementResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let (driver, month, sums) = self
            .month_of(&caller, asked.driver_id, &asked.month)
            .await?;
        let money = |minor| money(minor, month.currency);
        let movements = month.movements.iter().map(|movement| pb::StatementEntry {
            at: Some(time::timestamp(movement.at)),
            kind: kind(&movement.kind).into(),
            about_id: movement.about.to_string(),
            number: u32::try_from(movement.seq).unwrap_or_default(),
            amount: money(movement.minor()),
        });
        let statement = pb::DriverStatement {
            driver_id: driver,
            month: month.month.to_string(),
            time_zone: month.zone.name().to_owned(),
            from: Some(time::timestamp(month.from)),
            to: Some(time::timestamp(month.to)),
            complete: month.to <= self.0.platform.clock.now(),
            rides: sums.rides,
            opening: money(month.opening_minor),
            fares: money(sums.fares_minor),
            tips: money(sums.tips_minor),
            refunds: money(sums.refunds_minor),
            cash_dues: money(sums.cash_dues_minor),
            payouts: money(sums.payouts_minor),
            closing: money(sums.closing_minor),
            entries: movements.collect(),
        };
        Ok(Response::new(pb::GetDriverStatementResponse {
            statement: Some(statement),
        }))
    }

    pub(super) async fn month_table(
        &self,
        request: Request<pb::GetDriverStatementDocumentRequest>,
    ) -> Result<Document, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let (driver, month, sums) = self
            .month_of(&caller, asked.driver_id, &asked.month)
            .await?;
        Ok(csv::statement(&driver, &month, &sums))
    }

    async fn month_of(
        &self,
        caller: &Caller,
        driver: String,
        month: &str,
    ) -> Result<(String, Statement, Sums), Status> {
        let (driver, _) = Whose::Driver(driver).read_by(caller)?;
        let month: Month = month.parse().map_err(|error: NotAMonth| {
            Code::InvalidRequest.bad_field("month", error.to_string())
        })?;
        let zone = self.0.time_zone()?;
        let (from, to) = month.bounds(zone);
        let currency = self.0.config.currency;
        let store = &self.0.store;
        let (opening_minor, movements) = store.movements(&driver, currency, from, to).await?;
        let statement = Statement {
            month,
            from,
            to,
            zone,
            currency,
            opening_minor,
            movements,
        };
        let sums = statement.sums().map_err(Error::from)?;
        Ok((driver, statement, sums))
    }
}

fn posting(posted: Posted) -> pb::Posting {
    pb::Posting {
        account: posted.account,
        kind: kind(&posted.place.kind).into(),
        about_id: posted.place.about.to_string(),
        number: u32::try_from(posted.place.seq).unwrap_or_default(),
        amount: money(posted.amount_minor, posted.currency),
        posted_at: Some(time::timestamp(posted.place.posted_at)),
    }
}

/// Why money moved, as the API names it.
pub(super) fn kind(name: &str) -> pb::EntryKind {
    pb::EntryKind::from_str_name(&format!("ENTRY_KIND_{name}"))
        .unwrap_or(pb::EntryKind::Unspecified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::EntryKind;

    #[test]
    fn every_kind_has_a_name_in_the_api() {
        for known in EntryKind::ALL {
            assert_ne!(kind(known.name()), pb::EntryKind::Unspecified, "{known:?}");
        }
    }
}
