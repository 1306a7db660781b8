//! `ledger refund-file`: the refunds of a channel that takes them in a file only, as that file.

use std::{io::Write, path::Path};

use anyhow::{Context, Result, bail, ensure};
use engine::clock::Clock;
use producers::refund_file::{self, Waiting};
use schemas::Name;

use crate::{
    config::Config,
    house::House,
    output::{Rows, table},
};

/// Without a file, shows what waits and takes nothing.
pub async fn run(config: Config, channel: &Name, file: Option<&Path>) -> Result<()> {
    let by_file = &config.policy.refund_by_file;
    ensure!(
        by_file.contains(channel),
        "{channel} is no channel that takes refunds in a file; {} (LEDGER_POLICY__REFUND_BY_FILE)",
        match by_file.iter().map(Name::as_str).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "none does".to_owned(),
            names => format!("those that do: {names}"),
        }
    );
    let house = House::with_its_views(config, Clock::System).await?;
    let Some(file) = file else {
        let waiting = refund_file::waiting(&house.pool, channel).await?;
        println!("{}", rows(&waiting));
        match waiting.is_empty() {
            true => eprintln!("no refund of {channel} waits"),
            false => eprintln!("these wait; --file exports them to one"),
        }
        return Ok(());
    };
    ensure!(!file.exists(), "{} exists already: each export is a file of its own", file.display());
    let name = file.file_name().and_then(|name| name.to_str()).context("the file needs a name")?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut written = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("nothing can be written to {}", folder.display()))?;
    let write = |text: &str| {
        written.write_all(text.as_bytes())?;
        written.as_file().sync_all()
    };
    let exported = refund_file::export(&house.pool, &house.publisher(), channel, name, write).await?;
    if exported.refunds.is_empty() {
        eprintln!("no refund of {channel} waits; no file was written");
        return Ok(());
    }
    if let Err(failed) = written.persist_noclobber(file) {
        let (_, kept) = failed.file.keep()?;
        let (kept, file) = (kept.display(), file.display());
        bail!("{file} cannot be written ({}); its refunds count as sent, so move {kept} there", failed.error);
    }
    println!("{}", rows(&exported.refunds));
    let (lines, total, sha256) = (exported.refunds.len(), exported.total, exported.sha256);
    eprintln!("{}: refunds {lines}, {total} yuan, SHA-256 {sha256}", file.display());
    Ok(())
}

fn rows(refunds: &[Waiting]) -> String {
    let mut rows = Rows::new(&["order 订单", "payment 原交易", "amount 金额"], &[2]);
    for refund in refunds {
        rows.push([refund.order_id.to_string(), refund.channel_txn_no.clone(), refund.amount.to_string()]);
    }
    table(&rows)
}
