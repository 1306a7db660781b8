//! A week with one card: every second order is a top-up, the others are purchases of every funding.

use chrono::TimeDelta;

use super::*;
use crate::{
    business_day::shanghai,
    testing::{
        credited, debited, declined, ended, given_back, given_up, loaded, mandate, name, nothing_charged, offline,
        paid_by, purchase, returned, revoked, top_up, yuan,
    },
};

/// Whether the orders of this number are purchases.
pub(super) fn buys(number: u8) -> bool {
    !number.is_multiple_of(2)
}

/// Some schools take no top-ups, and in some places late purchases are the operator's risk.
pub(super) fn begin(world: &mut World, random: &mut Rng) {
    if random.u8(..8) == 0 {
        world.policy.top_up_schools = vec![name("other")];
    }
    world.policy.offline.late_at_operators_risk = random.u8(..8) == 0;
}

pub(super) fn something_happens(world: &mut World, number: u8, random: &mut Rng) {
    match random.u8(..16) {
        0 => _ = world.wait(random.i64(0..20_000)),
        1 => about_the_card(world, random),
        2 => about_the_mandate(world, random),
        3 => money::goes_back(world, number, random),
        _ if buys(number) => to_a_purchase(world, number, random),
        _ => to_a_top_up(world, number, random),
    }
}

fn to_a_top_up(world: &mut World, number: u8, random: &mut Rng) {
    let amount = ["100.00", "99.00", "101.00"][if random.u8(..6) == 0 { random.usize(..3) } else { 0 }];
    let mode = if number.is_multiple_of(4) { CreditMode::PendingLoad } else { CreditMode::Online };
    let data: Data = match random.u8(..16) {
        0..=3 => asked(random).into(),
        4..=6 => paid_by("bestpay-web", &format!("{number}-{}", random.u8(..3)), amount).into(),
        7 | 8 => credited("100.00", mode).into(),
        9 => loaded("100.00", 1).into(),
        10..=12 => money::answered("school-1", random),
        13 => money::unclear(random),
        14 => money::shown(random),
        _ => {
            let (number, amount) = [("1", "10.00"), ("2", "90.00")][random.usize(..2)];
            let revoked = revoked("school-1", RevocationReason::CardDebitedBack, number, amount);
            ConfirmationRevoked { mode: random.bool().then_some(mode), ..revoked }.into()
        }
    };
    world.read(number, data);
}

fn asked(random: &mut Rng) -> TopUpRequested {
    let mut request = top_up("100.00");
    match random.u8(..24) {
        0 => request.card.found = false,
        1 => request.card.name_matches = false,
        2 => {
            let (verified, checked_at) = (false, request.card.checked_at);
            request.identity = Some(IdentityAnswer { verified, method: LinkMethod::AlipayRealname, checked_at });
        }
        _ => {}
    }
    request
}

/// The funding of a purchase follows from its number, so that reports of it agree.
fn funding(number: u8) -> Funding {
    [Funding::Withholding, Funding::Withholding, Funding::CardBalance, Funding::Subsidy][usize::from(number / 2 % 4)]
}

fn to_a_purchase(world: &mut World, number: u8, random: &mut Rng) {
    let funding = funding(number);
    let data: Data = match random.u8(..16) {
        // A terminal that got no answer may let it go ahead, and tells of it later.
        0..=4 if (number % 4 == 1) != (random.u8(..6) == 0) => purchase("12.50", funding).into(),
        0..=4 => {
            let mut upload = offline(world, "12.50", funding, random.i64(0..30 * 3600));
            upload.uploaded_at += TimeDelta::days(random.i64(0..9));
            upload.into()
        }
        5 => {
            let outcome = LatePurchaseOutcome::ALL[random.usize(..2)];
            OfflinePurchaseResolved { outcome, by: "operator-1".into() }.into()
        }
        6..=9 if funding == Funding::Withholding => debit(world, number, random),
        10 if funding == Funding::Withholding => {
            let (number, amount) = [("1", "2.50"), ("2", "10.00")][random.usize(..2)];
            returned(number, amount).into()
        }
        6..=10 => given_back(&random.u8(1..3).to_string(), "6.25", funding).into(),
        11 => money::shown(random),
        _ => return money::goes_back(world, number, random),
    };
    world.read(number, data);
}

/// What the channel answers to a debit, or that a person gives it up.
fn debit(world: &World, number: u8, random: &mut Rng) -> Data {
    let order = world.orders.get(&world.order_id(number));
    let owed = order.and_then(|order| Some(order.purchase.as_ref()?.receivable(order).debit())).unwrap_or_default();
    match random.u8(..8) {
        0 if !owed.is_zero() => given_up(owed, LossBearer::ALL[random.usize(..2)]).into(),
        0..=3 => {
            let amount = ["12.50", "13.00"][usize::from(random.u8(..6) == 0)];
            debited(&format!("{number}-{}", random.u8(..2)), amount).into()
        }
        4 => {
            let attempt = random.u16(1..4);
            PaymentReversed { attempt, ..nothing_charged("alipay-withholding", &format!("{number}_{attempt}")) }.into()
        }
        _ => declined(random.u16(1..4)).into(),
    }
}

fn about_the_card(world: &mut World, random: &mut Rng) {
    let (school, now, report_no) = (name("school-1"), shanghai(&world.now), random.u8(..4).to_string());
    let data: Data = match random.u8(..7) {
        0 => CardholderLinked { link_no: report_no, school, holder: Uuid::from_u128(9), method: LinkMethod::Entered }
            .into(),
        1 => CardholderUnlinked { link_no: report_no, school }.into(),
        2 | 3 => {
            let daily_limit = [None, Some(yuan("20.00")), Some(yuan("30.00"))][random.usize(..3)];
            // Two settings may be in force from the same moment.
            let effective_from = shanghai(&chrono::DateTime::UNIX_EPOCH) + TimeDelta::days(random.i64(20_156..20_158));
            SpendingLimitSet { setting_no: report_no, school, daily_limit, set_by: LimitSetter::Parent, effective_from }
                .into()
        }
        4 => CardSuspended { report_no, school, reason: SuspensionReason::Loss, effective_at: now }.into(),
        5 => CardReinstated { report_no, school, effective_at: now }.into(),
        _ => SubsidyGranted { grant_no: report_no, school, amount: yuan("100.00"), period: "2025-03".into() }.into(),
    };
    world.told(data);
}

fn about_the_mandate(world: &mut World, random: &mut Rng) {
    let agreement_no = format!("M{}", random.u8(1..4));
    if random.u8(..3) > 0 {
        world.told(WithholdingMandateSigned { agreement_no, ..mandate() });
    } else {
        world.told(WithholdingMandateEnded { agreement_no, ..ended() });
    }
}
