//! Payments that the payer disputes.

use anyhow::Result;
use ledger::play::{Stage, yuan};
use ledger_tests::stage_at;
use producers::sandbox::Script;
use schemas::{
    OrderId,
    events::{
        Bearer, ChargebackClosed, ChargebackReceived, ChargebackRepresented, DisputeOutcome, Medium, ReceiptPrinted,
        ReceiptReprinted, ReceiptText,
    },
};

use crate::{
    loan::{FINANCE, POS, POS_SOURCE, paid},
    looking::{balances, status},
};

const CASE: &str = "CB-1";

/// Which accounts a dispute moves: the channel owes, what is owed to the bank, disputed money, what the operator lost.
const OF_DISPUTES: [i32; 4] = [1110, 2110, 1330, 5020];

#[tokio::test(flavor = "multi_thread")]
async fn s39_a_lost_chargeback_is_borne_by_whom_it_names_and_a_reprinted_slip_is_no_evidence() -> Result<()> {
    for (borne_by, lost) in [
        (Bearer::Operator, ["0.00", "-500.00", "0.00", "500.00"]),
        (Bearer::Beneficiary, ["0.00", "0.00", "0.00", "0.00"]),
    ] {
        let stage = stage_at("10:00:00").await?;
        let (signed, copied) = ("ab".repeat(32), "cd".repeat(32));
        let id = disputed(&stage, &signed, &copied).await?;
        assert_eq!(balances(&stage, OF_DISPUTES).await?, ["0.00", "-500.00", "500.00", "0.00"]);
        assert_eq!(status(&stage, &id).await?, "in_dispute");

        // Whoever brings it, and however its hash is spelt.
        let ends = stage.house.ends().await?;
        for (source, slip) in [(POS_SOURCE, &copied), (POS_SOURCE, &copied.to_uppercase()), (FINANCE, &copied)] {
            let (status, answer) = stage.report(source, &[represented(&stage, source, &id, slip)?]).await?;
            assert_eq!((status.as_u16(), answer[0]["code"].as_str()), (422, Some("INVALID_DATA")), "{source} {answer}");
            assert!(answer[0]["detail"].as_str().is_some_and(|detail| detail.contains("reprinted slip")), "{answer}");
        }
        stage.rest().await?;
        assert_eq!(stage.house.ends().await?, ends, "nothing of it was appended");

        stage.tell(POS_SOURCE, &[represented(&stage, POS_SOURCE, &id, &signed)?]).await?;
        stage.rest().await?;
        assert_eq!(balances(&stage, OF_DISPUTES).await?, ["0.00", "-500.00", "500.00", "0.00"], "open until decided");
        let closed = ChargebackClosed {
            channel: POS.parse()?,
            case_no: CASE.into(),
            amount: yuan("500.00")?,
            outcome: DisputeOutcome::Lost,
            borne_by,
            beneficiary: "cdb".parse()?,
            mode: None,
            fee_item: None,
            billing_year: None,
            business_date: stage.now().date_naive(),
            merchant: None,
        };
        stage.tell(POS_SOURCE, &[stage.event(POS_SOURCE, &id, closed)]).await?;
        stage.rest().await?;
        assert_eq!(balances(&stage, OF_DISPUTES).await?, lost, "{borne_by}");
        assert_eq!(status(&stage, &id).await?, "completed", "{borne_by}");
        stage.close().await?;
    }
    Ok(())
}

/// A confirmed repayment of 500.00 that its payer disputes; its slip was printed twice.
async fn disputed(stage: &Stage, signed: &str, copied: &str) -> Result<OrderId> {
    let id = paid(stage, POS, "K", "500.00", Script::default()).await?;
    let (medium, outcome_text) = (Medium::Slip, ReceiptText::Success);
    let slip = ReceiptPrinted { medium, outcome_text, slip_sha256: Some(signed.to_owned()) };
    let copy = ReceiptReprinted { medium, outcome_text, copy_no: 2, slip_sha256: Some(copied.to_owned()) };
    let received = ChargebackReceived {
        channel: POS.parse()?,
        case_no: CASE.into(),
        capture_id: stage.capture_id(&id).await?,
        amount: yuan("500.00")?,
        reason_code: "4853".into(),
        due_at: None,
        business_date: stage.now().date_naive(),
    };
    let event = |data: schemas::Data| stage.event(POS_SOURCE, &id, data);
    stage.tell(POS_SOURCE, &[event(slip.into()), event(copy.into()), event(received.into())]).await?;
    stage.rest().await?;
    Ok(id)
}

/// The chargeback is answered with this slip as evidence.
fn represented(stage: &Stage, source: &str, id: &OrderId, slip_sha256: &str) -> Result<schemas::Event> {
    let (case_no, evidence_sha256) = (CASE.into(), slip_sha256.into());
    Ok(stage.event(source, id, ChargebackRepresented { channel: POS.parse()?, case_no, evidence_sha256 }))
}
