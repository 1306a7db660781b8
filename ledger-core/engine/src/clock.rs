//! The time that waiting is measured in. Simulated days share one clock that only moves when it is told to.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    /// Milliseconds since 1970.
    Simulated(Arc<AtomicI64>),
}

impl Clock {
    pub fn simulated(start: DateTime<Utc>) -> Self {
        Self::Simulated(Arc::new(AtomicI64::new(start.timestamp_millis())))
    }

    /// Now, in whole milliseconds as the log has them.
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now().trunc_subsecs(3),
            Self::Simulated(millis) => {
                DateTime::from_timestamp_millis(millis.load(Ordering::SeqCst)).unwrap_or(DateTime::UNIX_EPOCH)
            }
        }
    }

    /// What a record should be stamped with; nothing where the log's own clock counts.
    pub fn stamp(&self) -> Option<DateTime<Utc>> {
        matches!(self, Self::Simulated(_)).then(|| self.now())
    }

    /// Lets simulated time pass; the system's clock cannot be moved.
    pub fn advance(&self, by: TimeDelta) {
        if let Self::Simulated(millis) = self {
            millis.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }
}
