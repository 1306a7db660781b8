//! Cancelling against submitting: the bank confirms late, while the refund is about to go out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use engine::task::{self, NewTask, Room, Task};
use ledger::roles::{Role, Running};
use postgres::Transaction;
use producers::sandbox::{BankStep, Capture, NoticeStep, Script};
use rules::business_day::shanghai;
use schemas::{
    Event, OrderId, Position,
    events::{ConfirmationFailed, Evidence, PaymentCaptured, RepaymentConfirmed},
};
use tokio::sync::{Notify, Semaphore};

use crate::{
    audit,
    load::{self, Fate, Payment},
    world::{World, hurried},
};

const RACES: usize = 1_000;
const AT_ONCE: usize = 50;
const INITIATED: &str = "ledger.refund.initiated.v1";
const SUBMITTED: &str = "ledger.refund.submitted.v1";
const CANCELLED: &str = "ledger.refund.cancelled.v1";

/// When the bank's confirmation comes.
#[derive(Clone, Copy, Debug)]
enum Confirmed {
    /// As soon as the log has the refund, or a little later: here the two race.
    After(Duration),
    /// Once the log says that the refund goes out.
    WhenSubmitted,
}

/// Which types of events the log has by now, by order.
#[derive(Default)]
struct Seen {
    types: Mutex<BTreeMap<String, BTreeSet<&'static str>>>,
    more: Notify,
}

impl Seen {
    /// Reads the log on and on, on a thread of its own.
    fn follow(self: &Arc<Self>, world: &World, stop: &Arc<AtomicBool>) -> Result<std::thread::JoinHandle<()>> {
        let mut reader = world.house.log.reader(world.house.events_topic())?;
        let partitions = 0..world.house.topics.events().partitions;
        reader.assign(&partitions.map(|partition| Position { partition, offset: 0 }).collect::<Vec<_>>())?;
        let (seen, stop) = (Arc::clone(self), Arc::clone(stop));
        Ok(std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let records = reader.poll(1_000, Duration::from_millis(50)).unwrap();
                for event in records.iter().map(audit::event) {
                    seen.types.lock().unwrap().entry(event.subject).or_default().insert(event.data.event_type());
                }
                seen.more.notify_waiters();
            }
        }))
    }

    fn has(&self, order: &OrderId, wanted: &str) -> bool {
        self.types.lock().unwrap().get(order.as_str()).is_some_and(|types| types.contains(wanted))
    }

    async fn waits_for(&self, order: &OrderId, wanted: &str) -> Result<()> {
        let wait = async {
            loop {
                let more = self.more.notified();
                if self.has(order, wanted) {
                    return;
                }
                more.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.with_context(|| format!("{order}: no {wanted}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_either_cancelled_or_sent_and_never_both() -> Result<()> {
    let mut dice = crate::dice("a_refund_is_either_cancelled_or_sent_and_never_both");
    let mut config = hurried(ledger_tests::config().await?);
    config.executor.idle_poll_ms = 10;
    let world = Arc::new(World::open(config).await?);
    let running = Running::start(&world.house, Role::ALL).await?;
    world.door_is_open().await?;
    let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let follower = {
        let (world, seen, stop) = (world.clone(), seen.clone(), stop.clone());
        tokio::task::spawn_blocking(move || seen.follow(&world, &stop)).await??
    };
    let seats = Arc::new(Semaphore::new(AT_ONCE));
    let mut races = Vec::new();
    for number in 0..RACES {
        let confirmed = match number % 10 {
            0 => Confirmed::WhenSubmitted,
            1 | 2 => Confirmed::After(Duration::ZERO),
            _ => Confirmed::After(Duration::from_micros(dice.u64(0..60_000))),
        };
        let (seat, world, seen) = (seats.clone().acquire_owned().await?, world.clone(), seen.clone());
        races.push(tokio::spawn(async move {
            let _seat = seat;
            race(&world, &seen, number, confirmed).await
        }));
    }
    let mut orders = Vec::new();
    for race in races {
        orders.push(race.await??);
    }
    world.comes_to_rest(Duration::from_secs(60)).await?;
    let (cancelled, sent) = judge(&world, &seen, &orders).await?;
    eprintln!("{cancelled} refunds were cancelled, {sent} were sent");
    assert!(cancelled > 0 && sent > 0, "both happen");
    audit::the_books_are_balanced(&world).await?;
    audit::views_equal_a_rebuild(&world).await?;
    stop.store(true, Ordering::SeqCst);
    follower.join().unwrap();
    running.stop().await
}

/// An order whose repayment fails, so that a refund is initiated, and is confirmed nevertheless.
async fn race(world: &World, seen: &Seen, number: usize, confirmed: Confirmed) -> Result<(OrderId, Capture)> {
    let script = Script { bank: vec![BankStep::Failed], notice: Some(NoticeStep::Never), ..Script::default() };
    let payment = Payment::new(number, Fate::Failed, script);
    let (order, _) = load::ask(world, &payment).await?;
    world.sandbox.set_script(&order, payment.script.clone());
    let capture = world.pay(&order, payment.channel, &payment.amount)?;
    append(world, &[captured(&capture), failed(&order)?]).await?;
    seen.waits_for(&order, INITIATED).await?;
    match confirmed {
        Confirmed::After(delay) => tokio::time::sleep(delay).await,
        Confirmed::WhenSubmitted => seen.waits_for(&order, SUBMITTED).await?,
    }
    append(world, &[confirmation(&capture)?]).await?;
    Ok((order, capture))
}

async fn append(world: &World, events: &[Event]) -> Result<()> {
    world.house.publisher().append_all(events, Duration::from_secs(10)).await?;
    Ok(())
}

fn captured(capture: &Capture) -> Event {
    let data = PaymentCaptured {
        channel: capture.channel.clone(),
        channel_txn_no: capture.channel_txn_no.clone(),
        method: capture.method,
        amount: capture.amount,
        business_date: capture.business_date,
        fee: capture.fee,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::Query,
    };
    Event::about_order(format!("/channels/{}", capture.channel), &capture.order_no, capture.captured_at, data)
}

fn by_the_bank(order: &OrderId, data: impl Into<schemas::Data>) -> Event {
    Event::about_order("/banks/cdb", order, shanghai(&chrono::Utc::now()), data)
}

fn failed(order: &OrderId) -> Result<Event> {
    let (target, code) = ("cdb".parse()?, "F01".to_owned());
    let data = ConfirmationFailed {
        target,
        tries: 1,
        code,
        message: String::new(),
        evidence: Evidence::Query,
        retryable: false,
    };
    Ok(by_the_bank(order, data))
}

fn confirmation(capture: &Capture) -> Result<Event> {
    let data = RepaymentConfirmed {
        target: "cdb".parse()?,
        amount: capture.amount,
        bank_ref: None,
        booked_date: None,
        principal: None,
        interest: None,
        evidence: Evidence::Statement,
    };
    Ok(by_the_bank(&capture.order_no, data))
}

/// How many refunds were cancelled, and how many were sent. An error, if one was both or neither.
async fn judge(world: &World, seen: &Seen, orders: &[(OrderId, Capture)]) -> Result<(usize, usize)> {
    let books = world.sandbox.books();
    let (mut cancelled, mut sent) = (0, 0);
    for (order, capture) in orders {
        let calls: u32 = books.refunds_of(order).map(|refund| refund.calls + refund.queries).sum();
        let expected = match (seen.has(order, CANCELLED), seen.has(order, SUBMITTED)) {
            (true, false) => {
                ensure!(calls == 0, "{order}: the acquirer was called {calls} times for a cancelled refund");
                cancelled += 1;
                "completed"
            }
            (false, true) => {
                ensure!(
                    books.refunded(order) == capture.amount,
                    "{order}: a refund that was sent moved the wrong amount"
                );
                sent += 1;
                "exception"
            }
            both_or_neither => bail!("{order}: (cancelled, submitted) = {both_or_neither:?}, {calls} calls"),
        };
        let shown = projections::report::find_order(&world.house.pool, order.as_str()).await?;
        let status = shown.map(|order| order.status).unwrap_or_default();
        ensure!(status == expected, "{order} is {status}, not {expected}");
    }
    Ok((cancelled, sent))
}

/// Its outcome reached the log, and its executor died before it could say so: nobody needs to work on it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_task_of_a_dead_executor_ends_by_itself() -> Result<()> {
    let world = World::open(ledger_tests::config().await?).await?;
    let pool = &world.house.pool;
    write(&world, [wanted("1", "bank")]).await?;
    let claimed = claim(&world).await?;
    ensure!(task::submit(pool, &claimed[0], LEASE).await?);
    in_one_transaction(&world, |tx| task::withdraw(tx, &["1".to_owned()])).await?;
    assert_eq!(states(&world).await?, ["submitted"], "its call may still be under way");
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(claim(&world).await?, []);
    assert_eq!(states(&world).await?, ["cancelled"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_task_does_not_go_out_and_what_may_have_gone_out_is_asked_about() -> Result<()> {
    let world = World::open(ledger_tests::config().await?).await?;
    let pool = &world.house.pool;
    let stopped = |key| NewTask { stopped: true, ..wanted(key, "bank") };
    write(&world, [wanted("1", "bank")]).await?;
    let claimed = claim(&world).await?;
    write(&world, [wanted("2", "bank")]).await?;
    // A key that two want in one batch is one task.
    write(&world, ["1", "2", "3", "3"].map(stopped)).await?;
    assert_eq!(states(&world).await?, ["claimed", "cancelled", "unknown"], "claimed, waiting, and unheard of");
    ensure!(!task::submit(pool, &claimed[0], LEASE).await?, "it was stopped before it went out");
    tokio::time::sleep(LEASE * 2).await;
    let asked = claim(&world).await?;
    assert_eq!(asked.iter().map(|task| (task.unknown, task.stopped)).collect::<Vec<_>>(), [(true, true); 2]);
    ensure!(task::submit(pool, &asked[0], LEASE).await?, "what is done about it is known to be about a stopped one");
    for task in &asked {
        task::end(pool, task, "nobody knows it").await?;
    }
    assert_eq!(states(&world).await?, ["cancelled"; 3]);
    // Nothing went out, by the word of who was about to send it, and nothing will.
    write(&world, [wanted("4", "bank")]).await?;
    let claimed = claim(&world).await?;
    write(&world, [stopped("4")]).await?;
    task::put_back(pool, &claimed[0], chrono::Utc::now(), "no address").await?;
    assert_eq!(states(&world).await?, ["cancelled"; 4]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_answer_leaves_room_for_the_others() -> Result<()> {
    let world = World::open(ledger_tests::config().await?).await?;
    let silent: Vec<NewTask> = (0..20).map(|number| wanted(&format!("silent {number:02}"), "silent")).collect();
    write(&world, silent).await?;
    write(&world, [wanted("lively 1", "lively"), wanted("lively 2", "lively")]).await?;
    let claimed = claim_for(&world, &BTreeMap::new(), Duration::from_secs(60)).await?;
    let (silent, lively): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|task| task.party == "silent");
    assert_eq!((silent.len(), lively.len()), (PER_PARTY, 2), "although the silent one's are due first");
    write(&world, [wanted("lively 3", "lively")]).await?;
    for (busy, expected) in [(PER_PARTY, vec!["lively 3"]), (PER_PARTY - 1, vec!["silent 04"]), (PER_PARTY + 1, vec![])]
    {
        let busy = BTreeMap::from([("silent".to_owned(), busy)]);
        let claimed = claim_for(&world, &busy, Duration::from_secs(60)).await?;
        assert_eq!(claimed.into_iter().map(|task| task.key).collect::<Vec<_>>(), expected);
    }
    Ok(())
}

const LEASE: Duration = Duration::from_millis(200);
const FREE: usize = 10;
const PER_PARTY: usize = 4;

fn wanted(key: &str, party: &str) -> NewTask {
    NewTask {
        key: key.to_owned(),
        party: party.to_owned(),
        payload: String::new(),
        due_at: Some(chrono::Utc::now()),
        unknown: false,
        stopped: false,
    }
}

async fn write(world: &World, tasks: impl IntoIterator<Item = NewTask>) -> Result<()> {
    let tasks: Vec<NewTask> = tasks.into_iter().collect();
    in_one_transaction(world, move |tx| task::insert(tx, &tasks)).await
}

async fn claim(world: &World) -> Result<Vec<Task>> {
    claim_for(world, &BTreeMap::new(), LEASE).await
}

async fn claim_for(world: &World, busy: &BTreeMap<String, usize>, lease: Duration) -> Result<Vec<Task>> {
    let room = Room { free: FREE, per_party: PER_PARTY, busy };
    Ok(task::claim(&world.house.pool, room, chrono::Utc::now(), lease).await?)
}

/// Of all tasks, by their keys.
async fn states(world: &World) -> Result<Vec<String>> {
    let rows = world.house.pool.get().await?.query("select state from engine.task order by key", &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn in_one_transaction(
    world: &World,
    work: impl FnOnce(&mut Transaction<'_>) -> std::result::Result<(), postgres::Error> + Send + 'static,
) -> Result<()> {
    let transaction = move |client: &mut postgres::Client| {
        let mut tx = client.transaction()?;
        work(&mut tx)?;
        Ok(tx.commit()?)
    };
    world.house.with_client("faults", transaction).await
}
