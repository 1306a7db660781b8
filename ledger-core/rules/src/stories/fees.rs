//! A student's fees of a year: charged, changed, paid in several lines and in parts.

use super::*;
use crate::testing::{assessed, fee_payment, name, paid_by, posted, unposted};

const ITEMS: [(&str, &str, bool); 3] =
    [("dorm", "1200.00", false), ("tuition", "5200.00", true), ("books", "400.00", true)];

/// What a payment pays follows from its number, so that reports of it agree.
fn lines(number: u8) -> &'static [(&'static str, &'static str)] {
    match number % 4 {
        0 => &[("tuition", "100.00")],
        1 => &[("dorm", "1200.00"), ("tuition", "2000.00")],
        2 => &[("books", "400.00")],
        _ if number == 7 => &[("dorm", "600.00")],
        _ => &[("dorm", "1200.00")],
    }
}

/// As a rule the school has charged its items before anybody pays.
pub(super) fn begin(world: &mut World, random: &mut Rng) {
    for (fee_item, amount, instalments) in ITEMS.into_iter().filter(|_| random.u8(..4) > 0) {
        world.told(assessed(fee_item, amount, instalments));
    }
}

pub(super) fn something_happens(world: &mut World, number: u8, random: &mut Rng) {
    let data: Data = match random.u8(..24) {
        0 => return about_the_account(world, random),
        1 => {
            world.wait(random.i64(0..3_000));
            return;
        }
        2..=6 => fee_payment(lines(number)).into(),
        7..=10 => paid(number, random).into(),
        11..=13 => posted_line(number, random).into(),
        14..=16 => money::answered("school-1", random),
        17 => money::unclear(random),
        18 => {
            let (item, amount) = lines(number)[0];
            unposted("1", item, amount).into()
        }
        19 => receipt(number, random),
        _ => return money::goes_back(world, number, random),
    };
    world.read(number, data);
}

fn about_the_account(world: &mut World, random: &mut Rng) {
    let (fee_item, amount, instalments) = ITEMS[random.usize(..3)];
    if random.u8(..3) > 0 {
        world.told(assessed(fee_item, amount, instalments));
    } else {
        world.told(FeeItemAdjusted {
            adjustment_no: random.u8(..4).to_string(),
            school: name("school-1"),
            fee_item: fee_item.into(),
            billing_year: 2025,
            change: ["-100.00", "50.00"][random.usize(..2)].parse().unwrap(),
            reason: "scholarship".into(),
        });
    }
}

fn asked(number: u8) -> Amount {
    fee_payment(lines(number)).amount
}

/// As a rule what was asked for.
fn paid(number: u8, random: &mut Rng) -> PaymentCaptured {
    let fen = asked(number).fen() + [0, 0, 0, 0, 100, -100][random.usize(..6)];
    let txn = format!("{number}-{}", random.u8(..2));
    paid_by("ejt", &txn, &Amount::from_fen(fen).unwrap().to_string())
}

fn posted_line(number: u8, random: &mut Rng) -> FeePosted {
    let line = random.usize(..lines(number).len());
    let (fee_item, amount) = lines(number)[line];
    posted(line as u16 + 1, fee_item, amount)
}

fn receipt(number: u8, random: &mut Rng) -> Data {
    let (code, issued, amount) = ("61060125".to_owned(), format!("{number}"), asked(number));
    if random.bool() {
        FiscalReceiptIssued { code, number: issued, check_code: "a8f03c".into(), amount }.into()
    } else {
        let (reverses_code, red) = (code.clone(), format!("{number}-red"));
        FiscalReceiptReversed { code, number: red, reverses_code, reverses_number: issued, amount }.into()
    }
}
