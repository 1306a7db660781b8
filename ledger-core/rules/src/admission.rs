//! Admission: whether a repayment request may go ahead, and if not, the one reason why.

use chrono::{DateTime, Datelike, Days, FixedOffset, NaiveDate, NaiveTime};
use schemas::{
    Data,
    events::{Enrolment, OrderAccepted, OrderRejected, RejectionReason},
};

use crate::{
    business_day::{business_day, shanghai},
    contract::{LoanContract, Standing},
    order::{Order, Request},
    policy::{Blackout, Policy},
};

/// The answer to a request that has none yet.
pub(crate) fn decide(order: &Order, contract: &LoanContract, policy: &Policy) -> Option<Data> {
    let request = order.request.as_ref()?;
    if order.admission.is_some() {
        return None;
    }
    Some(match judge(request, contract, policy) {
        Ok(()) => OrderAccepted { expires_at: shanghai(&(request.recorded_at + policy.in_flight_ttl())) }.into(),
        Err(reason) => OrderRejected { reason, message: explain(reason).to_owned() }.into(),
    })
}

/// What the request itself lacks comes first, then the bank's calendar, then the contract's other attempts.
pub fn judge(request: &Request, contract: &LoanContract, policy: &Policy) -> Result<(), RejectionReason> {
    let (data, now) = (&request.data, request.recorded_at);
    if data.enrolment.result != Enrolment::Enrolled {
        return Err(RejectionReason::NotEnrolled);
    }
    if !data.quote.found {
        return Err(RejectionReason::LoanNotFound);
    }
    if data.quote.outstanding.is_some_and(|outstanding| data.amount > outstanding) {
        return Err(RejectionReason::AboveOutstanding);
    }
    if is_blacked_out(&shanghai(&now), &policy.blackout) {
        return Err(RejectionReason::BlackoutWindow);
    }
    let today = business_day(&now);
    for standing in [Standing::InFlight, Standing::Uncertain, Standing::Confirmed] {
        let mut days =
            contract.attempts.values().filter(|attempt| attempt.standing == standing).map(|attempt| attempt.day);
        if let Some(reason) = days.find_map(|day| in_the_way(standing, day, today, policy)) {
            return Err(reason);
        }
    }
    Ok(())
}

/// Why another attempt of `day` that stands so keeps a new one out.
fn in_the_way(standing: Standing, day: NaiveDate, today: NaiveDate, policy: &Policy) -> Option<RejectionReason> {
    match standing {
        Standing::InFlight => Some(RejectionReason::InFlight),
        Standing::Uncertain => (policy.uncertain_uses_the_day && day == today).then_some(RejectionReason::DailyLimit),
        Standing::Confirmed if day == today => Some(RejectionReason::DailyLimit),
        Standing::Confirmed => {
            let booked = day.checked_add_days(Days::new(policy.booking_lock_days)).unwrap_or(NaiveDate::MAX);
            (policy.booking_lock && today < booked).then_some(RejectionReason::BookingLock)
        }
    }
}

fn is_blacked_out(now: &DateTime<FixedOffset>, blackout: &Blackout) -> bool {
    let time = now.time();
    let in_window = blackout
        .daily
        .iter()
        .any(|window| window.from <= time && (time < window.until || window.until == NaiveTime::MIN));
    let days_left = u32::from(now.num_days_in_month()) - now.day();
    in_window || days_left < blackout.last_days_of_month
}

/// What the payer or the operator is told.
pub fn explain(reason: RejectionReason) -> &'static str {
    match reason {
        RejectionReason::NotEnrolled => {
            "未完成随时还款签约: the student must sign up for repay-any-time with the bank first"
        }
        RejectionReason::LoanNotFound => "未查到贷款信息: the bank knows no such loan",
        RejectionReason::AboveOutstanding => "还款金额超过欠款: more than the bank says is owed",
        RejectionReason::InFlight => {
            "还款申请在途: another request on this contract is in flight; try again in about two minutes"
        }
        RejectionReason::DailyLimit => "当日已还款: one repayment a day for each contract",
        RejectionReason::BookingLock => "还款入账中: the bank is still booking the last repayment of this contract",
        RejectionReason::BlackoutWindow => "非还款时段: the bank takes no repayments at this time",
    }
}

#[cfg(test)]
mod tests;
