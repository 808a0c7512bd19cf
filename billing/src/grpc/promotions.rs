//! The rpcs that make rides cheaper.

use jitney_platform::auth::{Caller, Role};
use jitney_proto::{
    Code,
    billing::v1::{self as pb, promotion::Off},
    ids::CreditId,
    money::Money,
    time::{moment, timestamp},
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Grpc,
    wire::{Page, doer, key, money, not_negative, positive, rider_id, trip_id, words},
};
use crate::{
    Error,
    fare::MAX_MINOR,
    promotion::{self, CreditOf, Promotion},
    refund::REASON_CHARS_MAX,
};

/// The most fares one preview is for.
const PREVIEWED_MAX: usize = 20;

impl Grpc {
    pub(super) async fn give_credit(
        &self,
        request: Request<pb::GrantCreditRequest>,
    ) -> Result<Response<pb::GrantCreditResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let key = key(asked.idempotency_key)?;
        let amount = positive("amount", asked.amount.as_ref())?;
        let missing = || Code::InvalidRequest.bad_field("amount", "is required");
        let amount = amount.ok_or_else(missing)?;
        if amount.currency != self.0.config.currency {
            let problem = format!("is not {}, the city's", self.0.config.currency);
            return Err(Code::InvalidRequest.bad_field("amount.currency_code", problem));
        }
        let asked = CreditOf {
            rider_id: rider_id(&asked.rider_id)?,
            credit_id: CreditId(Uuid::now_v7()),
            amount,
            reason: words("reason", asked.reason, REASON_CHARS_MAX)?,
            made_by: doer(&caller),
        };
        let credit = self.0.store.grant_credit(&key, &asked).await?;
        Ok(Response::new(pb::GrantCreditResponse {
            credit: Some(pb::Credit {
                credit_id: credit.credit_id.into(),
                rider_id: credit.rider_id,
                amount: money(credit.amount_minor, credit.currency),
                reason: credit.reason,
                granted_at: Some(timestamp(credit.granted_at)),
            }),
        }))
    }

    pub(super) async fn put(
        &self,
        request: Request<pb::PutPromotionRequest>,
    ) -> Result<Response<pb::PutPromotionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let missing = |field: &str| Code::InvalidRequest.bad_field(field, "is required");
        let terms = asked.promotion.ok_or_else(|| missing("promotion"))?;
        let currency = self.0.config.currency;
        let in_currency = |field: &str, amount: Money| {
            if amount.currency == currency {
                Ok(amount.minor)
            } else {
                let field = format!("promotion.{field}.currency_code");
                Err(Code::InvalidRequest
                    .bad_field(&field, format!("is not {currency}, the city's")))
            }
        };
        let (amount_minor, percent) = match terms.off {
            Some(Off::Amount(amount)) => {
                let amount = positive("promotion.amount", Some(&amount))?;
                let amount = amount.ok_or_else(|| missing("promotion.amount"))?;
                (Some(in_currency("amount", amount)?), None)
            }
            Some(Off::Percent(percent)) => match i32::try_from(percent) {
                Ok(percent @ 1..=100) => (None, Some(percent)),
                _ => {
                    let problem = "is not between 1 and 100";
                    return Err(Code::InvalidRequest.bad_field("promotion.percent", problem));
                }
            },
            None => return Err(missing("promotion.off")),
        };
        let cap_minor = match &terms.cap {
            Some(cap) => {
                let cap = Money::from_wire(cap, "promotion.cap")?;
                if !(0..=MAX_MINOR).contains(&cap.minor) {
                    let problem = format!("is not between 0 and {MAX_MINOR}");
                    return Err(
                        Code::InvalidRequest.bad_field("promotion.cap.minor_units", problem)
                    );
                }
                Some(in_currency("cap", cap)?)
            }
            None => None,
        };
        let valid_from = terms
            .valid_from
            .ok_or_else(|| missing("promotion.valid_from"))?;
        let valid_to = terms
            .valid_to
            .ok_or_else(|| missing("promotion.valid_to"))?;
        let promotion = Promotion {
            code: code("code", &asked.code)?,
            currency,
            amount_minor,
            percent,
            cap_minor,
            rides_per_rider: i32::try_from(terms.rides_per_rider).unwrap_or(i32::MAX),
            valid_from: moment(&valid_from, "promotion.valid_from")?,
            valid_to: moment(&valid_to, "promotion.valid_to")?,
        };
        if promotion.valid_to <= promotion.valid_from {
            let problem = "is not after promotion.valid_from";
            return Err(Code::InvalidRequest.bad_field("promotion.valid_to", problem));
        }
        let kept = self
            .0
            .store
            .put_promotion(&promotion, &doer(&caller))
            .await?;
        Ok(Response::new(pb::PutPromotionResponse {
            promotion: Some(told(kept)),
        }))
    }

    pub(super) async fn promotions(
        &self,
        request: Request<pb::ListPromotionsRequest>,
    ) -> Result<Response<pb::ListPromotionsResponse>, Status> {
        let asked = request.into_inner();
        let page = Page::of(asked.page_size, &asked.page_token, promotion::code)?;
        let after = page.after.as_deref();
        let found = self.0.store.promotions(after, page.asks_for()).await?;
        let (found, next_page_token) = page.cut(found, |last| last.code.clone());
        let promotions = found.into_iter().map(|promotion| pb::NamedPromotion {
            code: promotion.code.clone(),
            promotion: Some(told(promotion)),
        });
        Ok(Response::new(pb::ListPromotionsResponse {
            promotions: promotions.collect(),
            next_page_token,
        }))
    }

    pub(super) async fn preview(
        &self,
        request: Request<pb::PreviewPromotionRequest>,
    ) -> Result<Response<pb::PreviewPromotionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let code = code("code", &asked.code)?;
        let rider = match asked.rider_id.as_str() {
            "" => caller.id.as_str(),
            named => named,
        };
        if !caller.is_staff() && caller.id != rider {
            return Err(Code::NotFound.status("there is no such rider"));
        }
        if !(1..=PREVIEWED_MAX).contains(&asked.fares.len()) {
            let problem = format!("are not 1 to {PREVIEWED_MAX}");
            return Err(Code::InvalidRequest.bad_field("fares", problem));
        }
        let currency = self.0.config.currency;
        let mut fares = Vec::with_capacity(asked.fares.len());
        for (number, fare) in asked.fares.iter().enumerate() {
            let field = format!("fares[{number}]");
            let fare = Money::from_wire(fare, &field)?;
            not_negative(&format!("{field}.minor_units"), fare.minor)?;
            if fare.currency != currency {
                let problem = format!("is not {currency}, the city's");
                let field = format!("{field}.currency_code");
                return Err(Code::InvalidRequest.bad_field(&field, problem));
            }
            fares.push(fare.minor);
        }
        let rider = rider_id(rider)?;
        let promotion = self.0.store.preview_promotion(&code, &rider, currency);
        let terms = promotion.await?.terms();
        let mut promoted = Vec::with_capacity(fares.len());
        for fare in fares {
            let off = terms.off(fare).map_err(Error::from)?;
            promoted.push(pb::PromotedFare {
                off: money(off, currency),
                fare: money(fare - off, currency),
            });
        }
        let fares = promoted;
        Ok(Response::new(pb::PreviewPromotionResponse { code, fares }))
    }

    pub(super) async fn apply(
        &self,
        request: Request<pb::ApplyPromotionRequest>,
    ) -> Result<Response<pb::ApplyPromotionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner();
        let trip_id = trip_id(&asked.trip_id)?;
        let code = code("code", &asked.code)?;
        // Whose trip it is never changes.
        let payer = self.0.store.payer(trip_id).await?;
        let is_own = |payer: &String| caller.role == Role::Rider && caller.id == *payer;
        if !payer.is_some_and(|payer| caller.is_staff() || is_own(&payer)) {
            return Err(Code::NotFound.status("the trip has no hold"));
        }
        let applied = self.0.store.apply_promotion(trip_id, &code).await?;
        let off = applied
            .terms()
            .off(applied.authorised)
            .map_err(Error::from)?;
        Ok(Response::new(pb::ApplyPromotionResponse {
            code: applied.promotion_code.unwrap_or(code),
            off: money(off, applied.currency),
            fare: money(applied.authorised - off, applied.currency),
        }))
    }
}

fn code(field: &str, text: &str) -> Result<String, Status> {
    let problem = "is not 1 to 32 letters, digits, '-' or '_'";
    promotion::code(text).ok_or_else(|| Code::InvalidRequest.bad_field(field, problem))
}

fn told(promotion: Promotion) -> pb::Promotion {
    let currency = promotion.currency;
    let off = match (promotion.amount_minor, promotion.percent) {
        (Some(amount), _) => Some(Off::Amount(Money::new(amount, currency).into())),
        (None, Some(percent)) => Some(Off::Percent(u32::try_from(percent).unwrap_or_default())),
        (None, None) => None,
    };
    pb::Promotion {
        off,
        cap: promotion.cap_minor.and_then(|cap| money(cap, currency)),
        rides_per_rider: u32::try_from(promotion.rides_per_rider).unwrap_or_default(),
        valid_from: Some(timestamp(promotion.valid_from)),
        valid_to: Some(timestamp(promotion.valid_to)),
    }
}
