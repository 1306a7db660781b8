//! Events exactly as they were published, at least one for each type and version. They never change: as long as these
//! tests hold, old records can be read and the ids of facts stay what they are. A new field or version gets a new file.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use ledger_schemas::{Data, Event, generated::event_schema, upcast::UPCASTERS};
use serde_json::Value;

struct Golden {
    /// `<type>/<n>-<name>.json`
    path: String,
    event_type: String,
    text: String,
    json: Value,
}

impl Golden {
    fn read(&self) -> Event {
        Event::from_structured(self.text.as_bytes()).unwrap_or_else(|refusal| panic!("{}: {refusal}", self.path))
    }

    /// Old versions are lifted when they are read, so only the version in use is written again as it was.
    fn is_in_use(&self) -> bool {
        Data::TYPES.contains(&self.event_type.as_str())
    }

    fn fields(&self) -> BTreeSet<&str> {
        self.json["data"].as_object().unwrap().keys().map(String::as_str).collect()
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn golden_files() -> Vec<Golden> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut files = Vec::new();
    for event_type in entries(&home) {
        for name in entries(&home.join(&event_type)) {
            let text = fs::read_to_string(home.join(&event_type).join(&name)).unwrap();
            let json = serde_json::from_str(&text).unwrap();
            files.push(Golden { path: format!("{event_type}/{name}"), event_type: event_type.clone(), text, json });
        }
    }
    files
}

fn by_type(files: &[Golden]) -> BTreeMap<&str, Vec<&Golden>> {
    let mut types: BTreeMap<&str, Vec<&Golden>> = BTreeMap::new();
    for file in files {
        types.entry(&file.event_type).or_default().push(file);
    }
    types
}

fn schema(event_type: &str) -> Value {
    event_schema(event_type).unwrap_or_else(|| {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("json/{event_type}.json"));
        serde_json::from_str(&fs::read_to_string(kept).unwrap()).unwrap()
    })
}

#[test]
fn a_golden_event_reads_and_has_the_id_that_it_says() {
    for golden in golden_files() {
        assert_eq!(golden.json["type"], golden.event_type, "{}", golden.path);
        assert_eq!(
            golden.json["id"],
            golden.read().id.to_string(),
            "{}: the id of a published fact changed",
            golden.path
        );
    }
}

#[test]
fn a_golden_event_is_written_again_as_it_was() {
    for golden in golden_files().iter().filter(|golden| golden.is_in_use()) {
        assert_eq!(golden.read().to_structured(), golden.json, "{}", golden.path);
    }
}

#[test]
fn a_golden_event_survives_the_log_and_an_inbox() {
    for golden in golden_files() {
        let event = golden.read();
        let (headers, value) = (event.headers(), event.value());
        let headers = || headers.iter().map(|(name, text)| (*name, text.as_bytes()));
        let record = Event::from_record(event.stream.as_str().as_bytes(), headers(), &value);
        assert_eq!(record.as_ref(), Ok(&event), "{}", golden.path);
        assert_eq!(Event::from_binary(headers(), &value), record, "{}", golden.path);
    }
}

#[test]
fn a_golden_event_validates_against_its_schema() {
    for golden in golden_files() {
        let schema = schema(&golden.event_type);
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(&golden.json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", golden.path);
    }
}

#[test]
fn every_type_and_version_has_golden_files_and_no_other() {
    let files = golden_files();
    let have: BTreeSet<&str> = by_type(&files).into_keys().collect();
    let want: BTreeSet<&str> = Data::TYPES.iter().copied().chain(UPCASTERS.iter().map(|step| step.from)).collect();
    assert_eq!(have, want);
}

#[test]
fn golden_files_are_numbered_from_one() {
    for (event_type, files) in by_type(&golden_files()) {
        let number = |file: &&Golden| file.path.rsplit_once('/')?.1.split_once('-')?.0.parse::<usize>().ok();
        let mut numbers: Vec<usize> = files.iter().map(|file| number(file).unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=files.len()).collect::<Vec<_>>(), "{event_type}");
    }
}

#[test]
fn golden_files_show_every_field_and_the_required_ones_alone() {
    for (event_type, files) in by_type(&golden_files()) {
        let schema = schema(event_type);
        let data = &schema["$defs"]["data"];
        let known: BTreeSet<&str> = data["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let required: BTreeSet<&str> =
            data["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let shown: BTreeSet<&str> = files.iter().flat_map(|file| file.fields()).collect();
        assert_eq!(shown, known, "{event_type}: no golden file shows every field");
        assert!(files.iter().any(|file| file.fields() == required), "{event_type}: none has the required fields alone");
    }
}
