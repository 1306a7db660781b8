//! The commands that people type, on what a worked day left behind.
#![allow(clippy::unwrap_used)]

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use ledger::{commands::demo, play::Stage};
use serde_json::Value;

/// The day is over, every role has stopped, and the program is started for one command at a time.
struct AfterTheDay {
    variables: Vec<(&'static str, String)>,
}

impl AfterTheDay {
    async fn new() -> Result<Self> {
        let stage = Stage::open(ledger_tests::config().await?, demo::start_of_day()?).await?;
        demo::play(&stage, demo::System::Loan, |_| ()).await?;
        let config = &stage.house.config;
        let variables = vec![
            ("LEDGER_LOG", config.log.clone()),
            ("LEDGER_POSTGRES_URL", stage.house.postgres_url.clone()),
            ("LEDGER_TOPIC_PREFIX", config.topic_prefix.clone()),
            ("LEDGER_REPLICATION", config.replication.to_string()),
            ("LEDGER_SECRET", config.secret.clone()),
        ];
        stage.close().await?;
        Ok(Self { variables })
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ledger"));
        command.args(arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("a pipe")?;
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output()?;
        // A command that reads nothing closes its end.
        writer.join().unwrap().unwrap_or_default();
        Ok(output)
    }

    /// What a command prints that ends well.
    fn says(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let output = self.run(arguments, input)?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// With another log, nothing is said about these views, and nothing appended.
    fn refuses_elsewhere(&self, arguments: &[&str]) -> Result<()> {
        let mut elsewhere = Self { variables: self.variables.clone() };
        elsewhere.variables.push(("LEDGER_TOPIC_PREFIX", "another".to_owned()));
        let refused = elsewhere.run(arguments, b"")?;
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && refused.stdout.is_empty() && told.contains("point them back"), "{told}");
        Ok(())
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.says(&[arguments, &["--output", "json"]].concat(), b"")?)?)
    }

    /// The balance of an account, over all its owners, in fen.
    fn balance(&self, account: u64, as_of: &[&str]) -> Result<i64> {
        let balances = self.json(&[&["balances"], as_of].concat())?;
        let rows = balances["balances"].as_array().context("rows")?;
        let fen = |row: &Value| row["balance"].as_str().unwrap().replace('.', "").parse::<i64>().unwrap();
        Ok(rows.iter().filter(|row| row["account"] == account).map(fen).sum())
    }

    fn events(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let text = self.says(&[&["replay"], arguments].concat(), b"")?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_are_shown_as_they_are_and_as_they_were() -> Result<()> {
    let day = AfterTheDay::new().await?;
    assert_eq!(day.balance(2110, &[])?, 0, "the bank has its money");
    let evening = ["--as-of", "2025-03-10T23:59:59+08:00"];
    assert_eq!((day.balance(1110, &evening)?, day.balance(2110, &evening)?), (710_000, -680_000));
    let by_day = ["--as-of", "2025-03-10"];
    assert_eq!(
        (day.balance(1110, &by_day)?, day.balance(2110, &by_day)?),
        (710_000, -680_000),
        "a day is up to its end"
    );
    assert_eq!(day.balance(1110, &["--as-of", "2025-03-09T23:59:59+08:00"])?, 0, "before the first event");
    // Up to a capture and including it; the record before it leaves its money out.
    let captures = |event: &Value| event["type"] == "ledger.payment.captured.v1";
    let capture = day.events(&["--account", "1110"])?.into_iter().find(captures).context("a capture")?;
    let fen: i64 = capture["data"]["amount"].as_str().context("an amount")?.replace('.', "").parse()?;
    let (partition, offset) = (&capture["logpartition"], capture["logoffset"].as_str().context("an offset")?);
    let at = |offset: i64| day.balance(1110, &["--as-of", &format!("{partition}:{offset}")]);
    let offset: i64 = offset.parse()?;
    assert_eq!(at(offset)? - at(offset - 1)?, fen);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replayed_can_be_published_again_and_changes_no_figure() -> Result<()> {
    let day = AfterTheDay::new().await?;
    let all = day.events(&[])?;
    let payable = day.events(&["--account", "2110"])?;
    assert!(!payable.is_empty() && payable.len() < all.len(), "{} of {}", payable.len(), all.len());
    let types: Vec<&str> = payable.iter().filter_map(|event| event["type"].as_str()).collect();
    assert!(types.contains(&"ledger.repayment.confirmed.v1") && !types.contains(&"ledger.receipt.printed.v1"));
    // What is not there is said at once, also of a partition that holds nothing.
    for nowhere in [["--at", "99:0"], ["--at", "0:999999"], ["--account", "9999"]] {
        let refused = day.run(&[&["replay"], &nowhere[..]].concat(), b"")?;
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{nowhere:?}");
    }
    let first_day = day.events(&["--to", "2025-03-11T00:00:00+08:00"])?;
    assert!(!first_day.is_empty() && first_day.len() < all.len());
    assert_eq!(day.events(&["--to", "2025-03-10"])?.len(), first_day.len());
    assert_eq!(day.events(&["--from", "2025-03-11"])?.len(), all.len() - first_day.len());

    let before = day.json(&["balances"])?;
    let mut lines = day.says(&["replay"], b"")?;
    lines.push_str("{\"no\": \"event\"}\n");
    let published = day.run(&["publish", "-"], lines.as_bytes())?;
    assert!(!published.status.success(), "one line is refused");
    let told = String::from_utf8_lossy(&published.stderr).into_owned();
    assert!(
        told.contains(&format!("line {}", all.len() + 1)) && told.contains(&format!("appended {},", all.len())),
        "{told}"
    );
    day.refuses_elsewhere(&["balances"])?;
    // No projector runs.
    let behind = || -> Result<bool> {
        let told = day.run(&["balances"], b"")?.stderr;
        Ok(String::from_utf8_lossy(&told).contains(&format!("{} events behind", all.len())))
    };
    assert!(behind()?);
    // A rebuild reads the doubled log from its beginning to its end and shows what it makes of it.
    day.says(&["rebuild"], b"")?;
    assert!(!behind()?);
    assert_eq!(day.json(&["balances"])?, before);
    // Two at once take turns.
    std::thread::scope(|scope| {
        let show = || day.says(&["generations", "--show", "1"], b"");
        [scope.spawn(show), scope.spawn(show)].into_iter().try_for_each(|shown| shown.join().unwrap().map(drop))
    })?;
    assert_eq!(day.json(&["balances"])?, before);
    let generations = day.says(&["generations"], b"")?;
    assert!(generations.contains(" 0:") && generations.contains(" 1:"), "{generations}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_shown_event_by_event_with_its_postings() -> Result<()> {
    let day = AfterTheDay::new().await?;
    let refunds = day.events(&["--account", "2210"])?;
    let order = refunds[0]["subject"].as_str().context("an order")?;
    let table = day.says(&["order", order], b"")?;
    for word in ["payment.captured.v1", "refund.completed.v1", "2210 refund_payable", "/ledger/coordinator"] {
        assert!(table.contains(word), "{word} is missing in {table}");
    }
    assert!(day.says(&["order", order, "--output", "csv"], b"")?.lines().count() > 5);
    let unknown = day.run(&["order", "LAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"], b"")?;
    assert!(!unknown.status.success() && unknown.stdout.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_compared_with_the_ledger_and_its_breaks_are_settled_by_persons() -> Result<()> {
    let day = AfterTheDay::new().await?;
    let file = tempfile::NamedTempFile::new()?;
    let mut text = file.as_file();
    writeln!(text, "number,amount,fee,order,kind\nU1,30.00,,TEL-1,payment\nU2,5.00,,,refund")?;
    let path = file.path().to_str().context("a path")?;
    let compare = ["reconcile", "--channel", "ums-pos", "--date", "2025-03-10", path];
    day.refuses_elsewhere(&compare)?;
    let table = day.says(&compare, b"")?;
    let row = |word: &str| table.lines().find(|line| line.contains(word)).unwrap_or_default();
    assert!(["unknown_order", "TEL-1", "30.00"].iter().all(|word| row("U1").contains(word)), "{table}");
    assert!(row("-5000.00").contains("timing"), "{table}");

    let again = day.json(&compare)?;
    assert_eq!(
        (&again["appended"], &again["statement"]["lines"], &again["matched"]),
        (&0.into(), &2.into(), &0.into())
    );
    let break_of = |number: &str, difference: &str| {
        let open = again["breaks"].as_array().unwrap();
        let found = open.iter().find(|raised| raised["number"] == number).unwrap();
        assert_eq!(found["difference"], difference);
        format!("{}/{}", found["break_id"].as_str().unwrap(), found["occurrence"])
    };
    let (surplus, shortage) = (break_of("U1", "30.00"), break_of("U2", "-5.00"));
    let resolve = |text: &str| format!("reconcile resolve --channel ums-pos {text}");
    let refuses = |text: &str, reason: &str| -> Result<()> {
        let refused = day.run(&resolve(text).split(' ').collect::<Vec<_>>(), b"")?;
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        anyhow::ensure!(!refused.status.success() && told.contains(reason), "{told}");
        Ok(())
    };
    refuses(&format!("{surplus} --as late_capture_posted --approver li"), "--order")?;
    refuses(&format!("{surplus} --as refunded --approver li"), "--method")?;
    let order = "CXAGWVXFAOZMGJJPTAAAAAAAAAAAAA";
    refuses(&format!("{surplus} --as refunded --method card --order {order} --approver li"), "no --order")?;
    refuses(&format!("{surplus} --as channel_corrected --method card --approver li"), "here nothing is")?;
    refuses(&format!("{shortage} --as written_off --approver li"), "a write-off two")?;
    refuses(&format!("{shortage} --as written_off --approver li --approver Li"), "lower-case")?;
    let corrected = resolve(&format!("{surplus} --as channel_corrected --approver li"));
    day.says(&corrected.split(' ').collect::<Vec<_>>(), b"")?;
    let written_off = resolve(&format!("{shortage} --as written_off --approver li --approver wang"));
    let events = day.json(&written_off.split(' ').collect::<Vec<_>>())?;
    assert_eq!(events["events"][0]["data"]["difference"], "-5.00");
    assert_eq!(day.json(&["reconcile", "--channel", "ums-pos"])?["appended"], 0);
    let compared = day.says(&[&compare[..], &["--output", "csv"]].concat(), b"")?;
    assert!(compared.contains("timing") && !compared.contains("U1") && !compared.contains("U2"), "{compared}");

    let unknown = ["reconcile", "--channel", "ums", "--date", "2025-03-10", path];
    let refused = day.run(&unknown, b"")?;
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("ums-pos"));
    writeln!(text, "U3,30,,,payment")?;
    let refused = day.run(&compare, b"")?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("line 4") && told.contains("two decimals"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topics_are_as_declared_and_no_secret_is_printed() -> Result<()> {
    let day = AfterTheDay::new().await?;
    // A played day has its own time in the log, which is no setting for real ones.
    let drift = day.run(&["topics", "check"], b"")?;
    let shown = String::from_utf8_lossy(&drift.stdout).into_owned();
    assert!(!drift.status.success() && shown.contains("message.timestamp.type"), "{shown}");
    day.says(&["topics", "apply"], b"")?;
    day.says(&["topics", "check"], b"")?;
    let config = day.says(&["config"], b"")?;
    assert!(config.contains("topic_prefix") && !config.contains("a secret for tests"), "{config}");
    Ok(())
}

#[test]
fn a_wrong_setting_is_told_by_its_names_what_it_is_and_what_it_takes() -> Result<()> {
    for (variable, value, told) in [
        (
            "LEDGER_LANES",
            "many",
            "LEDGER_LANES (in TOML: lanes) is \"many\", but it takes a whole number that is not negative",
        ),
        ("LEDGER_LANES", "-1", "is -1, but it takes a whole number that is not negative"),
        ("LEDGER_LANES", "0", "LEDGER_LANES (in TOML: lanes) is how many work at once"),
        ("LEDGER_POLICY__BOOKING_LOCK", "ja", "(in TOML: policy.booking_lock) is \"ja\", but it takes true or false"),
        (
            "LEDGER_POLICY__BOKING_LOCK",
            "true",
            "there is no setting LEDGER_POLICY__BOKING_LOCK (in TOML: policy.boking_lock)",
        ),
        ("LEDGER_POLICY__HELD_AS", "trust", "is \"trust\", but it takes one of: own_liability, trust_money"),
        ("LEDGER_POLICY__REFUND_RETRY_S", "[60, soon]", "(in TOML: policy.refund_retry_s), entry 2 is \"soon\""),
        ("LEDGER_POLICY", "strict", "LEDGER_POLICY (in TOML: policy) takes no value of its own"),
        ("LEDGER_INBOX_CHANNELS", "ums-pos", "a list: [ums-pos] in the environment, [\"ums-pos\"] in TOML"),
        (
            "LEDGER_LISTEN",
            "8080",
            "LEDGER_LISTEN (in TOML: listen) is 8080, but it takes an address such as 127.0.0.1:8080",
        ),
        (
            "LEDGER_LISTEN",
            "localhost",
            "LEDGER_LISTEN (in TOML: listen) is \"localhost\", but it takes an address such as 127.0.0.1:8080",
        ),
        (
            "LEDGER_LOG",
            "mysql",
            "LEDGER_LOG (in TOML: log) cannot be used: the log's URL is of no log that there is; write postgres, or kafka://host:9092",
        ),
        (
            "LEDGER_POSTGRES_URL",
            "http://db/ledger",
            "LEDGER_POSTGRES_URL (in TOML: postgres_url) takes postgres://user:password@host:5432/database",
        ),
        (
            "LEDGER_DOOR__CLIENTS",
            "[{name=pos, token=t0p}]",
            "LEDGER_DOOR__CLIENTS (in TOML: door.clients), entry 1 lacks its sources",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ledger")).arg("config").env(variable, value).output()?;
        let stderr = String::from_utf8(output.stderr)?;
        assert!(!output.status.success() && stderr.contains(told), "{variable}={value}: {stderr}");
        assert!(["usize", "`", "sequence", "t0p"].iter().all(|word| !stderr.contains(word)), "{stderr}");
    }
    Ok(())
}

#[test]
fn a_door_that_is_closed_is_told_with_how_to_open_it() -> Result<()> {
    // Nobody listens on a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let url = format!("http://{free}/readyz");
    let named = Command::new(env!("CARGO_BIN_EXE_ledger")).args(["health", "--url", &url]).output()?;
    let everywhere = format!("0.0.0.0:{}", free.port());
    let own = Command::new(env!("CARGO_BIN_EXE_ledger")).arg("health").env("LEDGER_LISTEN", everywhere).output()?;
    for output in [named, own] {
        let stderr = String::from_utf8(output.stderr)?;
        assert!(!output.status.success() && stderr.contains("`ledger up`"), "{stderr}");
        assert!(stderr.contains(&format!("nobody answers at {url}")), "{stderr}");
    }
    Ok(())
}

#[test]
fn who_looks_for_a_ledger_in_the_wrong_folder_is_told_and_gets_no_empty_one() -> Result<()> {
    let place = tempfile::tempdir()?;
    let mistyped = place.path().join("legder");
    for arguments in [&["balances"][..], &["replay"], &["order", "LAAAAAAB3TLFAAAAAAAAAAAB3TLFAA"], &["generations"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_ledger"))
            .args(arguments)
            .env("LEDGER_DATA_DIR", &mistyped)
            .env_remove("LEDGER_POSTGRES_URL")
            .output()?;
        let stderr = String::from_utf8(output.stderr)?;
        let told = format!("there is no ledger in {}", mistyped.display());
        assert!(!output.status.success() && stderr.contains(&told), "{arguments:?}: {stderr}");
        assert!(!mistyped.exists(), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn what_is_no_day_time_or_position_is_refused_before_anything_is_opened() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_ledger")).args(["balances", "--as-of", "yesterday"]).output()?;
    let stderr = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("'yesterday'") && stderr.contains("2025-03-10") && stderr.contains("0:12,3:7"), "{stderr}");
    Ok(())
}

#[test]
fn a_channel_that_takes_no_file_is_told_those_that_do() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_ledger")).args(["refund-file", "nope"]).output()?;
    let stderr = String::from_utf8(output.stderr)?;
    assert!(
        !output.status.success() && stderr.contains("nope is no channel") && stderr.contains("bestpay-web"),
        "{stderr}"
    );
    Ok(())
}
