//! The acquirer: takes payments and tells the door about them; pays refunds and debits holders, once per number.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::Response,
    routing::{get, post},
};
use chrono::{DateTime, FixedOffset, NaiveDate};
use rules::business_day::{business_day, shanghai};
use schemas::{
    Amount, Name, OrderId,
    events::{Method, Terminal},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Outside,
    books::{Capture, Movement, Told},
    notice::Notice,
    script::{Kind, NoticeStep, Script},
};
use crate::calls::{
    DebitNo, DebitOrder, DebitReply, FoundCapture, MovementResult, PaymentReply, PaymentResult, RefundOrder,
    RefundReply,
};

/// A notice that the door does not acknowledge is sent again, after pauses that double, so many times in all.
const NOTICE_TRIES: u32 = 15;
const NOTICE_PAUSE_MIN: Duration = Duration::from_millis(200);
const NOTICE_PAUSE_MAX: Duration = Duration::from_secs(10);

/// `POST /acquirer/payments`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentRequest {
    pub order_no: OrderId,
    pub channel: Name,
    pub method: Method,
    pub amount: Amount,
    /// A new one if left out.
    #[serde(default)]
    pub channel_txn_no: Option<String>,
    /// The day of `captured_at` if left out.
    #[serde(default)]
    pub business_date: Option<NaiveDate>,
    /// Now if left out.
    #[serde(default)]
    pub captured_at: Option<DateTime<FixedOffset>>,
    #[serde(default)]
    pub instrument_masked: Option<String>,
    #[serde(default)]
    pub terminal: Option<Terminal>,
}

pub(super) fn routes() -> Router<Arc<Outside>> {
    Router::new()
        .route("/acquirer/payments", post(pay))
        .route("/acquirer/payments/{order_no}", get(payment))
        .route("/acquirer/refunds", post(refund))
        .route("/acquirer/refunds/{request_no}", get(refund_result))
        .route("/acquirer/debits", post(debit))
        .route("/acquirer/debits/{debit_no}", get(debit_result))
}

async fn pay(State(outside): State<Arc<Outside>>, Json(request): Json<PaymentRequest>) -> Json<Capture> {
    Json(outside.pay(request))
}

async fn payment(State(outside): State<Arc<Outside>>, Path(order_no): Path<OrderId>) -> Json<PaymentReply> {
    let captures = outside.change(|world| {
        let hidden = world.scripts.of(order_no.as_str()).hidden;
        world.books.captures.get(&order_no).filter(|_| !hidden).cloned().unwrap_or_default()
    });
    let result = if captures.is_empty() { PaymentResult::NotFound } else { PaymentResult::Captured };
    Json(PaymentReply { result, captures: captures.into_iter().map(found).collect() })
}

fn found(capture: Capture) -> FoundCapture {
    FoundCapture {
        channel: capture.channel,
        channel_txn_no: capture.channel_txn_no,
        method: capture.method,
        amount: capture.amount,
        business_date: Some(capture.business_date),
        captured_at: capture.captured_at,
        fee: capture.fee,
    }
}

async fn refund(State(outside): State<Arc<Outside>>, Json(order): Json<RefundOrder>) -> Response {
    let movement = Movement::new(&order.order_no, &order.channel, &order.channel_txn_no, order.amount);
    outside.movement(Kind::Refund, &order.refund_request_no, movement, refund_reply).await
}

async fn refund_result(State(outside): State<Arc<Outside>>, Path(request_no): Path<String>) -> Response {
    outside.movement_result(Kind::Refund, &request_no, refund_reply).await
}

fn refund_reply(told: Told, _: &Script) -> RefundReply {
    RefundReply {
        refund_no: (told.result == MovementResult::Success).then(|| format!("F{}", told.reference)),
        result: told.result,
        business_date: told.business_date(),
        code: told.code,
        message: String::new(),
        retryable: told.retryable,
    }
}

async fn debit(State(outside): State<Arc<Outside>>, Json(order): Json<DebitOrder>) -> Response {
    let channel = outside.withholding_channel();
    let number = order.debit_no.to_string();
    let movement = Movement::new(&order.debit_no.order_no, &channel, &order.agreement_no, order.amount);
    outside.movement(Kind::Debit, &number, movement, |told, _| debit_reply(told, &order.debit_no)).await
}

async fn debit_result(State(outside): State<Arc<Outside>>, Path(debit_no): Path<DebitNo>) -> Response {
    outside.movement_result(Kind::Debit, &debit_no.to_string(), |told, _| debit_reply(told, &debit_no)).await
}

fn debit_reply(told: Told, debit_no: &DebitNo) -> DebitReply {
    DebitReply {
        channel_txn_no: (told.result == MovementResult::Success).then(|| format!("D{debit_no}")),
        result: told.result,
        business_date: told.business_date(),
        code: told.code,
        message: String::new(),
    }
}

impl Outside {
    /// Takes a payment, and tells the door as the script says.
    pub(super) fn pay(self: &Arc<Self>, request: PaymentRequest) -> Capture {
        let captured_at = request.captured_at.map_or_else(|| self.now(), |at| shanghai(&at));
        let capture = Capture {
            fee: Some(rules::fee::agreed(request.amount, &self.terms(&request.channel))),
            business_date: request.business_date.unwrap_or_else(|| business_day(&captured_at)),
            channel_txn_no: request.channel_txn_no.unwrap_or_else(|| format!("T{}", Uuid::new_v4().simple())),
            order_no: request.order_no,
            channel: request.channel,
            method: request.method,
            amount: request.amount,
            captured_at,
            instrument_masked: request.instrument_masked,
            terminal: request.terminal,
            refunded: Amount::ZERO,
            notices_sent: 0,
            notices_acknowledged: 0,
        };
        let (capture, new, step) = self.change(|world| {
            let step = world.scripts.notice(capture.order_no.as_str());
            let (capture, new) = world.books.capture(capture);
            (capture, new, step)
        });
        if new {
            self.runtime.spawn(Arc::clone(self).notify(capture.clone(), step));
        }
        capture
    }

    async fn notify(self: Arc<Self>, capture: Capture, step: NoticeStep) {
        if self.told_by_alipay(&capture, step) {
            return;
        }
        for _ in 0..times(step).await {
            self.send_until_acknowledged(&capture).await;
        }
    }

    async fn send_until_acknowledged(&self, capture: &Capture) {
        let mut pause = NOTICE_PAUSE_MIN;
        for _ in 0..NOTICE_TRIES {
            let Some(acknowledged) = self.send_notice(capture).await else { return };
            self.change(|world| world.books.count_notice(&capture.order_no, &capture.channel_txn_no, acknowledged));
            if acknowledged {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(NOTICE_PAUSE_MAX);
        }
        tracing::warn!(order = %capture.order_no, "the door never acknowledged a capture");
    }

    /// Whether the door acknowledged the notice; nothing if there is no door.
    async fn send_notice(&self, capture: &Capture) -> Option<bool> {
        let door = self.change(|world| world.door.clone())?;
        let notice = Notice::of(capture, &self.channels, &door, self.clock.now());
        let mut request = self.http.post(format!("{}{}", door.url, notice.path)).body(notice.body);
        for (name, value) in notice.headers {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(answer) if answer.status().is_success() => {
                let Some(good) = notice.good else { return Some(true) };
                Some(answer.text().await.is_ok_and(|text| text == good))
            }
            Ok(answer) => {
                tracing::warn!(order = %capture.order_no, status = %answer.status(), "the door did not take a notice");
                Some(false)
            }
            Err(error) => {
                tracing::warn!(order = %capture.order_no, %error, "the door did not answer a notice");
                Some(false)
            }
        }
    }
}

/// Waits as the script says, and how often the notice then goes out.
pub(super) async fn times(step: NoticeStep) -> u32 {
    match step {
        NoticeStep::Once => 1,
        NoticeStep::Twice => 2,
        NoticeStep::Late { ms } => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            1
        }
        NoticeStep::Never => 0,
    }
}
