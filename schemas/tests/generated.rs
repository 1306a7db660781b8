//! The documents in the tree are the ones that the code makes.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ledger_schemas::{
    Data,
    generated::{Document, documents, event_schema},
    upcast::UPCASTERS,
};
use serde_json::{Value, json};

const ADVICE: &str = "run `UPDATE_GENERATED=1 cargo test -p ledger-schemas --test generated`, and read the difference \
                      before you commit it: it is what other teams will see";

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// The schemas of old versions: no code makes them any more, so they are kept as they were.
fn is_kept(path: &Path) -> bool {
    UPCASTERS.iter().any(|step| path.file_stem().is_some_and(|stem| stem == step.from))
}

/// Schemas in the tree that no type stands behind.
fn orphans(documents: &[Document]) -> Vec<PathBuf> {
    let made: BTreeSet<PathBuf> = documents.iter().map(|document| home().join(&document.path)).collect();
    let Ok(folder) = fs::read_dir(home().join("json")) else { return Vec::new() };
    folder.map(|entry| entry.unwrap().path()).filter(|path| !made.contains(path) && !is_kept(path)).collect()
}

/// What readers of the newer schema could no longer read: BACKWARD_TRANSITIVE, since each step is held to the one before.
fn lost(kept: &Value, made: &Value, place: &str, findings: &mut Vec<String>) {
    let words = |schema: &Value, key: &str| -> BTreeSet<String> {
        let words = schema.get(key).and_then(Value::as_array).into_iter().flatten();
        words.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    findings
        .extend(words(kept, "enum").difference(&words(made, "enum")).map(|word| format!("{place}: the word {word}")));
    if kept.get("properties").is_some() {
        let (asked, before) = (words(made, "required"), words(kept, "required"));
        let new = asked.difference(&before).map(|name| format!("{place}: {name} has become required"));
        findings.extend(new);
    }
    for (name, kept) in kept.as_object().into_iter().flatten() {
        match made.get(name) {
            Some(made) => lost(kept, made, &format!("{place}/{name}"), findings),
            None if place.ends_with("/properties") => findings.push(format!("{place}: the field {name}")),
            None => {}
        }
    }
}

#[test]
fn what_would_be_lost_is_found() {
    let kept = json!({"data": {"properties": {"a": {"enum": ["x", "y"]}, "b": {}}, "required": ["a"]}});
    let without = |made: &Value| {
        let mut findings = Vec::new();
        lost(&kept, made, "", &mut findings);
        findings
    };
    assert_eq!(without(&kept), Vec::<String>::new());
    let more = json!({"data": {"properties": {"a": {"enum": ["x", "y", "z"]}, "b": {}, "c": {}}, "required": []}});
    assert_eq!(without(&more), Vec::<String>::new());
    let less = json!({"data": {"properties": {"a": {"enum": ["x"]}}, "required": ["a", "c"]}});
    let found = ["/data: c has become required", "/data/properties/a: the word y", "/data/properties: the field b"];
    assert_eq!(without(&less), found);
}

fn rewrite(documents: &[Document]) {
    fs::create_dir_all(home().join("json")).unwrap();
    let mut findings = Vec::new();
    for document in documents.iter().filter(|document| document.path.starts_with("json/")) {
        let Ok(kept) = fs::read_to_string(home().join(&document.path)) else { continue };
        let [kept, made] = [&kept, &document.text].map(|text| serde_json::from_str(text).unwrap());
        lost(&kept, &made, &document.path, &mut findings);
    }
    assert!(
        findings.is_empty(),
        "records in the log could not be read any more: {findings:#?}\nmake a new version instead"
    );
    for document in documents {
        fs::write(home().join(&document.path), &document.text).unwrap();
    }
    for orphan in orphans(documents) {
        fs::remove_file(orphan).unwrap();
    }
}

#[test]
fn the_documents_in_the_tree_are_the_ones_that_the_code_makes() {
    let documents = documents().unwrap();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        rewrite(&documents);
    }
    let differs =
        |document: &&Document| fs::read_to_string(home().join(&document.path)).ok().as_ref() != Some(&document.text);
    let stale: Vec<&str> = documents.iter().filter(differs).map(|document| document.path.as_str()).collect();
    assert!(stale.is_empty(), "these files differ from what the code makes: {stale:#?}\n{ADVICE}");
    let orphans = orphans(&documents);
    assert!(orphans.is_empty(), "no type stands behind these files: {orphans:#?}\n{ADVICE}");
}

#[test]
fn every_schema_is_one() {
    for event_type in Data::TYPES {
        let schema = event_schema(event_type).unwrap();
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{event_type}: {error}"));
        assert!(schema["description"].as_str().is_some_and(|text| text.len() > 40), "{event_type} says nothing");
    }
}

#[test]
fn the_asyncapi_document_names_every_type_and_refers_to_nothing_that_is_not_there() {
    let json = ledger_schemas::generated::asyncapi().unwrap();
    for event_type in Data::TYPES {
        assert_eq!(json["components"]["messages"][event_type]["name"], **event_type);
    }
    let mut pending = vec![&json];
    while let Some(value) = pending.pop() {
        if let Some(target) = value.get("$ref").and_then(|target| target.as_str()) {
            let target = target.strip_prefix('#').unwrap();
            assert!(json.pointer(target).is_some(), "{target} is not in the document");
        }
        pending.extend(value.as_object().into_iter().flat_map(|map| map.values()));
        pending.extend(value.as_array().into_iter().flatten());
    }
}
