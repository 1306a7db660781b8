//! The headers of a record.

use std::{fmt, str};

/// The headers of a record in their order, as one piece of memory: each name and each value after its length.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<u8>);

/// Room for those of most events, so that they need not grow.
const HEADERS_BYTES: usize = 512;

impl Headers {
    fn push(&mut self, name: &str, value: &[u8]) {
        self.field(name.as_bytes());
        self.field(value);
    }

    /// Records are far smaller than 4 GiB, so no length is cut.
    fn field(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || header(&mut rest))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// `None` if the bytes are not what [`Headers::as_bytes`] gives.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            header(&mut rest)?;
        }
        Some(Self(bytes))
    }
}

fn header<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, &'a [u8])> {
    Some((str::from_utf8(take(rest)?).ok()?, take(rest)?))
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (taken, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *bytes = rest;
    Some(taken)
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut all = Self(Vec::with_capacity(HEADERS_BYTES));
        headers.into_iter().for_each(|(name, value)| all.push(name.as_ref(), value.as_ref()));
        all
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, value)| (name, String::from_utf8_lossy(value)))).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_in_their_order_and_broken_ones_do_not() {
        let told: [(&str, &[u8]); 3] = [("ce_id", b"1"), ("empty", b""), ("ce_id", &[0, 255])];
        let headers: Headers = told.into_iter().collect();
        assert_eq!(headers.iter().collect::<Vec<_>>(), told);
        let bytes = headers.as_bytes();
        assert_eq!(Headers::from_bytes(bytes.to_vec()).unwrap(), headers);
        let whole = [1, 2].map(|count| told[..count].iter().copied().collect::<Headers>().as_bytes().len());
        for end in 1..bytes.len() {
            assert_eq!(Headers::from_bytes(bytes[..end].to_vec()).is_some(), whole.contains(&end), "cut at {end}");
        }
        assert_eq!(Headers::from_bytes(vec![0, 0, 0, 1, 0xff, 0, 0, 0, 0]), None, "a name that is no text");
    }
}
