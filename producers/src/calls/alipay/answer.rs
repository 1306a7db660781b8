//! What Alipay's answers mean. Only a refusal of the call itself is a "no": a question that fails says nothing about what
//! it asks for, and a system error may come after the deed.

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeZone};
use rules::business_day::shanghai;
use schemas::{Amount, OrderId};
use serde::Deserialize;

use super::super::{Counted, DebitEnd, DebitOrder, Debited, Movement, NoAnswer, RefundOrder, Refunded};

/// What we read of the signed part of an answer; what is left out is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    code: String,
    msg: String,
    sub_code: String,
    sub_msg: String,
    out_trade_no: String,
    trade_no: String,
    trade_status: String,
    action: String,
    retry_flag: String,
    total_amount: String,
    gmt_payment: String,
    send_pay_date: String,
    out_request_no: String,
    fund_change: String,
    refund_amount: String,
    refund_status: String,
    gmt_refund_pay: String,
}

const SUCCESS: &str = "10000";
const TRADE_NOT_EXIST: &str = "ACQ.TRADE_NOT_EXIST";
const TRADE_HAS_CLOSE: &str = "ACQ.TRADE_HAS_CLOSE";

/// No answer that counts.
pub(super) fn nothing<T>(why: &NoAnswer) -> Movement<T> {
    tracing::warn!(%why, "Alipay did not answer");
    Movement::Unknown { why: why.to_string(), code: why.code() }
}

impl Answer {
    /// To `alipay.trade.refund`.
    pub fn refund(&self, order: &RefundOrder) -> Movement<Refunded> {
        if self.code != SUCCESS {
            return self.failure();
        }
        if !self.is_of(order) {
            return self.contradicts("it is about another order");
        }
        match self.fund_change.as_str() {
            "Y" => Movement::Done(self.refunded()),
            // Not by this call: by an earlier one, or not yet. The question tells.
            _ => Movement::UnderWay,
        }
    }

    /// To `alipay.trade.fastpay.refund.query`, where the code says only that the question was understood.
    pub fn refund_result(&self, order: &RefundOrder) -> Movement<Refunded> {
        if self.code != SUCCESS {
            return self.failed_question();
        }
        if self.refund_status.is_empty() && self.refund_amount.is_empty() {
            return Movement::NotKnown;
        }
        let is_ours = self.is_of(order) && is_about(&self.out_request_no, &order.refund_request_no);
        if !is_ours || !is_amount(&self.refund_amount, order.amount) {
            return self.contradicts("it is about another refund");
        }
        match self.refund_status.as_str() {
            // Older answers have the amount only.
            "" | "REFUND_SUCCESS" => Movement::Done(self.refunded()),
            status => unknown(status, "an unfamiliar status of a refund"),
        }
    }

    /// To `alipay.trade.pay`.
    pub fn debit(&self, order: &DebitOrder) -> Movement<DebitEnd> {
        match self.sub_code.as_str() {
            _ if self.code == SUCCESS => self.debited(order, &self.gmt_payment, DebitEnd::Taken),
            // Unpaid, or paid and given back: the question tells.
            TRADE_HAS_CLOSE => Movement::UnderWay,
            _ => self.failure(),
        }
    }

    /// To `alipay.trade.query` about a debit.
    pub fn debit_result(&self, order: &DebitOrder) -> Movement<DebitEnd> {
        if self.code != SUCCESS {
            return self.failed_question();
        }
        match self.trade_status.as_str() {
            "TRADE_SUCCESS" | "TRADE_FINISHED" => self.debited(order, &self.send_pay_date, DebitEnd::Taken),
            // Nothing has been taken. Under its own number it may be sent again, which tells why not.
            "WAIT_BUYER_PAY" => Movement::NotKnown,
            // Closed after it was paid: cancelled, and the answer to that was lost, or given back by somebody at Alipay. Were it
            // a refund of ours, made on a notice before this question, the order would show as an exception.
            "TRADE_CLOSED" if !self.send_pay_date.is_empty() => {
                self.debited(order, &self.send_pay_date, DebitEnd::GivenBack)
            }
            "TRADE_CLOSED" => self.closed(order),
            status => unknown(status, "an unfamiliar status of a trade"),
        }
    }

    /// To `alipay.trade.cancel`, which tells its action only of a trade that Alipay knows.
    pub fn cancel(&self, order: &DebitOrder) -> Movement<DebitEnd> {
        if self.retry_flag == "Y" {
            return Movement::UnderWay;
        }
        if self.code != SUCCESS {
            return self.failure();
        }
        match self.action.as_str() {
            "close" => self.closed(order),
            "refund" => self.debited(order, "", DebitEnd::GivenBack),
            "" => Movement::NotKnown,
            action => unknown(action, "an unfamiliar action of a cancel"),
        }
    }

    /// To `alipay.trade.query` about a payment: the trade's number and amount, if the payer's money is there. A trade that
    /// was given back in full is closed, and nothing is to be done for it; the statement tells of it.
    pub fn payment(&self, order_no: &OrderId) -> Option<(String, Amount)> {
        let is_paid = self.code == SUCCESS && ["TRADE_SUCCESS", "TRADE_FINISHED"].contains(&&*self.trade_status);
        if !is_paid || !is_about(&self.out_trade_no, order_no.as_str()) || self.trade_no.is_empty() {
            return None;
        }
        Some((self.trade_no.clone(), self.total_amount.parse().ok()?))
    }

    pub fn paid_at(&self) -> Option<DateTime<FixedOffset>> {
        time(&self.send_pay_date)
    }

    /// Not found, not paid, or something that cannot be read: none of them is a "no".
    pub fn why_unpaid(&self) -> String {
        match self.trade_status.as_str() {
            "TRADE_SUCCESS" | "TRADE_FINISHED" => "UNREADABLE".to_owned(),
            "" if self.sub_code == TRADE_NOT_EXIST => "NOT_FOUND".to_owned(),
            "" => self.reason().to_owned(),
            status => status.to_owned(),
        }
    }

    fn refunded(&self) -> Refunded {
        // Alipay gives refunds no number of its own.
        Refunded { refund_no: None, counted: counted(&self.gmt_refund_pay) }
    }

    fn is_of(&self, order: &RefundOrder) -> bool {
        let is_its_trade = !self.trade_no.is_empty() && self.trade_no == order.channel_txn_no;
        is_its_trade || is_about(&self.out_trade_no, order.order_no.as_str())
    }

    fn closed(&self, order: &DebitOrder) -> Movement<DebitEnd> {
        if !is_about(&self.out_trade_no, &order.debit_no.to_string()) {
            return self.contradicts("it is about another debit");
        }
        Movement::Done(DebitEnd::Closed)
    }

    fn debited(&self, order: &DebitOrder, at: &str, end: fn(Debited) -> DebitEnd) -> Movement<DebitEnd> {
        let is_ours = is_about(&self.out_trade_no, &order.debit_no.to_string());
        if !is_ours || self.trade_no.is_empty() || !is_amount(&self.total_amount, order.amount) {
            return self.contradicts("it is about another debit");
        }
        Movement::Done(end(Debited { channel_txn_no: Some(self.trade_no.clone()), counted: counted(at) }))
    }

    /// An answer to a call that moves money, other than success.
    fn failure<T>(&self) -> Movement<T> {
        if is_system_error(&self.sub_code) {
            return self.says_nothing();
        }
        match self.code.as_str() {
            "10003" => Movement::UnderWay,
            "40004" => self.refusal(),
            // Too many calls at once: it was turned away at the door.
            "40005" => self.refused(true),
            // Our own mistake, such as a missing permission or a wrong parameter. Nothing was done.
            "20001" | "40001" | "40002" | "40006" => {
                tracing::error!(code = self.code, sub_code = self.sub_code, "Alipay cannot use what we send");
                self.refused(false)
            }
            _ => self.says_nothing(),
        }
    }

    fn refusal<T>(&self) -> Movement<T> {
        match self.sub_code.as_str() {
            "" => self.says_nothing(),
            // An earlier attempt has done it. The question brings its result.
            "ACQ.TRADE_HAS_SUCCESS" => Movement::UnderWay,
            // The number is taken, by something whose fate this answer does not tell.
            "ACQ.DISCORDANT_REPEAT_REQUEST" | "ACQ.CONTEXT_INCONSISTENT" => {
                self.contradicts("the number is known with other particulars")
            }
            "ACQ.SELLER_BALANCE_NOT_ENOUGH" => self.refused(true),
            _ => self.refused(false),
        }
    }

    fn failed_question<T>(&self) -> Movement<T> {
        if self.sub_code == TRADE_NOT_EXIST { Movement::NotKnown } else { self.says_nothing() }
    }

    fn refused<T>(&self, retryable: bool) -> Movement<T> {
        let message = if self.sub_msg.is_empty() { &self.msg } else { &self.sub_msg };
        Movement::Refused { code: self.reason().to_owned(), message: message.clone(), retryable }
    }

    fn says_nothing<T>(&self) -> Movement<T> {
        unknown(self.reason(), "Alipay does not know")
    }

    /// A person has to look: asking again is harmless, and will hardly help.
    fn contradicts<T>(&self, why: &str) -> Movement<T> {
        tracing::error!(
            out_trade_no = self.out_trade_no,
            sub_code = self.sub_code,
            why,
            "Alipay contradicts the ledger"
        );
        unknown(if self.sub_code.is_empty() { "CONTRADICTION" } else { &self.sub_code }, why)
    }

    fn reason(&self) -> &str {
        [&self.sub_code, &self.code].into_iter().find(|code| !code.is_empty()).map_or("UNREADABLE", String::as_str)
    }
}

fn unknown<T>(code: &str, why: &str) -> Movement<T> {
    Movement::Unknown { why: why.to_owned(), code: code.to_owned() }
}

/// Such as `ACQ.SYSTEM_ERROR`, which old documents spell in several ways, and `isp.unknow-error`.
fn is_system_error(sub_code: &str) -> bool {
    sub_code.ends_with("SYSTEM_ERROR") || sub_code.contains("unknow")
}

/// An answer to another question may have got in the way of ours, and its signature is good.
fn is_about(told: &str, ours: &str) -> bool {
    told.is_empty() || told == ours
}

fn is_amount(told: &str, ours: Amount) -> bool {
    told.is_empty() || told.parse() == Ok(ours)
}

/// `yyyy-MM-dd HH:mm:ss` in Shanghai, with or without a fraction.
fn time(told: &str) -> Option<DateTime<FixedOffset>> {
    let told = NaiveDateTime::parse_from_str(told, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    shanghai(&DateTime::UNIX_EPOCH).offset().from_local_datetime(&told).single()
}

/// A time that cannot be read is one that is not told: the money has moved all the same.
fn counted(told: &str) -> Option<Counted> {
    time(told).map(Counted::At)
}
