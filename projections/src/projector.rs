//! The projector: folds every event into its order, contract or batch, once, and lets each view write what changed.

use engine::{
    log::Record,
    store::{Row, Store, Verdict},
    stream::{Batch, Handler, StreamError},
};
use postgres::{Client, GenericClient, Transaction, error::SqlState};
use rules::{
    order::Order,
    policy::Policy,
    postings::{Leg, postings},
    settlement::{SettlementBatch, batch_of},
    stream::{StreamState, counts_once},
};
use schemas::{About, Event, Position, Recorded, Stream, StreamKind};

use crate::{
    generation::Generation,
    views::{self, cards, contract_status, fees, orders, settlements},
};

const ROWS_KEPT: usize = 12_000;

/// The handler of the projector's lanes.
pub struct Projector {
    generation: Generation,
    policy: Policy,
    /// Whether to end when another generation is shown; a rebuild works on one that is not shown yet.
    only_while_shown: bool,
    /// Whether its tables are known to be those of this program.
    fits: bool,
    state: State,
}

/// What the views are written from: the folded rows, and the events of the batch.
pub(crate) struct State {
    pub orders: Store<Order>,
    pub streams: Streams,
    pub batches: Store<SettlementBatch>,
    /// Which events about channels as a whole have been seen; each is a subject of its own.
    pub channel_events: Store<()>,
    pub news: News,
}

/// What streams add up to, by their kind: each kind is a view of its own.
pub(crate) struct Streams {
    pub contracts: Store<StreamState>,
    pub cards: Store<StreamState>,
    pub fee_accounts: Store<StreamState>,
}

impl Streams {
    fn new(schema: &str) -> Self {
        let store = |name: &str, columns| Store::new(format!("{schema}.{name}"), columns, ROWS_KEPT);
        Self {
            contracts: store(contract_status::NAME, contract_status::columns()),
            cards: store(cards::NAME, cards::columns()),
            fee_accounts: store(fees::ACCOUNTS, fees::account_columns()),
        }
    }

    fn all(&mut self) -> [(StreamKind, &mut Store<StreamState>); 3] {
        let Self { contracts, cards, fee_accounts } = self;
        [(StreamKind::Loan, contracts), (StreamKind::Card, cards), (StreamKind::Fees, fee_accounts)]
    }

    /// The row of a stream that has been loaded; `None` for that of a channel.
    fn row(&mut self, stream: &Stream, partition: i32) -> Option<&mut Row<StreamState>> {
        let wanted = stream.kind()?;
        let (kind, store) = self.all().into_iter().find(|(kind, _)| *kind == wanted)?;
        let row = store.row(stream.as_str(), partition);
        row.state.of(kind);
        Some(row)
    }
}

/// What one batch brought.
#[derive(Default)]
pub(crate) struct News {
    /// Events that count, with their postings.
    pub fresh: Vec<(Recorded, Vec<Leg>)>,
    /// Facts that were repeated with other business fields.
    pub conflicts: Vec<Recorded>,
    pub dead: Vec<DeadLetter>,
}

/// A record that cannot be read as an event.
pub(crate) struct DeadLetter {
    pub position: Position,
    pub recorded_at: chrono::DateTime<chrono::Utc>,
    pub key: String,
    pub refusal: schemas::Refusal,
    pub bytes: Vec<u8>,
}

impl Projector {
    pub fn new(generation: Generation, policy: Policy, only_while_shown: bool) -> Self {
        let state = State::new(generation.schema());
        Self { generation, policy, only_while_shown, fits: false, state }
    }
}

fn decode(record: &Record) -> Result<Recorded, DeadLetter> {
    let (position, recorded_at) = (record.position, record.timestamp);
    match record.event() {
        Ok(event) => Ok(Recorded { position, recorded_at, event }),
        Err(refusal) => {
            let key = String::from_utf8_lossy(&record.key).into_owned();
            Err(DeadLetter { position, recorded_at, key, refusal, bytes: record.value.clone() })
        }
    }
}

impl State {
    fn new(schema: &str) -> Self {
        let table = |name: &str| format!("{schema}.{name}");
        Self {
            orders: Store::new(table(orders::NAME), orders::columns(), ROWS_KEPT),
            streams: Streams::new(schema),
            batches: Store::new(table(settlements::BATCHES), settlements::batch_columns(), ROWS_KEPT),
            channel_events: Store::new(table(views::CHANNEL_EVENTS), Vec::new(), ROWS_KEPT),
            news: News::default(),
        }
    }

    /// How the tables of the stores are made.
    pub fn ddl(schema: &str) -> [String; 6] {
        let Self { orders, streams, batches, channel_events, .. } = Self::new(schema);
        [
            orders.table_ddl(),
            streams.contracts.table_ddl(),
            streams.cards.table_ddl(),
            streams.fee_accounts.table_ddl(),
            batches.table_ddl(),
            channel_events.table_ddl(),
        ]
    }

    fn begin_batch(&mut self) {
        self.orders.begin_batch();
        for (_, store) in self.streams.all() {
            store.begin_batch();
        }
        self.batches.begin_batch();
        self.channel_events.begin_batch();
    }

    fn load(&mut self, tx: &mut Transaction<'_>, batch: &[Result<Recorded, DeadLetter>]) -> Result<(), StreamError> {
        let events = || batch.iter().flatten().map(|read| &read.event);
        let about = |wanted| events().filter(move |event| event.data.about() == wanted);
        self.orders.load(tx, about(About::Order).map(|event| event.subject.as_str()))?;
        let dead = batch.iter().filter_map(|read| read.as_ref().err()).map(|letter| letter.key.as_str());
        let streams: Vec<&str> = events().map(|event| event.stream.as_str()).chain(dead).collect();
        for (kind, store) in self.streams.all() {
            store.load(tx, streams.iter().copied().filter(|key| key.starts_with(kind.prefix())))?;
        }
        let channel_events: Vec<String> = about(About::Channel).map(channel_event_key).collect();
        self.channel_events.load(tx, channel_events.iter().map(String::as_str))?;
        let batches: Vec<String> = events().filter_map(batch_key).collect();
        self.batches.load(tx, batches.iter().map(String::as_str))
    }

    /// Whatever it says, it is about the stream of its key.
    fn fold_dead_letter(&mut self, letter: DeadLetter) {
        let Position { partition, offset } = letter.position;
        let stream = letter.key.parse::<Stream>().ok();
        if let Some(row) = stream.and_then(|stream| self.streams.row(&stream, partition)) {
            row.state.unread.insert((partition, offset));
            row.touch();
        }
        self.news.dead.push(letter);
    }

    fn fold(&mut self, read: Recorded) {
        let verdict = match read.event.data.about() {
            About::Order => self.fold_order(&read),
            About::Stream => self.fold_stream_event(&read),
            About::Channel => self.fold_channel_event(&read),
        };
        match verdict {
            Verdict::Fresh => {
                let legs = postings(&read.event);
                self.news.fresh.push((read, legs));
            }
            Verdict::Conflict => self.news.conflicts.push(read),
            Verdict::Repeat | Verdict::ReadBack => {}
        }
    }

    fn fold_order(&mut self, read: &Recorded) -> Verdict {
        let Recorded { position, recorded_at, event } = read;
        let order = self.orders.row(&event.subject, position.partition);
        let verdict = order.admit(event.id, event.business_digest(), position.offset);
        if verdict == Verdict::Fresh {
            let booked_before = order.state.confirmation.standing();
            order.state.apply(event, *recorded_at);
            if let Some(stream) = self.streams.row(&event.stream, position.partition)
                && stream.state.absorb(event, &order.state, booked_before)
            {
                stream.touch();
            }
        }
        verdict
    }

    fn fold_stream_event(&mut self, read: &Recorded) -> Verdict {
        let Recorded { position, event, .. } = read;
        let Some(stream) = self.streams.row(&event.stream, position.partition) else { return Verdict::Repeat };
        let verdict = match counts_once(event) {
            true => stream.admit(event.id, event.business_digest(), position.offset),
            false => Verdict::Fresh,
        };
        if verdict == Verdict::Fresh {
            stream.state.apply(event);
            stream.touch();
        }
        verdict
    }

    fn fold_channel_event(&mut self, read: &Recorded) -> Verdict {
        let Recorded { position, event, .. } = read;
        let seen = self.channel_events.row(&channel_event_key(event), position.partition);
        let verdict = seen.admit(event.id, event.business_digest(), position.offset);
        if let (Verdict::Fresh, Some(key)) = (verdict, batch_key(event)) {
            let batch = self.batches.row(&key, position.partition);
            batch.admit(event.id, event.business_digest(), position.offset);
            batch.state.apply(&event.data);
        }
        verdict
    }

    fn write(&mut self, tx: &mut Transaction<'_>) -> Result<(), StreamError> {
        self.orders.write(tx)?;
        for (_, store) in self.streams.all() {
            store.write(tx)?;
        }
        self.batches.write(tx)?;
        self.channel_events.write(tx)?;
        self.news = News::default();
        Ok(())
    }
}

/// Two channels may have a subject of the same name, and a row belongs to one partition.
fn channel_event_key(event: &Event) -> String {
    format!("{}/{}", event.stream, event.subject)
}

fn batch_key(event: &Event) -> Option<String> {
    batch_of(&event.data).map(|(channel, batch)| format!("{channel}/{batch}"))
}

impl Projector {
    fn check_shown(&self, client: &mut impl GenericClient) -> Result<(), StreamError> {
        match self.only_while_shown && !self.generation.is_shown(client)? {
            true => Err(StreamError::Superseded),
            false => Ok(()),
        }
    }

    /// Its tables are those of another version of the program; trying again would not make them other ones.
    fn outdated(&self, why: &str) -> StreamError {
        let schema = self.generation.schema();
        StreamError::Fatal(format!(
            "the views in {schema} were made by another version of the program ({why}); run `ledger rebuild`, to which \
             what this version adds is a difference to accept"
        ))
    }

    fn write(&mut self, tx: &mut Transaction<'_>, batch: &Batch) -> Result<(), StreamError> {
        self.state.begin_batch();
        let batch: Vec<_> = batch.records.iter().map(decode).collect();
        self.state.load(tx, &batch)?;
        self.state.news.fresh.reserve(batch.len());
        for read in batch {
            match read {
                Ok(read) => self.state.fold(read),
                Err(letter) => self.state.fold_dead_letter(letter),
            }
        }
        views::write(tx, &self.state, &self.policy)?;
        self.state.write(tx)
    }
}

/// A statement that does not fit the table: nothing of that name (class 42), a column that we no longer fill (23502), or a
/// COPY of other columns (22P03, 22P04).
fn does_not_fit(code: &SqlState) -> bool {
    ["42", "23502", "22P03", "22P04"].iter().any(|class| code.code().starts_with(class))
}

impl Handler for Projector {
    fn assigned(&mut self, client: &mut Client, _: &[i32]) -> Result<(), StreamError> {
        self.check_shown(client)?;
        // The views name their tables without it.
        client.batch_execute(&format!("set search_path to {}", self.generation.schema()))?;
        if !self.fits {
            let missing = match &*self.generation.missing_tables(client)? {
                [] => self.generation.missing_columns(client)?.join(", "),
                tables => tables.join(", "),
            };
            if !missing.is_empty() {
                return Err(self.outdated(&format!("it lacks {missing}")));
            }
            self.fits = true;
        }
        Ok(())
    }

    fn apply(&mut self, tx: &mut Transaction<'_>, batch: &Batch) -> Result<(), StreamError> {
        self.check_shown(tx)?;
        self.write(tx, batch).map_err(|error| match &error {
            StreamError::Postgres(cause) if cause.code().is_some_and(does_not_fit) => self.outdated(&error.to_string()),
            _ => error,
        })
    }

    fn reset(&mut self) {
        self.state.orders.clear();
        for (_, store) in self.state.streams.all() {
            store.clear();
        }
        self.state.batches.clear();
        self.state.channel_events.clear();
        self.state.news = News::default();
    }
}
