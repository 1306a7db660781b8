//! The chart of accounts. Debit is positive, credit negative. Debts are not our assets: what students owe the bank
//! stands in no account, the books hold only money that moved.

use std::fmt;

use crate::policy::HeldAs;

macro_rules! chart {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $name:literal / $zh:literal),+ $(,)?) => {
        /// An account of the chart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum AccountCode { $($(#[$doc])* $variant = $code),+ }

        impl AccountCode {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            pub fn zh(self) -> &'static str {
                match self { $(Self::$variant => $zh),+ }
            }
        }
    };
}

chart! {
    /// Cash seen on a bank statement, by bank account.
    BankSettlement = 1010 "bank_settlement" / "银行存款",
    /// Stored-value float paid out directly to a school's account, by school.
    FloatHeldBySchool = 1020 "float_held_by_school" / "学校代管资金",
    /// Captured and not yet reported as settled, by channel; may turn credit after late refunds.
    ChannelReceivable = 1110 "channel_receivable" / "应收渠道款",
    /// Reported by the channel, not yet seen at the bank, by channel.
    SettlementInTransit = 1120 "settlement_in_transit" / "在途结算款",
    /// Consumed first, not yet debited, by payer.
    WithholdingReceivable = 1210 "withholding_receivable" / "应收代扣款",
    /// Subsidy granted, not funded, by school.
    SubsidyReceivable = 1220 "subsidy_receivable" / "应收补助款",
    /// By party and order; only by explicit reclassification.
    Recoverable = 1310 "recoverable" / "待追回款",
    /// The books say more than the channel, by channel.
    SuspenseShort = 1320 "suspense_short" / "待查短款",
    /// Chargeback open, by case.
    Disputed = 1330 "disputed" / "争议款",
    /// Captured, outcome open: the payer's money, by order.
    PayerClearing = 2010 "payer_clearing" / "付款人待清算",
    /// Confirmed, to be remitted to the bank, by bank and contract.
    LoanRepaymentPayable = 2110 "loan_repayment_payable" / "应付贷款还款",
    /// Posted to fee items, by school, item and year.
    SchoolFeePayable = 2120 "school_fee_payable" / "应付学费",
    /// Usable stored value, by school and card.
    CampusCardLiability = 2130 "campus_card_liability" / "校园卡余额",
    /// Paid, not yet on the card, by school and card.
    CardPendingLoad = 2131 "card_pending_load" / "待圈存款",
    /// Restricted stored value, by school and card.
    SubsidyLiability = 2132 "subsidy_liability" / "补助余额",
    /// Canteen and shop, by school and merchant.
    CampusMerchantPayable = 2140 "campus_merchant_payable" / "应付校内商户",
    /// Refund decided, not completed, by order.
    RefundPayable = 2210 "refund_payable" / "应付退款",
    /// The channel has more than the books, owner unknown, by channel.
    SuspenseOver = 2310 "suspense_over" / "待查长款",
    /// Approved write-off of surpluses only.
    OtherIncome = 4010 "other_income" / "营业外收入",
    /// Fees borne by the operator, by channel.
    ChannelFeeExpense = 5010 "channel_fee_expense" / "渠道手续费",
    /// Approved write-off, by reason.
    Loss = 5020 "loss" / "损失",
}

impl AccountCode {
    pub fn number(self) -> u16 {
        self as u16
    }

    /// What an account is in reports: an asset, what is held for others, income or an expense.
    pub fn class(self, held_as: HeldAs) -> (&'static str, &'static str) {
        match (self.number() / 1000, held_as) {
            (1, _) => ("asset", "资产"),
            (2, HeldAs::OwnLiability) => ("liability", "负债"),
            (2, HeldAs::TrustMoney) => ("trust money", "受托代管资金"),
            (4, _) => ("income", "收入"),
            _ => ("expense", "费用"),
        }
    }
}

/// One account of the books: the account of the chart and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    pub code: AccountCode,
    /// The dimensions of the chart joined by `/`: an order, `cdb/loan:…`, a channel.
    pub owner: String,
}

impl Account {
    pub fn new(code: AccountCode, owner: impl Into<String>) -> Self {
        Self { code, owner: owner.into() }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.code.number(), self.code.name(), self.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_for_others_is_our_liability_or_trust_money_as_the_policy_says() {
        for (held_as, class) in [(HeldAs::OwnLiability, "liability"), (HeldAs::TrustMoney, "trust money")] {
            assert_eq!(AccountCode::CampusCardLiability.class(held_as).0, class);
            assert_eq!(AccountCode::BankSettlement.class(held_as).0, "asset");
        }
    }
}
