//! Admission: whether a request may go ahead, and if not, the one reason why.

use chrono::{DateTime, Datelike, Days, FixedOffset, NaiveDate, NaiveTime, TimeDelta};
use schemas::{
    Balance, Data,
    events::{
        Enrolment, FeePaymentRequested, OrderAccepted, OrderRejected, RejectionReason, RepaymentRequested,
        TopUpRequested,
    },
};

use crate::{
    LogTime,
    business_day::{business_day, shanghai},
    contract::{LoanContract, Standing},
    fees::FeeAccount,
    order::{Order, RequestData},
    policy::{Blackout, Policy},
    purchase,
    stream::{Holds, StreamState},
};

/// The answer to a request that has none yet.
pub(crate) fn decide(order: &Order, stream: &StreamState, policy: &Policy) -> Option<Data> {
    let request = order.request.as_ref()?;
    if let Holds::Card(card) = &stream.holds
        && let Some(decision) = purchase::decide(order, card, policy)
    {
        return Some(decision);
    }
    if order.admission.is_some() {
        return None;
    }
    let at = request.recorded_at;
    let (judged, instalments_allowed) = match (&request.data, &stream.holds) {
        (RequestData::Repayment(data), Holds::Loan(contract)) => (judge_repayment(data, at, contract, policy), false),
        (RequestData::TopUp(data), _) => (judge_top_up(data, policy), false),
        (RequestData::FeePayment(data), Holds::Fees(account)) => {
            (judge_fee_payment(data, account), takes_instalments(data, account))
        }
        // No door lets a request onto a stream of another kind.
        _ => return None,
    };
    let expires_at = shanghai(&(at + ttl(&request.data, policy)));
    Some(match judged {
        Ok(()) => OrderAccepted { expires_at, instalments_allowed }.into(),
        Err(reason) => rejected(reason),
    })
}

pub(crate) fn rejected(reason: RejectionReason) -> Data {
    OrderRejected { reason, message: explain(reason).to_owned() }.into()
}

/// How long an admitted request may wait for its payment.
pub fn ttl(request: &RequestData, policy: &Policy) -> TimeDelta {
    let seconds = match request {
        RequestData::Repayment(_) => policy.in_flight_ttl_s,
        RequestData::TopUp(_) => policy.top_up_ttl_s,
        RequestData::FeePayment(_) => policy.fee_payment_ttl_s,
        RequestData::Purchase(_) | RequestData::OfflinePurchase(_) => 0,
    };
    TimeDelta::seconds(seconds.into())
}

/// What the card host and the channel said about the card and the payer; the school's own choice comes first. A door asks
/// the same before it issues an order number.
pub fn judge_top_up(data: &TopUpRequested, policy: &Policy) -> Result<(), RejectionReason> {
    if !policy.top_up_schools.is_empty() && !policy.top_up_schools.contains(&data.school) {
        return Err(RejectionReason::SchoolNotEnabled);
    }
    if !data.card.found {
        return Err(RejectionReason::CardNotFound);
    }
    if !data.card.name_matches {
        return Err(RejectionReason::NameMismatch);
    }
    if data.identity.as_ref().is_some_and(|identity| !identity.verified) {
        return Err(RejectionReason::IdentityNotVerified);
    }
    Ok(())
}

/// Each line is within what is still owed on its item and not in the hands of another payment; in full, unless the item
/// takes instalments.
fn judge_fee_payment(data: &FeePaymentRequested, account: &FeeAccount) -> Result<(), RejectionReason> {
    for line in &data.lines {
        let (item, payable) = account.payable(line).ok_or(RejectionReason::ItemNotPayable)?;
        if Balance::from(line.amount) > payable {
            return Err(RejectionReason::ItemNotPayable);
        }
        if !item.instalments_allowed && Balance::from(line.amount) != item.outstanding() {
            return Err(RejectionReason::InstalmentNotAllowed);
        }
    }
    Ok(())
}

/// Whether less than was asked for may be posted: it is clear to which item, and the item takes parts.
fn takes_instalments(data: &FeePaymentRequested, account: &FeeAccount) -> bool {
    match data.lines.as_slice() {
        [line] => account.payable(line).is_some_and(|(item, _)| item.instalments_allowed),
        _ => false,
    }
}

/// What the request itself lacks comes first, then the bank's calendar, then the contract's other attempts.
fn judge_repayment(
    data: &RepaymentRequested,
    now: LogTime,
    contract: &LoanContract,
    policy: &Policy,
) -> Result<(), RejectionReason> {
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
        Standing::Uncertain if !policy.uncertain_uses_the_day => None,
        // The money was taken; the bank may still book it.
        Standing::Uncertain | Standing::Confirmed if day == today => Some(RejectionReason::DailyLimit),
        Standing::Uncertain | Standing::Confirmed => {
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
        RejectionReason::CardNotFound => "卡号不存在: the school has no such card",
        RejectionReason::NameMismatch => "姓名不匹配: the name is not that of the card's holder",
        RejectionReason::IdentityNotVerified => {
            "无法核实身份: the payer was not found to be the holder; the school's card office can help"
        }
        RejectionReason::SchoolNotEnabled => "学校未开通: the school does not offer this",
        RejectionReason::CardSuspended => "校园卡已挂失: the loss of this card was reported",
        RejectionReason::SpendingLimit => "超过每日消费额度: more than this card may spend a day",
        RejectionReason::NoMandate => "未开通免密支付: the holder has not agreed to be debited",
        RejectionReason::MandateBlocked => "代扣已停用: an earlier debit could not be collected; it must be paid first",
        RejectionReason::CodeExpired => {
            "校园码已过期: the code was older than its window when it was used; a person decides"
        }
        RejectionReason::ItemNotPayable => "项目不可缴: the item is not charged, is paid, or less is owed on it",
        RejectionReason::InstalmentNotAllowed => "不可分期: this item must be paid in full",
    }
}

#[cfg(test)]
mod tests;
