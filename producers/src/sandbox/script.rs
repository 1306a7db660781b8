//! What the outside does with an order, told in advance: by order number, by a seeded share for load tests, or by
//! default. A list is a sequence of calls; when it is used up its last step repeats.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a script leaves out is as by default: booked, refunded, and told once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Each time the bank is asked.
    pub bank: Vec<BankStep>,
    /// Each refund that the acquirer has not settled before; a repeat of a settled one is answered as before.
    pub refunds: Vec<MoveStep>,
    /// Likewise each credit of a card, each posting of fees, each debit of a holder.
    pub credits: Vec<MoveStep>,
    pub postings: Vec<MoveStep>,
    pub debits: Vec<MoveStep>,
    /// A query does not find its payments.
    pub hidden: bool,
    /// The card is offline: what is credited must be written to it at a load terminal.
    pub offline_card: bool,
    /// Lines of a posting that the school does not take.
    pub refused_lines: Vec<u16>,
    /// Each time that a debit is cancelled: what its trade asks for is done, or refused.
    pub cancels: Vec<MoveStep>,
    /// How each query of a refund is answered.
    pub refund_queries: Vec<Delivery>,
    /// Likewise each query of a trade at Alipay.
    pub trade_queries: Vec<Delivery>,
    /// So many questions about its trade come before Alipay knows of it.
    pub queries_too_early: usize,
    pub notice: Option<NoticeStep>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BankStep {
    Booked,
    Failed,
    Uncertain,
    /// Never answers, and books nothing.
    Silent,
    /// Books, and answers late.
    Slow {
        ms: u64,
    },
    #[serde(rename = "http_500")]
    Http500,
    /// Closes the connection without an answer.
    Reset,
    BookedButSilent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveStep {
    Success,
    /// Taken; so many queries later it is done.
    Accepted {
        processing: u32,
    },
    /// Taken; so many queries later it is refused.
    AcceptedThenRefused {
        processing: u32,
        code: String,
        #[serde(default)]
        retryable: bool,
    },
    RefuseRetryable {
        code: String,
    },
    RefuseFinal {
        code: String,
    },
    SilentButDone,
    SilentNotDone,
    #[serde(rename = "http_500_but_done")]
    Http500ButDone,
    #[serde(rename = "http_500_not_done")]
    Http500NotDone,
    ResetButDone,
    ResetNotDone,
    /// Done, and answered late.
    Slow {
        ms: u64,
    },
}

/// How a notice of a capture reaches the door.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeStep {
    Once,
    Twice,
    Late { ms: u64 },
    Never,
}

/// How an answer reaches whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    Prompt,
    Late {
        ms: u64,
    },
    Never,
    #[serde(rename = "http_500")]
    Http500,
    Reset,
}

/// What the bank does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum BankDeed {
    Book,
    Refuse,
    Doubt,
    Nothing,
}

/// What the outside does with a call that moves value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Deed {
    Do,
    Take {
        processing: u32,
        refusal: Option<Refusal>,
    },
    Refuse(Refusal),
    /// It never arrives.
    Lose,
}

/// What is definitely not done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: String,
    pub retryable: bool,
}

impl BankStep {
    pub(super) fn parts(self) -> (BankDeed, Delivery) {
        match self {
            Self::Booked => (BankDeed::Book, Delivery::Prompt),
            Self::Failed => (BankDeed::Refuse, Delivery::Prompt),
            Self::Uncertain => (BankDeed::Doubt, Delivery::Prompt),
            Self::Silent => (BankDeed::Nothing, Delivery::Never),
            Self::Slow { ms } => (BankDeed::Book, Delivery::Late { ms }),
            Self::Http500 => (BankDeed::Nothing, Delivery::Http500),
            Self::Reset => (BankDeed::Nothing, Delivery::Reset),
            Self::BookedButSilent => (BankDeed::Book, Delivery::Never),
        }
    }
}

impl MoveStep {
    pub(super) fn parts(self) -> (Deed, Delivery) {
        let refuse = |code, retryable| Deed::Refuse(Refusal { code, retryable });
        match self {
            Self::Success => (Deed::Do, Delivery::Prompt),
            Self::Accepted { processing } => (Deed::Take { processing, refusal: None }, Delivery::Prompt),
            Self::AcceptedThenRefused { processing, code, retryable } => {
                (Deed::Take { processing, refusal: Some(Refusal { code, retryable }) }, Delivery::Prompt)
            }
            Self::RefuseRetryable { code } => (refuse(code, true), Delivery::Prompt),
            Self::RefuseFinal { code } => (refuse(code, false), Delivery::Prompt),
            Self::SilentButDone => (Deed::Do, Delivery::Never),
            Self::SilentNotDone => (Deed::Lose, Delivery::Never),
            Self::Http500ButDone => (Deed::Do, Delivery::Http500),
            Self::Http500NotDone => (Deed::Lose, Delivery::Http500),
            Self::ResetButDone => (Deed::Do, Delivery::Reset),
            Self::ResetNotDone => (Deed::Lose, Delivery::Reset),
            Self::Slow { ms } => (Deed::Do, Delivery::Late { ms }),
        }
    }
}

/// A share of all orders that goes by a script of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    pub per_mille: u16,
    pub script: Script,
}

/// Scripts by order, and how far each has come.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    default: Script,
    seed: u64,
    shares: Vec<Share>,
    orders: HashMap<String, Script>,
    taken: HashMap<String, Taken>,
}

/// How many steps of each list an order has taken.
#[derive(Debug, Default)]
struct Taken {
    bank: usize,
    moves: [usize; Kind::ALL.len()],
    cancels: usize,
    refund_queries: usize,
    early_queries: usize,
    trade_queries: usize,
}

/// A kind of call that moves value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Refund,
    Credit,
    Posting,
    Debit,
}

impl Kind {
    const ALL: &[Self] = &[Self::Refund, Self::Credit, Self::Posting, Self::Debit];

    fn steps(self, script: &Script) -> &Vec<MoveStep> {
        match self {
            Self::Refund => &script.refunds,
            Self::Credit => &script.credits,
            Self::Posting => &script.postings,
            Self::Debit => &script.debits,
        }
    }
}

impl Scripts {
    pub fn new(default: Script, seed: u64, shares: Vec<Share>) -> Self {
        Self { default, seed, shares, ..Self::default() }
    }

    /// The order goes by this script from now on, from its start.
    pub fn set(&mut self, order_no: String, script: Script) {
        self.taken.remove(&order_no);
        self.orders.insert(order_no, script);
    }

    pub fn bank(&mut self, order_no: &str) -> BankStep {
        let taken = count(&mut self.taken(order_no).bank);
        self.step(order_no, taken, |script| &script.bank).unwrap_or(BankStep::Booked)
    }

    pub fn movement(&mut self, kind: Kind, order_no: &str) -> MoveStep {
        let taken = count(&mut self.taken(order_no).moves[kind as usize]);
        self.step(order_no, taken, |script| kind.steps(script)).unwrap_or(MoveStep::Success)
    }

    /// What is said of an order beside its steps.
    pub fn of(&self, order_no: &str) -> &Script {
        self.script(order_no)
    }

    pub fn refund_query(&mut self, order_no: &str) -> Delivery {
        let taken = count(&mut self.taken(order_no).refund_queries);
        self.step(order_no, taken, |script| &script.refund_queries).unwrap_or(Delivery::Prompt)
    }

    pub fn trade_query(&mut self, order_no: &str) -> Delivery {
        let taken = count(&mut self.taken(order_no).trade_queries);
        self.step(order_no, taken, |script| &script.trade_queries).unwrap_or(Delivery::Prompt)
    }

    pub fn cancel(&mut self, order_no: &str) -> MoveStep {
        let taken = count(&mut self.taken(order_no).cancels);
        self.step(order_no, taken, |script| &script.cancels).unwrap_or(MoveStep::Success)
    }

    pub fn is_too_early(&mut self, order_no: &str) -> bool {
        count(&mut self.taken(order_no).early_queries) < self.script(order_no).queries_too_early
    }

    pub fn notice(&self, order_no: &str) -> NoticeStep {
        self.script(order_no).notice.or(self.default.notice).unwrap_or(NoticeStep::Once)
    }

    fn taken(&mut self, order_no: &str) -> &mut Taken {
        self.taken.entry(order_no.to_owned()).or_default()
    }

    fn step<S: Clone>(&self, order_no: &str, taken: usize, list: impl Fn(&Script) -> &Vec<S>) -> Option<S> {
        let own = list(self.script(order_no));
        let steps = if own.is_empty() { list(&self.default) } else { own };
        steps.get(taken).or(steps.last()).cloned()
    }

    fn script(&self, order_no: &str) -> &Script {
        self.orders.get(order_no).unwrap_or_else(|| self.drawn(order_no))
    }

    /// The lot of an order depends on the seed and its number only, so it falls alike in every run.
    fn drawn(&self, order_no: &str) -> &Script {
        let digest = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(order_no).finalize();
        let mut lot = u64::from_be_bytes(std::array::from_fn(|i| digest[i])) % 1000;
        for share in &self.shares {
            match lot.checked_sub(share.per_mille.into()) {
                None => return &share.script,
                Some(rest) => lot = rest,
            }
        }
        &self.default
    }
}

fn count(taken: &mut usize) -> usize {
    *taken += 1;
    *taken - 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_written_in_plain_words() {
        let script: Script = serde_json::from_str(
            r#"{"bank": ["http_500", {"slow": {"ms": 300}}, "booked_but_silent"],
                "refunds": ["silent_but_done", {"accepted": {"processing": 2}}, {"refuse_final": {"code": "E9"}}],
                "refund_queries": ["never"], "notice": {"late": {"ms": 5}}}"#,
        )
        .unwrap();
        assert_eq!(script.bank, [BankStep::Http500, BankStep::Slow { ms: 300 }, BankStep::BookedButSilent]);
        assert_eq!(script.refunds[1], MoveStep::Accepted { processing: 2 });
        assert_eq!((script.refund_queries, script.notice), (vec![Delivery::Never], Some(NoticeStep::Late { ms: 5 })));
        assert!(serde_json::from_str::<Script>(r#"{"banks": []}"#).is_err());
    }

    #[test]
    fn the_last_step_repeats_and_what_is_left_out_is_as_by_default() {
        let default = Script { refunds: vec![MoveStep::SilentNotDone], ..Script::default() };
        let mut scripts = Scripts::new(default, 0, Vec::new());
        scripts.set("a".to_owned(), Script { bank: vec![BankStep::Uncertain, BankStep::Failed], ..Script::default() });
        let asked: Vec<BankStep> = (0..4).map(|_| scripts.bank("a")).collect();
        assert_eq!(asked, [BankStep::Uncertain, BankStep::Failed, BankStep::Failed, BankStep::Failed]);
        assert_eq!(scripts.movement(Kind::Refund, "a"), MoveStep::SilentNotDone);
        assert_eq!((scripts.bank("b"), scripts.notice("b")), (BankStep::Booked, NoticeStep::Once));
    }

    #[test]
    fn shares_fall_by_the_seed_and_about_as_large_as_asked_for() {
        let share = |per_mille, step| Share { per_mille, script: Script { bank: vec![step], ..Script::default() } };
        let shares = vec![share(100, BankStep::Failed), share(50, BankStep::Uncertain)];
        let draw = |seed| -> Vec<BankStep> {
            let mut scripts = Scripts::new(Script::default(), seed, shares.clone());
            (0..10_000).map(|order| scripts.bank(&format!("order {order}"))).collect()
        };
        let drawn = draw(7);
        let count = |step| drawn.iter().filter(|drawn| **drawn == step).count();
        assert!((850..1150).contains(&count(BankStep::Failed)), "{}", count(BankStep::Failed));
        assert!((400..600).contains(&count(BankStep::Uncertain)), "{}", count(BankStep::Uncertain));
        assert_eq!(drawn, draw(7));
        assert_ne!(drawn, draw(8));
    }
}
