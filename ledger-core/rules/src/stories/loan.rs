//! A day with many repayments of one contract.

use super::*;
use crate::{
    business_day::shanghai,
    policy::Window,
    testing::{confirmed, name, request, revoked, yuan},
};

const AMOUNTS: [&str; 3] = ["100.00", "99.99", "250.00"];

/// Some banks keep a contract closed until they have booked, and some close for an hour.
pub(super) fn begin(world: &mut World, random: &mut Rng) {
    world.policy.booking_lock = random.bool();
    if random.u8(..4) == 0 {
        let window = Window { from: "09:10:00".parse().unwrap(), until: "10:10:00".parse().unwrap() };
        world.policy.blackout.daily.push(window);
    }
}

pub(super) fn something_happens(world: &mut World, number: u8, random: &mut Rng) {
    let amount = AMOUNTS[if random.u8(..10) == 0 { random.usize(..3) } else { 0 }];
    match random.u8(..24) {
        0..=4 => world.read(number, asked(random)),
        5..=8 => world.capture(number, &format!("{number}-{}", random.u8(..3)), amount),
        9..=10 => world.read(number, confirmed("100.00")),
        11..=13 => world.read(number, money::answered("cdb", random)),
        14 => world.read(number, money::unclear(random)),
        15 => world.read(number, money::shown(random)),
        16 if random.u8(..8) == 0 => world.wait(86_400),
        16 => world.wait(random.i64(0..200)),
        17 => enquired(world, random),
        18 => world.read(number, revoked("cdb", RevocationReason::BankUndid, "1", "100.00")),
        19 => world.read(number, OrderCancelled { by: name("payer"), reason: String::new() }),
        _ => {
            money::goes_back(world, number, random);
            world
        }
    };
}

fn asked(random: &mut Rng) -> RepaymentRequested {
    let mut request = request("100.00");
    match random.u8(..24) {
        0 => request.enrolment.result = Enrolment::NotEnrolled,
        1 => request.quote.found = false,
        2 => request.quote.outstanding = Some(yuan("99.99")),
        _ => {}
    }
    request
}

/// The newest answer counts, however often it is told.
fn enquired<'a>(world: &'a mut World, random: &mut Rng) -> &'a mut World {
    let (enquiry_no, bank, now) = (random.u8(..3).to_string(), name("cdb"), shanghai(&world.now));
    if random.bool() {
        let (student, result) = (Uuid::from_u128(1), Enrolment::Enrolled);
        world.told(RepaymentEnrolmentChecked { enquiry_no, student, bank, result, checked_at: now })
    } else {
        let (outstanding, overdue) = (Some(yuan("900.00")), None);
        world.told(LoanContractQuoted {
            enquiry_no,
            bank,
            contract_type: "origin".into(),
            outstanding,
            overdue,
            as_of: now,
        })
    }
}
