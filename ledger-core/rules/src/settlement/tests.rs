use schemas::events::Bearer;

use super::*;
use crate::testing::{World, name, yuan};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

#[test]
fn a_settlement_period_is_as_long_as_agreed() {
    // A Thursday.
    let thursday = day("2025-03-13");
    for (cycle, from, to) in [
        (Cycle::Daily, "2025-03-13", "2025-03-13"),
        (Cycle::Weekly, "2025-03-10", "2025-03-16"),
        (Cycle::TwiceWeekly, "2025-03-13", "2025-03-16"),
        (Cycle::Fortnightly, "2025-03-10", "2025-03-23"),
    ] {
        assert_eq!(period_of(thursday, cycle), (day(from), day(to)), "{cycle:?}");
    }
    assert_eq!(period_of(day("2025-03-12"), Cycle::TwiceWeekly), (day("2025-03-10"), day("2025-03-12")));
    assert_eq!(period_of(day("2025-03-23"), Cycle::Fortnightly), (day("2025-03-10"), day("2025-03-23")));
}

#[test]
fn a_day_ends_at_the_channels_cutover() {
    let late = DateTime::parse_from_rfc3339("2025-03-10T23:30:00+08:00").unwrap();
    let at_midnight = ChannelTerms::default();
    let at_eleven = ChannelTerms { cutover: "23:00:00".parse().unwrap(), ..ChannelTerms::default() };
    assert_eq!(business_date(&late, &at_midnight), day("2025-03-10"));
    assert_eq!(business_date(&late, &at_eleven), day("2025-03-11"));
}

/// 100.00 captured and given back.
fn fees_of_a_refunded_payment(returned: bool) -> Balance {
    let mut world = World::at("10:00:00");
    let terms = ChannelTerms { fee_ppm: 6000, fees_returned: returned, ..ChannelTerms::default() };
    world.policy.channels.insert(name("ums-pos"), terms);
    world.request(1, "100.00").capture(1, "t1", "100.00").fail(1).submit(1, "t1", 1).complete(1, "t1", "100.00");
    world.log.iter().filter_map(|event| day_totals(event, &world.policy)).map(|(_, _, totals)| totals.fees).sum()
}

#[test]
fn fees_are_given_back_on_a_refund_where_that_was_agreed() {
    assert_eq!(fees_of_a_refunded_payment(true), Balance::ZERO);
    assert_eq!(fees_of_a_refunded_payment(false), yuan("0.60").into());
}

#[test]
fn the_terms_of_the_documents_are_the_default() {
    let policy = Policy::default();
    let terms = |channel: &str| policy.terms(&name(channel));
    assert!(
        terms("ums-pos").fees_returned && terms("alipay-mini").fees_returned && !terms("bestpay-web").fees_returned
    );
    assert!(policy.channels.values().all(|terms| terms.fees_borne_by == Bearer::Operator));
    assert_eq!((terms("bestpay-web").cycle, terms("unheard-of")), (Cycle::Weekly, ChannelTerms::default()));
}
