//! The one status of an order, derived from its totals: the first rule of [`Order::status`] that holds.

use schemas::{Amount, Balance, events::RefundReason};
use serde::{Deserialize, Serialize};

use super::Order;
use crate::{confirmation::Answer, refund::Refund};

macro_rules! statuses {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal / $zh:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The word that staff read.
            pub fn zh(self) -> &'static str {
                match self { $(Self::$variant => $zh),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

statuses! {
    /// Where an order stands.
    OrderStatus {
        /// A chargeback is open.
        InDispute = "in_dispute" / "争议中",
        /// Booked and refunded, refunded too much, or two payments unresolved: a person must look.
        Exception = "exception" / "异常",
        RefundPending = "refund_pending" / "退款中",
        Refunded = "refunded" / "已退款",
        PartiallyRefunded = "partially_refunded" / "部分退款",
        Completed = "completed" / "已完成",
        /// Credited, and to be written to the card at a load terminal.
        AwaitingLoad = "awaiting_load" / "待圈存",
        /// Bought, and to be debited.
        AwaitingDebit = "awaiting_debit" / "待代扣",
        /// Bought, and the debit was declined until nothing was left to try.
        Uncollected = "uncollected" / "代扣未收回",
        Uncertain = "uncertain" / "结果不确定",
        PaidUnconfirmed = "paid_unconfirmed" / "已支付待核销",
        ConfirmedUnfunded = "confirmed_unfunded" / "已核销未见支付",
        /// Nobody can say yet whether money was taken. Where the ledger itself asks the channel, it does so until the
        /// order lapses; what it has not found by then was not paid, and the order is expired (the payment stays unknown
        /// on its own track). Where it does not, or had not asked by then, lapsing settles nothing.
        PaymentUnknown = "payment_unknown" / "支付结果未知",
        Reversed = "reversed" / "已冲正",
        Declined = "declined" / "支付失败",
        Expired = "expired" / "已失效",
        Cancelled = "cancelled" / "已取消",
        AwaitingPayment = "awaiting_payment" / "待支付",
        Placed = "placed" / "已申请",
        Rejected = "rejected" / "已拒绝",
    }
}

statuses! {
    /// What became of the payer's money at the channel.
    PaymentTrack {
        None = "none" / "无",
        Initiated = "initiated" / "已发起",
        Unknown = "unknown" / "未知",
        Declined = "declined" / "失败",
        Captured = "captured" / "成功",
        Reversed = "reversed" / "已冲正",
        ChargedBack = "charged_back" / "已退单",
    }
}

impl Order {
    pub fn status(&self) -> OrderStatus {
        let net = self.net_captured();
        let refunded = self.refunded();
        let confirmed = self.confirmation.standing();
        let left = net - refunded;
        let of_purchase = self.purchase.as_ref().and_then(|purchase| purchase.status(self));
        if self.chargebacks.values().any(|case| case.closed.is_none() && !case.received.is_zero()) {
            OrderStatus::InDispute
        } else if self.is_contradictory() {
            OrderStatus::Exception
        } else if let Some(status) = of_purchase {
            status
        } else if !self.refund_open().is_zero() {
            OrderStatus::RefundPending
        } else if !refunded.is_zero() && left == Balance::ZERO {
            OrderStatus::Refunded
        } else if self.lost_part_to_refunds() {
            OrderStatus::PartiallyRefunded
        } else if confirmed > Balance::ZERO && confirmed == left && self.confirmation.is_to_be_loaded() {
            OrderStatus::AwaitingLoad
        } else if confirmed > Balance::ZERO && confirmed == left {
            OrderStatus::Completed
        } else if net > Balance::ZERO && self.confirmation.answer() == Answer::Uncertain {
            OrderStatus::Uncertain
        } else if net > Balance::ZERO {
            OrderStatus::PaidUnconfirmed
        } else if confirmed > Balance::ZERO {
            OrderStatus::ConfirmedUnfunded
        } else {
            self.unpaid_status()
        }
    }

    /// Of an order that holds no money and has no booking.
    fn unpaid_status(&self) -> OrderStatus {
        if !self.reversals.is_empty() || self.reversed_uncharged {
            OrderStatus::Reversed
        } else if self.declined.is_some() {
            OrderStatus::Declined
        } else if self.payment_unknown.is_some() && !self.was_asked_about_until_it_lapsed() {
            OrderStatus::PaymentUnknown
        } else if self.expired_at.is_some() {
            OrderStatus::Expired
        } else if self.cancelled {
            OrderStatus::Cancelled
        } else if self.rejection().is_some() {
            OrderStatus::Rejected
        } else if self.accepted_until().is_some() {
            OrderStatus::AwaitingPayment
        } else {
            OrderStatus::Placed
        }
    }

    /// The ledger has asked, and found nothing. While nobody has asked, the doubt stays.
    fn was_asked_about_until_it_lapsed(&self) -> bool {
        let is_ours_to_ask = self.request.as_ref().is_some_and(|request| request.data.is_paid_on_a_page());
        is_ours_to_ask && self.expired_at.is_some() && self.payment_unknown.is_some_and(|unknown| unknown.tries > 0)
    }

    /// Money that is both booked and gone back, more back than taken (a dispute included), or two payments with nothing decided.
    fn is_contradictory(&self) -> bool {
        let net = self.net_captured();
        let out = self.confirmation.standing() + self.refunded();
        // A purchase counts before it is debited: what is missing is a receivable.
        let is_paid_first = !self.captured().is_zero() && self.purchase.as_ref().is_none_or(|it| it.posted.is_none());
        let gone_back = self.refunded() + self.charged_back();
        (is_paid_first && out > net) || Balance::from(gone_back) > net || self.unresolved_captures() > 1
    }

    fn unresolved_captures(&self) -> usize {
        self.standing_captures().filter(|capture| !self.refundable(capture).is_zero()).count()
    }

    /// A duplicate or a surplus that went back takes nothing from the order itself.
    fn lost_part_to_refunds(&self) -> bool {
        let beyond = |reason| matches!(reason, Some(RefundReason::DuplicateCapture | RefundReason::AmountMismatch));
        let of_the_order = self.refunds.values().filter(|refund| !beyond(refund.reason));
        !of_the_order.map(Refund::refunded).sum::<Amount>().is_zero()
    }

    pub fn payment_track(&self) -> PaymentTrack {
        if !self.charged_back().is_zero() {
            PaymentTrack::ChargedBack
        } else if self.has_money() {
            PaymentTrack::Captured
        } else if !self.reversals.is_empty() || self.reversed_uncharged {
            PaymentTrack::Reversed
        } else if self.declined.is_some() {
            PaymentTrack::Declined
        } else if self.payment_unknown.is_some() {
            PaymentTrack::Unknown
        } else if self.initiated > 0 {
            PaymentTrack::Initiated
        } else {
            PaymentTrack::None
        }
    }
}

statuses! {
    /// What became of it at the bank, the card host or the school.
    FulfilmentTrack {
        None = "none" / "无",
        Requested = "requested" / "查询中",
        Uncertain = "uncertain" / "不确定",
        Confirmed = "confirmed" / "已核销",
        PendingLoad = "pending_load" / "待圈存",
        Loaded = "loaded" / "已圈存",
        Failed = "failed" / "核销失败",
        Revoked = "revoked" / "已撤销",
    }
}

statuses! {
    /// What became of the order's refunds; the one that needs most attention speaks for all.
    RefundTrack {
        None = "none" / "无",
        Completed = "completed" / "已退款",
        Cancelled = "cancelled" / "已取消",
        Initiated = "initiated" / "已发起",
        Submitted = "submitted" / "已提交",
        Failed = "failed" / "退款失败",
        Returned = "returned" / "退款退回",
        Escalated = "escalated" / "待人工处理",
    }
}

impl Order {
    pub fn fulfilment_track(&self) -> FulfilmentTrack {
        let confirmation = &self.confirmation;
        match confirmation.answer() {
            _ if confirmation.is_to_be_loaded() => FulfilmentTrack::PendingLoad,
            _ if confirmation.standing() > Balance::ZERO && confirmation.pending_load => FulfilmentTrack::Loaded,
            _ if confirmation.standing() > Balance::ZERO => FulfilmentTrack::Confirmed,
            _ if !confirmation.revoked.is_zero() => FulfilmentTrack::Revoked,
            Answer::Failed => FulfilmentTrack::Failed,
            Answer::Uncertain => FulfilmentTrack::Uncertain,
            Answer::Confirmed | Answer::None if confirmation.asked > 0 => FulfilmentTrack::Requested,
            Answer::Confirmed | Answer::None => FulfilmentTrack::None,
        }
    }

    pub fn refund_track(&self) -> RefundTrack {
        self.refunds.values().map(Refund::track).max().unwrap_or(RefundTrack::None)
    }
}

impl Refund {
    pub fn track(&self) -> RefundTrack {
        if self.initiated.is_zero() && self.refunded().is_zero() {
            RefundTrack::None
        } else if self.open().is_zero() && self.refunded().is_zero() {
            RefundTrack::Cancelled
        } else if self.open().is_zero() {
            RefundTrack::Completed
        } else if self.escalated {
            RefundTrack::Escalated
        } else if !self.returned.is_zero() {
            RefundTrack::Returned
        } else if self.failed.as_ref().is_some_and(|failed| failed.tries >= self.submitted) {
            RefundTrack::Failed
        } else if self.submitted > 0 {
            RefundTrack::Submitted
        } else {
            RefundTrack::Initiated
        }
    }
}
