//! The walls of the house that the compiler does not keep: which crate may know which, what is pure, where SQL stands,
//! how long a file may be, and that the documents say what the program does. A failure names file and line.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use ledger::config::Config;
use serde_json::Value;

/// Every crate of ours, and which others of ours it may know, in its tests as well. Dependencies point one way, and
/// what stands side by side does not know each other.
const CRATES: &[(&str, &[&str])] = &[
    ("ledger-schemas", &[]),
    ("ledger-rules", &["ledger-schemas"]),
    ("ledger-engine", &["ledger-schemas"]),
    ("ledger-projections", &["ledger-engine", "ledger-rules", "ledger-schemas"]),
    ("ledger-producers", &["ledger-engine", "ledger-rules", "ledger-schemas"]),
    // Its tests run the binary, and play on the same stage as the others.
    (
        "ledger",
        &["ledger-engine", "ledger-producers", "ledger-projections", "ledger-rules", "ledger-schemas", "ledger-tests"],
    ),
    (
        "ledger-tests",
        &["ledger", "ledger-engine", "ledger-producers", "ledger-projections", "ledger-rules", "ledger-schemas"],
    ),
];

/// What the rules may stand on: numbers, dates, ids and their spelling.
const RULES_MAY_USE: &[&str] = &["chrono", "ledger-schemas", "rust_decimal", "serde", "thiserror", "uuid"];

/// What would make a rule depend on more than its arguments. Maps that iterate in another order on every run count.
const IMPURE: &str = "tokio async rdkafka postgres SystemTime Instant Utc::now Local::now rand new_v4 HashMap HashSet \
                      std::env std::fs std::io std::net std::process std::thread";

/// Where SQL may stand, besides tests.
const SQL_STANDS_IN: &[&str] = &[
    "ledger-core/engine/",
    "projections/",
    "producers/src/coordinator/",
    "producers/src/door/known.rs",
    // Shows a newcomer a query to type.
    "src/commands/demo/mod.rs",
];

const SQL: &[&str] = &[
    "select ",
    "insert into ",
    "delete from ",
    "truncate ",
    "lock table ",
    "alter table ",
    "create table ",
    "create schema ",
    "create view ",
    "create index ",
    "drop table ",
    "drop schema ",
    "drop view ",
];

const FILE_LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// A text file of the repository.
struct File {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl File {
    /// The lines and their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |line: &'_ str| line.find("//").filter(|at| !line[..*at].ends_with(':')).unwrap_or(line.len());
        (1..).zip(self.text.lines()).map(move |(number, line)| (number, &line[..code(line)]))
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// The modules that it declares for tests alone.
    fn test_modules(&self) -> impl Iterator<Item = &str> {
        let after = self.text.split("#[cfg(test)]\n").skip(1);
        after.filter_map(|text| text.lines().next()?.strip_prefix("mod ")?.strip_suffix(';'))
    }
}

/// Every text file below `folder`, but for what git ignores.
fn files(folder: &str, ending: &str) -> Result<Vec<File>> {
    let root = root();
    let ignored = fs::read_to_string(root.join(".gitignore"))?;
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).chain([".git"]).collect();
    let (mut found, mut folders) = (Vec::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if ignored.contains(&name.as_str()) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if name.ends_with(ending)
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                let path = entry.path().strip_prefix(&root)?.to_string_lossy().replace('\\', "/");
                found.push(File { path, text });
            }
        }
    }
    ensure!(!found.is_empty(), "no file {folder}…{ending}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Whether `word` stands in `line`, and not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part))
}

/// Fails with a line for each finding.
fn none_of(findings: &[String], why: &str) -> Result<()> {
    ensure!(findings.is_empty(), "{why}:\n  {}", findings.join("\n  "));
    Ok(())
}

/// By name of the crate: where its manifest is, and (kind, name) of what it depends on.
type Crates = BTreeMap<String, (PathBuf, Vec<(String, String)>)>;

fn crates() -> Result<Crates> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or("normal").to_owned();
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let dependencies = |package: &Value| {
        let all = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
        all.iter().map(|dependency| (text(&dependency["kind"]), text(&dependency["name"]))).collect()
    };
    let crates = packages.iter().map(|package| {
        (text(&package["name"]), (PathBuf::from(text(&package["manifest_path"])), dependencies(package)))
    });
    Ok(crates.collect())
}

#[test]
fn dependencies_point_one_way() -> Result<()> {
    let crates = crates()?;
    let mut findings = Vec::new();
    for (name, (_, dependencies)) in &crates {
        let Some((_, known)) = CRATES.iter().find(|(member, _)| member == name) else {
            findings.push(format!("{name} has no place among the crates; give it one in CRATES"));
            continue;
        };
        let ours = dependencies.iter().map(|(_, other)| other).filter(|other| crates.contains_key(*other));
        findings.extend(
            ours.filter(|other| !known.contains(&other.as_str())).map(|other| format!("{name} must not know {other}")),
        );
    }
    none_of(&findings, "a crate knows another that it must not know")
}

#[test]
fn the_rules_stand_on_nothing_that_acts() -> Result<()> {
    let crates = crates()?;
    let (_, dependencies) = crates.get("ledger-rules").context("there is no crate ledger-rules")?;
    let foreign = dependencies.iter().filter(|(kind, name)| kind != "dev" && !RULES_MAY_USE.contains(&name.as_str()));
    let findings: Vec<String> = foreign.map(|(_, name)| name.clone()).collect();
    none_of(&findings, "the rules depend on a crate that is not in RULES_MAY_USE")
}

#[test]
fn the_rules_know_no_clock_no_chance_and_no_outside() -> Result<()> {
    let (files, mut findings) = (files("ledger-core/rules/src", ".rs")?, Vec::new());
    let of_tests: Vec<&str> = files.iter().flat_map(File::test_modules).collect();
    for file in &files {
        let name = file.path.trim_end_matches(".rs").rsplit('/').next().unwrap_or_default();
        if of_tests.contains(&name) {
            continue;
        }
        for (number, line) in file.code() {
            let impure = IMPURE.split_whitespace().filter(|word| has_word(line, word));
            findings.extend(impure.map(|word| format!("{}:{number}: {word}", file.path)));
        }
    }
    none_of(&findings, "a rule depends on more than its arguments")
}

#[test]
fn sql_stands_in_few_places() -> Result<()> {
    let mut findings = Vec::new();
    for file in files("", ".rs")? {
        if file.is_test() || SQL_STANDS_IN.iter().any(|place| file.path.starts_with(place)) {
            continue;
        }
        for (number, line) in file.code() {
            let lower = line.to_lowercase();
            let is_sql =
                SQL.iter().any(|words| lower.contains(words)) || lower.contains("update ") && lower.contains(" set ");
            if is_sql {
                findings.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    none_of(&findings, "SQL outside of the engine, the projections and the stores of coordinator and door")
}

#[test]
fn money_is_never_a_float() -> Result<()> {
    let mut findings = Vec::new();
    for folder in ["schemas", "ledger-core/rules", "projections", "producers"] {
        for file in files(folder, ".rs")? {
            // What takes a float from JSON only to refuse it.
            let code = file.code().filter(|(_, line)| !has_word(line, "fn visit_f64"));
            let floats = code.filter(|(_, line)| ["f32", "f64"].iter().any(|float| has_word(line, float)));
            findings.extend(floats.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
        }
    }
    for file in files("schemas/json", ".json")? {
        if has_a_number(&serde_json::from_str(&file.text)?) {
            findings.push(format!("{}: a JSON number", file.path));
        }
    }
    none_of(&findings, "amounts are whole fen inside and decimal strings outside")
}

/// Whether a schema gives anything the type of a number with a fraction.
fn has_a_number(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            let of_that_type = match fields.get("type") {
                Some(Value::String(name)) => name == "number",
                Some(Value::Array(names)) => names.iter().any(|name| name == "number"),
                _ => false,
            };
            of_that_type || fields.values().any(has_a_number)
        }
        Value::Array(items) => items.iter().any(has_a_number),
        _ => false,
    }
}

#[test]
fn a_file_fits_into_a_head() -> Result<()> {
    let long = |file: File| (file.text.lines().count(), file.path);
    let lengths = files("", ".rs")?.into_iter().map(long).filter(|(lines, _)| *lines > FILE_LINES_MAX);
    let findings: Vec<String> = lengths.map(|(lines, path)| format!("{path} has {lines} lines")).collect();
    none_of(&findings, "more than one concept, or one that wants a folder")
}

#[test]
fn every_crate_heeds_the_lints_of_the_workspace() -> Result<()> {
    let mut findings = Vec::new();
    for (name, (manifest, _)) in crates()? {
        let text = fs::read_to_string(&manifest)?;
        let heeds = text.split("\n[").any(|section| {
            let mut lines = section.lines().map(str::trim);
            lines.next() == Some("lints]") && lines.any(|line| line.replace(' ', "") == "workspace=true")
        });
        if !heeds {
            findings.push(format!("{name}: write [lints] workspace = true into {}", manifest.display()));
        }
    }
    none_of(&findings, "a crate makes its own law")
}

#[test]
fn no_file_names_a_folder_of_somebodys_machine() -> Result<()> {
    // Spelt so that this file does not find itself.
    let mut homes: Vec<String> = ["home", "Users", "root"].iter().map(|parent| format!("/{parent}/")).collect();
    homes.push(["C:", "Users", ""].join("\\"));
    let here = root();
    // A checkout right below `/` has a name that means other things elsewhere, such as /source.
    if here.components().count() > 2 {
        homes.push(here.display().to_string());
    }
    let mut findings = Vec::new();
    for file in files("", "")? {
        for (number, line) in (1_usize..).zip(file.text.lines()) {
            let named = homes.iter().filter(|home| line.contains(home.as_str()));
            findings.extend(named.map(|home| format!("{}:{number}: {home}", file.path)));
        }
    }
    none_of(&findings, "a path that only one machine has")
}

#[test]
fn the_documents_name_what_exists() -> Result<()> {
    let root = root();
    let mut findings = Vec::new();
    for document in files("", ".md")? {
        let folder = root.join(&document.path).parent().map(Path::to_owned).unwrap_or_default();
        for (number, line) in (1_usize..).zip(document.text.lines()) {
            let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
            let links = links.filter(|link| !link.is_empty() && !link.contains("://")).map(|link| folder.join(link));
            // Between backticks; what starts with a folder of ours is a path from the root.
            let quoted = line.split('`').skip(1).step_by(2).filter(|text| !text.contains([' ', '<', '*', '…', '{']));
            let is_ours = |text: &&str| {
                text.split_once('/').is_some_and(|(first, _)| !first.is_empty() && root.join(first).is_dir())
            };
            let missing = links.chain(quoted.filter(is_ours).map(|text| root.join(text))).filter(|path| !path.exists());
            findings.extend(missing.map(|path| format!("{}:{number}: there is no {}", document.path, path.display())));
        }
    }
    none_of(&findings, "a document names what is not there")
}

/// Every setting as the environment names it, with its default as TOML spells it.
fn settings() -> Result<BTreeMap<String, String>> {
    let (mut settings, mut section) = (BTreeMap::new(), String::new());
    let mut open: Option<(String, String)> = None;
    for line in Config::default().masked()?.lines().map(str::trim) {
        if let Some((name, value)) = open.take() {
            open = Some((name, value + line));
        } else if let Some(name) = line.strip_prefix('[') {
            section = format!("{}__", name.trim_end_matches(']').replace('.', "__"));
        } else if let Some((name, value)) = line.split_once(" = ") {
            open = Some((format!("LEDGER_{section}{name}").to_uppercase(), value.to_owned()));
        }
        // A list goes on until its bracket is closed.
        if let Some((name, value)) = open.take_if(|(_, value)| !value.starts_with('[') || value.ends_with(']')) {
            settings.insert(name, value.replace(",]", "]").replace(',', ", "));
        }
    }
    Ok(settings)
}

/// What the sandbox plays is for tests and has no row in the page of settings; what was agreed with each channel has a
/// table of its own there.
#[test]
fn the_page_of_settings_lists_each_with_its_default() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/settings.md"))?;
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> =
            line.strip_prefix("| `LEDGER_")?.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        Some((format!("LEDGER_{}", cells.first()?), cells.get(1)?.to_string()))
    });
    let rows: BTreeMap<String, String> = rows.collect();
    let settings = settings()?;
    let mut findings = Vec::new();
    let has_a_row =
        |name: &str| !["LEDGER_SANDBOX__", "LEDGER_POLICY__CHANNELS__"].iter().any(|of| name.starts_with(of));
    for (name, default) in settings.iter().filter(|(name, _)| has_a_row(name)) {
        match rows.get(name) {
            None => findings.push(format!("{name} is missing")),
            // Depends on the machine.
            Some(_) if name == "LEDGER_DATA_DIR" => {}
            Some(told) if *told != default.trim_matches('"') => {
                findings.push(format!("{name} is {default}, not {told}"))
            }
            Some(_) => {}
        }
    }
    findings.extend(
        rows.keys().filter(|name| !settings.contains_key(*name)).map(|name| format!("there is no setting {name}")),
    );
    let others = ["LEDGER_CONFIG", "LEDGER_POSTGRES_BIN", "LEDGER_TEST_KAFKA", "LEDGER_SANDBOX__DOOR__URL"];
    let is_known = |name: &str| settings.contains_key(name) || others.contains(&name);
    for page in ["README.md", "docs/calls.md", "docs/channels/README.md"] {
        let text = fs::read_to_string(root().join(page))?;
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        // Those that end so stand for all that begin so.
        let names = words.filter(|word| word.starts_with("LEDGER_") && !word.ends_with('_'));
        findings.extend(names.filter(|name| !is_known(name)).map(|name| format!("{page}: there is no {name}")));
    }
    none_of(&findings, "docs/settings.md")
}
