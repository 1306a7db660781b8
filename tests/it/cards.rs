//! Acceptance scenarios of the BestPay web top-up of campus cards, through the door and the sandbox, each named by its
//! rule.

use std::io;

use anyhow::Result;
use engine::clock::Clock;
use ledger::{
    commands::{demo, refund_file::run as write_refund_file},
    play::{Stage, channel, yuan},
};
use ledger_tests::{monday, stage_at};
use producers::{
    refund_file::{export, waiting},
    sandbox::{MoveStep, SandboxConfig, Script},
};
use schemas::{
    Data, Name, OrderId,
    events::{
        Bearer, CardReinstated, CardSuspended, CardValueLoaded, ChargebackClosed, DisputeOutcome, Evidence,
        LimitSetter, RefundCompleted, RefundFileExported, SpendingLimitSet, SubsidyGranted, SuspensionReason,
    },
};

use crate::{
    looking::{balance, balances, count, everything, order, status, the_worked_day_agrees},
    selling::{BESTPAY, POS, SCHOOL, SCHOOL_SOURCE, bought, card_stream, offline, sale, sign, top_up, topped_up},
};

fn credits(steps: impl IntoIterator<Item = MoveStep>) -> Script {
    Script { credits: steps.into_iter().collect(), ..Script::default() }
}

fn closed_card() -> Script {
    credits([MoveStep::RefuseFinal { code: "CARD_CLOSED".to_owned() }])
}

#[tokio::test(flavor = "multi_thread")]
async fn s15_a_wrong_name_for_a_card_is_refused_and_no_order_number_is_issued() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let mut body = top_up(&stage, "card", "50.00");
    body["check"]["name_matches"] = false.into();
    let (status, answer) = stage.post("/v1/card-top-ups", &channel(BESTPAY)?, "1", &body).await?;
    assert!(status.is_client_error(), "{status}");
    assert_eq!((answer["code"].as_str(), answer.get("order_id")), (Some("NAME_MISMATCH"), None), "{answer}");
    stage.rest().await?;
    assert_eq!(stage.house.ends().await?.iter().sum::<i64>(), 0, "the log knows nothing of it");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_a_credit_whose_calls_time_out_is_sent_again_under_its_number_and_credited_once() -> Result<()> {
    let mut config = ledger_tests::config().await?;
    config.calls.timeout_ms = 1000;
    let stage = Stage::open(config, monday("10:00:00")?).await?;
    let lost = credits([MoveStep::SilentNotDone, MoveStep::SilentNotDone, MoveStep::Success]);
    let done = credits([MoveStep::SilentButDone, MoveStep::SilentButDone, MoveStep::Success]);
    for (card, script, calls_min, on_cards) in [("lost", lost, 3, "-50.00"), ("done", done, 1, "-100.00")] {
        let (id, _) = topped_up(&stage, BESTPAY, card, "50.00", script).await?;
        for wait in [60, 60, 600] {
            stage.wait(wait).await?;
        }
        assert_eq!(status(&stage, &id).await?, "completed", "{card}");
        assert_eq!(balance(&stage, 2130).await?, on_cards, "{card}");
        let books = stage.sandbox.books();
        let credits: Vec<_> = books.credits.values().filter(|credit| credit.order_no == id).collect();
        let [credit] = &*credits else { panic!("{card}: one number, not {credits:?}") };
        assert!(credit.calls >= calls_min, "{card}: {credit:?}");
        assert_eq!(credit.money_moved, yuan("50.00")?, "{card}");
    }
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s17_a_credit_refused_for_good_stands_in_the_refund_file_once_until_its_result_is_known() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let (id, capture) = topped_up(&stage, BESTPAY, "closed", "200.00", closed_card()).await?;
    topped_up(&stage, BESTPAY, "open", "50.00", Script::default()).await?;
    stage.wait(86_400).await?;
    assert_eq!(
        (status(&stage, &id).await?.as_str(), balance(&stage, 2210).await?.as_str()),
        ("refund_pending", "-200.00")
    );

    let (bestpay, publisher): (Name, _) = (BESTPAY.parse()?, stage.house.publisher());
    let full = |_: &str| Err(io::Error::from(io::ErrorKind::StorageFull));
    let failed = export(&stage.house.pool, &publisher, &bestpay, "20250311.txt", full).await.unwrap_err().to_string();
    assert!(failed.contains("export again"), "{failed}");
    let exported = export(&stage.house.pool, &publisher, &bestpay, "20250311.txt", |_| Ok(())).await?;
    let [refund] = &*exported.refunds else { panic!("one refund, not {:?}", exported.refunds) };
    assert_eq!((&refund.order_id, refund.amount, exported.total), (&id, yuan("200.00")?, yuan("200.00")?));
    let lines: Vec<Vec<&str>> = exported.text.lines().map(|line| line.split('|').skip(1).collect()).collect();
    assert_eq!(lines, [[id.as_str(), &capture.channel_txn_no, "20000"]]);
    stage.rest().await?;
    let told = everything(&stage).await?.into_iter().find_map(|event| match event.data {
        Data::RefundFileExported(data) => Some(data),
        _ => None,
    });
    let file = RefundFileExported {
        channel: bestpay.clone(),
        file_name: "20250311.txt".into(),
        sha256: exported.sha256.clone(),
        lines: 1,
        total: yuan("200.00")?,
    };
    assert_eq!(told, Some(file), "finance can prove which file it was");

    let ends = stage.house.ends().await?;
    let again = export(&stage.house.pool, &publisher, &bestpay, "20250311-2.txt", |_| Ok(())).await?;
    assert_eq!((again.refunds.len(), again.text.as_str()), (0, ""));
    stage.rest().await?;
    assert_eq!(stage.house.ends().await?, ends, "nothing was appended");
    assert_eq!(
        (status(&stage, &id).await?.as_str(), balance(&stage, 2210).await?.as_str()),
        ("refund_pending", "-200.00")
    );

    let source = format!("/channels/{BESTPAY}");
    let completed = RefundCompleted {
        refund_id: refund.refund_id,
        channel: bestpay,
        amount: refund.amount,
        channel_refund_no: Some("R1".into()),
        fee_netted: None,
        business_date: "2025-03-11".parse()?,
        evidence: Evidence::Statement,
    };
    stage.tell(&source, &[stage.event(&source, &id, completed)]).await?;
    stage.rest().await?;
    assert_eq!(status(&stage, &id).await?, "refunded");
    assert_eq!(balances(&stage, [1110, 2210, 2130]).await?, ["50.00", "0.00", "-50.00"]);
    assert!(stage.sandbox.books().refunds.is_empty(), "it went by file, so nobody was called");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_exports_at_once_release_a_refund_in_one_file_only() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    for card in 0..5 {
        topped_up(&stage, BESTPAY, &format!("closed {card}"), "200.00", closed_card()).await?;
        let (bestpay, publisher): (Name, _) = (BESTPAY.parse()?, stage.house.publisher());
        let export = |name| export(&stage.house.pool, &publisher, &bestpay, name, |_| Ok(()));
        let (one, other) = tokio::join!(export("1.txt"), export("2.txt"));
        let released: usize = [&one, &other].into_iter().flatten().map(|exported| exported.refunds.len()).sum();
        assert_eq!(released, 1, "{one:?} {other:?}");
    }
    stage.close().await
}

/// The command works beside a running ledger, by the clock of the machine.
#[tokio::test(flavor = "multi_thread")]
async fn s17_the_command_writes_the_refund_file_and_takes_no_refund_twice() -> Result<()> {
    let config = ledger_tests::config().await?;
    let stage = Stage::open_by(config.clone(), Clock::System, SandboxConfig::default()).await?;
    let (id, capture) = topped_up(&stage, BESTPAY, "closed", "200.00", closed_card()).await?;
    let (bestpay, folder): (Name, _) = (BESTPAY.parse()?, tempfile::tempdir()?);
    let [first, second] = ["1.txt", "2.txt"].map(|name| folder.path().join(name));

    write_refund_file(config.clone(), &bestpay, None).await?;
    assert_eq!(waiting(&stage.house.pool, &bestpay).await?.len(), 1, "without a file nothing is taken");
    write_refund_file(config.clone(), &bestpay, Some(&first)).await?;
    let text = std::fs::read_to_string(&first)?;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('|').skip(1).collect()).collect();
    assert_eq!(lines, [[id.as_str(), &capture.channel_txn_no, "20000"]]);
    let again = write_refund_file(config.clone(), &bestpay, Some(&first)).await.unwrap_err().to_string();
    assert!(again.contains("exists already"), "{again}");
    write_refund_file(config, &bestpay, Some(&second)).await?;
    assert!(!second.exists(), "nothing waits any more");
    stage.rest().await?;
    assert_eq!(count(&stage, &id, "refund.submitted").await?, 1);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s18_what_is_paid_for_an_offline_card_waits_for_the_load_terminal_and_is_loaded_once() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let script = Script { offline_card: true, ..Script::default() };
    let (id, _) = topped_up(&stage, BESTPAY, "card", "60.00", script).await?;
    assert_eq!(status(&stage, &id).await?, "awaiting_load");
    assert_eq!(balances(&stage, [2130, 2131]).await?, ["0.00", "-60.00"]);
    for card_counter in [1, 2] {
        load(&stage, &id, card_counter).await?;
        assert_eq!(status(&stage, &id).await?, "completed", "swipe {card_counter}");
        assert_eq!(balances(&stage, [2130, 2131]).await?, ["-60.00", "0.00"], "swipe {card_counter}");
    }
    assert_eq!(count(&stage, &id, "card-value.loaded").await?, 1);
    stage.close().await
}

async fn load(stage: &Stage, id: &OrderId, card_counter: u32) -> Result<()> {
    let loaded = CardValueLoaded {
        target: SCHOOL.parse()?,
        amount: yuan("60.00")?,
        load_terminal: "L1".into(),
        card_counter,
        balance_on_card: None,
    };
    stage.tell(SCHOOL_SOURCE, &[stage.event(SCHOOL_SOURCE, id, loaded)]).await?;
    stage.rest().await
}

/// The school says something about a card as a whole.
async fn told(stage: &Stage, card: &str, data: impl Into<Data>) -> Result<()> {
    let card = card_stream(stage, card).await?;
    stage.tell(SCHOOL_SOURCE, &[stage.about(SCHOOL_SOURCE, &card, data)]).await?;
    stage.rest().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_a_daily_limit_refuses_online_purchases_and_flags_offline_ones_whoever_set_it() -> Result<()> {
    for set_by in [LimitSetter::Parent, LimitSetter::Teacher] {
        let stage = stage_at("10:00:00").await?;
        topped_up(&stage, BESTPAY, "card", "100.00", Script::default()).await?;
        let (setting_no, school, effective_from) = ("1".into(), SCHOOL.parse()?, stage.now());
        let daily_limit = Some(yuan("30.00")?);
        told(&stage, "card", SpendingLimitSet { setting_no, school, daily_limit, set_by, effective_from }).await?;
        bought(&stage, &sale("card", 1, "22.00", "card_balance")).await?;

        let answer = stage.request("/v1/purchases", POS, "-", &sale("card", 2, "9.00", "card_balance")).await?;
        assert_eq!(answer.verdict, "SPENDING_LIMIT", "{set_by}");
        stage.rest().await?;
        assert_eq!(balances(&stage, [2130, 2140]).await?, ["-78.00", "-22.00"]);
        assert_eq!(made_offline(&stage, 3).await?, ("completed".into(), Some("above_limit".into())), "{set_by}");
        assert_eq!(balances(&stage, [2130, 2140]).await?, ["-69.00", "-31.00"]);
        stage.close().await?;
    }
    Ok(())
}

/// What becomes of a sale of 9.00 that is uploaded later, and why.
async fn made_offline(stage: &Stage, count: u64) -> Result<(String, Option<String>)> {
    let sale = sale("card", count, "9.00", "card_balance");
    let upload = offline(sale, "2025-03-10T10:00:00+08:00", "2025-03-10T09:00:00+08:00");
    let uploaded = stage.admitted("/v1/offline-purchases", POS, "-", &upload).await?;
    stage.rest().await?;
    let found = order(stage, &uploaded).await?;
    Ok((found.status, found.reason))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_was_reported_lost_buys_nothing_online_until_it_is_found() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    topped_up(&stage, BESTPAY, "card", "100.00", Script::default()).await?;
    sign(&stage, "card").await?;
    let (report_no, reason) = ("L1".to_owned(), SuspensionReason::Loss);
    let (school, effective_at): (Name, _) = (SCHOOL.parse()?, stage.now());
    let lost = CardSuspended { report_no: report_no.clone(), school: school.clone(), reason, effective_at };
    told(&stage, "card", lost).await?;
    for (count, funding) in [(1, "card_balance"), (2, "subsidy"), (3, "withholding")] {
        let answer = stage.request("/v1/purchases", POS, "-", &sale("card", count, "9.00", funding)).await?;
        assert_eq!(answer.verdict, "CARD_SUSPENDED", "{funding}");
    }
    stage.rest().await?;
    assert_eq!(balances(&stage, [1210, 2130, 2140]).await?, ["0.00", "-100.00", "0.00"]);
    assert_eq!(made_offline(&stage, 4).await?, ("completed".into(), Some("card_suspended".into())));
    told(&stage, "card", CardReinstated { report_no, school, effective_at }).await?;
    bought(&stage, &sale("card", 5, "9.00", "card_balance")).await?;
    assert_eq!(balances(&stage, [1210, 2130, 2140]).await?, ["0.00", "-82.00", "-18.00"]);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subsidy_pays_for_what_is_bought_with_it_and_leaves_the_cards_own_value_alone() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    topped_up(&stage, BESTPAY, "card", "50.00", Script::default()).await?;
    let (grant_no, school, amount, period) = ("1".into(), SCHOOL.parse()?, yuan("100.00")?, "2025-03".into());
    told(&stage, "card", SubsidyGranted { grant_no, school, amount, period }).await?;
    assert_eq!(balances(&stage, [1220, 2130, 2132, 2140]).await?, ["100.00", "-50.00", "-100.00", "0.00"]);
    let id = bought(&stage, &sale("card", 1, "15.00", "subsidy")).await?;
    assert_eq!(status(&stage, &id).await?, "completed");
    assert_eq!(balances(&stage, [1220, 2130, 2132, 2140]).await?, ["100.00", "-50.00", "-85.00", "-15.00"]);
    let sql = "select balance::text, subsidy::text from finance.cards";
    let shown = stage.house.pool.get().await?.query_one(sql, &[]).await?;
    assert_eq!((shown.get(0), shown.get(1)), ("50.00", "85.00"));
    stage.close().await
}

/// What a card shows is what the books hold for it, also when a lost dispute has taken the value of a top-up back.
#[tokio::test(flavor = "multi_thread")]
async fn s39_a_lost_dispute_that_the_school_bears_takes_the_top_up_off_the_card() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let (id, _) = topped_up(&stage, BESTPAY, "card", "80.00", Script::default()).await?;
    let lost = ChargebackClosed {
        channel: BESTPAY.parse()?,
        case_no: "CB1".into(),
        amount: yuan("50.00")?,
        outcome: DisputeOutcome::Lost,
        borne_by: Bearer::Beneficiary,
        beneficiary: SCHOOL.parse()?,
        mode: None,
        fee_item: None,
        billing_year: None,
        merchant: None,
        business_date: "2025-04-02".parse()?,
    };
    let source = format!("/channels/{BESTPAY}");
    stage.tell(&source, &[stage.event(&source, &id, lost)]).await?;
    stage.rest().await?;
    let sql = "select c.balance::text, (-b.balance)::text from finance.cards c
               join finance.balances b on b.account = 2130 and b.owner = c.school || '/' || c.card";
    let shown = stage.house.pool.get().await?.query_one(sql, &[]).await?;
    assert_eq!((shown.get(0), shown.get(1)), ("30.00", "30.00"));
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worked_day_of_bestpay_agrees_to_the_fen() -> Result<()> {
    the_worked_day_agrees(demo::System::Bestpay).await
}
