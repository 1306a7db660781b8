//! `application/x-www-form-urlencoded`, as bytes: what a channel signs is what it wrote, in whatever character set.

use std::{collections::BTreeMap, fmt};

use encoding_rs::{GB18030, GBK};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use serde::{Deserialize, Serialize};

use super::json;

/// What stays as it is on the way out.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("a percent sign without two hexadecimal digits")]
    Escape,
    #[error("a NUL byte")]
    Nul,
    #[error("a field without a name")]
    Nameless,
    /// Whoever verifies one of them and reads the other has verified nothing.
    #[error("a field stands there twice")]
    Repeated,
    #[error("it is not a JSON object")]
    Json,
    #[error("a field is an object or a list")]
    Nested,
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error("{field} is not text in the character set {charset}")]
    Undecodable { field: &'static str, charset: Charset },
}

/// The character sets that channels write in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Charset {
    #[serde(rename = "utf-8")]
    Utf8,
    /// Read as GB18030, which contains it and has the rare names; written without what is only in GB18030.
    #[serde(rename = "gbk")]
    Gbk,
}

impl fmt::Display for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf8 => "utf-8",
            Self::Gbk => "gbk",
        })
    }
}

impl Charset {
    /// From the name that a message gives, such as `charset=GBK`.
    pub fn named(name: &[u8]) -> Option<Self> {
        let is_one_of = |names: &[&str]| names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()));
        if is_one_of(&["utf-8", "utf8"]) {
            Some(Self::Utf8)
        } else {
            is_one_of(&["gbk", "gb2312", "gb18030"]).then_some(Self::Gbk)
        }
    }

    /// Nothing where a single byte is not of the character set, and nothing where somebody else's decoder has already
    /// put U+FFFD in the place of one.
    pub fn decode(self, bytes: &[u8]) -> Option<String> {
        let text = match self {
            Self::Utf8 => str::from_utf8(bytes).ok()?.to_owned(),
            Self::Gbk => GB18030.decode_without_bom_handling_and_without_replacement(bytes)?.into_owned(),
        };
        (!text.contains(char::REPLACEMENT_CHARACTER)).then_some(text)
    }

    /// Nothing where a character is not in the character set.
    pub fn encode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Utf8 => Some(text.as_bytes().to_vec()),
            Self::Gbk => {
                let (bytes, _, unmappable) = GBK.encode(text);
                (!unmappable).then(|| bytes.into_owned())
            }
        }
    }
}

/// Fields by name, each once, in the order of the bytes of their names, in which most channels sign them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form(BTreeMap<Vec<u8>, Vec<u8>>);

/// Values may be personal.
impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys().map(|name| String::from_utf8_lossy(name))).finish()
    }
}

impl Form {
    pub fn new() -> Self {
        Self::default()
    }

    /// # Errors
    /// It is not such a form, or a name stands there twice.
    pub fn parse(body: &[u8]) -> Result<Self, FormError> {
        let mut form = Self::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let value = pair.get(equals + 1..).unwrap_or_default();
            form.insert(unescaped(&pair[..equals])?, unescaped(value)?)?;
        }
        Ok(form)
    }

    /// The members of a JSON object as fields: text as it reads, numbers and truth values as they are spelt, and null as
    /// the empty value, which is how channels that send both forms and JSON sign them.
    ///
    /// # Errors
    /// It is not an object, a name stands there twice, or a value is an object or a list.
    pub fn from_json(body: &[u8]) -> Result<Self, FormError> {
        let body = str::from_utf8(body).map_err(|_| FormError::Json)?;
        let mut form = Self::new();
        for (name, value) in json::members(body)? {
            let value = match value.get() {
                "null" => String::new(),
                text if text.starts_with('"') => serde_json::from_str(text).map_err(|_| FormError::Json)?,
                other if other.starts_with(['{', '[']) => return Err(FormError::Nested),
                spelt => spelt.to_owned(),
            };
            form.insert(name.into_bytes(), value.into_bytes())?;
        }
        Ok(form)
    }

    fn insert(&mut self, name: Vec<u8>, value: Vec<u8>) -> Result<(), FormError> {
        if name.is_empty() {
            return Err(FormError::Nameless);
        }
        if name.contains(&0) || value.contains(&0) {
            return Err(FormError::Nul);
        }
        if self.0.insert(name, value).is_some() { Err(FormError::Repeated) } else { Ok(()) }
    }

    /// Puts a field into what we send, in the place of an earlier one of that name.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.0.insert(name.as_bytes().to_vec(), value.as_ref().to_vec());
        self
    }

    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name.as_bytes()).map(Vec::as_slice)
    }

    /// The text of a field. An empty field counts as missing: most schemes sign neither, so anybody could have added it.
    ///
    /// # Errors
    /// It is missing, or not in the character set.
    pub fn text(&self, field: &'static str, charset: Charset) -> Result<String, FormError> {
        let bytes = self.get(field).filter(|value| !value.is_empty()).ok_or(FormError::Missing { field })?;
        charset.decode(bytes).ok_or(FormError::Undecodable { field, charset })
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    pub fn encode(&self) -> String {
        let escaped = |bytes| percent_encode(bytes, ESCAPED);
        let pairs: Vec<String> =
            self.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
        pairs.join("&")
    }

    /// `name=value&name=value` in the order of the names, unescaped: what is signed in most schemes, but for empty values
    /// and some fields.
    pub(super) fn joined(&self, leave_out: &[&str]) -> Vec<u8> {
        join(self.signed_fields(leave_out).filter(|(_, value)| !value.is_empty()))
    }

    /// As [`Form::joined`], with the empty values, where there is one.
    pub(super) fn joined_with_empty(&self, leave_out: &[&str]) -> Option<Vec<u8>> {
        let has_empty = self.signed_fields(leave_out).any(|(_, value)| value.is_empty());
        has_empty.then(|| join(self.signed_fields(leave_out)))
    }

    fn signed_fields(&self, leave_out: &[&str]) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.iter().filter(|(name, _)| !leave_out.iter().any(|other| other.as_bytes() == *name))
    }
}

fn join<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> Vec<u8> {
    fields.map(|(name, value)| [name, b"=", value].concat()).collect::<Vec<_>>().join(&b'&')
}

fn unescaped(text: &[u8]) -> Result<Vec<u8>, FormError> {
    let mut parts = text.split(|byte| *byte == b'%');
    parts.next();
    // The decoder would leave what is no escape as it is, and two spellings would read alike.
    let is_escape = |part: &[u8]| part.len() >= 2 && part[..2].iter().all(u8::is_ascii_hexdigit);
    if !parts.all(is_escape) {
        return Err(FormError::Escape);
    }
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Ok(percent_decode(&spaced).collect())
}
