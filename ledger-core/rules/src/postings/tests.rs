use schemas::{Stream, events::*};

use super::*;
use crate::testing::{name, yuan};

#[test]
fn a_settlement_moves_the_net_and_the_fee_off_the_channel() {
    let day = "2025-03-10".parse().unwrap();
    let report = SettlementReported {
        channel: name("ums-pos"),
        batch_no: "1".into(),
        period_from: day,
        period_to: day,
        gross: yuan("7900.00"),
        refunds: yuan("800.00"),
        chargebacks: Amount::ZERO,
        fees: yuan("14.20"),
        fees_borne_by: None,
        beneficiary: None,
        fee_items: Vec::new(),
        carried_in: Balance::ZERO,
        net: "7085.80".parse().unwrap(),
        transactions: 5,
    };
    let event = Event::about_channel(
        "/channels/ums-pos",
        &name("ums-pos"),
        chrono::DateTime::UNIX_EPOCH.fixed_offset(),
        report.clone(),
    );
    let legs = postings(&event);
    assert_eq!(legs.iter().map(|leg| leg.amount).sum::<Balance>(), Balance::ZERO);
    let on =
        |code| legs.iter().filter(|leg| leg.account.code == code).map(|leg| leg.amount).sum::<Balance>().to_string();
    assert_eq!(
        [on(SettlementInTransit), on(ChannelFeeExpense), on(ChannelReceivable)],
        ["7085.80", "14.20", "-7100.00"]
    );
}

#[test]
fn a_negative_net_stays_with_the_channel() {
    let day = "2025-03-10".parse().unwrap();
    let report = SettlementReported {
        channel: name("ums-pos"),
        batch_no: "1".into(),
        period_from: day,
        period_to: day,
        gross: Amount::ZERO,
        refunds: yuan("120.00"),
        chargebacks: Amount::ZERO,
        fees: Amount::ZERO,
        fees_borne_by: None,
        beneficiary: None,
        fee_items: Vec::new(),
        carried_in: Balance::ZERO,
        net: "-120.00".parse().unwrap(),
        transactions: 1,
    };
    let event = Event::about_channel(
        "/channels/ums-pos",
        &name("ums-pos"),
        chrono::DateTime::UNIX_EPOCH.fixed_offset(),
        report,
    );
    assert!(postings(&event).is_empty());
}

#[test]
fn a_remittance_debits_each_contract() {
    let items = vec![
        RemittedItem::of_contract(Stream::loan([1; 10]), yuan("1.00")),
        RemittedItem::of_contract(Stream::loan([2; 10]), yuan("2.00")),
    ];
    let data = FundsRemitted {
        beneficiary: name("cdb"),
        bank_account: name("main"),
        bank_ref: "b".into(),
        value_date: "2025-03-12".parse().unwrap(),
        amount: yuan("3.00"),
        items,
    };
    let event =
        Event::about_channel("/operators/finance", &name("cdb"), chrono::DateTime::UNIX_EPOCH.fixed_offset(), data);
    let legs = postings(&event);
    assert_eq!(legs.iter().map(|leg| leg.amount).sum::<Balance>(), Balance::ZERO);
    assert_eq!(legs[0].account.owner, format!("cdb/{}", Stream::loan([1; 10])));
}
