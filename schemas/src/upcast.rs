//! Old versions of event types, lifted to the one the catalogue knows.
//!
//! A type's data only ever grows by optional fields; what cannot be said that way gets a new version, and the old
//! one gets a row here: a pure function from its JSON to the next version's. Records in the log are never rewritten.

use serde_json::Value;

/// One step: data of type `from` becomes data of type `to`.
pub struct Upcaster {
    pub from: &'static str,
    pub to: &'static str,
    pub lift: fn(Value) -> Value,
}

/// Every step there is. Each `from` has a golden file of its own.
pub const UPCASTERS: &[Upcaster] = &[];

/// Follows the steps from `event_type` as far as they go; `None` when there is none to take. Text again, so that whatever
/// its age it is read in one way.
pub fn upcast(
    steps: &[Upcaster],
    event_type: &str,
    data: &str,
) -> Option<Result<(&'static str, String), serde_json::Error>> {
    let mut step = steps.iter().find(|step| step.from == event_type)?;
    let mut data: Value = match serde_json::from_str(data) {
        Ok(data) => data,
        Err(error) => return Some(Err(error)),
    };
    loop {
        data = (step.lift)(data);
        match steps.iter().find(|next| next.from == step.to) {
            Some(next) => step = next,
            None => return Some(Ok((step.to, data.to_string()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STEPS: &[Upcaster] = &[
        Upcaster {
            from: "t.v1",
            to: "t.v2",
            lift: |mut data| {
                data["amount"] = json!(format!("{}.00", data["yuan"]));
                data
            },
        },
        Upcaster {
            from: "t.v2",
            to: "t.v3",
            lift: |mut data| {
                data["currency"] = json!("CNY");
                data
            },
        },
    ];

    #[test]
    fn old_data_is_lifted_through_every_version() {
        let (to, data) = upcast(STEPS, "t.v1", r#"{"yuan":800}"#).unwrap().unwrap();
        let data: Value = serde_json::from_str(&data).unwrap();
        assert_eq!((to, data), ("t.v3", json!({"yuan": 800, "amount": "800.00", "currency": "CNY"})));
        assert!(upcast(STEPS, "t.v3", "{}").is_none());
        assert!(upcast(STEPS, "t.v2", "{").unwrap().is_err());
    }

    #[test]
    fn every_step_leads_into_the_catalogue() {
        for step in UPCASTERS {
            assert!(!crate::Data::TYPES.contains(&step.from), "{} is still in the catalogue", step.from);
            let (to, _) = upcast(UPCASTERS, step.from, "{}").unwrap().unwrap();
            assert!(crate::Data::TYPES.contains(&to), "{} leads to {to}, which is not in the catalogue", step.from);
        }
    }
}
