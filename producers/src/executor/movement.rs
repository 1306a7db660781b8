//! A call that moves value. An outcome that is not known is asked for; the call goes out again only when the other side does
//! not know it after the settling time, under the same number and with the same amount. Where it can be cancelled, it is,
//! if it is still not done after so many questions, or is wanted no more; what is done counts, before that and after it.

use chrono::TimeDelta;
use rules::policy::Policy;
use schemas::{Data, events::Evidence};

use super::{Attempt, Days, Next, SOURCE, Worker, doubling};
use crate::calls::{Calls, Movement};

const QUERY_AGAIN_MOST: TimeDelta = TimeDelta::minutes(10);
/// Asking more often than this would only be a burden to the other side, whatever the policy says.
const QUERY_AGAIN_LEAST: TimeDelta = TimeDelta::milliseconds(100);

/// What is particular about one kind of movement.
pub(super) trait Mover {
    type Done;

    /// What became of it? Asking moves nothing.
    async fn ask(&self, calls: &Calls) -> Movement<Self::Done>;

    /// Send it.
    async fn send(&self, calls: &Calls) -> Movement<Self::Done>;

    /// At which question it is cancelled if the answer is that it is not done; 0 for never.
    fn questions(&self, _: &Policy) -> u16 {
        0
    }

    /// Undo it, whatever became of it; nothing where the other side cannot.
    async fn cancel(&self, _: &Calls) -> Option<Movement<Self::Done>> {
        None
    }

    /// What the log must say before it goes out: from then on it cannot be cancelled.
    fn announcement(&self) -> Option<Data> {
        None
    }

    /// What the log is told while nobody knows whether it was done.
    fn doubt(&self, _code: &str) -> Option<Data> {
        None
    }

    /// Who says what became of it.
    fn source(&self) -> String;

    /// What it means that it was done.
    fn done(&self, done: Self::Done, evidence: Evidence, days: Days<'_>) -> Vec<Data>;

    /// What it means that it definitely was not.
    fn refused(&self, code: String, message: String, retryable: bool, evidence: Evidence) -> Data;
}

impl Worker {
    pub(super) async fn make<M: Mover, E: std::fmt::Display>(
        &self,
        attempt: Attempt<'_>,
        mover: M,
        submit: impl Future<Output = Result<bool, E>>,
    ) -> Next {
        let mut open = None;
        if attempt.unknown {
            match mover.ask(&self.calls).await {
                // A rebuild made this task, so the call may be on its way at this moment: no "no" counts yet.
                Movement::NotKnown | Movement::Refused { .. } if attempt.tries == 0 => {
                    return self.ask_later(attempt, "it may still be on its way".to_owned());
                }
                // Without an answer nothing is cancelled: it may have been done, and be good.
                answer @ (Movement::NotKnown | Movement::UnderWay)
                    if attempt.stopped || is_asked_enough(attempt, mover.questions(&self.policy)) =>
                {
                    open = Some(answer);
                }
                // Every earlier claim was left alone for the settling time at least, by its due time or by its lease.
                Movement::NotKnown => {}
                answer => return self.settle(attempt, &mover, answer, Evidence::Query).await,
            }
        }
        if let Some(announcement) = mover.announcement() {
            // From here on it cannot be cancelled, even if the acknowledgement is lost: so it is unknown by then.
            if let Err(error) = self.append(attempt.payload, SOURCE.to_owned(), [announcement]).await {
                return self.ask_later(attempt, error.to_string());
            }
        }
        match submit.await {
            Ok(true) => {}
            Ok(false) => return Next::Drop,
            Err(error) => return self.ask_later(attempt, error.to_string()),
        }
        if let Some(asked) = open {
            match mover.cancel(&self.calls).await {
                // There is nothing to undo, by the other side's word.
                Some(Movement::NotKnown) => {}
                Some(Movement::Refused { code, .. }) if attempt.stopped => {
                    return self.ask_later(attempt, format!("it cannot be cancelled: {code}"));
                }
                // It cannot be undone, and goes on as it would without.
                None | Some(Movement::Refused { .. }) if matches!(asked, Movement::NotKnown) => {}
                None | Some(Movement::Refused { .. }) => {
                    return self.settle(attempt, &mover, asked, Evidence::Query).await;
                }
                Some(answer) => return self.settle(attempt, &mover, answer, Evidence::SyncResponse).await,
            }
        }
        if attempt.stopped {
            let why = "the other side does not know it".to_owned();
            // A single "no" may come too early, or before an executor that was frozen sends after all.
            let asked = is_asked_enough(attempt, mover.questions(&self.policy));
            return if asked { Next::End { why } } else { self.ask_later(attempt, why) };
        }
        let answer = mover.send(&self.calls).await;
        self.settle(attempt, &mover, answer, Evidence::SyncResponse).await
    }

    /// Appends the outcome, if the other side has told one.
    async fn settle<M: Mover>(
        &self,
        attempt: Attempt<'_>,
        mover: &M,
        answer: Movement<M::Done>,
        evidence: Evidence,
    ) -> Next {
        let outcome = match answer {
            Movement::Done(done) => mover.done(done, evidence, self.days()),
            Movement::Refused { code, message, retryable } => vec![mover.refused(code, message, retryable, evidence)],
            Movement::UnderWay => return self.ask_later(attempt, "the other side is at it".to_owned()),
            Movement::NotKnown => return self.ask_later(attempt, "the other side does not know it".to_owned()),
            Movement::Unknown { why, code } => {
                // Told once; it is the same fact each time.
                if let (false, Some(doubt)) = (attempt.unknown, mover.doubt(&code))
                    && let Err(error) = self.append(attempt.payload, mover.source(), [doubt]).await
                {
                    tracing::warn!(%error, "the log was not told of a doubt");
                }
                return self.ask_later(attempt, why);
            }
        };
        match self.append(attempt.payload, mover.source(), outcome).await {
            Ok(()) => Next::Finish,
            Err(error) => self.ask_later(attempt, error.to_string()),
        }
    }

    /// Asks not before the settling time, and then less and less often.
    fn ask_later(&self, attempt: Attempt<'_>, why: String) -> Next {
        let settling = TimeDelta::seconds(self.policy.refund_settling_s.into()).max(QUERY_AGAIN_LEAST);
        Next::LeaveUnknown { due_at: self.now() + doubling(settling, attempt.tries, QUERY_AGAIN_MOST), why }
    }
}

/// Whether this claim's question is the last one. Every claim but the first asks, and the first sends.
fn is_asked_enough(attempt: Attempt<'_>, questions: u16) -> bool {
    questions > 0 && attempt.tries >= i32::from(questions)
}
