//! What Alipay tells by itself: payments, refunds, trades that were closed, and agreements signed and ended.

use std::sync::Arc;

use schemas::{Amount, Name, OrderId};
use uuid::Uuid;

use super::{Trade, keys, written};
use crate::{
    calls::{AlipayConfig, DebitNo},
    sandbox::{Capture, NoticeStep, Outside, Sandbox, World, acquirer::times, books::MovementState},
    signature::{Form, alipay},
};

/// Between one try and the next (4m, 10m, 10m, 1h, 2h, 6h, 15h), in minutes: eight tries in all.
const PAUSES_MINUTES: [u32; 7] = [4, 10, 10, 60, 120, 360, 900];

/// No agreement has an end unless somebody ends it.
const NO_END: &str = "2115-02-01 00:00:00";

impl Sandbox {
    /// With which the ledger calls this gateway. Debits are told to the door, if there is one by now.
    pub fn alipay_config(&self) -> AlipayConfig {
        let door = self.outside.change(|world| world.door.as_ref().map(|door| door.url.clone()));
        AlipayConfig {
            gateway_url: format!("{}/alipay/gateway.do", self.url),
            app_id: keys::APP_ID.to_owned(),
            private_key: keys::OURS_PRIVATE.to_owned(),
            public_key: keys::ALIPAY_PUBLIC.to_owned(),
            notify_url: door.map(|url| format!("{url}/v1/notify/{{name}}")).unwrap_or_default(),
            ..AlipayConfig::default()
        }
    }

    /// A holder signs a mandate for a card, which the merchant's own number (the card's reference number) names.
    /// Answers once it has been told.
    pub async fn sign_mandate(&self, external_agreement_no: &str, agreement_no: &str) {
        self.outside.change(|world| {
            world.alipay.ended.remove(agreement_no);
            world.alipay.agreements.insert(agreement_no.to_owned(), external_agreement_no.to_owned());
        });
        self.outside.tell_of_agreement(agreement_no, external_agreement_no, false).await;
    }

    /// The holder ends it, and it cannot be debited any more.
    pub async fn end_mandate(&self, agreement_no: &str) {
        let external = self.outside.change(|world| {
            world.alipay.ended.insert(agreement_no.to_owned());
            world.alipay.agreements.get(agreement_no).cloned().unwrap_or_default()
        });
        self.outside.tell_of_agreement(agreement_no, &external, true).await;
    }

    /// Nobody pays in time, and the trade is closed: the other meaning of TRADE_CLOSED.
    pub fn close_trade(&self, channel: &Name, order_no: &OrderId, amount: Amount) {
        let number = number_of(order_no);
        let url = self.outside.change(|world| {
            if world.trade(&number).is_some() || !world.alipay.closed.insert(number.clone()) {
                return None;
            }
            self.outside.notice_url(world, channel, &number)
        });
        let Some(url) = url else { return };
        let now = self.outside.wall_time();
        let trade = Trade {
            channel: channel.clone(),
            number,
            trade_no: format!("T{order_no}"),
            amount,
            paid_at: String::new(),
        };
        let mut notice = self.outside.of_trade(&trade, "TRADE_CLOSED");
        notice.push("gmt_create", &now).push("gmt_close", now);
        self.outside.tell(url, notice, NoticeStep::Once, None);
    }
}

impl Outside {
    /// Where Alipay tells of a trade: where the call that made it said, or at the door. Nowhere if the door would not take
    /// it for Alipay's.
    fn notice_url(&self, world: &World, channel: &Name, number: &DebitNo) -> Option<String> {
        if !self.is_told_by_alipay(channel) {
            return None;
        }
        let told = world.alipay.notify_urls.get(number).cloned();
        told.or_else(|| Some(format!("{}/v1/notify/{channel}", world.door.as_ref()?.url)))
    }

    fn is_told_by_alipay(&self, channel: &Name) -> bool {
        let settings = match channel.as_str() {
            "alipay-mini" => &self.channels.alipay_mini,
            "alipay-withholding" => &self.channels.alipay_withholding,
            _ => return false,
        };
        settings.public_key == keys::ALIPAY_PUBLIC
    }

    /// Whether Alipay told of a payment, because its channel is one of Alipay's.
    pub(in crate::sandbox) fn told_by_alipay(self: &Arc<Self>, capture: &Capture, step: NoticeStep) -> bool {
        let (order_no, number) = (&capture.order_no, number_of(&capture.order_no));
        let Some(url) = self.change(|world| self.notice_url(world, &capture.channel, &number)) else { return false };
        let trade = Trade {
            channel: capture.channel.clone(),
            number,
            trade_no: capture.channel_txn_no.clone(),
            amount: capture.amount,
            paid_at: written(capture.captured_at),
        };
        let notice = self.of_paid_trade(&trade, "TRADE_SUCCESS");
        self.tell(url, notice, step, Some((order_no.clone(), trade.trade_no)));
        true
    }

    /// Tells of what a call has brought about: of a debit, and of a refund.
    pub(super) fn tell_of(self: &Arc<Self>, content: &super::Content) {
        let (number, order_no) = (&content.out_trade_no, &content.out_trade_no.order_no);
        let found = self.change(|world| {
            let trade = world.trade(number)?;
            let url = self.notice_url(world, &trade.channel, number)?;
            let is_debit = world.books.debits.contains_key(&number.to_string());
            let debited = is_debit && world.alipay.told.insert(number.to_string());
            let refund = world.books.refunds.get(&content.out_request_no);
            let is_done = refund.is_some_and(|refund| refund.state == MovementState::Done);
            let refunded = is_done && world.alipay.told.insert(content.out_request_no.clone());
            let total = world.books.refunded(order_no);
            Some((trade, url, debited, refunded.then_some(total), world.scripts.notice(order_no.as_str())))
        });
        let Some((trade, url, debited, refunded, step)) = found else { return };
        if debited {
            self.tell(url.clone(), self.of_paid_trade(&trade, "TRADE_SUCCESS"), step, None);
        }
        if let Some(total) = refunded {
            let mut notice = self.of_paid_trade(&trade, trade.status(total));
            notice
                .push("out_biz_no", &content.out_request_no)
                // All that has gone back so far, not this refund.
                .push("refund_fee", total.to_string())
                .push("gmt_refund", format!("{}.000", self.wall_time()));
            self.tell(url, notice, step, None);
        }
    }

    async fn tell_of_agreement(&self, agreement_no: &str, external_agreement_no: &str, is_over: bool) {
        let channel = self.withholding_channel();
        let Some(door) = self.change(|world| world.door.clone()) else { return };
        let url = format!("{}/v1/notify/{channel}", door.url);
        let now = self.wall_time();
        let mut notice = self.notice(if is_over { "dut_user_unsign" } else { "dut_user_sign" });
        notice
            .push("agreement_no", agreement_no)
            .push("external_agreement_no", external_agreement_no)
            .push("alipay_user_id", "2088000000000001")
            .push("personal_product_code", "GENERAL_WITHHOLDING_P")
            .push("sign_scene", "INDUSTRY|EDU_CAMPUS")
            .push("status", if is_over { "UNSIGN" } else { "NORMAL" });
        if is_over {
            notice.push("unsign_time", now);
        } else {
            notice.push("sign_time", &now).push("valid_time", now).push("invalid_time", NO_END);
        }
        self.send(url, notice, NoticeStep::Once, None).await;
    }

    fn of_paid_trade(&self, trade: &Trade, status: &str) -> Form {
        let mut notice = self.of_trade(trade, status);
        for amount in ["receipt_amount", "buyer_pay_amount", "invoice_amount"] {
            notice.push(amount, trade.amount.to_string());
        }
        notice.push("gmt_create", &trade.paid_at).push("gmt_payment", &trade.paid_at);
        notice
    }

    fn of_trade(&self, trade: &Trade, status: &str) -> Form {
        let mut notice = self.notice("trade_status_sync");
        notice
            .push("out_trade_no", trade.number.to_string())
            .push("trade_no", &trade.trade_no)
            .push("trade_status", status)
            .push("total_amount", trade.amount.to_string())
            .push("seller_id", keys::SELLER_ID)
            .push("buyer_id", "2088000000000001")
            .push("subject", "校园缴费");
        notice
    }

    fn notice(&self, notify_type: &str) -> Form {
        let mut notice = Form::new();
        notice
            .push("notify_type", notify_type)
            .push("notify_id", Uuid::new_v4().simple().to_string())
            .push("notify_time", self.wall_time())
            .push("app_id", keys::APP_ID)
            .push("auth_app_id", keys::APP_ID)
            .push("charset", "utf-8")
            .push("version", "1.0");
        notice
    }

    fn wall_time(&self) -> String {
        written(self.now())
    }

    fn tell(self: &Arc<Self>, url: String, notice: Form, step: NoticeStep, capture: Option<(OrderId, String)>) {
        let outside = Arc::clone(self);
        self.runtime.spawn(async move { outside.send(url, notice, step, capture).await });
    }

    /// Signs a notice and sends it, as often as the script says and each time until it is acknowledged. Of a capture the
    /// books count it.
    async fn send(&self, url: String, mut notice: Form, step: NoticeStep, capture: Option<(OrderId, String)>) {
        if let Err(error) = alipay::sign_notice(&mut notice, &self.alipay.signs) {
            tracing::error!(%error, "a notice could not be signed");
            return;
        }
        for _ in 0..times(step).await {
            self.send_until_success(&url, &notice, capture.as_ref()).await;
        }
    }

    async fn send_until_success(&self, url: &str, notice: &Form, capture: Option<&(OrderId, String)>) {
        let mut pauses = PAUSES_MINUTES.iter();
        loop {
            let is_acknowledged = self.send_form(url, notice).await;
            if let Some((order_no, trade_no)) = capture {
                self.change(|world| world.books.count_notice(order_no, trade_no, is_acknowledged));
            }
            if is_acknowledged {
                return;
            }
            let Some(minutes) = pauses.next() else {
                tracing::warn!(url, "a notice of Alipay was never acknowledged");
                return;
            };
            tokio::time::sleep(self.alipay_minute * *minutes).await;
        }
    }

    /// Whether the door answered with the one word that counts.
    async fn send_form(&self, url: &str, notice: &Form) -> bool {
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded;charset=utf-8");
        match request.body(notice.encode()).send().await {
            Ok(answer) if answer.status().is_success() => {
                answer.text().await.is_ok_and(|text| text.trim() == "success")
            }
            Ok(answer) => {
                tracing::warn!(url, status = %answer.status(), "the door did not take a notice of Alipay");
                false
            }
            Err(error) => {
                tracing::warn!(url, %error, "the door did not answer a notice of Alipay");
                false
            }
        }
    }
}

/// Of a trade of which none was cancelled before.
fn number_of(order_no: &OrderId) -> DebitNo {
    DebitNo { order_no: order_no.clone(), cancelled: 0 }
}
